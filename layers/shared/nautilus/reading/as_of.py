"""Bars as they were at a version of their series: which version is meant, and what of it cannot be given any more."""

from typing import NamedTuple

from nautilus.clock import NS_PER_S, rfc3339
from nautilus.coverage.availability import Availability
from nautilus.db.bars import version_history
from nautilus.db.cursor import Cursor
from nautilus.errors import Gone, InvalidInput
from nautilus.market import slots
from nautilus.spans import Span, Spans

_FIRST_TIME = 10**17
"""Whole numbers from here on are times in ns (as in `nautilus.clock.nanoseconds`), smaller ones are versions."""
_SETTLED_NS = 15 * 60 * NS_PER_S
"""No transaction that writes bars lasts as long: what it writes carries the time at which it began."""
NO_COVERAGE = "coverage has no versions: what was known to be missing at this version is not kept"


class AsOf(NamedTuple):
    """The version that a caller means: by its number, or as the highest that was committed by a machine time (ns)."""

    version: int | None = None
    by_ns: int | None = None

    def settled(self, now_ns: int) -> bool:
        """True when it will always be the same version. now_ns: machine time."""
        return self.by_ns is None or self.by_ns <= now_ns - _SETTLED_NS


def parsed(number: int) -> AsOf:
    """A number in an address: a version, or a time in ns."""
    return AsOf(version=number) if number < _FIRST_TIME else AsOf(by_ns=number)


def bars_alone(availability: Availability) -> Availability:
    """The view without what is missing now and what would be done about it: nothing of that is true of another version."""
    return availability._replace(missing=(), to_ask=Spans(), requests=0, job_id=None)


def version_of(cursor: Cursor, as_of: AsOf, availability: Availability, *, now_ns: int) -> int:
    """The version meant, of the series whose bars are read. InvalidInput: there is none; Gone: it is forgotten.

    now_ns: machine time.
    """
    row, newest = availability.row, availability.data_version
    if as_of.version is not None:
        version = as_of.version
        if version > newest:
            raise InvalidInput.field(
                "as_of", f"this series has no version {version} yet; its newest is {newest}", [f"0 to {newest}"]
            )
    else:
        assert as_of.by_ns is not None  # noqa: S101  for the type checker: one of both is given
        if as_of.by_ns > now_ns:
            now = rfc3339(now_ns)
            raise InvalidInput.field(
                "as_of", f"{rfc3339(as_of.by_ns)} lies in the future; the store's clock shows {now}", [f"up to {now}"]
            )
        version = _committed_by(cursor, row.id, as_of.by_ns) if row is not None else 0
    if row is not None and availability.finer is not None and version < newest:
        _check_aggregated(cursor, availability, row.id, version)
    return version


def _committed_by(cursor: Cursor, series_id: int, by_ns: int) -> int:
    version = version_history.newest_by(cursor, series_id, by_ns)
    if version is None and version_history.forgotten(cursor, series_id) is not None:
        raise gone(cursor, series_id, f"the bars of {rfc3339(by_ns)}")
    return version or 0


def check_kept(cursor: Cursor, availability: Availability, series_id: int, *, version: int, span: Span) -> None:
    """Gone when the bars of a range cannot be given as they were at `version`."""
    if version_history.is_lost(cursor, series_id, version, source_span(availability, span)):
        raise gone(cursor, series_id, f"version {version}")


def gone(cursor: Cursor, series_id: int, what: str) -> Gone:
    """The error for what retention has taken."""
    limit = version_history.forgotten(cursor, series_id)
    from_ = f"; changes are kept from version {limit.version} on" if limit is not None else ""
    return Gone(f"as_of: {what} cannot be told any more, as older data were forgotten{from_}", code="version-forgotten")


def source_span(availability: Availability, span: Span) -> Span:
    """The range of the series whose bars are read: of bars that are aggregated, whole slots."""
    if availability.finer is None or availability.calendar is None:
        return span
    known = slots.on_axis(availability.calendar, availability.subject.timeframe, span)
    return (min(span[0], known.starts[0]), max(span[1], known.closes[-1])) if known.starts else span


def _check_aggregated(cursor: Cursor, availability: Availability, series_id: int, version: int) -> None:
    """InvalidInput where bars that are aggregated lacked parts at `version`: whether these were known to be missing then
    decides if there was a bar at all, and coverage has no versions."""
    arrived = version_history.last_arrival(cursor, series_id, source_span(availability, availability.span))
    if arrived <= version or availability.finer is None:
        return
    finer, frame = availability.finer.name, availability.subject.timeframe.name
    raise InvalidInput.field(
        "as_of",
        f"{frame} bars are made of {finer} bars here, and some of this window came only with version {arrived}: what was"
        f" made of the others at version {version} cannot be told, as coverage has no versions. Ask for timeframe={finer},"
        " or for a later version",
        [str(arrived), f"timeframe={finer}"],
    )
