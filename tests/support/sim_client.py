"""A client of bare fields, to see what ib_insync hides; and the simulator in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ib_gateway_sim.clock import Clock
from ib_gateway_sim.control.port import Control
from ib_gateway_sim.market.generated.market import Market
from ib_gateway_sim.market.source import MarketSource
from ib_gateway_sim.server.listener import Server
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.session.settings import Settings

MONDAY_NOON_NS = 1_772_470_800 * 1_000_000_000  # 2026-03-02 17:00 UTC, noon in New York
AAPL = ("0", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
EURUSD = ("0", "EUR", "CASH", "", "0.0", "", "", "IDEALPRO", "", "USD", "", "")


_open: list[asyncio.StreamWriter] = []  # of the running test; `gateway` closes them at its end


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.version = 0
        _open.append(writer)

    @classmethod
    async def open(cls, port: int, versions: str = "v157..178") -> "RawClient":
        """Greets and reads the answer."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(b"API\0" + len(versions).to_bytes(4, "big") + versions.encode())
        client.version = int((await client.read())[0])
        return client

    @classmethod
    async def start(cls, port: int, client_id: int = 1, versions: str = "v157..178") -> "RawClient":
        """Greets, starts the API and reads the notices."""
        client = await cls.open(port, versions)
        client.send(71, 2, client_id, "")
        await client.until(lambda fields: fields[0] == "4" and fields[3] == "2158")
        return client

    def send(self, *fields: Any) -> None:
        body = "".join(f"{field}\0" for field in fields).encode()
        self.writer.write(len(body).to_bytes(4, "big") + body)

    async def read(self, timeout_s: float = 5.0) -> list[str]:
        """The next message; IncompleteReadError when the simulator has closed."""
        async with asyncio.timeout(timeout_s):
            size = int.from_bytes(await self.reader.readexactly(4), "big")
            return (await self.reader.readexactly(size)).decode().split("\0")[:-1]

    async def until(self, wanted: Callable[[list[str]], bool]) -> list[str]:
        """Reads on to the message that is wanted."""
        while True:
            fields = await self.read()
            if wanted(fields):
                return fields

    async def message(self, message_id: int) -> list[str]:
        return await self.until(lambda fields: fields[0] == str(message_id))

    async def error(self) -> tuple[int, int, str]:
        """The next error that belongs to a request: id, code, text."""
        fields = await self.until(lambda fields: fields[0] == "4" and fields[2] != "-1")
        return int(fields[2]), int(fields[3]), fields[4]

    def ask_bars(self, request_id: int, contract: tuple[str, ...] = AAPL, **other: Any) -> None:
        requested = {
            "end": "20260302 15:00:00 UTC",
            "size": "1 min",
            "duration": "1800 S",
            "rth": 1,
            "what": "TRADES",
            "format_date": 2,
            "live": 0,
        } | other
        self.send(
            20,
            request_id,
            *contract,
            0,
            requested["end"],
            requested["size"],
            requested["duration"],
            requested["rth"],
            requested["what"],
            requested["format_date"],
            requested["live"],
            "",
        )

    def ask_details(self, request_id: int, contract: tuple[str, ...] = AAPL) -> None:
        self.send(9, 8, request_id, *contract, 0, "", "", *([""] if self.version >= 176 else []))

    async def settle(self) -> None:
        """Until the simulator has read everything that was sent; what it says meanwhile is dropped."""
        self.send(49, 1)
        await self.message(49)

    async def quiet(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes for a moment."""
        try:
            await self.read(seconds)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def gateway(
    clock: str = "stepped", start_ns: int = MONDAY_NOON_NS, market: MarketSource | None = None, **settings: Any
) -> AsyncIterator[tuple[Gateway, Control]]:
    made = Gateway(market or Market(7), Clock(clock, start_ns=start_ns), settings=Settings(**settings))
    server = Server(made)
    await server.listen("127.0.0.1", 0)
    control = Control(server)
    try:
        yield made, control
    finally:
        for writer in _open:
            writer.transport.abort()
        _open.clear()
        await control.close()
        await server.close()


async def refusal(line: str) -> str:
    """Why a gateway refuses a command."""
    async with gateway() as (_, control):
        answer = await control.run(line)
        assert not answer["ok"]
        return str(answer["error"])
