"""Live data against an opponent that keeps a book, and simulators with one mistake each, which the opponent finds."""

import asyncio
import random

import pytest

from ib_gateway_sim.faults import live_bars
from ib_gateway_sim.history.families import open_requests
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.session.jobs import Jobs
from ib_gateway_sim.streams import families
from tests.support.live_opponent import play

SEEDS = (42, 44, 45, 48)
STEPS = 30


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_asked_and_broken_the_book_is_right(seed):
    asyncio.run(play(seed, STEPS))


def test_the_same_seed_and_the_same_commands_give_the_same_messages():
    first, second = asyncio.run(play(45, STEPS)), asyncio.run(play(45, STEPS))
    assert len(first) > 200
    assert first == second


def play_all():
    for seed in SEEDS:
        asyncio.run(play(seed, STEPS))


# ---- simulators with a mistake -----------------------------------------------------------------------------------------


def goes_on_after_its_cancel(patch):
    patch.setattr(Jobs, "stop", lambda self, family, request_id: self.has(family, request_id))


def counts_a_slot_twice(patch):
    def counted(client):
        return open_requests(client) + client.jobs.count("live bars")

    patch.setattr("tests.support.live_opponent.open_requests", counted)


def counts_a_line_too_few(patch):
    patch.setattr(
        "tests.support.live_opponent.no_line", lambda client, contract: families.no_line(client, contract) and False
    )


def stamps_bars_at_their_end(patch):
    made = live_bars.LiveBars.bars

    def later(self, size, start_s, end_s, now_s):
        return [bar._replace(t=bar.t + 5) for bar in made(self, size, start_s, end_s, now_s)]

    patch.setattr(live_bars.LiveBars, "bars", later)


def draws_history_anew(patch):
    made = Gateway.history_bars

    def other(self, *contract, **window):
        return [bar._replace(volume=bar.volume + random.randrange(1000)) for bar in made(self, *contract, **window)]

    patch.setattr(Gateway, "history_bars", other)


MISTAKES = [goes_on_after_its_cancel, counts_a_slot_twice, counts_a_line_too_few, stamps_bars_at_their_end]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_simulator_with_a_mistake_is_found(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match="seed"):
        play_all()


@pytest.mark.parametrize("mistake", [draws_history_anew])
def test_a_simulator_that_draws_from_elsewhere_is_found(mistake, monkeypatch):
    mistake(monkeypatch)
    assert asyncio.run(play(45, STEPS)) != asyncio.run(play(45, STEPS))
