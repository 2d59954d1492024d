"""Many clients of the stream, as a process of their own: `python -m benchmarks._stream_clients <port> <token> <sockets> <seconds>
<raw|stream> <stalled>`.

A few of them decode each frame and take the time from the publisher to here; the others throw the bytes away. Prints `ready` once
all are subscribed, and at the end as JSON how many bytes and frames came, and the median and the 99th percentile in ms,
of quotes and of closed bars.
"""

import asyncio
import base64
import json
import os
import re
import sys
import time
from typing import Any

DECODING = 10
AT_ONCE = 40
"""Handshakes under way together."""
CHANNELS = [f"data.quotes.NASDAQ.X{n}" for n in range(25)]
BARS = "data.bars.X0.NASDAQ-1-MINUTE-LAST-EXTERNAL"
"""Those who decode have it too."""
_PING = b"\x89\x04"
"""The head of a ping of four bytes; no text of the stream has such bytes."""
_AT = re.compile(rb'"at":(\d+)')
_CLOSED_AT = re.compile(rb'"closed_at":(\d+)')


class Counter:
    """What came. begun: counting starts then."""

    def __init__(self) -> None:
        self.bytes = self.frames = 0
        self.late_ms: list[float] = []
        self.bars_late_ms: list[float] = []
        self.begun = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decodes: bool) -> None:
        while data := await reader.read(65_536):
            now = time.monotonic_ns()
            ping = data.find(_PING)
            if ping >= 0:  # who answers none is taken for gone
                writer.write(b"\x8a\x84" + bytes(4) + data[ping + 2 : ping + 6])
            if self.begun.is_set():
                self.bytes += len(data)
                self.frames += 1
                if decodes:
                    self.late_ms += [(now - int(at)) / 1e6 for at in _AT.findall(data)]
                    self.bars_late_ms += [(now - int(at)) / 1e6 for at in _CLOSED_AT.findall(data)]


async def connect(port: int, token: str, channels: list[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket that has subscribed to channels."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head, head
    body = json.dumps({"op": "subscribe", "channels": channels}).encode()
    # A client's frame: text, masked with zeros, of a length in 16 bits.
    writer.write(b"\x81\xfe" + len(body).to_bytes(2, "big") + bytes(4) + body)
    await reader.readuntil(b'"t":"ack"')
    return reader, writer


async def main(port: int, token: str, sockets: int, seconds: float, kind: str, stalled: int) -> dict[str, Any]:
    counter, tasks, writers = Counter(), [], []
    turns = asyncio.Semaphore(AT_ONCE)

    async def start(n: int) -> None:
        async with turns:
            if kind == "raw":
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            else:
                reader, writer = await connect(port, token, [*CHANNELS, BARS] if n < DECODING else CHANNELS)
        writers.append(writer)
        if n < sockets:
            tasks.append(asyncio.create_task(counter.read(reader, writer, n < DECODING)))
        else:
            writer.transport.pause_reading()  # type: ignore[attr-defined]

    await asyncio.gather(*(start(n) for n in range(sockets + stalled)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    counter.begun.set()
    await asyncio.sleep(seconds)
    late, bars_late = (sorted(found) or [0.0] for found in (counter.late_ms, counter.bars_late_ms))
    for task in tasks:
        task.cancel()
    for writer in writers:
        writer.transport.abort()
    return {
        "bytes": counter.bytes,
        "reads": counter.frames,
        "p50_ms": round(late[len(late) // 2], 1),
        "p99_ms": round(late[int(len(late) * 0.99)], 1),
        "bars_p50_ms": round(bars_late[len(bars_late) // 2], 1),
        "bars_p99_ms": round(bars_late[int(len(bars_late) * 0.99)], 1),
    }


if __name__ == "__main__":
    _, port, token, sockets, seconds, kind, stalled = sys.argv
    print(json.dumps(asyncio.run(main(int(port), token, int(sockets), float(seconds), kind, int(stalled)))))
