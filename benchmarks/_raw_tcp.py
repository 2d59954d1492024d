"""The floor under the stream's cost: a server that writes the same bytes to bare TCP connections, as often:
`python -m benchmarks._raw_tcp <port> <bytes> <writes a second>`."""

import asyncio
import sys


async def main(port: int, size: int, per_s: float) -> None:
    payload, writers = b"x" * size, []

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    await asyncio.start_server(accepted, "127.0.0.1", port, backlog=1_024)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(1 / per_s)
        for writer in writers:
            if not writer.is_closing():
                writer.write(payload)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
