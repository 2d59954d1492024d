"""One connected client: its id, its version, what it has asked for and has not got, and the bytes on the way to it."""

import asyncio
import sys
import traceback
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ib_gateway_sim.rules.limits import MessageRate, Violation
from ib_gateway_sim.wire import codec

if TYPE_CHECKING:
    from ib_gateway_sim.session.server import Gateway

_SLOW_READER_BYTES = 64 << 20  # a client that lets so much pile up is dropped
_OFFICIAL_READ_BYTES = 4096


STREAMS = frozenset(
    {"market data", "live bars", "real-time bars", "tick by tick", "depth"}
)  # families of subscriptions


class Client:
    def __init__(self, gateway: "Gateway", writer: asyncio.StreamWriter) -> None:
        self.gateway = gateway
        self.version = 0
        self.client_id = -1
        self.started = False
        self.muted = False  # a half-open socket: nothing in, nothing out
        self.market_data_type = 1  # 1 live, 2 frozen, 3 delayed, 4 delayed-frozen
        self.rate = MessageRate(gateway.settings.lines // 2)
        self.jobs: dict[tuple[str, int], asyncio.Task[None]] = {}  # (family of requests, request id) -> its work
        self.open_heads: set[int] = set()  # head timestamps hold a slot until they are cancelled
        self.dead_live: dict[int, str] = {}  # requests kept up to date that died with their farm -> their series
        self.account_told: dict[tuple[str, str], str] = {}  # (tag, currency) -> value of account updates
        self.scans: set[int] = set()  # scanner subscriptions
        self._writer = writer
        self._out = bytearray()
        self._flush_due = False
        self.gone = False

    # ---- out -----------------------------------------------------------------------------------------------------
    def send(self, *fields: codec.Value) -> None:
        self.send_bytes(codec.frame(*fields))

    def send_bytes(self, data: bytes) -> None:
        """Queues whole frames; they leave together at the end of this turn of the event loop."""
        if self.muted or self._writer.is_closing():
            return
        self._out += data
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        self._flush_due = False
        if not self._out or self._writer.is_closing():
            return
        if len(self._out) % _OFFICIAL_READ_BYTES == 0:
            # The official Python client reads on until it gets less than 4096 bytes, and loses a burst that ends there.
            self._out += codec.frame(4, 2, -1, 2158, "Sec-def data farm connection is OK:secdefil", *self._json())
        self._writer.write(bytes(self._out))
        self._out.clear()
        if self._writer.transport.get_write_buffer_size() > _SLOW_READER_BYTES:
            self.abort()

    async def drain(self) -> None:
        """Waits while the client is slow to read."""
        self.flush()
        await self._writer.drain()

    def _json(self) -> tuple[str, ...]:
        return ("",) if self.version >= 166 else ()

    def error(self, request_id: int, code: int, text: str) -> None:
        self.gateway.log("error", self, {"reqId": request_id, "code": code, "text": text})
        self.send(4, 2, request_id, code, text, *self._json())

    def refuse(self, request_id: int, violation: Violation) -> None:
        self.error(request_id, violation.code, violation.text)

    # ---- work ----------------------------------------------------------------------------------------------------
    def start(self, family: str, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        """Runs an answer that takes time; `stop` with the same names ends it."""
        key = (family, request_id)
        task = asyncio.get_running_loop().create_task(self._run(request_id, work))
        self.jobs[key] = task

        def finished(done: asyncio.Task[None]) -> None:
            work.close()  # a job that was stopped before its first step
            if self.jobs.get(key) is done:
                del self.jobs[key]

        task.add_done_callback(finished)

    async def _run(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ConnectionError:
            self.abort()
        except Exception:
            self.failed(request_id)

    def failed(self, request_id: int) -> None:
        """A fault of the simulator: tell its user and the client, and go on."""
        traceback.print_exc(file=sys.stderr)
        self.error(request_id, 322, "Error processing request.-'bX' : cause - the simulator failed, see its log")

    def has(self, family: str, request_id: int) -> bool:
        return (family, request_id) in self.jobs

    def count(self, family: str) -> int:
        return sum(name == family for name, _ in self.jobs)

    def stop(self, family: str, request_id: int) -> bool:
        """Ends the work; False where there was none."""
        task = self.jobs.pop((family, request_id), None)
        if task is None:
            return False
        task.cancel()
        return True

    def stop_streams(self) -> None:
        """Subscriptions die without a word, as with 1101."""
        for family, request_id in list(self.jobs):
            if family in STREAMS:
                self.stop(family, request_id)

    def fail_streams(self, code: int, text: str) -> int:
        """Subscriptions die with an error each; how many did."""
        dying = [key for key in self.jobs if key[0] in STREAMS]
        for family, request_id in dying:
            self.stop(family, request_id)
            self.error(request_id, code, text)
        return len(dying)

    # ---- end -----------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Says goodbye after what is queued."""
        self.flush()
        self.end()
        self._writer.close()

    def abort(self) -> None:
        """Drops the socket at once, with what is queued."""
        self.end()
        self._writer.transport.abort()

    def cut(self, data: bytes) -> None:
        """Sends the first half of `data`, then the socket dies."""
        self.flush()
        self._writer.write(data[: max(1, len(data) // 2)])
        self.end()
        self._writer.close()

    def mute(self) -> None:
        """From now on the socket is half-open: nothing in, nothing out."""
        self.muted = True
        self._out.clear()

    def end(self) -> None:
        """Stops all work for this client."""
        self.gone = True
        for task in list(self.jobs.values()):
            task.cancel()
        self.jobs.clear()
