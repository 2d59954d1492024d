"""The kill switch: halt trading and cancel orders in one transaction. It needs the database alone.

It works without the order process and without IB: orders that were not sent are denied, cancels wait as rows and go out
first. A halt survives every restart and has no end but a person's. Run as a command: `python -m nautilus.orders.kill`.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from contextlib import closing
from typing import Literal, NamedTuple, get_args
from uuid import UUID

from nautilus.auth.principal import Client
from nautilus.auth.scopes import checked_accounts
from nautilus.db.auth import audit
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import kill_orders, notifications, orders, positions, requests, risk_book, trading_state
from nautilus.db.orders.events import Event
from nautilus.db.orders.kill_orders import KillOrderRow
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.trading_state import ALL, StateRow
from nautilus.errors import Conflict, InvalidInput, NautilusError
from nautilus.orders import change
from nautilus.orders.groups import EXITS
from nautilus.orders.placing_rows import Caller
from nautilus.orders.row_tickets import protects
from nautilus.orders.states import BEFORE_SENDING, OrderState, RequestState, after
from nautilus.orders.states import Event as Happening
from nautilus.settings.base import load
from nautilus.settings.bridge import MigrateSettings

Cancel = Literal["none", "entries", "ours", "everything"]
"""Which orders a kill cancels. entries: those that may open a position, so that protective stops stay. ours: all of ours.
everything: those of TWS and of other programs, too, by IB's global cancel."""
CANCELS: tuple[str, ...] = get_args(Cancel)
Resumed = Literal["active", "reducing"]
_MOST_REASON = 500


class Killed(NamedTuple):
    """What a kill did. halted: the rows of the trading state; kill_orders: what the order process goes on with. unknown: names
    of no account that is known here; nothing was done about them."""

    halted: tuple[StateRow, ...]
    kill_orders: tuple[KillOrderRow, ...]
    denied: tuple[UUID, ...]
    cancelling: tuple[UUID, ...]
    unknown: tuple[str, ...] = ()


# ---- kill ------------------------------------------------------------------------------------------------------------


def kill(
    cursor: Cursor,
    accounts: Sequence[str] | None,
    *,
    reason: str,
    by: str,
    client: Client,
    now: int,
    cancel: str | None = None,
    flatten: bool = False,
    also_known: Collection[str] = (),
) -> Killed:
    """Halt accounts (None: all, also later ones), deny what was not sent, and make the requests that cancel.

    A name that no account has is left out, so that a slip of the pen keeps no other account from being halted; where no name
    is an account's, InvalidInput names the known ones. also_known: names that the caller knows to be accounts.

    cancel: None: `entries`, or `ours` with flatten. flatten: the order process closes the positions when IB shows no order
    of ours there any more. by: the principal. now: market time in ns. InvalidInput names the field.
    """
    why, cancel = _reason(reason), _cancel(cancel, flatten)
    accounts, unknown = _known_of(cursor, _scopes(accounts), also_known)
    scopes = _scopes(accounts)
    held = _hold(cursor, accounts)
    halted = tuple(trading_state.put(cursor, scope, "halted", reason=why, set_by=by) for scope in scopes)
    made = tuple(kill_orders.put(cursor, scope, cancel=cancel, flatten=flatten, by=by, reason=why) for scope in scopes)
    denied, cancelling = [], []
    for row in (row for account in held for row in orders.open_of(cursor, account)):
        if OrderState(row.state) in BEFORE_SENDING:
            if not (row.origin == "kill" or protects(row)) or cancel in ("ours", "everything"):
                _deny(cursor, row, f"trading was halted by {by}: {why}", now)
                denied.append(row.id)
        elif _is_meant(row, cancel):
            change.cancel(cursor, row.id, Caller(by), now=now, source="person")
            cancelling.append(row.id)
    detail = {"reason": why, "cancel": cancel, "flatten": flatten, "denied": len(denied), "cancelling": len(cancelling)}
    for scope in scopes:
        subject = f"account:{scope}"
        audit.record(cursor, "trading-halted", actor=by, subject=subject, client=client, detail=detail)
    notifications.notify(cursor)
    return Killed(halted, made, tuple(denied), tuple(cancelling), unknown)


def _cancel(cancel: str | None, flatten: bool) -> str:
    chosen = cancel or ("ours" if flatten else "entries")
    if chosen not in CANCELS:
        raise InvalidInput.field("cancel", f"{chosen[:64]!r} is not a choice of orders to cancel", CANCELS)
    if flatten and chosen in ("none", "entries"):
        text = "closes positions, so that a stop that stays would open new ones: cancel ours or everything with it"
        raise InvalidInput.field("flatten", text, ("false",))
    return chosen


def is_entry(row: OrderRow) -> bool:
    """Whether an order may open a position: no exit of a bracket, none that only reduces, none of somebody else."""
    return row.group_role not in EXITS and not row.reducing and row.origin != "external"


def _is_meant(row: OrderRow, cancel: str) -> bool:
    if cancel == "entries":
        return is_entry(row)
    return cancel in ("ours", "everything") and row.origin != "external"


def _deny(cursor: Cursor, before: OrderRow, why: str, now: int) -> None:
    """End an order that IB never had; the account is held, so that nobody sends it meanwhile."""
    row = orders.lock_with_book(cursor, before.id)
    if row is None or OrderState(row.state) not in BEFORE_SENDING:
        return
    for request in requests.open_of(cursor, row.id):
        requests.update(cursor, request, state=RequestState.OVERTAKEN, why=why)
    state = after(OrderState(row.state), Happening.DENIED_UNSENT)
    orders.update(cursor, row, {"state": state, "why": why}, Event("denied", "person", now, why))


# ---- resume ----------------------------------------------------------------------------------------------------------


def resume(
    cursor: Cursor,
    accounts: Sequence[str] | None,
    *,
    reason: str,
    by: str,
    client: Client,
    state: str = "active",
) -> tuple[StateRow, ...]:
    """Let accounts trade again (None: the row of all; an account that has a stricter row of its own keeps that).

    by: an administrator. Conflict while IB's position of a contract there is not ours.
    """
    why, scopes = _reason(reason), _scopes(accounts)
    if state not in get_args(Resumed):
        raise InvalidInput.field("state", f"{state!r} is no state to resume in", get_args(Resumed))
    held = _hold(cursor, accounts)
    breaks = positions.open_breaks(cursor, held)
    if breaks:
        where = ", ".join(f"{row.account} contract {row.con_id}" for row in breaks[:10])
        raise Conflict(
            f"IB's positions are not ours: {where}; resolve these breaks first",
            code="position-breaks-open",
            extra={"breaks": [row.id for row in breaks]},
        )
    rows = tuple(trading_state.put(cursor, scope, state, reason=why, set_by=by) for scope in scopes)
    trading_state.open_day(cursor, held, set_by=by, reason=why)
    for row in rows:
        detail = {"reason": why, "state": state}
        audit.record(cursor, "trading-resumed", actor=by, subject=f"account:{row.scope}", client=client, detail=detail)
    notifications.notify(cursor)
    return rows


# ---- both ------------------------------------------------------------------------------------------------------------


def _reason(text: str) -> str:
    plain = text.strip()
    if not plain or len(plain) > _MOST_REASON:
        raise InvalidInput.field("reason", f"must say why, in 1 to {_MOST_REASON} characters")
    return plain


def _scopes(accounts: Sequence[str] | None) -> tuple[str, ...]:
    scopes = (ALL,) if accounts is None else checked_accounts("accounts", accounts)
    if not scopes:
        raise InvalidInput.field("accounts", "must name an account")
    return scopes


def _known_of(
    cursor: Cursor, scopes: Sequence[str], also_known: Collection[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """(accounts that are known, names that are not). Where no account is known at all, as no gateway was ever connected, every
    name may be one: a kill is never refused for want of knowledge."""
    if ALL in scopes:
        return None if len(scopes) == 1 else tuple(scopes), ()
    known = {*trading_state.named_accounts(cursor), *also_known}
    unknown = tuple(name for name in scopes if name not in known) if known else ()
    if len(unknown) == len(scopes):
        raise InvalidInput.field("accounts", f"{unknown[0]} is no account that is known here", sorted(known))
    return tuple(name for name in scopes if name not in unknown), unknown


def _hold(cursor: Cursor, accounts: Sequence[str] | None) -> list[str]:
    """The accounts that are meant, held until the transaction ends, so that no order of theirs passes meanwhile."""
    meant = trading_state.known_accounts(cursor) if accounts is None or ALL in accounts else sorted(set(accounts))
    risk_book.lock_accounts(cursor, meant)
    return meant


# ---- the command -----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m nautilus.orders.kill", description="Halt trading and cancel orders.")
    parser.add_argument("--reason", required=True, help="why, in a sentence")
    parser.add_argument(
        "--cancel", choices=CANCELS, help="which orders to cancel (default: entries; with --flatten: ours)"
    )
    parser.add_argument("--account", action="append", help="an account; may be given several times (default: all)")
    parser.add_argument("--flatten", action="store_true", help="close the positions afterwards")
    options = parser.parse_args(arguments)
    url = load(MigrateSettings).database_url.get_secret_value()
    with closing(Database(url, name="nautilus-kill", size=1)) as database:
        try:
            with database.transaction() as cursor:
                done = kill(
                    cursor,
                    options.account,
                    reason=options.reason,
                    by="command",
                    client=Client("local"),
                    now=status.market_now(cursor),
                    cancel=options.cancel,
                    flatten=options.flatten,
                )
        except NautilusError as error:
            print(f"NOT HALTED: {error}", file=sys.stderr)
            return 1
    print(f"halted: {', '.join(row.scope for row in done.halted)} (* is every account)")
    if done.unknown:
        print(f"NOT HALTED, as no such account is known here: {', '.join(done.unknown)}", file=sys.stderr)
    print(
        f"{len(done.denied)} orders that were not sent are denied, {len(done.cancelling)} cancels wait for the order process"
    )
    return 1 if done.unknown else 0


if __name__ == "__main__":
    sys.exit(main())
