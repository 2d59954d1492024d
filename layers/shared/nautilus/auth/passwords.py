"""Passwords: Argon2id. Only functions/auth and the commands that make users import this.

Measured by benchmarks/auth.py on a virtual machine with two cores (AMD EPYC): 79 to 89 ms of the processor's time for
one check, within the 50 to 100 ms aimed at, and above the least that OWASP's cheat sheet names (19 MiB with 2 passes).
One lane, as a Lambda function of 1 GB has less than one processor. Stored hashes carry their parameters, so a change of
them here takes effect for each user at the next sign-in.
"""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nautilus.auth.principal import MAX_PASSWORD
from nautilus.errors import Unavailable

PASSES = 3
MEMORY_KIB = 32 * 1024
LANES = 1
AT_ONCE = 2
"""Checks that run side by side: they bound memory (64 MiB) and leave the processor to the other requests."""
WAIT_S = 5.0
"""Longest wait for a turn."""
BUSY = "sign-in-busy"


class Passwords:
    """Makes and checks hashes. Each costs much: where many may be needed at once, `turn` bounds how many run.

    wait_s: longest wait for a turn, machine time.
    """

    def __init__(self, *, passes: int = PASSES, memory_kib: int = MEMORY_KIB, wait_s: float = WAIT_S) -> None:
        # Imported here: the sign-in function answers much, and much in its first second, that needs no password.
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        self._wrong = (Argon2Error, InvalidHashError)
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._wait_s = wait_s
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None
        # The form of a hash, but of no password: checking against it costs the same and never succeeds.
        salt, digest = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
        self._nobodys = f"$argon2id$v=19$m={memory_kib},t={passes},p={LANES}${salt}${digest}"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one of `AT_ONCE` turns to check or make hashes. Who waits for one holds no thread.

        Unavailable (`sign-in-busy`) when too many others wait.
        """
        free = self._free_turns()
        try:
            async with asyncio.timeout(self._wait_s):
                await free.acquire()
        except TimeoutError:
            raise Unavailable("too many people are signing in at this moment", code=BUSY, retry_after_s=2) from None
        try:
            yield
        finally:
            free.release()

    def _free_turns(self) -> asyncio.Semaphore:
        # A semaphore belongs to one event loop. A server has one; where another follows, nobody holds a turn any more.
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = (loop, asyncio.Semaphore(AT_ONCE))
        return self._turns[1]

    def hash(self, password: str) -> str:
        return str(self._hasher.hash(password))

    def fits(self, password: str, stored: str | None) -> bool:
        """True when the password is the one stored. Without one (unknown user) the same work is done, so that time
        tells nothing."""
        if len(password) > MAX_PASSWORD:
            return False
        try:
            return self._hasher.verify(stored or self._nobodys, password) and stored is not None
        except self._wrong:
            return False

    def outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)
