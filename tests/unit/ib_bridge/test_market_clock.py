"""The bridge's market time, learnt from whole seconds: near the truth, never back, and no rule of IB broken by it.

Both clocks are numbers here: what IB's clock shows is known exactly, and the simulator's own rules count the requests.
"""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ib_bridge.ib.clock import MarketClock
from ib_gateway_sim.rules.pacing import PacingBook
from nautilus.backfill.pacing import Request, next_allowed
from nautilus.clock import NS_PER_MS, NS_PER_S
from tests.support.markets import few

EPOCH = 1_772_467_200 * NS_PER_S
HEARTBEAT = 5 * NS_PER_S


class World:
    """This machine's steady and wall clock, and IB's, `offset` ns ahead of the wall and `drift` faster."""

    def __init__(self, offset: int, *, drift: float = 0.0, phase: int = 0, seed: int = 1) -> None:
        self.steady = 40_000 * NS_PER_S
        self.wall_ahead = EPOCH - self.steady + phase
        self.offset = offset
        self.drift = drift
        self.began = self.steady
        self.dice = Random(seed)
        self.clock = MarketClock(lambda: self.steady + self.wall_ahead, lambda: self.steady)

    @property
    def truth(self) -> int:
        passed = self.steady - self.began
        return self.steady + self.wall_ahead + self.offset + round(passed * self.drift)

    @property
    def error(self) -> int:
        return self.clock.now_ns() - self.truth

    def heartbeat(self) -> None:
        """Ask IB for the time: some milliseconds there, some back."""
        requested = self.steady
        self.steady += self.dice.randrange(1, 80) * NS_PER_MS
        seconds = self.truth // NS_PER_S
        self.steady += self.dice.randrange(1, 80) * NS_PER_MS
        self.clock.learn_seconds(seconds, requested, self.steady)

    def start(self) -> None:
        """What the session does when it is connected for the first time."""
        self.heartbeat()
        while self.clock.uncertain:
            self.steady += 270 * NS_PER_MS
            self.heartbeat()

    def run(self, seconds: float) -> Iterator[None]:
        """Steps of 10 to 60 ms of machine time, with a heartbeat every five seconds."""
        end, answer = self.steady + int(seconds * NS_PER_S), self.steady
        while self.steady < end:
            self.steady += self.dice.randrange(10, 60) * NS_PER_MS
            if self.steady - answer >= HEARTBEAT:
                self.heartbeat()
                answer = self.steady
            yield


class Requests:
    """Small bars of one contract, or of many, as fast as our pacer allows; counted where IB would, by IB's clock."""

    def __init__(self, world: World, contracts: int) -> None:
        self.world = world
        self.contracts = contracts
        self.book = PacingBook()
        self.sent: list[Request] = []
        self.next_at = 0
        self.violations = 0

    def send(self) -> None:
        number = len(self.sent)
        contract = f"{number % self.contracts}"
        request = Request(f"{number}", contract, small=True)
        now = self.world.clock.now_ns()
        if now < self.next_at:
            return
        self.next_at = next_allowed(request, self.sent, now)
        if self.next_at > now:
            return
        self.sent.append(request._replace(at=now))
        self.violations += not self.book.ask(self.world.truth / NS_PER_S, contract, f"{number}", 1)


@pytest.mark.parametrize("tenths", range(-30, 31))
def test_offsets_up_to_three_seconds_do_not_break_the_burst_rule(tenths):
    for seed in range(4):
        world = World(tenths * NS_PER_S // 10, phase=(tenths * 170 + seed * 260) * NS_PER_MS, seed=seed)
        world.start()
        requests = Requests(world, contracts=1)
        for _ in world.run(20):
            requests.send()
        assert len(requests.sent) > 40
        assert requests.violations == 0


@pytest.mark.parametrize("tenths", [-30, -18, 0, 7, 18, 22, 30])
@pytest.mark.parametrize("drift", [0.0, 40e-6, -40e-6])
def test_nor_that_of_ten_minutes(tenths, drift):
    world = World(tenths * NS_PER_S // 10, drift=drift, phase=tenths * 17 * NS_PER_MS)
    world.start()
    requests = Requests(world, contracts=4)
    for _ in world.run(660):
        requests.send()
    assert len(requests.sent) > 60
    assert requests.violations == 0


@few
@given(st.integers(-3_000, 3_000), st.integers(0, 999), st.integers(0, 2**32), st.sampled_from([-50e-6, 0.0, 50e-6]))
def test_it_is_near_the_truth_and_never_goes_back(offset_ms, phase_ms, seed, drift):
    world = World(offset_ms * NS_PER_MS, drift=drift, phase=phase_ms * NS_PER_MS, seed=seed)
    world.start()
    last = world.clock.now_ns()
    for _ in world.run(120):
        assert last <= world.clock.now_ns()
        last = world.clock.now_ns()
        assert abs(world.error) < NS_PER_S
    assert abs(world.error) < 700 * NS_PER_MS


def test_what_was_chosen_stays_while_it_is_possible():
    """Market time runs as evenly as the machine's steady clock, heartbeat after heartbeat."""
    world = World(1_800 * NS_PER_MS)
    world.start()
    for _ in world.run(30):
        pass
    error = world.error
    for _ in world.run(300):
        assert world.error == error


def test_a_machine_that_keeps_ibs_time_is_believed():
    world = World(0, phase=430 * NS_PER_MS)
    world.start()
    for _ in world.run(60):
        assert world.error == 0


def test_a_day_of_drift_is_followed():
    world = World(700 * NS_PER_MS, drift=50e-6)
    world.start()
    for _ in range(24 * 60):
        world.steady += 60 * NS_PER_S
        world.heartbeat()
    assert abs(world.error) < 300 * NS_PER_MS


def test_this_machines_clock_may_be_set_without_market_time_noticing():
    world = World(0)
    world.start()
    before = world.clock.now_ns()
    world.wall_ahead -= 3 * NS_PER_S
    world.offset += 3 * NS_PER_S
    assert world.clock.now_ns() == before
    assert world.clock.reading.at(world.steady + world.wall_ahead) == before


def test_one_damaged_answer_changes_nothing_and_two_that_agree_do():
    world = World(0)
    world.start()
    world.steady += HEARTBEAT
    world.clock.learn_seconds(world.truth // NS_PER_S + 3_600, world.steady, world.steady)
    assert world.error == 0
    world.steady += HEARTBEAT
    world.heartbeat()
    assert world.error == 0
    world.offset += 40 * NS_PER_S  # this machine slept
    for _ in range(2):
        world.steady += HEARTBEAT
        world.heartbeat()
    assert abs(world.error) < NS_PER_S


@pytest.mark.parametrize(("back_s", "after_s"), [(0.8, 120), (5, 120), (90, 400)])
def test_a_clock_that_is_set_back_is_waited_for(back_s, after_s):
    world = World(0)
    world.start()
    world.offset -= int(back_s * NS_PER_S)
    last = world.clock.now_ns()
    for _ in world.run(after_s):
        assert last <= world.clock.now_ns()
        last = world.clock.now_ns()
    assert abs(world.error) < NS_PER_S


def test_a_clock_an_hour_behind_is_another_clock():
    world = World(0)
    world.start()
    world.offset -= 3_600 * NS_PER_S
    for _ in range(2):
        world.steady += HEARTBEAT
        world.heartbeat()
    assert abs(world.error) < NS_PER_S
