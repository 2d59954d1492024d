"""What the checks of risk look at, as plain values: of the account, the instrument, the market, the caller and the process.

None is what nobody knows. Money is in the account's base currency, prices in the instrument's; ages are seconds of market
time, but none counts before two seconds of machine time have passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.market.account_kind import AccountKind
from nautilus.market.instrument import Instrument
from nautilus.orders.exposure import PendingOrder
from nautilus.orders.hours import SessionPhase
from nautilus.orders.prices import MarketRule

TradingState = Literal["active", "reducing", "halted"]
OrdersMode = Literal["off", "paper", "live"]
LEAST_AGE_NS = 2 * NS_PER_S
"""Machine time before which nothing is old, however fast market time runs."""
DELAYED = frozenset({"delayed", "delayed_frozen"})


class Quote(NamedTuple):
    """The newest quote. feed: `live`, `frozen`, `delayed`, `delayed_frozen`, or empty while it is not known."""

    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    age: Decimal
    feed: str = "live"

    @property
    def middle(self) -> Decimal | None:
        return (self.bid + self.ask) / 2 if self.bid is not None and self.ask is not None else None

    @property
    def price(self) -> Decimal | None:
        """The last trade, or the middle of bid and ask where nothing trades (currencies)."""
        return self.last if self.last is not None else self.middle


class RecentOrder(NamedTuple):
    """An order of the same account and instrument that was accepted shortly before under another key."""

    side: str
    type: str
    quantity: Decimal
    limit: Decimal | None
    stop: Decimal | None
    age: Decimal


class Counts(NamedTuple):
    """Orders and changes that were accepted: of the caller in a second, a minute and 24 hours, of the account in a second."""

    second: int
    minute: int
    day: int
    account_second: int


class Margin(NamedTuple):
    """IB's answer to a what-if: the margin that it would ask for afterwards, and the equity that covers it."""

    initial_after: Decimal
    equity_after: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One picture of everything, for one order.

    now: market time in ns. today: the trade date, yyyymmdd. mode: the setting `NAUTILUS_ORDERS`; live_accounts: those that the
    settings name. accounts: those of the login, as the order process saw them. may_trade: the caller has `orders:write` and
    the account. allowed: asset classes and con_ids that may be traded (`limits.allowed`). orders: the open ones of this
    account and instrument. reserved_value, gross_position_value: of the whole account. close: the last close. rate: what one
    unit of the instrument's currency is worth. delayed_allowed: delayed quotes may do (paper alone, by setting). daily_pnl: of
    the day by IB's count. restart_in: seconds until the gateway restarts. order_ratio: orders, changes and cancels to each
    execution, today. changes: the id of the order that is to change, which is one of `orders`; filled: what of it has filled.
    is_exit: it is an exit of a bracket; protects: one that is placed after the end of its entry. margin, margin_refusal: IB's
    answer to a what-if order; margin_unknown: why there is none that counts. losses: losing trades in this trade date,
    last_loss_age: since the newest of them.
    """

    now: int
    today: str
    account_kind: AccountKind | None
    mode: OrdersMode
    limits: Mapping[str, Decimal | None]
    live_accounts: frozenset[str] = frozenset()
    accounts: frozenset[str] | None = None
    trading_state: TradingState | None = None
    may_trade: bool | None = None
    allowed: frozenset[str] = frozenset()
    position: Decimal | None = None
    orders: tuple[PendingOrder, ...] = ()
    reserved_value: Decimal = Decimal(0)
    gross_position_value: Decimal | None = None
    net_liquidation: Decimal | None = None
    rule: MarketRule | None = None
    multiplier: Decimal = Decimal(1)
    magnifier: Decimal = Decimal(1)
    rate: Decimal | None = None
    quote: Quote | None = None
    close: Decimal | None = None
    delayed_allowed: bool = False
    session: SessionPhase | None = None
    daily_pnl: Decimal | None = None
    counts: Counts | None = None
    order_ratio: Decimal | None = None
    recent: tuple[RecentOrder, ...] = ()
    margin: Margin | None = None
    margin_refusal: str = ""
    margin_unknown: str = ""
    position_break: bool | None = None
    losses: int | None = None
    last_loss_age: Decimal | None = None
    ready: bool | None = None
    not_ready_because: str = ""
    restart_in: Decimal | None = None
    changes: str = ""
    filled: Decimal = Decimal(0)
    is_exit: bool = False
    protects: bool = False


def age_s(*, market_at: int, market_now: int, machine_at: int, machine_now: int) -> Decimal:
    """How old something is, in seconds of market time; 0 before two seconds of machine time. All four in ns."""
    if machine_now - machine_at < LEAST_AGE_NS:
        return Decimal(0)
    return Decimal(max(market_now - market_at, 0)) / NS_PER_S


def multiplier_of(instrument: Instrument) -> Decimal | None:
    """The contract's multiplier: 1 where IB tells none; None for a text that is no positive number."""
    if not instrument.multiplier:
        return Decimal(1)
    try:
        value = Decimal(instrument.multiplier)
    except ArithmeticError:
        return None
    return value if value.is_finite() and value > 0 else None


def magnifier_of(details: Mapping[str, object]) -> Decimal:
    """IB's price magnifier: 100 where prices are in hundredths of the currency; 1 where it sends none."""
    value = details.get("price_magnifier")
    return Decimal(value) if isinstance(value, int) and value > 0 else Decimal(1)
