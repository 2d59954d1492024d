"""What the parts of the order process share."""

from dataclasses import dataclass
from typing import Any

from ib_bridge.ib.clock import MarketClock
from ib_bridge.orders.crash_points import CrashPoints
from ib_bridge.orders.gateway import OrderGateway
from ib_bridge.orders.pacer import Pacer
from ib_bridge.transactions import TransactionRunner
from nautilus.settings.orders import OrderSettings


@dataclass(kw_only=True)
class OrderParts:
    """token: proves in each transaction that announces a write that nobody else has become the order process.

    session: the row of the present connection (`gateway_sessions`); None until it is written.
    """

    settings: OrderSettings
    transactions: TransactionRunner
    gateway: OrderGateway
    pacer: Pacer
    clock: MarketClock
    crash: CrashPoints
    log: Any
    token: int = 0
    session: int | None = None
    next_order_id: int = 0
    """No request gets a number below it: orders and requests share one counter."""

    @property
    def client_id(self) -> int:
        return self.settings.orders_client_id

    def floor(self) -> int:
        """The lowest number that is free for a request."""
        return max(self.next_order_id, self.gateway.next_order_id)

    def free_id(self) -> int:
        """The lowest number that IB takes for an order, as far as this connection knows."""
        return max(1, self.gateway.next_order_id, self.gateway.used_up_to)
