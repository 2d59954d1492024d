"""How often somebody may try to sign in: rules with numbers, no I/O.

Three counters, each of failed attempts: by name and address together, by address, by name. The first two refuse for a
while, longer each time. The third only makes everybody wait briefly: whoever could make it refuse could lock the
rightful user out. Counters are by the name that was typed, whether somebody has it or not, so that they tell nothing.
"""

import hashlib
import ipaddress
from typing import NamedTuple

HALF_LIFE_S = 3_600
"""A counter is halved for each hour without a failure."""
LONGEST_S = 900


class Limit(NamedTuple):
    """`free` failures cost nothing, then `first_s` seconds, doubled with each further one up to `longest_s`."""

    free: int
    first_s: float
    longest_s: float

    def delay_s(self, failures: int) -> float:
        over = failures - self.free
        return 0.0 if over < 0 else min(self.longest_s, self.first_s * 2.0 ** min(over, 32))


PAIR = Limit(5, 2.0, LONGEST_S)
ADDRESS = Limit(30, 2.0, LONGEST_S)
NAME = Limit(10, 0.25, 1.0)
"""Short: in Lambda somebody who waits keeps a whole instance of the function."""


class Counter(NamedTuple):
    """failures, and for how long there was none."""

    failures: int = 0
    idle_s: float = 0.0

    @property
    def now(self) -> int:
        return self.failures >> min(int(max(self.idle_s, 0.0) // HALF_LIFE_S), 31)

    def wait_s(self, limit: Limit) -> float:
        """Seconds until the next attempt is allowed; 0 when it is."""
        return max(0.0, limit.delay_s(self.now) - max(self.idle_s, 0.0))


class Subjects(NamedTuple):
    """Under which names an attempt is counted."""

    pair: str
    address: str
    name: str

    @classmethod
    def of(cls, name: str, address: str) -> "Subjects":
        """name: as typed. It is stored as a hash: people type passwords where the name should be."""
        hashed = hashlib.sha256(name.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()[:32]
        net = network(address)
        return cls(f"pair:{hashed}:{net}", f"address:{net}", f"name:{hashed}")


def network(address: str) -> str:
    """The address, or of IPv6 its /64: one household has that many."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False).network_address) + "/64"
    return str(found)
