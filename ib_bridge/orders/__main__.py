"""`python -m ib_bridge.orders`: start the order process; SIGTERM or Ctrl-C stops it, SIGUSR1 halts all sending at once."""

import asyncio
import signal

from nautilus.log import logger
from nautilus.process import running
from nautilus.settings.base import load
from nautilus.settings.orders import OrderSettings


async def _main(settings: OrderSettings) -> None:
    stop = running.until_stopped()
    from ib_bridge.orders.process import OrderProcess

    process = OrderProcess(settings, logger("orders", settings.log_level))
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, process.halt)
    await process.run(stop)


def main() -> int:
    return running.run("the order process", _main(load(OrderSettings)))


if __name__ == "__main__":
    running.leave(main())
