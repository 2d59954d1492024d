"""Orders, executions and previews as plain values, and the table of order statuses."""

from dataclasses import dataclass

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.wire.request import Request

DONE = frozenset({"Filled", "Cancelled", "Inactive"})
# Who may go where; a status that is not here is an end.
MOVES: dict[str, frozenset[str]] = {
    "PendingSubmit": frozenset({"PreSubmitted", "Submitted", "Cancelled", "Inactive"}),  # not transmitted yet
    "PreSubmitted": frozenset({"Submitted", "Filled", "Cancelled", "Inactive"}),  # held: closed, parent, no trigger
    "Submitted": frozenset({"PreSubmitted", "Filled", "Cancelled", "Inactive"}),
}


@dataclass
class Order:
    """One order; `request` is the newest placeOrder message about it, whose fields are echoed."""

    request: Request
    contract: Contract
    client_id: int
    perm_id: int
    account: str
    placed_s: float
    status: str = "PendingSubmit"
    filled: float = 0.0
    paid: float = 0.0  # filled times price
    last_price: float = 0.0
    triggered: bool = False  # a stop that has been touched
    stop: float | None = None  # where a trailing stop stands
    done_s: float = 0.0
    session: tuple[float, float] = (0.0, 0.0)  # open and close of the session last asked about
    expires_s: float = 0.0  # close of the session of a day order

    @property
    def order_id(self) -> int:
        return self.request.integer("orderId")

    @property
    def buys(self) -> bool:
        return self.request.text("action").upper() == "BUY"

    @property
    def kind(self) -> str:
        return self.request.text("orderType").upper()

    @property
    def quantity(self) -> float:
        return self.request.number("totalQuantity")

    @property
    def remaining(self) -> float:
        return round(max(0.0, self.quantity - self.filled), 10)

    @property
    def average_price(self) -> float:
        return round(self.paid / self.filled, 8) if self.filled else 0.0

    @property
    def parent_id(self) -> int:
        return self.request.integer("parentId")

    @property
    def open(self) -> bool:
        return self.status not in DONE

    def move(self, status: str) -> None:
        """Raises ValueError for a move that the table does not know."""
        if status not in MOVES.get(self.status, frozenset()):
            raise ValueError(f"order {self.order_id}: {self.status} cannot become {status}")
        self.status = status


@dataclass
class Execution:
    order: Order
    exec_id: str
    at_s: float
    time: str  # as text with its zone
    exchange: str
    shares: float
    price: float
    cumulated: float
    average_price: float
    fee: float
    realized: float | None


@dataclass
class Preview:
    """Margin before and after, for a what-if order; US dollars."""

    margin_before: float
    margin_after: float
    equity_before: float
    equity_after: float
    fee: float
