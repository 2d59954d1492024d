"""The control port: one command a line, one JSON line back. It injects faults, moves the clock and says what came in.

A line is words (`farm_down ushmds`) or a JSON object (`{"cmd": "farm_down", "farm": "ushmds"}`). The answer is
`{"ok": true, ...}` or `{"ok": false, "error": "..."}`, and the error names what is allowed.
"""

import asyncio
import json
from collections.abc import Awaitable

from ib_gateway_sim.control.command import parse
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.table import COMMANDS
from ib_gateway_sim.control.values import Answer, Wrong
from ib_gateway_sim.server.listener import Server

_LINE_BYTES = 1 << 20


class Control:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = 0
        self._context = Context(server, self.run, frozenset(COMMANDS))
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, port: int) -> None:
        """Loopback only: whoever may speak here may do everything."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=_LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [*self._connections, *self._context.plans]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while line := await reader.readline():
                if b" HTTP/1." in line:
                    return  # a browser; what follows is not meant as commands
                answer = await self.run(line.decode("utf-8", "replace"))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # gone, or a line without an end
        finally:
            writer.close()

    async def run(self, line: str) -> Answer:
        """Carries out one line. What it has changed and could not be saved is not answered."""
        answer = await self._carry_out(line)
        gateway = self.server.gateway
        if not gateway.save():
            return {"ok": False, "error": f"orders and accounts cannot be saved: {gateway.save_problem}"}
        return answer

    async def _carry_out(self, line: str) -> Answer:
        try:
            name, words, named = parse(line)
            command = COMMANDS.get(name)
            if command is None:
                raise Wrong(f"command {name!r}; allowed: {', '.join(sorted(COMMANDS))}")
            command.check(words, named)
            made = command.effect(self._context, *words, **named)
            answer = await made if isinstance(made, Awaitable) else made
            return {"ok": True, **(answer or {})}
        except (Wrong, ValueError) as problem:
            return {"ok": False, "error": str(problem)}
