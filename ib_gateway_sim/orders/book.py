"""All orders of the account, whoever placed them: state alone, which can be copied, saved and loaded."""

from dataclasses import dataclass, field

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.wire.request import Request

FIRST_PERM_ID = 1_600_000_001


@dataclass
class OrderBook:
    first_order_id: int = 1
    orders: dict[tuple[int, int], Order] = field(default_factory=dict)  # (client id, order id), in order of placing
    others: list[Order] = field(
        default_factory=list
    )  # orders that no id reaches: manual ones, copies by `twin`, ids given anew
    read_ids: dict[int, int] = field(default_factory=dict)  # client id -> the highest order id that was read
    known_ids: dict[int, int] = field(default_factory=dict)  # and the highest that IB has accepted or refused
    executions: list[Execution] = field(default_factory=list)
    perm_ids: int = 0  # so many were given
    fills: int = 0  # so many execution ids were given, without their revisions

    # ---- ids -----------------------------------------------------------------------------------------------------
    def next_id(self, client_id: int) -> int:
        """Above every order id that this client has used; each client has a sequence of its own."""
        return self.read_ids.get(client_id, self.first_order_id - 1) + 1

    def read(self, client_id: int, order_id: int) -> None:
        """The gateway has read an order: its id counts as used."""
        self.read_ids[client_id] = max(order_id, self.next_id(client_id) - 1)

    def know(self, client_id: int, order_id: int) -> None:
        """IB has accepted or refused the order: its id stays used, also after a restart."""
        self.read(client_id, order_id)
        self.known_ids[client_id] = max(order_id, self.known_ids.get(client_id, self.first_order_id - 1))

    def used(self, client_id: int, order_id: int) -> bool:
        """Whether a new order may not have this id."""
        return order_id <= self.known_ids.get(client_id, self.first_order_id - 1)

    def forget_ids(self) -> None:
        """What a restart does: ids of orders that were read and never worked are free again."""
        self.read_ids = dict(self.known_ids)

    def roll_back(self, count: int) -> None:
        """The next ids are so many lower, for every client."""
        for ids in (self.read_ids, self.known_ids):
            ids.update({client: max(self.first_order_id - 1, last - count) for client, last in ids.items()})

    # ---- orders --------------------------------------------------------------------------------------------------
    def every(self) -> list[Order]:
        return [*self.others, *self.orders.values()]

    def add(self, client_id: int, request: Request, contract: Contract, account: str, now_s: float) -> Order:
        """A new order. One that is over and has the same id, given anew after a reset, is reached by it no more."""
        order = Order(request, contract, client_id, self.next_perm_id(), account, now_s)
        former = self.orders.pop((client_id, order.order_id), None)
        if former is not None:
            self.others.append(former)
        self.orders[client_id, order.order_id] = order
        return order

    def add_other(self, client_id: int, request: Request, contract: Contract, account: str, now_s: float) -> Order:
        """A new order that no id reaches."""
        order = Order(request, contract, client_id, self.next_perm_id(), account, now_s)
        self.others.append(order)
        return order

    def next_perm_id(self) -> int:
        self.perm_ids += 1
        return FIRST_PERM_ID + self.perm_ids - 1

    def next_exec_id(self, at_s: float) -> str:
        """The first revision of a new execution, in IB's form; a number is given once, whatever becomes of executions."""
        self.fills += 1
        return f"0000e0d5.{int(at_s):08x}.{self.fills:02d}.01"

    def drop_execution(self, key: str) -> None:
        """An execution vanishes with all its revisions."""
        self.executions = [made for made in self.executions if made.key != key]

    def reached(self, client_id: int, order_id: int, *, twins: bool) -> Order | None:
        """The order that an id reaches. `twins`: when it is over, an open one that was made of it."""
        first = self.orders.get((client_id, order_id))
        if not twins or first is None or first.open:
            return first
        return next((one for one in self.others if one.open and one.reference == first.reference != ""), first)

    def forget(self, order: Order) -> None:
        """As if it had never been."""
        self.others = [other for other in self.others if other is not order]
        self.orders = {key: other for key, other in self.orders.items() if other is not order}

    def open_orders(self) -> list[Order]:
        return [order for order in self.every() if order.open]

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

    def parent(self, order: Order) -> Order | None:
        return self.orders.get((order.client_id, order.parent_id)) if order.parent_id else None

    def waits_for_parent(self, order: Order, *, partly: bool = False) -> bool:
        """Until the parent is filled; with `partly`, until it is filled in part."""
        parent = self.parent(order)
        return parent is not None and parent.status != "Filled" and not (partly and parent.filled > 0)

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
