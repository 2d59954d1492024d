"""`make orders-show` as a user runs it: each part comes to its end, and the lines say what happened to the order and why."""

import re
from contextlib import redirect_stdout
from io import StringIO

import pytest

from dev.orders_show import show


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What it prints, without the times in front."""
    with redirect_stdout(StringIO()) as printed:
        show(tmp_path_factory.mktemp("show"))
    return [re.sub(r"^  \d\d:\d\d:\d\d  ", "", line) for line in printed.getvalue().splitlines()]


def follow(lines: list[str], *patterns: str) -> None:
    """Each pattern is found, in this order."""
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in rest), (pattern, lines)


def test_an_order_over_which_the_process_died_is_unknown_until_a_person_looked(lines: list[str]) -> None:
    follow(
        lines,
        r"^API +accepted: BUY 10 AAPL LMT",
        r"^order process +killed \(SIGKILL\)",
        r"^order +sending, says the database; IB received it never",
        r"^order +unknown, .*IB never said a word about it",
        r"^API +denied: .*unresolved_order \(check 21\)",
        r"^administrator .*never_arrived",
        r"^order +denied, reserves 0; IB received it never",
        r"^order +a new one is working: .*IB received it once",
    )


def test_a_refused_middle_leg_takes_the_entry_with_it(lines: list[str]) -> None:
    follow(
        lines,
        r"^IB +refuses the take profit: .*109",
        r"^order +entry is cancelled",
        r"^order +stop loss is cancelled",
        r"^order +of all three: 0 filled, 0 reserved",
    )


def test_a_kill_over_a_half_open_socket_cancels_on_the_next_connection_and_leaves_protection(lines: list[str]) -> None:
    follow(
        lines,
        r"^IB +the socket goes half open",
        r"^API +kill: SIM7 is halted at once; 1 cancel waits",
        r"^API +denied: trading_halted",
        r"^order process +the gateway does not answer",
        r"^order process +the cancel is written",
        r"^order +cancelled, says IB: BUY 5 MSFT",
        r"^order process +the kill is done",
        r"^order +(working|held): take profit",
        r"^order +(working|held): stop loss",
        r"^administrator +resumes",
    )
