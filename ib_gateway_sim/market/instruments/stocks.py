"""Stocks and funds, the symbols that are made for tests among them.

| symbol for tests | what is special |
|---|---|
| DUAL | two listings: ARCA in USD and TSE in CAD, so the symbol alone is ambiguous |
| THIN | trades a few times a day, on some days not at all (quotes are there) |
| NOPERM | the login has no market data permission (`Contract.permitted` is False) |
| NEWCO | listed on 2025-09-15: its head is recent |
| HALT | halted all day on the trade dates of HALTED_DAYS: open by the calendar, but neither trades nor quotes |
| SPLT | splits 2 for 1 on the first trading day of every even year |
| MANY01 to MANY50 | nothing: for runs with many symbols |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.instruments.instrument import STOCK_KINDS, Instrument, con_id

HALTED_DAYS = frozenset({date(2024, 3, 13), date(2025, 3, 12), date(2025, 9, 10), date(2026, 3, 11), date(2026, 9, 9)})
_US_EXCHANGES = ("SMART", "ISLAND", "NYSE", "NASDAQ", "ARCA", "BATS", "IEX", "EDGX", "OVERNIGHT")


@dataclass(frozen=True)
class Stock:
    """One line of the lists below."""

    symbol: str
    name: str
    prices: tuple[float, float]  # 2005, 2025
    exchange: str = "NASDAQ"
    etf: bool = False
    vol: float = 0.017  # standard deviation of a day's log return
    rates: tuple[float, float] = (900.0, 40.0)  # trades a minute in and outside regular hours
    size: float = 90.0  # mean volume of a trade
    spreads: tuple[int, int] = (1, 6)  # ticks in and outside regular hours
    head: date = calendars.FIRST
    splits: tuple[tuple[date, int], ...] = ()  # first trade date, ratio
    yield_year: float = 0.0
    currency: str = "USD"
    calendar: str = "us_stock"
    permitted: bool = True
    halted: frozenset[date] = frozenset()
    business: tuple[str, str, str] = ("", "", "")  # industry, category, subcategory


def _instrument(one: Stock) -> Instrument:
    return Instrument(
        contract=_contract(one),
        per_unit=100,
        price_2005=one.prices[0],
        price_2025=one.prices[1],
        vol_day=one.vol,
        rate_regular=one.rates[0],
        rate_extended=one.rates[1],
        trade_size=one.size,
        spread_regular=one.spreads[0],
        spread_extended=one.spreads[1],
        head=one.head,
        splits=one.splits,
        yield_year=one.yield_year,
        halted=one.halted,
    )


def _contract(one: Stock) -> Contract:
    number = con_id("STK", one.symbol, one.currency)
    abroad = one.currency != "USD"
    valid = ("SMART", one.exchange) if abroad else tuple(dict.fromkeys((*_US_EXCHANGES, one.exchange)))
    return Contract(
        con_id=number,
        symbol=one.symbol,
        sec_type="STK",
        exchange="SMART",
        currency=one.currency,
        local_symbol=one.symbol,
        long_name=one.name,
        calendar=one.calendar,
        time_zone=calendars.zone_name(one.calendar),
        min_tick=0.01,
        kinds=STOCK_KINDS,
        primary_exchange=one.exchange,
        trading_class=one.symbol if abroad else {"NASDAQ": "NMS"}.get(one.exchange, one.symbol),
        market_name=one.symbol if abroad else {"NASDAQ": "NMS"}.get(one.exchange, one.symbol),
        industry=one.business[0],
        category=one.business[1],
        subcategory=one.business[2],
        valid_exchanges=valid,
        market_rule_ids=(26,) * len(valid),
        stock_type="ETF" if one.etf else "COMMON",
        sec_ids=(("ISIN", _isin("CA" if abroad else "US", number)),),
        md_size_multiplier=1 if abroad else 100,
        min_size=0.0001 if not abroad else 1.0,
        size_increment=0.0001 if not abroad else 1.0,
        suggested_size_increment=100.0,
        permitted=one.permitted,
    )


def _isin(country: str, number: int) -> str:
    """A made-up ISIN with a right check digit."""
    body = f"{country}{number:09d}"
    digits = "".join(str(int(character, 36)) for character in body)
    doubled = "".join(str(int(d) * (2 if i % 2 == 0 else 1)) for i, d in enumerate(reversed(digits)))
    return body + str(-sum(int(d) for d in doubled) % 10)


_TECH = ("Technology", "Computers", "Computers")
STOCKS = (
    Stock(
        "AAPL",
        "APPLE INC",
        (1.3, 235.0),
        splits=((date(2005, 2, 28), 2), (date(2014, 6, 9), 7), (date(2020, 8, 31), 4)),
        yield_year=0.005,
        business=_TECH,
    ),
    Stock("MSFT", "MICROSOFT CORP", (19.0, 420.0), rates=(600.0, 20.0), yield_year=0.008, business=_TECH),
    Stock(
        "GOOGL",
        "ALPHABET INC-CL A",
        (5.0, 190.0),
        rates=(550.0, 15.0),
        head=date(2004, 8, 19),
        splits=((date(2014, 4, 3), 2), (date(2022, 7, 18), 20)),
        yield_year=0.004,
        business=("Communications", "Internet", "Web Portals/ISP"),
    ),
    Stock(
        "AMZN",
        "AMAZON.COM INC",
        (2.1, 220.0),
        rates=(650.0, 25.0),
        splits=((date(2022, 6, 6), 20),),
        business=("Communications", "Internet", "E-Commerce/Products"),
    ),
    Stock(
        "TSLA",
        "TESLA INC",
        (0.9, 330.0),
        vol=0.035,
        rates=(1500.0, 120.0),
        spreads=(2, 8),
        head=date(2010, 6, 29),
        splits=((date(2020, 8, 31), 5), (date(2022, 8, 25), 3)),
        business=("Consumer, Cyclical", "Auto Manufacturers", "Auto-Cars/Light Trucks"),
    ),
    Stock(
        "NVDA",
        "NVIDIA CORP",
        (0.2, 140.0),
        vol=0.03,
        rates=(1800.0, 160.0),
        size=110.0,
        splits=((date(2006, 4, 7), 2), (date(2021, 7, 20), 4), (date(2024, 6, 10), 10)),
        yield_year=0.0003,
        business=("Technology", "Semiconductors", "Electronic Compo-Semicon"),
    ),
    Stock("QQQ", "INVESCO QQQ TRUST", (38.0, 515.0), etf=True, vol=0.012, rates=(800.0, 90.0), yield_year=0.006),
    Stock(
        "TLT", "ISHARES 20+ YEAR TREASURY BD", (89.0, 90.0), etf=True, vol=0.009, rates=(300.0, 8.0), yield_year=0.04
    ),
    Stock(
        "SPY",
        "SPDR S&P 500 ETF TRUST",
        (120.0, 590.0),
        exchange="ARCA",
        etf=True,
        vol=0.01,
        rates=(1300.0, 120.0),
        yield_year=0.013,
    ),
    Stock("IWM", "ISHARES RUSSELL 2000 ETF", (63.0, 222.0), exchange="ARCA", etf=True, vol=0.013, rates=(500.0, 20.0)),
    Stock(
        "GLD",
        "SPDR GOLD SHARES",
        (43.0, 245.0),
        exchange="ARCA",
        etf=True,
        vol=0.009,
        rates=(250.0, 8.0),
        head=date(2004, 11, 18),
    ),
    Stock(
        "USO",
        "UNITED STATES OIL FUND LP",
        (70.0, 76.0),
        exchange="ARCA",
        etf=True,
        vol=0.02,
        rates=(90.0, 3.0),
        head=date(2006, 4, 10),
    ),
)
TEST_STOCKS = (
    Stock("DUAL", "DUAL LISTED CORP", (20.0, 45.0), exchange="ARCA", rates=(60.0, 0.5)),
    Stock(
        "DUAL", "DUAL LISTED CORP", (27.0, 60.0), exchange="TSE", currency="CAD", calendar="toronto", rates=(25.0, 0.5)
    ),
    Stock("THIN", "THINLY TRADED INC", (6.0, 8.0), rates=(0.008, 0.0005), size=140.0, spreads=(9, 30)),
    Stock("NOPERM", "NO PERMISSION CORP", (30.0, 30.0), exchange="NYSE", permitted=False),
    Stock("NEWCO", "NEW LISTING CORP", (15.0, 40.0), exchange="NYSE", rates=(40.0, 0.3), head=date(2025, 9, 15)),
    Stock("HALT", "OFTEN HALTED CORP", (25.0, 50.0), rates=(50.0, 0.3), halted=HALTED_DAYS),
    Stock(
        "SPLT",
        "SPLITS EVERY SECOND YEAR CORP",
        (0.6, 60.0),
        rates=(70.0, 0.5),
        splits=tuple((date(year, 1, 2), 2) for year in range(2006, 2031, 2)),
    ),
    *(
        Stock(f"MANY{number:02d}", f"ONE OF MANY {number:02d} INC", (10.0, 20.0 + number), rates=(200.0, 2.0))
        for number in range(1, 51)
    ),
)


def stocks() -> Iterator[Instrument]:
    return map(_instrument, STOCKS)


def stocks_for_tests() -> Iterator[Instrument]:
    return map(_instrument, TEST_STOCKS)
