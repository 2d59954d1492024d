"""The session with IB: connect, stay connected, know what works, and ask.

Only this file and `translate` know the client library (`ib_api`).

Four healths are kept apart, because they fail apart: our socket, IB's servers behind it, each data farm, each request.

    starting      not connected yet since this process began
    connected     all that history needs works
    degraded      connected, but IB's servers or a farm are away: `reason` names them
    reset_window  the same, at the hour of IB's nightly reset
    displaced     somebody else uses the login
    needs_login   the gateway takes the connection and says nothing: it waits for a person
    down          no connection
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from ib_bridge.ib.client import IB, BarDataList, Contract, RequestError, fail
from ib_bridge.ib.clock import MarketClock, ask_control, read_control
from ib_bridge.ib.codes import FARM_CODES, Reaction, Scope, farm_of, language, meaning
from nautilus.clock import NS_PER_S
from nautilus.infra.loops import Backoff, repeat
from nautilus.log import fields
from nautilus.market import farms
from nautilus.market.instrument import Instrument
from nautilus.settings.bridge import BridgeSettings

T = TypeVar("T")
_CONTROL_S = 0.25
_CLOCK_PAUSE_S = 0.27
"""Between the first questions for the time: no divisor of a second, so that each answer tells something else."""
_CLIENT_IDS = 10
"""How many client ids are tried in turn when one is in use (a killed client holds its id for 10 s or more)."""
_IN_LOTS = 174
"""The last protocol version in which historical volumes of US stocks come in lots (ib_bridge/history/volume_units.py)."""
_SHORT_ANSWER_S = 20.0
"""Longest wait for answers that IB gives at once: contract details, schedules, heads."""
_DISPLACED_NS = 300 * NS_PER_S
"""For how long another session is believed to have the login after IB last said so."""
_OTHER_LANGUAGE = (
    "the gateway writes its errors in another language than English, so what they mean is not known: set"
    ' "Show API error messages in English" (Configure, API, Settings) or its language to English'
)
_OLD_NEWS_NS = 600 * NS_PER_S
"""IB repeats an outage about every half minute and tells the return of a farm. After so long without a word what we know
may be wrong: who connects anew is told of every farm."""


class State(StrEnum):
    STARTING = "starting"
    CONNECTED = "connected"
    DEGRADED = "degraded"
    RESET_WINDOW = "reset_window"
    DISPLACED = "displaced"
    NEEDS_LOGIN = "needs_login"
    DOWN = "down"


class IbError(Exception):
    """IB answered a request with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class NoAnswer(Exception):
    """IB did not answer in time; the request was cancelled."""


class _HungUp(ConnectionError):
    """The gateway took the connection and ended it during the handshake."""


class NotConnected(Exception):
    """There is no connection, or it went away while waiting."""


def _quiet_client() -> IB:
    """A client of the library that fails requests aloud, holds nothing back, and asks for nothing by itself."""
    ib = IB()
    ib.RaiseRequestErrors = True
    ib.client.MaxRequests = 0  # our own pacer counts messages
    # At each 1102 the library subscribes to the account's summary once more, and IB allows two.
    ib.errorEvent -= ib._onError
    return ib


@dataclass(frozen=True, slots=True)
class Health:
    """What is known about the connection right now."""

    state: State
    reason: str


class Session:
    """One connection to IB at a time, for ever. `changed` is called whenever something about it changes."""

    def __init__(self, settings: BridgeSettings, clock: MarketClock, log: Any, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._short_s = min(_SHORT_ANSWER_S, settings.request_timeout_s)
        self._clock = clock
        self._log = log
        self._changed = changed
        self._ib: IB | None = None
        self._established = False
        self.servers_lost = False
        self._displaced_until = 0
        self._heard_at = 0
        self._failure = State.STARTING
        self._reason = "connecting"
        self._delay_s = 0.0
        self._rotation = 0
        self._time_lock = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._lost = asyncio.Event()
        self._lost.set()
        self.farms: dict[str, dict[str, str]] = {}
        self.accounts: list[str] = []
        self.client_id = settings.ib_client_id
        self.server_version: int | None = None
        self.connection = 0
        """Counts the connections that were made."""
        self.stated_volume_unit: str | None = None
        """In which unit a simulator says that it sends volumes of US stocks; None where nobody says."""
        self.unmapped = 0
        self.language: str | None = None
        """`english` or `other`, as the texts of this connection show; None until one does."""

    # ---- what works --------------------------------------------------------------------------------------------------

    @property
    def login(self) -> str:
        """The name of the pacing book: one per IB login."""
        return ",".join(self.accounts)

    @property
    def up(self) -> bool:
        """True while the socket is connected and the handshake done."""
        return self._established and not self._lost.is_set()

    def health(self) -> Health:
        if not self.up:
            return Health(self._failure, self._reason)
        if self._clock.now_ns() < self._displaced_until:
            return Health(State.DISPLACED, "another session uses this login")
        if self.servers_lost:
            return Health(self._outage(farms.HOME), "IB's servers cannot be reached from the gateway (1100)")
        broken = self._away()
        if broken:
            return Health(self._outage(map(farms.served_by, broken)), f"data farms are away: {', '.join(broken)}")
        return Health(State.CONNECTED, _OTHER_LANGUAGE if self.language == "other" else "")

    def _outage(self, regions: Iterable[str | None]) -> State:
        return State.RESET_WINDOW if farms.resting(self._clock.now_ns(), regions) else State.DEGRADED

    def _away(self) -> list[str]:
        return farms.broken(self.farms, "history") + farms.broken(self.farms, "secdef")

    def serves(self, instrument: Instrument) -> bool:
        """True when history of this instrument can be asked for now."""
        if not self.up or self.servers_lost or self._clock.now_ns() < self._displaced_until:
            return False
        return not farms.away(self.farms, instrument)

    @property
    def can_resolve(self) -> bool:
        """True when contract lookups can be trusted: a 200 during an outage is often false."""
        return self.up and not self.servers_lost and not farms.broken(self.farms, "secdef")

    # ---- staying connected -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, watch, and connect again, until cancelled: no error ends it."""
        try:
            await repeat("session", self._connect_and_watch, self._log, backoff=Backoff(longest_s=1.0))
        finally:
            self._close()

    async def _connect_and_watch(self) -> None:
        """One attempt, after the pause that the ones before have earned, and the life of its connection."""
        # Jitter: many clients must not come back at once.
        await self._pause(self._delay_s * random.uniform(0.5, 1.0))
        began = self._clock.now_ns()
        self.client_id = self._settings.ib_client_id + self._rotation
        longer_s = min(30.0, max(0.5, self._delay_s * 2))
        self._delay_s = longer_s
        try:
            in_use = await self._connect()
            if self.up:
                await self._watch()
                # A connection that held for a minute starts the back-off anew.
                held = self._clock.now_ns() - began > 60 * NS_PER_S
                self._delay_s = 0.5 if held else longer_s
            elif in_use:
                self._rotation = (self._rotation + 1) % _CLIENT_IDS
                self._delay_s = 0.2
        except Exception as broke:
            self._close()
            self._fail(State.DOWN, f"the connection broke ({type(broke).__name__}: {broke}); connecting anew")
            raise

    async def _pause(self, seconds: float) -> None:
        """Wait so many seconds of market time before the next attempt, unless somebody asks for it now."""
        self._hurry.clear()
        try:
            # A simulator's clock that stands still, or that nobody reads meanwhile, must not hold us.
            await asyncio.wait_for(self._hurry.wait(), seconds / max(1.0, self._clock.reading.rate))
        except TimeoutError:
            return

    async def _connect(self) -> bool:
        """Try once; True when it failed because the client id is in use."""
        self._close()
        ib = _quiet_client()
        codes: list[int] = []

        def on_error(number: int, code: int, text: str, _contract: Any) -> None:
            codes.append(code)
            told = meaning(code, text)
            if told.scope is Scope.REQUEST and told.reaction is not Reaction.INFO:
                fail(ib, number, code, text)
            self._on_error(number, code, text)

        refused = asyncio.Event()
        ib.errorEvent += on_error
        ib.client.apiError += lambda _text: refused.set()
        ib.disconnectedEvent += lambda: self._on_disconnect(ib)
        self._lost.clear()
        self.servers_lost = False
        self.farms.clear()
        self.language = None
        self._ib = ib
        where = f"{self._settings.ib_host}:{self._settings.ib_port}"
        try:
            await self._shake_hands(ib, refused)
        except (TimeoutError, OSError, ConnectionError) as failed:
            # The library takes every hang-up during the handshake for an id in use; only IB's own word for it counts.
            in_use = 326 in codes
            silent = isinstance(failed, TimeoutError) and not in_use
            self._fail(
                State.NEEDS_LOGIN if silent else State.DOWN,
                f"client id {self.client_id} is in use"
                if in_use
                else f"{where} takes the connection but does not answer: it may be waiting for a login"
                if silent
                else f"{where} takes the connection and hangs up: the gateway behind it is starting or away"
                if isinstance(failed, _HungUp)
                else f"{where} cannot be reached ({failed or type(failed).__name__})",
            )
            self._lost.set()
            return in_use
        self.accounts = sorted(ib.client.getAccounts())
        self.server_version = ib.client.serverVersion()
        self.connection += 1
        self.stated_volume_unit = None
        self._established = True
        if self._settings.control_port:
            await self._read_control()
            await self._read_volume_unit()
        else:
            await self._read_clock_first()
        self._heard_at = self._clock.now_ns()
        self._log.info(
            "ib-connected",
            extra=fields(
                where=where, client_id=self.client_id, server_version=self.server_version, accounts=self.accounts
            ),
        )
        self._changed()
        return False

    async def _shake_hands(self, ib: IB, refused: asyncio.Event) -> None:
        """Connect; ConnectionError as soon as the gateway hangs up, for which the library would wait the whole time-out."""
        settings = self._settings
        connecting = asyncio.ensure_future(
            ib.connectAsync(
                settings.ib_host,
                settings.ib_port,
                clientId=self.client_id,
                timeout=settings.ib_timeout_s,
                readonly=True,
            )
        )
        refusal = asyncio.ensure_future(refused.wait())
        try:
            await asyncio.wait({connecting, refusal}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise _HungUp
            connecting.result()
        finally:
            refusal.cancel()
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    async def _watch(self) -> None:
        """Return when the connection is lost: told so, or silent for two heartbeats."""
        missed = 0
        virtual = (
            asyncio.create_task(repeat("control", self._follow_control, self._log))
            if self._settings.control_port
            else None
        )
        try:
            while not self._lost.is_set():
                try:
                    await asyncio.wait_for(self._lost.wait(), self._settings.ib_heartbeat_s)
                except TimeoutError:
                    missed = 0 if await self._read_clock() else missed + 1
                if missed >= 2:
                    self._fail(State.DOWN, "the gateway stopped answering")
                    self._lost.set()
                elif self._news_are_old():
                    self._fail(State.DOWN, "no word of what is away for ten minutes: connecting anew to be told")
                    self._lost.set()
        finally:
            if virtual is not None:
                virtual.cancel()
        self._close()
        self._changed()

    def _news_are_old(self) -> bool:
        """True when something has been away for long and IB says no more of it."""
        away = self.up and (self.servers_lost or bool(self._away()))
        return away and self._clock.now_ns() - self._heard_at > _OLD_NEWS_NS

    async def _read_clock(self) -> bool:
        """A heartbeat: ask the gateway for the time. False when nobody answers."""
        try:
            async with self._time_lock:
                ib = self._connected()
                asked = self._clock.steady_ns()
                moment: datetime = await asyncio.wait_for(ib.reqCurrentTimeAsync(), self._settings.ib_heartbeat_s)
        except (TimeoutError, NotConnected, ConnectionError):
            return False
        if not self._settings.control_port:
            self._clock.learn_seconds(int(moment.timestamp()), asked, self._clock.steady_ns())
        return True

    async def _read_clock_first(self) -> None:
        """Ask for the time, and for the first time a few times more: each answer is good for a second only, all together
        for a fraction of it."""
        while await self._read_clock() and self._clock.uncertain and not self._lost.is_set():
            await asyncio.sleep(_CLOCK_PAUSE_S)

    async def _follow_control(self) -> None:
        """Keep up with a simulator's clock, which may run fast, stand still or jump."""
        await self._read_control()
        await asyncio.sleep(_CONTROL_S)

    async def _read_control(self) -> None:
        asked = self._clock.steady_ns()
        try:
            now, rate = await read_control(self._settings.control_host, self._settings.control_port)
        except (TimeoutError, OSError, ValueError):
            return
        jumped = abs(now - self._clock.now_ns()) > NS_PER_S
        self._clock.learn(now, rate, asked, self._clock.steady_ns())
        if jumped:
            self._changed()  # readers of the published clock must not wait for the next heartbeat

    async def _read_volume_unit(self) -> None:
        try:
            told = await ask_control(self._settings.control_host, self._settings.control_port, "volume_unit")
        except (TimeoutError, OSError, ValueError) as silent:
            self._log.warning("volume-unit-not-stated", extra={"reason": str(silent)})
            return
        if told.get("stocks") in ("shares", "lots"):
            self.stated_volume_unit = told["stocks"]

    def drop(self) -> None:
        """Let go of the connection; `run` makes a new one."""
        self._fail(State.DOWN, "reconnecting because it was asked for")
        self._hurry.set()
        self._lost.set()

    def _fail(self, state: State, reason: str) -> None:
        if (state, reason) != (self._failure, self._reason):
            self._log.warning("ib-not-connected", extra={"state": state.value, "reason": reason})
        self._failure, self._reason = state, reason
        self._changed()

    def _close(self) -> None:
        self._lost.set()
        self._established = False
        if self._ib is not None:
            ib, self._ib = self._ib, None
            ib.disconnect()

    def _on_disconnect(self, ib: IB) -> None:
        if ib is self._ib and not self._lost.is_set():
            self._fail(State.DOWN, "the gateway closed the connection")
            self._lost.set()

    def _on_error(self, number: int, code: int, text: str) -> None:
        """Every message of IB passes here: notices change what we know, the rest belongs to its request."""
        self._learn_language(code, text)
        if code in FARM_CODES:
            kind, state = FARM_CODES[code]
            self.farms[farm_of(text)] = {"kind": kind, "state": state}
        elif code in (1100, 2110):
            self.servers_lost = True
        elif code in (1101, 1102):
            self.servers_lost = False
        elif meaning(code, text).reason == "competing_session":
            self._displaced_until = self._clock.now_ns() + _DISPLACED_NS
        elif code == 1300:
            self._fail(State.DOWN, "the gateway moved to another port")
            self._lost.set()
        elif meaning(code, text).reaction is Reaction.ALARM:
            self.unmapped += 1
            self._log.error("ib-unmapped-code", extra={"ib_code": code, "ib_text": text, "request": number})
        else:
            return
        self._heard_at = self._clock.now_ns()
        self._log.info("ib-notice", extra={"ib_code": code, "ib_text": text})
        self._changed()

    def _learn_language(self, code: int, text: str) -> None:
        """One text in another language is enough: those of IB's servers are English whatever the gateway speaks."""
        found = language(code, text)
        if found is None or self.language in (found, "other"):
            return
        self.language = found
        if found == "other":
            self._log.error("ib-other-language", extra={"ib_code": code, "ib_text": text})
        self._changed()

    # ---- asking ------------------------------------------------------------------------------------------------------

    def _connected(self) -> IB:
        if self._ib is None or not self.up:
            raise NotConnected(self._reason)
        return self._ib

    async def _ask(self, request: Awaitable[T], timeout_s: float) -> T:
        """The answer to a request, or IbError, NoAnswer, NotConnected; never an empty list that means all three."""
        asked = asyncio.ensure_future(request)
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({asked, lost}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            if lost.done():
                raise NotConnected(self._reason)
            raise NoAnswer
        except RequestError as wrong:
            raise IbError(int(getattr(wrong, "code", 0)), str(getattr(wrong, "message", wrong))) from None
        except ConnectionError as gone:
            raise NotConnected(str(gone)) from None
        finally:
            asked.cancel()
            lost.cancel()

    async def details(self, contract: Contract) -> list[Any]:
        """Contract details of all that fit."""
        return await self._ask(self._connected().reqContractDetailsAsync(contract), self._short_s)

    async def matches(self, pattern: str) -> list[Any]:
        """Contracts whose symbol begins so, or whose name holds it, as IB describes them (at most 16)."""
        return await self._ask(self._connected().reqMatchingSymbolsAsync(pattern), self._short_s) or []

    async def head(self, contract: Contract, price: str, *, rth: bool) -> Any:
        """The oldest bar there is, as ib_insync parsed it."""
        return await self._ask(
            self._connected().reqHeadTimeStampAsync(contract, price, useRTH=rth, formatDate=2), self._short_s
        )

    async def schedule(self, contract: Contract, days: int, end: str, *, rth: bool) -> Any:
        """The trading sessions of `days` days up to `end` (IB's UTC form; empty: now)."""
        return await self._ask(self._connected().reqHistoricalScheduleAsync(contract, days, end, rth), self._short_s)

    async def history(
        self, contract: Contract, *, end: str, duration: str, size: str, price: str, rth: bool, timeout_s: float
    ) -> list[Any]:
        """Bars as ib_insync parsed them. A request that is given up, by time-out or cancellation, is cancelled at IB."""
        return await self._history_of(self._connected(), contract, end, duration, size, price, rth, timeout_s)

    async def daily(self, contract: Contract, end: str, duration: str) -> list[Any]:
        """Daily bars of regular hours' trades up to `end`, as ib_insync parsed them."""
        return await self.history(
            contract, end=end, duration=duration, size="1 day", price="TRADES", rth=True, timeout_s=self._short_s
        )

    async def daily_in_lots(self, contract: Contract, end: str, duration: str) -> list[Any]:
        """The same as a client of version 174 gets them, whose volumes are in lots of a hundred: over a connection of its
        own, that lives for this one question. NotConnected when the gateway takes no such client."""
        ib = _quiet_client()
        ib.client.MaxClientVersion = _IN_LOTS
        settings = self._settings
        try:
            await ib.client.connectAsync(
                settings.ib_host, settings.ib_port, settings.ib_client_id + _CLIENT_IDS, settings.ib_timeout_s
            )
            if ib.client.serverVersion() > _IN_LOTS:
                raise NotConnected(f"the gateway speaks version {ib.client.serverVersion()} to a client of {_IN_LOTS}")
            return await self._history_of(ib, contract, end, duration, "1 day", "TRADES", True, self._short_s)
        except (TimeoutError, OSError) as failed:
            raise NotConnected(f"no connection of version {_IN_LOTS}: {failed or type(failed).__name__}") from None
        finally:
            ib.client.disconnect()

    async def _history_of(
        self,
        ib: IB,
        contract: Contract,
        end: str,
        duration: str,
        size: str,
        price: str,
        rth: bool,
        timeout_s: float,
    ) -> list[Any]:
        number = ib.client.getReqId()
        rows = BarDataList()
        # The library's own call answers [] for errors and time-outs alike and hides the id that a cancel needs.
        future = ib.wrapper.startReq(number, contract, container=rows)
        ib.client.reqHistoricalData(number, contract, end, duration, size, price, rth, 2, False, [])
        try:
            return list(await self._ask(future, timeout_s))
        except (NoAnswer, asyncio.CancelledError):
            if ib.isConnected():
                ib.client.cancelHistoricalData(number)
            raise
        finally:
            ib.wrapper._futures.pop(number, None)
            ib.wrapper._results.pop(number, None)
