"""What IB told about instruments, and which words led to which."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from nautilus.db.connection import Cursor, Json
from nautilus.instruments import Instrument, Selector

_COLUMNS = tuple(f.name for f in fields(Instrument))
_LIST = ", ".join(_COLUMNS)


@dataclass(frozen=True, slots=True)
class Lookup:
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
        "SELECT con_ids, ib_code, ib_text FROM instrument_lookups"
        " WHERE key = %s AND (expires_at IS NULL OR expires_at > clock_timestamp())",
        (selector.key,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    if not row.con_ids:
        return Lookup((), row.ib_code, row.ib_text)
    cursor.execute(f"SELECT {_LIST} FROM instruments WHERE con_id = ANY(%s) ORDER BY con_id", (row.con_ids,))
    return Lookup(tuple(_instrument(r) for r in cursor.fetchall()))


def store(cursor: Cursor, instrument: Instrument, details: dict[str, Any]) -> None:
    """Insert or refresh an instrument; `details` keeps what else IB said."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS[1:], "details"))
    marks = ", ".join(["%s"] * len(_COLUMNS))
    cursor.execute(
        f"INSERT INTO instruments ({_LIST}, details) VALUES ({marks}, %s)"
        f" ON CONFLICT (con_id) DO UPDATE SET {updates}, resolved_at = clock_timestamp()",
        (*(getattr(instrument, name) for name in _COLUMNS), Json(details)),
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
