"""How a run of a strategy stands, what its owner may want of it, and one table of how it comes from one state to the next.

queued -> starting -> running -> completed | failed              a back-test
queued -> starting -> warming_up -> running <-> paused -> stopped   paper and live; `pausing` and `stopping` in between
any state that is not over -> error                               it cannot go on
any state with a child -> queued                                  its child or its host is lost: it starts again
"""

from collections.abc import Mapping
from enum import StrEnum


class RunState(StrEnum):
    """How a run stands. Only the host changes it."""

    QUEUED = "queued"
    """It waits for a host, or for its next start."""
    STARTING = "starting"
    WARMING_UP = "warming_up"
    """It reads bars from before its start; nothing is decided on them."""
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    """It is given bars, may reduce its position, and enters nothing."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """Its owner ended it."""
    COMPLETED = "completed"
    """A back-test worked through all its bars."""
    FAILED = "failed"
    """It ran and shows nothing: all its orders were denied or rejected, or it has no bars."""
    ERROR = "error"
    """It could not go on: a fault in its code, or its child was lost too often."""
    CANCELLED = "cancelled"
    """A back-test that its owner ended."""


class Wanted(StrEnum):
    """What a run's owner wants of it."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """Its orders are cancelled, its position stays."""
    FLAT = "flat"
    """Its orders are cancelled, its position is closed, then it is stopped."""


class Mode(StrEnum):
    BACKTEST = "backtest"
    PAPER = "paper"
    LIVE = "live"


_R = RunState
_ENDS = (_R.STOPPED, _R.COMPLETED, _R.FAILED, _R.ERROR, _R.CANCELLED)
MOVES: Mapping[RunState, tuple[RunState, ...]] = {
    _R.QUEUED: (_R.STARTING, _R.STOPPING, *_ENDS),
    _R.STARTING: (_R.WARMING_UP, _R.RUNNING, _R.QUEUED, _R.STOPPING, *_ENDS),
    _R.WARMING_UP: (_R.RUNNING, _R.PAUSING, _R.QUEUED, _R.STOPPING, _R.STOPPED, _R.FAILED, _R.ERROR),
    _R.RUNNING: (_R.PAUSING, _R.QUEUED, _R.STOPPING, *_ENDS),
    _R.PAUSING: (_R.PAUSED, _R.RUNNING, _R.QUEUED, _R.STOPPING, _R.STOPPED, _R.ERROR),
    _R.PAUSED: (_R.RUNNING, _R.QUEUED, _R.STOPPING, _R.STOPPED, _R.ERROR),
    _R.STOPPING: (_R.STOPPED, _R.CANCELLED, _R.ERROR),
    _R.STOPPED: (),
    _R.COMPLETED: (),
    _R.FAILED: (),
    _R.ERROR: (),
    _R.CANCELLED: (),
}
OVER: tuple[str, ...] = tuple(state.value for state, moves in MOVES.items() if not moves)
"""The states in which a run is over."""
OPEN: tuple[str, ...] = tuple(state.value for state, moves in MOVES.items() if moves)

_W = Wanted
WANTED_MOVES: Mapping[Wanted, tuple[Wanted, ...]] = {
    _W.RUNNING: (_W.PAUSED, _W.STOPPED, _W.FLAT),
    _W.PAUSED: (_W.RUNNING, _W.STOPPED, _W.FLAT),
    _W.STOPPED: (_W.FLAT,),
    _W.FLAT: (),
}


class ImpossibleMove(RuntimeError):
    """A move that the table does not have: a bug, never a caller's mistake."""


def check(old: RunState, new: RunState) -> None:
    if new not in MOVES[old]:
        raise ImpossibleMove(f"a run cannot go from {old} to {new}")


def may_want(mode: Mode, state: RunState, old: Wanted, new: Wanted) -> bool:
    """True when a run in this state may be wanted otherwise. The same again is always right while it is not over.

    A back-test can be cancelled (`stopped`), and nothing else.
    """
    if state.value in OVER:
        return False
    if mode is Mode.BACKTEST and new in (Wanted.PAUSED, Wanted.FLAT):
        return False
    return new is old or new in WANTED_MOVES[old]


def before(new: RunState) -> list[str]:
    """The states from which a run may come to `new`: for a WHERE clause."""
    return [old.value for old, moves in MOVES.items() if new in moves]
