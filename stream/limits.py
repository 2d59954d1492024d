"""How much a socket and its caller may take. Plain state; times are handed in, in seconds of a clock that never goes back."""

from collections import Counter, deque

from nautilus.errors import InvalidInput, RateLimited

OFFENCES = 3
"""So many errors of form or excess within `OFFENCE_PERIOD_S` close a socket."""
OFFENCE_PERIOD_S = 60.0


class TooMany(InvalidInput):
    """More than a limit allows; the error names it."""

    code = "limit-exceeded"


class Bucket:
    """Messages of one socket: `per_s` on average, `burst` at once."""

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Count one message; False when it is too many."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Offences:
    """What a socket did wrong lately."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now_s: float) -> bool:
        """Count one; True when it is one too many."""
        self._times.append(now_s)
        while self._times[0] <= now_s - OFFENCE_PERIOD_S:
            self._times.popleft()
        return len(self._times) >= OFFENCES


class CallerShares:
    """Sockets and quote channels of each caller of one process."""

    def __init__(self, sockets: int, quotes: int) -> None:
        self._most_sockets = sockets
        self._most_quotes = quotes
        self._sockets: Counter[str] = Counter()
        self._quotes: Counter[str] = Counter()

    def open(self, caller: str) -> None:
        """Count a socket. RateLimited when it is one too many."""
        if self._sockets[caller] >= self._most_sockets:
            raise RateLimited(
                f"{self._most_sockets} sockets of this caller are open, the most there may be"
                " (NAUTILUS_STREAM_SOCKETS_PER_CALLER); close one",
                code="too-many-sockets",
            )
        self._sockets[caller] += 1

    def close(self, caller: str) -> None:
        self._sockets -= Counter({caller: 1})

    def hand_over(self, before: str, after: str, quotes: int) -> None:
        """Count a socket and its quotes for another caller. RateLimited, TooMany: that one has too many; then nothing changes."""
        if before == after:
            return
        self.open(after)
        try:
            self.take_quotes(after, quotes)
        except TooMany:
            self.close(after)
            raise
        self.close(before)
        self.give_quotes(before, quotes)

    def take_quotes(self, caller: str, number: int) -> None:
        """Count channels of quotes. TooMany when there would be too many; then none is counted."""
        if number and self._quotes[caller] + number > self._most_quotes:
            raise TooMany.field(
                "channels",
                f"{self._quotes[caller] + number} channels of quotes and trades are more than a caller may have over all sockets",
                (f"at most {self._most_quotes} (NAUTILUS_STREAM_QUOTES_PER_CALLER)",),
            )
        self._quotes[caller] += number

    def give_quotes(self, caller: str, number: int) -> None:
        self._quotes -= Counter({caller: number})
