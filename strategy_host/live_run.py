"""One run in paper or live. Its child gets each bar that closes; what it decides is simulated by its own engine (paper) or
goes the way of all orders (live). It goes on after a lost child, host, bridge or database."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.strategies import leases, runs, writing
from nautilus.db.strategies.leases import Hold, LeaseLost
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.writing import NewEvent
from nautilus.errors import InvalidInput, NautilusError, Unavailable
from nautilus.process.tasks import cancel_all
from nautilus.strategies.columns import message_series
from nautilus.strategies.history import FedSeries
from nautilus.strategies.not_simulated import note
from nautilus.strategies.options import RunOptions, run_options
from nautilus.strategies.pipe import PipeError
from nautilus.strategies.placing import RightsLost
from nautilus.strategies.states import Mode, RunState, Wanted
from strategy_host import fence, following, stopping
from strategy_host.backtest import Fault
from strategy_host.bar_bus import BarSeries
from strategy_host.bar_feed import BarFeed, Forming, GivenBar
from strategy_host.child import Child, ChildGone, Limits, Stuck
from strategy_host.earlier_life import EarlierLife, earlier_life
from strategy_host.following import looped
from strategy_host.messages import series_messages, start_message
from strategy_host.parts import HostParts
from strategy_host.recorder import RECORDED, Recorder
from strategy_host.run_orders import RunOrders
from strategy_host.standing import Standing

_MOST_RESTARTS = 5
_BAR = ("opened_ns", "closed_ns", "open", "high", "low", "close", "volume")
_SWEEP_S, _STORE_S = 1.0, 1.0
_END_S, _CLOSE_S = 10.0, 150.0


class _Stopped(Exception):
    """Its owner wants it stopped, and the child has ended."""


class LiveRun:
    """A run in paper or live that this host holds."""

    def __init__(self, parts: HostParts, run: RunRow) -> None:
        self.run = run
        self.hold = Hold(run.id, run.token)
        self.child: Child | None = None
        self.bars_waker, self.orders_waker = asyncio.Event(), asyncio.Event()
        self._parts = parts
        self._options = RunOptions()
        self._wanted = Wanted(run.wanted)
        self._wanted_changed, self._ready, self._result = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._storing = asyncio.Lock()
        self._sent: tuple[FedSeries, ...] = ()
        self.series: frozenset[BarSeries] = frozenset()
        self._bars_done, self._left = run.bars_done, ""
        self._last_changes: dict[str, Any] = {}

    @property
    def live(self) -> bool:
        return self.run.mode == Mode.LIVE

    def want(self, wanted: str) -> None:
        """What its owner wants now."""
        if Wanted(wanted) is not self._wanted:
            self._wanted = Wanted(wanted)
            self._wanted_changed.set()

    @property
    def _ends(self) -> bool:
        return self._wanted in (Wanted.STOPPED, Wanted.FLAT)

    async def work(self) -> None:
        """Until it is over, or not ours any more. Unavailable: the database is away; the lease runs out."""
        try:
            self._options = run_options(self.run.options)
            if not self._ends and self.run.state != RunState.STOPPING:
                with contextlib.suppress(_Stopped):
                    await self._attempt()
            await self._stop()
        except LeaseLost as lost:
            self._parts.log.warning("strategy-run-lost", extra={"run_id": str(self.run.id), "reason": str(lost)})
        except (ChildGone, Stuck) as gone:
            await self._again(str(gone))
        except Fault as wrong:
            await (self._again(str(wrong)) if self._options.restart_on_fault else self._fail(str(wrong)))
        except PipeError as wrong:
            await self._fail(str(wrong))
        except Unavailable:
            raise
        except NautilusError as wrong:
            await self._fail(wrong.detail)
        except Exception as error:
            self._parts.log.exception("strategy-run-broke", extra={"run_id": str(self.run.id)})
            await self._again(f"{type(error).__name__}: {error}")
        finally:
            if self.child is not None:
                await self.child.kill()

    async def _fail(self, reason: str) -> None:
        """It cannot go on."""
        with contextlib.suppress(LeaseLost):
            await self._parts.transactions.run(stopping.fail, self.run, reason)

    async def _again(self, reason: str) -> None:
        """Start it again, or end it after too many times."""
        cancels = self._options.on_crash == "cancel"
        again = partial(stopping.again, most=_MOST_RESTARTS, cancels=cancels)
        with contextlib.suppress(LeaseLost):
            if await self._parts.transactions.run(again, self.run, reason):
                self._parts.log.warning("strategy-child-lost", extra={"run_id": str(self.run.id), "reason": reason})

    async def _move(self, state: RunState, reason: str = "", changes: Mapping[str, Any] | None = None) -> None:
        with contextlib.suppress(LeaseLost):
            await self._parts.transactions.run(leases.move, self.hold, state, reason, changes=changes)

    # ---- one child -----------------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        """From its start until it ends, by itself or because its owner wants it."""
        transactions = self._parts.transactions
        await transactions.run(self._begin)
        fed, units = await transactions.run(following.prepared, self.run)
        self._sent, self.series = tuple(fed), following.bars_of(fed)
        before = await transactions.run(earlier_life, self.run, fed, units, capital=self._options.capital)
        recorder = before.recorder
        feed = BarFeed(self.run, fed, held_s=self._parts.settings.strategy_unconfirmed_s)
        orders = RunOrders(self._parts, self.run, units) if self.live else None
        settings = self._parts.settings
        self.child = child = await Child.start(
            self._parts.command("run"), Limits(0, settings.strategy_memory_mb, settings.strategy_stuck_s)
        )
        tasks = [
            asyncio.create_task(self._listen(child, recorder, orders)),
            asyncio.create_task(child.watch()),
            asyncio.create_task(self._drive(child, feed, before, orders)),
            asyncio.create_task(following.want_often(self._parts, self.run)),
            asyncio.create_task(self._store_often(recorder)),
            asyncio.create_task(Standing(self._parts, self.run).write_often()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if not self._ends:
                raise ChildGone("the strategy ended by itself")
        finally:
            await cancel_all(task for task in tasks if not task.done())
            with contextlib.suppress(Unavailable, LeaseLost):
                await self._store(recorder)

    def _begin(self, cursor: Cursor) -> None:
        if leases.held(cursor, self.hold).state != RunState.QUEUED:
            lost = "its host was lost; it starts again"
            if self._options.on_crash == "cancel":
                stopping.cancel_all(cursor, self.run, lost)
            leases.move(cursor, self.hold, RunState.QUEUED, lost)
        if self.live and self._parts.settings.orders == "off":
            raise InvalidInput("orders are switched off by the setting NAUTILUS_ORDERS")
        leases.move(cursor, self.hold, RunState.STARTING)

    # ---- to the child --------------------------------------------------------------------------------------------

    async def _drive(self, child: Child, feed: BarFeed, before: EarlierLife, orders: RunOrders | None) -> None:
        """Start it, warm it up, say what it holds, then give it bars and words until it is to stop."""
        transactions, recorder = self._parts.transactions, before.recorder
        options = self._options._replace(capital=before.capital)
        series = series_messages(self._sent)
        await child.send("start", **start_message(self.run, options, before.instruments, series, bars_total=0))
        bars = await transactions.run(feed.warm_up, self._options.warm_up_bars)
        feed.committed()
        await self._move(RunState.WARMING_UP)
        if bars:
            await child.send("warm_up", series=message_series(bars))
        if orders is not None:
            await orders.adopt(child)
        else:
            await child.send("orders", orders=before.orders)
            await child.send("positions", positions=before.positions)
        await self._ready.wait()
        await self._move(RunState.RUNNING)
        await self._obey(child)  # before the first bar: a pause of before holds for it, too
        await asyncio.gather(
            looped(self._parts.log, "bars", lambda: self._give(child, feed, recorder), _SWEEP_S, event=self.bars_waker),
            looped(
                self._parts.log, "orders", lambda: self._tell_orders(child, orders), _SWEEP_S, event=self.orders_waker
            ),
            looped(self._parts.log, "wanted", lambda: self._obey(child), _SWEEP_S, event=self._wanted_changed),
        )

    async def _give(self, child: Child, feed: BarFeed, recorder: Recorder) -> None:
        """The bars that are over since the last call, and the first signs of new ones."""
        found = await self._parts.transactions.run(feed.news)
        feed.committed()
        steps: list[tuple[int, int, Forming | GivenBar]] = [(one.opened_ns, 1, one) for one in found.forming]
        steps += [(given.bar.closed_ns, 0, given) for given in found.bars]
        for _, _, one in sorted(steps, key=lambda step: step[:2]):
            if isinstance(one, Forming):
                if not self.live:
                    await child.send("forming", index=one.series, opened_ns=one.opened_ns, open=one.open)
                continue
            bar = one.bar
            recorder.closed(self._sent[bar.series].row.con_id, bar.closed_ns, bar.close)
            await child.send("bar", index=bar.series, **dict(zip(_BAR, bar[1:], strict=True)), state=one.state)

    async def _tell_orders(self, child: Child, orders: RunOrders | None) -> None:
        if orders is not None:
            await orders.news(lambda message: child.send("order_event", **message))

    async def _obey(self, child: Child) -> None:
        """What its owner wants."""
        if self._ends:
            await self._move(RunState.STOPPING, "its owner wants it stopped")
            await child.send("stop", flatten=self._wanted is Wanted.FLAT and not self.live)
            closes = self._wanted is Wanted.FLAT and not self.live  # at the next open, which is a bar away
            try:
                async with asyncio.timeout(_CLOSE_S if closes else _END_S):
                    await self._result.wait()
            except TimeoutError:
                self._left = "its simulated position was not closed: no bar came" if closes else ""
            raise _Stopped
        now = await self._parts.transactions.run(runs.read, self.run.id)
        state = RunState(now.state) if now is not None else RunState.RUNNING
        if self._wanted is Wanted.PAUSED and state is not RunState.PAUSED:
            await self._move(RunState.PAUSING)
            await child.send("pause")
            await self._move(RunState.PAUSED, "it enters nothing; what reduces its position goes on")
        elif self._wanted is Wanted.RUNNING and state is RunState.PAUSED:
            await child.send("resume")
            await self._move(RunState.RUNNING)

    # ---- from the child ------------------------------------------------------------------------------------------

    async def _listen(self, child: Child, recorder: Recorder, orders: RunOrders | None) -> None:
        async for message in child.messages():
            kind = message["type"]
            if kind == "ready":
                await self._take_ready(message)
            elif kind == "bar_done":
                await self._store(recorder)  # first what follows from the bar: it is not given once more
                await self._patiently(self._bar_done, message)
            elif kind in ("submit", "modify", "cancel") and orders is not None:
                await self._order(child, orders, recorder, message)
            elif kind == "result":
                self._take_result(message)
                return
            elif kind in RECORDED:
                if kind == "equity" and orders is not None:
                    message = orders.with_cash(message, self._options.capital)
                self._record(recorder, message)
                if kind == "fault":
                    raise Fault(f"{message['exception']}: {message['message']}")

    def _record(self, recorder: Recorder, message: Mapping[str, Any]) -> None:
        """Keep it for the rows. Orders and fills of a live run are the ledger's; what its engine denies never gets there."""
        if not self.live or message["type"] not in ("order", "fill"):
            recorder.take(message)
        elif message["type"] == "order" and message["kind"] == "denied":
            body = {"order": message["client_order_id"], "reason": message["reason"]}
            recorder.event(NewEvent(message["at_ns"], "denied", body))

    async def _take_ready(self, message: Mapping[str, Any]) -> None:
        self._parts.fences.holds = tuple(message["fence"])
        if self.live and self._parts.settings.deployed and not fence.is_whole(message["fence"]):
            raise InvalidInput(
                f"a live run needs a whole fence; this one holds {', '.join(message['fence']) or 'nothing'}"
            )

        def store(cursor: Cursor) -> None:
            row = leases.held(cursor, self.hold)
            notes = following.first_notes(cursor, self.run)
            changes = {"engine": message["engine"], "code_hash": message["code_hash"], "notes": notes}
            leases.move(cursor, self.hold, RunState(row.state), row.reason, changes=changes)

        await self._patiently(store)
        self._ready.set()

    def _bar_done(self, cursor: Cursor, message: Mapping[str, Any]) -> None:
        writing.bar_done(cursor, self.run.id, message["index"], message["closed_ns"])
        self._bars_done += 1
        leases.progress(cursor, self.hold, bars_done=self._bars_done, trade_date=None, last_bar_ns=message["closed_ns"])

    async def _order(self, child: Child, orders: RunOrders, recorder: Recorder, message: Mapping[str, Any]) -> None:
        """An order, a change or a cancel; again and again while the database is away, as the key makes it one order."""
        kind = message["type"]
        while True:
            try:
                if kind == "submit":
                    await orders.submit(child, message, recorder.close_of(message["con_id"], message["bar_ns"]))
                elif kind == "modify":
                    await orders.modify(child, message)
                else:
                    await orders.cancel(child, message)
                return
            except RightsLost as lost:
                await self._pause_without_rights(lost.detail)
                return
            except Unavailable as away:
                self._parts.log.warning(
                    "strategy-order-delayed", extra={"run_id": str(self.run.id), "reason": away.detail}
                )
                await asyncio.sleep(_SWEEP_S)

    async def _pause_without_rights(self, reason: str) -> None:
        await self._parts.transactions.run(stopping.rights_lost, self.run, reason)
        self.want(Wanted.PAUSED)

    def _take_result(self, message: Mapping[str, Any]) -> None:
        notes = list(map(note, message["not_simulated"]))
        self._last_changes = {"fills_hash": message["fills_hash"], **({"notes": notes} if notes else {})}
        self._result.set()

    async def _patiently(self, work: Callable[..., Any], *args: Any) -> None:
        """A transaction; again and again while the database is away."""
        while True:
            try:
                await self._parts.transactions.run(work, *args)
                return
            except Unavailable:
                await asyncio.sleep(_SWEEP_S)

    async def _store_often(self, recorder: Recorder) -> None:
        await looped(self._parts.log, "rows", lambda: self._store(recorder), _STORE_S, event=asyncio.Event())

    async def _store(self, recorder: Recorder) -> None:
        async with self._storing:
            if recorder.waiting:
                batch = recorder.batch()
                await self._patiently(batch.write)

    # ---- the end -------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """What is left to do without a child: end its orders and, where that is wanted, its position."""
        if self.child is not None:
            await self.child.kill()
            self.child = None
        ended = await stopping.end(self._parts, self.run, lambda: self._wanted)
        await self._parts.transactions.run(stopping.end_curve, self.run, self._options)
        changes = await self._parts.snapshots.read(stopping.outcome, self.run, self._options)
        await self._move(RunState.STOPPED, ended or self._left, {**changes, **self._last_changes})
        with contextlib.suppress(Unavailable):
            await self._parts.transactions.run(wants.drop, self.run.principal, None)
