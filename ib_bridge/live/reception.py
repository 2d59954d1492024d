"""What IB sends, value by value: to the folds, the quotes, or whoever deals with an error."""

import time
from collections.abc import Callable
from typing import NamedTuple

from ib_bridge.ib.live_callbacks import (
    BarUpdate,
    DataType,
    FirstBars,
    FiveSecondBar,
    MidpointTick,
    Problem,
    QuoteChange,
    QuoteTick,
    SystemNotice,
    Trade,
    Value,
)
from ib_bridge.live.bar_streams import BarStreams
from ib_bridge.live.confirming import Confirming
from ib_bridge.live.ledger import move
from ib_bridge.live.quote_state import QuoteState, size_factor
from ib_bridge.live.recovery import Recovery
from ib_bridge.live.refusals import Effect, Verdict, verdict
from ib_bridge.live.streams import Block, Stream, StreamState
from ib_bridge.live.subscribing import Subscribing
from ib_bridge.live.telling import Telling, channels_of
from ib_bridge.parts import BridgeParts
from nautilus.clock import NS_PER_S
from nautilus.errors import Unavailable
from nautilus.live.subscriptions import SOURCES
from nautilus.log import fields
from nautilus.market.bar import Bar
from nautilus.market.instrument import QUOTE_KINDS


class _Ended(NamedTuple):
    """How a booked request ended."""

    booked: int
    outcome: str
    code: int | None = None
    text: str | None = None


class _Answer(NamedTuple):
    """The first answer of a bar that is kept up to date, to be stored as history's. booked: its row of ib_requests."""

    stream: Stream
    answer: FirstBars
    booked: int
    ms: int


class Reception:
    """Takes values in the order in which they came. changed: called with a stream whose state changed."""

    def __init__(
        self,
        parts: BridgeParts,
        subscribing: Subscribing,
        bars: BarStreams,
        *,
        telling: Telling,
        recovery: Recovery,
        confirming: Confirming,
        changed: Callable[[Stream], None],
    ) -> None:
        self._ledger = subscribing.ledger
        self._subscribing = subscribing
        self._bars = bars
        self._telling = telling
        self._recovery = recovery
        self._confirming = confirming
        self._booking = parts.booking
        self._connection = parts.connection
        self._clock = parts.clock
        self._volumes = parts.volumes
        self._changed = changed
        self._log = parts.log
        self._quotes: dict[int, QuoteState] = {}
        self._ended: list[_Ended] = []
        self._answers: list[_Answer] = []

    def take(self, value: Value) -> None:
        """Take one value. Those of requests that are over are nobody's."""
        if isinstance(value, SystemNotice):
            self._recovery.notice(value.code)
            return
        stream = self._subscribing.by_request.get(value.request)
        if stream is None:
            return
        if isinstance(value, Problem):
            self._problem(stream, value)
            return
        self._spoke(stream, value)
        self._data(stream, value)

    def _data(self, stream: Stream, value: Value) -> None:
        match value:
            case FirstBars():
                self._bars.first(stream, value)
            case BarUpdate():
                self._bars.update(stream, value.bar)
            case FiveSecondBar():
                self._bars.five_seconds(stream, value.bar)
            case QuoteChange():
                self._quote(stream, value)
            case DataType():
                self._feed(stream, value.feed)
            case Trade() | QuoteTick() | MidpointTick():
                now, factor = self._clock.now_ns(), self._factor(stream)
                self._telling.tick(channels_of(stream)[0], value, factor, now)

    def _spoke(self, stream: Stream, value: Value) -> None:
        first = stream.state is not StreamState.LIVE or stream.reason
        event_ns = value.bar.ts if isinstance(value, FiveSecondBar) else None
        stream.spoke(self._clock.now_ns(), time.monotonic(), event_ns)
        self._recovery.login_is_ours(stream)
        if stream.booked is not None:
            booked, stream.booked = stream.booked, None
            if isinstance(value, FirstBars):
                self._answers.append(_Answer(stream, value, booked, round((time.monotonic() - stream.sent_s) * 1000)))
            else:
                self._ended.append(_Ended(booked, "ok"))
        if first:
            move(stream, StreamState.LIVE, "", self._clock.now_ns())
            self._changed(stream)

    # ---- quotes ------------------------------------------------------------------------------------------------------

    def _quote(self, stream: Stream, change: QuoteChange) -> None:
        quote = self._quote_of(stream)
        if quote.take(change, lambda: self._factor(stream), stream.last_event_at or self._clock.now_ns()):
            self._telling.quote(quote)
            self._recovery.note_halt(stream.key.con_id, bool(quote.fields.get("halted")))

    def _quote_of(self, stream: Stream) -> QuoteState:
        """The newest quote of a stream's instrument, as far as IB has sent it."""
        quote = self._quotes.get(stream.key.con_id)
        if quote is None:
            quote = self._quotes[stream.key.con_id] = QuoteState(stream.key.con_id, channels_of(stream)[0])
        return quote

    def _feed(self, stream: Stream, feed: str) -> None:
        stream.feed = feed
        if stream.key.kind == "quotes":
            self._quote_of(stream).feed = feed
        self._changed(stream)

    def _factor(self, stream: Stream) -> float | None:
        unit = self._volumes.current().unit
        return size_factor(stream.instrument, self._connection.server_version or 0, unit)

    def forget(self, stream: Stream) -> None:
        """A stream is no more; the newest quote stays in the database."""
        if stream.key.kind == "quotes":
            self._quotes.pop(stream.key.con_id, None)
            self._recovery.note_halt(stream.key.con_id, False)

    # ---- errors ------------------------------------------------------------------------------------------------------

    def _problem(self, stream: Stream, problem: Problem) -> None:
        if stream.source is None:
            return
        found = verdict(stream.source, problem.code, problem.text, stream.attempts)
        self._log.info(
            "stream-notice" if found.effect is Effect.NONE else "stream-ended",
            extra=fields(stream=str(stream.key), ib_code=problem.code, ib_text=problem.text, effect=found.effect.value),
        )
        if found.effect is Effect.NONE:
            return
        if stream.booked is not None:
            self._ended.append(_Ended(stream.booked, "error", problem.code, problem.text))
            stream.booked = None
        match found.effect:
            case Effect.BLOCKED:
                self._block(stream, found, problem.code)
            case Effect.COMPETING:
                self._recovery.competing()
            case _:
                wait_s = 0.0 if found.effect is Effect.BUST else found.seconds
                self._recovery.lose(stream, found.reason, wait_s=wait_s)
        self._recovery.wake()

    def _block(self, stream: Stream, found: Verdict, code: int) -> None:
        """IB gives no stream this way: there is nothing to cancel."""
        now = self._clock.now_ns()
        self._subscribing.over(stream)
        self._ledger.refuse(stream, now, seconds=found.seconds, reason=found.reason, code=code, refused=found.refused)
        if found.everywhere and stream.is_bars:
            self._confirming.leave(stream.key)
        if found.everywhere:
            until = now + int(found.seconds * NS_PER_S)
            stream.blocks = dict.fromkeys(SOURCES[stream.key.kind], Block(until, found.reason, code, found.refused))
        if found.no_line:
            self._ledger.line_refused(now)
            self._log.warning("market-data-lines-fewer", extra={"lines": self._ledger.lines})

    async def close_bookings(self) -> None:
        """Write down how requests ended. Unavailable: the rest is written the next time."""
        for one in list(self._ended):
            await self._booking.close(one.booked, one.outcome, time.monotonic(), ib_code=one.code, ib_text=one.text)
            self._ended.remove(one)

    async def store_answers(self) -> None:
        """Store the first answers that came: they are history's. What cannot be stored is confirmed as all else is."""
        answers, self._answers = self._answers, []
        for stream, answer, booked, ms in answers:
            try:
                await self._confirming.record_answer(
                    stream.key,
                    request_id=booked,
                    sent_at=stream.sent_at,
                    duration_ns=stream.duration_ns,
                    bars=history_bars(answer, stream.key.price),
                    ms=ms,
                    connection=stream.connection,
                )
            except Unavailable as gone:
                self._log.warning("answer-not-stored", extra=fields(stream=str(stream.key), reason=gone.detail))


def history_bars(answer: FirstBars, price: str) -> list[Bar]:
    """A first answer as bars, in IB's unit of volume; quotes have none."""
    found = []
    for value, row in zip(answer.bars, answer.rows, strict=True):
        volume, trades = (None, None) if price in QUOTE_KINDS else (value.volume, value.trades)
        vwap = float(row.average) if volume is not None and trades is not None else None
        found.append(Bar(value.ts, value.open, value.high, value.low, value.close, volume, vwap, trades))
    return found
