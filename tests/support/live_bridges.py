"""A bridge beside a simulator whose clock moves in steps, which reads that clock when it is told to.

As a process it can be killed; in a thread a test can break it. `python -m tests.support.live_bridges <port>` is the process:
each line that comes on the port is answered with a `Reading`.
"""

import asyncio
import json
import signal
import socket
import sys
import threading
from typing import Any, NamedTuple

from pydantic import SecretStr

from dev.process import free_port
from ib_bridge.bridge import Bridge
from ib_bridge.live.streams import StreamState
from nautilus.log import logger
from nautilus.settings.base import load
from nautilus.settings.bridge import BridgeSettings
from tests.support.live_stack import LiveStack

_SETTINGS = {"ib_heartbeat_s": 1.0, "ib_timeout_s": 2.0, "request_timeout_s": 20.0}
_NAME = "bridge-1"


class Reading(NamedTuple):
    """What a bridge says when it has read the clock: its market time, and whether a stream is about to be requested."""

    now_ns: int
    requesting: bool


async def reading(bridge: Bridge) -> Reading:
    """Let a bridge read the simulator's clock, and look at what is due."""
    await bridge._connection._read_control()
    bridge._confirming.wake()
    now = bridge._clock.now_ns()
    streams = bridge._live.ledger.streams.values()
    return Reading(now, any(one.state is StreamState.WANTED and one.not_before <= now for one in streams))


class BridgeThread:
    """A bridge with an event loop of its own in this process."""

    def __init__(self, live: LiveStack, **settings: Any) -> None:
        stack = live.stack
        self.settings = BridgeSettings(
            database_url=SecretStr(stack.dsn),
            ib_port=stack.sim.port,
            control_port=stack.sim.ready["control_port"],
            redis_url=SecretStr(live.redis_url),
            **{**_SETTINGS, **settings},
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the bridge starts"
        live.wait(lambda: self.bridge._source.ready, "the bridge is ready")

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.bridge = Bridge(self.settings, logger("live-week", "CRITICAL"))
        self._ready.set()
        await self.bridge.run(self._stop)

    def read_clock(self) -> Reading | None:
        return asyncio.run_coroutine_threadsafe(reading(self.bridge), self.loop).result(30)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()


class BridgeProcess:
    """A bridge as a process."""

    def __init__(self, live: LiveStack, **settings: Any) -> None:
        self._live = live
        self._settings = {"redis_url": live.redis_url, **{n: str(v) for n, v in {**_SETTINGS, **settings}.items()}}
        self.start()

    def start(self) -> None:
        port = free_port()
        command = ("-m", "tests.support.live_bridges", str(port))
        self._live.stack.start_bridge(_NAME, command=command, **self._settings)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            self._line = connection.makefile("rw")

    def read_clock(self) -> Reading | None:
        """None: there is no bridge."""
        if not self._running:
            return None
        self._line.write("read\n")
        self._line.flush()
        return Reading(**json.loads(self._line.readline()))

    @property
    def _running(self) -> bool:
        return _NAME in self._live.stack.bridges

    def kill(self) -> None:
        """SIGKILL."""
        self._line.close()
        self._live.stack.kill_bridge(_NAME)

    def stop(self) -> None:
        if self._running:
            self._line.close()
            self._live.stack.stop_bridge(_NAME)


async def _serve(settings: BridgeSettings, port: int) -> None:
    bridge = Bridge(settings, logger("ib_bridge", settings.log_level))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(json.dumps((await reading(bridge))._asdict()).encode() + b"\n")
            await writer.drain()
        writer.close()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        await bridge.run(stop)


if __name__ == "__main__":
    asyncio.run(_serve(load(BridgeSettings), int(sys.argv[1])))
