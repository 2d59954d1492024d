"""Limits of risk as an administrator sees and changes them. Every change stands in the audit log."""

from decimal import Decimal
from typing import NamedTuple

from nautilus.auth.principal import Client
from nautilus.auth.scopes import checked_accounts
from nautilus.db.auth import audit
from nautilus.db.cursor import Cursor
from nautilus.db.orders import limits as stored
from nautilus.db.orders.limits import LimitSetRow
from nautilus.errors import NotFound
from nautilus.market.account_kind import account_kind
from nautilus.orders.limits import ALL_ACCOUNTS, ALLOW, LIMITS, LimitRow, checked, merged


class LimitReport(NamedTuple):
    """A limit of an account. value: what counts, None for no limit; default: of the account's kind; row: what an
    administrator set, the account's own row before that of all."""

    name: str
    value: Decimal | None
    default: Decimal | None
    unit: str
    text: str
    row: LimitSetRow | None


def limits_of(cursor: Cursor, account: str) -> list[LimitReport]:
    """Every limit of an account, in the order of the table."""
    rows = stored.listed(cursor, [account])
    kind = account_kind([account])
    values = merged([LimitRow(row.account, row.name, row.value) for row in rows], account, kind)
    own = {row.name: row for row in rows if row.account != account} | {
        row.name: row for row in rows if row.account == account
    }
    return [
        LimitReport(name, values[name], limit.default(kind), limit.unit, limit.text, own.get(name))
        for name, limit in LIMITS.items()
    ]


def allow_rows(cursor: Cursor, account: str) -> list[LimitSetRow]:
    """The rows that say what an account may trade."""
    return [row for row in stored.listed(cursor, [account]) if row.name.startswith(ALLOW)]


def set_limit(
    cursor: Cursor, account: str, name: str, value: Decimal | None, *, by: str, client: Client
) -> LimitSetRow:
    """Set a limit of an account, or of all (`*`). value: None takes the limit away. InvalidInput names the field."""
    (scope,) = checked_accounts("account", [account])
    wanted = checked(name, value)
    before = stored.locked(cursor, scope, name)
    row = stored.put(cursor, scope, name, wanted, set_by=by)
    _audit(cursor, scope, name, before, after=_text(wanted), by=by, client=client)
    return row


class Unset(NamedTuple):
    """A row that was removed. account: `*` for all. counts: what counts for the account without it; None for `*`, as each
    account has its own, and for a row of the list of what may be traded."""

    row: LimitSetRow
    counts: LimitReport | None


def unset_limit(cursor: Cursor, account: str, name: str, *, by: str, client: Client) -> Unset:
    """Remove a row, so that the row of all or the default counts again. InvalidInput names the field; NotFound: there is none."""
    (scope,) = checked_accounts("account", [account])
    checked(name, None)
    before = stored.locked(cursor, scope, name)
    if before is None:
        whose = "all accounts" if scope == ALL_ACCOUNTS else f"the account {scope}"
        raise NotFound(f"nobody has set the limit {name} of {whose}: its default counts", code="limit-not-set")
    stored.remove(cursor, scope, name)
    _audit(cursor, scope, name, before, after="default", by=by, client=client)
    known = () if scope == ALL_ACCOUNTS else limits_of(cursor, scope)
    return Unset(before, next((one for one in known if one.name == name), None))


def _audit(
    cursor: Cursor, account: str, name: str, before: LimitSetRow | None, *, after: str, by: str, client: Client
) -> None:
    detail = {"limit": name, "before": _text(before.value) if before else "default", "after": after}
    audit.record(cursor, "limit-changed", actor=by, subject=f"account:{account}", client=client, detail=detail)


def _text(value: Decimal | None) -> str:
    return "none" if value is None else f"{value:f}"
