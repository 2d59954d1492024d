"""What the routes of risk do: the kill switch, resuming, limits, and the report; whose accounts a caller halts and sees."""

from collections.abc import Sequence
from typing import Any

from nautilus.auth.principal import Client, Principal
from nautilus.auth.scopes import ALL_ACCOUNTS
from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import process, trading_state
from nautilus.errors import Forbidden, InvalidInput
from nautilus.orders import kill, limit_changes, risk_report
from nautilus.orders.schemas import KillRequest, LimitRequest, ResumeRequest


class RiskDesk:
    """Halts and resumes trading, sets limits, and shows how an account stands."""

    def __init__(self, database: Database, live_accounts: Sequence[str] = ()) -> None:
        """live_accounts: those that the settings name."""
        self._db = database
        self._live_accounts = live_accounts

    def kill(self, body: KillRequest, principal: Principal, client: Client) -> dict[str, Any]:
        """Halt accounts and ask for the cancels. Needs the database alone, whatever the mode of orders is.

        Forbidden: an account of others, or the global cancel for who is no administrator.
        """
        _require_right_to_cancel(body.cancel, principal)
        with self._db.transaction() as cursor:
            accounts = killed_accounts(cursor, body.accounts, principal)
            done = kill.kill(
                cursor,
                accounts,
                reason=body.reason,
                by=principal.id,
                client=client,
                now=market_now(cursor),
                cancel=body.cancel,
                flatten=body.flatten,
                also_known={*principal.accounts, *self._live_accounts} - {ALL_ACCOUNTS},
            )
        return risk_report.killed_json(done)

    def resume(self, body: ResumeRequest, principal: Principal, client: Client) -> dict[str, Any]:
        """Let accounts trade again. Conflict while IB's position of a contract there is not ours.

        An account that has a stricter state of its own, or below a stricter row of all, stays as it is, and is named.
        """
        with self._db.transaction() as cursor:
            rows = kill.resume(
                cursor, body.accounts, reason=body.reason, by=principal.id, client=client, state=body.state
            )
            meant = trading_state.known_accounts(cursor) if body.accounts is None else body.accounts
            stricter = risk_report.stricter_than(cursor, body.state, meant)
        return {"resumed": [risk_report.state_json(row) for row in rows], "not_resumed": stricter}

    def set_limit(self, body: LimitRequest, principal: Principal, client: Client) -> dict[str, Any]:
        """Set a limit of an account or of all. InvalidInput names the field and what is allowed."""
        with self._db.transaction() as cursor:
            row = limit_changes.set_limit(cursor, body.account, body.name, body.value, by=principal.id, client=client)
        return risk_report.set_limit_json(row)

    def unset_limit(self, account: str, name: str, principal: Principal, client: Client) -> dict[str, Any]:
        """Return a limit to what counts without its row. InvalidInput names the field; NotFound: nobody has set it."""
        with self._db.transaction() as cursor:
            done = limit_changes.unset_limit(cursor, account, name, by=principal.id, client=client)
        return risk_report.unset_limit_json(done)

    def report(self, principal: Principal) -> dict[str, Any]:
        """How each account of a caller stands, and the order process."""
        with self._db.transaction(snapshot=True) as cursor:
            return risk_report.report(cursor, own_accounts(cursor, principal))

    def process(self) -> dict[str, Any] | None:
        """The order process; None when none ever ran."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            return risk_report.process_json(process.read(cursor))


def own_accounts(cursor: Cursor, principal: Principal) -> list[str]:
    """The accounts that a caller may use: those that are known, and those that are theirs by name, known or not."""
    known = (name for name in trading_state.known_accounts(cursor) if principal.may_use(name))
    return sorted({*known, *principal.accounts} - {ALL_ACCOUNTS})


def killed_accounts(cursor: Cursor, given: Sequence[str] | None, principal: Principal) -> Sequence[str] | None:
    """The accounts that a kill halts; None: all of the login, which is for an administrator alone.

    Who is no administrator and names none, or `*`, halts each account that they may use. Forbidden for one of others.
    """
    if principal.admin:
        return given
    for account in given or ():
        principal.require_account(account)
    if given is not None and ALL_ACCOUNTS not in given:
        return given
    accounts = own_accounts(cursor, principal)
    if not accounts:
        raise InvalidInput.field("accounts", "there is no account that you may use; an administrator can give you one")
    return accounts


def _require_right_to_cancel(cancel: str | None, principal: Principal) -> None:
    if cancel == "everything" and not principal.admin:
        raise Forbidden(
            "cancel everything takes the orders of all accounts of the login, which needs the scope admin; none, entries"
            " and ours are about your accounts",
            code="missing-scope",
            extra={"scope": "admin"},
        )
