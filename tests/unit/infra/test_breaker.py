"""A neighbour that failed rests; then one call, not all, finds out whether it is well."""

from types import SimpleNamespace

from nautilus.infra.breaker import Breaker


def breaker(rest_s: float, longest_rest_s: float | None = None) -> tuple[Breaker, SimpleNamespace]:
    time = SimpleNamespace(now=50.0)
    return Breaker(rest_s, longest_rest_s, clock=lambda: time.now), time


def test_a_well_neighbour_is_always_asked() -> None:
    guard, _ = breaker(5)
    assert all(guard.admits() for _ in range(3))
    assert not guard.resting


def test_after_a_rest_one_call_is_admitted_and_its_outcome_decides() -> None:
    guard, time = breaker(5)
    assert guard.failed(began=50)
    assert guard.resting
    assert not guard.admits()
    time.now = 55
    assert not guard.resting
    assert [guard.admits(), guard.admits(), guard.admits()] == [True, False, False]
    assert guard.succeeded(began=55)
    assert guard.admits()
    assert guard.rest_s == 0


def test_rests_grow_to_the_longest() -> None:
    guard, time = breaker(1, 30)
    rests = []
    for _ in range(7):
        guard.failed(time.now)
        rests.append(guard.rest_s)
        time.now += guard.rest_s
    assert rests == [1, 2, 4, 8, 16, 30, 30]


def test_one_failure_that_many_calls_met_counts_once() -> None:
    guard, time = breaker(1, 30)
    time.now = 52
    assert [guard.failed(began=50), guard.failed(began=51), guard.failed(began=51.5)] == [True, False, False]
    assert guard.rest_s == 1
    assert not guard.succeeded(began=51), "it was asked before the failure"
    assert guard.rest_s == 1


def test_a_probe_that_never_returns_is_followed_by_another() -> None:
    guard, time = breaker(2)
    guard.failed(50)
    time.now = 52
    assert guard.admits()
    time.now = 53
    assert not guard.admits()
    time.now = 54
    assert guard.admits()
