"""The gateway itself: it listens, greets, reads requests and hands each to the handler of its kind."""

import asyncio
import datetime as dt
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ib_gateway_sim import account, history, reference, wire
from ib_gateway_sim.client import Client
from ib_gateway_sim.clock import Clock
from ib_gateway_sim.latency import Latency
from ib_gateway_sim.limits import RATE_EXCEEDED, RATE_STRIKES, PacingBook
from ib_gateway_sim.market import MarketSource
from ib_gateway_sim.weather import Weather

Handler = Callable[[Client, wire.Request], None]
HANDLERS: dict[str, Handler] = {**reference.HANDLERS, **history.HANDLERS, **account.HANDLERS}

MAX_CLIENTS = 32  # what a real gateway allows
_MAX_UNGREETED = 64  # connections that have not said who they are yet
_GREETING_S = 10.0  # machine seconds to do so
_READ_BYTES = 1 << 16
_LOG_ENTRIES = 200_000


@dataclass
class Settings:
    """What can be chosen when the gateway starts; `docs/simulator.md` explains each."""

    lines: int = 100  # market data lines; half of them is the message rate
    reject_rate: bool = False  # error 100 instead of queueing
    steps: str = "current"  # which table of legal steps: current | old
    login_zone: str = "US/Eastern"
    date_zone: str = "instrument"  # text dates from version 174 on: instrument | login | utc
    volume: str = "shares"  # of US stocks from version 175 on: shares | lots
    read_only: bool = False
    max_version: int = wire.VERSION_CEILING
    next_order_id: int = 1


class Gateway:
    def __init__(
        self, market: MarketSource, clock: Clock, latency: Latency | None = None, settings: Settings | None = None
    ) -> None:
        self.market = market
        self.clock = clock
        self.latency = latency or Latency()
        self.settings = settings or Settings()
        self.weather = Weather()
        self.pacing = PacingBook()
        self.clients: dict[int, Client] = {}  # client id -> its connection
        self.received: deque[dict[str, Any]] = deque(maxlen=_LOG_ENTRIES)
        self.random = random.Random(0)  # for choices of the weather only; the market has its own seed
        self.port = 0
        self._ungreeted = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    # ---- life ----------------------------------------------------------------------------------------------------
    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, host, port, limit=_READ_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for client in list(self.clients.values()):
            client.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # ---- time and record -----------------------------------------------------------------------------------------
    async def wait(self, kind: str) -> None:
        """The latency of a request that is no history."""
        seconds = self.latency.of(kind)
        if seconds > 0:
            await self.clock.sleep(seconds)

    def log(self, kind: str, client: Client, fields: dict[str, Any]) -> None:
        self.received.append(
            {"kind": kind, "client_id": client.client_id, "time_ns": self.clock.now_ns(), "fields": fields}
        )

    def broadcast(self, code: int, text: str) -> None:
        """A notice to everybody, with id -1."""
        for client in list(self.clients.values()):
            client.error(-1, code, text)

    # ---- connections ---------------------------------------------------------------------------------------------
    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        if self.weather.accepting == "no" or self._ungreeted >= _MAX_UNGREETED:
            writer.transport.abort()
            return
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(self, writer)
        try:
            payloads = await self._greet(client, reader, writer)
            if payloads is not None:
                await self._serve(client, reader, *payloads)
        except (wire.Refused, ConnectionError, TimeoutError, OSError):
            client.abort()
        except asyncio.CancelledError:
            client.abort()
        finally:
            self._forget(client)
            writer.close()

    async def _greet(
        self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[wire.FrameReader, list[bytes]] | None:
        """Answers the client's first bytes; what came behind them is handed on."""
        if self.weather.accepting == "mute":
            await _swallow(reader)
            return None
        greeting = wire.GreetingReader()
        self._ungreeted += 1
        try:
            async with asyncio.timeout(_GREETING_S):
                while (done := greeting.feed(await _read(reader))) is None:
                    pass
        finally:
            self._ungreeted -= 1
        offer, rest = done
        version = offer.version(self.settings.max_version)
        if version is None or len(self.clients) >= MAX_CLIENTS:
            return None
        client.version = version
        client.send(version, self._connection_time())
        frames = wire.FrameReader()
        return frames, frames.feed(rest)

    def _connection_time(self) -> str:
        now = dt.datetime.fromtimestamp(self.clock.now_s(), dt.UTC).astimezone(reference.zone(self.settings.login_zone))
        return now.strftime("%Y%m%d %H:%M:%S ") + (now.tzname() or "UTC")

    async def _serve(
        self, client: Client, reader: asyncio.StreamReader, frames: wire.FrameReader, payloads: list[bytes]
    ) -> None:
        while True:
            for payload in payloads:
                if not await self._in_time(client):
                    return
                self._receive(client, payload)
                if client.gone:
                    return
            payloads = frames.feed(await _read(reader))

    async def _in_time(self, client: Client) -> bool:
        """Holds a client to the message rate; False ends the session."""
        now_s = self.clock.now_s()
        if not self.settings.reject_rate:
            wait_s = client.rate.wait_s(now_s)
            if wait_s > 0:
                await self.clock.sleep(wait_s)
        elif not client.rate.allowed(now_s):
            client.refuse(-1, RATE_EXCEEDED)
            if client.rate.violations >= RATE_STRIKES:
                client.close()
                return False
        return True

    def _receive(self, client: Client, payload: bytes) -> None:
        if client.muted:
            return
        try:
            request = wire.request(payload, client.version)
        except wire.Malformed as problem:
            self.log("malformed", client, {"reason": problem.reason})
            client.error(problem.request_id, 320, f"Error reading request. {problem.reason}")
            return
        self.log(request.kind, client, request.values)
        if request.kind == "startApi":
            self._start(client, request)
        elif not client.started:
            client.close()
        elif not self.weather.take_silent(request.kind):
            self._handle(client, request)

    def _handle(self, client: Client, request: wire.Request) -> None:
        rejection = self.weather.take_reject(request.kind)
        if rejection is not None:
            client.error(request.request_id, *rejection)
            return
        handler = HANDLERS.get(request.kind)
        if handler is None:
            client.error(request.request_id, 320, f"Error reading request. {request.kind} is not simulated")
            return
        try:
            handler(client, request)
        except Exception:
            client.failed(request.request_id)

    def _start(self, client: Client, request: wire.Request) -> None:
        client_id = request.integer("clientId")
        if client.started:
            client.error(-1, 501, "Already connected.")
            return
        if client_id in self.clients:
            client.error(
                -1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id."
            )
            client.close()
            return
        client.client_id = client_id
        client.started = True
        self.clients[client_id] = client
        client.send(15, 1, self.market.account)
        client.send(9, 1, self.settings.next_order_id)
        for farm in self.weather.farms.values():
            client.error(-1, *farm.notice())
        if not self.weather.upstream:
            client.error(-1, 1100, "Connectivity between IB and Trader Workstation has been lost.")

    def _forget(self, client: Client) -> None:
        client.end()
        if self.clients.get(client.client_id) is client:
            del self.clients[client.client_id]


async def _read(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(_READ_BYTES)
    if not data:
        raise ConnectionResetError("the client has gone")
    return data


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(_READ_BYTES):
        pass


def reset(writer: asyncio.StreamWriter) -> None:
    """Makes the coming close a TCP reset, as a killed process causes."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
