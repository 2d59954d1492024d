"""Our words for instruments, series and bars, as the engine wants them. The engine's own names for them end here."""

from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from typing import Any, NamedTuple

from nautilus_trader.model import (
    AssetClass,
    BarAggregation,
    BarSpecification,
    BarType,
    Currency,
    CurrencyPair,
    Equity,
    FuturesContract,
    InstrumentId,
    Price,
    PriceType,
    Quantity,
    Symbol,
)

from nautilus.strategies.commission import Terms

ONE_VENUE = "ACCOUNT"
ENGINE = f"nautilus_trader {version('nautilus_trader')}"
_PRICE_TYPES = {
    "TRADES": PriceType.LAST,
    "AGGTRADES": PriceType.LAST,
    "MIDPOINT": PriceType.MID,
    "BID": PriceType.BID,
    "ASK": PriceType.ASK,
}
_AGGREGATIONS = {
    "s": BarAggregation.SECOND,
    "m": BarAggregation.MINUTE,
    "h": BarAggregation.HOUR,
    "d": BarAggregation.DAY,
    "w": BarAggregation.WEEK,
    "M": BarAggregation.MONTH,
}


class SetupError(Exception):
    """The run cannot begin as it was ordered; the text says why."""


class Traded(NamedTuple):
    """An instrument of the run. row: as the host sent it; engine: the engine's object; digits: decimals of its prices."""

    row: dict[str, Any]
    engine: Any
    digits: int

    @property
    def con_id(self) -> int:
        return int(self.row["con_id"])

    @property
    def terms(self) -> Terms:
        return Terms.of(self.row["commission"])


@dataclass(frozen=True)
class Series:
    """A series of the run. followed: the strategy receives its bars; the others are for
    executions alone. name: the engine's, of its instrument."""

    index: int
    traded: Traded
    timeframe: str
    price: str
    bar_type: Any
    followed: bool
    name: Any
    con_id: int


def digits_of(amount: str) -> int:
    """Decimals of a number in decimal text: 2 of `0.25`, 5 of `5E-5`."""
    return max(0, -int(Decimal(amount).normalize().as_tuple().exponent))


def traded(row: dict[str, Any], name: str | None = None) -> Traded:
    """The engine's instrument of a row, under another name than its own where one is given.

    Bars may have more digits than the tick: midpoints lie between two ticks. The engine fills nothing, and says nothing,
    where a price is no multiple of the tick; so the tick must fit the bars.
    """
    digits = max(digits_of(row["min_tick"]), row["digits"])
    between = row["asset_class"] == "CASH" or digits > digits_of(row["min_tick"])
    tick = Decimal(1).scaleb(-digits) if between else Decimal(row["min_tick"])
    make = {"STK": _stock, "CASH": _pair, "FUT": _future}.get(row["asset_class"])
    if make is None:
        raise SetupError(f"{row['instrument_id']}: {row['asset_class']} cannot be traded by a strategy")
    named = row if name is None else row | {"instrument_id": name}
    return Traded(row, make(named, digits, Price.from_decimal_dp(tick, digits)), digits)


def _stock(row: dict[str, Any], digits: int, tick: Any) -> Any:
    one, name, currency = (
        Quantity(1, 0),
        InstrumentId.from_str(row["instrument_id"]),
        Currency.from_str(row["currency"]),
    )
    return Equity(name, Symbol(row["local_symbol"]), currency, digits, tick, 0, 0, lot_size=one)


def _pair(row: dict[str, Any], digits: int, tick: Any) -> Any:
    one, name = Quantity(1, 0), InstrumentId.from_str(row["instrument_id"])
    base, quote = Currency.from_str(row["symbol"]), Currency.from_str(row["currency"])
    return CurrencyPair(name, Symbol(row["local_symbol"]), base, quote, digits, 0, tick, one, 0, 0)


def _future(row: dict[str, Any], digits: int, tick: Any) -> Any:
    if row["expires_ns"] is None:
        raise SetupError(f"{row['instrument_id']}: the close of its last session is not known")
    return FuturesContract(
        instrument_id=InstrumentId.from_str(row["instrument_id"]),
        raw_symbol=Symbol(row["local_symbol"]),
        asset_class=AssetClass.INDEX,
        underlying=row["symbol"],
        activation_ns=0,
        expiration_ns=row["expires_ns"],
        currency=Currency.from_str(row["currency"]),
        price_precision=digits,
        price_increment=tick,
        multiplier=Quantity.from_str(row["multiplier"] or "1"),
        lot_size=Quantity(1, 0),
        ts_event=0,
        ts_init=0,
    )


def instruments(rows: list[dict[str, Any]], currency: str) -> dict[int, Traded]:
    """con_id -> instrument. SetupError where names or currencies would be mixed up."""
    names = [row["instrument_id"] for row in rows]
    if len(set(names)) < len(rows):
        raise SetupError("two instruments of one run have the same name")
    for row in rows:
        if row["currency"] != currency:
            raise SetupError(f"{row['instrument_id']} is in {row['currency']}, the account in {currency}")
    # The engine has an account for each venue. A run has one, so instruments of several venues get one venue more.
    several = len({name.rpartition(".")[2] for name in names}) > 1
    return {row["con_id"]: traded(row, f"{row['instrument_id']}.{ONE_VENUE}" if several else None) for row in rows}


def series_of(rows: list[dict[str, Any]], by_con_id: dict[int, Traded]) -> list[Series]:
    """The series in the order of their index. The first of each instrument is the one that the strategy follows."""
    found: list[Series] = []
    for row in sorted(rows, key=lambda one: one["index"]):
        mine = [one for one in found if one.traded.con_id == row["con_id"]]
        if any(one.timeframe != row["timeframe"] for one in mine):
            raise SetupError("two timeframes of one instrument: the engine would trade on the shorter one alone")
        bar_type = bar_type_of(by_con_id[row["con_id"]], row["timeframe"], row["price"])
        instrument = by_con_id[row["con_id"]]
        name = instrument.engine.id
        found.append(
            Series(row["index"], instrument, row["timeframe"], row["price"], bar_type, not mine, name, row["con_id"])
        )
    for con_id, one in by_con_id.items():
        check_kinds(one, [each.price for each in found if each.traded.con_id == con_id])
    return found


def check_kinds(instrument: Traded, kinds: list[str]) -> None:
    """The engine denies every order where it has no trade, or only one side of the market."""
    if not (set(kinds) in ({"TRADES"}, {"AGGTRADES"}, {"BID", "ASK"}) and len(kinds) == len(set(kinds))):
        raise SetupError(
            f"{instrument.row['instrument_id']}: a run needs TRADES, or BID and ASK; it has {', '.join(kinds) or 'none'}"
        )


def bar_type_of(instrument: Traded, timeframe: str, price: str) -> Any:
    """The engine's name of a series: `AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL`."""
    if price not in _PRICE_TYPES:
        raise SetupError(f"{price} bars cannot be traded on")
    specification = BarSpecification(int(timeframe[:-1]), _AGGREGATIONS[timeframe[-1]], _PRICE_TYPES[price])
    return BarType(instrument.engine.id, specification)
