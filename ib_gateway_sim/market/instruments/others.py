"""Currency pairs, indices, crypto currencies and CFDs."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.contracts import ORDER_TYPES, Contract
from ib_gateway_sim.market.instruments.instrument import QUOTES, Instrument, con_id
from ib_gateway_sim.market.instruments.stocks import stocks

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


def pairs() -> Iterator[Instrument]:
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


def indices() -> Iterator[Instrument]:
    yield _index("SPX", "S&P 500 Stock Index", "CBOE", (1200.0, 5900.0), vol=0.01, path="SP500")
    yield _index("DJX", "Dow Jones Industrial Average / 100", "CBOE", (105.0, 430.0), vol=0.009, path="DOW")
    yield _index("VIX", "CBOE Volatility Index", "CBOE", (17.0, 17.0), vol=0.05, calendar="cboe_index")
    yield _index("NDX", "NASDAQ 100 Stock Index", "NASDAQ", (1560.0, 21000.0), vol=0.012, path="NASDAQ100")


def coins() -> Iterator[Instrument]:
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


def cfds() -> Iterator[Instrument]:
    by_symbol = {instrument.contract.symbol: instrument for instrument in (*stocks(), *indices())}
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
