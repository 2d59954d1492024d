"""Connections of the order process to a gateway, and the order ids that it may use."""

from collections.abc import Sequence

from nautilus.db.cursor import Cursor
from nautilus.db.rows import scalar


def begin(
    cursor: Cursor, client_id: int, next_order_id: int, accounts: Sequence[str], *, server_version: int | None = None
) -> int:
    """A new connection; returns its id. next_order_id: what IB gave. Connections of this client id that nobody ended are over."""
    cursor.execute(
        "UPDATE gateway_sessions SET ended_at = clock_timestamp() WHERE client_id = %s AND ended_at IS NULL",
        (client_id,),
    )
    cursor.execute(
        "INSERT INTO gateway_sessions (client_id, next_order_id, accounts, server_version) VALUES (%s, %s, %s, %s)"
        " RETURNING id",
        (client_id, next_order_id, list(accounts), server_version),
    )
    return scalar(cursor, int)


def end(cursor: Cursor, session_id: int) -> None:
    """The end of a connection was noticed."""
    cursor.execute(
        "UPDATE gateway_sessions SET ended_at = clock_timestamp() WHERE id = %s AND ended_at IS NULL", (session_id,)
    )


def reserve_order_id(cursor: Cursor, client_id: int, floor: int, *, count: int = 1) -> int:
    """The first of `count` order ids that nobody used before, as a whole committed with the rows that take them.

    floor: the least id that IB and the library allow. No id is given twice, also when a gateway begins anew with lower ones.
    """
    cursor.execute(
        "INSERT INTO order_ids AS o (client_id, next_order_id) VALUES (%(client)s, %(floor)s + %(count)s)"
        " ON CONFLICT (client_id) DO UPDATE SET next_order_id = greatest(o.next_order_id, %(floor)s) + %(count)s"
        " RETURNING next_order_id - %(count)s AS first",
        {"client": client_id, "floor": floor, "count": count},
    )
    return scalar(cursor, int)


def raise_floor(cursor: Cursor, client_id: int, floor: int) -> int:
    """No order id below `floor` from now on; returns the next one. It never goes down."""
    cursor.execute(
        "INSERT INTO order_ids AS o (client_id, next_order_id) VALUES (%s, %s)"
        " ON CONFLICT (client_id) DO UPDATE SET next_order_id = greatest(o.next_order_id, excluded.next_order_id)"
        " RETURNING next_order_id",
        (client_id, floor),
    )
    return scalar(cursor, int)
