"""Loops that no error ends."""

import asyncio
from typing import Any

import pytest

from nautilus.errors import Unavailable
from nautilus.infra.loops import Backoff, repeat

AT_ONCE = Backoff(first_s=0.0, longest_s=0.0)


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def warning(self, action: str, extra: dict[str, Any]) -> None:
        self.lines.append((action, str(extra["reason"])))

    def exception(self, action: str) -> None:
        self.lines.append((action, "a traceback"))


def played(outcomes: list[Exception | None], **more: Any) -> tuple[int, Log]:
    """How many steps were taken with these outcomes, and what was logged; the loop ends by cancellation alone."""
    log, left = Log(), list(outcomes)
    taken = 0

    async def step() -> None:
        nonlocal taken
        taken += 1
        outcome = left.pop(0)
        if not left:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)
        if outcome is not None:
            raise outcome

    async def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            await repeat("work", step, log, backoff=AT_ONCE, **more)

    asyncio.run(run())
    return taken, log


def test_no_error_ends_a_loop_and_each_is_told() -> None:
    errors = [Unavailable("away"), ValueError(), KeyError("x"), OSError(), RuntimeError(), AssertionError(), None]
    taken, log = played([*errors, None])
    assert taken == len(errors) + 1
    assert log.lines == [("work-delayed", "away"), *[("work-broke", "a traceback")] * 5]


def test_an_expected_delay_has_the_name_it_was_given() -> None:
    _, log = played([Unavailable("away"), None], delayed="store-unavailable")
    assert log.lines == [("store-unavailable", "away")]


def test_the_pause_doubles_up_to_the_longest() -> None:
    backoff, pauses = Backoff(1.0, 30.0), [0.0]
    for _ in range(7):
        pauses.append(backoff.after(pauses[-1]))
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_loop_ends_when_nobody_needs_it() -> None:
    waiting = [1, 2, 3]

    async def step() -> None:
        waiting.pop()
        raise ValueError

    asyncio.run(repeat("watch", step, Log(), backoff=AT_ONCE, going_on=lambda: bool(waiting)))
    assert waiting == []
