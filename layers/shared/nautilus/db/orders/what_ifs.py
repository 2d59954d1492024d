"""What-if orders: what IB would want for an order, without the order. Functions and the order process want them; the order
process sends them and writes the answers."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import one, one_or_none, scalar, scalars

OPEN_STATES = frozenset({"wanted", "sent"})
"""It has not gone to IB, or IB has not answered."""


class WhatIfRow(NamedTuple):
    """A row of `what_ifs`. terms: what the order asks for, numbers as texts; fingerprint: of account, contract and terms.

    position: of the account in the contract when it was wanted; None: not known. order_id: the number under which IB was
    asked, which no order ever has. text: IB's warning, its refusal, or why there is no answer. margins: IB's names ->
    numbers as texts. age_s: machine time since it was over. overtaken: an order of the account that may open a position was
    sent since IB was asked.
    """

    id: UUID
    principal: str
    account: str
    con_id: int
    terms: Mapping[str, Any]
    fingerprint: str
    position: Decimal | None
    state: str
    client_id: int | None
    order_id: int | None
    code: int | None
    text: str
    margins: Mapping[str, Any]
    asked_at: datetime
    sent_at: datetime | None
    over_at: datetime | None
    age_s: float | None
    overtaken: bool


# What is sent was accepted within a day (`valid_for_s`), hence the bound on `accepted_at`, which has an index.
_OVERTAKEN = (
    "w.sent_at IS NOT NULL AND EXISTS (SELECT 1 FROM orders o WHERE o.account = w.account AND o.sent_at >= w.sent_at"
    " AND NOT o.reducing AND o.accepted_at > w.asked_at - interval '25 hours')"
)
_COLUMNS = ", ".join(f"w.{name}" for name in WhatIfRow._fields[:-2]) + (
    ", extract(epoch FROM clock_timestamp() - w.over_at)::float8 AS age_s, (" + _OVERTAKEN + ") AS overtaken"
)


def put(
    cursor: Cursor,
    *,
    principal: str,
    account: str,
    con_id: int,
    terms: Mapping[str, object],
    fingerprint: str,
    position: Decimal | None,
) -> WhatIfRow:
    """A new one in state `wanted`."""
    cursor.execute(
        "INSERT INTO what_ifs AS w (id, principal, account, con_id, terms, fingerprint, position, state)"
        f" VALUES (%s, %s, %s, %s, %s, %s, %s, 'wanted') RETURNING {_COLUMNS}",
        (uuid4(), principal, account, con_id, as_json(terms), fingerprint, position),
    )
    return one(cursor, WhatIfRow)


def read(cursor: Cursor, what_if_id: UUID) -> WhatIfRow | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM what_ifs w WHERE w.id = %s", (what_if_id,))
    return one_or_none(cursor, WhatIfRow)


def newest(cursor: Cursor, account: str, fingerprint: str) -> WhatIfRow | None:
    """The newest one of an account with these terms."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM what_ifs w WHERE w.account = %s AND w.fingerprint = %s"
        " ORDER BY w.asked_at DESC, w.id LIMIT 1",
        (account, fingerprint),
    )
    return one_or_none(cursor, WhatIfRow)


def count_open(cursor: Cursor, account: str) -> int:
    """How many of an account wait for their answer."""
    cursor.execute("SELECT count(*) FROM what_ifs WHERE account = %s AND state IN ('wanted', 'sent')", (account,))
    return scalar(cursor, int)


# ---- the order process -----------------------------------------------------------------------------------------------


def next_wanted(cursor: Cursor, limit: int) -> list[UUID]:
    """Those that are to go to IB, the oldest first."""
    cursor.execute("SELECT id FROM what_ifs WHERE state = 'wanted' ORDER BY asked_at, id LIMIT %s", (limit,))
    return scalars(cursor, UUID)


def announce(cursor: Cursor, what_if_id: UUID, *, client_id: int, order_id: int) -> WhatIfRow | None:
    """Commit that it is about to be written; None when it is not wanted any more."""
    cursor.execute(
        "UPDATE what_ifs w SET state = 'sent', client_id = %s, order_id = %s, sent_at = clock_timestamp()"
        f" WHERE w.id = %s AND w.state = 'wanted' RETURNING {_COLUMNS}",
        (client_id, order_id, what_if_id),
    )
    return one_or_none(cursor, WhatIfRow)


def finish(
    cursor: Cursor,
    what_if_id: UUID,
    state: str,
    *,
    text: str = "",
    code: int | None = None,
    margins: Mapping[str, object] | None = None,
) -> None:
    """The end of one: `answered`, `refused` or `failed`. A late answer replaces a failure, and nothing else."""
    cursor.execute(
        "UPDATE what_ifs SET state = %(state)s, text = %(text)s, code = %(code)s, margins = %(margins)s,"
        " over_at = clock_timestamp() WHERE id = %(id)s AND (state IN ('wanted', 'sent')"
        " OR state = 'failed' AND %(state)s <> 'failed')",
        {
            "state": state,
            "text": clean_text(text),
            "code": code,
            "margins": as_json(margins or {}),
            "id": what_if_id,
        },
    )


def fail_late(cursor: Cursor, *, after_s: float, not_sent: str, not_answered: str) -> int:
    """End those that waited for so many seconds of machine time; returns how many. The texts say why."""
    cursor.execute(
        "UPDATE what_ifs SET over_at = clock_timestamp(),"
        " text = CASE state WHEN 'wanted' THEN %(not_sent)s ELSE %(not_answered)s END, state = 'failed'"
        " WHERE state IN ('wanted', 'sent') AND coalesce(sent_at, asked_at) < clock_timestamp() - %(after)s * interval '1 s'",
        {"not_sent": not_sent, "not_answered": not_answered, "after": after_s},
    )
    return cursor.rowcount


def fail_sent(cursor: Cursor, text: str) -> None:
    """The connection over which they were sent is gone: no answer comes any more."""
    cursor.execute(
        "UPDATE what_ifs SET state = 'failed', over_at = clock_timestamp(), text = %s WHERE state = 'sent'", (text,)
    )


def forget(cursor: Cursor, *, older_than_s: float) -> int:
    """Remove old ones; returns how many."""
    cursor.execute(
        "DELETE FROM what_ifs WHERE id IN (SELECT id FROM what_ifs WHERE asked_at < clock_timestamp() - %s * interval '1 s'"
        " ORDER BY asked_at LIMIT 1000)",
        (older_than_s,),
    )
    return cursor.rowcount
