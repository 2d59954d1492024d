"""The bridge's own health page on loopback, for a container's health check: `GET /` answers 200 or 503 with JSON."""

import asyncio
import json
from collections.abc import Callable
from typing import Any


async def serve(port: int, tell: Callable[[], tuple[bool, dict[str, Any]]]) -> asyncio.Server:
    """Serve `tell()` on 127.0.0.1:`port`: (healthy, details)."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            healthy, details = tell()
            body = json.dumps(details).encode()
            status = "200 OK" if healthy else "503 Service Unavailable"
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
            await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or spoke no HTTP
        finally:
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", port)
