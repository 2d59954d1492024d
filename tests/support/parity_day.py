"""A trading day of a strategy on the stepped clock: live and paper follow the bars of a real bridge, and a back-test gets the
bars that they saw."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dev.process import Group
from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.auth import users
from nautilus.db.bridge.status import market_now
from nautilus.db.live import wants
from nautilus.db.live.wants import WantRow
from nautilus.db.market import series
from nautilus.db.strategies import ledger
from nautilus.db.strategies.runs import RunRow
from nautilus.live.subscriptions import Priority
from nautilus.market.timeframes import timeframe
from nautilus.strategies.states import Mode, Wanted
from tests.support.order_process import OrderStack, order_stack
from tests.support.strategy_host import StrategyStack, strategy_python

MINUTE = 60 * NS_PER_S
STEPPED = ("--clock", "stepped", "--latency", "none")
START = "2026-03-02T14:32:00Z"
"""Two minutes after the open: IB refuses a stream of bars before there is one."""
_SETTLE_S, _MOST_SECONDS = 2, 30
"""Market seconds in which a closed bar becomes a row; and in which the orders that follow from it must be over."""
_ORDERS_OVER = frozenset({"filled", "cancelled", "rejected", "denied", "expired"})


class ParityDay:
    """Bridge, order process, strategy host and simulator, all real. Time stands still unless the test moves it."""

    def __init__(self, group: Group, desk: OrderStack, strategies: StrategyStack) -> None:
        self.desk, self.strategies = desk, strategies
        self._group = group

    def begin(
        self, template: str, parameters: Mapping[str, Any], *, warm_up_bars: int, modes: Sequence[Mode]
    ) -> list[RunRow]:
        """A run of each mode, all with the same bars to warm up with."""
        self._want_bars()
        made = [self._run(template, parameters, warm_up_bars, mode) for mode in modes]
        for run in made:
            self.wait(partial(self.follows, run), f"{run.mode} follows its bars")
        return made

    def play(self, runs: Sequence[RunRow], minutes: int, *, after: Callable[[int], None] = lambda _: None) -> None:
        """Minutes pass, each once every run has worked through its bar and the orders that follow from it are over. after:
        called with the number of each minute that has passed."""
        for n in range(minutes):
            self.minute(runs)
            for _ in range(_MOST_SECONDS):
                if all(self._settled(run) for run in runs):
                    break
                self.advance(1)
            for run in runs:
                # What is simulated fills at an open: as soon as that is seen, whatever the time is.
                self.wait(partial(self._settled, run), f"the orders of {run.mode} are over")
            after(n)

    def minute(self, runs: Sequence[RunRow]) -> int:
        """A minute passes, and every run has worked through its bar; returns its end. Its orders may be open still."""
        self.advance(60 - self.market_ns() // NS_PER_S % 60)
        closed = self.market_ns() // MINUTE * MINUTE
        self.advance(_SETTLE_S)
        for run in runs:
            self.wait(partial(self._done, run, closed), f"{run.mode} has worked through {rfc3339(closed)}")
        return closed

    def stop(self, run: RunRow) -> RunRow:
        self.strategies.want(run.id, Wanted.STOPPED)
        return self.strategies.over(run)

    def follows(self, run: RunRow) -> bool:
        row = self.strategies.read(run.id)
        assert row.state not in ("error", "failed"), row.reason
        return row.state == "running"

    # ---- crashes -----------------------------------------------------------------------------------------------------

    def crash(self, victim: str, run: RunRow) -> None:
        """kill -9 one of the four, and wait until the run follows its bars again."""
        before = self.strategies.read(run.id)
        if victim == "child":
            self.strategies.kill_child()
            self.wait(lambda: self.strategies.read(run.id).restarts > before.restarts, "the child is missed")
        elif victim == "host":
            self.strategies.kill()
            self.strategies.start()
            self.wait(lambda: self.strategies.read(run.id).token > before.token, "the next host has the run")
        elif victim == "orders":
            self.desk.kill()
            self.desk.start()
        else:
            assert self.desk.bridge is not None
            self._group.kill_child(self.desk.bridge)
            self.desk.start_bridge()
            self.stream_begins()
        self.wait(partial(self.follows, run), f"the run follows its bars after the {victim} was killed")

    # ---- time --------------------------------------------------------------------------------------------------------

    def market_ns(self) -> int:
        return self.desk.market_ns()

    def advance(self, seconds: int) -> None:
        """Move the simulator's clock, and wait until rows have the new time."""
        self.desk.sim.command(f"advance {seconds}")
        now = self.market_ns()
        self.wait(lambda: self._known_ns() >= now, "the new time is known")

    def _known_ns(self) -> int:
        with self.strategies.db.transaction() as cursor:
            return market_now(cursor)

    def wait(self, true: Callable[[], bool], what: str) -> None:
        self.strategies.wait(true, what)

    # ---- rows --------------------------------------------------------------------------------------------------------

    def _want_bars(self) -> None:
        """Want them as a page would, so that the stream is there before the first run."""
        key = (self.desk.instrument.con_id, "bars", "1m", "TRADES", "rth")
        with self.strategies.db.transaction() as cursor:
            series.find_or_make(cursor, key[0], timeframe("1m"), price="TRADES", session="rth")
            wants.put(cursor, "parity", [WantRow(*key, Priority.STRATEGY)], None)
            users.create(
                cursor,
                username="owner",
                email=None,
                password_hash="",
                scopes=["strategies:write", "orders:write"],
                accounts=[self.desk.account],
            )
        self.stream_begins()

    def stream_begins(self, step_s: int = 1) -> None:
        """Move time until a bar is seen to form: nothing is asked of IB while time stands still."""
        since = self.market_ns()
        for _ in range(_MOST_SECONDS):
            if self.desk.rows("SELECT 1 FROM live_bars WHERE state = 'forming' AND seen_at > %s", since):
                return
            self.advance(step_s)
        raise AssertionError(f"no stream of bars within {_MOST_SECONDS * step_s} s of market time")

    def _run(self, template: str, parameters: Mapping[str, Any], warm_up_bars: int, mode: Mode) -> RunRow:
        return self.strategies.run(
            template,
            mode=mode,
            account=self.desk.account if mode is Mode.LIVE else "",
            start_ns=None,
            end_ns=None,
            parameters=parameters,
            options={"capital": "100000", "warm_up_bars": warm_up_bars},
        )

    def _done(self, run: RunRow, closed_ns: int) -> bool:
        done = "SELECT 1 FROM strategy_bars WHERE run_id = %s AND closed_ns = %s AND done_at IS NOT NULL"
        return bool(self.desk.rows(done, run.id, closed_ns))

    def _settled(self, run: RunRow) -> bool:
        """Its engine knows of it, too."""
        with self.strategies.db.transaction() as cursor:
            if ledger.open_orders(cursor, run.principal):
                return False
        return all(
            row.state in _ORDERS_OVER
            for row in self.desk.rows("SELECT state FROM strategy_orders WHERE run_id = %s", run.id)
        )


@contextmanager
def parity_day(
    group: Group, folder: Path, dsn: str, *, start: str = START, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[ParityDay]:
    """A market with nothing stored, by default one that has just opened. settings: of the bridge and the order process."""
    strategy_python()
    with order_stack(group, folder, dsn, *STEPPED, "--start", start) as desk:
        desk.start_bridge(**settings)
        desk.start(**settings)
        strategies = StrategyStack.beside(group, folder, dsn, desk.instrument)
        try:
            strategies.start()
            yield ParityDay(group, desk, strategies)
        finally:
            strategies.end()
