"""Every fault finds the client wrong that ignores it, and nobody is found wrong without it."""

import asyncio

import pytest

from tests.integration.ib_gateway_sim.victims import VICTIMS, Victim
from tests.support.sim_client import RawClient, gateway


async def _read(each: Victim, *, faulty: bool):
    async with gateway() as (sim, control):
        done = []

        async def inject(line):
            done.append(line.split()[0])
            if faulty:
                answer = await control.run(line)
                assert answer["ok"], answer

        reading = await each.case(await RawClient.start(sim.port), sim, inject)
        assert set(each.commands) <= set(done), "it injects what it is registered for"
        return reading


@pytest.mark.parametrize("each", VICTIMS, ids=lambda each: each.name)
def test_who_ignores_the_fault_is_wrong_and_who_reckons_with_it_is_right(each):
    reading = asyncio.run(_read(each, faulty=True))
    assert reading.naive != reading.truth
    assert reading.careful == reading.truth


@pytest.mark.parametrize("each", VICTIMS, ids=lambda each: each.name)
def test_without_the_fault_both_are_right(each):
    reading = asyncio.run(_read(each, faulty=False))
    assert reading.naive == reading.truth
    assert reading.careful == reading.truth
