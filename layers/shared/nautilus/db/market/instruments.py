"""What IB answered about instruments, and which words led to which."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor, Prepared
from nautilus.db.rows import every, insert_rows, joined, one, one_or_none, scalar_or_none, scalars, there
from nautilus.lookup import suggestions
from nautilus.lookup.identity import (
    FRONT_OLD_AFTER_S,
    OLD_AFTER_S,
    REFUSED_OLD_AFTER_S,
    Lookup,
    identify_by_name,
    trade_day,
)
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import InstrumentName, Selector

_COLUMNS = Instrument._fields
_LIST = ", ".join(_COLUMNS)
_TYPES = dict.fromkeys(_COLUMNS, "text") | {"con_id": "bigint", "min_tick": "float8", "details": "jsonb"}


BELIEVED = "(cardinality(l.con_ids) > 0 OR l.expires_at IS NULL OR l.expires_at > clock_timestamp())"
"""For a WHERE clause: a positive answer is answered from however old it is, a negative one until it expires."""
ANSWER = "l.key, l.con_ids, l.former_con_ids, l.ib_code, l.ib_text, l.checked_at AS looked_up_at, l.changed_at"
"""The columns of an `AnswerRow`."""


class AnswerRow(NamedTuple):
    """A row of instrument_lookups: what IB answered, and when."""

    key: str
    con_ids: list[int]
    former_con_ids: list[int]
    ib_code: int | None
    ib_text: str | None
    looked_up_at: datetime
    changed_at: datetime | None


class _Resolved(NamedTuple):
    resolved_at: datetime


class _Described(NamedTuple):
    details: dict[str, Any]


def _dated(cursor: Cursor) -> list[tuple[Instrument, datetime]]:
    """Instruments with the time of IB's last description."""
    return [(one, row.resolved_at) for row, one in joined(cursor, (_Resolved, Instrument)) if one is not None]


def _described(cursor: Cursor) -> list[tuple[Instrument, dict[str, Any]]]:
    """Instruments with their details."""
    return [(one, row.details) for row, one in joined(cursor, (_Described, Instrument)) if one is not None]


def by_id(cursor: Cursor, con_id: int) -> Instrument | None:
    cursor.execute(f"SELECT {_LIST} FROM instruments WHERE con_id = %s", (con_id,))
    return one_or_none(cursor, Instrument)


def several(cursor: Cursor, con_ids: Iterable[int]) -> dict[int, Instrument]:
    """Those that are known, by number."""
    cursor.execute(f"SELECT {_LIST} FROM instruments WHERE con_id = ANY(%s)", (list(con_ids),))
    return {one.con_id: one for one in every(cursor, Instrument)}


class _DetailsRow(NamedTuple):
    con_id: int
    details: dict[str, Any]


def several_details(cursor: Cursor, con_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The other fields of IB's contract details, of those that are known, by number."""
    cursor.execute("SELECT con_id, details FROM instruments WHERE con_id = ANY(%s)", (list(con_ids),))
    return {row.con_id: row.details for row in every(cursor, _DetailsRow)}


def details(cursor: Cursor, con_id: int) -> dict[str, Any]:
    """The other fields of IB's contract details; empty when the instrument is not known."""
    cursor.execute("SELECT details FROM instruments WHERE con_id = %s", (con_id,))
    return scalar_or_none(cursor, dict) or {}


def named(cursor: Cursor, name: InstrumentName) -> Lookup:
    """All contracts that are stored under a NautilusTrader-style name, expired ones too, and when IB last described one."""
    cursor.execute(
        f"SELECT resolved_at, {_LIST} FROM instruments WHERE instrument_id = %s ORDER BY con_id", (name.text,)
    )
    rows = _dated(cursor)
    return Lookup(tuple(found for found, _ in rows), checked_at=max((at for _, at in rows), default=None))


def of_names(cursor: Cursor, names: Iterable[str]) -> dict[str, list[Instrument]]:
    """All contracts that are stored under these NautilusTrader-style names, expired ones too; by name, those that have any."""
    cursor.execute(f"SELECT {_LIST} FROM instruments WHERE instrument_id = ANY(%s) ORDER BY con_id", (list(names),))
    found: dict[str, list[Instrument]] = {}
    for row in every(cursor, Instrument):
        found.setdefault(row.instrument_id, []).append(row)
    return found


def by_name(cursor: Cursor, instrument_id: str) -> Instrument | None:
    """By NautilusTrader-style name. Of futures a decade apart the one that trades; Conflict when several do."""
    name = InstrumentName(instrument_id)
    found = identify_by_name(
        name, named(cursor, name), Selector("", ""), found=None, today=trade_day(market_now(cursor))
    )
    return found.instrument if found else None


def alike(cursor: Cursor, selector: Selector) -> list[Instrument]:
    """Stored instruments of any class whose symbol, or local symbol, is what may be meant by a selector, a few."""
    names = suggestions.alike(selector)
    cursor.execute(
        f"SELECT DISTINCT ON (asset_class, symbol, currency) {_LIST} FROM instruments WHERE symbol = ANY(%s)"
        " OR regexp_replace(local_symbol, ' +', ' ', 'g') = ANY(%s)"
        " ORDER BY asset_class, symbol, currency, expiry DESC LIMIT 20",
        (names, names),
    )
    return every(cursor, Instrument)


def stored(cursor: Cursor, selector: Selector) -> list[Instrument]:
    """All contracts that are stored of a selector's words, expired ones too, whatever words they were looked up by."""
    column, word = ("local_symbol", selector.local_symbol) if selector.local_symbol else ("symbol", selector.symbol)
    cursor.execute(
        f"SELECT {_LIST} FROM instruments WHERE asset_class = %s AND {column} = %s AND %s IN ('', currency)"
        " AND starts_with(expiry, %s) ORDER BY con_id",
        (selector.asset_class, word, selector.currency, selector.expiry),
    )
    return every(cursor, Instrument)


def look_up(cursor: Cursor, selector: Selector) -> Lookup | None:
    """What is known about a selector; None when nobody looked it up, or when IB's refusal has expired."""
    if selector.con_id:
        cursor.execute(f"SELECT resolved_at, {_LIST} FROM instruments WHERE con_id = %s", (selector.con_id,))
        for found, resolved_at in _dated(cursor):
            return Lookup((found,), checked_at=resolved_at)
    cursor.execute(
        f"SELECT {ANSWER}, {columns('i')} FROM instrument_lookups l"
        " LEFT JOIN instruments i ON i.con_id = ANY(l.con_ids || l.former_con_ids)"
        f" WHERE l.key = %s AND {BELIEVED} ORDER BY i.con_id",
        (selector.key,),
    )
    rows = joined(cursor, (AnswerRow, Instrument))
    return lookup(rows) if rows else None


def columns(table: str) -> str:
    """The columns of an instrument, for a SELECT that joins it under a name."""
    return ", ".join(f"{table}.{name}" for name in _COLUMNS)


def lookup(rows: Sequence[tuple[AnswerRow, Instrument | None]]) -> Lookup:
    """The lookup that these rows tell: the same answer in each, with one contract of it."""
    first = rows[0][0]
    contracts = [found for _, found in rows if found is not None]
    return Lookup(
        tuple(one for one in contracts if one.con_id in first.con_ids),
        first.ib_code,
        first.ib_text,
        first.looked_up_at,
        tuple(one for one in contracts if one.con_id in first.former_con_ids),
        first.changed_at,
    )


def matching(cursor: Cursor, text: str, asset_class: str, limit: int) -> list[tuple[Instrument, dict[str, Any]]]:
    """Instruments whose symbol or local symbol begins with a text, or whose name holds it (upper case), with details."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    cursor.execute(
        f"SELECT details, {_LIST} FROM instruments WHERE (%(class)s = '' OR asset_class = %(class)s)"
        " AND (symbol LIKE %(begins)s OR symbol || '/' || currency = %(text)s OR symbol || currency = %(text)s"
        " OR upper(local_symbol) LIKE %(begins)s OR upper(long_name) LIKE %(holds)s)"
        " ORDER BY symbol <> %(text)s, symbol, expiry, con_id LIMIT %(limit)s",
        {"class": asset_class, "text": text, "begins": f"{escaped}%", "holds": f"%{escaped}%", "limit": limit},
    )
    return _described(cursor)


def listed(cursor: Cursor, asset_class: str, after: int, limit: int) -> list[tuple[Instrument, dict[str, Any]]]:
    """Instruments by con_id, after one; of one asset class, or of all."""
    cursor.execute(
        f"SELECT details, {_LIST} FROM instruments WHERE con_id > %s AND (%s = '' OR asset_class = %s)"
        " ORDER BY con_id LIMIT %s",
        (after, asset_class, asset_class, limit),
    )
    return _described(cursor)


def store(cursor: Cursor, instrument: Instrument, details: dict[str, Any]) -> None:
    """Insert or refresh an instrument; `details` keeps the other fields of IB's contract details."""
    store_all(cursor, [(instrument, details)])


def store_all(cursor: Cursor, found: Iterable[tuple[Instrument, dict[str, Any]]]) -> None:
    """Insert or refresh instruments, each with the other fields of its contract details; of doubles the last is kept.

    A field that is missing now stays as it was: price steps come by a request of their own.
    """
    kept = {one.con_id: (*one, Json(details)) for one, details in found}
    updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
    updates += ", details = instruments.details || excluded.details"
    insert_rows(
        cursor,
        "instruments",
        _TYPES,
        [kept[con_id] for con_id in sorted(kept)],
        then=f"ON CONFLICT (con_id) DO UPDATE SET {updates}, resolved_at = clock_timestamp()",
    )


class Renewal(NamedTuple):
    """A positive answer that another one has replaced: the contracts of before and of now."""

    before: tuple[int, ...]
    now: tuple[int, ...]


def remember(
    cursor: Cursor,
    key: str,
    con_ids: Sequence[int],
    *,
    ib_code: int | None = None,
    ib_text: str | None = None,
    keep_s: int | None,
) -> Renewal | None:
    """Keep the answer to a lookup; a refusal for `keep_s` seconds of machine time (None: for good).

    Words that IB knew once keep their contracts when it refuses them now, with the refusal beside them. When a contract
    is no longer among the answers, those of before are kept as former ones and a Renewal is returned.
    """
    cursor.execute("SELECT con_ids FROM instrument_lookups WHERE key = %s FOR UPDATE", (key,))
    before = tuple(scalar_or_none(cursor, list) or ())
    if before and not con_ids:
        cursor.execute(
            "UPDATE instrument_lookups SET ib_code = %s, ib_text = %s, checked_at = clock_timestamp() WHERE key = %s",
            (ib_code, ib_text, key),
        )
        return None
    changed = bool(set(before) - set(con_ids)) and not Selector.of_key(key).front
    cursor.execute(
        "INSERT INTO instrument_lookups (key, con_ids, ib_code, ib_text, expires_at)"
        " VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))"
        " ON CONFLICT (key) DO UPDATE SET con_ids = excluded.con_ids, ib_code = excluded.ib_code,"
        " ib_text = excluded.ib_text, checked_at = clock_timestamp(), expires_at = excluded.expires_at",
        (key, list(con_ids), ib_code, ib_text, None if con_ids else keep_s),
    )
    if not changed:
        return None
    cursor.execute(
        "UPDATE instrument_lookups SET former_con_ids = %s, changed_at = clock_timestamp() WHERE key = %s",
        (list(before), key),
    )
    return Renewal(before, tuple(con_ids))


_FRONT = "l.key LIKE 'FUT|%%|front'"


def due(cursor: Cursor, limit: int, *, without: Sequence[str] = ()) -> list[str]:
    """Keys of positive answers that have grown old, the oldest first, but for some."""
    cursor.execute(
        "SELECT l.key FROM instrument_lookups l WHERE cardinality(l.con_ids) > 0 AND l.key NOT LIKE 'conId=%%'"
        " AND l.key <> ALL(%(without)s) AND l.checked_at < clock_timestamp() - make_interval(secs =>"
        f"  CASE WHEN {_FRONT} THEN %(front)s WHEN l.ib_code IS NOT NULL THEN %(refused)s ELSE %(old)s END)"
        " ORDER BY l.checked_at LIMIT %(limit)s",
        {
            "without": list(without),
            "front": FRONT_OLD_AFTER_S,
            "refused": REFUSED_OLD_AFTER_S,
            "old": OLD_AFTER_S,
            "limit": limit,
        },
    )
    return scalars(cursor, str)


def checked_within(cursor: Cursor, key: str, seconds: int) -> bool:
    """True when IB was asked about these words within so many seconds of machine time."""
    cursor.execute(
        "SELECT 1 FROM instrument_lookups WHERE key = %s"
        " AND checked_at > clock_timestamp() - make_interval(secs => %s)",
        (key, seconds),
    )
    return there(cursor)


class KnownToday(NamedTuple):
    """answered: IB was asked about words on this UTC day of machine time; described: it described the contract on this day.
    details: the other fields of IB's contract details."""

    answered: bool
    described: bool
    details: dict[str, Any]


_KNOWN_TODAY = Prepared(
    "nautilus_known_today",
    "SELECT EXISTS (SELECT FROM instrument_lookups WHERE key = $1 AND (checked_at AT TIME ZONE 'UTC')::date = t.today)"
    " AS answered, coalesce((i.resolved_at AT TIME ZONE 'UTC')::date = t.today, false) AS described,"
    " coalesce(i.details, '{}') AS details"
    " FROM (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) t LEFT JOIN instruments i ON i.con_id = $2",
    ("text", "bigint"),
)


def known_today(cursor: Cursor, key: str, con_id: int) -> KnownToday:
    """What IB answered on this day about the words of a lookup's key and about a contract."""
    cursor.run(_KNOWN_TODAY, (key, con_id))
    return one(cursor, KnownToday)


def changed(cursor: Cursor, keys: Iterable[str]) -> set[str]:
    """Those of the lookups whose words have changed hands."""
    cursor.execute(
        "SELECT key FROM instrument_lookups WHERE key = ANY(%s) AND changed_at IS NOT NULL", (list(set(keys)),)
    )
    return set(scalars(cursor, str))
