"""What the ledger knows of an account when an order of it is checked. The caller holds account and contract."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, losses, orders, requests, trading_state
from nautilus.db.orders.exact import difference
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.pictures import account_picture
from nautilus.db.orders.process import ProcessRow
from nautilus.db.orders.risk_book import AccountRow, ExposureRow
from nautilus.db.orders.trading_state import StateRow
from nautilus.market.account_kind import AccountKind, account_kind
from nautilus.orders.exposure import PendingOrder
from nautilus.orders.facts import Counts, Facts, RecentOrder, TradingState, age_s
from nautilus.orders.groups import EXITS
from nautilus.orders.limits import allowed, merged
from nautilus.orders.row_tickets import protects
from nautilus.orders.states import OrderState
from nautilus.orders.ticket import Side
from nautilus.portfolio.trade_dates import span_of, trade_date

_LONGEST_WINDOW_S = 120
"""How far back equal orders are looked for; the limit `duplicate_window` decides."""
STRICTNESS: tuple[TradingState, ...] = ("active", "reducing", "halted")
"""States of trading, the strictest last."""


def with_account(
    cursor: Cursor,
    facts: Facts,
    account: AccountRow,
    exposure: ExposureRow,
    *,
    principal: str,
    changes: OrderRow | None = None,
) -> Facts:
    """The facts with what the ledger knows, how often the caller placed orders, and how the order process stands.

    changes: the order that is to change: it is left out of what is reserved.
    """
    facts = replace(
        with_ledger(cursor, facts, account, exposure),
        counts=Counts(*account_state.accepted_counts(cursor, principal, account.account)),
        recent=_recent(cursor, account.account, exposure.con_id, facts.now),
    )
    facts = _with_losses(cursor, facts, account.account)
    if changes is None:
        return facts
    return replace(with_change(facts, changes), order_ratio=account_state.order_ratio(cursor, changes.account))


def with_ledger(cursor: Cursor, facts: Facts, account: AccountRow, exposure: ExposureRow) -> Facts:
    """The facts with the account's limits, state, values and orders, and with what the order process wrote about itself: what
    the checks before sending need of the ledger."""
    name, kind = account.account, account_kind([account.account])
    seen = account_picture(cursor, name, exposure.con_id)
    opened = seen.opened_at is not None
    facts = replace(
        facts,
        account_kind=kind,
        limits=merged(seen.limits, name, kind),
        allowed=allowed(seen.limits, name),
        trading_state=state_of(seen.states, kind, trade_date(facts.now)),
        position=exposure.position if opened else None,
        orders=pending_orders(cursor, orders.open_with_modifies(cursor, name, exposure.con_id)),
        reserved_value=account.reserved_value,
        gross_position_value=seen.gross_position_value,
        net_liquidation=seen.net_liquidation,
        daily_pnl=seen.daily_pnl,
        position_break=seen.broken if opened else None,
    )
    return _with_process(facts, seen.process)


def with_change(facts: Facts, order: OrderRow) -> Facts:
    """The facts for an order that is one of `facts.orders`, to be changed or checked once more before it is sent: it is left
    out of what is reserved."""
    return replace(
        facts,
        reserved_value=difference(facts.reserved_value, order.reserved_value),
        changes=str(order.id),
        filled=order.filled,
        is_exit=order.group_role in EXITS,
        protects=protects(order),
    )


def _with_process(facts: Facts, row: ProcessRow | None) -> Facts:
    if row is None:
        return replace(facts, accounts=None, ready=False, not_ready_because="the order process has never run")
    state, reason = row.standing
    return replace(
        facts,
        accounts=frozenset(row.accounts) or None,
        ready=state == "ready",
        not_ready_because=reason,
        restart_in=_seconds_until(row.restarts_at, facts.now),
    )


def _seconds_until(at: int | None, now: int) -> Decimal | None:
    return Decimal(at - now) / NS_PER_S if at is not None and at > now else None


def _with_losses(cursor: Cursor, facts: Facts, account: str) -> Facts:
    """The losing trades of this trade date, where a limit needs them. While IB has not reported the result of every execution
    nobody knows how many there are, unless those that are known are too many already."""
    most = facts.limits["cool_down_losses"]
    if most is None:
        return facts
    found = losses.since(cursor, account, span_of(trade_date(facts.now))[0])
    known = found.unreported == 0 or found.losses >= most
    age = None
    if found.newest is not None and found.newest_age_s is not None:
        machine = int(found.newest_age_s * NS_PER_S)
        age = age_s(market_at=found.newest, market_now=facts.now, machine_at=0, machine_now=machine)
    return replace(facts, losses=found.losses if known else None, last_loss_age=age)


def state_of(rows: Iterable[StateRow], kind: AccountKind, today: date) -> TradingState:
    """The trading state of an account: the strictest of its own rows and the row of all. today: the account's trade date.

    Without a row of its own a live account is halted, until an administrator opens it.
    """
    valid = in_force(rows, today)
    states: list[TradingState] = [state for row in valid for state in STRICTNESS if state == row.state]
    if kind == "live" and all(
        row.scope == trading_state.ALL or row.scope.startswith(trading_state.DAY) for row in valid
    ):
        states.append("halted")
    return max(states, key=STRICTNESS.index, default="active")


def in_force(rows: Iterable[StateRow], today: date) -> list[StateRow]:
    """The rows of the trading state that count: one that ends with an earlier trade date is over."""
    return [row for row in rows if row.until_trade_date is None or row.until_trade_date >= today]


def pending_orders(
    cursor: Cursor, rows: Sequence[tuple[OrderRow, Mapping[str, Any] | None]]
) -> tuple[PendingOrder, ...]:
    """Open orders of a contract as the checks look at them; of a modify under way with its new prices. rows: each with what
    its open modify wants."""
    by_id = {row.id: row for row, _ in rows}
    entries = {row.parent_id for row, _ in rows if row.group_role in EXITS and row.parent_id is not None}
    if over := sorted(entries - by_id.keys()):
        by_id |= {row.id: row for row in orders.several(cursor, over)}
    return tuple(_pending(row, by_id.get(row.parent_id) if row.parent_id else None, wanted) for row, wanted in rows)


def _pending(row: OrderRow, parent: OrderRow | None, modify: Mapping[str, Any] | None) -> PendingOrder:
    """parent: the entry of an exit. modify: what an open one wants."""
    wanted = modify or {}
    is_exit = row.group_role in EXITS
    return PendingOrder(
        order_id=str(row.id),
        side=Side(row.side),
        type=row.type,
        reserved=row.reserved_quantity,
        limit=requests.number(wanted, "limit_price") or row.limit_price,
        stop=requests.number(wanted, "stop_price") or row.stop_price,
        group=str(row.group_id) if row.group_id and (is_exit or row.group_kind == "oca") else "",
        together=row.oca_type == 3,
        asleep=is_exit and parent is not None and parent.filled == 0 and parent.state != OrderState.UNKNOWN,
        unknown=row.state == OrderState.UNKNOWN,
        entry_of=str(row.group_id) if row.group_kind == "bracket" and not is_exit else "",
    )


def _recent(cursor: Cursor, account: str, con_id: int, now: int) -> tuple[RecentOrder, ...]:
    rows = account_state.recent(cursor, account, con_id, _LONGEST_WINDOW_S)
    return tuple(
        RecentOrder(
            row.side,
            row.type,
            row.quantity,
            row.limit_price,
            row.stop_price,
            age_s(market_at=row.market_at, market_now=now, machine_at=0, machine_now=int(row.age_s * NS_PER_S)),
        )
        for row in rows
    )
