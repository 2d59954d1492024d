"""Every fault finds the client wrong that ignores it, and nobody is found wrong without it."""

import asyncio
from pathlib import Path

import pytest

from ib_gateway_sim.control.table import COMMANDS
from tests.integration.ib_gateway_sim.victims import ELSEWHERE, NO_FAULT, VICTIMS, Victim
from tests.support.sim_client import RawClient, gateway

ROOT = Path(__file__).parents[3]


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


def test_every_command_has_a_victim_or_a_reason():
    joined = {command for each in VICTIMS for command in each.commands}
    known = joined | set(ELSEWHERE) | set(NO_FAULT)
    assert set(COMMANDS) - known == set(), "give each a case in victims.py, or name the file of its victim in ELSEWHERE"
    assert known - set(COMMANDS) == set(), "there is no such command"
    assert not joined & set(NO_FAULT)
    assert not set(ELSEWHERE) & set(NO_FAULT)


@pytest.mark.parametrize(("command", "file"), ELSEWHERE.items())
def test_a_victim_elsewhere_is_there(command, file):
    assert f"{command} " in (ROOT / file).read_text() or f'"{command}' in (ROOT / file).read_text()
