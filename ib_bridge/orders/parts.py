"""What the parts of the order process share."""

from dataclasses import dataclass
from typing import Any

from ib_bridge.ib.clock import MarketClock
from ib_bridge.orders.crash_points import CrashPoints
from ib_bridge.orders.gateway import OrderGateway
from ib_bridge.orders.pacer import Pacer
from nautilus.db.cursor import Cursor
from nautilus.db.orders import sessions
from nautilus.orders.identity import LAST_ORDER_ID
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.orders import OrderSettings

NO_IDS = "the order ids of this gateway are used up: reset them in its settings (API, Reset API order ID sequence)"


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
    """No order of this process gets an id below it."""

    @property
    def client_id(self) -> int:
        return self.settings.orders_client_id

    def floor(self) -> int:
        """The lowest order id that no order of this process has had."""
        return max(self.next_order_id, self.gateway.next_order_id)

    def reserve_ids(self, cursor: Cursor, count: int = 1) -> int | None:
        """The first of `count` order ids that IB takes and nobody has used, committed with what takes them. None: they are used
        up, as another client's orders, or a gateway that counts on, have ids as high as those of requests."""
        gateway = self.gateway
        least = max(1, gateway.next_order_id, gateway.used_up_to)
        if max(least, self.next_order_id) + count - 1 > LAST_ORDER_ID:
            return None
        first = sessions.reserve_order_id(cursor, self.client_id, least, count=count)
        self.next_order_id = max(self.next_order_id, first + count)
        return first
