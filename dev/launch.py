"""What a command does about Ctrl-C before it has begun. Imports nothing that takes time, as it is imported first."""

import os
import signal
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
_SENTENCE = b"\nStopped before anything was started.\n"


def end_quietly_on_interrupt() -> None:
    """End this process at once on Ctrl-C, with a sentence and status 130: while modules are imported there is nothing to
    unwind, and the traceback would be of somebody's import. Where SIGINT is ignored it stays so.

    The Makefile starts us with SIGINT blocked, where `env` can do that, as Python itself answers with a traceback while
    it starts: what came until now comes now."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def unwind_on_interrupt() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt, as usual: there may be children to end."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, _SENTENCE)
    os._exit(INTERRUPTED)
