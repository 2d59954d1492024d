"""The loop that writes what sockets want ends when it is told to, whatever changes at the same time."""

import asyncio
from typing import Any, cast

import pytest

from stream.wants import Wants


async def keep_for_ever(wants: Wants) -> None:
    while True:
        await wants.keep()


@pytest.mark.parametrize("steps", range(6))
def test_the_loop_ends_when_it_is_cancelled_while_wants_change(steps: int) -> None:
    async def play() -> set[asyncio.Task[Any]]:
        wants = Wants(cast(Any, None))  # without wants nothing is written
        task = asyncio.create_task(keep_for_ever(wants))
        for _ in range(10):
            await asyncio.sleep(0)
        wants._changed.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=1)
        for left in pending:
            left.cancel()
        wants.close()
        return pending

    assert asyncio.run(play()) == set()
