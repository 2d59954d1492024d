"""Tickets by which a browser signs a socket in: good once and for a short time. Stored is the hash, never the ticket."""

from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import one_or_none


class Ticket(NamedTuple):
    """Whose ticket it was: the fields of a principal (nautilus/auth/principal.py)."""

    principal: str
    name: str
    scopes: list[str]
    session: str
    key_id: int | None
    accounts: list[str]


def put(cursor: Cursor, ticket_hash: bytes, ticket: Ticket, seconds: float) -> None:
    """Store a ticket that is good for so many seconds of machine time. ticket_hash: the SHA-256 of its text."""
    cursor.execute(
        "INSERT INTO stream_tickets (hash, principal, name, scopes, session, key_id, accounts, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp() + %s * interval '1 s')",
        (ticket_hash, *ticket, seconds),
    )


def take(cursor: Cursor, ticket_hash: bytes) -> Ticket | None:
    """Use a ticket up; None when there is none, when it was used, or when its time is over."""
    cursor.execute(
        "WITH taken AS (DELETE FROM stream_tickets WHERE hash = %s RETURNING *)"
        " SELECT principal, name, scopes, session, key_id, accounts FROM taken WHERE expires_at > clock_timestamp()",
        (ticket_hash,),
    )
    return one_or_none(cursor, Ticket)


def expire(cursor: Cursor) -> int:
    """Remove the tickets whose time is over; returns how many."""
    cursor.execute("DELETE FROM stream_tickets WHERE expires_at <= statement_timestamp()")
    return int(cursor.rowcount)
