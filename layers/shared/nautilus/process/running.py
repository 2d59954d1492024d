"""How a process of the bridge begins and ends: its event loop, its signals, its exit status."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine

from nautilus.errors import NautilusError

_LEAVE_S = 1.0
"""How long the interpreter waits for threads once all is written and given back."""


def until_stopped() -> asyncio.Event:
    """What SIGTERM and Ctrl-C set. Called in the running loop, before ib_insync is imported: it looks for its loop through the
    policy, and must find this one."""
    loop = asyncio.get_running_loop()
    asyncio.set_event_loop(loop)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def run(name: str, process: Coroutine[None, None, None]) -> int:
    """Run until it ends; the exit status: 1, with a line that says why, when it could not go on."""
    try:
        asyncio.run(process)
    except (NautilusError, RuntimeError, ValueError) as wrong:
        print(f"{name} stopped: {wrong}", file=sys.stderr)
        return 1
    return 0


def leave(code: int) -> None:
    """End, although a neighbour that hangs may hold a thread, which the interpreter would wait for."""
    insists = threading.Timer(_LEAVE_S, os._exit, [code])
    insists.daemon = True
    insists.start()
    sys.exit(code)
