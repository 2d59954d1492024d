"""The host's half of the fence around strategies: nobody of the same user reads its memory or its environment, which hold the
way to the database. The other half closes each child in (strategy_runner)."""

import ctypes

NAMES: tuple[str, ...] = ("privileges", "files", "network")
"""What a child may find that it holds."""
_SET_DUMPABLE = 4


def close() -> None:
    """Make /proc/<pid>/environ and /proc/<pid>/mem of this process root's alone, and refuse ptrace. Linux only."""
    system = ctypes.CDLL(None, use_errno=True)
    if hasattr(system, "prctl"):
        system.prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def is_whole(holds: list[str]) -> bool:
    """Whether a child that holds these is fenced in."""
    return set(NAMES) <= set(holds)
