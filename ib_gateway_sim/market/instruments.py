"""The list of what exists in the generated market, and how each instrument behaves.

Symbols made for tests (all STK):

| symbol | what is special |
|---|---|
| DUAL | two listings: ARCA in USD and TSE in CAD, so the symbol alone is ambiguous |
| THIN | trades a few times a day, on some days not at all (quotes are there) |
| NOPERM | the login has no market data permission (`Contract.permitted` is False) |
| NEWCO | listed on 2025-09-15: its head is recent |
| HALT | halted all day on the trade dates of HALTED_DAYS: open by the calendar, but neither trades nor quotes |
| SPLT | splits 2 for 1 on the first trading day of every even year |
| MANY01 to MANY50 | nothing: for runs with many symbols |
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from math import log
from zlib import crc32

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.contracts import ORDER_TYPES, Contract

HALTED_DAYS = frozenset({date(2024, 3, 13), date(2025, 3, 12), date(2025, 9, 10), date(2026, 3, 11), date(2026, 9, 9)})
EXPIRED_FUTURE_DAYS = 730  # facts: an expired future is known for two years

QUOTES = ("MIDPOINT", "BID", "ASK", "BID_ASK")
TRADED = ("TRADES", *QUOTES)
STOCK_KINDS = (*TRADED, "ADJUSTED_LAST")


@dataclass(frozen=True)
class Instrument:
    """A contract and the numbers that its prices are made from."""

    contract: Contract
    per_unit: int  # ticks in 1.0 of price
    price_2005: float  # level in early 2005 and 2025, at today's share count; between and after: steady growth
    price_2025: float
    vol_day: float  # standard deviation of a day's log return
    rate_regular: float  # ticks (trades, or quotes where nothing trades) a minute
    rate_extended: float
    trade_size: float  # mean volume of a trade
    spread_regular: int  # ticks between bid and ask
    spread_extended: int
    path: str = ""  # instruments with the same text walk together; default: their own con_id
    carry: float = 0.0  # a future's yearly premium over its underlying
    head: date = calendars.FIRST
    splits: tuple[tuple[date, int], ...] = ()
    front_days: int = 0  # a future is busy from so many days before its end, 0: always
    yield_year: float = 0.0  # dividends of a year, part of the price
    halted: frozenset[date] = frozenset()
    volume_unit: int = 1  # volume is served in parts of it: 10_000 for crypto
    under: Instrument | None = field(default=None, repr=False)  # of an option
    roll: tuple[Instrument, ...] = field(default=(), repr=False)  # of a continuous future: its months

    @property
    def walk(self) -> str:
        """The name of its level's noise."""
        return self.path or str(self.contract.con_id)

    def trend(self, years: float) -> float:
        """The steady part of its log price; years since 2025-01-01."""
        return log(self.price_2025) + years * log(self.price_2025 / self.price_2005) / 20


def con_id(*names: str) -> int:
    """A stable contract id of nine digits."""
    return 100_000_000 + crc32("/".join(names).encode()) % 800_000_000


def expiry(contract: Contract) -> date | None:
    """The last trade date of a contract, None where there is none."""
    text = contract.last_trade_date
    return date(int(text[:4]), int(text[4:6]), int(text[6:])) if text else None


# ---- stocks and ETFs ------------------------------------------------------------------------------------------------

_US_EXCHANGES = ("SMART", "ISLAND", "NYSE", "NASDAQ", "ARCA", "BATS", "IEX", "EDGX", "OVERNIGHT")


def _stock(
    symbol: str,
    name: str,
    prices: tuple[float, float],
    *,
    exchange: str = "NASDAQ",
    etf: bool = False,
    vol: float = 0.017,
    rates: tuple[float, float] = (900.0, 40.0),
    size: float = 90.0,
    spreads: tuple[int, int] = (1, 6),
    head: date = calendars.FIRST,
    splits: tuple[tuple[date, int], ...] = (),
    yield_year: float = 0.0,
    currency: str = "USD",
    calendar: str = "us_stock",
    permitted: bool = True,
    halted: frozenset[date] = frozenset(),
    business: tuple[str, str, str] = ("", "", ""),
) -> Instrument:
    number = con_id("STK", symbol, currency)
    abroad = currency != "USD"
    valid = ("SMART", exchange) if abroad else tuple(dict.fromkeys((*_US_EXCHANGES, exchange)))
    contract = Contract(
        con_id=number,
        symbol=symbol,
        sec_type="STK",
        exchange="SMART",
        currency=currency,
        local_symbol=symbol,
        long_name=name,
        calendar=calendar,
        time_zone=calendars.zone_name(calendar),
        min_tick=0.01,
        kinds=STOCK_KINDS,
        primary_exchange=exchange,
        trading_class=symbol if abroad else {"NASDAQ": "NMS"}.get(exchange, symbol),
        market_name=symbol if abroad else {"NASDAQ": "NMS"}.get(exchange, symbol),
        industry=business[0],
        category=business[1],
        subcategory=business[2],
        valid_exchanges=valid,
        market_rule_ids=(26,) * len(valid),
        stock_type="ETF" if etf else "COMMON",
        sec_ids=(("ISIN", _isin("CA" if abroad else "US", number)),),
        md_size_multiplier=1 if abroad else 100,
        min_size=0.0001 if not abroad else 1.0,
        size_increment=0.0001 if not abroad else 1.0,
        suggested_size_increment=100.0,
        permitted=permitted,
    )
    return Instrument(
        contract=contract,
        per_unit=100,
        price_2005=prices[0],
        price_2025=prices[1],
        vol_day=vol,
        rate_regular=rates[0],
        rate_extended=rates[1],
        trade_size=size,
        spread_regular=spreads[0],
        spread_extended=spreads[1],
        head=head,
        splits=splits,
        yield_year=yield_year,
        halted=halted,
    )


def _isin(country: str, number: int) -> str:
    """A made-up ISIN with a right check digit."""
    body = f"{country}{number:09d}"
    digits = "".join(str(int(character, 36)) for character in body)
    doubled = "".join(str(int(d) * (2 if i % 2 == 0 else 1)) for i, d in enumerate(reversed(digits)))
    return body + str(-sum(int(d) for d in doubled) % 10)


def _stocks() -> Iterator[Instrument]:
    tech = ("Technology", "Computers", "Computers")
    yield _stock(
        "AAPL",
        "APPLE INC",
        (1.3, 235.0),
        splits=((date(2005, 2, 28), 2), (date(2014, 6, 9), 7), (date(2020, 8, 31), 4)),
        yield_year=0.005,
        business=tech,
    )
    yield _stock("MSFT", "MICROSOFT CORP", (19.0, 420.0), rates=(600.0, 20.0), yield_year=0.008, business=tech)
    yield _stock(
        "GOOGL",
        "ALPHABET INC-CL A",
        (5.0, 190.0),
        rates=(550.0, 15.0),
        head=date(2004, 8, 19),
        splits=((date(2014, 4, 3), 2), (date(2022, 7, 18), 20)),
        yield_year=0.004,
        business=("Communications", "Internet", "Web Portals/ISP"),
    )
    yield _stock(
        "AMZN",
        "AMAZON.COM INC",
        (2.1, 220.0),
        rates=(650.0, 25.0),
        splits=((date(2022, 6, 6), 20),),
        business=("Communications", "Internet", "E-Commerce/Products"),
    )
    yield _stock(
        "TSLA",
        "TESLA INC",
        (0.9, 330.0),
        vol=0.035,
        rates=(1500.0, 120.0),
        spreads=(2, 8),
        head=date(2010, 6, 29),
        splits=((date(2020, 8, 31), 5), (date(2022, 8, 25), 3)),
        business=("Consumer, Cyclical", "Auto Manufacturers", "Auto-Cars/Light Trucks"),
    )
    yield _stock(
        "NVDA",
        "NVIDIA CORP",
        (0.2, 140.0),
        vol=0.03,
        rates=(1800.0, 160.0),
        size=110.0,
        splits=((date(2006, 4, 7), 2), (date(2021, 7, 20), 4), (date(2024, 6, 10), 10)),
        yield_year=0.0003,
        business=("Technology", "Semiconductors", "Electronic Compo-Semicon"),
    )
    yield _stock("QQQ", "INVESCO QQQ TRUST", (38.0, 515.0), etf=True, vol=0.012, rates=(800.0, 90.0), yield_year=0.006)
    yield _stock(
        "TLT", "ISHARES 20+ YEAR TREASURY BD", (89.0, 90.0), etf=True, vol=0.009, rates=(300.0, 8.0), yield_year=0.04
    )
    yield _stock(
        "SPY",
        "SPDR S&P 500 ETF TRUST",
        (120.0, 590.0),
        exchange="ARCA",
        etf=True,
        vol=0.01,
        rates=(1300.0, 120.0),
        yield_year=0.013,
    )
    yield _stock(
        "IWM", "ISHARES RUSSELL 2000 ETF", (63.0, 222.0), exchange="ARCA", etf=True, vol=0.013, rates=(500.0, 20.0)
    )
    yield _stock(
        "GLD",
        "SPDR GOLD SHARES",
        (43.0, 245.0),
        exchange="ARCA",
        etf=True,
        vol=0.009,
        rates=(250.0, 8.0),
        head=date(2004, 11, 18),
    )
    yield _stock(
        "USO",
        "UNITED STATES OIL FUND LP",
        (70.0, 76.0),
        exchange="ARCA",
        etf=True,
        vol=0.02,
        rates=(90.0, 3.0),
        head=date(2006, 4, 10),
    )


def _test_stocks() -> Iterator[Instrument]:
    yield _stock("DUAL", "DUAL LISTED CORP", (20.0, 45.0), exchange="ARCA", rates=(60.0, 0.5))
    yield _stock(
        "DUAL", "DUAL LISTED CORP", (27.0, 60.0), exchange="TSE", currency="CAD", calendar="toronto", rates=(25.0, 0.5)
    )
    yield _stock("THIN", "THINLY TRADED INC", (6.0, 8.0), rates=(0.008, 0.0005), size=140.0, spreads=(9, 30))
    yield _stock("NOPERM", "NO PERMISSION CORP", (30.0, 30.0), exchange="NYSE", permitted=False)
    yield _stock("NEWCO", "NEW LISTING CORP", (15.0, 40.0), exchange="NYSE", rates=(40.0, 0.3), head=date(2025, 9, 15))
    yield _stock("HALT", "OFTEN HALTED CORP", (25.0, 50.0), rates=(50.0, 0.3), halted=HALTED_DAYS)
    yield _stock(
        "SPLT",
        "SPLITS EVERY SECOND YEAR CORP",
        (0.6, 60.0),
        rates=(70.0, 0.5),
        splits=tuple((date(year, 1, 2), 2) for year in range(2006, 2031, 2)),
    )
    for number in range(1, 51):
        yield _stock(f"MANY{number:02d}", f"ONE OF MANY {number:02d} INC", (10.0, 20.0 + number), rates=(200.0, 2.0))


# ---- currencies, indices, crypto, CFDs ------------------------------------------------------------------------------

_PAIRS = {  # pair -> price 2005, price 2025, ticks per 1.0, spread in ticks
    "EUR.USD": (1.30, 1.09, 20_000, 1),
    "GBP.USD": (1.85, 1.28, 20_000, 1),
    "AUD.USD": (0.77, 0.66, 20_000, 1),
    "USD.JPY": (105.0, 148.0, 200, 1),
    "USD.CHF": (1.20, 0.87, 20_000, 2),
    "USD.CAD": (1.23, 1.38, 20_000, 2),
}
_NAMES = {
    "EUR": "European Monetary Union Euro",
    "GBP": "British pound",
    "AUD": "Australian dollar",
    "USD": "United States dollar",
}


def _pairs() -> Iterator[Instrument]:
    for pair, (price_2005, price_2025, per_unit, spread) in _PAIRS.items():
        base, quote = pair.split(".")
        contract = Contract(
            con_id=con_id("CASH", pair),
            symbol=base,
            sec_type="CASH",
            exchange="IDEALPRO",
            currency=quote,
            local_symbol=pair,
            long_name=_NAMES[base],
            calendar="idealpro",
            time_zone=calendars.zone_name("idealpro"),
            min_tick=1 / per_unit,
            kinds=QUOTES,
            trading_class=pair,
            market_name=pair,
            valid_exchanges=("IDEALPRO",),
            market_rule_ids=(239,) if per_unit == 20_000 else (240,),
            agg_group=4,
        )
        yield Instrument(
            contract=contract,
            per_unit=per_unit,
            price_2005=price_2005,
            price_2025=price_2025,
            vol_day=0.005,
            rate_regular=180.0,
            rate_extended=180.0,
            trade_size=1.0,
            spread_regular=spread,
            spread_extended=spread,
            head=date(2005, 3, 9),
        )


def _index(
    symbol: str,
    name: str,
    exchange: str,
    prices: tuple[float, float],
    *,
    vol: float,
    calendar: str = "us_index",
    path: str = "",
) -> Instrument:
    contract = Contract(
        con_id=con_id("IND", symbol),
        symbol=symbol,
        sec_type="IND",
        exchange=exchange,
        currency="USD",
        local_symbol=symbol,
        long_name=name,
        calendar=calendar,
        time_zone=calendars.zone_name(calendar),
        min_tick=0.01,
        kinds=("TRADES",),
        trading_class=symbol,
        market_name=symbol,
        order_types=(),
        valid_exchanges=(exchange,),
        market_rule_ids=(26,),
    )
    return Instrument(
        contract=contract,
        per_unit=100,
        price_2005=prices[0],
        price_2025=prices[1],
        vol_day=vol,
        rate_regular=59.0,  # an index is published about once a second
        rate_extended=59.0,
        trade_size=1.0,
        spread_regular=0,
        spread_extended=0,
        path=path,
    )


def _indices() -> Iterator[Instrument]:
    yield _index("SPX", "S&P 500 Stock Index", "CBOE", (1200.0, 5900.0), vol=0.01, path="SP500")
    yield _index("DJX", "Dow Jones Industrial Average / 100", "CBOE", (105.0, 430.0), vol=0.009, path="DOW")
    yield _index("VIX", "CBOE Volatility Index", "CBOE", (17.0, 17.0), vol=0.05, calendar="cboe_index")
    yield _index("NDX", "NASDAQ 100 Stock Index", "NASDAQ", (1560.0, 21000.0), vol=0.012, path="NASDAQ100")


def _coins() -> Iterator[Instrument]:
    for symbol, name, prices, head in (
        ("BTC", "Bitcoin cryptocurrency", (60.0, 95_000.0), date(2018, 1, 2)),
        ("ETH", "Ethereum cryptocurrency", (10.0, 3_300.0), date(2018, 1, 2)),
    ):
        contract = Contract(
            con_id=con_id("CRYPTO", symbol),
            symbol=symbol,
            sec_type="CRYPTO",
            exchange="PAXOS",
            currency="USD",
            local_symbol=f"{symbol}.USD",
            long_name=name,
            calendar="always",
            time_zone="UTC",
            min_tick=0.25 if symbol == "BTC" else 0.01,
            kinds=("AGGTRADES", *QUOTES),
            trading_class=symbol,
            market_name=symbol,
            valid_exchanges=("PAXOS",),
            market_rule_ids=(1713,) if symbol == "BTC" else (26,),
            min_size=0.0001,
            size_increment=0.0001,
            suggested_size_increment=0.0001,
        )
        yield Instrument(
            contract=contract,
            per_unit=4 if symbol == "BTC" else 100,
            price_2005=prices[0],
            price_2025=prices[1],
            vol_day=0.03,
            rate_regular=6.0,
            rate_extended=6.0,
            trade_size=400.0,
            spread_regular=20,
            spread_extended=20,
            head=head,
            volume_unit=10_000,
        )


def _cfds() -> Iterator[Instrument]:
    by_symbol = {instrument.contract.symbol: instrument for instrument in (*_stocks(), *_indices())}
    for symbol, under, per_unit, spread in (("AAPL", "AAPL", 100, 2), ("IBUS500", "SPX", 100, 50)):
        base = by_symbol[under]
        contract = replace(
            base.contract,
            con_id=con_id("CFD", symbol),
            symbol=symbol,
            sec_type="CFD",
            exchange="SMART",
            local_symbol=symbol if symbol == "IBUS500" else f"{symbol}n",
            kinds=QUOTES,
            trading_class=symbol,
            market_name=symbol,
            primary_exchange="",
            valid_exchanges=("SMART",),
            market_rule_ids=(26,),
            order_types=ORDER_TYPES,
            under_con_id=base.contract.con_id,
            under_symbol=under,
            under_sec_type=base.contract.sec_type,
            stock_type="",
            sec_ids=(),
            md_size_multiplier=1,
        )
        yield replace(
            base,
            contract=contract,
            per_unit=per_unit,
            path=base.walk,
            spread_regular=spread,
            spread_extended=spread * 4,
            rate_regular=120.0,
            rate_extended=30.0,
            yield_year=0.0,
        )


# ---- futures --------------------------------------------------------------------------------------------------------


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


_QUARTERS, _EVERY, _EVEN = (3, 6, 9, 12), tuple(range(1, 13)), (2, 4, 6, 8, 10, 12)
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
MARKET_RULES: dict[int, tuple[tuple[float, float], ...]] = {
    26: ((0.0, 0.01),),
    31: ((0.0, 0.1),),
    32: ((0.0, 0.01),),
    34: ((0.0, 0.005),),
    36: ((0.0, 0.001),),
    67: ((0.0, 0.25),),
    110: ((0.0, 0.01), (3.0, 0.05)),
    239: ((0.0, 0.00005),),
    240: ((0.0, 0.005),),
    1362: ((0.0, 0.1),),
    1713: ((0.0, 0.25),),
    3170: ((0.0, 1.0),),
}
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


@cache
def listed() -> tuple[Instrument, ...]:
    """Everything but futures months and options."""
    return (*_stocks(), *_test_stocks(), *_pairs(), *_indices(), *_coins(), *_cfds(), *map(continuous, FUTURES))


@cache
def by_con_id() -> dict[int, Instrument]:
    """Everything but options, by contract id."""
    every = [*listed(), *(one for root in FUTURES for one in months(root))]
    table = {one.contract.con_id: one for one in every}
    if len(table) != len(every):
        raise RuntimeError("two instruments got the same con_id: change con_id()")
    return table


@cache
def by_symbol() -> dict[str, tuple[Instrument, ...]]:
    """Everything but options, by symbol and by local symbol."""
    table: dict[str, tuple[Instrument, ...]] = {}
    for one in by_con_id().values():
        for name in {one.contract.symbol, one.contract.local_symbol}:
            table[name] = (*table.get(name, ()), one)
    return table
