"""Asking IB for streams and ending them: booked before they are sent, in order, and never faster than IB allows."""

import time
from collections.abc import Awaitable, Callable

from ib_bridge.history.booking import PATIENCE_NS, NotYet
from ib_bridge.ib.connection import NotConnected
from ib_bridge.ib.live_requests import LiveRequests
from ib_bridge.live.ledger import Ledger, move
from ib_bridge.live.streams import Stream, StreamState, market_s
from ib_bridge.parts import BridgeParts
from nautilus.backfill.pacing import Request
from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.live.subscriptions import INTERACTIVE, Source, StreamKey
from nautilus.log import fields
from nautilus.settings.bridge import BridgeSettings

_ORDER = (Source.MARKET_DATA, Source.TICK_BY_TICK, Source.KEEP_UP_TO_DATE, Source.REAL_TIME_BARS)
"""After a reconnection quotes come first: no rule holds them up. The others follow by priority."""
_SOONEST_CANCEL_S = 0.5
"""IB answers a cancellation that follows its request at once with errors (QuantConnect/Lean#1134)."""
_SHORTEST_S = 1_800
_LONGEST_S = 86_400
_YOUNG_NS = 300 * NS_PER_S
"""In the first minutes of a session a short request may have no bar in it yet, and then IB gives no stream."""


class Subscribing:
    """Requests of streams. book: books the request of a bar that is kept up to date. changed: called with a stream whose state
    changed."""

    def __init__(
        self,
        settings: BridgeSettings,
        parts: BridgeParts,
        ledger: Ledger,
        *,
        book: Callable[[StreamKey], Awaitable[int]],
        changed: Callable[[Stream], None],
    ) -> None:
        self._book_bars = book
        self.ledger = ledger
        self._connection = parts.connection
        self._asks = LiveRequests(parts.connection)
        self._booking = parts.booking
        self._clock = parts.clock
        self._open = parts.open_requests
        self._feed = settings.live_feed
        self._shared_book = settings.live_rtb_book == "shared"
        self._changed = changed
        self._log = parts.log
        self._typed = 0
        """The connection on which the type of market data was set."""
        self.by_request: dict[int, Stream] = {}
        self._cancelling: list[tuple[float, Source, int, int]] = []

    # ---- asking ------------------------------------------------------------------------------------------------------

    def next(self, quiet_until: int) -> Stream | None:
        """The stream that is to be requested next; None when none may be now. quiet_until: nothing is requested before, as the
        connection is not well yet."""
        now = self._clock.now_ns()
        if not self._connection.up or now < quiet_until or self._connection.health.servers_lost:
            return None
        waiting = [s for s in self.ledger.streams.values() if self._may_be_requested(s, now)]
        return min(waiting, key=self._turn, default=None)

    @staticmethod
    def _turn(stream: Stream) -> tuple[int, int, float]:
        assert stream.source is not None  # noqa: S101  for the type checker
        return _ORDER.index(stream.source), -stream.want.priority, stream.want.since_s

    def _may_be_requested(self, stream: Stream, now: int) -> bool:
        if stream.source is None or stream.source is Source.POLL or stream.request is not None:
            return False
        if stream.state is not StreamState.WANTED or now < stream.not_before:
            return False
        if stream.source is Source.KEEP_UP_TO_DATE:
            reached = self._connection.health.reaches(
                stream.instrument
            )  # recovery tries whether the login is ours again
            return reached and self._open.has_room_for_live(self.held())
        return True

    def held(self) -> int:
        """How many of IB's open historical requests are held by streams now."""
        return sum(1 for s in self.by_request.values() if s.source is Source.KEEP_UP_TO_DATE)

    async def request(self, stream: Stream) -> None:
        """Book the request of a stream and send it. NotConnected when the connection went meanwhile."""
        source, connection = stream.source, self._connection.number
        assert source is not None  # noqa: S101  for the type checker
        try:
            booked = await self._book(stream, source)
        except NotYet as later:
            self._defer(stream, source, (later.retry_after_s or 1) * max(self._clock.reading.rate, 0.001))
            return
        if stream.source is not source or stream.request is not None or connection != self._connection.number:
            await self._booking.close(booked, "cancelled", time.monotonic())
            return
        stream.booked = booked
        self._send(stream, source)

    def _defer(self, stream: Stream, source: Source, market_s: float) -> None:
        """The pacing book has no room for a request before so many seconds of market time are over."""
        now = self._clock.now_ns()
        if source is Source.REAL_TIME_BARS:
            self.ledger.refuse(stream, now, seconds=market_s, reason="real_time_query", code=None, refused=False)
        else:
            stream.not_before = now + int(market_s * NS_PER_S)
            move(stream, StreamState.WANTED, "pacing", now)
            self._changed(stream)

    async def _book(self, stream: Stream, source: Source) -> int:
        if source is Source.KEEP_UP_TO_DATE:
            return await self._book_bars(stream.key)
        kind, rules = f"live-{source.value}", self._rules(stream, source)
        # Streams of ticks of one instrument begin 15 s apart: others are not to wait for that.
        patience_ns = 0 if rules.tick_by_tick else PATIENCE_NS
        return await self._booking.book(self._connection.login, kind, rules, patience_ns=patience_ns)

    def _send(self, stream: Stream, source: Source) -> None:
        now = self._clock.now_ns()
        if self._typed != self._connection.number:
            self._asks.market_data_type(self._feed)
            self._typed = self._connection.number
        match source:
            case Source.KEEP_UP_TO_DATE:
                stream.duration_ns, text = duration(stream, now)
                number = self._asks.keep_up_to_date(stream.instrument, stream.key.price, stream.key.session, text)
            case Source.REAL_TIME_BARS:
                number = self._asks.real_time_bars(stream.instrument, stream.key.price, stream.key.session)
                self.ledger.real_time_bars_begun.append(market_s(now))
            case Source.MARKET_DATA:
                number = self._asks.market_data(stream.instrument)
            case _:
                number = self._asks.tick_by_tick(stream.instrument, stream.key.price)
        stream.request, stream.connection, stream.sent_at = number, self._connection.number, now
        stream.attempts += 1
        stream.last_event_at = None
        stream.sent_s = stream.last_event_s = time.monotonic()
        self.by_request[number] = stream
        move(stream, StreamState.ASKING, "", now)
        self._changed(stream)
        self._log.info("stream-requested", extra=fields(stream=str(stream.key), source=source.value, request=number))

    def _rules(self, stream: Stream, source: Source) -> Request:
        """A stream's request as the pacer sees it."""
        key, instrument = stream.key, stream.instrument
        kind = key.price or key.kind
        by_tick = source is Source.TICK_BY_TICK
        same = (key.con_id,) if by_tick else key
        return Request(
            identity="|".join(map(str, ("live", source.value, *same))),
            contract=f"{instrument.con_id}|{instrument.exchange}|{kind}",
            small=source is Source.REAL_TIME_BARS and self._shared_book,
            interactive=stream.want.priority >= INTERACTIVE,
            historical=False,
            tick_by_tick=by_tick,
        )

    # ---- ends --------------------------------------------------------------------------------------------------------

    def cancel(self, stream: Stream, source: Source) -> None:
        """End a stream's request at IB, if it has one there. It leaves shortly after the request at the earliest."""
        number, connection = stream.request, stream.connection
        self.over(stream)
        if number is None or connection != self._connection.number or not self._connection.up:
            return
        self._connection.callbacks.forget(number)
        wait_ns = stream.sent_at + int(_SOONEST_CANCEL_S * NS_PER_S) - self._clock.now_ns()
        due = time.monotonic() + (_SOONEST_CANCEL_S if source is Source.MARKET_DATA and wait_ns > 0 else 0)
        self._cancelling.append((due, source, number, connection))
        self.send_cancellations()

    def send_cancellations(self, *, all_of_them: bool = False) -> None:
        """Send the cancellations that are due."""
        now = time.monotonic()
        waiting, self._cancelling = self._cancelling, []
        for row in waiting:
            due, source, number, connection = row
            if due > now and not all_of_them:
                self._cancelling.append(row)
            elif connection == self._connection.number and self._connection.up:
                self._cancel(source, number)

    def _cancel(self, source: Source, number: int) -> None:
        ends = {
            Source.KEEP_UP_TO_DATE: self._asks.cancel_bars,
            Source.REAL_TIME_BARS: self._asks.cancel_real_time_bars,
            Source.MARKET_DATA: self._asks.cancel_market_data,
            Source.TICK_BY_TICK: self._asks.cancel_tick_by_tick,
        }
        try:
            ends[source](number)
        except NotConnected:
            return

    def over(self, stream: Stream) -> None:
        """The stream's request is none any more."""
        if stream.request is not None:
            self.by_request.pop(stream.request, None)
        stream.request = None


def duration(stream: Stream, now: int) -> tuple[int, str]:
    """How much history the request of a bar that is kept up to date asks for, in ns and in IB's words.

    It reaches back to the last bar that history has confirmed, or to where the stream was lost, at most a day. For longer bars it
    reaches to the session's open. There must be a bar in it, or IB gives no stream: near the open it is two trade dates, of
    which only the last half hour is sure to be whole.
    """
    calendar = stream.calendar
    session = calendar.session_at(now) if calendar is not None else None
    if session is None or now - session.open_ns < _YOUNG_NS:
        return _SHORTEST_S * NS_PER_S, "2 D"
    since = [at for at in (stream.confirmed_until, stream.lost_at) if at is not None]
    start = max(min(since, default=now), now - NS_PER_DAY)
    if any(name not in ("1m", "5s") for name in stream.want.timeframes):
        start = min(start, session.open_ns)
    seconds = min(_LONGEST_S, max(_SHORTEST_S, (now - start) // NS_PER_S + 120))
    return seconds * NS_PER_S, f"{seconds} S"
