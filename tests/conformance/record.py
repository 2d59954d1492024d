"""Keeps the bytes that a real client sends: `python -m tests.conformance.record <client>`, into tests/data/tws/.

A copy of what the client sent while its conformance run went well, named after the client and its version; the codec's
tests read it back. Run `make conformance` before, it makes the clients' environments.
"""

import asyncio
import sys
from pathlib import Path

from tests.conformance.test_conformance import DRIVERS
from tests.support.sim_process import ROOT, simulator

DATA = ROOT / "tests" / "data" / "tws"


async def record(driver: list[str], port: int) -> bytes:
    """Runs the driver against a relay to the simulator; all that the client sent."""
    sent = bytearray()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await back_reader.read(1 << 16):
                writer.write(data)
            writer.close()

        returning = asyncio.create_task(back())
        while data := await reader.read(1 << 16):
            sent.extend(data)
            back_writer.write(data)
        back_writer.close()
        await returning

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    relay_port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(*driver, str(relay_port), stdout=asyncio.subprocess.DEVNULL)
    await process.wait()
    server.close()
    return bytes(sent)


def path_of(client: str) -> Path:
    return DATA / (client.replace("@", "").replace("/", "-").replace(" ", "-") + ".bin")


def main() -> None:
    for client in sys.argv[1:] or DRIVERS:
        with simulator("--clock", "rate:20", "--start", "2026-03-02T17:00:00Z", "--tick-pause", "0") as sim:
            data = asyncio.run(record(DRIVERS[client], sim.port))
        path_of(client).write_bytes(data)
        print(f"{path_of(client).relative_to(ROOT)}: {len(data)} bytes")


if __name__ == "__main__":
    main()
