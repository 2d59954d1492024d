"""Passwords: Argon2id. Only functions/auth and the commands that make users import this.

Measured by benchmarks/auth.py on a virtual machine with two cores (AMD EPYC): 79 to 89 ms of the processor's time for
one check, within the 50 to 100 ms aimed at, and above the least that OWASP's cheat sheet names (19 MiB with 2 passes).
One lane, as a Lambda function of 1 GB has less than one processor. Stored hashes carry their parameters, so a change of
them here takes effect for each user at the next sign-in.
"""

import base64
import os
import threading

from nautilus.auth import MAX_PASSWORD
from nautilus.errors import Unavailable

PASSES = 3
MEMORY_KIB = 32 * 1024
LANES = 1
AT_ONCE = 2
"""Checks that run side by side: they bound memory (64 MiB) and leave the processor to the other requests."""
_WAIT_S = 5.0


class Passwords:
    """Makes and checks hashes, a bounded number at once."""

    def __init__(self, *, passes: int = PASSES, memory_kib: int = MEMORY_KIB) -> None:
        # Imported here: the sign-in function answers much, and much in its first second, that needs no password.
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        self._wrong = (Argon2Error, InvalidHashError)
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        # The form of a hash, but of no password: checking against it costs the same and never succeeds.
        salt, digest = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
        self._nobodys = f"$argon2id$v=19$m={memory_kib},t={passes},p={LANES}${salt}${digest}"

    def hash(self, password: str) -> str:
        with self._slots:
            return str(self._hasher.hash(password))

    def fits(self, password: str, stored: str | None) -> bool:
        """True when the password is the one stored. Without one (unknown user) the same work is done, so that time
        tells nothing. Unavailable when too many others are being checked."""
        if len(password) > MAX_PASSWORD:
            return False
        if not self._slots.acquire(timeout=_WAIT_S):
            raise Unavailable("too many people are signing in at this moment", code="sign-in-busy", retry_after_s=2)
        try:
            return self._hasher.verify(stored or self._nobodys, password) and stored is not None
        except self._wrong:
            return False
        finally:
            self._slots.release()

    def outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)
