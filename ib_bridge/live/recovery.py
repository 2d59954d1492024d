"""After whatever ends or silences streams: what is lost, when it is requested again, and in which order.

Nothing IB says about an outage is believed: "data maintained" (1102) least of all. A stream lives when it speaks, and what it
missed shows in the times of its bars.
"""

import asyncio
import time
from collections.abc import Callable

from ib_bridge.ib.codes import FARM_CODES
from ib_bridge.live.bar_streams import BarStreams
from ib_bridge.live.ledger import move
from ib_bridge.live.probing import Probing
from ib_bridge.live.streams import FOR_GOOD, Stream, StreamState
from ib_bridge.live.subscribing import Subscribing
from ib_bridge.live.watchdog import Alarm, Silence, expect_again, is_open, silent, was_right_to_be_silent
from ib_bridge.parts import BridgeParts
from nautilus.clock import NS_PER_S
from nautilus.live.subscriptions import Source
from nautilus.log import fields
from nautilus.market import farms

_QUIET_NS = 3 * NS_PER_S
"""Farm notices come in tens within a second: nothing is requested before this long after the last."""
_COMPETING = "competing_session"
_COMPETING_NS = 60 * NS_PER_S
_REFUSED_NS, _REFUSED_S = 10 * NS_PER_S, 2.0
"""Market time and machine time after which IB would have refused a request."""
_TRIED = (Source.MARKET_DATA, Source.KEEP_UP_TO_DATE, Source.TICK_BY_TICK, Source.REAL_TIME_BARS)
"""Quotes cost least, and IB answers the first two at once, also in a closed market."""
_MARKET_CLOSED, _HALTED = "market_closed", "halted"
_FARM_SOURCES = frozenset({Source.REAL_TIME_BARS, Source.MARKET_DATA, Source.TICK_BY_TICK})


class Recovery:
    """Finds streams that are lost, and has them requested again."""

    def __init__(
        self,
        parts: BridgeParts,
        subscribing: Subscribing,
        bars: BarStreams,
        *,
        probing: Probing,
        changed: Callable[[Stream], None],
        wake: Callable[[], None],
    ) -> None:
        self._ledger = subscribing.ledger
        self._subscribing = subscribing
        self._bars = bars
        self._connection = parts.connection
        self._clock = parts.clock
        self._probing = probing
        self._changed = changed
        self.wake = wake
        self._log = parts.log
        self.quiet_until = 0
        """Market time before which no stream is requested."""
        self._halted: set[int] = set()
        """con_ids whose quote says that trading is halted."""
        self._competing = False
        self._unwell = False
        self._probes: set[asyncio.Task[None]] = set()

    # ---- what IB says ------------------------------------------------------------------------------------------------

    def notice(self, code: int) -> None:
        """IB sent a message about farms or servers."""
        now = self._clock.now_ns()
        well = FARM_CODES.get(code, ("", ""))[1] in ("ok", "inactive")
        if code not in FARM_CODES and code not in (1100, 1101, 1102, 2110):
            return
        if not well or self._unwell:
            self.quiet_until = now + _QUIET_NS
        self._unwell = not well and code not in (1101, 1102)
        if code in (1100, 2110):
            self._all_silent("ib_servers_lost")
        elif code == 1101:
            for stream in self._requested():
                self.lose(stream, "ib_servers_back_data_lost")
            self.wake()

    def _all_silent(self, reason: str) -> None:
        for stream in self._requested():
            self._note_loss(stream, reason)
            move(stream, StreamState.STALE, reason, self._clock.now_ns())
            self._changed(stream)

    def _requested(self) -> list[Stream]:
        return [stream for stream in self._ledger.streams.values() if stream.request is not None]

    def competing(self) -> None:
        """Somebody else uses the login: all streams are dead. IB does not say when it is over: one is requested each minute."""
        now = self._clock.now_ns()
        for stream in self._requested():
            self._note_loss(stream, _COMPETING)
            self._let_go(stream)
        self._competing = True
        for stream in self._displaced():
            stream.not_before = FOR_GOOD
            move(stream, StreamState.WANTED, _COMPETING, now)
        self._try_one(now)
        for stream in self._displaced():
            self._changed(stream)

    def _displaced(self) -> list[Stream]:
        """The streams that could be requested, in the order in which they are tried."""
        lost = [s for s in self._ledger.streams.values() if s.source in _TRIED and s.request is None]
        return sorted(lost, key=lambda s: (_TRIED.index(s.source or Source.POLL), -s.want.priority, s.want.since_s))

    def _try_one(self, now: int) -> None:
        """Have one stream requested in a minute, unless one is under way."""
        lost = self._displaced()
        if lost and not self._requested() and all(stream.not_before >= FOR_GOOD for stream in lost):
            lost[0].not_before = now + _COMPETING_NS

    def _check_login(self, now: int) -> None:
        """IB refuses at once while somebody else uses the login: a request that it has not refused for a while is served."""
        for stream in self._requested():
            if now - stream.sent_at >= _REFUSED_NS and time.monotonic() - stream.sent_s >= _REFUSED_S:
                self.login_is_ours(stream)
                return
        self._try_one(now)

    def login_is_ours(self, stream: Stream) -> None:
        """A stream is served: where somebody else used the login, that is over."""
        if self._competing:
            self._competing = False
            self._connection.health.displacement_over()
            for other in self._ledger.streams.values():
                other.not_before = 0
            self._log.info("competing-session-over", extra={"stream": str(stream.key)})

    # ---- losses ------------------------------------------------------------------------------------------------------

    def lose(self, stream: Stream, reason: str, *, wait_s: float = 0.0) -> None:
        """A stream is dead: end what may be left of it at IB, and have it requested again."""
        now = self._clock.now_ns()
        self._note_loss(stream, reason)
        if stream.source is not None:
            self._subscribing.cancel(stream, stream.source)
        stream.not_before = max(now + int(wait_s * NS_PER_S), self.quiet_until)
        self._again(stream, reason, now)

    def _again(self, stream: Stream, reason: str, now: int) -> None:
        stream.resubscribed += 1
        if stream.source is Source.REAL_TIME_BARS:
            stream.source = None  # a new one counts among the 60 of ten minutes: the ledger decides
        move(stream, StreamState.WANTED, reason, now)
        self._changed(stream)
        self._log.warning("stream-lost", extra=fields(stream=str(stream.key), reason=reason))

    def _note_loss(self, stream: Stream, reason: str) -> None:
        if stream.lost_at is None and (stream.last_event_at is not None or stream.resubscribed):
            newest = self._bars.newest(stream) if stream.is_bars else None
            stream.lost_at = newest.ts if newest is not None else stream.last_event_at or self._clock.now_ns()
            stream.loss = reason

    def _let_go(self, stream: Stream) -> None:
        self._subscribing.over(stream)
        stream.booked = None

    def check_connection(self) -> None:
        """What was requested over a connection that is no more is lost with it."""
        now = self._clock.now_ns()
        for stream in self._requested():
            if not self._connection.up or stream.connection != self._connection.number:
                self._note_loss(stream, "connection_lost")
                self._let_go(stream)
                stream.not_before = 0
                self._again(stream, "connection_lost", now)

    # ---- silence -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look for streams that are silent without a reason. Call it each second."""
        self.check_connection()
        now = self._clock.now_ns()
        if self._competing:
            self._check_login(now)
        for stream in self._ledger.streams.values():
            self._tell_closed_market(stream, now)
        if not self._connection.up or self._connection.health.servers_lost:
            return
        for silence in silent(self._ledger.streams.values(), now, time.monotonic()):
            if self._farm_is_away(silence.stream):
                self._stale(silence.stream, "farm_away")
            elif silence.alarm is Alarm.STALE:
                self._stale(silence.stream, "silent")
            else:
                self._probe(silence)

    def note_halt(self, con_id: int, halted: bool) -> None:
        """What a quote says of a halt, or, False, that no quote says anything any more: then silence counts again."""
        if halted:
            self._halted.add(con_id)
        elif con_id in self._halted:
            self._halted.discard(con_id)
            for stream in self._ledger.streams.values():
                if stream.key.con_id == con_id and stream.reason == _HALTED:
                    expect_again(stream, self._clock.now_ns())

    def _stale(self, stream: Stream, reason: str) -> None:
        if stream.state is not StreamState.STALE:
            move(stream, StreamState.STALE, reason, self._clock.now_ns())
            self._changed(stream)

    def _tell_closed_market(self, stream: Stream, now: int) -> None:
        """Silence of a closed market has a reason of its own, and is no hole."""
        if stream.request is None or stream.calendar is None or now >= stream.calendar.known[1]:
            return
        closed = not is_open(stream.calendar, now)
        if closed and stream.reason != _MARKET_CLOSED and stream.state in (StreamState.LIVE, StreamState.ASKING):
            move(stream, stream.state, _MARKET_CLOSED, now)
            self._changed(stream)
        elif not closed and stream.reason == _MARKET_CLOSED:
            move(stream, stream.state, "", now)
            self._changed(stream)

    def _farm_is_away(self, stream: Stream) -> bool:
        """True when the market data farm that serves it is known to be broken: history proves nothing then."""
        if stream.source not in _FARM_SOURCES:
            return not self._connection.serves(stream.instrument)
        region = farms.region(stream.instrument)
        return any(
            farm["kind"] == "market" and farm["state"] in ("broken", "connecting") and farms.served_by(name) == region
            for name, farm in self._connection.health.farms.items()
        )

    def _probe(self, silence: Silence) -> None:
        silence.stream.probed = True
        task = asyncio.create_task(self._ask_history(silence))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _ask_history(self, silence: Silence) -> None:
        """Ask history once, and believe it."""
        stream, request = silence.stream, silence.stream.request
        try:
            more = await self._probing.has_more(stream, silence.since, self._bars.newest(stream))
        except Exception as failed:
            self._log.warning("stream-not-probed", extra=fields(stream=str(stream.key), reason=str(failed)))
            more = None
        now = self._clock.now_ns()
        if stream.request != request or (stream.last_event_at or 0) > silence.since:
            return  # it has spoken meanwhile, or is another one
        if more:
            self.lose(stream, "mute")
            self.wake()
        elif stream.key.con_id in self._halted:
            stream.probe_after_ns = FOR_GOOD
            move(stream, StreamState.STALE, _HALTED, now)
        elif more is False:
            was_right_to_be_silent(stream, now)
            move(stream, StreamState.LIVE, "no_trades", now)
        else:
            was_right_to_be_silent(stream, now)
        self._changed(stream)
