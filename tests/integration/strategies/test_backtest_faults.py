"""A strategy that raises, hangs, exits, prints without end or takes all memory harms itself alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nautilus.db.strategies import results
from nautilus.strategies.states import Wanted
from tests.support.strategy_host import StrategyStack, strategy_stack
from tests.support.strategy_rows import series_of

HEAD = "from strategy_runner.strategy import Strategy\n\n\nclass Mine(Strategy):\n    seen = 0\n\n"
BODIES = {
    "raises": "    def decide(self, bar):\n        raise ValueError('no such level')\n",
    "hangs": "    def decide(self, bar):\n        while True:\n            pass\n",
    "exits": "    def decide(self, bar):\n        import os\n        os._exit(3)\n",
    "prints": "    def decide(self, bar):\n        print('x' * 65_536)\n        return 100\n",
    "grows": "    def decide(self, bar):\n        self.kept = getattr(self, 'kept', []) + [bytearray(64 * 1024 * 1024)]\n",
    "slow": "    def decide(self, bar):\n        import time\n        time.sleep(0.05)\n        return 100\n",
    "short": "    def decide(self, bar):\n        self.seen += 1\n        return -100 if self.seen % 2 else 100\n",
}


@pytest.fixture
def stack(tmp_path, dsn) -> Iterator[StrategyStack]:
    with strategy_stack(tmp_path, dsn) as made:
        for name, body in BODIES.items():
            made.strategy(name, HEAD + body)
        made.store("2026-10-05")
        yield made


def test_a_strategy_harms_itself_alone(stack):
    stack.start(strategy_backtests="1", strategy_stuck_s="3", strategy_memory_mb="600")
    made = {name: stack.run(name) for name in ("raises", "hangs", "exits", "prints", "grows")}
    good = stack.run()
    done = {name: stack.over(run) for name, run in made.items()}
    assert stack.over(good).state == "completed"
    assert {name: run.state for name, run in done.items()} == {
        "raises": "error",
        "hangs": "error",
        "exits": "error",
        "prints": "completed",
        "grows": "error",
    }
    assert done["raises"].reason == "ValueError: no such level"
    (fault,) = stack.events(done["raises"], "fault")
    assert fault["exception"] == "ValueError"
    assert "raises.py" in fault["frames"][-1]
    assert done["hangs"].reason == "the strategy worked on one bar for more than 3 s"
    assert done["exits"].reason == "the strategy's process ended with code 3"
    assert (done["exits"].restarts, done["hangs"].restarts) == (1, 0)
    assert "memory" in done["grows"].reason.lower()
    texts = [event["text"] for event in stack.events(done["prints"], "log")]
    assert sum(map(len, texts)) < 200_000
    assert any("are dropped" in text for text in texts)
    assert stack.children() == []


def test_a_cancelled_run_keeps_what_it_had_and_one_that_waits_never_begins(stack):
    stack.start(strategy_backtests="1")
    running, waiting = stack.run("slow"), stack.run()
    stack.wait(lambda: stack.read(running.id).state == "running", "the first run has begun")
    stack.want(waiting.id, Wanted.STOPPED)
    stack.want(running.id, Wanted.STOPPED)
    first, second = stack.over(running), stack.over(waiting)
    assert (first.state, second.state) == ("cancelled", "cancelled")
    assert first.bars_done < first.bars_total
    assert "did not end by itself" in first.reason
    assert second.reason == "cancelled before it began"


def test_a_host_that_is_stopped_gives_its_runs_back_and_its_children_end(stack):
    stack.start()
    run = stack.run("slow")
    stack.wait(lambda: stack.read(run.id).state == "running", "the run has begun")
    children = stack.children()
    assert len(children) == 1
    assert stack.stop() == 0
    row = stack.read(run.id)
    assert (row.state, row.lease_host) == ("running", None)
    assert not any(alive(pid) for pid in children)
    stack.start()
    stack.wait(lambda: stack.read(run.id).token > row.token, "another host has it")


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_without_an_engine_the_host_says_why_and_runs_wait(stack):
    stack.start(strategy_python="")
    run = stack.run()
    stack.wait(lambda: "NAUTILUS_STRATEGY_PYTHON" in stack.hosts()[0].problem, "the host says why")
    assert stack.read(run.id).state == "queued"


def test_a_second_host_of_the_same_name_does_not_start(stack):
    stack.start(strategy_python="")
    other = stack.start_another(strategy_python="")
    stack.wait(lambda: other.exit_code() is not None, "the second host has ended")
    assert other.exit_code() == 1
    assert "another process already works as strategy host 'strategies-1'" in other.tail()


def test_a_run_that_only_shorts_is_marked_by_its_position(stack):
    stack.start()
    done = stack.over(stack.run("short", series=[series_of(1)]))
    assert done.state == "completed"
    with stack.db.transaction() as cursor:
        positions = {row.position for row in results.fills(cursor, done.id, limit=10)}
    assert positions <= {-100, 100, 0}
    assert -100 in positions
