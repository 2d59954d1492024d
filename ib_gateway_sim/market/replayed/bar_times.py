"""Times of rows, in one offset or in a zone that changes its clocks."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from ib_gateway_sim.market.replayed.bar_table import TIME_WANTED, BadFile, Row, Table

_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # nanoseconds fit into 64 bits
_TIME = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[ T][0-9]{2}:?[0-9]{2}(:?[0-9]{2}([.,][0-9]+)?)?(?P<zone>Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
)


def times_of(table: Table, zone: str) -> list[int]:
    """Epoch seconds of the rows' times."""
    moments = [_moment(table, row) for row in table.rows]
    zoned = moments[0].tzinfo is not None
    for row, when in zip(table.rows, moments, strict=True):
        if (when.tzinfo is not None) != zoned:
            problem = f"has {'no' if zoned else 'a'} time zone, the time in row {table.rows[0].line} has "
            problem += "one" if zoned else "none"
            raise table.refusal(row, table.time_column, row.time, problem, "a zone in every row or in none")
    if zoned:
        return [int(when.timestamp()) for when in moments]
    if table.time_column == "timestamp_utc" and zone not in ("", "UTC"):
        raise BadFile(
            f"{table.name}: the times of column timestamp_utc are UTC, not {zone}; wanted is no zone, or the name timestamp"
        )
    if zone in ("", "UTC"):
        return [int(when.replace(tzinfo=UTC).timestamp()) for when in moments]
    return _local_times(table, moments, ZoneInfo(zone))


def _moment(table: Table, row: Row) -> datetime:
    """The time of a row as written, with a zone or without."""
    text = row.time
    found = _TIME.fullmatch(text)
    try:
        when = datetime.fromisoformat(text) if found else None
    except ValueError:
        when = None
    if when is None:
        raise table.refusal(row, table.time_column, text, _not_a_time(text), f"a time such as {TIME_WANTED}")
    if when.second or when.microsecond:
        raise table.refusal(row, table.time_column, text, "is no whole minute", "the open or close of a one-minute bar")
    if not _EARLIEST <= (when if when.tzinfo else when.replace(tzinfo=UTC)) < _LATEST:
        raise table.refusal(row, table.time_column, text, "is out of range", "a time from 1970-01-02 to 2199-12-31")
    return when


def _not_a_time(text: str) -> str:
    """Why it is none: a count since 1970, has no unit of its own: its length decides."""
    if re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", text):
        digits = len(text.lstrip("-").partition(".")[0])
        units = {10: "seconds", 13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}
        return f"is a number ({units[digits]} since 1970?)" if digits in units else "is a number"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return "is a date without a time of day"
    return "is no time" if text else "is empty"


def _local_times(table: Table, moments: Sequence[datetime], zone: tzinfo) -> list[int]:
    """Times of a zone that changes its clocks. In the hour that it repeats the order of the rows decides."""
    newest_first = moments[0] > moments[-1]
    result: list[int] = []
    before: int | None = None
    for row, when in zip(table.rows, moments, strict=True):
        early, late = (int(when.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
        if datetime.fromtimestamp(early, zone).replace(tzinfo=None) != when:
            problem = f"does not exist in {zone}: the clocks jump over it"
            raise table.refusal(row, table.time_column, row.time, problem, "a time that its clocks show")
        if early != late and before is not None:
            at = (late if late < before else early) if newest_first else (early if early > before else late)
        else:
            at = late if newest_first else early
        result.append(at)
        before = at
    return result
