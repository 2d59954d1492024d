"""How a run in paper or live ends: its orders are cancelled, its position is closed where that is wanted, by the ledger alone,
as the strategy may be what is wrong; and what it amounts to."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.monitoring import incidents
from nautilus.db.strategies import leases, ledger, results, runs, writing
from nautilus.db.strategies.leases import Hold
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.writing import NewEvent
from nautilus.errors import Unavailable
from nautilus.monitoring.incidents import Condition
from nautilus.orders.facts import magnifier_of, multiplier_of
from nautilus.orders.ticket import OrderType, Origin, Side, Ticket
from nautilus.strategies import placing
from nautilus.strategies.figures import Book, EquityPoint, RunFill, figures
from nautilus.strategies.options import RunOptions
from nautilus.strategies.states import Mode, RunState, Wanted
from strategy_host.parts import HostParts

KEEPER = "strategy-host"
_PAUSE_S = 1.0
_AGAIN_S = 5.0
_CLOSING = "flatten-"


class _Standing(NamedTuple):
    """What a live run still has. open: orders that are not over. position: con_id -> quantity, none of them zero."""

    open: int
    position: dict[int, Decimal]


async def cancel_orders(parts: HostParts, run: RunRow) -> None:
    """Ask for the end of every open order of a live run. LeaseLost."""
    await parts.transactions.run(_cancel_all, run)


def _cancel_all(cursor: Cursor, run: RunRow) -> None:
    leases.held(cursor, Hold(run.id, run.token))
    for row in ledger.open_orders(cursor, run.principal):
        placing.cancel(cursor, run, str(row.idempotency_key))


async def end(parts: HostParts, run: RunRow, wanted: Callable[[], Wanted]) -> str:
    """Until nothing of a live run is open, and, where that is wanted, it holds nothing; returns what there is to report of it.
    The database being away delays it. LeaseLost."""
    if run.mode != Mode.LIVE:
        return ""
    reported = ""
    while True:
        try:
            waits_for = await parts.transactions.run(_step, run, wanted(), parts)
        except Unavailable:
            waits_for = "the database is away"
        if not waits_for:
            return ""
        if waits_for != reported:
            parts.log.info("strategy-stop-waits", extra={"run_id": str(run.id), "reason": waits_for})
            reported = waits_for
        await asyncio.sleep(_AGAIN_S if waits_for.startswith("its position") else _PAUSE_S)


def _step(cursor: Cursor, run: RunRow, wanted: Wanted, parts: HostParts) -> str:
    """What can be done now; returns what is waited for, empty when nothing is left."""
    leases.held(cursor, Hold(run.id, run.token))
    now = _standing(cursor, run)
    if now.open:
        closing = set(ledger.keys_like(cursor, run.principal, _CLOSING))
        for row in ledger.open_orders(cursor, run.principal):
            if row.idempotency_key not in closing:
                placing.cancel(cursor, run, str(row.idempotency_key))
        return f"{now.open} of its orders are not over yet"
    if wanted is not Wanted.FLAT or not now.position:
        return ""
    refusals = [_close(cursor, run, con_id, quantity, parts=parts) for con_id, quantity in now.position.items()]
    return "its position is not closed yet" + "".join(f": {one}" for one in refusals if one)


def _standing(cursor: Cursor, run: RunRow) -> _Standing:
    book = Book()
    for n, one in enumerate(ledger.executions(cursor, run.principal)):
        book.add(RunFill(f"{n:09d}", one.con_id, one.ts, one.side, one.quantity, one.price, one.commission))
    held = {con_id: book.position(con_id) for con_id in run.con_ids}
    return _Standing(
        len(ledger.open_orders(cursor, run.principal)), {con_id: held[con_id] for con_id in held if held[con_id]}
    )


def _close(cursor: Cursor, run: RunRow, con_id: int, quantity: Decimal, *, parts: HostParts) -> str:
    """Write the order that closes a position; returns why it was denied, if it was."""
    instrument = instruments.by_id(cursor, con_id)
    if instrument is None:
        return f"the contract {con_id} is not known any more"
    number = len(ledger.keys_like(cursor, run.principal, _CLOSING)) + 1
    ticket = Ticket(
        account=run.account,
        instrument=instrument,
        side=Side.SELL if quantity > 0 else Side.BUY,
        type=OrderType.MKT,
        quantity=abs(quantity),
        tags=("exit",),
        allow_duplicate=True,
        origin=Origin.STRATEGY,
    )
    try:
        placed = placing.close_position(cursor, run, ticket, key=f"{_CLOSING}{number}", settings=parts.settings)
    except placing.RightsLost as lost:
        return lost.detail
    return placed.orders[0].why if placed.denied else ""


# ---- rights ----------------------------------------------------------------------------------------------------------


def rights_lost(cursor: Cursor, run: RunRow, reason: str) -> None:
    """The owner may send orders no more: the run is paused, and a person should know."""
    row = leases.held(cursor, Hold(run.id, run.token))
    if row.wanted == Wanted.RUNNING:
        runs.want(cursor, run.id, Wanted.PAUSED, "host")
    writing.events(cursor, run.id, [NewEvent(None, "denied", {"reason": reason})])
    incidents.tell(cursor, KEEPER, [Condition("strategy-rights-lost", str(run.id), {"reason": reason})])


def fail(cursor: Cursor, run: RunRow, reason: str) -> None:
    """End a run that cannot go on. Open orders of a live one are cancelled in the same step, as nobody looks after them any
    more, and a person should look at what it holds. LeaseLost."""
    if run.mode == Mode.LIVE:
        _cancel_all(cursor, run)
        detail = {"account": run.account, "template": run.template_id, "reason": reason}
        incidents.tell(cursor, KEEPER, [Condition("strategy-run-ended", str(run.id), detail)])
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


def _unit(cursor: Cursor, con_id: int) -> Decimal:
    instrument = instruments.by_id(cursor, con_id)
    multiplier = multiplier_of(instrument) if instrument is not None else None
    return (multiplier or Decimal(1)) / magnifier_of(instruments.details(cursor, con_id))


def _utc_date(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).date()
