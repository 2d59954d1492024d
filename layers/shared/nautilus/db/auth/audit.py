"""The audit log: who signed in, who was refused, what administrators did. Never a secret, nor what may be one."""

from collections.abc import Mapping

from nautilus.auth.principal import Client
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor


def record(
    cursor: Cursor,
    action: str,
    *,
    actor: str,
    client: Client,
    refused: bool = False,
    subject: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """One act. actor and subject: `user:7`, `key:3`, `session:<id>`, `unknown`, `command`."""
    cursor.execute(
        "INSERT INTO audit_log (action, outcome, actor, subject, address, request_id, detail)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            action,
            "refused" if refused else "ok",
            actor,
            subject,
            client.address,
            client.request_id,
            Json(dict(detail or {})),
        ),
    )
