"""What an export comes to: which series, cut into which files, with how many bars, and what of them is missing."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nautilus.clock import rfc3339
from nautilus.coverage.availability import Availability, Calendars, Subject, assess_stored, missing_rows
from nautilus.db.bars import write
from nautilus.db.bars.read import SnapshotContext, snapshot_context
from nautilus.db.cursor import Cursor
from nautilus.db.exports import chosen
from nautilus.db.exports.files import NewFile
from nautilus.db.market import instruments, series, series_list
from nautilus.db.market.series import Series
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.exports import aggregated
from nautilus.exports.layouts import Names, bar_type, check, parts
from nautilus.exports.schemas import ExportRequest
from nautilus.market import slots
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import NAMES, Timeframe, timeframe
from nautilus.spans import Span

MAX_FILES = 20_000
_BARS_PER_S = 400_000
"""About what a task writes; docs/exports.md has the figures."""
_BYTES = {"parquet": 16, "arrow": 22, "csv": 20}
_PLAIN_BYTES = {"parquet": 40, "arrow": 64, "csv": 66}
"""About so many bytes a bar takes, packed and plain."""


class PlannedSeries(NamedTuple):
    """A series of an export: what it is, and the range of its bars that is wanted. made: a timeframe that is not stored, whose
    bars are made of those of the series; span is that of their stamps then."""

    row: Series
    instrument: Instrument
    span: Span
    made: Timeframe | None = None

    @property
    def frame(self) -> Timeframe:
        """The timeframe of the bars that are written."""
        return self.made or self.row.timeframe

    @property
    def names(self) -> Names:
        return Names(self.instrument, self.frame, self.row.price, self.row.session)


def planned(cursor: Cursor, request: ExportRequest) -> list[PlannedSeries]:
    """The series of an export, by number. NotFound: a name has none; InvalidInput: there are no bars of a timeframe and name, or
    none in the range."""
    price = request.price.strip().upper() if request.price else None
    ids = chosen.numbers(
        cursor, request.instrument_ids, request.symbols, frames=None, price=price, session=request.session
    )
    ends = series_list.ends(cursor, series_list.of_numbers(cursor, ids))
    rows = [row for row in series.by_ids(cursor, ids) if ends[row.id].first is not None]
    about = instruments.several(cursor, {row.con_id for row in rows})
    stored = [row for row in rows if request.timeframes is None or row.timeframe.name in request.timeframes]
    made = _made(cursor, request, rows, about=about, ends=ends)
    _check_stored(cursor, request, rows, [*((row.con_id, row.timeframe) for row in stored), *map(_kind, made)])
    found = []
    for row in stored:
        first, last = ends[row.id].first, ends[row.id].last
        if first is None or last is None:
            continue
        span = (max(request.start or first, first), min(request.end or last + 1, last + 1))
        if span[0] < span[1]:
            found.append(PlannedSeries(row, about[row.con_id], span))
    found += made
    if not found:
        raise InvalidInput.field("start", "no stored bar lies in the range from start to end")
    _check(request, found)
    return sorted(found, key=lambda each: each.row.id)


def _kind(each: PlannedSeries) -> tuple[int, Timeframe]:
    return each.row.con_id, each.frame


def _made(
    cursor: Cursor,
    request: ExportRequest,
    rows: Sequence[Series],
    *,
    about: Mapping[int, Instrument],
    ends: Mapping[int, series_list.Ends],
) -> list[PlannedSeries]:
    """Timeframes that are requested and not stored, where a finer one of the same kind lacks nothing."""
    if request.timeframes is None:
        return []
    context, known = snapshot_context(cursor), Calendars()
    kinds: dict[tuple[int, str, str], dict[str, Series]] = {}
    for row in rows:
        kinds.setdefault((row.con_id, row.price, row.session), {})[row.timeframe.name] = row
    found = []
    for (con_id, price, session), stored in kinds.items():
        for frame in map(timeframe, dict.fromkeys(request.timeframes)):
            if frame.name in stored:
                continue
            made = aggregated.made_of(
                cursor,
                context,
                known,
                subject=Subject(about[con_id], frame, price, session),
                stored=stored,
                ends=ends,
                wanted=aggregated.Range(request.start, request.end),
            )
            if made is not None:
                found.append(PlannedSeries(made.row, about[con_id], made.span, frame))
    return found


def _check_stored(
    cursor: Cursor, request: ExportRequest, rows: Sequence[Series], offered: Sequence[tuple[int, Timeframe]]
) -> None:
    """NotFound, or InvalidInput, where there is nothing of a name, or not of a timeframe. offered: contracts with the timeframes
    in which they can be written."""
    if request.all:
        known = [chosen.NamedContracts("any instrument", [row.con_id for row in rows])]
    else:
        known = chosen.contracts_of(cursor, request.instrument_ids, request.symbols, [row.id for row in rows])
    for name, con_ids in known:
        if not con_ids:
            raise NotFound(f"no bars of {name} that fit are stored; backfill them first", code="unknown-series")
        for frame in map(timeframe, request.timeframes or ()):
            if not any((con_id, frame) in offered for con_id in con_ids):
                kept = {row.timeframe.name for row in rows if row.con_id in con_ids}
                raise InvalidInput.field(
                    "timeframes",
                    f"{frame.name} is not stored of {name}, nor a finer one without a gap of which it could be made",
                    [one for one in NAMES if one in kept],
                )


def _check(request: ExportRequest, found: Sequence[PlannedSeries]) -> None:
    """InvalidInput when the layout cannot hold the series, or holds too many files."""
    seen: dict[str, PlannedSeries] = {}
    for each in found:
        check(request.layout, each.names)
        if request.layout.catalog:
            name = bar_type(each.names)
            if name in seen:
                raise InvalidInput.field("session", f"NautilusTrader has one name for both: {name}", ["rth", "all"])
            seen[name] = each
    count = sum(len(list(parts(each.span, request.cut))) for each in found)
    if count > MAX_FILES:
        raise InvalidInput.field("split", f"this would be {count:,} files; the most is {MAX_FILES:,}", ["year", "none"])


def files_of(request: ExportRequest, found: Sequence[PlannedSeries]) -> list[NewFile]:
    """The files to be written, series by series."""
    return [
        NewFile(each.row.id, each.made.name if each.made else None, label, span)
        for each in found
        for label, span in parts(each.span, request.cut)
    ]


def availability_of(cursor: Cursor, context: SnapshotContext, known: Calendars, each: PlannedSeries) -> Availability:
    """What of the bars that a planned series is written of is there, in this snapshot."""
    subject = Subject(each.instrument, each.row.timeframe, each.row.price, each.row.session)
    window, calendar = each.span, known.get(cursor, each.instrument.calendar, each.row.session)
    if each.made is not None and calendar is not None:
        window = aggregated.source_window(calendar, each.made, each.span)
    return assess_stored(cursor, context, known, subject=subject, window=window, row=each.row)


def require_complete(gaps: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Conflict that lists what is missing. gaps: by the name of the series; empty where nothing is."""
    missing = {name: list(rows)[:10] for name, rows in gaps.items() if rows}
    if missing:
        name = next(iter(missing))
        raise Conflict(
            f"{len(missing)} series have gaps, {name} first; backfill them, or export with require=any",
            code="export-incomplete",
            extra={"missing": dict(list(missing.items())[:20])},
        )


def name_of(each: PlannedSeries) -> str:
    """A series in a sentence."""
    return f"{each.instrument.instrument_id} {each.frame.name} {each.row.price} {each.row.session}"


def gaps_of(availability: Availability) -> list[Mapping[str, Any]]:
    """What is missing, as answers show it; what has not closed yet is not."""
    return [] if availability.complete else missing_rows(availability.missing)


def estimate(
    cursor: Cursor, context: SnapshotContext, request: ExportRequest, found: Sequence[PlannedSeries]
) -> Mapping[str, Any]:
    """What an export would come to: a dry run. Bars are counted."""
    known, bars, incomplete = Calendars(), 0, []
    for each in found:
        bars += _count(cursor, known, each)
        gaps = gaps_of(availability_of(cursor, context, known, each))
        if gaps:
            incomplete.append({"series": name_of(each), "missing": gaps[:10], "backfill": _backfill(each, gaps)})
    widths = _PLAIN_BYTES if request.compression == "none" else _BYTES
    return {
        "dry_run": True,
        "series": len(found),
        "files": len(files_of(request, found)),
        "bars": bars,
        "bytes": bars * widths[request.format],
        "seconds": round(bars / _BARS_PER_S, 1),
        "complete": not incomplete,
        "incomplete": incomplete[:100],
    }


def _count(cursor: Cursor, known: Calendars, each: PlannedSeries) -> int:
    """How many bars are stored; of those that are made, how many there can be."""
    calendar = known.get(cursor, each.instrument.calendar, each.row.session)
    if each.made is not None and calendar is not None:
        return slots.count(calendar, each.made, each.span, 10**9)
    return write.counts(cursor, each.row.id, each.row.timeframe, [each.span])[0]


def _backfill(each: PlannedSeries, gaps: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What to post to have the gaps filled."""
    body = {
        "con_id": each.instrument.con_id,
        "timeframe": each.row.timeframe.name,
        "price": each.row.price,
        "session": each.row.session,
        "start": gaps[0]["start"],
        "end": gaps[-1]["end"],
    }
    return {"method": "POST", "path": "/api/v1/ib/backfill", "body": body}


def window_text(span: Span) -> Mapping[str, str]:
    return {"start": rfc3339(span[0]), "end": rfc3339(span[1])}


def eta_s(done: int, total: int, seconds: float) -> float | None:
    """How long the rest takes at the rate so far; None while nobody can tell. done, total: files."""
    return round(seconds * (total - done) / done, 1) if done and total >= done else None
