"""How a run in paper or live ends: its orders are cancelled, its position is closed where that is wanted, by the ledger alone,
as the strategy may be what is wrong; and what it amounts to."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.monitoring import incidents
from nautilus.db.strategies import leases, ledger, results, runs, writing
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.writing import NewEquity, NewEvent
from nautilus.errors import Unavailable
from nautilus.monitoring.incidents import Condition
from nautilus.orders.facts import magnifier_of, multiplier_of
from nautilus.settings.orders import OrderModeSettings
from nautilus.strategies import placing
from nautilus.strategies.closing import Tries
from nautilus.strategies.figures import Book, EquityPoint, RunFill, drawdowns, figures
from nautilus.strategies.options import RunOptions
from nautilus.strategies.states import Mode, RunState, Wanted
from strategy_host import closing
from strategy_host.earnings import book_of, earned
from strategy_host.parts import HostParts

_PAUSE_S = 1.0


class _Step(NamedTuple):
    """What was done, and what is waited for. waits_for: empty when nothing is left. held: what is to be closed. tried: an order
    that closes was placed or refused. left: what there is to report at the end."""

    waits_for: str = ""
    held: Mapping[int, Decimal] = MappingProxyType({})
    tried: bool = False
    left: str = ""


NOTHING_LEFT = _Step()


async def end(parts: HostParts, run: RunRow, wanted: Callable[[], Wanted]) -> str:
    """Until nothing of a run is open, and, where that is wanted, a live one holds nothing; returns what there is to report of
    it. The database being away delays it. LeaseLost; NotClosed: its orders close nothing."""
    if run.mode != Mode.LIVE:
        await parts.transactions.run(cancel_all, run, "the run was stopped")
        return ""
    reported, tries = "", Tries()
    while True:
        due = tries.due(time.monotonic())
        try:
            done = await parts.transactions.run(step, run, parts.settings, flat=wanted() is Wanted.FLAT, due=due)
        except Unavailable:
            done = _Step("the database is away")
        if not done.waits_for:
            return done.left
        if done.tried:
            tries.tried(done.held, time.monotonic())
        if done.waits_for != reported:
            parts.log.info("strategy-stop-waits", extra={"run_id": str(run.id), "reason": done.waits_for})
            reported = done.waits_for
        await asyncio.sleep(_PAUSE_S)


def step(cursor: Cursor, run: RunRow, settings: OrderModeSettings, *, flat: bool, due: bool) -> _Step:
    """What can be done now. due: it is time to try to close what it holds."""
    now = leases.held(cursor, Hold(run.id, run.token))
    if rows := ledger.open_orders(cursor, run.principal):
        for row in rows:
            if not str(row.idempotency_key).startswith(closing.KEYS):
                placing.cancel(cursor, run, str(row.idempotency_key))
        return _Step(f"{len(rows)} of its orders are not over yet")
    held = _held(cursor, run)
    if not flat or not held:
        closing.tell(cursor, run, "")
        return NOTHING_LEFT
    if not due:
        return _Step("its position is not closed yet", held)
    done = [closing.close(cursor, now, con_id, held[con_id], settings=settings) for con_id in sorted(held)]
    refused = "; ".join(one.refused for one in done if one.refused)
    in_the_way = "; ".join(one.waits or one.refused for one in done if one.waits or one.refused)
    closing.tell(cursor, run, refused)
    placed = any(one.placed for one in done)
    if not placed and not in_the_way:
        return _Step(left="; ".join(one.gone for one in done if one.gone))
    tried = placed or refused != ""
    return _Step("its position is not closed yet" + (f": {in_the_way}" if in_the_way else ""), held, tried)


def _held(cursor: Cursor, run: RunRow) -> dict[int, Decimal]:
    """What a live run holds by its executions: con_id -> quantity, none of them zero."""
    book = Book()
    for n, one in enumerate(ledger.executions(cursor, run.principal)):
        book.add(RunFill(f"{n:09d}", one.con_id, one.ts, one.side, one.quantity, one.price, one.commission))
    held = {con_id: book.position(con_id) for con_id in run.con_ids}
    return {con_id: quantity for con_id, quantity in held.items() if quantity}


# ---- once more -------------------------------------------------------------------------------------------------------


def again(cursor: Cursor, run: RunRow, reason: str, *, most: int, cancels: bool) -> bool:
    """Start a run again, later and later; after `most` times within ten minutes it ends. cancels: its open orders are cancelled
    in the same step, after which no other one is placed. Returns whether it starts again. LeaseLost."""
    count = leases.recent_restarts(cursor, run.id)
    if count >= most:
        fail(cursor, run, f"{reason}; it was started again {count} times within ten minutes")
        return False
    if cancels:
        cancel_all(cursor, run, reason)
    leases.later(cursor, Hold(run.id, run.token), reason, float(min(60, 2**count)), is_restart=True)
    return True


def cancel_all(cursor: Cursor, run: RunRow, reason: str) -> None:
    """Cancel what is open of a run: of a live one at the broker, which may still fill it; in paper at once. reason: why, as
    an order in paper has it. LeaseLost."""
    leases.held(cursor, Hold(run.id, run.token))
    if run.mode != Mode.LIVE:
        writing.cancel_open(cursor, run.id, reason)
        return
    for row in ledger.open_orders(cursor, run.principal):
        placing.cancel(cursor, run, str(row.idempotency_key))


# ---- rights ----------------------------------------------------------------------------------------------------------


def rights_lost(cursor: Cursor, run: RunRow, reason: str) -> None:
    """The owner may send orders no more: the run is paused, and a person should know."""
    row = leases.held(cursor, Hold(run.id, run.token))
    if row.wanted == Wanted.RUNNING:
        runs.want(cursor, run.id, Wanted.PAUSED, "host")
    writing.events(cursor, run.id, [NewEvent(None, "denied", {"reason": reason})])
    incidents.tell(cursor, closing.KEEPER, [Condition("strategy-rights-lost", str(run.id), {"reason": reason})])


def fail(cursor: Cursor, run: RunRow, reason: str) -> None:
    """End a run that cannot go on. Its open orders are cancelled in the same step, as nobody looks after them any more; a
    person should look at what a live one holds. LeaseLost."""
    cancel_all(cursor, run, reason)
    if run.mode == Mode.LIVE:
        closing.tell(cursor, run, "")
        detail = {"account": run.account, "template": run.template_id, "reason": reason}
        incidents.tell(cursor, closing.KEEPER, [Condition("strategy-run-ended", str(run.id), detail)])
    leases.move(cursor, Hold(run.id, run.token), RunState.ERROR, reason)


# ---- figures ---------------------------------------------------------------------------------------------------------


def outcome(cursor: Cursor, run: RunRow, options: RunOptions) -> dict[str, Any]:
    """The counts and figures of a run in paper or live, from its rows."""
    book = Book()
    units = {con_id: _unit(cursor, con_id) for con_id in run.con_ids}
    if run.mode == Mode.LIVE:
        for n, one in enumerate(ledger.executions(cursor, run.principal)):
            unit = units.get(one.con_id, Decimal(1))
            book.add(RunFill(f"{n:09d}", one.con_id, one.ts, one.side, one.quantity, one.price, one.commission, unit))
    else:
        after = 0
        while rows := results.fills(cursor, run.id, after=after):
            for row in rows:
                unit = units.get(row.con_id, Decimal(1))
                book.add(
                    RunFill(
                        f"{row.n:09d}",
                        row.con_id,
                        row.market_ns,
                        row.side,
                        row.quantity,
                        row.price,
                        row.commission,
                        unit,
                    )
                )
            after = rows[-1].n
    points = [EquityPoint(row.market_ns, row.equity) for row in results.equity(cursor, run.id)]
    found = writing.counts(cursor, run.id, run.principal)
    metrics = figures(book, points, capital=options.capital, trade_date=_utc_date)
    return {**found._asdict(), "metrics": metrics}


def end_curve(cursor: Cursor, run: RunRow, options: RunOptions) -> None:
    """Write the last point of a live run that holds nothing: it may have been closed after its last bar. LeaseLost."""
    leases.held(cursor, Hold(run.id, run.token))
    units = {con_id: _unit(cursor, con_id) for con_id in run.con_ids}
    executions = ledger.executions(cursor, run.principal) if run.mode == Mode.LIVE else []
    if not executions or book_of(executions, units).holdings():
        return
    points = results.equity(cursor, run.id)
    cash = options.capital + earned(executions, units)
    at_ns = max(executions[-1].ts, points[-1].market_ns if points else 0)
    earlier = [EquityPoint(row.market_ns, row.equity) for row in points if row.market_ns < at_ns]
    lost = drawdowns([*earlier, EquityPoint(at_ns, cash)])[-1]
    writing.equity(cursor, run.id, [NewEquity(at_ns, cash, cash, Decimal(0), round(lost, 10))])


def _unit(cursor: Cursor, con_id: int) -> Decimal:
    instrument = instruments.by_id(cursor, con_id)
    multiplier = multiplier_of(instrument) if instrument is not None else None
    return (multiplier or Decimal(1)) / magnifier_of(instruments.details(cursor, con_id))


def _utc_date(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).date()
