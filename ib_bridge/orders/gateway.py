"""The order process's connection to IB: made by its own handshake, under one client id for ever.

The library's own connecting asks for orders, executions and accounts by itself, and its loop of a client id in use tries
another one. Here nothing is sent that this process did not decide to send, and an id in use is waited for: a client may
change and cancel its own orders alone.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from ib_bridge.ib.client import IB, new_client
from ib_bridge.ib.clock import MarketClock, read_control
from ib_bridge.ib.tap import Tap
from nautilus.clock import NS_PER_S
from nautilus.infra.loops import Backoff, repeat
from nautilus.log import fields
from nautilus.orders.codes import Act, rule
from nautilus.orders.identity import FIRST_REQUEST, LAST_ORDER_ID, LAST_REQUEST
from nautilus.orders.words import (
    BrokerError,
    CurrentTime,
    ManagedAccounts,
    NextOrderId,
    OpenOrder,
    OpenOrdersEnd,
    Word,
)
from nautilus.settings.orders import OrderSettings

_ID_IN_USE = 326
_SERVERS_LOST = (1100, 2110)
_SERVERS_BACK = (1101, 1102)
_CONTROL_S = 0.25
_LONGEST_PAUSE_S = 10.0


class GatewayEvents(NamedTuple):
    """Whom the gateway tells. `hear` gets every word, in order. odd: (callback, what was wrong) of a message that could not be
    read. connected: a connection was made. changed: something about it is different."""

    hear: Callable[[Word], None]
    odd: Callable[[str, str], None]
    connected: Callable[[], None]
    changed: Callable[[], None]


class OrderGateway:
    """One connection at a time, for ever. `number` counts those that were made."""

    def __init__(self, settings: OrderSettings, clock: MarketClock, log: Any, events: GatewayEvents) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._events = events
        self._tap = Tap(self._received, events.odd)
        self._ib: IB | None = None
        self._delay_s = 0.0
        self._answered = asyncio.Event()
        self._time_requested_ns = 0
        self._next_request = FIRST_REQUEST
        self._id_in_use = False
        self.up = False
        self.reason = "connecting for the first time"
        self.servers_lost = False
        self.read_only = False
        """True from the first message that the gateway's box refused, until it answers a question for orders."""
        self.refused = asyncio.Event()
        """Set by each message that the box refused; who asks clears it before."""
        self.lost = asyncio.Event()
        """Set while there is no connection."""
        self.lost.set()
        self.accounts: tuple[str, ...] = ()
        self.next_order_id = 0
        """The lowest order id that IB takes, as it reported after this connection was made."""
        self.used_up_to = 0
        """Above the ids of all orders that IB named over this connection, those of other clients, too."""
        self.server_version = 0
        self.number = 0
        self.epoch = 0
        """Grows with everything after which nobody knows any more what IB has: a connection, an outage and its end, a message
        that could not be read. Who asked IB in an earlier epoch must ask again."""
        self.subscriptions = 0
        """Grows with everything after which subscriptions may be dead: a connection, and the end of an outage."""

    @property
    def client(self) -> Any:
        """The library's client, which encodes and writes. ConnectionError when there is no connection."""
        if self._ib is None or not self.up:
            raise ConnectionError(self.reason)
        return self._ib.client

    @property
    def pnl_requests(self) -> dict[int, tuple[str, int | None]]:
        return self._tap.pnl_requests

    @property
    def value_requests(self) -> dict[int, str]:
        return self._tap.value_requests

    def request_id(self) -> int:
        """A number for a request, of a range from which no order has its id."""
        number = self._next_request
        self._next_request = FIRST_REQUEST if number == LAST_REQUEST else number + 1
        return number

    # ---- staying connected -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, watch, and connect again, until cancelled."""
        try:
            await repeat("order-connection", self._connect_and_watch, self._log, backoff=Backoff(longest_s=2.0))
        finally:
            self.drop("the process ends")

    def drop(self, reason: str) -> None:
        """Let go of the connection; `run` makes a new one."""
        if self.up or self.reason != reason:
            self.reason = reason
            self._log.warning("orders-not-connected", extra={"reason": reason})
        self.up = False
        self.lost.set()
        ib, self._ib = self._ib, None
        if ib is not None:
            ib.client.disconnect()
        self._events.changed()

    def distrust(self) -> None:
        """What is known of orders may be wrong: the questions have to be answered again before anything is sent."""
        self.epoch += 1
        self._events.changed()

    async def is_alive(self) -> bool:
        """Ask for the time. False when nobody answers within the heartbeat's time: the socket may be half open."""
        try:
            await self._read_time(self.client)
        except (TimeoutError, ConnectionError):
            return False
        return True

    async def _read_time(self, client: Any) -> None:
        """Ask for IB's time and learn it. TimeoutError without an answer."""
        self._answered.clear()
        self._time_requested_ns = self._clock.steady_ns()
        client.reqCurrentTime()
        await asyncio.wait_for(self._answered.wait(), self._settings.ib_heartbeat_s)

    async def _connect_and_watch(self) -> None:
        await asyncio.sleep(self._delay_s * random.uniform(0.5, 1.0))
        self._delay_s = min(_LONGEST_PAUSE_S, max(0.2, self._delay_s * 2))
        if await self._connect():
            await self._watch()
            self._delay_s = 0.2

    async def _connect(self) -> bool:
        settings = self._settings
        ib, refused = new_client(), asyncio.Event()
        ib.TimezoneTWS = settings.orders_zone  # of times that come without one
        self._tap.attach(ib)
        self._id_in_use = False
        self.servers_lost = self.read_only = False
        self.accounts, self.next_order_id, self.used_up_to = (), 0, 0
        self._next_request = FIRST_REQUEST
        ib.client.apiError += lambda _text: refused.set()
        ib.client.apiEnd += lambda: self._ended(ib)
        self._ib = ib
        try:
            await self._shake_hands(ib, refused)
            await self._read_clock_first(ib, refused)
        except (TimeoutError, OSError) as failed:
            self.drop(self._reason_of(failed))
            return False
        self.server_version = ib.client.serverVersion()
        self.number += 1
        self.epoch += 1
        self.subscriptions += 1
        self.lost.clear()
        self.up = True
        self.reason = ""
        self._log.info(
            "orders-connected",
            extra=fields(
                client_id=settings.orders_client_id,
                server_version=self.server_version,
                accounts=self.accounts,
                next_order_id=self.next_order_id,
            ),
        )
        self._events.connected()
        self._events.changed()
        return True

    async def _shake_hands(self, ib: IB, refused: asyncio.Event) -> None:
        """Bytes of the handshake and of startApi alone; ConnectionError as soon as the gateway hangs up."""
        settings = self._settings
        made = asyncio.ensure_future(
            ib.client.connectAsync(settings.ib_host, settings.ib_port, settings.orders_client_id, settings.ib_timeout_s)
        )
        refusal = asyncio.ensure_future(refused.wait())
        try:
            await asyncio.wait({made, refusal}, return_when=asyncio.FIRST_COMPLETED)
            if not made.done():
                raise ConnectionError("the gateway hung up")
            made.result()
        finally:
            refusal.cancel()
            made.cancel()
            await asyncio.gather(made, return_exceptions=True)

    def _reason_of(self, failed: Exception) -> str:
        where = f"{self._settings.ib_host}:{self._settings.ib_port}"
        number = self._settings.orders_client_id
        if self._id_in_use:
            return (
                f"client id {number} is in use at {where} (326): waiting for it, as orders are known by their client id"
            )
        if isinstance(failed, TimeoutError):
            return f"{where} takes the connection but does not answer: it may be waiting for a login"
        return f"{where} cannot be reached ({failed or type(failed).__name__})"

    async def _watch(self) -> None:
        """Return when the connection is lost: it was closed, or was silent for two heartbeats."""
        control = asyncio.create_task(repeat("orders-control", self._follow_control, self._log))
        missed = 0
        try:
            while not self.lost.is_set():
                try:
                    await asyncio.wait_for(self.lost.wait(), self._settings.ib_heartbeat_s)
                except TimeoutError:
                    missed = 0 if await self.is_alive() else missed + 1
                if missed >= 2:
                    self.drop("the gateway stopped answering")
        finally:
            control.cancel()

    def _ended(self, ib: IB) -> None:
        if ib is self._ib and not self.lost.is_set():
            self.drop("the gateway closed the connection")

    # ---- what comes --------------------------------------------------------------------------------------------------

    def _received(self, word: Word) -> None:
        """What is about the connection counts at once: it can only stop orders, or end a wait. The rest is recorded first."""
        if isinstance(word, NextOrderId):
            self.next_order_id = max(self.next_order_id, word.order_id)
        elif isinstance(word, ManagedAccounts):
            self._learn_accounts(word.accounts)
        elif isinstance(word, CurrentTime):
            self._answered.set()
            if not self._settings.control_port:
                self._clock.learn_seconds(word.time_s, self._time_requested_ns, self._clock.steady_ns())
        elif isinstance(word, BrokerError):
            self._note_error(word)
        elif isinstance(word, OpenOrder):
            # IB demands ids above those of all orders that it showed, also of other clients.
            if word.order_id <= LAST_ORDER_ID:
                self.used_up_to = max(self.used_up_to, word.order_id + 1)
        elif isinstance(word, OpenOrdersEnd) and self.read_only:
            self.read_only = False
            self._events.changed()
        self._events.hear(word)

    def _learn_accounts(self, accounts: tuple[str, ...]) -> None:
        changed = self.up and accounts != self.accounts
        self.accounts = accounts
        if changed:
            self.drop(f"the gateway's accounts changed to {', '.join(accounts)}: connecting anew")

    def _note_error(self, word: BrokerError) -> None:
        if word.code == _ID_IN_USE:
            self._id_in_use = True
        elif word.code in (*_SERVERS_LOST, *_SERVERS_BACK):
            self.servers_lost = word.code in _SERVERS_LOST
            self.subscriptions += not self.servers_lost
            self.distrust()
        elif rule(word.code, word.text).act is Act.HALT:
            self.refused.set()
            if not self.read_only:
                self.read_only = True
                self.distrust()

    # ---- what time it is ---------------------------------------------------------------------------------------------

    async def _read_clock_first(self, ib: IB, refused: asyncio.Event) -> None:
        """Market time is known before anything is written down about this connection: when an account's positions were taken
        as its openings decides which executions count. TimeoutError, ConnectionError."""
        if self._settings.control_port:
            await self._read_control()
        else:
            await self._read_time(ib.client)
        if refused.is_set() or not ib.client.isConnected():
            raise ConnectionError("the gateway hung up")

    async def _follow_control(self) -> None:
        await self._read_control()
        await asyncio.sleep(_CONTROL_S if self._settings.control_port else self._settings.ib_heartbeat_s)

    async def _read_control(self) -> None:
        """A simulator's clock, which may run fast, stand still or jump."""
        if not self._settings.control_port:
            return
        sent = self._clock.steady_ns()
        try:
            now, rate = await read_control(self._settings.control_host, self._settings.control_port)
        except (TimeoutError, OSError, ValueError):
            return
        jumped = abs(now - self._clock.now_ns()) > NS_PER_S
        self._clock.learn(now, rate, sent, self._clock.steady_ns())
        if jumped:
            self._events.changed()
