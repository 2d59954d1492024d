"""Ending the tasks of a process."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all of them are over."""
    pending = set(tasks)
    while pending:
        # Python 3.11's wait_for forgets a cancellation that comes together with what it waited for: ask again.
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
