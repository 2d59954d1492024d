"""Modifies and cancels of orders, as rows. Whoever writes one holds the locks of its account, contract and order."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import every, one, one_or_none, scalar

OPEN_STATES = ("wanted", "sending", "sent", "unknown")
OVER_STATES = ("confirmed", "refused", "overtaken")


class RequestRow(NamedTuple):
    """A row of `order_requests`. wanted: of a modify, field -> new value, numbers as texts."""

    id: UUID
    order_id: UUID
    account: str
    principal: str
    kind: str
    wanted: Mapping[str, Any]
    extra_reserved: Decimal
    state: str
    code: int | None
    why: str
    idempotency_key: str | None
    asked_at: datetime
    sent_at: datetime | None
    over_at: datetime | None

    @property
    def wanted_quantity(self) -> Decimal | None:
        """The quantity that a modify wants; None when it leaves it as it is."""
        return number(self.wanted, "quantity")


def number(wanted: Mapping[str, Any], name: str) -> Decimal | None:
    """A number among what a modify wants; None when it is left as it is."""
    text = wanted.get(name)
    return None if text is None else Decimal(str(text))


_COLUMNS = ", ".join(RequestRow._fields)
OPEN_MODIFY_QUANTITY = (
    "(SELECT (wanted->>'quantity')::numeric FROM order_requests WHERE order_id = %(_id)s AND kind = 'modify'"
    " AND state IN ('wanted', 'sending', 'sent', 'unknown'))"  # as the index says it
)
"""Part of a statement about the order `_id`: the quantity that its open modify wants; NULL where there is none, or it leaves the
quantity as it is."""


def insert(
    cursor: Cursor,
    *,
    request_id: UUID,
    order_id: UUID,
    account: str,
    principal: str,
    kind: str,
    wanted: Mapping[str, object],
    extra_reserved: Decimal = Decimal(0),
    idempotency_key: str | None = None,
) -> RequestRow:
    """A request in state `wanted`; UniqueViolation when another one like it is open, or the key is used."""
    cursor.execute(
        "INSERT INTO order_requests (id, order_id, account, principal, kind, wanted, extra_reserved, state, idempotency_key)"
        f" VALUES (%s, %s, %s, %s, %s, %s, %s, 'wanted', %s) RETURNING {_COLUMNS}",
        (request_id, order_id, account, principal, kind, as_json(wanted), extra_reserved, idempotency_key),
    )
    return one(cursor, RequestRow)


def read(cursor: Cursor, request_id: UUID) -> RequestRow | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM order_requests WHERE id = %s", (request_id,))
    return one_or_none(cursor, RequestRow)


def age_s(cursor: Cursor, request_id: UUID) -> float:
    """Seconds of machine time since a request was made."""
    cursor.execute(
        "SELECT extract(epoch FROM clock_timestamp() - asked_at)::float8 FROM order_requests WHERE id = %s",
        (request_id,),
    )
    return scalar(cursor, float)


def by_key(cursor: Cursor, principal: str, key: str) -> RequestRow | None:
    """The request that a principal made with this idempotency key."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM order_requests WHERE principal = %s AND idempotency_key = %s", (principal, key)
    )
    return one_or_none(cursor, RequestRow)


def open_of(cursor: Cursor, order_id: UUID) -> list[RequestRow]:
    """The requests of an order that are not over, the oldest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM order_requests WHERE order_id = %s AND state = ANY(%s) ORDER BY asked_at, id",
        (order_id, list(OPEN_STATES)),
    )
    return every(cursor, RequestRow)


def open_of_several(cursor: Cursor, order_ids: Sequence[UUID]) -> dict[UUID, list[RequestRow]]:
    """Order -> its requests that are not over, the oldest first, of those that have any."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM order_requests WHERE order_id = ANY(%s::uuid[]) AND state = ANY(%s) ORDER BY asked_at, id",
        (list(order_ids), list(OPEN_STATES)),
    )
    found: dict[UUID, list[RequestRow]] = {}
    for row in every(cursor, RequestRow):
        found.setdefault(row.order_id, []).append(row)
    return found


def of_order(cursor: Cursor, order_id: UUID) -> list[RequestRow]:
    """All requests of an order, the oldest first."""
    cursor.execute(f"SELECT {_COLUMNS} FROM order_requests WHERE order_id = %s ORDER BY asked_at, id", (order_id,))
    return every(cursor, RequestRow)


def next_wanted(cursor: Cursor, accounts: Sequence[str], limit: int = 100) -> list[RequestRow]:
    """The requests of these accounts that wait for being sent: cancels first, each kind the oldest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM order_requests WHERE state = 'wanted' AND account = ANY(%s)"
        " ORDER BY kind = 'modify', asked_at, id LIMIT %s",
        (list(accounts), limit),
    )
    return every(cursor, RequestRow)


def in_state(cursor: Cursor, state: str) -> list[RequestRow]:
    """All requests in one state, the oldest first: after a crash, those in `sending`."""
    cursor.execute(f"SELECT {_COLUMNS} FROM order_requests WHERE state = %s ORDER BY asked_at, id", (state,))
    return every(cursor, RequestRow)


def unanswered_modifies(cursor: Cursor, older_than_s: float) -> list[RequestRow]:
    """Modifies that were written at least so many seconds of machine time ago, and of which IB has shown nothing."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM order_requests WHERE kind = 'modify' AND state IN ('sent', 'unknown')"
        " AND coalesce(sent_at, asked_at) < clock_timestamp() - %s * interval '1 s' ORDER BY asked_at, id",
        (older_than_s,),
    )
    return every(cursor, RequestRow)


def unproven_modify(cursor: Cursor, order_id: UUID) -> RequestRow | None:
    """The newest modify of an order that was written, where it ended as refused without a word of IB: it may be taken yet."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM order_requests WHERE order_id = %s AND kind = 'modify' AND sent_at IS NOT NULL"
        " ORDER BY asked_at DESC, id LIMIT 1",
        (order_id,),
    )
    row = one_or_none(cursor, RequestRow)
    return row if row is not None and row.state == "refused" and row.code is None else None


def update(
    cursor: Cursor, before: RequestRow, *, state: str, code: int | None = None, why: str = ""
) -> RequestRow | None:
    """Move a request to a state; None when it is no longer in the state of `before`. The caller then updates the order
    (orders.update), which frees what a modify no longer reserves."""
    cursor.execute(
        "UPDATE order_requests SET state = %(state)s, code = coalesce(%(code)s, code), why = %(why)s,"
        " sent_at = CASE WHEN %(state)s = 'sending' THEN clock_timestamp() ELSE sent_at END,"
        " over_at = CASE WHEN %(state)s = ANY(%(over)s) THEN clock_timestamp() END"
        f" WHERE id = %(id)s AND state = %(before)s RETURNING {_COLUMNS}",
        {
            "state": state,
            "code": code,
            "why": clean_text(why),
            "over": list(OVER_STATES),
            "id": before.id,
            "before": before.state,
        },
    )
    return one_or_none(cursor, RequestRow)
