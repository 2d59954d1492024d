"""What IB's errors mean for a stream: whether it goes on, ends, waits or is refused. Plain values in, plain values out.

What each code means stands in `ib_bridge/ib/codes.py`; this module says what follows for the stream that was requested.
"""

from enum import StrEnum
from typing import NamedTuple

from ib_bridge.ib.codes import Reaction, meaning
from nautilus.live.subscriptions import Source

_REFUSED_S = 3_600.0
"""Permissions and contracts seldom change within a day."""
_WAIT_S = 60.0
_EMPTY_S = 300.0
_SOON_S = 10.0
_MOST_TRIES = 5
_COMPETING = "competing_session"


class Effect(StrEnum):
    """What an error does to a stream."""

    NONE = "none"
    """A notice: data flow on."""
    LOST = "lost"
    """It ended; it is to be requested again."""
    BUST = "bust"
    """The same; IB takes no new request before the old one is cancelled."""
    BLOCKED = "blocked"
    """It cannot be had this way for a while."""
    COMPETING = "competing"
    """Somebody else uses the login: no stream can be had."""


class Verdict(NamedTuple):
    """What follows. seconds: market time for which the way is blocked, or before which it is not requested again. everywhere: it
    holds for all ways of the stream. no_line: IB has no market data line."""

    effect: Effect
    reason: str = ""
    seconds: float = 0.0
    refused: bool = False
    everywhere: bool = False
    no_line: bool = False


def verdict(source: Source, code: int, text: str, attempts: int) -> Verdict:
    """What an error about a stream's request means. attempts: requests since the stream last spoke."""
    found = meaning(code, text)
    match found.reaction:
        case Reaction.INFO:
            return Verdict(Effect.NONE)
        case Reaction.RESUBSCRIBE:
            return Verdict(Effect.BUST if code == 10225 else Effect.LOST, found.reason)
        case Reaction.PERMANENT:
            permission = "permission" in found.reason or "subscription" in found.reason
            reason = "no_permission" if permission else found.reason
            everywhere = found.reason not in ("kind_not_offered", "what_to_show", "invalid_request")
            return Verdict(Effect.BLOCKED, reason, _REFUSED_S, refused=True, everywhere=everywhere)
        case Reaction.EMPTY:
            return Verdict(Effect.BLOCKED, "no_data", _EMPTY_S)
        case Reaction.WAIT if found.reason == _COMPETING:
            return Verdict(Effect.COMPETING, _COMPETING, _WAIT_S)
        case Reaction.WAIT:
            reason = "real_time_query" if source is Source.REAL_TIME_BARS else found.reason
            return Verdict(Effect.BLOCKED, reason, _WAIT_S)
        case Reaction.RETRY:
            return _retry(source, code, found.reason, attempts)
        case _:
            return Verdict(Effect.BLOCKED, found.reason, _WAIT_S, refused=found.reaction is Reaction.ALARM)


def _retry(source: Source, code: int, reason: str, attempts: int) -> Verdict:
    if code == 101:
        return Verdict(Effect.BLOCKED, "no_market_data_line_free", _WAIT_S, no_line=True)
    if code == 322 and source is Source.KEEP_UP_TO_DATE:
        return Verdict(Effect.BLOCKED, "no_history_slot_free", _WAIT_S)
    if code == 10190:
        return Verdict(Effect.BLOCKED, "no_tick_by_tick_stream_free", _WAIT_S)
    if attempts < _MOST_TRIES:
        return Verdict(Effect.LOST, reason, _SOON_S * max(1, attempts))
    return Verdict(Effect.BLOCKED, reason, _EMPTY_S)
