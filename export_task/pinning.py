"""As of which version a series is exported: that of one snapshot, with what was missing in it."""

from collections.abc import Mapping

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


def pin(
    database: Database, row: ExportRow, request: ExportRequest, planned: PlannedSeries
) -> tuple[PinnedSeries, PlannedSeries]:
    """The version of a series for all its files, written down, and the series as of then. Conflict: it must be complete and
    is not. Reads and the row that is written are two transactions: a snapshot writes nothing."""
    with database.transaction(snapshot=True) as cursor:
        now = planned._replace(row=series.by_ids(cursor, [planned.row.id])[0])
        gaps = planning.gaps_of(planning.availability_of(cursor, snapshot_context(cursor), Calendars(), now))
        if request.require == "complete":
            planning.require_complete({planning.name_of(now): gaps})
        digits = _digits(cursor, now) if request.layout.catalog else {"prices": 0, "sizes": 0}
    found = PinnedSeries(
        now.row.id, now.row.data_version, digits["prices"], digits["sizes"], [dict(gap) for gap in gaps]
    )
    with database.transaction() as cursor:
        files.pin(cursor, row.id, found)
    return found, now


def _digits(cursor: Cursor, now: PlannedSeries) -> Mapping[str, int]:
    """How many digits behind the point a series has: those of its price step, or of its bars where these have more."""
    low, high = map(str, now.span)
    source = bar_source.select(BarSource(now.row.id, now.row.timeframe), low, high)
    found = files.digits(cursor, source)
    step = len(f"{now.instrument.min_tick:.9f}".rstrip("0").partition(".")[2])
    return {
        "prices": min(_MOST_DIGITS, max(step, found["prices"])),
        "sizes": min(_MOST_DIGITS, found["sizes"]),
    }
