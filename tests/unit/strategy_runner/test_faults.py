"""A strategy that fails harms itself alone, and the host learns what failed. The engine by itself would go on calling it."""

import select

import pytest

from nautilus.strategies.pipe import TO_RUNNER, line
from tests.support.strategy_runner import (
    START,
    Runner,
    backtest,
    chunk,
    columns,
    minutes,
    needs_engine,
    scripted,
)

pytestmark = needs_engine
BARS = minutes([100.0 + n % 7 for n in range(80)])
HEAD = "import os, sys, time\nfrom strategy_runner.strategy import Strategy\nclass Failing(Strategy):\n"
BODIES = {
    "raises": "    def decide(self, bar):\n        return self.trade_size / 0\n",
    "raises_in_an_event": "    def decide(self, bar):\n        return 1\n    def on_order_filled(self, event):\n"
    "        {}['key']\n",
    "leaves": "    def decide(self, bar):\n        sys.exit(3)\n",
    "prepares_wrongly": "    def prepare(self):\n        raise OSError('no file')\n",
    "exits": "    def decide(self, bar):\n        os._exit(7)\n",
    "prints": "    def decide(self, bar):\n        print('x' * 100_000)\n        os.write(1, b'{\"type\":\"result\"}\\n')\n",
    "is_denied": "    def decide(self, bar):\n        self.submit_order(self.order_factory.market(self.instrument.id,"
    " OrderSide.BUY, Quantity(1.5, 1)))\n",
    "sleeps": "    def decide(self, bar):\n        time.sleep(3600)\n",
    "learns_slowly": "    def learn(self, bar):\n        time.sleep(0.3)\n",
    "extends_too_much": "    def on_bar(self, bar):\n        pass\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("strategies")
    for name, body in BODIES.items():
        more = "from nautilus_trader.model import OrderSide, Quantity\n" if name == "is_denied" else ""
        scripted(found, more + HEAD + body, name)
    return found


@pytest.mark.parametrize(
    ("template", "exception", "frame"),
    [
        ("raises", "DivisionByZero", "return self.trade_size / 0"),
        ("raises_in_an_event", "KeyError", "{}['key']"),
        ("leaves", "SystemExit", "sys.exit(3)"),
        ("prepares_wrongly", "OSError", "raise OSError('no file')"),
    ],
)
def test_the_first_failure_ends_a_strategy_and_says_where(folder, template, exception, frame):
    done = backtest([chunk(BARS[:40], last=False), chunk(BARS[40:])], folder=folder, template=template)
    fault = done.one("fault")
    assert fault["exception"] == exception
    assert f"{template}.py" in fault["frames"][-1]
    assert frame in fault["frames"][-1]
    assert done.one("result")["bars"] == 40
    assert done.code == 0


def test_a_strategy_that_ends_the_process_leaves_no_result(folder):
    done = backtest([chunk(BARS)], folder=folder, template="exits")
    assert (done.code, done.of("result"), done.of("fault")) == (7, [], [])


def test_prints_are_bounded_and_come_between_no_messages(folder):
    done = backtest([chunk(BARS)], folder=folder, template="prints")
    logs = done.of("log")
    assert 60_000 < sum(len(one["text"]) for one in logs) < 70_000
    assert "dropped" in logs[-1]["text"]
    assert done.one("result")["bars"] == 80


def test_fifty_denials_in_a_row_are_a_failure(folder):
    """A run of denials alone would otherwise look like one that had no reason to trade."""
    done = backtest([chunk(BARS)], folder=folder, template="is_denied")
    result = done.one("result")
    assert (result["fills"], result["denied"]) == (0, 50)
    assert done.one("fault")["exception"] == "Denied"
    reasons = {one["reason"] for one in done.of("order") if one["kind"] == "denied"}
    assert len(reasons) == 1
    assert reasons.pop() in done.one("fault")["message"]


def test_a_strategy_that_sleeps_stops_the_heartbeat_and_one_that_waits_for_bars_does_not(folder):
    with Runner(folder=folder) as runner:
        runner.send("start", **START | {"template": "sleeps"})
        runner.until("heartbeat")
        runner.until("heartbeat")
        runner.write(chunk(BARS))
        runner.until("heartbeat", last_bar_ns=BARS[0][1])  # it got to the first bar, and no further
        assert runner.process.stdout is not None
        assert select.select([runner.process.stdout], [], [], 2.5)[0] == []


@pytest.mark.parametrize("mode", ["backtest", "paper"])
def test_a_strategy_that_learns_slowly_before_the_run_gets_on_with_each_bar(folder, mode):
    """Else it would count as stuck where no single bar takes long."""
    with Runner(folder=folder) as runner:
        runner.send("start", **START | {"template": "learns_slowly", "mode": mode})
        runner.until("ready")
        runner.send("warm_up", series=[columns(BARS[:8])])
        if mode == "backtest":
            runner.write(chunk(BARS[8:9]))
            seen = runner.until("progress")
        else:
            runner.send("orders", orders=[])
            runner.send("positions", positions=[])
            names = ("opened_ns", "closed_ns", "open", "high", "low", "close", "volume")
            runner.send("bar", index=0, state="closed", **dict(zip(names, BARS[8], strict=True)))
            seen = runner.until("bar_done")
    beats = [one for one in seen if one["type"] == "heartbeat"]
    assert len(beats) >= (2 if mode == "backtest" else 3), "a node's loop beats at once when it begins"


def test_what_the_runner_keeps_for_itself_cannot_be_extended(folder):
    done = backtest([chunk(BARS)], folder=folder, template="extends_too_much")
    assert "extend prepare, learn, decide" in done.one("fault")["message"]
    assert done.code == 2


def test_a_broken_line_of_the_host_ends_the_run(folder):
    done = backtest([b'{"type":"chunk"}\n'], template="buy_and_hold")
    assert done.one("fault")["exception"] == "PipeError"
    done = backtest([chunk(BARS), line(TO_RUNNER, "pause")], template="buy_and_hold")
    assert done.one("fault")["exception"] == "PipeError"
