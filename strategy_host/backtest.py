"""One back-test: its child is fed the stored bars by trade date, and what it does becomes rows. It ends as `completed`,
`failed`, `error` or `cancelled`, or, when its child or its host is lost, begins again once."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import date
from typing import Any

from nautilus.db.cursor import Cursor
from nautilus.db.strategies import leases, writing
from nautilus.db.strategies.leases import Hold, LeaseLost
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import NautilusError, Unavailable
from nautilus.process.tasks import cancel_all
from nautilus.strategies import history
from nautilus.strategies.columns import FedBar, chunks, in_order, message_series
from nautilus.strategies.figures import figures
from nautilus.strategies.history import History
from nautilus.strategies.not_simulated import note
from nautilus.strategies.options import RunOptions, run_options
from nautilus.strategies.pipe import PipeError
from nautilus.strategies.states import RunState, Wanted
from strategy_host.child import Child, ChildGone, Limits, Stuck
from strategy_host.messages import start_message
from strategy_host.parts import HostParts
from strategy_host.recorder import RECORDED, Recorder

NICE = 10
_AHEAD = 4
"""Trade dates that a child may be sent before it has worked through the first of them."""
_FLUSH_S, _FLUSH_ROWS = 0.5, 4_000
_CANCEL_S = 5.0
_AGAIN_AFTER_S = 1.0


class Fault(Exception):
    """The strategy's own code failed. The sentence is its exception."""


class NotEnded(Exception):
    """A cancelled run whose strategy did not end by itself."""


class BackTest:
    """A back-test that this host holds. `work` brings it to its end; `want` says what its owner wants meanwhile."""

    def __init__(self, parts: HostParts, run: RunRow) -> None:
        self.run = run
        self.hold = Hold(run.id, run.token)
        self.child: Child | None = None
        self._parts = parts
        self._options: RunOptions = RunOptions()
        self._cancelled = asyncio.Event()
        self._done_dates = 0
        self._moved_on = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._progress: tuple[int, date] | None = None
        if run.wanted != Wanted.RUNNING:
            self._cancelled.set()

    def want(self, wanted: str) -> None:
        """What its owner wants now: anything but `running` cancels it."""
        if wanted != Wanted.RUNNING:
            self._cancelled.set()
            self._moved_on.set()

    async def work(self) -> None:
        """Until it is over, or not ours any more. Unavailable: the database is away; the lease runs out."""
        try:
            if self._cancelled.is_set():
                await self._finish(RunState.CANCELLED, "cancelled before it began")
                return
            self._options = run_options(self.run.options)
            await self._attempt()
        except NotEnded:
            await self._finish(
                RunState.CANCELLED,
                "cancelled by its owner; the strategy did not end by itself, so there are no figures",
            )
        except LeaseLost as lost:
            self._parts.log.warning("strategy-run-lost", extra={"run_id": str(self.run.id), "reason": str(lost)})
        except ChildGone as gone:
            await self._begin_again(str(gone))
        except (Fault, Stuck, PipeError) as wrong:
            await self._finish(RunState.ERROR, str(wrong))
        except Unavailable:
            raise
        except NautilusError as wrong:
            await self._finish(RunState.FAILED, wrong.detail)
        finally:
            if self.child is not None:
                await self.child.kill()

    async def _begin_again(self, reason: str) -> None:
        """Once, from the first bar: the same bars give the same orders."""
        if self.run.restarts:
            await self._finish(RunState.ERROR, reason)
            return
        self._parts.log.warning("strategy-child-lost", extra={"run_id": str(self.run.id), "reason": reason})
        with contextlib.suppress(LeaseLost):
            await self._parts.transactions.run(
                leases.later, self.hold, f"{reason}; it begins again", _AGAIN_AFTER_S, is_restart=True
            )

    async def _finish(self, state: RunState, reason: str, changes: Mapping[str, Any] | None = None) -> None:
        with contextlib.suppress(LeaseLost):
            await self._parts.transactions.run(leases.move, self.hold, state, reason, changes=changes)

    # ---- one attempt ---------------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        parts = self._parts
        await parts.transactions.run(self._begin)
        found = await parts.snapshots.read(history.prepared, self.run, warm_up_bars=self._options.warm_up_bars)
        recorder = Recorder(self.hold, found.units)
        limits = Limits(NICE, parts.settings.strategy_memory_mb, parts.settings.strategy_stuck_s)
        self.child = child = await Child.start(parts.command("run"), limits)
        listening = asyncio.create_task(self._listen(child, found, recorder))
        tasks = [
            listening,
            asyncio.create_task(self._feed(child, found, recorder)),
            asyncio.create_task(child.watch()),
            asyncio.create_task(self._store_often(recorder)),
            asyncio.create_task(self._end_when_cancelled()),
        ]
        try:
            pending = set(tasks)
            while not listening.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {listening}:
                    task.result()
            result = listening.result()
        except ChildGone:
            if listening.done() and listening.exception() is not None:
                listening.result()  # what it wrote before it went says more
            raise
        finally:
            await cancel_all(task for task in tasks if not task.done())
        await self._over(found, recorder, result)

    def _begin(self, cursor: Cursor) -> None:
        """Forget what an earlier attempt left, and say that it starts."""
        if leases.held(cursor, self.hold).state != RunState.QUEUED:
            leases.move(cursor, self.hold, RunState.QUEUED, "its host was lost; it begins again")
        writing.clear(cursor, self.run.id)
        leases.move(cursor, self.hold, RunState.STARTING, changes={"bars_done": 0, "bars_total": 0})

    async def _feed(self, child: Child, found: History, recorder: Recorder) -> None:
        """Start, warm-up and all bars; where it is cancelled, no more of them."""
        await child.send(
            "start",
            **start_message(self.run, self._options, found.instruments, found.series, bars_total=found.bars_total),
        )
        if found.warm_up:
            await child.send("warm_up", series=message_series(found.warm_up))
        sent_dates = 0
        held: list[FedBar] = []
        con_ids = [one.row.con_id for one in found.fed]
        for n in range(len(found.cuts) - 1):
            if self._cancelled.is_set():
                break
            bars = await self._parts.snapshots.read(history.block, found, n)
            ready, held = _until([*held, *bars], found.cuts[n + 1], last=n == len(found.cuts) - 2)
            for chunk in chunks(ready, found.trade_date):
                while sent_dates - self._done_dates >= _AHEAD and not self._cancelled.is_set():
                    self._moved_on.clear()
                    await self._moved_on.wait()
                if self._cancelled.is_set():
                    break
                for bar in chunk.bars:
                    recorder.closed(con_ids[bar.series], bar.closed_ns, bar.close)
                day = chunk.trade_date.isoformat()
                await child.send("chunk", trade_date=day, last=chunk.last, series=message_series(chunk.bars))
                sent_dates += chunk.last
        await child.send("end")

    async def _listen(self, child: Child, found: History, recorder: Recorder) -> dict[str, Any]:
        """Everything that the child says, up to its result."""
        async for message in child.messages():
            kind = message["type"]
            if kind == "result":
                return message
            if kind == "ready":
                await self._ready(found, message)
            elif kind == "progress":
                self._done_dates += 1
                self._moved_on.set()
                self._progress = (message["bars_done"], date.fromisoformat(message["trade_date"]))
                if recorder.waiting >= _FLUSH_ROWS:
                    await self._store(recorder)
            elif kind in RECORDED:
                recorder.take(message)
                if kind == "fault":
                    await self._store(recorder)
                    raise Fault(f"{message['exception']}: {message['message']}")
        raise ChildGone("the strategy's process ended without a result")

    async def _ready(self, found: History, message: Mapping[str, Any]) -> None:
        self._parts.fences.holds = tuple(message["fence"])
        changes = {
            "engine": message["engine"],
            "code_hash": message["code_hash"],
            "data_versions": found.versions,
            "bars_total": found.bars_total,
            "notes": found.notes,
        }
        await self._parts.transactions.run(leases.move, self.hold, RunState.RUNNING, changes=changes)

    async def _end_when_cancelled(self) -> None:
        """A cancelled run has a while to bring its result; a strategy that hangs has none."""
        await self._cancelled.wait()
        await asyncio.sleep(_CANCEL_S)
        raise NotEnded

    # ---- rows ----------------------------------------------------------------------------------------------------

    async def _store_often(self, recorder: Recorder) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self._store(recorder)

    async def _store(self, recorder: Recorder) -> None:
        async with self._flushing:
            progress, self._progress = self._progress, None
            if recorder.waiting:
                await self._parts.transactions.run(recorder.batch().write)
            if progress is not None:
                bars_done, day = progress
                await self._parts.transactions.run(
                    leases.progress, self.hold, bars_done=bars_done, trade_date=day, last_bar_ns=None
                )

    async def _over(self, found: History, recorder: Recorder, result: Mapping[str, Any]) -> None:
        """Its last rows, its figures and its state, in one transaction."""
        metrics = figures(recorder.book, recorder.points, capital=self._options.capital, trade_date=found.trade_date)
        counts = {name: result[name] for name in ("orders", "fills", "denied", "rejected", "fills_hash")}
        notes = [*found.notes, *map(note, result["not_simulated"])]
        state, reason = self._outcome(result, recorder)
        changes = {**counts, "bars_done": result["bars"], "metrics": metrics, "notes": notes}

        def store(cursor: Cursor) -> None:
            batch.write(cursor)
            if last is not None:
                leases.progress(cursor, self.hold, bars_done=last[0], trade_date=last[1], last_bar_ns=None)
            leases.move(cursor, self.hold, state, reason, changes=changes)

        async with self._flushing:
            batch, last = recorder.batch(), self._progress
            await self._parts.transactions.run(store)

    def _outcome(self, result: Mapping[str, Any], recorder: Recorder) -> tuple[RunState, str]:
        if self._cancelled.is_set():
            return RunState.CANCELLED, "cancelled by its owner; the result is that of the bars until then"
        refused = result["denied"] + result["rejected"]
        if result["orders"] and not result["fills"] and refused >= result["orders"]:
            return RunState.FAILED, f"all {result['orders']} orders were refused: {recorder.last_denial}"
        return RunState.COMPLETED, ""


def _until(bars: list[FedBar], cut: int, *, last: bool) -> tuple[list[FedBar], list[FedBar]]:
    """The bars that are over at a cut, in order, and those that are over later and wait for the next part."""
    ordered = in_order(bars)
    if last:
        return ordered, []
    return [bar for bar in ordered if bar.closed_ns <= cut], [bar for bar in ordered if bar.closed_ns > cut]
