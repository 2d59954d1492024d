"""Orders, executions and previews as plain values, and the table of order statuses."""

from dataclasses import dataclass

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.wire.request import Request

DONE = frozenset({"Filled", "Cancelled", "Inactive"})
LIMITED = ("LMT", "STP LMT", "LOC", "LIT")  # types that have a limit
AT_CLOSE = ("MOC", "LOC")  # types that fill with the close of the regular session
AT_OPEN = "OPG"  # the time in force of orders for the opening
MANUAL = -1  # the client of orders that a person placed in TWS
LOCATE = "locate"  # why an order is held: shares to sell short are being looked for
# Who may go where; a status that is not here is an end.
MOVES: dict[str, frozenset[str]] = {
    "PendingSubmit": frozenset({"PreSubmitted", "Submitted", "Cancelled", "Inactive"}),  # not transmitted yet
    "Inactive": frozenset({"PreSubmitted", "Submitted", "Filled", "Cancelled"}),  # of an order that waits for shares
    "PreSubmitted": frozenset({"Submitted", "Filled", "Cancelled", "Inactive"}),  # held: closed, parent, no trigger
    "Submitted": frozenset({"PreSubmitted", "Filled", "Cancelled", "Inactive"}),
}


@dataclass
class Order:
    """One order; `request` is the newest placeOrder message about it, whose fields are echoed.

    Times are market seconds. What the order waits for stands in it, so that a saved order waits on.
    """

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
    since_s: float = 0.0  # since when the exchange has it as it is: sent or changed
    done_s: float = 0.0
    session: tuple[float, float] = (0.0, 0.0)  # open and close of the session that was searched last
    expires_s: float = 0.0  # close of the session of a day order
    not_before_s: float = 0.0  # its good-after time
    released: bool = False  # its conditions have been met
    fees: float = 0.0  # commissions of its fills
    why_held: str = ""  # locate: Inactive, and alive
    held_until_s: float = 0.0  # when the shares are found
    plan: list[tuple[float, float]] | None = None  # (time, quantity) of the fills that it gets, and no others
    refusal: str = ""  # why it was refused
    late_fill_s: float = 0.0  # when it fills although it was cancelled; 0: never
    clicked: bool = True  # False: a warning in TWS waits for somebody to click it away
    silent: bool = False  # words about it are not sent: its acknowledgement was lost

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
    def limited(self) -> bool:
        return self.kind in LIMITED

    @property
    def auctioned(self) -> bool:
        """Whether it trades at the opening or the closing alone."""
        return self.kind in AT_CLOSE or self.request.text("tif") == AT_OPEN

    def takes(self, price: float) -> bool:
        """Whether a price is within its limit."""
        if not self.limited:
            return True
        limit = self.request.number("lmtPrice")
        return price <= limit if self.buys else price >= limit

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
    def reference(self) -> str:
        return self.request.text("orderRef")

    @property
    def manual(self) -> bool:
        return self.client_id == MANUAL

    @property
    def open(self) -> bool:
        return self.status not in DONE or (self.status == "Inactive" and self.why_held == LOCATE)

    @property
    def expires(self) -> bool:
        """Whether it ends at its time (`expires_s`)."""
        return self.request.text("tif") in ("", "DAY", "GTD")

    @property
    def working(self) -> bool:
        """Whether it has to be matched with the market."""
        return (self.open and self.transmitted) or self.late_fill_s > 0

    @property
    def transmitted(self) -> bool:
        """Whether anybody but its placer can see it: IB does not know of others."""
        return self.status != "PendingSubmit"

    def move(self, status: str) -> None:
        """Raises ValueError for a move that the table does not know."""
        if not self.open or status not in MOVES.get(self.status, frozenset()):
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
    account: str = ""  # one that got a share of an advisor's order; else the order's
    fee_known_s: float = 0.0  # when its commission becomes known; inf: never
    corrects: str = ""  # the execution of which it is a later revision

    @property
    def key(self) -> str:
        """The execution without its revision, by which all its revisions are one."""
        return self.exec_id.rpartition(".")[0]

    @property
    def owner(self) -> str:
        return self.account or self.order.account

    def fee_known(self, at_s: float) -> bool:
        return self.fee_known_s <= at_s


@dataclass
class Preview:
    """Margin before and after, for a what-if order; US dollars."""

    margin_before: float
    margin_after: float
    equity_before: float
    equity_after: float
    fee: float
