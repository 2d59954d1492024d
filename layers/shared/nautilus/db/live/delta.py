"""What of a series changed since a version, and its newest bars: so a listener resumes exactly, however long it was away.

A bar has changed since version v when its stamp lies in a range that got its first bars by a version above v, or when it has a
revision whose version is above v. The bars as they were at v, with these put over them by their stamps and without the
ranges that retention removed, are the bars as they are now.

A listener that knows a version by its messages may not have all bars of it: a commit is published in several messages, two
may be published in the other order, and a longer bar is once the bridge knows its session and its minutes. So what was
committed shortly before is repeated (`whole`).
"""

from typing import NamedTuple

from nautilus.clock import NS_PER_DAY
from nautilus.db.bars.bar_source import BarSource, added_after, select
from nautilus.db.bars.write import table_of
from nautilus.db.cursor import Cursor
from nautilus.db.market.series import ALL_TIME
from nautilus.db.ranges import multirange, spans_of
from nautilus.db.rows import every, one, scalar, scalar_or_none, scalars
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span, Spans

_LAST_CHANGES = 1_000
"""Changes before a version in which its newest bar is looked for: a backfill of old bars may be the last one."""
_PUBLISHED_S = 120
"""Machine time within which what a commit changed is published. The bridge looks each 15 s at what others have brought, and
a session that has just opened is known within a minute."""
_REPEATED_NS = NS_PER_DAY
"""Of these commits new bars are repeated as far back from the newest: older ones come by backfills, which are not published
bar by bar."""
_VALUES = "ts, open, high, low, close, volume, trades"


class BarRow(NamedTuple):
    """A bar that history has answered. ts: its stamp on the series' axis, ns."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    trades: int | None


class Changes(NamedTuple):
    """What changed since a version. bars: as they are now, in order; none where `more` is given.

    more: the range of all changes, when they are more than were wanted. removed: ranges that retention took. known: False for
    a version that the series has not reached, or of which retention has forgotten what changed since; then `more` is all
    that there is, and a bar that was there at that version may be gone.
    """

    bars: list[BarRow]
    more: Span | None
    removed: Spans
    known: bool = True


def newest(cursor: Cursor, source: BarSource, limit: int, span: Span = ALL_TIME) -> list[BarRow]:
    """The newest bars of a range, at most `limit`, in order."""
    rows = select(source, str(span[0]), str(span[1]))
    cursor.execute(f"SELECT {_VALUES} FROM ({rows}) AS b ORDER BY ts DESC LIMIT %s", (limit,))
    return every(cursor, BarRow)[::-1]


def since(
    cursor: Cursor, series_id: int, timeframe: Timeframe, version: int, *, limit: int, whole: bool = True
) -> Changes:
    """What changed in the stored bars of a series after a version; with more than `limit` bars only the range.

    whole: the listener has all that was to be published of the version. Else what was committed shortly before counts, too.
    """
    if not _is_known(cursor, series_id, version):
        return Changes([], _whole(cursor, series_id, timeframe), Spans(), known=False)
    first = version if whole else _surely_published(cursor, series_id, version)
    added = added_after(cursor, series_id, version)
    if first < version and (newest := newest_at(cursor, series_id, version)) is not None:
        added |= added_after(cursor, series_id, first) & Spans.of(newest - _REPEATED_NS, ALL_TIME[1])
    revised = _revised(cursor, series_id, first)
    removed = _removed(cursor, series_id, version)
    span = _around(added, revised)
    if span is None:
        return Changes([], None, removed)
    if revised.bars > limit:
        return Changes([], span, removed)
    cursor.execute(
        f"SELECT {_VALUES} FROM {table_of(timeframe)} b WHERE series_id = %s AND ts >= %s AND ts < %s"
        " AND (ts <@ %s::int8multirange OR EXISTS (SELECT FROM bar_revisions r"
        "  WHERE r.series_id = b.series_id AND r.ts = b.ts AND r.until_version > %s)) ORDER BY ts LIMIT %s",
        (series_id, *span, multirange(added), first, limit + 1),
    )
    bars = every(cursor, BarRow)
    return Changes([], span, removed) if len(bars) > limit else Changes(bars, None, removed)


def _surely_published(cursor: Cursor, series_id: int, version: int) -> int:
    """The newest version that was published as a whole before a message with `version` could be. Only commits with new bars
    have a time; the last of them may be older than the version."""
    cursor.execute(
        "SELECT greatest("
        " coalesce((SELECT c.version FROM series_changes c, (SELECT committed_at FROM series_changes"
        "   WHERE series_id = %(series)s AND version <= %(version)s ORDER BY version DESC LIMIT 1) AS last"
        "  WHERE c.series_id = %(series)s AND c.version < %(version)s"
        "   AND c.committed_at < last.committed_at - make_interval(secs => %(late)s)"
        "  ORDER BY c.version DESC LIMIT 1), 0),"
        " coalesce((SELECT version FROM forgotten_versions WHERE series_id = %(series)s), 0))",
        {"series": series_id, "version": version, "late": _PUBLISHED_S},
    )
    return min(version, scalar(cursor, int))


def newest_at(cursor: Cursor, series_id: int, version: int) -> int | None:
    """The end of the newest range that had got bars by a version, as far as its last changes tell; None: they do not."""
    cursor.execute(
        "SELECT max(upper(added)) FROM (SELECT added FROM series_changes WHERE series_id = %s AND version <= %s"
        " ORDER BY version DESC LIMIT %s) AS c",
        (series_id, version, _LAST_CHANGES),
    )
    return scalar_or_none(cursor, int)


def _is_known(cursor: Cursor, series_id: int, version: int) -> bool:
    """False for a version that this series has not reached, and for one whose changes retention has forgotten in part."""
    cursor.execute(
        "SELECT %(version)s <= s.data_version AND %(version)s >= coalesce(f.version, 0) FROM series s"
        " LEFT JOIN forgotten_versions f ON f.series_id = s.id WHERE s.id = %(series)s",
        {"series": series_id, "version": version},
    )
    return scalar(cursor, bool)


class _Ends(NamedTuple):
    first: int | None
    last: int | None


def _whole(cursor: Cursor, series_id: int, timeframe: Timeframe) -> Span | None:
    """From the first to the last bar."""
    cursor.execute(
        f"SELECT min(ts) AS first, max(ts) AS last FROM {table_of(timeframe)} WHERE series_id = %s", (series_id,)
    )
    ends = one(cursor, _Ends)
    return (ends.first, ends.last + 1) if ends.first is not None and ends.last is not None else None


class _Revised(NamedTuple):
    bars: int
    first: int | None
    last: int | None


def _revised(cursor: Cursor, series_id: int, version: int) -> _Revised:
    cursor.execute(
        "SELECT count(DISTINCT ts) AS bars, min(ts) AS first, max(ts) AS last FROM bar_revisions"
        " WHERE series_id = %s AND until_version > %s",
        (series_id, version),
    )
    return one(cursor, _Revised)


def _removed(cursor: Cursor, series_id: int, version: int) -> Spans:
    cursor.execute(
        "SELECT removed::text FROM series_changes WHERE series_id = %s AND version > %s AND removed <> '{}'",
        (series_id, version),
    )
    return Spans(span for text in scalars(cursor, str) for span in spans_of(text))


def _around(added: Spans, revised: _Revised) -> Span | None:
    """The range from the first to the last change."""
    spans = list(added)
    if revised.first is not None and revised.last is not None:
        spans.append((revised.first, revised.last + 1))
    return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None
