"""When a strategy's process counts as stuck: when it is silent by itself, and not while it begins, or nobody listens to it."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator

import pytest

from nautilus.strategies.pipe import FROM_RUNNER, line
from strategy_host.child import Child, Limits, Stuck

PIPE_OPEN = """
import sys
for text in sys.argv[1:]:
    sys.stdin.readline()
    print(text, flush=True)
sys.stdin.read()
"""
"""Writes its arguments, each after a line that it is sent, and then nothing."""
BEAT = line(FROM_RUNNER, "heartbeat", last_bar_ns=None, rss_kb=1).decode().strip()
READY = line(FROM_RUNNER, "ready", engine="engine", code_hash="hash", fence=[]).decode().strip()
STUCK_S = 0.2


class Watched:
    """A process, what it wrote, and whether it counts as stuck."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.seen: list[str] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.watching = asyncio.create_task(child.watch())
        self.listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for message in self.child.messages():
            self.seen.append(message["type"])
            await self.may_read.wait()

    async def next(self) -> None:
        """Let it write what it writes next."""
        count = len(self.seen)
        await self.child.send("pause")
        while len(self.seen) == count:
            await asyncio.sleep(0.01)

    async def stuck(self) -> str:
        with pytest.raises(Stuck) as stuck:
            await asyncio.wait_for(self.watching, 30)
        return str(stuck.value)

    async def alive_for(self, seconds: float) -> bool:
        """Whether it does not count as stuck for so long."""
        done, _ = await asyncio.wait({self.watching}, timeout=seconds)
        return not done


@contextlib.asynccontextmanager
async def watched(*texts: str, begin_s: float = 60.0, stuck_s: float = STUCK_S) -> AsyncIterator[Watched]:
    child = await Child.start([sys.executable, "-c", PIPE_OPEN, *texts], Limits(0, 1_024, stuck_s, begin_s))
    made = Watched(child)
    try:
        yield made
    finally:
        made.watching.cancel()
        made.listening.cancel()
        await child.kill()


def test_a_process_that_begins_slowly_is_not_stuck():
    async def play() -> None:
        async with watched(BEAT) as one:
            assert await one.alive_for(5 * STUCK_S)
            await one.next()
            assert await one.stuck() == "importing and preparing the strategy took more than 0.2 s"

    asyncio.run(play())


def test_a_process_that_never_begins_is_ended():
    async def play() -> None:
        async with watched(begin_s=2 * STUCK_S) as one:
            assert await one.stuck() == "the strategy's process wrote nothing after its start for more than 0.4 s"

    asyncio.run(play())


def test_a_strategy_that_is_silent_after_it_was_ready_works_on_one_bar():
    async def play() -> None:
        async with watched(READY) as one:
            await one.next()
            assert await one.stuck() == "the strategy worked on one bar for more than 0.2 s"

    asyncio.run(play())


def test_what_it_writes_while_nobody_reads_is_no_silence():
    """So it is while the database is away, and what it wrote before cannot be stored."""

    async def play() -> None:
        async with watched(READY, BEAT) as one:
            one.may_read.clear()
            await one.next()
            await one.child.send("pause")
            assert await one.alive_for(5 * STUCK_S)
            one.may_read.set()
            await one.stuck()
            assert one.seen == ["ready", "heartbeat"]

    asyncio.run(play())


def test_a_host_that_was_held_up_itself_calls_nobody_silent():
    async def play() -> None:
        async with watched(READY, BEAT, stuck_s=2.0) as one:
            await one.next()
            time.sleep(2.1)  # noqa: ASYNC251  the loop stands still, as on a computer that is suspended
            await one.next()
            assert not one.watching.done()

    asyncio.run(play())
