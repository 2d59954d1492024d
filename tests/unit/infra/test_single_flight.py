"""Who needs the same thing at the same time shares one call, and one failure."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nautilus.infra.single_flight import SingleFlight


class Source:
    """A call that takes until it is let go, and fails when told to; `clock` moves by hand."""

    def __init__(self, max_age_s: float = 5.0) -> None:
        self.now = 100.0
        self.calls = 0
        self.error: Exception | None = None
        self.called = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.flight = SingleFlight(self._call, max_age_s=max_age_s, clock=lambda: self.now)

    def _call(self) -> int:
        self.calls += 1
        number = self.calls
        self.called.release()
        assert self.go.acquire(timeout=10)
        if self.error is not None:
            raise self.error
        return number


def test_all_who_come_while_it_is_under_way_share_its_result() -> None:
    source = Source()
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(source.flight.result)
        assert source.called.acquire(timeout=10)
        others = [threads.submit(source.flight.result) for _ in range(5)]
        source.go.release()
        assert first.result(10) == 1
        # Whoever came too late for the first makes the second, and needs it let go.
        source.go.release()
        assert {other.result(10) for other in others} <= {1, 2}
    assert source.calls <= 2


def test_a_failure_is_shared_for_a_second_and_then_tried_again() -> None:
    source = Source()
    source.error = RuntimeError("away")
    source.go.release()
    for passed_s in (0.0, 0.5, 0.99):
        source.now = 100.0 + passed_s
        with pytest.raises(RuntimeError, match="away"):
            source.flight.result()
    assert source.calls == 1
    source.now, source.error = 101.0, None
    source.go.release()
    assert source.flight.result() == 2


def test_a_success_is_not_kept() -> None:
    source = Source()
    source.go.release(2)
    assert [source.flight.result(), source.flight.result()] == [1, 2]


def test_nobody_is_given_what_was_asked_too_long_before_they_came() -> None:
    source = Source(max_age_s=5.0)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(source.flight.result)
        assert source.called.acquire(timeout=10)
        source.now = 106.0
        late = threads.submit(source.flight.result)
        source.go.release()
        assert first.result(10) == 1
        source.go.release()
        assert late.result(10) == 2
