"""Who wants which live data, and until when: leases in `live_wants`. The bridge turns them into streams."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, insert_rows, scalar, scalars

CHANNEL = "nautilus_live"
"""Notified, without a payload, when wants have changed and that is committed. A hint: the bridge looks each second anyway."""
_UNEXPIRED = "(lease_until IS NULL OR lease_until > statement_timestamp())"
_KEY = {"con_id": "bigint", "kind": "text", "timeframe": "text", "price": "text", "session": "text"}
_NAMES = ", ".join(_KEY)


class WantKey(NamedTuple):
    """What is wanted. kind: `bars`, `quotes` or `ticks`. timeframe, session: of bars; price: of bars and ticks; else empty."""

    con_id: int
    kind: str
    timeframe: str = ""
    price: str = ""
    session: str = ""


class WantRow(NamedTuple):
    """A want, and how much it matters: priority 0 to 9, a higher one is served first."""

    con_id: int
    kind: str
    timeframe: str
    price: str
    session: str
    priority: int

    @property
    def key(self) -> WantKey:
        return WantKey(*self[:-1])


class CurrentWant(NamedTuple):
    """A want that holds. since, lease_until: machine time; without lease_until it holds until it is dropped."""

    owner: str
    con_id: int
    kind: str
    timeframe: str
    price: str
    session: str
    priority: int
    since: datetime
    lease_until: datetime | None

    @property
    def key(self) -> WantKey:
        return WantKey(self.con_id, self.kind, self.timeframe, self.price, self.session)


_CURRENT = f"owner, {_NAMES}, priority, created_at AS since, lease_until"


def notify(cursor: Cursor) -> None:
    """Tell the bridge, when the transaction commits, that wants have changed."""
    cursor.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


def lock(cursor: Cursor, owner: str) -> None:
    """Let nobody else change the wants of an owner until the transaction ends, so that they can be counted first."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7243396))", (owner,))


def put(cursor: Cursor, owner: str, rows: Iterable[WantRow], lease_s: float | None) -> int:
    """Want something from now on for `lease_s` seconds, or for good; what the owner wants already gets the new lease and
    priority, and stays as old as it is. Notifies the bridge. Returns how many wants are new to the owner."""
    wanted = {row.key: row for row in rows}
    if not wanted:
        return 0
    known = {want.key for want in of_owner(cursor, owner)}
    until = _lease_end(cursor, lease_s)
    insert_rows(
        cursor,
        "live_wants AS w",
        {"owner": "text", **_KEY, "priority": "smallint", "lease_until": "timestamptz"},
        [(owner, *wanted[key], until) for key in sorted(wanted)],
        then=f"ON CONFLICT (owner, {_NAMES}) DO UPDATE SET priority = excluded.priority, lease_until = excluded.lease_until,"
        " created_at = CASE WHEN w.lease_until <= statement_timestamp() THEN clock_timestamp() ELSE w.created_at END",
    )
    notify(cursor)
    return len(wanted.keys() - known)


def _lease_end(cursor: Cursor, lease_s: float | None) -> datetime | None:
    if lease_s is None:
        return None
    cursor.execute("SELECT clock_timestamp() + %s * interval '1 s'", (lease_s,))
    return scalar(cursor, datetime)


def renew(cursor: Cursor, owner: str, lease_s: float) -> int:
    """Give all leases of an owner `lease_s` seconds from now; returns how many there are. Those that were over and have been
    removed do not come back: put them again."""
    cursor.execute(
        "UPDATE live_wants SET lease_until = clock_timestamp() + %s * interval '1 s'"
        " WHERE owner = %s AND lease_until IS NOT NULL",
        (lease_s, owner),
    )
    return int(cursor.rowcount)


def drop(cursor: Cursor, owner: str, keys: Collection[WantKey] | None) -> list[WantKey]:
    """Want it no longer; None: nothing of all the owner wanted. Notifies the bridge. Returns what was wanted until now."""
    arrays = ", ".join(f"%s::{kind}[]" for kind in _KEY.values())
    chosen = "" if keys is None else f" AND ({_NAMES}) IN (SELECT * FROM unnest({arrays}))"
    columns = [] if keys is None else [[key[n] for key in keys] for n in range(len(_KEY))]
    cursor.execute(f"DELETE FROM live_wants WHERE owner = %s{chosen} RETURNING {_NAMES}", (owner, *columns))
    gone = every(cursor, WantKey)
    if gone:
        notify(cursor)
    return gone


def current(cursor: Cursor) -> list[CurrentWant]:
    """All wants that hold, of all owners, the oldest first."""
    cursor.execute(f"SELECT {_CURRENT} FROM live_wants WHERE {_UNEXPIRED} ORDER BY id")
    return every(cursor, CurrentWant)


def of_owner(cursor: Cursor, owner: str) -> list[CurrentWant]:
    """The wants of an owner that hold, the oldest first."""
    cursor.execute(f"SELECT {_CURRENT} FROM live_wants WHERE owner = %s AND {_UNEXPIRED} ORDER BY id", (owner,))
    return every(cursor, CurrentWant)


def wanted(cursor: Cursor, kind: str, con_ids: Collection[int]) -> set[int]:
    """Those of the instruments of which somebody wants this kind now."""
    cursor.execute(
        f"SELECT DISTINCT con_id FROM live_wants WHERE kind = %s AND con_id = ANY(%s) AND {_UNEXPIRED}",
        (kind, list(con_ids)),
    )
    return set(scalars(cursor, int))


def expire(cursor: Cursor) -> int:
    """Remove the wants whose lease is over; returns how many."""
    cursor.execute("DELETE FROM live_wants WHERE lease_until <= statement_timestamp()")
    return int(cursor.rowcount)
