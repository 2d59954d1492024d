"""What happened to orders, in order. Whoever adds an event holds the lock of its account (risk_book.lock_account), so that
the ids of one account come in the order of their commits, and a reader who goes on from the last id misses none. Each event
wakes the readers when it is committed (`notifications.EVENTS`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.orders.notifications import EVENTS
from nautilus.db.rows import every, scalar, there

_NO_FRAME: Mapping[str, object] = MappingProxyType({})


class Event(NamedTuple):
    """What is to be written with a change of an order.

    kind: one word, such as `accepted` or `order-status`. source: `api`, `process`, `ib`, `person`. market_at: market time in
    ns. text: a sentence. frame: what IB sent, or what a caller requested.
    """

    kind: str
    source: str
    market_at: int
    text: str = ""
    frame: Mapping[str, object] = _NO_FRAME


class EventRow(NamedTuple):
    """A row of `order_events`. order_id: None where a word of IB fits no order. at: machine time."""

    id: int
    order_id: UUID | None
    account: str
    at: datetime
    market_at: int
    kind: str
    source: str
    before: str
    after: str
    text: str
    frame: Mapping[str, Any]


_COLUMNS = ", ".join(EventRow._fields)


_INSERT = "INSERT INTO order_events (order_id, account, market_at, kind, source, before, after, text, frame)"


def add(
    cursor: Cursor, event: Event, *, account: str, order_id: UUID | None = None, before: str = "", after: str = ""
) -> int:
    """Write an event; returns its id. before, after: states of the order. The account is locked by the caller."""
    cursor.execute(
        f"WITH added AS ({_INSERT} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id, account)"
        f" SELECT id FROM added, pg_notify('{EVENTS}', account)",
        (
            order_id,
            account,
            event.market_at,
            event.kind,
            event.source,
            before,
            after,
            clean_text(event.text),
            as_json(event.frame),
        ),
    )
    return scalar(cursor, int)


WITH_EVENT = (
    f"added AS ({_INSERT} SELECT id, account, %(event_at)s::bigint, %(event_kind)s, %(event_source)s, %(event_before)s, state,"
    " %(event_text)s, %(event_frame)s::jsonb FROM written)"
)
"""Part of a statement whose part `written` wrote one order: it writes an event of it."""


TYPES = {f"event_{name}": "text" for name in ("kind", "source", "before", "text")}
TYPES |= {"event_at": "bigint", "event_frame": "jsonb"}
"""The types of its values."""


def values_of(event: Event, before: str = "") -> dict[str, object]:
    """The values of `WITH_EVENT`. before: the state that the order had; the one after is the row's."""
    return {
        "event_at": event.market_at,
        "event_kind": event.kind,
        "event_source": event.source,
        "event_before": before,
        "event_text": clean_text(event.text),
        "event_frame": as_json(event.frame),
    }


def of_order(cursor: Cursor, order_id: UUID, after: int = 0, limit: int = 100) -> list[EventRow]:
    """Events of an order, the oldest first. after: id of the last one of the page before."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM order_events WHERE order_id = %s AND id > %s ORDER BY id LIMIT %s",
        (order_id, after, limit),
    )
    return every(cursor, EventRow)


def after(
    cursor: Cursor, seen: Mapping[str, int], limit: int = 1_000, *, kinds: Sequence[str] | None = None
) -> list[EventRow]:
    """Events that came after those a reader has seen, the oldest first. kinds: these alone.

    seen: account -> id of the last event that the reader has of it. One id for all accounts would lose events: of two
    accounts the lower id may be committed later.
    """
    wanted = None if kinds is None else list(kinds)
    cursor.execute(
        f"SELECT {', '.join(f'e.{name}' for name in EventRow._fields)}"
        " FROM unnest(%s::text[], %s::bigint[]) AS seen (account, last_id)"
        " CROSS JOIN LATERAL (SELECT * FROM order_events WHERE account = seen.account AND id > seen.last_id"
        "  AND (%s::text[] IS NULL OR kind = ANY(%s)) ORDER BY id LIMIT %s) AS e ORDER BY e.id LIMIT %s",
        (list(seen), list(seen.values()), wanted, wanted, limit, limit),
    )
    return every(cursor, EventRow)


def filled_late(cursor: Cursor, order_id: UUID) -> bool:
    """Whether an execution of an order came when the order was over already."""
    cursor.execute(
        "SELECT 1 FROM order_events WHERE order_id = %s AND kind = 'execution' AND before IN ('cancelled', 'expired') LIMIT 1",
        (order_id,),
    )
    return there(cursor)


def is_of(cursor: Cursor, event_id: int, account: str) -> bool:
    """Whether there is such an event of this account."""
    cursor.execute("SELECT 1 FROM order_events WHERE id = %s AND account = %s", (event_id, account))
    return there(cursor)


class _Newest(NamedTuple):
    account: str
    last_id: int


def newest(cursor: Cursor, accounts: Sequence[str] | None = None) -> dict[str, int]:
    """Account -> id of its last event, 0 where it has none. accounts: None for all that ever had an order."""
    cursor.execute(
        "SELECT a.account, coalesce((SELECT max(id) FROM order_events e WHERE e.account = a.account), 0) AS last_id"
        " FROM risk_accounts a WHERE %(accounts)s::text[] IS NULL OR a.account = ANY(%(accounts)s)",
        {"accounts": None if accounts is None else list(accounts)},
    )
    found = {row.account: row.last_id for row in every(cursor, _Newest)}
    return dict.fromkeys(accounts or (), 0) | found
