"""Futures: products, their months, and the continuous contract of each."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.instruments.instrument import TRADED, Instrument, con_id, expiry

EXPIRED_FUTURE_DAYS = 730  # facts: an expired future is known for two years


@dataclass(frozen=True)
class FuturesRoot:
    """A futures product: what its months have in common."""

    symbol: str
    name: str
    exchange: str
    calendar: str
    multiplier: str
    per_unit: int  # ticks in 1.0 of price
    months: tuple[int, ...]
    rule: str  # how the last trade date follows from the month, see last_trade_date
    listed_days: int  # how long before its end a month is listed
    front_days: int  # for how long it is the most traded
    roll_days: int  # how long before its end the next month takes over
    prices: tuple[float, float]  # 2005, 2025
    vol_day: float
    carry: float
    rates: tuple[float, float]  # trades a minute in and outside regular hours
    market_rule: int
    path: str


_QUARTERS = (3, 6, 9, 12)
_EVERY = tuple(range(1, 13))
_EVEN = (2, 4, 6, 8, 10, 12)
_INDEX_RULE = (_QUARTERS, "third friday", 460, 91, 5)  # months, rule, listed, front and roll days
_Product = tuple[str, str, str, str, str, int]
_Rules = tuple[tuple[int, ...], str, int, int, int]
_Habits = tuple[tuple[float, float], float, float, tuple[float, float], int, str]


def _root(product: _Product, rules: _Rules, habits: _Habits) -> FuturesRoot:
    symbol, name, exchange, calendar, multiplier, per_unit = product
    months, rule, listed, front_days, roll = rules
    return FuturesRoot(
        symbol, name, exchange, calendar, multiplier, per_unit, months, rule, listed, front_days, roll, *habits
    )


FUTURES = (
    _root(
        ("ES", "E-mini S&P 500", "CME", "cme_equity", "50", 4),
        _INDEX_RULE,
        ((1200.0, 5900.0), 0.010, 0.03, (1400.0, 160.0), 67, "SP500"),
    ),
    _root(
        ("NQ", "E-mini NASDAQ 100", "CME", "cme_equity", "20", 4),
        _INDEX_RULE,
        ((1560.0, 21000.0), 0.012, 0.03, (1300.0, 190.0), 67, "NASDAQ100"),
    ),
    _root(
        ("YM", "Mini Sized Dow Jones Industrial Average $5", "CBOT", "cme_equity", "5", 1),
        _INDEX_RULE,
        ((10500.0, 43000.0), 0.009, 0.03, (250.0, 35.0), 3170, "DOW"),
    ),
    _root(
        ("RTY", "E-Mini Russell 2000 Index", "CME", "cme_equity", "50", 10),
        _INDEX_RULE,
        ((630.0, 2250.0), 0.013, 0.03, (300.0, 35.0), 1362, "RUSSELL"),
    ),
    _root(
        ("CL", "Light Sweet Crude Oil", "NYMEX", "nymex_energy", "1000", 100),
        (_EVERY, "before the 25th", 730, 31, 3),
        ((45.0, 72.0), 0.022, -0.02, (420.0, 60.0), 32, "CRUDE"),
    ),
    _root(
        ("NG", "Henry Hub Natural Gas", "NYMEX", "nymex_energy", "10000", 1000),
        (_EVERY, "before the 1st", 730, 31, 3),
        ((6.2, 3.4), 0.035, 0.05, (150.0, 18.0), 36, "NATGAS"),
    ),
    _root(
        ("GC", "Gold", "COMEX", "comex_metals", "100", 10),
        (_EVEN, "third last", 730, 62, 28),
        ((430.0, 2700.0), 0.009, 0.045, (330.0, 90.0), 31, "GOLD"),
    ),
    _root(
        ("SI", "Silver", "COMEX", "comex_metals", "5000", 200),
        ((3, 5, 7, 9, 12), "third last", 730, 75, 28),
        ((6.5, 31.0), 0.018, 0.045, (140.0, 35.0), 34, "SILVER"),
    ),
)
MONTH_CODES = "FGHJKMNQUVXZ"


def last_trade_date(root: FuturesRoot, year: int, month: int) -> date:
    """The exchange's rule for the last trading day of a contract month."""
    first = date(year, month, 1)
    if root.rule == "third friday":
        return _business_day(first + timedelta(days=(4 - first.weekday()) % 7 + 14), 0, root.calendar)
    if root.rule == "before the 25th":  # the third business day before the 25th of the month before
        before = first - timedelta(days=1)
        return _business_day(date(before.year, before.month, 25), 3, root.calendar)
    if root.rule == "before the 1st":
        return _business_day(first - timedelta(days=1), 2, root.calendar)
    following = (first + timedelta(days=32)).replace(day=1)
    return _business_day(following - timedelta(days=1), 2, root.calendar)


def _business_day(day: date, back: int, calendar: str) -> date:
    """The day itself or the trading day before it, then `back` trading days earlier."""
    while True:
        beyond = day > calendars.LAST and day.weekday() < 5  # no holidays are known there
        if beyond or calendars.known_sessions(calendar, day, rth=True) or day < calendars.FIRST:
            if back == 0:
                return day
            back -= 1
        day -= timedelta(days=1)


def _month(root: FuturesRoot, year: int, month: int) -> Instrument:
    end = last_trade_date(root, year, month)
    code = f"{root.symbol}{MONTH_CODES[month - 1]}{year % 10}"
    last = min(end, calendars.LAST)
    contract = replace(
        _future_contract(root),
        con_id=con_id("FUT", root.symbol, f"{year}{month:02}"),
        sec_type="FUT",
        last_trade_date=f"{end:%Y%m%d}",
        local_symbol=code,
        contract_month=f"{year}{month:02}",
        real_expiration_date=f"{end:%Y%m%d}",
    )
    return Instrument(
        contract=contract,
        per_unit=root.per_unit,
        price_2005=root.prices[0],
        price_2025=root.prices[1],
        vol_day=root.vol_day,
        rate_regular=root.rates[0],
        rate_extended=root.rates[1],
        trade_size=2.6,
        spread_regular=1,
        spread_extended=1 if root.rates[1] > 50 else 2,
        path=root.path,
        carry=root.carry,
        front_days=root.front_days + root.roll_days,
        head=max(last - timedelta(days=root.listed_days), calendars.FIRST),
    )


def _future_contract(root: FuturesRoot) -> Contract:
    return Contract(
        con_id=con_id("CONTFUT", root.symbol),
        symbol=root.symbol,
        sec_type="CONTFUT",
        exchange=root.exchange,
        currency="USD",
        local_symbol=root.symbol,
        long_name=root.name,
        calendar=root.calendar,
        time_zone=calendars.zone_name(root.calendar),
        min_tick=1 / root.per_unit,
        kinds=TRADED,
        multiplier=root.multiplier,
        trading_class=root.symbol,
        market_name=root.symbol,
        valid_exchanges=(root.exchange,),
        market_rule_ids=(root.market_rule,),
        under_con_id=con_id("IND", root.symbol),
        under_symbol=root.symbol,
        under_sec_type="IND",
        agg_group=2147483647,
    )


def months(root: FuturesRoot) -> tuple[Instrument, ...]:
    """All months of a product that end within the calendars, in order of expiry."""
    return _months(root.symbol)


@cache
def _months(symbol: str) -> tuple[Instrument, ...]:
    root = next(one for one in FUTURES if one.symbol == symbol)
    every = (_month(root, year, month) for year in range(2004, 2032) for month in root.months)
    within = [one for one in every if calendars.FIRST <= (expiry(one.contract) or calendars.FIRST) <= calendars.LAST]
    return tuple(within)


@cache
def root_of(symbol: str) -> FuturesRoot | None:
    """The product of a future's symbol."""
    return next((root for root in FUTURES if root.symbol == symbol), None)


@cache
def _ends(symbol: str) -> list[date]:
    """The last trade dates of a product's months, in order."""
    root = root_of(symbol)
    return [expiry(one.contract) or calendars.LAST for one in months(root)] if root else []


def front(root: FuturesRoot, day: date) -> Instrument:
    """The month that a continuous future stands for on a trade date."""
    every = months(root)
    place = bisect_right(_ends(root.symbol), day + timedelta(days=root.roll_days))
    return every[min(place, len(every) - 1)]


def continuous(root: FuturesRoot) -> Instrument:
    """The CONTFUT of a product; its prices are those of `roll`."""
    first = months(root)[0]
    return replace(first, contract=_future_contract(root), head=calendars.FIRST, roll=months(root))
