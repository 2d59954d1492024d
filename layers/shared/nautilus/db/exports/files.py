"""The files of an export, and the versions as of which its series are written."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, insert_rows, one, one_or_none
from nautilus.spans import Span


class FileRow(NamedTuple):
    """A row of `export_files`: a part of a series. path: None where the part held no bars, or is not written. timeframe: of bars
    that are made of those of the series; None: its own."""

    n: int
    series_id: int
    part: str
    start_ts: int
    end_ts: int
    path: str | None
    row_count: int | None
    bytes: int | None
    sha256: str | None
    data_version: int | None
    written_at: datetime | None
    timeframe: str | None

    @property
    def span(self) -> Span:
        return self.start_ts, self.end_ts


class NewFile(NamedTuple):
    """A file to be written: series, timeframe where its bars are made of those of the series, label of the part, range."""

    series_id: int
    timeframe: str | None
    part: str
    span: Span


class PinnedSeries(NamedTuple):
    """A row of `export_series`: as of which version a series is written, what was missing then, and its digits behind the
    point: those of prices and of volumes."""

    series_id: int
    data_version: int
    price_digits: int
    size_digits: int
    missing: list[dict[str, Any]]


class Written(NamedTuple):
    """What a part has become. path: None for a part without bars."""

    path: str | None
    rows: int
    bytes: int | None
    sha256: str | None


_COLUMNS = ", ".join(FileRow._fields)
_PINNED = ", ".join(PinnedSeries._fields)
_TYPES = {
    "export_id": "uuid",
    "n": "integer",
    "series_id": "integer",
    "timeframe": "text",
    "part": "text",
    "start_ts": "bigint",
    "end_ts": "bigint",
}


def add(cursor: Cursor, export_id: UUID, new: Sequence[NewFile]) -> None:
    """The files to be written, in the order in which they are."""
    rows = [(str(export_id), n, *one[:3], *one.span) for n, one in enumerate(new)]
    insert_rows(cursor, "export_files", _TYPES, rows)


def listed(cursor: Cursor, export_id: UUID, *, after: int = -1, limit: int = 1_000_000) -> list[FileRow]:
    cursor.execute(
        f"SELECT {_COLUMNS} FROM export_files WHERE export_id = %s AND n > %s ORDER BY n LIMIT %s",
        (str(export_id), after, limit),
    )
    return every(cursor, FileRow)


def by_path(cursor: Cursor, export_id: UUID, path: str) -> FileRow | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM export_files WHERE export_id = %s AND path = %s", (str(export_id), path))
    return one_or_none(cursor, FileRow)


def set_written(cursor: Cursor, export_id: UUID, n: int, *, version: int, written: Written) -> None:
    cursor.execute(
        "UPDATE export_files SET path = %s, row_count = %s, bytes = %s, sha256 = %s, data_version = %s,"
        " written_at = clock_timestamp() WHERE export_id = %s AND n = %s",
        (written.path, written.rows, written.bytes, written.sha256, version, str(export_id), n),
    )


def forget_written(cursor: Cursor, export_id: UUID, n: int) -> None:
    """A file that is to be written anew."""
    cursor.execute(
        "UPDATE export_files SET path = NULL, row_count = NULL, bytes = NULL, sha256 = NULL, data_version = NULL,"
        " written_at = NULL WHERE export_id = %s AND n = %s",
        (str(export_id), n),
    )


# ---- versions --------------------------------------------------------------------------------------------------------


def pinned(cursor: Cursor, export_id: UUID) -> dict[int, PinnedSeries]:
    cursor.execute(f"SELECT {_PINNED} FROM export_series WHERE export_id = %s", (str(export_id),))
    return {row.series_id: row for row in every(cursor, PinnedSeries)}


def pin(cursor: Cursor, export_id: UUID, row: PinnedSeries) -> None:
    cursor.execute(
        "INSERT INTO export_series (export_id, series_id, data_version, price_digits, size_digits, missing)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (str(export_id), *row[:4], Json(row.missing)),
    )


def unpin(cursor: Cursor, export_id: UUID, series_id: int) -> None:
    """Let a series be written anew, as of a newer version: all its files, as one version is for all."""
    cursor.execute("DELETE FROM export_series WHERE export_id = %s AND series_id = %s", (str(export_id), series_id))


class _Digits(NamedTuple):
    prices: int | None
    sizes: int | None


def digits(cursor: Cursor, source: str) -> Mapping[str, int]:
    """How many digits behind the point the bars of a statement have at most: `prices` and `sizes`."""
    scale = "max(scale(trim_scale({}::numeric)))"
    four = ", ".join(scale.format(name) for name in ("open", "high", "low", "close"))
    cursor.execute(f"SELECT greatest({four}) AS prices, {scale.format('volume')} AS sizes FROM ({source}) AS b")
    found = one(cursor, _Digits)
    return {"prices": found.prices or 0, "sizes": found.sizes or 0}
