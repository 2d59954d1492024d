"""Backfill jobs and their items: how they are written and found again. Rows are the truth; a message only says "look"."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.backfill.states import ACTIVE_JOBS, LIVE_JOBS
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.rows import insert_rows, scalar, scalar_or_none, there
from nautilus.market.symbols import Selector

ACTIVE = "('" + "', '".join(ACTIVE_JOBS) + "')"
"""The states of jobs that still want their chunks, for a WHERE clause."""
CHANNEL = "nautilus"
"""The NOTIFY channel the bridge listens on; the payload is a kind and an id, as in a queue message."""


class Item(NamedTuple):
    """One series of a job as it was requested. Times in market ns on the series' axis.

    start and end None: `back` ns back from the last closed bar. price and session None: the asset class's default.
    """

    selector: Selector
    timeframe: str
    price: str | None
    session: str | None
    start: int | None
    end: int | None
    back: int | None


_ITEM = {
    "job_id": "uuid",
    "selector": "jsonb",
    "timeframe": "text",
    "price": "text",
    "session": "text",
    "wanted_start": "bigint",
    "wanted_end": "bigint",
    "wanted_back": "bigint",
}


def fingerprint(items: Sequence[Item], mode: str) -> str:
    """One text per request, the same however it was spelled."""
    rows = sorted(
        json.dumps([_words(i.selector), i.timeframe, i.price, i.session, i.start, i.end, i.back]) for i in items
    )
    return hashlib.sha256("\n".join([mode, *rows]).encode()).hexdigest()


def _words(selector: Selector) -> str:
    """What names the instrument: where a venue was named, another one may mean another contract, or none."""
    return f"{selector.key}@{selector.venue}" if selector.venue else selector.key


def notify(cursor: Cursor, kind: str, number: UUID | str) -> None:
    """Wake the bridge when this transaction commits."""
    cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"{kind}:{number}"))


def create(
    cursor: Cursor,
    *,
    owner: str,
    origin: str,
    items: Sequence[Item],
    priority: int,
    mode: str,
    request: Mapping[str, Any],
    fingerprint: str,
    correlation_id: str,
) -> UUID:
    """Write a queued job with its items and wake the bridge."""
    cursor.execute(
        "INSERT INTO backfill_jobs (owner, origin, priority, mode, request, fingerprint, correlation_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (owner, origin, priority, mode, Json(dict(request)), fingerprint, correlation_id),
    )
    job_id = scalar(cursor, UUID)
    insert_rows(cursor, "backfill_items", _ITEM, [(job_id, Json(i.selector.as_dict()), *i[1:]) for i in items])
    notify(cursor, "job", job_id)
    return job_id


def any_live(cursor: Cursor, origin: str) -> bool:
    """True while a job of this origin lives."""
    cursor.execute(
        "SELECT 1 FROM backfill_jobs WHERE origin = %s AND state = ANY(%s) LIMIT 1", (origin, list(LIVE_JOBS))
    )
    return there(cursor)


def live_duplicate(cursor: Cursor, owner: str, fingerprint: str) -> UUID | None:
    """A live job of the same owner for the same. Of two equal requests at once the second waits here until the first has
    committed, and then finds its job."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{owner}|{fingerprint}",))
    cursor.execute(
        f"SELECT id FROM backfill_jobs WHERE owner = %s AND fingerprint = %s AND state IN {ACTIVE}"
        " ORDER BY created_at DESC LIMIT 1",
        (owner, fingerprint),
    )
    return scalar_or_none(cursor, UUID)
