"""The control port: one command a line, one JSON line back. It makes weather, moves the clock and tells what came in.

A line is words (`farm_down ushmds`) or a JSON object (`{"cmd": "farm_down", "farm": "ushmds"}`). The answer is
`{"ok": true, ...}` or `{"ok": false, "error": "..."}`, and the error names what is allowed.
"""

import asyncio
import datetime as dt
import inspect
import json
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from ib_gateway_sim import wire
from ib_gateway_sim.latency import Latency
from ib_gateway_sim.server import Gateway
from ib_gateway_sim.weather import HISTORY_ERRORS

_LINE_BYTES = 1 << 20
Answer = dict[str, Any]
_KINDS = sorted(kind for kind, _ in wire.REQUESTS.values())


class Wrong(Exception):
    """The command cannot be carried out; the text says what is allowed."""


def parse_time_ns(value: Any) -> int:
    """Nanoseconds since the epoch, from an integer or RFC 3339 text with an offset."""
    text = str(value)
    if text.isdecimal():
        return int(text)
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        at = dt.datetime.min
    if at.tzinfo is None:
        raise Wrong(f"time {text!r}; allowed: RFC 3339 with offset (2026-03-02T15:00:00Z) or nanoseconds since 1970")
    return int((at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1)) * 1000


def _number(name: str, value: Any, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise Wrong(f"{name} {value!r}; allowed: a number from {low:g} to {high:g}")
    return number


def _count(name: str, value: Any) -> int:
    return int(_number(name, value, 0, 1_000_000))


def _choice(name: str, value: Any, allowed: list[str]) -> str:
    if value not in allowed:
        raise Wrong(f"{name} {value!r}; allowed: {', '.join(allowed)}")
    return str(value)


class Control:
    """Each `do_<command>` is a command: its parameters are the words behind it, its docstring is its help."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    # ---- the port ------------------------------------------------------------------------------------------------
    async def listen(self, port: int) -> None:
        """Loopback only: whoever may speak here may do everything."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=_LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while line := await reader.readline():
                answer = await self.run(line.decode("utf-8", "replace"))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # gone, or a line without an end
        finally:
            writer.close()

    async def run(self, line: str) -> Answer:
        """Carries out one line."""
        try:
            name, words, named = _parse(line)
            command = self._commands().get(name)
            if command is None:
                raise Wrong(f"command {name!r}; allowed: {', '.join(sorted(self._commands()))}")
            try:
                inspect.signature(command).bind(*words, **named)
            except TypeError as problem:
                raise Wrong(f"{name}: {problem}; allowed: {_usage(name, command)}") from None
            made = command(*words, **named)
            answer = await made if isinstance(made, Awaitable) else made
            return {"ok": True, **(answer or {})}
        except (Wrong, ValueError) as problem:
            return {"ok": False, "error": str(problem)}

    def _commands(self) -> dict[str, Callable[..., Answer | Awaitable[Answer | None] | None]]:
        return {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}

    # ---- help and record -----------------------------------------------------------------------------------------
    def do_help(self) -> Answer:
        """this list"""
        commands = self._commands()
        return {"commands": {_usage(name, each): inspect.getdoc(each) or "" for name, each in commands.items()}}

    def do_received(self, kind: str = "", last: Any = 100_000) -> Answer:
        """what clients sent (and, as kind error, what they were told): kind, client_id, time_ns, fields"""
        wanted = [entry for entry in self.gateway.received if kind in ("", entry["kind"])]
        return {"received": wanted[-max(1, _count("last", last)) :], "count": len(wanted)}

    def do_forget(self) -> None:
        """empties the record of what was received"""
        self.gateway.received.clear()

    def do_clients(self) -> Answer:
        """who is connected: client id, version, open work"""
        return {
            "clients": [
                {"client_id": each.client_id, "version": each.version, "open": len(each.jobs)}
                for each in self.gateway.clients.values()
            ]
        }

    def do_weather(self) -> Answer:
        """what is set"""
        weather = self.gateway.weather
        return {
            "farms": {farm.name: farm.state for farm in weather.farms.values()},
            "upstream": weather.upstream,
            "accepting": weather.accepting,
            "silent": dict(+weather.silent),
            "history_errors": list(weather.history_errors),
            "latency": self.gateway.latency.mode,
            "slow": self.gateway.latency.factor,
        }

    # ---- time ----------------------------------------------------------------------------------------------------
    def do_clock(self) -> Answer:
        """the clock: now_ns, rate, mode"""
        return self.gateway.clock.describe()

    async def do_set_clock(self, time: Any) -> Answer:
        """jumps to a time (RFC 3339 with offset, or ns); what is overdue happens once, at the new time"""
        await self.gateway.clock.set(parse_time_ns(time))
        return self.gateway.clock.describe()

    async def do_advance(self, seconds: Any) -> Answer:
        """moves on; everything on the way happens at its own time"""
        await self.gateway.clock.advance(_number("seconds", seconds, 0, 3.2e9))
        return self.gateway.clock.describe()

    def do_rate(self, rate: Any) -> Answer:
        """market seconds per machine second from now on; 0 stands still"""
        self.gateway.clock.set_rate(_number("rate", rate, 0, 1e6))
        return self.gateway.clock.describe()

    # ---- slowness and silence ------------------------------------------------------------------------------------
    def do_latency(self, mode: Any) -> None:
        """none, measured, or milliseconds"""
        factor = self.gateway.latency.factor
        self.gateway.latency = Latency.parse(str(mode))
        self.gateway.latency.factor = factor

    def do_slow(self, factor: Any) -> None:
        """all answers take so many times longer; 1 is normal"""
        self.gateway.latency.factor = _number("factor", factor, 0, 1e6)

    def do_silent(self, n: Any = 1, kind: str = "reqHistoricalData") -> None:
        """the next n requests of a kind are never answered"""
        self.gateway.weather.silent[_choice("kind", kind, _KINDS)] = _count("n", n)

    # ---- refusals ------------------------------------------------------------------------------------------------
    def do_pacing(self, n: Any = 1) -> None:
        """the next n history requests are pacing violations"""
        self.do_history_error("pacing", n)

    def do_history_error(self, error: str, n: Any = 1) -> None:
        """the next n history requests fail with a kind of 162"""
        self.gateway.weather.history_errors += [_choice("error", error, list(HISTORY_ERRORS))] * _count("n", n)

    # ---- connections ---------------------------------------------------------------------------------------------
    def do_drop(self, client_id: Any = None) -> Answer:
        """drops the socket of a client, or of all"""
        wanted = [
            client
            for client in self.gateway.clients.values()
            if client_id is None or client.client_id == int(_number("client_id", client_id, 0, 2**31))
        ]
        for client in wanted:
            client.abort()
        return {"dropped": len(wanted)}

    # ---- farms ---------------------------------------------------------------------------------------------------
    def do_farm_down(self, farm: str) -> Answer:
        """a farm breaks, by name, or all of a kind: data hmds secdef; or all"""
        return self._farm(farm, "broken")

    def do_farm_up(self, farm: str) -> Answer:
        """a farm is back"""
        return self._farm(farm, "ok")

    def _farm(self, name: str, state: str) -> Answer:
        farms = self.gateway.weather.farms
        _choice("farm", name, [*farms, "data", "hmds", "secdef", "all"])
        changed = [farm for farm in farms.values() if name in (farm.name, farm.kind, "all")]
        for farm in changed:
            farm.state = state
            self.gateway.broadcast(*farm.notice())
        self.gateway.weather.touch()
        return {"farms": [farm.name for farm in changed]}


def _parse(line: str) -> tuple[str, list[str], dict[str, Any]]:
    text = line.strip()
    if not text.startswith("{"):
        try:
            words = shlex.split(text)
        except ValueError as problem:
            raise Wrong(f"line: {problem}; allowed: words or a JSON object") from None
        if not words:
            raise Wrong("an empty line; allowed: a command, help lists them")
        return words[0], words[1:], {}
    try:
        named = json.loads(text)
    except json.JSONDecodeError as problem:
        raise Wrong(f"line is no JSON: {problem}; allowed: words or a JSON object") from None
    return str(named.pop("cmd", "")), [], named


def _usage(name: str, command: Callable[..., Any]) -> str:
    words = []
    for parameter in inspect.signature(command).parameters.values():
        plain = parameter.default is inspect.Parameter.empty
        words.append(f"<{parameter.name}>" if plain else f"[{parameter.name}]")
    return " ".join([name, *words])
