"""The strategy host as a process of its own, over stored bars, and short words for its tests."""

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from dev.environment import environment
from dev.process import Child, Group
from nautilus.clock import NS_PER_S, parse_rfc3339
from nautilus.db.connection import Database
from nautilus.db.live import notifications, provisional
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.market import series
from nautilus.db.strategies import hosts, results, runs
from nautilus.db.strategies.runs import RunRow
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import timeframe
from nautilus.spans import Span
from nautilus.strategies.states import OVER, Mode, Wanted
from tests.support.stored_bars import StoredBars, stock
from tests.support.strategy_rows import new_run, series_of

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
MINUTE = 60 * NS_PER_S
LATER_NS = 700_000_000
"""From the end of a bar until its row is there: never the same nanosecond."""
_names = itertools.count(1)
FIRST, LAST = "2026-10-05", "2026-10-09"


def strategy_python() -> str:
    """The interpreter that has the strategies' engine. Without one the test is skipped."""
    found = os.environ.get("NAUTILUS_STRATEGY_PYTHON") or str(ROOT / ".venv-strategies" / "bin" / "python")
    if not Path(found).exists():
        pytest.skip("no interpreter with the strategies' engine: make .venv-strategies")
    return found


def sessions(*days: str) -> list[Session]:
    """Regular hours of New York in summer."""
    return [
        Session(parse_rfc3339(f"{day}T13:30:00Z"), parse_rfc3339(f"{day}T20:00:00Z"), date.fromisoformat(day))
        for day in days
    ]


DAYS = ("2026-10-02", "2026-10-05", "2026-10-06", "2026-10-07", "2026-10-08", "2026-10-09")
KNOWN = (parse_rfc3339("2026-10-01T00:00:00Z"), parse_rfc3339("2026-10-10T00:00:00Z"))


def waves(session: Session, *, base: float = 100.0, phase: int = 0) -> list[Bar]:
    """A minute for each of its minutes: prices that rise and fall in waves, so that averages cross."""
    found, price = [], base
    for n in range((session.close_ns - session.open_ns) // MINUTE):
        step = 0.05 if ((n + phase) // 45) % 2 == 0 else -0.05
        opened, price = price, round(price + step + (0.01 if n % 7 == 0 else 0), 2)
        low, high = min(opened, price) - 0.02, max(opened, price) + 0.02
        found.append(Bar(session.open_ns + n * MINUTE, opened, high, low, price, 1_000.0 + n, price, 10))
    return found


RESTING = '''
from decimal import Decimal

from nautilus_trader.model import OrderSide, Price, Quantity
from strategy_runner.strategy import Strategy, StrategyParameters


class Resting(Strategy):
    """Buys at a price below the market with its first bar, and signals with each bar what is open."""

    class Parameters(StrategyParameters):
        until_ns: int
        price: Decimal

    def decide(self, bar):
        self.signal("open", orders=len(self.cache.orders_open()))
        if bar.ts_event <= self.parameters.until_ns:
            price = Price.from_decimal_dp(self.parameters.price, 2)
            self.submit_order(self.order_factory.limit(self.instrument.id, OrderSide.BUY, Quantity(10, 0), price))
'''
"""A strategy of a user, with one order that rests."""


class StrategyStack:
    """Stored bars of one stock, and hosts that the test starts, kills and starts again."""

    def __init__(
        self,
        group: Group,
        folder: Path,
        dsn: str,
        *,
        instrument: Instrument | None = None,
        days: Sequence[Session] = (),
        known: Span = KNOWN,
    ) -> None:
        self.folder = folder
        self.dsn = dsn
        self.bars = StoredBars(dsn, known[1])
        self.db = self.bars.db
        self.days = list(days) or sessions(*DAYS)
        calendar = Calendar.of(self.days, known, "America/New_York")
        self.instrument = self.bars.instrument(instrument or stock(), calendar)
        self._group = group
        self.host: Child | None = None

    @classmethod
    def beside(cls, group: Group, folder: Path, dsn: str, instrument: Instrument) -> "StrategyStack":
        """Hosts beside a bridge, which brings the bars."""
        made = cls.__new__(cls)
        made.folder, made.dsn, made.instrument, made._group, made.host = folder, dsn, instrument, group, None
        made.db = Database(dsn, name="test-strategies", size=4)
        return made

    def end(self) -> None:
        """End the host that is left, and the connections."""
        if self.host is not None and self.host.exit_code() is None:
            self._group.stop_child(self.host)
        bars = getattr(self, "bars", None)
        (self.db if bars is None else bars).close()

    def store(self, *days: str) -> None:
        """A week of minutes, or these days of it."""
        for n, one in enumerate(sessions(*(days or DAYS))):
            self.bars.record(self.instrument, "1m", waves(one, phase=7 * n), settled=[(one.open_ns, one.close_ns)])

    def strategy(self, name: str, body: str) -> None:
        """A strategy of a user, as a file of the folder that the host is given."""
        folder = self.folder / "strategies"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(body)

    def start(self, **settings: str) -> Child:
        """Start a host and wait until it works."""
        self.host = self.start_another(**settings)
        self.host.wait_ready()
        return self.host

    def start_another(self, **settings: str) -> Child:
        """Start a host that may give up."""
        folder = self.folder / "strategies"
        folder.mkdir(exist_ok=True)
        given = {
            "env": "test",
            "log_level": "INFO",
            "database_url": self.dsn,
            **({} if "strategy_python" in settings else {"strategy_python": strategy_python()}),
            "strategy_folder": str(folder),
            **settings,
        }
        name = f"strategies-{next(_names)}"
        return self._group.start(
            name,
            [sys.executable, "-m", "strategy_host"],
            log=self.folder / f"{name}.log",
            env=environment({f"NAUTILUS_{key.upper()}": value for key, value in given.items()}),
            ready=lambda child: child.logged("strategy-host-started"),
        )

    def kill(self) -> None:
        """kill -9, as a crash would."""
        assert self.host is not None
        self._group.kill_child(self.host)

    def stop(self) -> int:
        assert self.host is not None
        return self._group.stop_child(self.host)

    # ---- runs ----------------------------------------------------------------------------------------------------

    def run(self, template: str = "ema_cross", **changed: Any) -> RunRow:
        """A back-test of the week that waits for a host."""
        given: dict[str, Any] = {
            "template_id": template,
            "parameters": {},
            "series": [series_of(self.instrument.con_id)],
            "start_ns": sessions(FIRST)[0].open_ns,
            "end_ns": sessions(LAST)[0].close_ns,
            "options": {"capital": "100000", "warm_up_bars": 50},
            **changed,
        }
        with self.db.transaction() as cursor:
            return runs.insert(cursor, new_run(given.pop("mode", Mode.BACKTEST), self.instrument.con_id, **given))

    def read(self, run_id: UUID) -> RunRow:
        with self.db.transaction() as cursor:
            row = runs.read(cursor, run_id)
        assert row is not None
        return row

    def want(self, run_id: UUID, wanted: Wanted) -> None:
        with self.db.transaction() as cursor:
            runs.read(cursor, run_id, lock=True)
            runs.want(cursor, run_id, wanted, "user:1")

    def over(self, run: RunRow) -> RunRow:
        """The run once it is over."""
        self.wait(lambda: self.read(run.id).state in OVER, f"the run {run.id} is over")
        return self.read(run.id)

    def events(self, run: RunRow, kind: str) -> list[Mapping[str, Any]]:
        with self.db.transaction() as cursor:
            return [row.body for row in results.events(cursor, run.id, kind=kind, limit=100_000)]

    def hosts(self) -> Sequence[hosts.HostRow]:
        with self.db.transaction() as cursor:
            return hosts.every_host(cursor)

    def children(self) -> list[int]:
        """Processes of strategies that the host has."""
        assert self.host is not None
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                if f"\nPPid:\t{self.host.pid}\n" in status.read_text():
                    found.append(int(status.parent.name))
        return found

    def kill_child(self) -> None:
        """kill -9 the only child there is."""
        self.wait(lambda: len(self.children()) == 1, "the host has one child")
        os.kill(self.children()[0], signal.SIGKILL)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            log = self.host.log.read_text(errors="replace")[-3_000:] if self.host is not None else ""
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}\n{log}"
            time.sleep(0.02)

    # ---- live bars -----------------------------------------------------------------------------------------------

    def begin_stream(self, session: Session) -> None:
        """Market time stands at an open; no provisional bar was lost."""
        self.bars.set_time(session.open_ns)
        with self.db.transaction() as cursor:
            provisional.begin_generation(cursor)
            series.find_or_make(cursor, self.instrument.con_id, timeframe("1m"), price="TRADES", session="rth")

    def minute(self, run: RunRow, bar: Bar, *, partial: bool = False, after_ns: int = LATER_NS) -> None:
        """A minute passes: its bar forms, closes (so long after its end), and the run has worked through it."""
        self.pass_by(bar, partial=partial, after_ns=after_ns)
        self.wait(lambda: self._done(run, bar.ts), f"the bar of {bar.ts} is worked through")

    def pass_by(self, bar: Bar, *, partial: bool = False, after_ns: int = LATER_NS) -> None:
        """A minute passes, whoever follows it."""
        self._put(bar, "forming", bar.ts + NS_PER_S)
        self._put(bar, "closed", bar.ts + MINUTE + after_ns, partial=partial)

    def _put(self, bar: Bar, state: str, now: int, *, partial: bool = False) -> None:
        self.bars.set_time(now)
        with self.db.transaction() as cursor:
            row = series.find(cursor, self.instrument.con_id, timeframe("1m"), price="TRADES", session="rth")
            assert row is not None
            values = (bar.open, bar.open, bar.open, bar.open) if state == "forming" else bar[1:5]
            provisional.put(
                cursor, [ProvisionalBar(row.id, bar.ts, *values, bar.volume, bar.trades, state, partial, "kutd", now)]
            )
            notifications.notify(cursor, ['{"t":"bar","c":"data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"}'])

    def _done(self, run: RunRow, opened_ns: int) -> bool:
        with self.db.transaction() as cursor:
            given = results.bars(cursor, run.id, limit=10_000)
        return any(row.opened_ns == opened_ns and row.done_at is not None for row in given)


@contextmanager
def strategy_stack(folder: Path, dsn: str, **more: Any) -> Iterator[StrategyStack]:
    """more: those of StrategyStack."""
    with Group() as group:
        stack = StrategyStack(group, folder, dsn, **more)
        try:
            yield stack
        finally:
            stack.end()
