"""What the bridge learns from IB besides bars: contracts, calendars, heads. Everything learnt is kept."""

from typing import Any

from ib_bridge.ib.clock import MarketClock
from ib_bridge.reference.booked_requests import BookedRequests
from ib_bridge.reference.calendars import Calendars
from ib_bridge.reference.contracts import Contracts
from ib_bridge.reference.heads import Heads
from ib_bridge.reference.symbol_search import SymbolSearch
from nautilus.process.transactions import TransactionRunner


class Directory:
    """The parts that learn about instruments."""

    def __init__(self, transactions: TransactionRunner, requests: BookedRequests, clock: MarketClock, log: Any) -> None:
        self.contracts = Contracts(transactions, requests, log)
        self.search = SymbolSearch(requests, self.contracts)
        self.calendars = Calendars(transactions, requests, clock, log)
        self.heads = Heads(transactions, requests, clock)
