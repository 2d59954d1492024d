"""What the order process asks the orders for: which waited too long, and what the kill switch wants done."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalars


def stale(cursor: Cursor, market_ns: int, *, after_machine_s: float) -> list[UUID]:
    """Accepted orders whose `valid_until` is over at this market time, and that were accepted so long ago by machine time."""
    cursor.execute(
        "SELECT id FROM orders WHERE state = 'accepted' AND valid_until < %s"
        " AND accepted_at < clock_timestamp() - %s * interval '1 s' ORDER BY accepted_at, id LIMIT 200",
        (market_ns, after_machine_s),
    )
    return scalars(cursor, UUID)


class InactiveOrder(NamedTuple):
    """An order that IB calls Inactive."""

    id: UUID
    account: str
    symbol: str


def inactive(cursor: Cursor, for_s: float) -> list[InactiveOrder]:
    """Orders that are inactive for so many seconds of machine time, and not because shares are being located."""
    cursor.execute(
        "SELECT id, account, symbol FROM orders WHERE state = 'inactive' AND why_held <> 'locate'"
        " AND state_since < clock_timestamp() - %s * interval '1 s' ORDER BY accepted_at, id",
        (for_s,),
    )
    return every(cursor, InactiveOrder)


def entries_ended_in_part(cursor: Cursor, within_s: float) -> list[UUID]:
    """Entries of brackets that ended so many seconds of machine time ago at most, and filled otherwise than in full, or late."""
    cursor.execute(
        "SELECT id FROM orders o WHERE group_role = 'parent' AND filled > 0"
        " AND over_at > clock_timestamp() - %s * interval '1 s' AND (filled <> quantity OR EXISTS (SELECT 1"
        "  FROM order_events e WHERE e.order_id = o.id AND e.kind = 'execution' AND e.before IN ('cancelled', 'expired')))",
        (within_s,),
    )
    return scalars(cursor, UUID)


class KillOrder(NamedTuple):
    """What the kill switch asks this process for. account: one, or `*` for all. cancel: none, entries, ours, everything."""

    id: UUID
    account: str
    cancel: str
    flatten: bool
    by: str
    reason: str
    since: datetime


def open_kill_orders(cursor: Cursor) -> list[KillOrder]:
    """Those that are not done, the oldest first."""
    cursor.execute(
        "SELECT id, account, cancel, flatten, by, reason, asked_at AS since FROM kill_orders WHERE done_at IS NULL"
        " ORDER BY asked_at, id"
    )
    return every(cursor, KillOrder)


def finish_kill_order(cursor: Cursor, kill_id: UUID, text: str) -> None:
    """IB shows that it is done. text: what was found, in a sentence."""
    cursor.execute(
        "UPDATE kill_orders SET done_at = clock_timestamp(), text = %s WHERE id = %s AND done_at IS NULL",
        (text, kill_id),
    )


def note_kill_order(cursor: Cursor, kill_id: UUID, text: str) -> None:
    """What is still in its way."""
    cursor.execute(
        "UPDATE kill_orders SET text = %s WHERE id = %s AND done_at IS NULL AND text <> %s", (text, kill_id, text)
    )
