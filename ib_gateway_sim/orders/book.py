"""All orders of the account, whoever placed them: state alone, which can be copied, saved and loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.wire.request import Request

FIRST_PERM_ID = 1_600_000_001


@dataclass
class Arrival:
    """A message about an order that the gateway has and has not worked yet."""

    client_id: int
    request: Request


@dataclass
class OrderBook:
    first_order_id: int = 1
    orders: dict[tuple[int, int], Order] = field(default_factory=dict)  # (client id, order id), in order of placing
    executions: list[Execution] = field(default_factory=list)
    arrivals: dict[int, Arrival] = field(default_factory=dict)  # by a number of their own, in order of arriving
    messages: int = 0  # so many messages about orders came
    perm_ids: int = 0  # so many were given

    def next_id(self, client_id: int) -> int:
        """Above every order id that this client has used; each client has a sequence of its own."""
        used = [order_id for owner, order_id in self.orders if owner == client_id]
        return max(used, default=self.first_order_id - 1) + 1

    def next_message(self) -> int:
        """The number of a message about an order."""
        self.messages += 1
        return self.messages

    @contextmanager
    def arriving(self, number: int, client_id: int, request: Request) -> Iterator[None]:
        """Keeps a message among the arrivals while it waits to be worked."""
        self.arrivals[number] = Arrival(client_id, request)
        try:
            yield
        finally:
            del self.arrivals[number]

    def add(self, client_id: int, request: Request, contract: Contract, account: str, now_s: float) -> Order:
        perm_id = FIRST_PERM_ID + self.perm_ids
        self.perm_ids += 1
        order = Order(request, contract, client_id, perm_id, account, now_s)
        self.orders[client_id, order.order_id] = order
        return order

    def open_orders(self) -> list[Order]:
        return [order for order in self.orders.values() if order.open]

    # ---- relations -----------------------------------------------------------------------------------------------
    def bracket(self, order: Order) -> list[Order]:
        """The order, its parent and its siblings: a transmitted child sends the whole bracket."""
        root = order.parent_id or order.order_id
        return [
            each
            for each in self.orders.values()
            if each.client_id == order.client_id and root in (each.order_id, each.parent_id)
        ]

    def children(self, order: Order) -> list[Order]:
        return [
            each
            for each in self.orders.values()
            if each.parent_id == order.order_id and each.client_id == order.client_id
        ]

    def waits_for_parent(self, order: Order) -> bool:
        parent = self.orders.get((order.client_id, order.parent_id)) if order.parent_id else None
        return parent is not None and parent.status != "Filled"

    def group(self, order: Order) -> list[Order]:
        """Open orders of which one cancels the others: an OCA group, or the children of one parent."""
        name = order.request.text("ocaGroup")
        return [
            other
            for other in self.open_orders()
            if other is not order
            and (
                (name and other.request.text("ocaGroup") == name)
                or (order.parent_id and other.parent_id == order.parent_id and other.client_id == order.client_id)
            )
        ]
