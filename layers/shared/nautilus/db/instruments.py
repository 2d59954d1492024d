"""What IB told about instruments, and which words led to which."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from nautilus.db.connection import Cursor, Json
from nautilus.db.rows import insert_rows
from nautilus.instruments import Instrument, Selector

_COLUMNS = Instrument._fields
_LIST = ", ".join(_COLUMNS)
_TYPES = dict.fromkeys(_COLUMNS, "text") | {"con_id": "bigint", "min_tick": "float8", "details": "jsonb"}


class Lookup(NamedTuple):
    """The answer to one lookup: candidates, or IB's refusal."""

    candidates: tuple[Instrument, ...]
    ib_code: int | None = None
    ib_text: str | None = None


def _instrument(row: Any) -> Instrument:
    return Instrument(**{name: getattr(row, name) for name in _COLUMNS})


def by_id(cursor: Cursor, con_id: int) -> Instrument | None:
    cursor.execute(f"SELECT {_LIST} FROM instruments WHERE con_id = %s", (con_id,))
    row = cursor.fetchone()
    return _instrument(row) if row else None


def several(cursor: Cursor, con_ids: Iterable[int]) -> dict[int, Instrument]:
    """Those that are known, by number."""
    cursor.execute(f"SELECT {_LIST} FROM instruments WHERE con_id = ANY(%s)", (list(con_ids),))
    return {row.con_id: _instrument(row) for row in cursor.fetchall()}


def details(cursor: Cursor, con_id: int) -> dict[str, Any]:
    """What else IB's contract details said; empty when the instrument is not known."""
    cursor.execute("SELECT details FROM instruments WHERE con_id = %s", (con_id,))
    row = cursor.fetchone()
    return dict(row.details) if row else {}


def by_name(cursor: Cursor, instrument_id: str) -> Instrument | None:
    """By NautilusTrader-style name; a name that IB gave twice (futures a decade apart) means the newer one."""
    cursor.execute(
        f"SELECT {_LIST} FROM instruments WHERE instrument_id = %s ORDER BY expiry DESC LIMIT 1", (instrument_id,)
    )
    row = cursor.fetchone()
    return _instrument(row) if row else None


def look_up(cursor: Cursor, selector: Selector) -> Lookup | None:
    """What is known about a selector; None when nobody asked, or when the answer has expired."""
    if selector.con_id:
        found = by_id(cursor, selector.con_id)
        if found:
            return Lookup((found,))
    cursor.execute(
        f"SELECT l.con_ids, l.ib_code, l.ib_text, {columns('i')} FROM instrument_lookups l"
        " LEFT JOIN instruments i ON i.con_id = ANY(l.con_ids)"
        " WHERE l.key = %s AND (l.expires_at IS NULL OR l.expires_at > clock_timestamp()) ORDER BY i.con_id",
        (selector.key,),
    )
    rows = cursor.fetchall()
    return lookup(rows) if rows else None


def columns(table: str) -> str:
    """The columns of an instrument, for a SELECT that joins it under a name."""
    return ", ".join(f"{table}.{name}" for name in _COLUMNS)


def lookup(rows: Sequence[Any]) -> Lookup:
    """The lookup that these rows tell, one per candidate: con_ids, ib_code and ib_text beside an instrument's columns."""
    if not rows[0].con_ids:
        return Lookup((), rows[0].ib_code, rows[0].ib_text)
    return Lookup(tuple(_instrument(row) for row in rows if row.con_id is not None))


def matching(cursor: Cursor, text: str, asset_class: str, limit: int) -> list[tuple[Instrument, dict[str, Any]]]:
    """Instruments whose symbol or local symbol begins with a text, or whose name holds it (upper case), with details."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    cursor.execute(
        f"SELECT {_LIST}, details FROM instruments WHERE (%(class)s = '' OR asset_class = %(class)s)"
        " AND (symbol LIKE %(begins)s OR symbol || '/' || currency = %(text)s OR symbol || currency = %(text)s"
        " OR upper(local_symbol) LIKE %(begins)s OR upper(long_name) LIKE %(holds)s)"
        " ORDER BY symbol <> %(text)s, symbol, expiry, con_id LIMIT %(limit)s",
        {"class": asset_class, "text": text, "begins": f"{escaped}%", "holds": f"%{escaped}%", "limit": limit},
    )
    return [(_instrument(row), row.details) for row in cursor.fetchall()]


def listed(cursor: Cursor, asset_class: str, after: int, limit: int) -> list[tuple[Instrument, dict[str, Any]]]:
    """Instruments by con_id, after one; of one asset class, or of all."""
    cursor.execute(
        f"SELECT {_LIST}, details FROM instruments WHERE con_id > %s AND (%s = '' OR asset_class = %s)"
        " ORDER BY con_id LIMIT %s",
        (after, asset_class, asset_class, limit),
    )
    return [(_instrument(row), row.details) for row in cursor.fetchall()]


def store(cursor: Cursor, instrument: Instrument, details: dict[str, Any]) -> None:
    """Insert or refresh an instrument; `details` keeps what else IB said."""
    store_all(cursor, [(instrument, details)])


def store_all(cursor: Cursor, found: Iterable[tuple[Instrument, dict[str, Any]]]) -> None:
    """Insert or refresh instruments, each with what else IB said; of one that comes twice the last is kept."""
    kept = {one.con_id: (*one, Json(details)) for one, details in found}
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS[1:], "details"))
    insert_rows(
        cursor,
        "instruments",
        _TYPES,
        [kept[con_id] for con_id in sorted(kept)],
        then=f"ON CONFLICT (con_id) DO UPDATE SET {updates}, resolved_at = clock_timestamp()",
    )


def remember(
    cursor: Cursor,
    key: str,
    con_ids: Sequence[int],
    *,
    ib_code: int | None = None,
    ib_text: str | None = None,
    keep_s: int | None,
) -> None:
    """Keep the answer to a lookup for `keep_s` seconds of machine time (None: for good)."""
    cursor.execute(
        "INSERT INTO instrument_lookups (key, con_ids, ib_code, ib_text, expires_at)"
        " VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))"
        " ON CONFLICT (key) DO UPDATE SET con_ids = excluded.con_ids, ib_code = excluded.ib_code,"
        " ib_text = excluded.ib_text, checked_at = clock_timestamp(), expires_at = excluded.expires_at",
        (key, list(con_ids), ib_code, ib_text, keep_s),
    )
