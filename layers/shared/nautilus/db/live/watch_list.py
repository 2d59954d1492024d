"""The series that are kept current for ever, as somebody has set them. Without that the setting NAUTILUS_LIVE_WATCH holds."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, insert_rows, one_or_none


class WatchRow(NamedTuple):
    """A series of the list. instrument_id: the instrument's name when the list was set."""

    con_id: int
    timeframe: str
    price: str
    session: str
    instrument_id: str


class SetBy(NamedTuple):
    """Who has set the list, and when by machine time."""

    set_by: str
    set_at: datetime


def about(cursor: Cursor) -> SetBy | None:
    """Who has set the list; None when nobody has, so that the setting holds."""
    cursor.execute("SELECT set_by, set_at FROM live_watch_list")
    return one_or_none(cursor, SetBy)


def read(cursor: Cursor) -> list[WatchRow] | None:
    """The list in its order; None when nobody has set one. An empty list has been set, too."""
    if about(cursor) is None:
        return None
    cursor.execute(f"SELECT {', '.join(WatchRow._fields)} FROM live_watch_series ORDER BY place")
    return every(cursor, WatchRow)


def put(cursor: Cursor, by: str, rows: Iterable[WatchRow]) -> None:
    """Set the list; it replaces the one before."""
    cursor.execute(
        "INSERT INTO live_watch_list (set_by) VALUES (%s)"
        " ON CONFLICT (single) DO UPDATE SET set_by = excluded.set_by, set_at = clock_timestamp()",
        (by,),
    )
    cursor.execute("DELETE FROM live_watch_series")
    types = {"con_id": "bigint", "timeframe": "text", "price": "text", "session": "text", "instrument_id": "text"}
    placed = [(*row, place) for place, row in enumerate(rows)]
    insert_rows(cursor, "live_watch_series", {**types, "place": "integer"}, placed)


def clear(cursor: Cursor) -> None:
    """Let the setting hold again."""
    cursor.execute("DELETE FROM live_watch_series")
    cursor.execute("DELETE FROM live_watch_list")
