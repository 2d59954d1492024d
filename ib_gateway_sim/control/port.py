"""The control port: one command a line, one JSON line back. It makes weather, moves the clock and tells what came in.

A line is words (`farm_down ushmds`) or a JSON object (`{"cmd": "farm_down", "farm": "ushmds"}`). The answer is
`{"ok": true, ...}` or `{"ok": false, "error": "..."}`, and the error names what is allowed.
"""

import asyncio
import datetime as dt
import inspect
import json
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.faults.weather import COMPETING, HISTORY_ERRORS, LIVE_LOST, LOST, RESTORED, RESTORED_EMPTY
from ib_gateway_sim.market.contracts import ContractQuery
from ib_gateway_sim.reference.requests import text_date
from ib_gateway_sim.rules.latency import Latency
from ib_gateway_sim.session.client import Client
from ib_gateway_sim.session.server import Gateway
from ib_gateway_sim.wire import codec

_LINE_BYTES = 1 << 20
Answer = dict[str, Any]
_KINDS = sorted(kind for kind, _ in codec.REQUESTS.values())


class Wrong(Exception):
    """The command cannot be carried out; the text says what is allowed."""


def parse_time_ns(value: Any) -> int:
    """Nanoseconds since the epoch, from an integer or RFC 3339 text with an offset."""
    text = str(value)
    if re.fullmatch("[0-9]+", text):
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
        self._plans: set[asyncio.Task[None]] = set()  # what will happen later
        self._login_missing = ""  # how nobody gets in until somebody logs in; empty: somebody has

    # ---- the port ------------------------------------------------------------------------------------------------
    async def listen(self, port: int) -> None:
        """Loopback only: whoever may speak here may do everything."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=_LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [*self._connections, *self._plans]
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

    def do_received(self, kind: str = "", last: Any = 100_000, since_ns: Any = 0) -> Answer:
        """what clients sent (and, as kind error, what they were told): kind, client_id, time_ns, fields"""
        since = _number("since_ns", since_ns, 0, 2**62)
        _choice("kind", kind, ["", "error", "malformed", *_KINDS])
        entries = [entry for entry in self.gateway.received if entry["time_ns"] >= since]
        wanted = [entry for entry in entries if kind in ("", entry["kind"])]
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

    def do_volume_unit(self) -> Answer:
        """stocks: in which unit clients from version 175 on get historical volumes of US stocks, shares or lots"""
        return {"stocks": self.gateway.settings.volume}

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

    # ---- the market ----------------------------------------------------------------------------------------------
    def do_split(self, symbol: str, ratio: Any, time: Any = None) -> Answer:
        """one share becomes several from the next session on (or the first after a time); history is adjusted then"""
        at_s = self.gateway.clock.now_s() if time is None else parse_time_ns(time) / SECOND_NS
        query = ContractQuery(symbol=symbol, sec_type="STK", exchange="SMART")
        found = self.gateway.market.find(query, self.gateway.clock.now_s())
        if len(found) != 1:
            raise Wrong(f"symbol {symbol!r}; allowed: a stock of this market, as AAPL")
        opens_s = self.gateway.market.split(found[0], int(_number("ratio", ratio, 2, 100)), at_s)
        return {"from_ns": opens_s * SECOND_NS}

    # ---- slow, silent and wrong answers ----------------------------------------------------------------------------
    def do_latency(self, mode: Any) -> None:
        """none, measured, or milliseconds"""
        factor = self.gateway.latency.factor
        self.gateway.latency = Latency.parse(str(mode))
        self.gateway.latency.factor = factor

    def do_slow(self, factor: Any) -> None:
        """all answers take so many times longer; 1 is normal"""
        self.gateway.latency.factor = _number("factor", factor, 0, 1e6)

    def do_crawl(self, beyond: Any, factor: Any = 10) -> None:
        """history takes so many times longer while more requests than this are open; 0 takes the limit away"""
        self.gateway.weather.hidden_open = _count("beyond", beyond)
        self.gateway.weather.hidden_factor = _number("factor", factor, 0, 1e6)

    def do_silent(self, n: Any = 1, kind: str = "reqHistoricalData") -> None:
        """the next n requests of a kind are never answered"""
        self.gateway.weather.silent[_choice("kind", kind, _KINDS)] = _count("n", n)

    def do_short(self, n: Any = 1) -> None:
        """the next n answers with bars lack every other session"""
        self.gateway.weather.short = _count("n", n)

    def do_duplicate(self, n: Any = 1) -> None:
        """the next n answers with bars come twice"""
        self.gateway.weather.duplicate = _count("n", n)

    def do_pacing(self, n: Any = 1) -> None:
        """the next n history requests are pacing violations"""
        self.do_history_error("pacing", n)

    def do_history_error(self, error: str, n: Any = 1) -> None:
        """the next n history requests fail with a kind of 162"""
        self.gateway.weather.history_errors += [_choice("error", error, list(HISTORY_ERRORS))] * _count("n", n)

    def do_reject_next(self, kind: str, code: Any, text: str, n: Any = 1) -> None:
        """the next n requests of a kind are answered with an error of your choice"""
        entry = (_choice("kind", kind, _KINDS), _count("code", code), text)
        self.gateway.weather.rejects += [entry] * _count("n", n)

    def do_notice(self, code: Any, text: str, request_id: Any = -1, client_id: Any = None) -> Answer:
        """sends an error message to a client or to all"""
        told = self._clients(client_id)
        for client in told:
            client.error(int(_number("request_id", request_id, -1, 2**31)), _count("code", code), text)
        return {"told": len(told)}

    async def do_clear(self) -> None:
        """fair weather: everything above and below is taken back, without notices, and what was to happen later"""
        mine = asyncio.current_task()
        for plan in self._plans - {mine}:
            plan.cancel()
        self._login_missing = ""
        self.gateway.weather.clear()
        await self.gateway.accept("yes")
        self.gateway.latency.factor = 1.0

    # ---- connections ---------------------------------------------------------------------------------------------
    def _clients(self, client_id: Any) -> list[Client]:
        if client_id is None:
            return list(self.gateway.clients.values())
        wanted = int(_number("client_id", client_id, 0, 2**31))
        if wanted not in self.gateway.clients:
            raise Wrong(f"client_id {wanted}; allowed: {', '.join(map(str, self.gateway.clients)) or 'nobody is here'}")
        return [self.gateway.clients[wanted]]

    def do_drop(self, client_id: Any = None) -> Answer:
        """drops the socket of a client, or of all"""
        dropped = self._clients(client_id)
        for client in dropped:
            client.abort()
        return {"dropped": len(dropped)}

    def do_half_open(self, client_id: Any = None) -> Answer:
        """a client's socket, or all, stays open and nothing comes or goes any more"""
        muted = self._clients(client_id)
        for client in muted:
            client.mute()
        return {"muted": len(muted)}

    def do_cut(self, n: Any = 1) -> None:
        """the next n answers with bars break off in mid-frame, and the socket with them"""
        self.gateway.weather.cut = _count("n", n)

    async def do_accept(self, how: str) -> None:
        """new connections: yes, refuse (port closed), close (accepted, then closed), mute (accepted, no word)"""
        await self.gateway.accept(_choice("how", how, ["yes", "refuse", "close", "mute"]))

    def do_hold_ids(self, seconds: Any) -> None:
        """a client id stays in use (326) for so long after its socket is gone"""
        self.gateway.weather.hold_ids_s = _number("seconds", seconds, 0, 1e6)

    async def do_restart(self, seconds: Any = 60, how: str = "refuse") -> None:
        """the gateway restarts: all sockets drop, and for so many seconds nobody gets in (as in accept)"""
        _choice("how", how, ["refuse", "close", "mute"])
        wait_s = _number("seconds", seconds, 0, 1e6)
        await self._down(how)
        self._later(wait_s, self._restarted)

    def do_restart_daily(self, at: str, seconds: Any = 60, how: str = "refuse") -> Answer:
        """restarts each day at HH:MM of the login zone"""
        match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", at)
        if match is None:
            raise Wrong(f"at {at!r}; allowed: HH:MM, as 23:45")
        wait_s = _number("seconds", seconds, 0, 80_000)
        _choice("how", how, ["refuse", "close", "mute"])

        async def every_day() -> None:
            while True:
                await self.gateway.clock.sleep_until(self._next_ns(int(match[1]), int(match[2])))
                await self._down(how)
                await self.gateway.clock.sleep(wait_s)
                await self._restarted()

        self._spawn(every_day())
        return {"next_ns": self._next_ns(int(match[1]), int(match[2]))}

    def _next_ns(self, hour: int, minute: int) -> int:
        now = text_date(self.gateway.clock.now_s(), self.gateway.settings.login_zone)
        at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        while at <= now:
            at += dt.timedelta(days=1)
        return int(at.timestamp()) * SECOND_NS

    async def do_login_needed(self, how: str = "refuse") -> None:
        """the weekly login is due: all sockets drop and nobody gets in until `login`"""
        self._login_missing = _choice("how", how, ["refuse", "close", "mute"])
        await self._down(how)

    async def do_login(self) -> None:
        """somebody has logged in"""
        self._login_missing = ""
        await self._restarted()

    async def _down(self, how: str) -> None:
        await self.gateway.accept(how)
        for client in list(self.gateway.clients.values()):
            client.abort()

    async def _restarted(self) -> None:
        """A restart is no login: where one is missing nobody gets in still."""
        await self.gateway.accept(self._login_missing or "yes")

    # ---- farms and the line to IB --------------------------------------------------------------------------------
    def do_farm_down(self, farm: str) -> Answer:
        """a farm breaks, by name, or all of a kind: data hmds secdef; or all"""
        return self._farm(farm, "broken")

    def do_farm_up(self, farm: str) -> Answer:
        """a farm is back"""
        return self._farm(farm, "ok")

    def do_farm_inactive(self, farm: str) -> Answer:
        """a farm sleeps until it is asked (2107, 2108)"""
        return self._farm(farm, "inactive")

    def do_farm_flap(self, farm: str, seconds: Any = 3) -> Answer:
        """a farm breaks and is back after so many seconds; market data farms say first that they connect (2119)"""
        wait_s = _number("seconds", seconds, 0, 1e6)
        answer = self._farm(farm, "broken")

        async def back() -> None:
            for name in answer["farms"]:
                if self.gateway.weather.farms[name].kind == "data":
                    self._farm(name, "connecting")
            self._farm(farm, "ok")

        self._later(wait_s, back)
        return answer

    def _farm(self, name: str, state: str) -> Answer:
        farms = self.gateway.weather.farms
        _choice("farm", name, [*farms, "data", "hmds", "secdef", "all"])
        changed = [farm for farm in farms.values() if name in (farm.name, farm.kind, "all")]
        for farm in changed:
            farm.state = "ok" if state == "inactive" and farm.kind == "secdef" else state
            self.gateway.broadcast(*farm.notice())
        self.gateway.weather.touch()
        return {"farms": [farm.name for farm in changed]}

    def do_lost(self) -> None:
        """the line to IB is gone: 1100, and nothing that needs IB is answered"""
        self.gateway.weather.upstream = False
        self.gateway.broadcast(*LOST)
        self.gateway.weather.touch()

    def do_restored(self, data: str = "maintained") -> None:
        """the line is back: data maintained (1102) or lost (1101, subscriptions are dead)"""
        kept = _choice("data", data, ["maintained", "lost"]) == "maintained"
        self.gateway.weather.upstream = True
        if not kept:
            for client in self.gateway.clients.values():
                client.stop_streams()
        self.gateway.broadcast(*(RESTORED if kept else RESTORED_EMPTY))
        self.gateway.weather.touch()

    def do_reset_window(self, seconds: Any = 90, data: str = "maintained") -> None:
        """IB's nightly reset: farms break, 1100, and after so many seconds all is back"""
        wait_s = _number("seconds", seconds, 0, 1e6)
        _choice("data", data, ["maintained", "lost"])
        self._farm("all", "broken")
        self.do_lost()

        async def back() -> None:
            self.do_restored(data)
            self._farm("all", "ok")

        self._later(wait_s, back)

    def do_live_lost(self) -> Answer:
        """live updates die (10182): keepUpToDate requests and tick-by-tick streams; the socket stays"""
        return {"ended": sum(client.fail_streams(*LIVE_LOST) for client in self.gateway.clients.values())}

    def do_competing(self, on: str = "on") -> None:
        """the user is logged in elsewhere (on) or no longer (off): 10197 for market data, 162 for history"""
        self.gateway.weather.competing = _choice("on", on, ["on", "off"]) == "on"
        if self.gateway.weather.competing:
            for client in self.gateway.clients.values():
                client.fail_streams(*COMPETING)

    # ---- scenarios -----------------------------------------------------------------------------------------------
    def do_scenario(self, path: str) -> Answer:
        """plays a file: each line a number of seconds from now and a command"""
        try:
            steps = read_scenario(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as problem:
            raise Wrong(f"path {path!r}: {problem}; allowed: a readable text file") from None
        known = self._commands()
        for _, line in steps:
            if _parse(line)[0] not in known:
                raise Wrong(f"{path}: {line!r}; allowed: {', '.join(sorted(known))}")
        begun_ns = self.gateway.clock.now_ns()

        async def play() -> None:
            for after_s, line in steps:
                await self.gateway.clock.sleep_until(begun_ns + int(after_s * SECOND_NS))
                answer = await self.run(line)
                if not answer["ok"]:
                    print(f"ib_gateway_sim: scenario: {line}: {answer['error']}", file=sys.stderr)

        self._spawn(play())
        return {"steps": len(steps)}

    def _later(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        async def wait() -> None:
            await self.gateway.clock.sleep(seconds)
            await action()

        self._spawn(wait())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._plans.add(task)
        task.add_done_callback(self._plans.discard)


def read_scenario(text: str) -> list[tuple[float, str]]:
    """Lines `<seconds> <command>`; empty lines and what follows # at a line's start are skipped. Raises Wrong."""
    steps = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        seconds, _, command = line.strip().partition(" ")
        if not command.strip():
            raise Wrong(f"line {number}: {line!r}; allowed: <seconds> <command>")
        steps.append((_number(f"line {number}", seconds, 0, 1e9), command.strip()))
    return sorted(steps, key=lambda step: step[0])


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
