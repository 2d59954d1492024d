"""Short ways to import a report of the broker into a furnished ledger, and to see all that it left there."""

import hashlib
from collections.abc import Sequence
from typing import Any

from nautilus.auth.principal import Principal
from nautilus.clock import datetime_of
from nautilus.db.connection import Database
from nautilus.portfolio.import_schemas import ImportRequest
from nautilus.portfolio.importing import Finished, ImportDesk
from tests.support import reports
from tests.support.order_ledger import ACCOUNT, NOW

TRADER = Principal("user:7", "trader", frozenset({"orders:read", "orders:write"}), accounts=frozenset({ACCOUNT}))
NEW_YORK = "America/New_York"


def at(seconds: int) -> str:
    """Seconds after NOW, as a report writes that time with its zone."""
    return datetime_of(NOW + seconds * 10**9).strftime("%Y%m%d;%H%M%S UTC")


def bought(number: int, quantity: int, *, seconds: int = 0, revision: int = 1, **changes: Any) -> dict[str, str]:
    """A fill of the ledger's account; negative: sold."""
    given = {"accountId": ACCOUNT, "dateTime": at(seconds), **changes}
    exec_id = f"{number:06d}.{revision:02d}"
    return (
        reports.trade(exec_id, quantity=quantity, **given)
        if quantity > 0
        else reports.sale(exec_id, -quantity, **given)
    )


def moved(number: int, **changes: Any) -> dict[str, str]:
    """A movement of cash of the ledger's account."""
    return reports.cash(str(number), accountId=ACCOUNT, **changes)


def request(raw: bytes, kind: str = "flex", **changes: Any) -> ImportRequest:
    given = {"account": ACCOUNT, "kind": kind, "name": f"report.{kind}", "size": len(raw)}
    return ImportRequest(**{**given, "sha256": hashlib.sha256(raw).hexdigest(), "time_zone": NEW_YORK, **changes})


def pieces(raw: bytes, size: int = 1_000_000) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def uploaded(desk: ImportDesk, raw: bytes, kind: str = "flex", *, size: int = 1_000_000, **changes: Any) -> Any:
    """Begin an import and send all parts; returns its id."""
    begun = desk.begin(request(raw, kind, **changes), TRADER)
    for n, part in enumerate(pieces(raw, size), start=1):
        desk.add_part(begun.row.id, n, part, TRADER)
    return begun.row.id


def imported(desk: ImportDesk, raw: bytes, kind: str = "flex", **changes: Any) -> Finished:
    """Upload and finish."""
    return desk.finish(uploaded(desk, raw, kind, **changes), TRADER)


def report(trades: Sequence[dict[str, str]] = (), cash: Sequence[dict[str, str]] = ()) -> bytes:
    return reports.flex(trades, cash, account=ACCOUNT)


_STATE = {
    "executions": "SELECT account, exec_base, revision, con_id, side, quantity, price, ts, commission, commission_currency,"
    " broker_realized FROM executions WHERE latest",
    "positions": "SELECT account, con_id, position FROM risk_book WHERE position <> 0",
    "openings": "SELECT account, con_id, quantity, price FROM position_openings WHERE quantity <> 0",
    "lots": "SELECT account, con_id, seq, opened_key, ts, quantity, opened, cost FROM lots",
    "matches": "SELECT * FROM lot_matches",
    "cash": "SELECT account, currency, amount, kind, ts, text, source, external_id FROM cash_movements",
    "breaks": "SELECT account, con_id, expected, broker, until IS NULL FROM position_breaks",
}


def state(database: Database) -> dict[str, list[Any]]:
    """All that an import can change, but for when it did."""
    with database.transaction(snapshot=True) as cursor:
        found = {}
        for name, question in _STATE.items():
            cursor.execute(f"SELECT * FROM ({question}) t ORDER BY t::text")
            found[name] = [tuple(row) for row in cursor.fetchall()]
        return found


def counts(done: Finished) -> dict[str, int]:
    """What was counted, without zeros."""
    return {name: number for name, number in done.row.counts.items() if number}


def problems(done: Finished) -> list[tuple[Any, Any, Any]]:
    return [(one["line"], one["field"], one["value"]) for one in done.row.problems]
