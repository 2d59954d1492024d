import heapq
import random

import pytest

from ib_bridge.history.concurrency import Concurrency


def serve(control: Concurrency, answers: int, hidden: int, base_ms: float = 200.0) -> list[int]:
    """A server that slows down in proportion when more than `hidden` requests are open; returns the levels used."""
    used = []
    for _ in range(answers):
        used.append(control.allowed)
        control.answered(control.epoch, "1m", 1950, base_ms * max(1.0, control.allowed / hidden) ** 2)
    return used


def crawl(control: Concurrency | int, requests: int, hidden: int, noise: float) -> float:
    """Time for so many requests at a server that is four times slower for whoever comes when `hidden` are open.

    `control`: who says how many may be open, or a fixed number.
    """
    dice = random.Random(hidden)
    fixed = Concurrency(control, level=control) if isinstance(control, int) else None
    level = fixed or control
    assert isinstance(level, Concurrency)
    now, sent = 0.0, 0
    open_: list[tuple[float, float, int]] = []
    while sent < requests or open_:
        while sent < requests and len(open_) < level.allowed:
            ms = 200.0 * dice.lognormvariate(0, noise) * (4 if len(open_) >= hidden else 1)
            heapq.heappush(open_, (now + ms, ms, level.epoch))
            sent += 1
        now, ms, epoch = heapq.heappop(open_)
        if fixed is None:
            level.answered(epoch, "1m", 1950, ms)
    return now


def test_it_goes_to_the_cap_at_once_and_stays_there_while_answers_are_quick():
    levels = serve(Concurrency(6), 200, hidden=50)
    assert levels[0] == 1
    assert set(levels[30:]) == {6}


def test_it_finds_the_hidden_number_of_a_server_that_slows_down_and_stays_near_it():
    levels = serve(Concurrency(50), 2_000, hidden=8)
    late = levels[1_000:]
    assert 6 <= sum(late) / len(late) <= 12
    assert max(late) <= 13


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("hidden", range(1, 9))
def test_it_is_nearly_as_quick_as_the_best_fixed_number_though_nobody_tells_it(hidden: int, noise: float):
    cap = 3 * hidden  # with more, brute force pays: so many slow ones at once are quicker than few quick ones
    fixed = min(crawl(number, 1_000, hidden, noise) for number in range(1, cap + 1))
    assert crawl(Concurrency(cap), 1_000, hidden, noise) < 1.25 * fixed


def test_answers_that_vary_by_themselves_do_not_slow_it_down():
    assert crawl(Concurrency(12), 2_000, 1_000, 0.4) < 1.15 * crawl(12, 2_000, 1_000, 0.4)


def test_a_server_that_becomes_slow_for_everybody_is_taken_as_it_is():
    control = Concurrency(6)
    serve(control, 100, hidden=50)
    slow = serve(control, 400, hidden=50, base_ms=900)
    assert min(slow) == 1
    assert slow[-1] == 6


def test_trouble_halves_and_quick_answers_bring_it_back_one_by_one():
    control = Concurrency(8)
    serve(control, 50, hidden=50)
    control.troubled(control.epoch)
    assert control.allowed == 4
    assert sorted(set(serve(control, 1_200, hidden=50))) == [4, 5, 6, 7, 8]
    assert control.allowed == 8
    for _ in range(10):
        control.troubled(control.epoch)
    assert control.allowed == 1


def test_a_slow_round_takes_a_fifth():
    control = Concurrency(10, level=10)
    for _ in range(3):  # what is usual
        control.answered(-1, "1m", 1950, 200.0)
    for _ in range(10):
        control.answered(control.epoch, "1m", 1950, 500.0)
    assert control.allowed == 8


def test_answers_of_different_sizes_are_not_compared():
    control = Concurrency(6)
    for _ in range(50):
        control.answered(control.epoch, "1m", 390, 60.0)
        control.answered(control.epoch, "1m", 1950, 210.0)
        control.answered(control.epoch, "1d", 2500, 320.0)
    assert control.allowed == 6


def test_requests_that_time_out_together_halve_the_level_once() -> None:
    control = Concurrency(cap=6, level=6)
    together = control.epoch
    for _ in range(6):
        control.troubled(together)
    assert control.level == 3
    control.troubled(control.epoch)
    assert control.level == 1
