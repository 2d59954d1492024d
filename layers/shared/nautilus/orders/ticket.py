"""What somebody wants to trade, before any check: one order, perhaps with a take-profit and a stop-loss.

Prices and quantities are Decimal, as they were sent. Times are nanoseconds of market time, UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from nautilus.market.instrument import Instrument


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sell: what a fill does to the position."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """IB's order types by IB's names, with an underscore for the blank."""

    MKT = "MKT"
    LMT = "LMT"
    STP = "STP"
    STP_LMT = "STP_LMT"
    TRAIL = "TRAIL"
    TRAIL_LIMIT = "TRAIL_LIMIT"
    MIT = "MIT"
    LIT = "LIT"
    MOC = "MOC"
    LOC = "LOC"


class Tif(StrEnum):
    """Time in force. FOK: the whole quantity at once or nothing. OPG: for the opening auction alone."""

    DAY = "DAY"
    GTC = "GTC"
    GTD = "GTD"
    IOC = "IOC"
    FOK = "FOK"
    OPG = "OPG"


class Origin(StrEnum):
    """Who placed an order. `external`: somebody in TWS or another program; such an order is shown, never sent."""

    API = "api"
    FRONT_END = "front_end"
    KILL = "kill"
    STRATEGY = "strategy"
    EXTERNAL = "external"


class Prices(NamedTuple):
    """The prices of an order, in the instrument's currency; None where its type has none.

    limit: the worst price that is taken. stop: the price that makes the order live; of a trailing one where its stop begins.
    trail_amount, trail_percent: how far a trailing stop stays behind the market, as a price or in percent of it.
    """

    limit: Decimal | None = None
    stop: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None


NO_PRICES = Prices()


class PriceUse(StrEnum):
    """Whether an order type takes a price."""

    NEEDED = "needed"
    ALLOWED = "allowed"
    NONE = "none"


class TypeRule(NamedTuple):
    """What an order of one type has. trail: exactly one of trail_amount and trail_percent."""

    limit: PriceUse
    stop: PriceUse
    trail: bool
    tifs: frozenset[Tif]


_RESTING = frozenset({Tif.DAY, Tif.GTC, Tif.GTD})
_AT_ONCE = frozenset({Tif.IOC, Tif.FOK})
_NEEDED, _NONE = PriceUse.NEEDED, PriceUse.NONE
# TWS API, order types and time in force (read 2026-11). The auctions have a time in force of their own: DAY of MOC and LOC,
# OPG of MKT and LMT. IOC and FOK are for what can trade at once.
TYPES: Mapping[OrderType, TypeRule] = {
    OrderType.MKT: TypeRule(_NONE, _NONE, False, _RESTING | _AT_ONCE | {Tif.OPG}),
    OrderType.LMT: TypeRule(_NEEDED, _NONE, False, _RESTING | _AT_ONCE | {Tif.OPG}),
    OrderType.STP: TypeRule(_NONE, _NEEDED, False, _RESTING),
    OrderType.STP_LMT: TypeRule(_NEEDED, _NEEDED, False, _RESTING),
    OrderType.TRAIL: TypeRule(_NONE, PriceUse.ALLOWED, True, _RESTING),
    OrderType.TRAIL_LIMIT: TypeRule(_NEEDED, _NEEDED, True, _RESTING),
    OrderType.MIT: TypeRule(_NONE, _NEEDED, False, _RESTING),
    OrderType.LIT: TypeRule(_NEEDED, _NEEDED, False, _RESTING),
    OrderType.MOC: TypeRule(_NONE, _NONE, False, frozenset({Tif.DAY})),
    OrderType.LOC: TypeRule(_NEEDED, _NONE, False, frozenset({Tif.DAY})),
}
"""Order type -> its prices and times in force."""
STOPS = frozenset({OrderType.STP, OrderType.STP_LMT, OrderType.TRAIL, OrderType.TRAIL_LIMIT})
"""Types that wait on the worse side of the market: a buy above it, a sell below it."""
TOUCHED = frozenset({OrderType.MIT, OrderType.LIT})
"""Types that wait on the better side of the market: a buy below it, a sell above it."""


class Exit(NamedTuple):
    """One of the two orders that end the position of a bracket: they wait until the first order has filled."""

    type: OrderType
    prices: Prices
    tif: Tif = Tif.GTC


class Oca(NamedTuple):
    """One cancels all: the orders of one account with the same group end together.

    type: IB's 1 (cancel the others, one order at the exchange at a time), 2 (reduce the others, one at a time) or 3 (reduce
    the others; two may fill).
    """

    group: str
    type: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An order as its caller wants it. What is None was not given.

    con_id is the instrument's own, confirmed by IB in this trade date. good_till: of GTD, when the order ends. valid_for_s:
    how long it may wait before it is sent; afterwards it is denied. allow_duplicate: that an equal order came shortly before
    is no mistake. round_prices: prices off the step become the next step on the safe side; else they are refused. dry_run: the
    checks alone.
    """

    account: str
    instrument: Instrument
    side: Side
    type: OrderType
    quantity: Decimal
    tif: Tif = Tif.DAY
    prices: Prices = NO_PRICES
    good_till: int | None = None
    outside_rth: bool = False
    take_profit: Exit | None = None
    stop_loss: Exit | None = None
    oca: Oca | None = None
    valid_for_s: int = 30
    tags: tuple[str, ...] = ()
    allow_duplicate: bool = False
    round_prices: bool = False
    dry_run: bool = False
    origin: Origin = Origin.API

    @property
    def con_id(self) -> int:
        return self.instrument.con_id

    @property
    def is_bracket(self) -> bool:
        return self.take_profit is not None or self.stop_loss is not None
