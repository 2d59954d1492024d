"""The gateway's port: it accepts connections, holds their conversations, and drops them."""

import asyncio
import datetime as dt
import socket
from collections import deque

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.orders.arrivals import GONE
from ib_gateway_sim.rules.errors import RATE_EXCEEDED
from ib_gateway_sim.rules.pacing import RATE_STRIKES
from ib_gateway_sim.server.dispatch import receive, receive_order
from ib_gateway_sim.session.gateway import Client, Gateway
from ib_gateway_sim.times import zone
from ib_gateway_sim.wire.framing import FrameReader, GreetingReader, Refused

_MAX_STRANGERS = 64  # connections before startApi; one more drops the oldest of them
_STRANGER_S = 30.0  # machine seconds until startApi
_READ_BYTES = 1 << 16
_MOST_WAITING = 10_000  # messages of one client above its rate; then the socket is left to fill


class Server:
    """Serves a gateway at a port."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._address = ("127.0.0.1", 0)
        self._strangers: dict[Client, asyncio.TimerHandle] = {}  # connections that have not signed in, oldest first
        self._connections: dict[asyncio.Task[None], Client] = {}  # every open connection, signed in or not
        self._server: asyncio.Server | None = None

    # ---- the port ------------------------------------------------------------------------------------------------
    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, host, port, limit=_READ_BYTES, backlog=128)
        self.gateway.port = self._server.sockets[0].getsockname()[1]
        self._address = (host, self.gateway.port)

    async def accept(self, how: str) -> None:
        """yes; refuse (port closed); close (accepted, then closed: a proxy before a dead gateway); mute (no word)."""
        self.gateway.faults.accepting = how
        if how == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif how != "refuse" and self._server is None:
            await self.listen(*self._address)

    def connected(self) -> list[Client]:
        """Every open connection, also one that is greeting, in the order of coming."""
        return list(self._connections.values())

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for client in list(self.gateway.clients.values()):
            client.close()
        for task in [*self.gateway.background.values(), *self._connections]:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # ---- one connection ------------------------------------------------------------------------------------------
    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("asyncio runs this function as a task")
        client = self._connections[task] = Client(self.gateway, writer)
        try:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.gateway.faults.accepting == "mute":
                await _swallow(reader)
            elif self.gateway.faults.accepting == "yes":
                self._watch(client)
                await self._converse(client, reader)
        except (Refused, ConnectionError, TimeoutError, OSError):
            client.abort()
        except asyncio.CancelledError:
            client.abort()
        finally:
            self._forget(client)
            writer.close()
            del self._connections[task]

    def _watch(self, client: Client) -> None:
        """A connection that does not come to startApi in time is dropped; of too many, the oldest."""
        if len(self._strangers) >= _MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            oldest.abort()
            self._unwatch(oldest)
        self._strangers[client] = asyncio.get_running_loop().call_later(_STRANGER_S, client.abort)

    def _unwatch(self, client: Client) -> None:
        timer = self._strangers.pop(client, None)
        if timer is not None:
            timer.cancel()

    def _forget(self, client: Client) -> None:
        gateway = self.gateway
        client.end()
        self._unwatch(client)
        if gateway.clients.get(client.client_id) is client:
            del gateway.clients[client.client_id]
            if gateway.faults.hold_ids_s:
                gateway.held_ids[client.client_id] = gateway.clock.now_ns() + int(gateway.faults.hold_ids_s * SECOND_NS)

    # ---- its conversation ----------------------------------------------------------------------------------------
    async def _converse(self, client: Client, reader: asyncio.StreamReader) -> None:
        greeting = GreetingReader()
        while (done := greeting.feed(await _read(reader))) is None:
            pass
        offer, rest = done
        version = offer.version(self.gateway.settings.max_version)
        if version is None or len(self.gateway.clients) >= self.gateway.settings.max_clients:
            return
        client.greet(version, self._connection_time())
        frames = FrameReader()
        waiting = deque(frames.feed(rest))
        try:
            while not client.gone:
                while waiting:
                    wait_s = _turn_s(client)
                    if wait_s > 0:
                        await self._read_on(reader, frames, waiting, wait_s)
                    if client.gone:
                        return
                    if receive(client, waiting.popleft()):
                        self._unwatch(client)
                waiting += frames.feed(await _read(reader))
        finally:
            self._leave_orders(client, waiting)

    def _leave_orders(self, client: Client, waiting: deque[bytes]) -> None:
        """Orders that were read before their client went are worked, each in its turn."""
        kept = waiting and client.started and not client.forgotten and not client.outbox.muted
        if kept and self.gateway.settings.gone_clients == "work":
            self.gateway.spawn(f"{GONE} {next(self.gateway.numbers)}", _work_on(client, waiting))

    async def _read_on(
        self, reader: asyncio.StreamReader, frames: FrameReader, waiting: deque[bytes], seconds: float
    ) -> None:
        """Waits, and reads meanwhile, so that a client that goes does not stay for what it had sent too fast."""
        turn = asyncio.ensure_future(self.gateway.clock.sleep(seconds))
        reading: asyncio.Future[bytes] | None = None
        try:
            while not turn.done():
                if len(waiting) >= _MOST_WAITING:
                    await turn
                    break
                reading = asyncio.ensure_future(_read(reader))
                reading.add_done_callback(_take_error)
                await asyncio.wait({turn, reading}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    waiting += frames.feed(reading.result())
        finally:
            turn.cancel()
            if reading is not None and not reading.done():
                reading.cancel()  # nothing is lost: what comes stays in the reader
                await asyncio.wait({reading})

    def _connection_time(self) -> str:
        login_zone = zone(self.gateway.settings.login_zone)
        now = dt.datetime.fromtimestamp(self.gateway.clock.now_s(), dt.UTC).astimezone(login_zone)
        return now.strftime("%Y%m%d %H:%M:%S ") + (now.tzname() or "UTC")


def _turn_s(client: Client) -> float:
    """Holds a client to the message rate: the seconds to wait; in reject mode the third violation ends it."""
    now_s = client.gateway.clock.now_s()
    if not client.gateway.settings.reject_rate:
        return client.rate.wait_s(now_s)
    if not client.rate.allowed(now_s):
        client.refuse(-1, RATE_EXCEEDED)
        if client.rate.violations >= RATE_STRIKES:
            client.close()
    return 0.0


async def _work_on(client: Client, waiting: deque[bytes]) -> None:
    for payload in waiting:
        await client.gateway.clock.sleep(client.rate.wait_s(client.gateway.clock.now_s()))
        receive_order(client, payload)


async def _read(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(_READ_BYTES)
    if not data:
        raise ConnectionResetError("the client has gone")
    return data


def _take_error(done: asyncio.Future[bytes]) -> None:
    """An error of a read that nobody waits for any more needs no word; asyncio would write of it."""
    if not done.cancelled():
        done.exception()


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(_READ_BYTES):
        pass
