"""Threads of their own for calls: what was begun on somebody's behalf is ended, too, when that somebody has gone."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nautilus.infra.executors import Executor


def test_a_block_whose_caller_goes_while_it_is_entered_is_left() -> None:
    entering, enter, left = threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def place() -> Iterator[None]:
        entering.set()
        assert enter.wait(20)
        try:
            yield
        finally:
            left.set()

    async def work() -> None:
        threads = Executor("test", 1)
        kept = place()  # which nobody leaves by forgetting it

        async def hold() -> None:
            async with threads.within(kept):
                raise AssertionError("the caller has gone")

        holding = asyncio.create_task(hold())
        await asyncio.to_thread(entering.wait, 20)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        enter.set()
        assert await asyncio.to_thread(left.wait, 10), kept
        threads.close()

    asyncio.run(work())
