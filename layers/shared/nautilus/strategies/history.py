"""The stored bars of a run: which series and versions they come from, how many there are, and in which parts they are fed."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_DAY, label_of, rfc3339
from nautilus.db.bars import version_history
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars, instruments, series
from nautilus.db.market.series import Series
from nautilus.db.strategies import feeding
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import Gone, InvalidInput
from nautilus.market.calendar import Calendar, weekdays
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.orders.facts import magnifier_of, multiplier_of
from nautilus.spans import Span
from nautilus.strategies.columns import Axis, FedBar, in_order
from nautilus.strategies.instruments import digits_of, missing_prices
from nautilus.strategies.tariffs import commission_of, notes

_ALL: Span = (0, 2**62)
_SLOTS_AT_ONCE = 8_000
_WARM_UP_SLACK = 2
"""Not every slot holds a bar: so many times the slots are looked through for the bars of the warm-up."""


class FedSeries(NamedTuple):
    """A series of a run, its instrument, when its bars open and close, and the version that is read."""

    row: Series
    instrument: Instrument
    axis: Axis
    version: int


class History(NamedTuple):
    """What a back-test is fed. instruments, series: as the start message has them. units: con_id -> what a price of 1 is worth
    for a quantity of 1. cuts: between them lie the parts that are read at once. notes: what a reader of the result must know.
    """

    fed: Sequence[FedSeries]
    instruments: Sequence[Mapping[str, Any]]
    units: Mapping[int, Decimal]
    bars_total: int
    warm_up: Sequence[FedBar]
    cuts: Sequence[int]
    notes: Sequence[str]

    @property
    def series(self) -> list[Mapping[str, Any]]:
        return [
            {"index": n, "con_id": one.row.con_id, "timeframe": one.row.timeframe.name, "price": one.row.price}
            for n, one in enumerate(self.fed)
        ]

    @property
    def versions(self) -> dict[str, int]:
        """Series id, as text -> version."""
        return {str(one.row.id): one.version for one in self.fed}

    @property
    def currency(self) -> str:
        return self.fed[0].instrument.currency

    def trade_date(self, at_ns: int) -> date:
        """By the market of the first series."""
        return self.fed[0].axis.trade_date(at_ns)


# ---- preparing -------------------------------------------------------------------------------------------------------


def prepared(cursor: Cursor, run: RunRow, *, warm_up_bars: int) -> History:
    """All that a back-test needs to begin; in a snapshot. InvalidInput: a series does not exist, is not enough to trade on, or
    has no bars; Gone: a version that is to be read was forgotten."""
    span = (run.start_ns or 0, run.end_ns or 0)
    fed = [_fed(cursor, run, n, span=span) for n in range(len(run.series))]
    check_tradable(fed)
    total, decimals, warm_up, remarks = 0, {one.row.con_id: 0 for one in fed}, [], []
    for one in fed:
        source = feeding.source_at(cursor, one.row.id, one.row.timeframe, one.version)
        counted = feeding.count(cursor, source, span)
        if counted.bars == 0:
            raise InvalidInput.field(
                "series", f"{name_of(one)} has no bars from {rfc3339(span[0])} to {rfc3339(span[1])}"
            )
        total += counted.bars
        decimals[one.row.con_id] = max(decimals[one.row.con_id], counted.decimals)
        before = warm_up_of(cursor, one, span[0], warm_up_bars)
        warm_up += before
        remarks += _gaps(one, span, len(before), warm_up_bars)
    remarks += [note for one in _firsts(fed) for note in notes(one.instrument)]
    rows = [instrument_message(one, decimals[one.row.con_id]) for one in _firsts(fed)]
    cuts = fed[0].axis.cuts(span, _SLOTS_AT_ONCE)
    return History(fed, rows, units_of(cursor, fed), total, in_order(warm_up), cuts, remarks)


def fed_series(
    cursor: Cursor, given: Mapping[str, Any], n: int, *, as_of: Mapping[str, int] | None = None, make: bool = False
) -> FedSeries:
    """A series of a run, as it is named in its row, at its newest version or at that of `as_of`. InvalidInput: there is none.
    make: a run that follows live bars needs no stored ones."""
    instrument = instruments.by_id(cursor, int(given["con_id"]))
    frame = timeframe(str(given["timeframe"]))
    find = series.find_or_make if make and instrument is not None else series.find
    found = find(cursor, int(given["con_id"]), frame, price=str(given["price"]), session=str(given["session"]))
    if instrument is None or found is None:
        words = f"{given.get('instrument_id') or given['con_id']} {frame.name} {given['price']} {given['session']}"
        raise InvalidInput.field(f"series.{n}", f"{words} was never fetched: backfill it first")
    version = (as_of or {}).get(str(found.id), found.data_version)
    if version > found.data_version:
        raise InvalidInput.field("as_of", f"series {found.id} has no version {version}", [f"0 to {found.data_version}"])
    return FedSeries(found, instrument, Axis(n, frame, _calendar(cursor, instrument, found.session)), version)


def _fed(cursor: Cursor, run: RunRow, n: int, *, span: Span) -> FedSeries:
    one = fed_series(cursor, run.series[n], n, as_of=run.as_of)
    if one.version != one.row.data_version and version_history.is_lost(cursor, one.row.id, one.version, span):
        raise Gone(
            f"the bars of {name_of(one)} cannot be given any more as they were at version {one.version}",
            code="version-forgotten",
        )
    return one


def check_tradable(fed: Sequence[FedSeries]) -> None:
    """InvalidInput where a contract cannot be traded, or series that its fills need are missing."""
    for one in _firsts(fed):
        prices = [other.row.price for other in fed if other.row.con_id == one.row.con_id]
        missing = missing_prices(one.instrument.asset_class, prices)
        if missing:
            words = f"{one.instrument.instrument_id} needs bars of {' and '.join(missing)} beside {', '.join(prices)}"
            raise InvalidInput.field("series", f"{words}, as its orders fill on them", missing)


def _firsts(fed: Sequence[FedSeries]) -> list[FedSeries]:
    """The first series of each contract."""
    return list({one.row.con_id: one for one in reversed(fed)}.values())[::-1]


def _calendar(cursor: Cursor, instrument: Instrument, session: str) -> Calendar:
    found = calendars.load(cursor, instrument.calendar, session, _ALL)
    if found is None or not found.sessions:
        return weekdays(0, 2 * 10**18, instrument.time_zone)
    return found


def units_of(cursor: Cursor, fed: Sequence[FedSeries]) -> dict[int, Decimal]:
    """con_id -> what a price of 1 is worth for a quantity of 1."""
    found = {}
    for one in _firsts(fed):
        magnifier = magnifier_of(instruments.details(cursor, one.row.con_id))
        found[one.row.con_id] = (multiplier_of(one.instrument) or Decimal(1)) / magnifier
    return found


def instrument_message(one: FedSeries, decimals: int) -> Mapping[str, Any]:
    """The contract as the start message has it."""
    instrument = one.instrument
    return {
        "con_id": instrument.con_id,
        "instrument_id": instrument.instrument_id,
        "symbol": instrument.symbol,
        "asset_class": instrument.asset_class,
        "exchange": instrument.primary_exchange or instrument.exchange,
        "currency": instrument.currency,
        "local_symbol": instrument.local_symbol or instrument.symbol,
        "multiplier": instrument.multiplier,
        "min_tick": f"{Decimal(repr(instrument.min_tick)):f}",
        "digits": digits_of(instrument.min_tick, decimals),
        "expires_ns": _expires(one) if instrument.asset_class == "FUT" and instrument.expiry else None,
        "commission": commission_of(instrument)._asdict(),
    }


def _expires(one: FedSeries) -> int:
    text = one.instrument.expiry
    day = date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    sessions = one.axis.calendar.sessions_of(day)
    return sessions[-1].close_ns if sessions else label_of(day) + NS_PER_DAY


# ---- reading ---------------------------------------------------------------------------------------------------------


def block(cursor: Cursor, history: History, n: int) -> list[FedBar]:
    """The bars between two cuts, in order; some of them may be over behind the second cut."""
    span = (history.cuts[n], history.cuts[n + 1])
    found: list[FedBar] = []
    for one in history.fed:
        source = feeding.source_at(cursor, one.row.id, one.row.timeframe, one.version)
        found += one.axis.bars(feeding.within(cursor, source, span))
    return in_order(found)


def warm_up_of(cursor: Cursor, one: FedSeries, before: int, bars: int) -> list[FedBar]:
    """The last bars of a series before a position on its axis, as many as there are up to `bars`."""
    if not bars:
        return []
    frame: Timeframe = one.row.timeframe
    start = one.axis.calendar.back(frame, before, bars * _WARM_UP_SLACK)
    source = feeding.source_at(cursor, one.row.id, frame, one.version)
    return one.axis.bars(feeding.within(cursor, source, (start, before))[-bars:])


def name_of(one: FedSeries) -> str:
    return f"{one.instrument.instrument_id} {one.row.timeframe.name} {one.row.price} {one.row.session}"


def _gaps(one: FedSeries, span: Span, warm: int, wanted: int) -> list[str]:
    """What is not there of what was to be read, in words."""
    remarks = []
    missing = one.axis.calendar.open_time(one.row.timeframe, span) - one.row.covered
    if missing and one.version == one.row.data_version:
        first = next(iter(missing))
        remarks.append(
            f"{name_of(one)}: bars of {len(list(missing))} ranges were not fetched, first {rfc3339(first[0])}"
        )
    if warm < wanted:
        remarks.append(f"{name_of(one)}: {warm} of {wanted} bars to warm up with")
    return remarks
