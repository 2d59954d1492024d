"""The threads of sign-in: many sign-ins at once take no others, and at most half of the database's connections."""

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from nautilus.auth.accounts.attempts import Attempt, Attempts
from nautilus.auth.passwords import AT_ONCE, BUSY, Passwords
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor

P = ParamSpec("P")
T = TypeVar("T")


class SignInThreads:
    """Runs the work of sign-in. passwords: gives those of the process, which take time to make; connections: how many the
    process has to the database."""

    def __init__(self, passwords: Callable[[], Passwords], connections: int) -> None:
        self._passwords = passwords
        self._threads = Executor("sign-in", max(AT_ONCE + 1, connections // 2))

    async def run(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        return await self._threads.run(work, *args, **more)

    async def run_in_turn(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The result of work that checks or makes a hash of a password. It gets a thread when its turn has come."""
        async with self._passwords().turn():
            return await self.run(work, *args, **more)

    async def judge(
        self,
        attempts: Attempts,
        attempt: Attempt,
        work: Callable[Concatenate[Attempt, P], T],
        *args: P.args,
        **more: P.kwargs,
    ) -> T:
        """The outcome of an attempt with a password. One whose turn never came is not counted."""
        await asyncio.sleep(attempt.pause_s)
        try:
            return await self.run_in_turn(work, attempt, *args, **more)
        except Unavailable as busy:
            if busy.code == BUSY:
                await self.run(attempts.give_back, attempt)
            raise
