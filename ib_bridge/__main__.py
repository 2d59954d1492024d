"""`python -m ib_bridge`: start the bridge; SIGTERM or Ctrl-C stops it, giving back what it was working on."""

from nautilus.log import logger
from nautilus.process import running
from nautilus.settings.base import load
from nautilus.settings.bridge import BridgeSettings


async def _main(settings: BridgeSettings) -> None:
    stop = running.until_stopped()
    from ib_bridge.bridge import Bridge

    await Bridge(settings, logger("ib_bridge", settings.log_level)).run(stop)


def main() -> int:
    return running.run("the bridge", _main(load(BridgeSettings)))


if __name__ == "__main__":
    running.leave(main())
