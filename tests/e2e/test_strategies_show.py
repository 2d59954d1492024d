"""`make strategies-show` as a user runs it: a report is written, and paper, live and their back-tests decide alike."""

import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from dev.strategies_show import Decision, differs, show
from tests.support.strategy_runner import needs_engine


def follow(lines: Sequence[str], *patterns: str) -> None:
    """Each pattern is found, in this order."""
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in rest), (pattern, lines)


@needs_engine
def test_a_strategy_decides_alike_in_its_three_modes_and_the_report_is_a_page(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    with redirect_stdout(StringIO()) as printed:
        wrong = show(tmp_path / "data", 6, 10.0, report)
    lines = [re.sub(r"^  \d\d:\d\d:\d\d  ", "", line) for line in printed.getvalue().splitlines()]
    assert wrong == [], lines
    follow(
        lines,
        r"^API +refuses it: .*bars are missing",
        r"^IB +\d+ bars of AAPL came",
        r"^back-test +completed: \d+ bars, \d+ fills, profit ",
        r"^paper +begins",
        r"^live +begins",
        r"^paper +stopped",
        r"^live +stopped",
        r"^comparison +paper and back-test decided alike",
        r"^comparison +live and back-test decided alike",
    )
    page = report.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    assert "AAPL.NASDAQ, 1m" in page


BUY, SELL = Decision("BUY 100", "373.1"), Decision("SELL 100", "373.2")


@pytest.mark.parametrize(
    ("known", "tested", "wrong"),
    [
        ({"15:05": BUY}, {"15:05": BUY._replace(price="373.02")}, []),
        ({"15:05": BUY}, {"15:06": BUY}, ["15:05", "15:06"]),
        ({"15:05": BUY}, {"15:05": SELL}, ["15:05"]),
        ({}, {"15:05": SELL}, ["15:05"]),
        ({"15:05": BUY, "15:09": SELL}, {"15:05": BUY}, ["15:09"]),
    ],
)
def test_what_was_decided_otherwise_is_found(
    known: Mapping[str, Decision], tested: Mapping[str, Decision], wrong: Sequence[str]
) -> None:
    assert [at for at in sorted({*known, *tested}) if differs(known.get(at), tested.get(at))] == wrong
