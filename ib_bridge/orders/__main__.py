"""`python -m ib_bridge.orders`: start the order process; SIGTERM or Ctrl-C stops it, SIGUSR1 halts all sending at once."""

import asyncio
import os
import signal
import sys
import threading

from nautilus.errors import NautilusError
from nautilus.log import logger
from nautilus.settings.base import load
from nautilus.settings.orders import OrderSettings

_LEAVE_S = 1.0
"""How long the interpreter waits for threads once all is written."""


async def _main(settings: OrderSettings) -> None:
    loop = asyncio.get_running_loop()
    # ib_insync looks for its loop through the policy; it must find this one, and before it is imported.
    asyncio.set_event_loop(loop)
    from ib_bridge.orders.process import OrderProcess

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    process = OrderProcess(settings, logger("orders", settings.log_level))
    loop.add_signal_handler(signal.SIGUSR1, process.halt)
    await process.run(stop)


def main() -> int:
    settings = load(OrderSettings)
    try:
        asyncio.run(_main(settings))
    except (NautilusError, RuntimeError, ValueError) as wrong:
        print(f"the order process stopped: {wrong}", file=sys.stderr)
        return 1
    return 0


def _leave(code: int) -> None:
    """End, although a neighbour that hangs may hold a thread, which the interpreter would wait for."""
    insists = threading.Timer(_LEAVE_S, os._exit, [code])
    insists.daemon = True
    insists.start()
    sys.exit(code)


if __name__ == "__main__":
    _leave(main())
