"""When what still waits will be sent: the pacing book played forward by the rules that the bridge sends by.

Times are market time in nanoseconds. The rules and their numbers are those of `nautilus.backfill.pacing`.
"""

import heapq
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nautilus.backfill.pacing import (
    BURST_COUNT,
    BURST_NS,
    IBS_OWN,
    MARGIN_NS,
    MESSAGE_COUNT,
    MESSAGE_NS,
    PERIOD_NS,
    PacingLimits,
    Request,
)

MOST_PLAYED = 1_000
"""So many requests are played one by one; what lies beyond follows at the rate that IB's window allows."""


@dataclass
class Line:
    """Requests of one series that wait, alike but for their ranges.

    count: how many. jobs: those that wait for them, the one they are served for first. priority: higher goes first.
    not_before: none is sent earlier. head: one more request, before all others, for the oldest bar.
    """

    request: Request
    count: int
    jobs: tuple[Hashable, ...]
    priority: int = 5
    not_before: int = 0
    head: Request | None = None


class SendTimes(NamedTuple):
    """When the first and the last request of a job is sent."""

    first: int
    last: int


@dataclass
class _Book:
    """What was sent, as far as the rules look back."""

    limits: PacingLimits
    open_requests: int
    answer_ns: int
    small: deque[tuple[int, int]] = field(default_factory=deque)
    used: int = 0
    contracts: dict[str, deque[int]] = field(default_factory=dict)
    messages: deque[int] = field(default_factory=lambda: deque(maxlen=MESSAGE_COUNT))
    answers: list[int] = field(default_factory=list)
    """When the open requests will have been answered: a heap."""

    def earliest(self, request: Request, now: int, reserve: int) -> int:
        """The earliest time, not before `now`, at which the rules allow a request."""
        at = now
        if len(self.messages) == MESSAGE_COUNT:
            at = max(at, self.messages[0] + MESSAGE_NS + MARGIN_NS)
        alike = self.contracts.get(request.contract, ())
        most = max(1, BURST_COUNT // request.weight)
        if len(alike) >= most:
            at = max(at, alike[-most] + BURST_NS + MARGIN_NS)
        return max(at, self._period_free(request, now, reserve)) if request.small else at

    def _period_free(self, request: Request, now: int, reserve: int) -> int:
        while self.small and self.small[0][0] + PERIOD_NS + MARGIN_NS <= now:
            self.used -= self.small.popleft()[1]
        used, at = self.used, now
        for sent, weight in self.small:
            if used + request.weight <= self.limits.period_weight - (0 if request.interactive else reserve):
                break
            used -= weight
            at = sent + PERIOD_NS + MARGIN_NS
        return at

    def next_free(self, now: int) -> int:
        """When a request fewer than may be open at once is open."""
        while self.answers and self.answers[0] <= now:
            heapq.heappop(self.answers)
        return self.answers[0] if len(self.answers) >= self.open_requests else now

    def send(self, request: Request, at: int, *, waits: bool = True) -> None:
        if request.small:
            self.small.append((at, request.weight))
            self.used += request.weight
        if request.historical:
            self.contracts.setdefault(request.contract, deque(maxlen=BURST_COUNT)).append(at)
        self.messages.append(at)
        if waits:
            heapq.heappush(self.answers, at + self.answer_ns)


def send_times(
    lines: Sequence[Line],
    book: Iterable[Request],
    now: int,
    *,
    limits: PacingLimits = IBS_OWN,
    open_requests: int = 1,
    answer_ns: int = 0,
    quiet_until: int = 0,
) -> dict[Hashable, SendTimes]:
    """Job -> when its first and last request is sent, if nothing else is requested meanwhile.

    lines: all that waits, in the order in which the bridge looks at it. book: requests sent before, as the pacing book
    has them. open_requests, answer_ns: how many may be open at once, and how long one takes. quiet_until: small requests
    rest until then, after a violation.
    """
    played = _Book(limits, max(1, open_requests), answer_ns)
    for sent in sorted(book, key=lambda r: r.at):
        played.send(sent, sent.at, waits=False)
    found: dict[Hashable, SendTimes] = {}
    waiting = [line for line in lines if line.count > 0 or line.head]
    left = {id(line): line.count for line in waiting}
    at = now
    for _ in range(MOST_PLAYED):
        if not waiting:
            return found
        line, at = _next(played, waiting, at, quiet_until)
        request = line.head or line.request
        played.send(request, at)
        _note(found, line, at)
        if line.head:
            # The plan is made when the head has come.
            line.head, line.not_before = None, max(line.not_before, at + answer_ns)
        else:
            left[id(line)] -= 1
        waiting.remove(line)
        if left[id(line)] > 0:
            _queue_again(waiting, line)
    _beyond(found, waiting, left, at=at, limits=limits, open_requests=max(1, open_requests), answer_ns=answer_ns)
    return found


def _next(book: _Book, waiting: Sequence[Line], now: int, quiet_until: int) -> tuple[Line, int]:
    """The line that sends next, and when: the first that may at once, else the one that may first."""
    now = book.next_free(now)
    # A head has the next slot among the small requests before all that is planned.
    planning = any(line.head for line in waiting)
    best, best_at, heaviest = waiting[0], -1, 0
    for line in waiting:
        request = line.head or line.request
        if request.small and not line.head and request.weight < heaviest:
            continue  # as the bridge does: a request that weighs two would never find two free slots
        reserve = book.limits.reserve + (planning and line.head is None)
        at = max(book.earliest(request, now, reserve), line.not_before, quiet_until if request.small else 0)
        if best_at < 0 or at < best_at:
            best, best_at = line, at
        if at <= now:
            break
        heaviest = max(heaviest, request.weight) if request.small else heaviest
    return best, best_at


def _queue_again(waiting: list[Line], line: Line) -> None:
    """Of one priority, whose turn was longest ago is next."""
    position = next((n for n, other in enumerate(waiting) if other.priority < line.priority), len(waiting))
    waiting.insert(position, line)


def _note(found: dict[Hashable, SendTimes], line: Line, at: int) -> None:
    for job in line.jobs:
        first = found[job].first if job in found else at
        found[job] = SendTimes(first, at)


def _beyond(
    found: dict[Hashable, SendTimes],
    waiting: Sequence[Line],
    left: dict[int, int],
    *,
    at: int,
    limits: PacingLimits,
    open_requests: int,
    answer_ns: int,
) -> None:
    """What is not played one by one: line after line at the mean rate."""
    each = PERIOD_NS / max(1, limits.period_weight - limits.reserve)
    for line in waiting:
        pace = max(each * line.request.weight if line.request.small else 0, answer_ns / open_requests)
        at += round(left[id(line)] * pace)
        _note(found, line, at)
