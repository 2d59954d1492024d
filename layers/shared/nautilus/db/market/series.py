"""Series: instrument, timeframe, price kind and session; what is covered, what is unconfirmed, and which version it is."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nautilus.coverage.states import CoverageState, Note
from nautilus.db.bars import write as bar_store
from nautilus.db.bars.write import Written
from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.ranges import int8range, multirange, span_of, spans_of
from nautilus.db.rows import every, insert_rows, one, one_or_none, scalar, scalar_or_none, scalars
from nautilus.market.bar import Bar
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.spans import Span, Spans

ALL_TIME: Span = (-(2**63), 2**63 - 1)
"""Every position on an axis."""


class Series(NamedTuple):
    """One series and its state. Spans are on its axis, in ns; `head_ts` is the oldest bar IB has, when known."""

    id: int
    con_id: int
    timeframe: Timeframe
    price: str
    session: str
    covered: Spans
    data_version: int
    head_ts: int | None


_COLUMNS = "id, con_id, timeframe, price, session, covered::text, data_version, head_ts"
_SELECT = f"SELECT {_COLUMNS} FROM series"
_LOCK = Prepared("nautilus_lock_series", f"{_SELECT} WHERE id = $1 FOR UPDATE", ("integer",))
_NOTE = {
    "series_id": "integer",
    "range": "int8range",
    "state": "text",
    "reason": "text",
    "ib_code": "integer",
    "checked_at": "bigint",
    "expires_at": "bigint",
    "request_id": "bigint",
}


class SeriesRow(NamedTuple):
    """A row of `series`; `covered` is as PostgreSQL writes it."""

    id: int
    con_id: int
    timeframe: str
    price: str
    session: str
    covered: str
    data_version: int
    head_ts: int | None


def of_row(row: SeriesRow) -> Series:
    """The series of a row."""
    return Series(
        row.id,
        row.con_id,
        timeframe(row.timeframe),
        row.price,
        row.session,
        spans_of(row.covered),
        row.data_version,
        row.head_ts,
    )


def find(cursor: Cursor, con_id: int, frame: Timeframe, *, price: str, session: str) -> Series | None:
    cursor.execute(
        f"{_SELECT} WHERE con_id = %s AND timeframe = %s AND price = %s AND session = %s",
        (con_id, frame.name, price, session),
    )
    row = one_or_none(cursor, SeriesRow)
    return of_row(row) if row else None


def find_several(cursor: Cursor, con_id: int, frames: Sequence[str], *, price: str, session: str) -> list[Series]:
    """Those of the timeframes, by name, that have a series."""
    cursor.execute(
        f"{_SELECT} WHERE con_id = %s AND timeframe = ANY(%s) AND price = %s AND session = %s",
        (con_id, list(frames), price, session),
    )
    return list(map(of_row, every(cursor, SeriesRow)))


def find_or_make(cursor: Cursor, con_id: int, frame: Timeframe, *, price: str, session: str) -> Series:
    cursor.execute(
        "INSERT INTO series (con_id, timeframe, price, session) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (con_id, timeframe, price, session) DO NOTHING",
        (con_id, frame.name, price, session),
    )
    found = find(cursor, con_id, frame, price=price, session=session)
    assert found is not None  # noqa: S101  for the type checker: inserted or there before
    return found


def by_id(cursor: Cursor, series_id: int, *, lock: bool = False) -> Series:
    """The series; `lock` holds its row until the transaction ends (everything that changes a series does)."""
    if lock:
        cursor.run(_LOCK, (series_id,))
    else:
        cursor.execute(f"{_SELECT} WHERE id = %s", (series_id,))
    return of_row(one(cursor, SeriesRow))


def by_ids(cursor: Cursor, ids: Sequence[int]) -> list[Series]:
    """Those of the series that there are, by number."""
    cursor.execute(f"{_SELECT} WHERE id = ANY(%s) ORDER BY id", (list(ids),))
    return list(map(of_row, every(cursor, SeriesRow)))


class _Version(NamedTuple):
    id: int
    version: int


def versions(cursor: Cursor, ids: Sequence[int]) -> dict[int, int]:
    """Series -> its version now, of those that there are."""
    cursor.execute("SELECT id, data_version AS version FROM series WHERE id = ANY(%s)", (list(ids),))
    return {row.id: row.version for row in every(cursor, _Version)}


def exists(cursor: Cursor, series_id: int) -> bool:
    """Whether there is a series of this number."""
    cursor.execute("SELECT EXISTS (SELECT FROM series WHERE id = %s)", (series_id,))
    return scalar(cursor, bool)


def of_calendar(cursor: Cursor, calendar: str, session: str) -> list[int]:
    """The series whose bars follow a calendar, by id."""
    cursor.execute(
        "SELECT s.id FROM series s JOIN instruments i USING (con_id) WHERE i.calendar = %s AND s.session = %s ORDER BY s.id",
        (calendar, session),
    )
    return scalars(cursor, int)


def set_head(cursor: Cursor, series_id: int, head_ts: int | None) -> None:
    cursor.execute(
        "UPDATE series SET head_ts = %s, head_checked_at = clock_timestamp() WHERE id = %s", (head_ts, series_id)
    )


def share_head(cursor: Cursor, row: Series, days: int) -> bool:
    """Take over what IB answered within the last `days` days for another timeframe: heads go by contract, price and session
    alone. False when there is no such answer."""
    cursor.execute(
        "UPDATE series s SET head_ts = o.head_ts, head_checked_at = o.head_checked_at FROM (SELECT head_ts,"
        " head_checked_at FROM series WHERE con_id = %s AND price = %s AND session = %s AND id <> %s"
        "  AND head_checked_at > clock_timestamp() - make_interval(days => %s)"
        "  ORDER BY head_checked_at DESC LIMIT 1) o WHERE s.id = %s",
        (row.con_id, row.price, row.session, row.id, days, row.id),
    )
    return bool(cursor.rowcount)


class _Head(NamedTuple):
    head_ts: int | None


def known_head(cursor: Cursor, con_id: int, price: str, *, session: str, days: int) -> tuple[bool, int | None]:
    """Whether the head of any of these series was requested within the last `days` days, and what IB answered."""
    cursor.execute(
        "SELECT head_ts FROM series WHERE con_id = %s AND price = %s AND session = %s"
        " AND head_checked_at > clock_timestamp() - make_interval(days => %s) ORDER BY head_checked_at DESC LIMIT 1",
        (con_id, price, session, days),
    )
    row = one_or_none(cursor, _Head)
    return row is not None, row.head_ts if row else None


def head_is_fresh(cursor: Cursor, series_id: int, days: int) -> bool:
    """True when the head was requested within the last `days` days."""
    cursor.execute(
        "SELECT head_checked_at > clock_timestamp() - make_interval(days => %s) FROM series WHERE id = %s",
        (days, series_id),
    )
    return scalar_or_none(cursor, bool) or False


class _NoteRow(NamedTuple):
    range: str
    state: str
    reason: str
    ib_code: int | None
    checked_at: int
    expires_at: int | None
    request_id: int | None

    @property
    def note(self) -> Note:
        state = CoverageState(self.state)
        return Note(span_of(self.range), state, self.reason, self.ib_code, self.checked_at, self.expires_at)


_NOTE_COLUMNS = "range::text, state, reason, ib_code, checked_at, expires_at, request_id"


def notes(cursor: Cursor, series_id: int, span: Span) -> list[Note]:
    """The notes that touch `span`, in order."""
    cursor.execute(
        f"SELECT {_NOTE_COLUMNS} FROM coverage_notes"
        " WHERE series_id = %s AND range && %s::int8range ORDER BY coverage_notes.range",
        (series_id, int8range(span)),
    )
    return [row.note for row in every(cursor, _NoteRow)]


class DueRecheck(NamedTuple):
    """A range of a series that is to be requested again."""

    con_id: int
    timeframe: str
    price: str
    session: str
    start: int
    end: int


def due_rechecks(cursor: Cursor, market_ns: int, again_ns: int, limit: int) -> list[DueRecheck]:
    """Take the unconfirmed ranges that are due (empty answers to be confirmed, bars made stale by a split), oldest first.

    They become due again at `again_ns`, in case nothing comes of it.
    """
    cursor.execute(
        "WITH due AS (SELECT id FROM coverage_notes WHERE expires_at <= %s AND state IN ('empty_unconfirmed', 'stale')"
        "  ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)"
        " UPDATE coverage_notes n SET expires_at = %s FROM due, series s WHERE n.id = due.id AND s.id = n.series_id"
        " RETURNING s.con_id, s.timeframe, s.price, s.session, lower(n.range) AS start, upper(n.range) AS end",
        (market_ns, limit, again_ns),
    )
    return every(cursor, DueRecheck)


class _LiveChunk(NamedTuple):
    id: int
    span_start: int
    span_end: int


def live(cursor: Cursor, series_id: int, span: Span, *, lock: bool = False) -> list[tuple[int, Span]]:
    """Chunks under way that touch `span`: (chunk id, span). `lock`: they cannot end or be cancelled meanwhile."""
    cursor.execute(
        "SELECT id, span_start, span_end FROM backfill_chunks WHERE series_id = %s AND state IN ('pending', 'leased')"
        " AND span_start < %s AND span_end > %s ORDER BY id" + (" FOR UPDATE" if lock else ""),
        (series_id, span[1], span[0]),
    )
    return [(row.id, (row.span_start, row.span_end)) for row in every(cursor, _LiveChunk)]


_TAKE_NOTES = Prepared(
    "nautilus_take_notes",
    f"DELETE FROM coverage_notes WHERE series_id = $1 AND range && $2 RETURNING {_NOTE_COLUMNS}",
    ("integer", "int8multirange"),
)
"""Take out the notes of some ranges."""
_RAISE_VERSION = Prepared(
    "nautilus_raise_version",
    "WITH change AS (INSERT INTO series_changes (series_id, version, added) SELECT $1, $3, $4 WHERE $4 IS NOT NULL)"
    " UPDATE series SET covered = $2, data_version = $3 WHERE id = $1",
    ("integer", "int8multirange", "bigint", "int8multirange"),
)
"""Raise the version, and write down which ranges got their first bars; NULL: none."""


def apply_changes(
    cursor: Cursor,
    series: Series,
    *,
    bars: Sequence[Bar] = (),
    settled: Spans = Spans(),  # noqa: B008  immutable
    noted: Iterable[Note] = (),
    request_id: int | None = None,
) -> Written:
    """Everything one answer changes in a series, in the caller's transaction and under the series' row lock.

    The only place that writes `covered` and coverage_notes, so that they never overlap. The version rises only when a
    bar is inserted or revised, or when coverage changes.
    """
    unconfirmed = list(noted)
    unconfirmed_spans = Spans(note.span for note in unconfirmed)
    covered = (series.covered | settled) - unconfirmed_spans
    fresh = settled | unconfirmed_spans
    version = series.data_version + 1
    coverage_changes = bool(unconfirmed or covered != series.covered)
    old = []
    if coverage_changes:  # else all that is fresh was covered before, and no note is there
        cursor.run(_TAKE_NOTES, (series.id, multirange(fresh)))
        old = every(cursor, _NoteRow)
    # Bars lie where it is covered or noted: of these, only what a range has none of may be called empty before.
    likely_stored = bool(bars) and bool(old or series.covered & Spans.of(bars[0].ts, bars[-1].ts + 1))
    written = bar_store.write(
        cursor,
        series.id,
        series.timeframe,
        bars,
        version=version,
        request_id=request_id,
        likely_stored=likely_stored,
    )
    if written.changed or coverage_changes:
        added = multirange(written.added) if written.new else None
        cursor.run(_RAISE_VERSION, (series.id, multirange(covered), version, added))
    put = [(series.id, int8range(note.span), note.state.value, *_rest(note), request_id) for note in unconfirmed]
    for note in old:
        # What is left of an old note beside the fresh ranges.
        put += [(series.id, int8range(span), *note[1:]) for span in Spans.of(*span_of(note.range)) - fresh]
    insert_rows(cursor, "coverage_notes", _NOTE, put)
    return written


def removed(cursor: Cursor, series: Series, span: Span) -> None:
    """Write down that the version after `series` lacks the bars of a range: they were deleted."""
    cursor.execute(
        "INSERT INTO series_changes (series_id, version, added, removed) VALUES (%s, %s, '{}', %s::int8multirange)",
        (series.id, series.data_version + 1, multirange(Spans.of(*span))),
    )


def _rest(note: Note) -> tuple[str, int | None, int, int | None]:
    return note.reason, note.ib_code, note.checked_at, note.expires_at
