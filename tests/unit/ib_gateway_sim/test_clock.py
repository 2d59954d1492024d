"""The virtual clock: who sleeps wakes at its own time, in order."""

import asyncio

import pytest

from ib_gateway_sim.clock import SECOND_NS, Clock

START_NS = 1_772_463_600 * SECOND_NS


def run(work):
    return asyncio.run(work)


def test_a_stepped_clock_stands_until_it_is_moved_and_shows_each_sleeper_its_time():
    async def work():
        clock = Clock("stepped", start_ns=START_NS)
        seen = []

        async def sleeper(name, seconds):
            await clock.sleep(seconds)
            seen.append((name, clock.now_ns() - START_NS))

        tasks = [asyncio.ensure_future(sleeper(*each)) for each in (("late", 30), ("soon", 1), ("never", 1000))]
        await asyncio.sleep(0.01)
        assert clock.now_ns() == START_NS
        await clock.advance(60)
        assert seen == [("soon", 1 * SECOND_NS), ("late", 30 * SECOND_NS)]
        assert clock.now_ns() == START_NS + 60 * SECOND_NS
        tasks[2].cancel()

    run(work())


def test_a_repeated_sleep_wakes_at_every_step_of_an_advance():
    async def work():
        clock = Clock("stepped", start_ns=START_NS)
        ticks = []

        async def ticker():
            while True:
                await clock.sleep(1)
                ticks.append((clock.now_ns() - START_NS) // SECOND_NS)

        task = asyncio.ensure_future(ticker())
        await asyncio.sleep(0)
        await clock.advance(600)
        task.cancel()
        assert ticks == list(range(1, 601))

    run(work())


def test_a_jump_wakes_the_overdue_once_at_the_new_time():
    async def work():
        clock = Clock("stepped", start_ns=START_NS)
        task = asyncio.ensure_future(clock.sleep(5))
        await asyncio.sleep(0)
        await clock.set(START_NS + 86_400 * SECOND_NS)
        assert task.done()
        assert clock.now_ns() == START_NS + 86_400 * SECOND_NS

    run(work())


def test_a_rate_lets_market_seconds_pass_faster_and_can_be_changed_in_between():
    async def work():
        clock = Clock("rate", rate=1000, start_ns=START_NS)
        await asyncio.wait_for(clock.sleep(20), 1)
        assert clock.now_ns() >= START_NS + 19 * SECOND_NS
        clock.set_rate(0)
        stood = clock.now_ns()
        task = asyncio.ensure_future(clock.sleep(50))
        await asyncio.sleep(0.02)
        assert clock.now_ns() == stood
        assert not task.done()
        clock.set_rate(5000)
        await asyncio.wait_for(task, 1)

    run(work())


@pytest.mark.parametrize(("mode", "rate"), [("fast", 1), ("rate", 0), ("rate", -1)])
def test_an_impossible_clock_is_refused(mode, rate):
    with pytest.raises(ValueError, match="allowed"):
        Clock(mode, rate=rate)


@pytest.mark.parametrize(("jump_s", "woken"), [(0.4, False), (0.6, True), (60, True), (-60, False)])
def test_a_jump_over_a_step_wakes_who_sleeps_in_steps(jump_s, woken):
    async def work():
        clock = Clock("stepped", start_ns=START_NS)
        task = asyncio.ensure_future(clock.sleep_until(START_NS + 100 * SECOND_NS, step_ns=SECOND_NS))
        await asyncio.sleep(0)
        await clock.advance(10.5)
        assert not task.done()
        await clock.set(clock.now_ns() + int(jump_s * SECOND_NS))
        assert task.done() == woken
        task.cancel()

    run(work())


def test_who_sleeps_in_steps_can_be_told_to_sleep_to_the_next_alone():
    async def work():
        clock = Clock("stepped", start_ns=START_NS)
        woken = []

        async def sleeper():
            await clock.sleep_until(START_NS + 100 * SECOND_NS, step_ns=SECOND_NS)
            woken.append(clock.now_ns() - START_NS)

        task = asyncio.ensure_future(sleeper())
        await asyncio.sleep(0)
        await clock.advance(10)
        clock.hasten()
        await clock.advance(200)
        assert woken == [11 * SECOND_NS]
        await task

    run(work())


def test_work_that_was_begun_just_before_an_advance_sleeps_in_it():
    async def work():
        clock = Clock("stepped", start_ns=START_NS)
        task = asyncio.ensure_future(clock.sleep(5))
        await clock.advance(10)
        assert task.done()

    run(work())
