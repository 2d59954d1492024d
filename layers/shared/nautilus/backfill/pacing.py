"""IB's limits on historical requests, as one pure question: when may this request be sent?

The rules (TWS API, "Historical data limitations" and IBKR Campus "Pacing violations", read 2026-11): for bars of 30
seconds or less, head timestamps and ticks, no more than 60 requests in any ten minutes, no six or more for the same
contract, exchange and kind within two seconds, no identical request within 15 seconds; BID_ASK counts twice. For bars of
a minute and more these were lifted for a soft throttle; we keep the burst rule for them. Who breaks the rules gets error
162 and, after a while, a closed connection. Of streams of ticks no second one of an instrument may begin within 15 seconds
(TWS API, "Tick-by-tick data"). All times are market time in nanoseconds.
"""

from collections.abc import Iterable
from typing import NamedTuple

from nautilus.clock import NS_PER_MS, NS_PER_S

PERIOD_NS = 600 * NS_PER_S
PERIOD_WEIGHT = 60
BURST_NS = 2 * NS_PER_S
BURST_COUNT = 5
IDENTICAL_NS = 15 * NS_PER_S
MESSAGE_NS = NS_PER_S
MESSAGE_COUNT = 45
"""IB takes market data lines / 2 messages a second: 50 with the least number of lines; some are left for the session."""
MARGIN_NS = 50 * NS_PER_MS
"""Kept in hand against clocks and queues between us and IB."""


class Request(NamedTuple):
    """A request about to be sent, or one that was (`at`, market ns)."""

    identity: str
    """Everything that makes two requests the same for IB."""
    contract: str
    """Contract, exchange and kind: what the burst rule counts by."""
    small: bool
    """Under the hard rules: bars of 30 s or less, head timestamps, ticks."""
    weight: int = 1
    interactive: bool = False
    """A person waits: may use the reserve."""
    historical: bool = True
    at: int = 0
    tick_by_tick: bool = False
    """A stream of ticks; its identity is that of all streams of ticks of its instrument."""


class PacingLimits(NamedTuple):
    """The part of the rules that a user may tighten."""

    period_weight: int = PERIOD_WEIGHT
    reserve: int = 2
    """Weight of each ten minutes kept for requests that a person waits for."""


IBS_OWN = PacingLimits()


def next_allowed(request: Request, book: Iterable[Request], now: int, limits: PacingLimits = IBS_OWN) -> int:
    """The earliest market time, not before `now`, at which `request` breaks no rule, given all requests ever sent.

    `book` may be in any order and needs to reach back ten minutes only. Weight above the limit raises ValueError.
    """
    sent = sorted((r for r in book if r.at > now - PERIOD_NS - MARGIN_NS), key=lambda r: r.at)
    at = _after(now, [r.at for r in sent], MESSAGE_COUNT, MESSAGE_NS)
    if request.historical:
        alike = [r.at for r in sent if r.historical and r.contract == request.contract]
        # All alike weigh the same. IB counts BID_ASK twice without saying for which rule: taken for this one too.
        at = _after(at, alike, max(1, BURST_COUNT // request.weight), BURST_NS)
    if request.small or request.tick_by_tick:
        same = [r.at for r in sent if r.identity == request.identity]
        if same:
            at = max(at, same[-1] + IDENTICAL_NS + MARGIN_NS)
    if request.small:
        limit = limits.period_weight - (0 if request.interactive else limits.reserve)
        if request.weight > limit:
            raise ValueError(f"a request of weight {request.weight} can never be sent within {limit} per ten minutes")
        at = max(at, _period_free([r for r in sent if r.small], request.weight, limit))
    return at


def _after(now: int, times: list[int], count: int, length: int) -> int:
    """When at most `count - 1` of the sorted `times` lie within the last `length` ns."""
    if len(times) < count:
        return now
    return max(now, times[-count] + length + MARGIN_NS)


def _period_free(sent: list[Request], weight: int, limit: int) -> int:
    """When enough of the sent weight has left the ten minutes."""
    used = sum(r.weight for r in sent)
    at = 0
    for r in sent:
        if used + weight <= limit:
            break
        used -= r.weight
        at = r.at + PERIOD_NS + MARGIN_NS
    return at
