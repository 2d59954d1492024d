"""IB's words into ours, and back: contracts, bars, dates. IB's own spellings live here and die here."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ib_bridge.ib.client import Contract
from nautilus.clock import NS_PER_S, datetime_of, label_of, ns_of
from nautilus.db.bars.volume_units import in_shares
from nautilus.market.bar import Bar
from nautilus.market.calendar import Session
from nautilus.market.instrument import QUOTE_KINDS, Instrument
from nautilus.market.symbols import Selector, instrument_id
from nautilus.market.timeframes import Timeframe
from nautilus.orders.prices import MIN_SIZE, RULE, SIZE_STEP

# Zone names that IB uses and the zone database does not have, or has for other purposes.
_ZONES = {
    **dict.fromkeys(("EST", "EDT", "EST5EDT"), "America/New_York"),
    **dict.fromkeys(("CST", "CDT", "CST6CDT"), "America/Chicago"),
    **dict.fromkeys(("MST", "MDT", "MST7MDT"), "America/Denver"),
    **dict.fromkeys(("PST", "PDT", "PST8PDT"), "America/Los_Angeles"),
    **dict.fromkeys(("BST", "British Summer Time"), "Europe/London"),
    **dict.fromkeys(("AEST", "AEDT"), "Australia/Sydney"),
    "JST": "Asia/Tokyo",
    "HKT": "Asia/Hong_Kong",
    "KST": "Asia/Seoul",
}
_LARGEST = Decimal(10) ** 30
"""Above it stand the marks of IB for what is unset: the largest float, and 2^127 - 1."""
_EXCHANGES = {"STK": "SMART", "CASH": "IDEALPRO", "CRYPTO": "PAXOS", "CFD": "SMART"}


class UnknownZone(ValueError):
    """IB named a time zone that nobody here knows."""


def time_zone(name: str) -> str:
    """A zone that Python knows for one that IB named, such as `US/Eastern` or `EST (Eastern Standard Time)`."""
    for candidate in (name, name.partition(" ")[0]):
        known = _ZONES.get(candidate, candidate)
        try:
            ZoneInfo(known)
        except (KeyError, ValueError, OSError):
            continue
        return known
    raise UnknownZone(name)


def contracts(selector: Selector) -> Contract:
    """The question to IB's contract database that a selector means."""
    if selector.con_id:
        return Contract(conId=selector.con_id, includeExpired=True)
    kind = selector.asset_class
    contract = Contract(
        secType=kind, symbol=selector.symbol, currency=selector.currency, exchange=_EXCHANGES.get(kind, "")
    )
    if kind == "FUT":
        # The venue a caller names may be an old one; without it IB tells all that fit.
        contract.localSymbol = selector.local_symbol
        contract.lastTradeDateOrContractMonth = selector.expiry
        contract.includeExpired = bool(selector.local_symbol or selector.expiry)
    return contract


_ROUTES = re.compile("SMART|QBALGO.*")
"""Names of exchanges that only send orders on. IB lists futures once more at them, under the same number."""


def listed_once(found: Sequence[tuple[Instrument, dict[str, Any]]]) -> list[tuple[Instrument, dict[str, Any]]]:
    """Each contract once, in IB's order: of several rows of one con_id the first at the exchange where it is listed."""
    kept: dict[int, tuple[Instrument, dict[str, Any]]] = {}
    for row in found:
        before = kept.setdefault(row[0].con_id, row)
        if _ROUTES.fullmatch(before[0].exchange) and not _ROUTES.fullmatch(row[0].exchange):
            kept[row[0].con_id] = row
    return list(kept.values())


def continuous(symbol: str, exchange: str, currency: str) -> Contract:
    """The continuous future: used only to learn which month is the front one."""
    return Contract(secType="CONTFUT", symbol=symbol, exchange=exchange, currency=currency)


def contract(instrument: Instrument) -> Contract:
    """The contract of a known instrument, for requests of history."""
    return Contract(
        conId=instrument.con_id,
        secType=instrument.asset_class,
        symbol=instrument.symbol,
        exchange=instrument.exchange,
        primaryExchange=instrument.primary_exchange if instrument.exchange == "SMART" else "",
        currency=instrument.currency,
        localSymbol=instrument.local_symbol,
        lastTradeDateOrContractMonth=instrument.expiry,
        multiplier=instrument.multiplier,
        includeExpired=instrument.asset_class in ("FUT", "FOP"),
    )


def instrument(details: Any) -> tuple[Instrument, dict[str, Any]]:
    """Our instrument and what else IB's contract details say."""
    c = details.contract
    try:
        zone = time_zone(details.timeZoneId or "UTC")
    except UnknownZone:
        zone = "UTC"  # its schedule may name a better one; without, weekdays stand in
    expiry = (c.lastTradeDateOrContractMonth or "").split(" ")[0]
    found = Instrument(
        con_id=c.conId,
        instrument_id=instrument_id(
            symbol=c.symbol,
            asset_class=c.secType,
            currency=c.currency,
            exchange=c.exchange,
            primary_exchange=c.primaryExchange,
            local_symbol=c.localSymbol,
            trading_class=c.tradingClass,
            expiry=expiry,
        ),
        symbol=c.symbol,
        asset_class=c.secType,
        exchange=c.exchange,
        primary_exchange=c.primaryExchange,
        currency=c.currency,
        local_symbol=c.localSymbol,
        trading_class=c.tradingClass,
        expiry=expiry,
        multiplier=c.multiplier,
        min_tick=details.minTick,
        long_name=details.longName,
        time_zone=zone,
        calendar=_calendar(c, zone),
    )
    more = {
        "market_name": details.marketName,
        "valid_exchanges": details.validExchanges,
        "order_types": details.orderTypes,
        "trading_hours": details.tradingHours,
        "liquid_hours": details.liquidHours,
        "contract_month": details.contractMonth,
        "price_magnifier": details.priceMagnifier,
        "stock_type": details.stockType,
        RULE: market_rule(details),
        MIN_SIZE: _size(details.minSize),
        SIZE_STEP: _size(details.sizeIncrement),
    }
    return found, more


def market_rule(details: Any) -> int | None:
    """The number of the market rule where orders of the contract go; None where IB names none.

    marketRuleIds and validExchanges run side by side, texts with commas (TWS API, minimum price increment).
    """
    exchanges, numbers = (details.validExchanges or "").split(","), (details.marketRuleIds or "").split(",")
    if len(exchanges) != len(numbers) or not all(re.fullmatch(r"(?a)\d{1,9}", one.strip()) for one in numbers):
        return None
    names = [one.strip() for one in exchanges]
    wanted = details.contract.exchange
    return int(numbers[names.index(wanted) if wanted in names else 0])


def price_steps(rule: Iterable[Any]) -> list[list[str]]:
    """The pairs of a market rule as texts: from which price on, and its step; those that are no numbers are left out."""
    pairs = [[_decimal(one.lowEdge), _decimal(one.increment)] for one in rule]
    return [[low, step] for low, step in pairs if low is not None and step is not None and step != "0"]


def _size(value: Any) -> str | None:
    """A size as text; None where IB sends none: 0, or its mark for what is unset."""
    text = _decimal(value)
    return None if text == "0" else text


def _decimal(value: Any) -> str | None:
    """A number of the library as plain decimal text, without an exponent; None for what is none, or unset."""
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    if not number.is_finite() or abs(number) > _LARGEST:
        return None
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def match(description: Any) -> dict[str, Any]:
    """What IB's symbol search tells of a contract: less than its details, and no exchange of its own."""
    c = description.contract
    return {
        "con_id": c.conId,
        "instrument_id": instrument_id(
            symbol=c.symbol,
            asset_class=c.secType,
            currency=c.currency,
            exchange=c.exchange,
            primary_exchange=c.primaryExchange,
            local_symbol=c.localSymbol,
            trading_class=c.tradingClass,
            expiry="",
        ),
        "symbol": c.symbol,
        "asset_class": c.secType,
        "exchange": c.exchange or _EXCHANGES.get(c.secType, c.primaryExchange),
        "primary_exchange": c.primaryExchange,
        "currency": c.currency,
        "long_name": getattr(c, "description", "") or "",
        "expiry": "",
        "derivatives": list(description.derivativeSecTypes),
        "known": False,
    }


def _calendar(c: Contract, zone: str) -> str:
    """Which schedule an instrument follows: stocks share their exchange's, futures their trading class's."""
    venue = c.primaryExchange or c.exchange
    if c.secType == "STK":
        return f"STK:{venue}:{zone}"
    if c.secType == "FUT":
        return f"FUT:{venue}:{c.tradingClass or c.symbol}"
    if c.secType == "CASH":
        return f"CASH:{venue}"
    return f"{c.secType}:{venue}:{c.symbol}"


def sessions(schedule: Any) -> list[Session]:
    """IB's historical schedule: texts such as 20240105-09:30:00 in the schedule's zone, or in UTC with its own suffix."""
    zone = ZoneInfo(time_zone(schedule.timeZone or "UTC"))
    found = []
    for s in schedule.sessions:
        day = datetime.strptime(s.refDate[:8], "%Y%m%d").date()
        found.append(Session(_moment(s.startDateTime, zone), _moment(s.endDateTime, zone), day))
    return [s for s in found if s.open_ns < s.close_ns]


def _moment(text: str, zone: ZoneInfo) -> int:
    bare, _, named = text.replace("  ", " ").partition(" ")
    if named and ":" in named:
        bare, named = f"{bare}-{named.split(' ')[0]}", ""
    return ns_of(
        datetime.strptime(bare, "%Y%m%d-%H:%M:%S").replace(tzinfo=ZoneInfo(time_zone(named)) if named else zone)
    )


def opens(hours: str, zone: str) -> list[int]:
    """When a market opens in the days that contract details tell of, in ns, ascending.

    hours: IB's tradingHours or liquidHours, such as `20240105:0930-20240105:1600;20240106:CLOSED`, in `zone`.
    """
    found = []
    for part in hours.replace(",", ";").split(";"):
        begin = part.strip().partition("-")[0]
        try:
            moment = datetime.strptime(begin, "%Y%m%d:%H%M")
        except ValueError:
            continue  # CLOSED, or a form that is no longer sent
        found.append(ns_of(moment.replace(tzinfo=ZoneInfo(zone))))
    return sorted(found)


def last_day(hours: str, zone: str) -> int:
    """The end of the last day that contract details tell of, in ns; 0 when they tell of none."""
    days = [part.strip()[:8] for part in hours.replace(",", ";").split(";") if re.match("[0-9]{8}", part.strip())]
    if not days:
        return 0
    return ns_of(datetime.strptime(max(days), "%Y%m%d").replace(tzinfo=ZoneInfo(zone)) + timedelta(days=1))


def stamp(when: date | datetime, frame: Timeframe) -> int:
    """A bar's ts from what ib_insync parsed: aware UTC (formatDate=2) for intraday, a date for longer bars.

    IB labels a week or a month by its last trading day, which moves while it forms; we label by its first day.
    """
    if frame.intraday:
        if not isinstance(when, datetime):
            raise ValueError(f"an intraday bar came with the date {when}")
        return ns_of(when if when.tzinfo else when.replace(tzinfo=UTC))
    day = when.date() if isinstance(when, datetime) else when
    return frame.floor(label_of(day))


def bars(rows: Iterable[Any], frame: Timeframe, price: str, *, volume_unit: str = "shares") -> list[Bar]:
    """IB's bars as ours: sorted by ts, one per ts (the last one sent wins).

    volume_unit: in which unit volumes came; those in lots become shares, those of unknown unit stay as they are.
    A volume or a count of -1 is None, and so is the average price beside either; prices may be negative.
    """
    found = {}
    for row in rows:
        ts = stamp(row.date, frame)
        volume = vwap = trades = None
        if price not in QUOTE_KINDS and row.volume >= 0:
            volume = in_shares(float(row.volume), volume_unit)
            if row.barCount >= 0:
                vwap, trades = float(row.average), int(row.barCount)
        found[ts] = Bar(ts, float(row.open), float(row.high), float(row.low), float(row.close), volume, vwap, trades)
    return [found[ts] for ts in sorted(found)]


def head(when: Any) -> int | None:
    """The head timestamp of formatDate=2: epoch seconds as an aware datetime; None when IB has none."""
    if isinstance(when, datetime):
        return ns_of(when if when.tzinfo else when.replace(tzinfo=UTC))
    if isinstance(when, date):
        return label_of(when)
    return int(when) * NS_PER_S if re.fullmatch("[0-9]+", str(when)) else None


def moment(ns: int) -> str:
    """IB's endDateTime of a time in ns, in its UTC form, which no zone setting of a gateway changes."""
    return datetime_of(ns).strftime("%Y%m%d-%H:%M:%S")
