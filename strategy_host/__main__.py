"""`python -m strategy_host`: run strategies; SIGTERM or Ctrl-C stops it, giving back what it was working on."""

from nautilus.log import logger
from nautilus.process import running
from nautilus.settings.base import load
from nautilus.settings.strategies import StrategySettings
from strategy_host import fence


async def _main(settings: StrategySettings) -> None:
    stop = running.until_stopped()
    from strategy_host.host import Host

    await Host(settings, logger("strategy_host", settings.log_level)).run(stop)


def main() -> int:
    fence.close()
    return running.run("the strategy host", _main(load(StrategySettings)))


if __name__ == "__main__":
    running.leave(main())
