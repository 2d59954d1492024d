"""`make live-show` as a user runs it, at ten times the speed: the chart equals history, and the lines say what happened."""

import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from dev.live_chart import LiveChart, differences
from dev.live_show import MINUTES, show


def follow(lines: Sequence[str], *patterns: str) -> None:
    """Each pattern is found, in this order."""
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in rest), (pattern, lines)


def test_the_chart_of_the_show_equals_history_though_the_bridge_is_killed_in_the_middle(tmp_path: Path) -> None:
    with redirect_stdout(StringIO()) as printed:
        wrong = show(tmp_path, 10, 10.0)
    lines = [re.sub(r"^  \d\d:\d\d:\d\d  ", "", line) for line in printed.getvalue().splitlines()]
    assert wrong == [], lines
    follow(
        lines,
        r"^REST +GET .*: 1[45] bars",  # the newest minute may not be settled
        r"^socket +subscribed to ",
        r"^snapshot +1m: ",
        r"^live +1m .* closed; quote ",
        r"^bridge +killed",
        r"^bridge +another one starts",
        r"^reset +the bus has a new epoch",
        r"^gap +1m .*bridge_restarted",
        r"^filled +1m ",
        r"^live +1m .* closed",
        r"^comparison +1m: 10 bars live .*10 in history, requested by force: all equal$",
        r"^comparison +5m: [12] bars live .* all equal$",
    )


def test_a_chart_that_missed_a_bar_or_has_another_value_is_found() -> None:
    chart, bar = LiveChart(MINUTES), {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 10}
    for ts, state in (("10:00", "closed"), ("10:01", "confirmed"), ("10:02", "closed")):
        chart.take({"t": "bar", "c": MINUTES, "ts": ts, "state": state, "version": 1, **bar})
    chart.take({"t": "confirmed", "c": MINUTES, "start": "10:00", "end": "10:01", "version": 2})
    true = {"10:00": bar, "10:01": bar}
    chart.take({"t": "bar", "c": MINUTES, "ts": "10:01", "state": "closed", **bar, "close": 9.0})
    assert differences(chart.between("10:00", "10:02"), true) == [], "a closed bar is below history's word"
    assert differences(chart.bars, true) == ["10:02 live, not history"]
    assert differences({"10:00": bar}, true) == ["10:01 history, not live"]
    assert differences({"10:00": bar, "10:01": {**bar, "high": 3.0}}, true) == ["10:01 high: live 3.0, history 2.0"]
    chart.take(
        {
            "t": "snapshot",
            "c": MINUTES,
            "version": 3,
            "since_version": 2,
            "bars": [],
            "provisional": [],
            "forming": None,
        }
    )
    assert list(chart.bars) == ["10:00", "10:01"], "what was provisional and is not repeated is withdrawn"
    chart.take({"t": "bar", "c": MINUTES, "ts": "10:01", "state": "withdrawn", "version": 4, **bar})
    assert list(chart.bars) == ["10:00"]
