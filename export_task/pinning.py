"""As of which version a series is exported: that of one snapshot, with what was missing in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.coverage.availability import Calendars
from nautilus.db.bars import bar_source
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.bars.read import snapshot_context
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.exports import files
from nautilus.db.exports.exports import ExportRow
from nautilus.db.exports.files import PinnedSeries
from nautilus.db.market import series
from nautilus.exports import planning
from nautilus.exports.planning import PlannedSeries
from nautilus.exports.schemas import ExportRequest

_MOST_DIGITS = 9


def pin(database: Database, row: ExportRow, request: ExportRequest, planned: Sequence[PlannedSeries]) -> PinnedSeries:
    """The version of a series for all its files, written down. planned: in each timeframe in which it is written. Conflict: it
    must be complete and is not, as it must where bars are made of it. Reads and the row that is written are two transactions: a
    snapshot writes nothing."""
    gaps: list[Mapping[str, Any]] = []
    with database.transaction(snapshot=True) as cursor:
        now, context, known = series.by_ids(cursor, [planned[0].row.id])[0], snapshot_context(cursor), Calendars()
        for each in (one._replace(row=now) for one in planned):
            missing = planning.gaps_of(planning.availability_of(cursor, context, known, each))
            if request.require == "complete" or each.made is not None:
                planning.require_complete({planning.name_of(each): missing})
            gaps += missing
        digits = _digits(cursor, planned) if request.layout.catalog else {"prices": 0, "sizes": 0}
    found = PinnedSeries(now.id, now.data_version, digits["prices"], digits["sizes"], [dict(gap) for gap in gaps])
    with database.transaction() as cursor:
        files.pin(cursor, row.id, found)
    return found


def _digits(cursor: Cursor, planned: Sequence[PlannedSeries]) -> Mapping[str, int]:
    """How many digits behind the point a series has: those of its price step, or of its bars where these have more."""
    now = planned[0]
    low, high = min(one.span[0] for one in planned), max(one.frame.next(one.span[1] - 1) for one in planned)
    source = bar_source.select(BarSource(now.row.id, now.row.timeframe), str(low), str(high))
    found = files.digits(cursor, source)
    step = len(f"{now.instrument.min_tick:.9f}".rstrip("0").partition(".")[2])
    return {
        "prices": min(_MOST_DIGITS, max(step, found["prices"])),
        "sizes": min(_MOST_DIGITS, found["sizes"]),
    }
