"""Whether bars that a back-test read have changed since: after a revision, or where bars came or went, it would see others."""

from collections.abc import Mapping
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.ranges import int8range
from nautilus.db.rows import every
from nautilus.spans import Span


class ChangedSeries(NamedTuple):
    """A series with bars of the range that changed after a version. version: the newest that changed some."""

    series_id: int
    version: int


def changed(cursor: Cursor, versions: Mapping[int, int], span: Span) -> list[ChangedSeries]:
    """Of the series with the version that was read of each, those whose bars of a range on their axis have changed since."""
    if not versions:
        return []
    cursor.execute(
        "SELECT r.series_id, greatest("
        "  (SELECT max(c.version) FROM series_changes c WHERE c.series_id = r.series_id AND c.version > r.version"
        "   AND (c.added && %(range)s::int8range OR c.removed && %(range)s::int8range)),"
        "  (SELECT max(b.until_version) FROM bar_revisions b WHERE b.series_id = r.series_id"
        "   AND b.until_version > r.version AND b.ts >= %(low)s AND b.ts < %(high)s)) AS version"
        " FROM unnest(%(series)s::integer[], %(versions)s::bigint[]) AS r(series_id, version) ORDER BY 1",
        {
            "range": int8range(span),
            "low": span[0],
            "high": span[1],
            "series": list(versions),
            "versions": list(versions.values()),
        },
    )
    return [row for row in every(cursor, ChangedSeries) if row.version is not None]
