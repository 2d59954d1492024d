"""The one row of the order process: who it is, how it is, and the token that says who may send."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import one_or_none, scalar, there

SILENT_AFTER_S = 15.0
"""An order process that has not written its heartbeat (every 2 s) for so long is not there."""


class ProcessRow(NamedTuple):
    """A row of `order_process`, and its age. restarts_at: market time in ns of the gateway's next restart; None: nobody set one.
    age_s: seconds of machine time since the last heartbeat."""

    token: int
    holder: str
    state: str
    reason: str
    mode: str
    client_id: int | None
    accounts: list[str]
    last_reconciled_at: datetime | None
    heartbeat: datetime
    restarts_at: int | None
    age_s: float

    @property
    def standing(self) -> tuple[str, str]:
        """State and reason as a reader sees them: `silent` when it writes no more, whatever it wrote last."""
        if self.age_s > SILENT_AFTER_S:
            return "silent", f"the order process has said nothing for {self.age_s:.0f} s"
        return self.state, self.reason


def take_over(cursor: Cursor, holder: str, *, mode: str, client_id: int | None = None) -> int:
    """Become the order process; returns the token, higher than any before. Whoever has a lower one sends nothing."""
    cursor.execute(
        "INSERT INTO order_process AS p (token, holder, state, mode, client_id) VALUES (1, %(holder)s, 'starting', %(mode)s,"
        " %(client_id)s) ON CONFLICT (single) DO UPDATE SET token = p.token + 1, holder = excluded.holder,"
        " state = excluded.state, reason = '', mode = excluded.mode, client_id = excluded.client_id, accounts = '{}',"
        " last_reconciled_at = NULL, heartbeat = clock_timestamp() RETURNING token",
        {"holder": holder, "mode": mode, "client_id": client_id},
    )
    return scalar(cursor, int)


def report(
    cursor: Cursor,
    token: int,
    *,
    state: str,
    reason: str = "",
    accounts: Sequence[str] | None = None,
    reconciled: bool = False,
    restarts_at: int | None = None,
) -> bool:
    """Write how the process is, and that it lives. accounts: None leaves them. restarts_at: when the gateway restarts next, by
    market time in ns. False when another process took over."""
    cursor.execute(
        "UPDATE order_process SET state = %(state)s, reason = %(reason)s, accounts = coalesce(%(accounts)s, accounts),"
        " last_reconciled_at = CASE WHEN %(reconciled)s THEN clock_timestamp() ELSE last_reconciled_at END,"
        " restarts_at = %(restarts_at)s, heartbeat = clock_timestamp() WHERE token = %(token)s",
        {
            "state": state,
            "reason": reason,
            "accounts": None if accounts is None else list(accounts),
            "reconciled": reconciled,
            "restarts_at": restarts_at,
            "token": token,
        },
    )
    return cursor.rowcount == 1


def still_mine(cursor: Cursor, token: int) -> bool:
    """Whether this process may send: nobody took over, and nobody does before the transaction ends."""
    cursor.execute("SELECT 1 FROM order_process WHERE token = %s FOR SHARE", (token,))
    return there(cursor)


COLUMNS = (
    ", ".join(f"p.{name}" for name in ProcessRow._fields[:-1])
    + ", extract(epoch FROM clock_timestamp() - p.heartbeat)::float8 AS age_s"
)
"""A `ProcessRow` of order_process p."""


def read(cursor: Cursor) -> ProcessRow | None:
    """The row; None when no order process has ever run."""
    cursor.execute(f"SELECT {COLUMNS} FROM order_process p")
    return one_or_none(cursor, ProcessRow)
