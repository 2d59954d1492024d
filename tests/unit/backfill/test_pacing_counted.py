"""Jobs of every mix, cut and paced by us, counted by the simulator's own rules: no violation.

The requests are those of the worker, with the durations and end times that go over the wire. They arrive in their order,
each up to 49 ms late.
"""

from collections import deque
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ib_bridge.history.picking import request_of
from ib_gateway_sim.rules.pacing import MessageRate, PacingBook
from nautilus.backfill import pacing
from nautilus.backfill.ib_durations import duration, end_text
from nautilus.backfill.pacing import PacingLimits, Request, next_allowed
from nautilus.backfill.planner import Chunk, PlanInput, plan
from nautilus.clock import NS_PER_S
from nautilus.db.ledger.chunks import Candidate
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import REQUEST_SPANS_S, timeframe
from tests.support.markets import HOUR, MINUTE, closing, few, forex, ns, nyse

NYSE, FOREX = nyse(), forex()
NOW = ns("2024-03-07 18:00")
MOST = 250
"""Requests of one mix: more than four windows of ten minutes."""


@dataclass(frozen=True)
class Job:
    """A wish as the ledger has it, its chunks, and whether a person waits for it."""

    symbol: int
    frame: str
    price: str
    start: int
    end: int
    interactive: bool = False

    @property
    def instrument(self) -> Instrument:
        kind = "CASH" if self.symbol == 0 else "STK"
        name = f"S{self.symbol}"
        words = (name, kind, "SMART", "", "USD", name, "", "", "", 0.01, "", "America/New_York", kind)
        return Instrument(self.symbol, f"{name}.X", *words)

    @property
    def calendar(self) -> Any:
        return FOREX if self.symbol == 0 else NYSE

    def chunks(self) -> tuple[Chunk, ...]:
        frame = timeframe(self.frame)
        given = PlanInput(
            wanted=(self.start, self.end),
            timeframe=frame,
            calendar=self.calendar,
            now=NOW,
            until=closing(self.calendar, frame, delay_s=15).closed_until(NOW),
            head=None,
            span_s=REQUEST_SPANS_S[self.frame],
        )
        return plan(given).chunks

    def request(self, chunk: Chunk) -> Request:
        candidate = Candidate(0, 0, self.symbol, self.frame, self.price, "rth", chunk.window, self.interactive)
        return request_of(candidate, self.instrument)

    def wire(self, chunk: Chunk) -> tuple[str, str, bool]:
        """What IB goes by: contract, exchange and kind; the whole request; whether it is counted."""
        frame = timeframe(self.frame)
        requested = (duration(chunk.window, frame, self.calendar), end_text(chunk.window, frame, self.calendar))
        return (
            f"{self.symbol}|SMART|{self.price}",
            "|".join((str(self.symbol), frame.ib, self.price, *requested)),
            frame.small,
        )


@dataclass
class Counter:
    """The simulator's two books and how often they were broken."""

    book: PacingBook
    rate: MessageRate
    violations: int = 0
    requests: int = 0

    def arrives(self, at: int, series: str, whole: str, weight: int, *, small: bool) -> None:
        self.requests += 1
        allowed = self.rate.allowed(at / NS_PER_S)
        if small:
            allowed = self.book.ask(at / NS_PER_S, series, whole, weight) and allowed
        self.violations += not allowed


def run(
    jobs: list[Job],
    dice: Random,
    *,
    lost: float = 0.0,
    pause_ms: int = 0,
    limits: PacingLimits = PacingLimits(),  # noqa: B008  frozen
) -> Counter:
    """Works the jobs in turn, as soon as the pacer lets any go; some requests are lost and asked again at once."""
    waiting = [(job, deque(job.chunks())) for job in jobs]
    counter = Counter(PacingBook(), MessageRate())
    sent: list[Request] = []
    now = arrived = NOW
    while counter.requests < MOST and (waiting := [(job, left) for job, left in waiting if left]):
        times = [next_allowed(job.request(left[0]), sent, now, limits) for job, left in waiting]
        at = times.index(min(times))
        now = max(now, times[at])
        job, left = waiting.pop(at)
        waiting.append((job, left))  # its next turn comes after the others'
        chunk = left[0] if dice.random() < lost else left.popleft()
        requested = job.request(chunk)
        sent.append(requested._replace(at=now))
        arrived = max(arrived, now + dice.randrange(49_000_000))
        series, whole, small = job.wire(chunk)
        counter.arrives(arrived, series, whole, requested.weight, small=small)
        now += dice.randrange(pause_ms * 1_000_000 + 1)
    return counter


@st.composite
def mixes(draw: st.DrawFn) -> list[Job]:
    """One to eight jobs, of which some want the same, or a part of it."""
    found = []
    for _ in range(draw(st.integers(1, 8))):
        symbol = draw(st.integers(0, 3))
        start = (
            ns("2024-03-04 14:30")
            + draw(st.integers(0, 72 * 12)) * 5 * MINUTE
            + draw(st.sampled_from([0, 15, 30])) * NS_PER_S
        )
        found.append(
            Job(
                symbol,
                draw(st.sampled_from(["1s", "5s", "10s", "15s", "30s", "1m", "5m", "1d"])),
                draw(st.sampled_from(["MIDPOINT", "BID_ASK"] if symbol == 0 else ["TRADES", "MIDPOINT", "BID_ASK"])),
                start,
                start + draw(st.sampled_from([30 * NS_PER_S, MINUTE, HOUR, 24 * HOUR])),
                draw(st.booleans()),
            )
        )
    again = draw(st.lists(st.sampled_from(found), max_size=3))
    tails = [replace(job, start=(job.start + job.end) // 2) for job in again]
    return [*found, *again, *tails]


@few
@given(mixes(), st.integers(0, 2**32), st.sampled_from([0.0, 0.2, 0.8]), st.sampled_from([0, 5, 1_000]))
def test_the_simulator_counts_no_violation_for_any_mix_of_jobs(jobs, seed, lost, pause_ms):
    assert run(jobs, Random(seed), lost=lost, pause_ms=pause_ms).violations == 0


def day(symbol: int, frame: str, price: str = "TRADES") -> Job:
    return Job(symbol, frame, price, ns("2024-03-05 00:00"), ns("2024-03-07 00:00"))


@pytest.mark.parametrize(
    ("name", "value", "jobs"),
    [
        ("PERIOD_NS", 590 * NS_PER_S, [day(n, "1s") for n in range(1, 9)]),
        ("BURST_COUNT", 6, [day(1, "1s")]),
        ("BURST_NS", 1_800_000_000, [day(1, "1s")]),
        ("IDENTICAL_NS", 14 * NS_PER_S, [day(1, "5s")] * 4),
        ("MESSAGE_COUNT", 56, [day(n, "1m") for n in range(1, 80)]),
    ],
)
def test_the_count_shows_a_pacer_that_is_too_loose(name, value, jobs, monkeypatch):
    """The simulator's count depends on the rules, not on the pacer: each rule loosened alone is seen at once."""
    assert run(jobs, Random(1), lost=0.3).violations == 0
    monkeypatch.setattr(pacing, name, value)
    assert run(jobs, Random(1), lost=0.3).violations > 0


def test_a_limit_of_more_than_sixty_and_a_weight_of_one_are_seen_too():
    jobs = [day(n, "1s", "BID_ASK") for n in range(1, 4)]
    assert run(jobs, Random(1)).violations == 0
    assert run(jobs, Random(1), limits=PacingLimits(period_weight=62, reserve=0)).violations > 0
