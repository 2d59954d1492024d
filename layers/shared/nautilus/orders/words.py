"""What Interactive Brokers says about orders, fills and accounts, each message as one plain value.

The tap of the order process builds them from the library's callbacks, and nothing else does. A price, quantity or amount
is a Decimal. IB marks what it does not know by the largest float or the largest integer: here that is None. `raw` is the
message as it came, field by field, for the event row; it decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

Raw = Mapping[str, object]
"""A message as it came: IB's name of each field -> its value, writable as JSON."""
Side = Literal["BUY", "SELL"]


# ---- the connection --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NextOrderId:
    """The lowest order id that IB still takes from this client id. It comes once after each connect."""

    order_id: int


@dataclass(frozen=True, slots=True)
class ManagedAccounts:
    """The accounts that the gateway's login may use."""

    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """IB's clock, in whole seconds since 1970."""

    time_s: int


@dataclass(frozen=True, slots=True)
class BrokerError:
    """An error or a notice. number: an order id or a request id, and which of the two the code tells; -1: neither."""

    number: int
    code: int
    text: str
    raw: Raw = field(default_factory=dict)


# ---- orders ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order as IB has it now, or the answer to a what-if.

    order_id: 0 of an order that was entered by hand; perm_id: 0 before IB accepted the order; order_ref: our order's id.
    status: IB's word, such as `Submitted`; why_held: such as `locate`; warning: IB's text beside the status.
    margins: of a what-if alone, IB's names -> amounts in the account's base currency.
    """

    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    account: str
    con_id: int
    symbol: str
    side: Side
    type: str
    tif: str
    quantity: Decimal
    status: str
    limit_price: Decimal | None = None
    aux_price: Decimal | None = None
    trail_percent: Decimal | None = None
    parent_id: int = 0
    oca_group: str = ""
    why_held: str = ""
    warning: str = ""
    what_if: bool = False
    margins: Mapping[str, Decimal] | None = None
    raw: Raw = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """How an order stands. It has no order reference and no account. filled and remaining: quantities."""

    order_id: int
    client_id: int
    perm_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    avg_fill_price: Decimal | None = None
    why_held: str = ""
    raw: Raw = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompletedOrder:
    """An order that is over. IB gives neither its order id nor its client id.

    filled: None where IB does not tell it; completed_status: IB's sentence, such as `Cancelled by Trader`.
    completed_time: IB's text with its time zone.
    """

    perm_id: int
    order_ref: str
    account: str
    con_id: int
    side: Side
    type: str
    tif: str
    quantity: Decimal
    filled: Decimal | None
    status: str
    completed_status: str = ""
    completed_time: str = ""
    raw: Raw = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenOrdersEnd:
    """The answer to the question for open orders is complete."""


@dataclass(frozen=True, slots=True)
class CompletedOrdersEnd:
    """The answer to the question for completed orders is complete."""


# ---- fills -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill, or the correction of one. exec_id: `<base>.<revision>`; a higher revision replaces a lower one.

    time_ns: market time; request_id: -1 when nobody requested it; order_id: 0 of an order that was entered by hand.
    """

    exec_id: str
    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    account: str
    con_id: int
    side: Side
    quantity: Decimal
    price: Decimal
    exchange: str
    time_ns: int
    request_id: int = -1
    raw: Raw = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecutionsEnd:
    """The answer to a question for executions is complete."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Commission:
    """What a fill cost. It may come before its execution. realized: IB's profit by its own method, None where unset."""

    exec_id: str
    commission: Decimal
    currency: str
    realized: Decimal | None
    raw: Raw = field(default_factory=dict)


# ---- accounts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds of a contract, signed. avg_cost: of one unit, times the multiplier, commission included."""

    account: str
    con_id: int
    quantity: Decimal
    avg_cost: Decimal | None


@dataclass(frozen=True, slots=True)
class PositionsEnd:
    """All positions were named: a contract that was not is flat."""


@dataclass(frozen=True, slots=True)
class AccountValue:
    """One value of an account, as IB writes it. currency: empty where it has none, `BASE` for the base currency."""

    account: str
    tag: str
    currency: str
    value: str


@dataclass(frozen=True, slots=True)
class AccountValuesEnd:
    """All values of an account were named once; changes follow."""

    account: str


@dataclass(frozen=True, slots=True)
class Pnl:
    """Profit and loss in the base currency, of an account (con_id None) or of one of its positions.

    quantity, value: of a position alone: how much it counts, and its market value.
    """

    account: str
    con_id: int | None
    daily: Decimal | None
    unrealized: Decimal | None
    realized: Decimal | None
    quantity: Decimal | None = None
    value: Decimal | None = None


OrderWord = OpenOrder | OrderStatus | CompletedOrder | Execution | Commission | BrokerError
"""What may be about one order."""
Word = (
    OrderWord
    | NextOrderId
    | ManagedAccounts
    | CurrentTime
    | OpenOrdersEnd
    | CompletedOrdersEnd
    | ExecutionsEnd
    | Position
    | PositionsEnd
    | AccountValue
    | AccountValuesEnd
    | Pnl
)
"""Every message of which the order process keeps something."""
