"""Timeframes stand in one table: a new line there is all that a new timeframe takes."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nautilus.market.timeframes import NAMES
from tests.contract.test_imports import LAYER, MODULES, ROOT

TABLE = "nautilus.market.timeframes"
LINE = '    Timeframe("45m", "45 mins", 45 * _MINUTE, 9 * _WEEK, 5_400, 18 * _WEEK, 12),\n'

# What a reader, a backfill, a setting and the database know of the new timeframe, in a tree that has the line.
QUESTIONS = """
import json
from zoneinfo import ZoneInfo

from nautilus.backfill.ib_durations import duration
from nautilus.backfill.plan_rules import PlanRules
from nautilus.backfill.planner import PlanInput, chunk_spans, halves, plan
from nautilus.backfill.schemas import BackfillRequest
from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.db import retention, verify
from nautilus.db.bars.write import table_of
from nautilus.market import aggregation, slots, windows
from nautilus.market.calendar import weekdays
from nautilus.market.timeframes import NAMES, timeframe
from nautilus.settings.bridge import BridgeSettings

DAY = 86_400
frame, monday = timeframe("45m"), 1_704_672_000 * NS_PER_S
hours = weekdays(monday - 400 * NS_PER_DAY, monday + 400 * NS_PER_DAY, "UTC")
settings = BridgeSettings(database_url="postgresql://n@localhost/n", keep_bars_days="45m=30", chunk_spans="45m=86400")
rules = PlanRules()
now = monday + 200 * NS_PER_DAY
made = plan(PlanInput(
    wanted=(monday, monday + 126 * NS_PER_DAY), timeframe=frame, calendar=hours, now=now, until=now, head=None,
    span_s=rules.spans_s["45m"],
))
hour = (monday, monday + NS_PER_DAY // 8)
longest = [text for text in ("45m=10886400", "45m=10886401") if not refused(chunk_spans, text)]
print(json.dumps({
    "by IB's name": timeframe("45 mins").name,
    "requests of 18 weeks": len(made.chunks),
    "durationStr": duration(made.chunks[0].window, frame, hours),
    "halves of three hours": len(halves(hour, frame, hours)),
    "halves of one": len(halves((monday, monday + 5_399 * NS_PER_S), frame, hours)),
    "longest request of a setting": longest,
    "request by setting": settings.plan_rules.spans_s["45m"],
    "kept for days": settings.kept_bars["45m"],
    "default window": windows.days_back(frame, None),
    "made of": aggregation.sources(frame, "TRADES")[0].name,
    "slots of a day": slots.count(hours, frame, (monday, monday + NS_PER_DAY), 100),
    "table": table_of(frame),
    "verified": table_of(frame) in verify.BAR_TABLES,
    "backfilled with all others": len(BackfillRequest(symbol="AAPL", timeframes=list(NAMES)).timeframes),
}))
"""
ANSWERS = {
    "by IB's name": "45m",
    "requests of 18 weeks": 2,
    "durationStr": "9 W",
    "halves of three hours": 2,
    "halves of one": 0,
    "longest request of a setting": ["45m=10886400"],
    "request by setting": 86_400,
    "kept for days": 30,
    "default window": 12,
    "made of": "15m",
    "slots of a day": 32,
    "table": "bars_coarse",
    "verified": True,
    "backfilled with all others": len(NAMES) + 1,
}
HELPER = """
def refused(call, *args):
    try:
        call(*args)
    except ValueError:
        return True
    return False
"""


def test_a_line_in_the_table_is_all_that_a_new_timeframe_takes(tmp_path: Path) -> None:
    shutil.copytree(LAYER / "nautilus", tmp_path / "nautilus", ignore=shutil.ignore_patterns("__pycache__"))
    table = tmp_path / "nautilus" / "market" / "timeframes.py"
    text = table.read_text()
    before = '    Timeframe("1h",'
    assert text.count(before) == 1
    table.write_text(text.replace(before, LINE + before))
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", HELPER + QUESTIONS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ANSWERS


# The timeframes of a backfill that names none: a choice, not a table.
CHOICES = {"nautilus.settings.api"}


def lists_of_timeframes(tree: ast.AST) -> Iterator[int]:
    """The lines of tuples, lists, sets, dictionaries and comparisons that name three timeframes or more."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            parts = [part for part in node.keys if part is not None]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = node.elts
        else:
            continue
        found = {part.value for part in parts if isinstance(part, ast.Constant)} & set(NAMES)
        if len(found) >= 3:
            yield node.lineno


@pytest.mark.parametrize("name", [n for n in MODULES if n.split(".")[0] != "ib_gateway_sim" and n != TABLE])
def test_no_other_module_lists_timeframes(name: str) -> None:
    found = list(lists_of_timeframes(ast.parse(MODULES[name].read_text())))
    assert bool(found) == (name in CHOICES), f"{MODULES[name].relative_to(ROOT)}: lines {found}; use {TABLE}"


@pytest.mark.parametrize(
    "text", ["{'1s': 1, '1m': 7, '1M': 9}", "FRAMES = ('1m', '1h', '1d')", "x in ['1m', '5m', '1w']"]
)
def test_a_list_of_timeframes_is_found(text: str) -> None:
    assert list(lists_of_timeframes(ast.parse(text))) == [1]
