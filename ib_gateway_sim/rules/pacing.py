"""How many requests a login, and how many messages a client, may send.

Sources: IB's page "Pacing Limitations" (interactivebrokers.github.io/tws-api and the IBKR Campus), read in 2026.
"""

from collections import deque
from dataclasses import dataclass, field

OPEN_HISTORY_REQUESTS = 50


@dataclass
class PacingBook:
    """IB's count of requests for bars of 30 seconds and less, head timestamps and ticks, over all clients of a login.

    Violations: the same request within 15 s; six for one contract, exchange and kind within 2 s; more than 60 in ten
    minutes. BID_ASK counts twice. A refused request is not counted: IB does not say whether it is.
    """

    window_s: float = 600.0
    limit: int = 60
    burst_s: float = 2.0
    burst: int = 6
    identical_s: float = 15.0
    _booked: deque[tuple[float, int, str, str]] = field(default_factory=deque)  # (time, weight, series, whole request)

    def ask(self, now_s: float, series: str, whole: str, weight: int = 1) -> bool:
        """Books the request and answers True, or False where it breaks a rule."""
        while self._booked and self._booked[-1][0] > now_s:  # of before the clock was set back
            self._booked.pop()
        while self._booked and self._booked[0][0] <= now_s - self.window_s:
            self._booked.popleft()
        if sum(entry[1] for entry in self._booked) + weight > self.limit:
            return False
        recent = [entry for entry in self._booked if entry[0] > now_s - self.identical_s]
        if any(entry[3] == whole for entry in recent):
            return False
        burst = sum(entry[1] for entry in recent if entry[2] == series and entry[0] > now_s - self.burst_s)
        if burst + weight >= self.burst:
            return False
        self._booked.append((now_s, weight, series, whole))
        return True

    def count(self, now_s: float) -> int:
        return sum(entry[1] for entry in self._booked if entry[0] > now_s - self.window_s)


@dataclass
class MessageRate:
    """Messages of one client: lines / 2 a second. What is above waits, or is rejected and the third time ends all."""

    per_second: int = 50
    _times: deque[float] = field(default_factory=deque)
    violations: int = 0

    def wait_s(self, now_s: float) -> float:
        """Books a message; the seconds until its turn, at most one."""
        self._forget_future(now_s)
        at = now_s
        if len(self._times) >= self.per_second:
            at = max(now_s, self._times[-self.per_second] + 1.0)
        self._times.append(at)
        while len(self._times) > self.per_second:
            self._times.popleft()
        return at - now_s

    def allowed(self, now_s: float) -> bool:
        """Books a message; False (and one violation more) where it is one too many within a second."""
        self._forget_future(now_s)
        if len(self._times) >= self.per_second and self._times[-self.per_second] > now_s - 1.0:
            self.violations += 1
            return False
        self._times.append(now_s)
        while len(self._times) > self.per_second:
            self._times.popleft()
        return True

    def _forget_future(self, now_s: float) -> None:
        """What is booked for later than a turn can be is of before the clock was set back."""
        while self._times and self._times[-1] > now_s + 1.0:
            self._times.pop()


RATE_STRIKES = 3
