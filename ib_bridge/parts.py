"""The parts of the bridge that all requests for bars and live data share."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ib_bridge.history.booking import Booking
from ib_bridge.history.open_requests import OpenRequests
from ib_bridge.history.volume_units import VolumeUnits
from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection
from ib_bridge.ib.requests import IbRequests
from ib_bridge.reference.directory import Directory
from nautilus.process.transactions import TransactionRunner


class BridgeParts(NamedTuple):
    """ready: true while connected to a gateway whose data belong into this database."""

    transactions: TransactionRunner
    connection: IbConnection
    requests: IbRequests
    booking: Booking
    clock: MarketClock
    volumes: VolumeUnits
    directory: Directory
    open_requests: OpenRequests
    log: Any
    ready: Callable[[], bool]
