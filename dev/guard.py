"""Ends a group's processes when the process that started them is gone, however it died.

Run as a process of its own (see dev/process.py) in a session of its own, so that neither Ctrl-C nor a signal to the
owner's process group reaches it. Standard input is a pipe whose other end only the owner holds. Lines, ASCII:
`+<pid> <signal>` watch this process, that signal asks it to end; `-<pid>` it has ended. End of file means that the
owner has ended: ask every process that is left, wait at most GRACE_S, then SIGKILL its process group.

PR_SET_PDEATHSIG would need no process, but exists on Linux only, fires when the starting *thread* ends, and cannot
follow up on a child that ignores the signal.
"""

import os
import signal
import sys
import time

GRACE_S = 8.0


def end(signals: dict[int, int]) -> None:
    """Ask, wait, insist. `signals`: pid (also the process group) -> signal that asks it to end."""
    for pid, ask in signals.items():
        _send(os.kill, pid, ask)
    deadline = time.monotonic() + GRACE_S
    while any(_alive(pid) for pid in signals) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in signals:
        _send(os.killpg, pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    return _send(os.kill, pid, 0)


def _send(how, pid, number) -> bool:  # type: ignore[no-untyped-def]
    """False when there is no such process (any more)."""
    try:
        how(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signals: dict[int, int] = {}
    for line in sys.stdin.buffer:
        sign, words = line[:1], line[1:].split()
        if sign == b"+":
            signals[int(words[0])] = int(words[1])
        else:
            signals.pop(int(words[0]), None)
    end(signals)


if __name__ == "__main__":
    main()
