"""Random steps against the orders of the simulator: what has to be true of them is true; faults put in by hand are found."""

import asyncio
from dataclasses import replace

import pytest

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.orders import delivery, fills, reports, saving
from ib_gateway_sim.orders.book import OrderBook
from ib_gateway_sim.orders.cancelling import cancel
from tests.support.sim_client import gateway
from tests.support.sim_opponent import Opponent

SEEDS = (1, 8)
STEPS = 60


def play(seed, folder):
    async def work():
        async with gateway(lines=100_000, accounts=2) as (sim, control):
            opponent = Opponent(sim, control, seed, folder)
            try:
                await opponent.play(STEPS)
            finally:
                opponent.ib.disconnect()

    asyncio.run(work())


@pytest.mark.parametrize("seed", SEEDS)
def test_what_has_to_be_true_of_orders_is_true_whatever_is_done(seed, tmp_path):
    play(seed, tmp_path)


# ---- faults that are put in ------------------------------------------------------------------------------------------
def ids_by_the_number_of_executions(patch):
    """So they were given: a number comes again when an execution vanishes."""
    patch.setattr(
        OrderBook, "next_exec_id", lambda book, at_s: f"0000e0d5.{int(at_s):08x}.{len(book.executions) + 1:02d}.01"
    )


def groups_that_shrink_to_nothing(patch):
    """So they were: an order that had nothing left stayed open."""

    def shrink(sim, order, shares):
        for other in sim.orders.group(order):
            if order.status == "Filled":
                cancel(sim, other)
            else:
                other.request.values["totalQuantity"] = max(other.filled, other.quantity - shares)

    patch.setattr(fills, "_shrink_group", shrink)


def words_that_overtake(patch):
    """So they did, when the delay ended while words were on their way."""

    def defer(sim, client, messages):
        due_ns = sim.clock.now_ns() + int(sim.faults.orders.delay_s * SECOND_NS)
        sim.spawn(f"words {next(sim.numbers)}", later(sim, client, messages, due_ns))

    async def later(sim, client, messages, due_ns):
        await sim.clock.sleep_until(due_ns)
        delivery._send(client, messages)

    patch.setattr(delivery, "_defer", defer)


def corrections_that_the_account_does_not_see(patch):
    patch.setattr(fills, "correct", unbooked(fills.correct))
    patch.setattr("ib_gateway_sim.control.executions.correct_fill", fills.correct)


def unbooked(correct):
    def corrected(sim, made, *more, **named):
        kept = {name: replace(each) for name, each in sim.portfolios.items()}
        new = correct(sim, made, *more, **named)
        sim.portfolios.update(kept)
        return new

    return corrected


def fees_that_are_lost_with_a_file(patch):
    def load(sim, state):
        for each in state["orders"].executions:
            each.fee = 0.0
        original(sim, state)

    original = saving.load
    patch.setattr("ib_gateway_sim.control.saving.load", load)


def ends_before_the_last_word(patch):
    def say(sim, order, *words):
        original(sim, order, *words)
        if order.status == "Cancelled":
            order.status = "Submitted"
            original(sim, order, reports.status(order))
            order.status = "Cancelled"

    original = reports.say
    patch.setattr(reports, "say", say)


@pytest.mark.parametrize(
    ("put_in", "seed"),
    [
        (ids_by_the_number_of_executions, 1),
        (groups_that_shrink_to_nothing, 8),
        (words_that_overtake, 1),
        (corrections_that_the_account_does_not_see, 1),
        (fees_that_are_lost_with_a_file, 1),
        (ends_before_the_last_word, 1),
    ],
)
def test_a_fault_that_is_put_in_is_found(put_in, seed, tmp_path, monkeypatch):
    put_in(monkeypatch)
    with pytest.raises(AssertionError):
        play(seed, tmp_path)
