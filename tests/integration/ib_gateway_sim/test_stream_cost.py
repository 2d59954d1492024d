"""What a message of a stream costs, counted in calls of functions, so that a loaded machine counts the same."""

import asyncio
import sys

import pytest

from tests.integration.ib_gateway_sim.test_streams import ask_bars, ask_quotes
from tests.support.sim_client import AAPL, RawClient, gateway

SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "SPY")


async def calls_per_message(ask, seconds, command=None):
    """Calls of Python functions while streams of five stocks go on, the making of their prices apart."""
    async with gateway() as (sim, control):
        clients = [await RawClient.start(sim.port, number) for number in range(1, 5)]
        for client in clients:
            for request_id, symbol in enumerate(SYMBOLS):
                ask(client, request_id, ("0", symbol, *AAPL[2:]))
            await client.settle()
        if command is not None:
            await control.run(command)
        await sim.clock.advance(5)
        before, counted = next(sim.sent.numbers), 0

        def count(frame, event, _):
            nonlocal counted
            path = frame.f_code.co_filename
            counted += event == "call" and "ib_gateway_sim" in path and "market" not in path and "tests" not in path

        sys.setprofile(count)
        try:
            await sim.clock.advance(seconds)
        finally:
            sys.setprofile(None)
        return counted / (next(sim.sent.numbers) - before - 1)


@pytest.mark.parametrize(("ask", "seconds", "most"), [(ask_quotes, 10, 14), (ask_bars, 60, 40)])
def test_a_message_of_a_stream_costs_few_calls_while_no_fault_is_set(ask, seconds, most):
    assert asyncio.run(calls_per_message(ask, seconds)) <= most


def test_a_fault_that_is_set_is_seen_in_the_count():
    async def both():
        return [await calls_per_message(ask_bars, 60, command) for command in (None, "odd_lots all 0.1")]

    without, with_fault = asyncio.run(both())
    assert with_fault > 2 * without
