"""Live runs that end before their first order: on delayed data, and outside of development without the whole fence."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nautilus.db.live import streams
from nautilus.db.live.streams import StreamRow
from nautilus.db.strategies import leases
from nautilus.db.strategies.runs import RunRow
from nautilus.log import logger
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.strategies import StrategySettings
from nautilus.spans import Spans
from nautilus.strategies.pipe import FROM_RUNNER, line
from nautilus.strategies.states import Mode
from strategy_host.live_run import LiveRun
from strategy_host.parts import Fences, HostParts, Snapshots
from tests.support.strategy_host import DAYS, StrategyStack, sessions, strategy_stack

WHOLE = ["privileges", "files", "network"]
RUNNER = """#!{python}
import sys
print({ready!r}, flush=True)
for line in sys.stdin:
    if line.startswith('{{"type":"stop"'):
        print({result!r}, flush=True)
        break
"""
ENDED = dict.fromkeys(("bars", "orders", "fills", "denied", "rejected"), 0)


@pytest.fixture
def stack(tmp_path: Path, dsn: str) -> Iterator[StrategyStack]:
    with strategy_stack(tmp_path, dsn) as made:
        made.store(DAYS[0])
        made.begin_stream(sessions(DAYS[-1])[0])
        yield made


def runner(folder: Path, fence: list[str]) -> Path:
    """A process that says it is a strategy, with this fence around it."""
    ready = line(FROM_RUNNER, "ready", engine="engine", code_hash="hash", fence=fence)
    result = line(FROM_RUNNER, "result", fills_hash="", positions=[], not_simulated=[], **ENDED)
    path = folder / "runner"
    path.write_text(RUNNER.format(python=sys.executable, ready=ready.decode().strip(), result=result.decode().strip()))
    path.chmod(0o755)
    return path


def worked(stack: StrategyStack, python: Path | str = "", **settings: Any) -> RunRow:
    """A live run in the hands of a host, until it is over; one that begins is stopped."""
    stack.run(mode=Mode.LIVE, account="SIM1", start_ns=None, end_ns=None)
    with stack.db.transaction() as cursor:
        (run,) = leases.take(cursor, "host", [Mode.LIVE], limit=1, lease_s=60)
    given = StrategySettings(env="test", database_url=stack.dsn, strategy_python=str(python))
    parts = HostParts(
        given.model_copy(update=settings),
        TransactionRunner(stack.db, 2),
        Snapshots(stack.db, 1),
        logger("strategy_host", "INFO"),
        Fences(),
    )

    async def work() -> None:
        one = LiveRun(parts, run)
        working = asyncio.create_task(one.work())
        while not working.done():
            await asyncio.sleep(0.02)
            if stack.read(run.id).state == "running":
                one.want("stopped")
        await working

    asyncio.run(work())
    parts.snapshots.close()
    return stack.read(run.id)


@pytest.mark.parametrize("feed", ["delayed", "delayed_frozen"])
def test_no_live_run_decides_on_delayed_data(stack, feed):
    row = StreamRow(
        con_id=stack.instrument.con_id,
        kind="quotes",
        price="",
        session="",
        source="mkt",
        state="live",
        reason="",
        refused_code=None,
        feed=feed,
        priority=1,
        since=1,
        last_event_at=1,
        confirmed_until=None,
        holes=Spans(),
        resubscribed=0,
    )
    with stack.db.transaction() as cursor:
        streams.put(cursor, "bridge", [row])
    done = worked(stack)
    assert done.state == "error"
    assert done.reason == f"its market data are {feed}: no live run decides on old prices"


@pytest.mark.parametrize(
    ("env", "fence", "state"),
    [
        ("prod", ["files"], "error"),
        ("staging", [], "error"),
        ("prod", WHOLE, "stopped"),
        ("dev", ["files"], "stopped"),
    ],
)
def test_outside_of_development_a_live_run_needs_the_whole_fence(stack, tmp_path, env, fence, state):
    done = worked(stack, runner(tmp_path, fence), env=env)
    assert done.state == state, done.reason
    if state == "error":
        assert done.reason == f"a live run needs a whole fence; this one holds {', '.join(fence) or 'nothing'}"
