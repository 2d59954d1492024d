"""The connection to IB: connect, stay connected, and learn what works (`health`) and what time it is (`clock`)."""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ib_bridge.ib.client import IB, fail, new_client
from ib_bridge.ib.clock import MarketClock, ask_control, read_control
from ib_bridge.ib.codes import Reaction, Scope, meaning
from ib_bridge.ib.health import PORT_MOVED, ConnectionHealth, ConnectionState, Health
from ib_bridge.ib.live_callbacks import LiveCallbacks
from nautilus.clock import NS_PER_S
from nautilus.infra.loops import Backoff, repeat
from nautilus.log import fields
from nautilus.market.instrument import Instrument
from nautilus.settings.bridge import BridgeSettings
from nautilus.settings.gateway import CLIENT_IDS

_ID_IN_USE = 326
_CONTROL_S = 0.25
_CLOCK_PAUSE_S = 0.27
"""Between the first requests for the time: no divisor of a second, so that each answer says something else."""


class _HungUp(ConnectionError):
    """The gateway took the connection and ended it during the handshake."""


class NotConnected(Exception):
    """There is no connection, or it went away while waiting."""


class IbConnection:
    """One connection to IB at a time, for ever. `changed` is called whenever something about it changes."""

    def __init__(self, settings: BridgeSettings, clock: MarketClock, log: Any, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._changed = changed
        self.health = ConnectionHealth()
        self.callbacks = LiveCallbacks()
        self._ib: IB | None = None
        self._delay_s = 0.0
        self._rotation = 0
        self._time_lock = asyncio.Lock()
        self._retry_now = asyncio.Event()
        self.lost = asyncio.Event()
        """Set while there is no connection and none is being made."""
        self.lost.set()
        self.accounts: list[str] = []
        self.client_id = settings.ib_client_id
        self.server_version: int | None = None
        self.number = 0
        """Counts the connections that were made."""
        self.stated_volume_unit: str | None = None
        """In which unit a simulator says that it sends volumes of US stocks; None where nobody says."""

    # ---- what works --------------------------------------------------------------------------------------------------

    @property
    def login(self) -> str:
        """The name of the pacing book: one per IB login."""
        return ",".join(self.accounts)

    @property
    def up(self) -> bool:
        """True while the socket is connected and the handshake done."""
        return self.health.up

    @property
    def can_resolve(self) -> bool:
        """True when contract lookups can be trusted."""
        return self.health.can_resolve

    def status(self) -> Health:
        """The state of the connection now."""
        return self.health.at(self._clock.now_ns())

    def serves(self, instrument: Instrument) -> bool:
        """True when history of this instrument can be requested now."""
        return self.health.serves(instrument, self._clock.now_ns())

    def client(self) -> IB:
        """The client of the present connection; NotConnected when there is none."""
        if self._ib is None or not self.up:
            raise NotConnected(self.health.reason)
        return self._ib

    # ---- staying connected -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, watch, and connect again, until cancelled: no error ends it."""
        try:
            await repeat("session", self._connect_and_watch, self._log, backoff=Backoff(longest_s=1.0))
        finally:
            self._close()

    def drop(self) -> None:
        """Let go of the connection; `run` makes a new one."""
        self._fail(ConnectionState.DOWN, "reconnecting because it was asked for")
        self._retry_now.set()
        self._lose()

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
                self._rotation = (self._rotation + 1) % CLIENT_IDS
                self._delay_s = 0.2
        except Exception as broke:
            self._close()
            reason = f"the connection broke ({type(broke).__name__}: {broke}); connecting anew"
            self._fail(ConnectionState.DOWN, reason)
            raise

    async def _pause(self, seconds: float) -> None:
        """Wait so many seconds of market time before the next attempt, unless somebody asks for it now."""
        self._retry_now.clear()
        try:
            # A simulator's clock that stands still, or that nobody reads meanwhile, must not hold us.
            await asyncio.wait_for(self._retry_now.wait(), seconds / max(1.0, self._clock.reading.rate))
        except TimeoutError:
            return

    async def _connect(self) -> bool:
        """Try once; True when it failed because the client id is in use."""
        self._close()
        ib = new_client()
        self.callbacks.attach(ib)
        codes: set[int] = set()
        refused = asyncio.Event()

        def on_error(number: int, code: int, text: str, _contract: Any) -> None:
            codes.add(code)
            self._on_error(ib, number, code, text)

        ib.errorEvent += on_error
        ib.client.apiError += lambda _text: refused.set()
        ib.disconnectedEvent += lambda: self._on_disconnect(ib)
        self.lost.clear()
        self.health.connecting()
        self._ib = ib
        try:
            await self._shake_hands(ib, refused)
        except (TimeoutError, OSError, ConnectionError) as failed:
            # The library takes every hang-up during the handshake for an id in use; only IB's own word for it counts.
            in_use = _ID_IN_USE in codes
            self._fail(*self._reason_of(failed, in_use=in_use))
            self._lose()
            return in_use
        await self._begin(ib)
        return False

    def _reason_of(self, failed: Exception, *, in_use: bool) -> tuple[ConnectionState, str]:
        """Why an attempt failed, and the state that this means."""
        if in_use:
            return ConnectionState.DOWN, f"client id {self.client_id} is in use"
        if isinstance(failed, TimeoutError):
            reason = f"{self._where} takes the connection but does not answer: it may be waiting for a login"
            return ConnectionState.NEEDS_LOGIN, reason
        if isinstance(failed, _HungUp):
            reason = f"{self._where} takes the connection and hangs up: the gateway behind it is starting or away"
            return ConnectionState.DOWN, reason
        return ConnectionState.DOWN, f"{self._where} cannot be reached ({failed or type(failed).__name__})"

    @property
    def _where(self) -> str:
        return f"{self._settings.ib_host}:{self._settings.ib_port}"

    async def _begin(self, ib: IB) -> None:
        """The handshake is done: learn who we are and what time it is."""
        self.accounts = sorted(ib.client.getAccounts())
        self.server_version = ib.client.serverVersion()
        self.number += 1
        self.stated_volume_unit = None
        self.health.up = not self.lost.is_set()
        if self._settings.control_port:
            await self._read_control()
            await self._read_volume_unit()
        else:
            await self._read_clock_first()
        self.health.connected(self._clock.now_ns())
        self._log.info(
            "ib-connected",
            extra=fields(
                where=self._where, client_id=self.client_id, server_version=self.server_version, accounts=self.accounts
            ),
        )
        self._changed()

    async def _shake_hands(self, ib: IB, refused: asyncio.Event) -> None:
        """Connect; ConnectionError as soon as the gateway hangs up, for which the library would wait the whole time-out."""
        settings = self._settings
        connecting = asyncio.ensure_future(
            # Not the library's own connecting, which subscribes to positions and values of accounts and asks for
            # executions: these are the order process's.
            ib.client.connectAsync(settings.ib_host, settings.ib_port, self.client_id, settings.ib_timeout_s)
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
        """Return when the connection is lost: it was closed, or was silent for two heartbeats."""
        missed = 0
        virtual = (
            asyncio.create_task(repeat("control", self._follow_control, self._log))
            if self._settings.control_port
            else None
        )
        try:
            while not self.lost.is_set():
                try:
                    await asyncio.wait_for(self.lost.wait(), self._settings.ib_heartbeat_s)
                except TimeoutError:
                    missed = 0 if await self._read_clock() else missed + 1
                if missed >= 2:
                    self._fail(ConnectionState.DOWN, "the gateway stopped answering")
                    self._lose()
                elif self.health.is_stale(self._clock.now_ns()):
                    reason = "no word of what is away for ten minutes: connecting anew to be told"
                    self._fail(ConnectionState.DOWN, reason)
                    self._lose()
        finally:
            if virtual is not None:
                virtual.cancel()
        self._close()
        self._changed()

    def _fail(self, state: ConnectionState, reason: str) -> None:
        if self.health.failed(state, reason):
            self._log.warning("ib-not-connected", extra={"state": state.value, "reason": reason})
        self._changed()

    def _lose(self) -> None:
        self.health.up = False
        self.lost.set()

    def _close(self) -> None:
        self._lose()
        if self._ib is not None:
            ib, self._ib = self._ib, None
            ib.disconnect()

    # ---- what the gateway says ---------------------------------------------------------------------------------------

    def _on_disconnect(self, ib: IB) -> None:
        if ib is self._ib and not self.lost.is_set():
            self._fail(ConnectionState.DOWN, "the gateway closed the connection")
            self._lose()

    def _on_error(self, ib: IB, number: int, code: int, text: str) -> None:
        """Every message of IB passes here: notices change what we know, the rest belongs to its request."""
        found = meaning(code, text)
        if found.scope is Scope.REQUEST and found.reaction is not Reaction.INFO:
            fail(ib, number, code, text)
        self.callbacks.error(number, code, text)
        if self.health.learn_language(code, text):
            if self.health.language == "other":
                self._log.error("ib-other-language", extra={"ib_code": code, "ib_text": text})
            self._changed()
        if not self.health.note(code, text, self._clock.now_ns()):
            return
        if code == PORT_MOVED:
            self._fail(ConnectionState.DOWN, "the gateway moved to another port")
            self._lose()
        elif found.reaction is Reaction.ALARM:
            self._log.error("ib-unmapped-code", extra={"ib_code": code, "ib_text": text, "request": number})
        self._log.info("ib-notice", extra={"ib_code": code, "ib_text": text})
        self._changed()

    # ---- what time it is ---------------------------------------------------------------------------------------------

    async def _read_clock(self) -> bool:
        """A heartbeat: ask the gateway for the time. False when nobody answers."""
        try:
            async with self._time_lock:
                ib = self.client()
                sent = self._clock.steady_ns()
                moment: datetime = await asyncio.wait_for(ib.reqCurrentTimeAsync(), self._settings.ib_heartbeat_s)
        except (TimeoutError, NotConnected, ConnectionError):
            return False
        if not self._settings.control_port:
            self._clock.learn_seconds(int(moment.timestamp()), sent, self._clock.steady_ns())
        return True

    async def _read_clock_first(self) -> None:
        """Ask for the time, and for the first time a few times more: each answer is good for a second only, all together
        for a fraction of it."""
        while await self._read_clock() and self._clock.uncertain and not self.lost.is_set():
            await asyncio.sleep(_CLOCK_PAUSE_S)

    async def _follow_control(self) -> None:
        """Keep up with a simulator's clock, which may run fast, stand still or jump."""
        await self._read_control()
        await asyncio.sleep(_CONTROL_S)

    async def _read_control(self) -> None:
        sent = self._clock.steady_ns()
        try:
            now, rate = await read_control(self._settings.control_host, self._settings.control_port)
        except (TimeoutError, OSError, ValueError):
            return
        jumped = abs(now - self._clock.now_ns()) > NS_PER_S
        self._clock.learn(now, rate, sent, self._clock.steady_ns())
        if jumped:
            self._changed()  # readers of the published clock must not wait for the next heartbeat

    async def _read_volume_unit(self) -> None:
        try:
            answer = await ask_control(self._settings.control_host, self._settings.control_port, "volume_unit")
        except (TimeoutError, OSError, ValueError) as silent:
            self._log.warning("volume-unit-not-stated", extra={"reason": str(silent)})
            return
        if answer.get("stocks") in ("shares", "lots"):
            self.stated_volume_unit = answer["stocks"]
