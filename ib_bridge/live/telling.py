"""How streams, bars, quotes and trades look in messages and rows. Times are RFC 3339 texts of UTC; prices are numbers."""

from collections.abc import Collection, Mapping
from typing import Any

from ib_bridge.ib.live_callbacks import MidpointTick, QuoteTick, Tick, Trade
from ib_bridge.live.outbox import Outbox
from ib_bridge.live.quote_state import QuoteState, scaled
from ib_bridge.live.streams import Stream
from nautilus.clock import rfc3339
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.live.bars import LiveBar, LiveState, bar_fields, live_fields
from nautilus.live.channels import Channel
from nautilus.live.confirmation import Outcome, Report
from nautilus.live.offered import channel_of
from nautilus.live.subscriptions import StreamKey
from nautilus.spans import Span


def bar_channel(stream: Stream, frame: str) -> str:
    """The channel of one of a stream's timeframes."""
    return channel_of(stream.instrument, "bars", frame, price=stream.key.price, session=stream.key.session).name


def channels_of(stream: Stream) -> list[str]:
    """The channels of all that is wanted of a stream."""
    if stream.is_bars:
        return [bar_channel(stream, frame) for frame in sorted(stream.want.timeframes)]
    return [channel_of(stream.instrument, stream.key.kind, price=stream.key.price).name]


class Telling:
    """Writes into the outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._states: dict[str, Mapping[str, Any]] = {}
        """Channel -> what its listeners know of its stream."""

    def stream(self, stream: Stream, streams: Mapping[StreamKey, Stream]) -> None:
        """A stream's state, where it has changed. streams: all there are, for the name of the one that took its room."""
        fields: dict[str, Any] = {
            "state": stream.state.value,
            "reason": stream.reason,
            "source": stream.source.value if stream.source else "",
            "feed": stream.feed,
        }
        if stream.evicted_by is not None and (other := streams.get(stream.evicted_by)) is not None:
            fields["by"] = next(iter(channels_of(other)), "")
        for channel in channels_of(stream):
            if self._states.get(channel) != fields:
                self._states[channel] = fields
                self._outbox.tell("stream", channel, fields, urgent=True)
        self._outbox.put_stream(stream.row())

    def ended(self, stream: Stream) -> None:
        """Nobody wants it any more."""
        for channel in channels_of(stream):
            self._states.pop(channel, None)
            self._outbox.tell("stream", channel, {"state": "ended", "reason": "not_wanted", "source": "", "feed": ""})
        self._outbox.remove_stream(stream.key)

    def bridge_stopped(self, stream: Stream) -> None:
        """The bridge ends: another one, or the next, goes on. The row stays: it says what the next must know."""
        for channel in channels_of(stream):
            self._outbox.tell(
                "stream", channel, {"state": "wanted", "reason": "bridge_stopped", "source": "", "feed": ""}
            )
        self._outbox.put_stream(stream.row()._replace(state="wanted", reason="bridge_stopped", source="", feed=""))

    def bar(self, stream: Stream, frame: str, bar: LiveBar, *, factor: float | None, now: int) -> None:
        """A bar that forms or has closed. factor: of its volume; None while the unit is not known."""
        fields = live_fields(
            _with_volume(bar, factor), bar.state.value, partial=bar.partial, source=source_of(stream), seen_at=now
        )
        channel = bar_channel(stream, frame)
        if bar.state is LiveState.FORMING:
            self._outbox.tell_newest("bar", channel, fields)
        else:
            self._outbox.tell("bar", channel, fields, urgent=True)

    def quote(self, quote: QuoteState) -> None:
        self._outbox.tell_quote(quote)

    def tick(self, channel: str, tick: Tick, factor: float | None, now: int) -> None:
        """A trade, a quote or a midpoint. factor: of sizes; None while the unit is not known."""
        kind, fields = _tick_fields(tick, factor)
        self._outbox.tell(kind, channel, fields | {"ts": rfc3339(tick.ts), "seen": rfc3339(now)})

    def gap(self, stream: Stream, span: Span, reason: str, frames: Collection[str] | None = None) -> None:
        """Bars of this time were missed, on all channels of a stream, or on those of these timeframes."""
        for channel in (
            channels_of(stream) if frames is None else [bar_channel(stream, frame) for frame in sorted(frames)]
        ):
            fields = {"start": rfc3339(span[0]), "end": rfc3339(span[1]), "reason": reason}
            self._outbox.tell("gap", channel, fields, urgent=True)

    def filled(self, stream: Stream, span: Span, version: int) -> None:
        """History has them now."""
        for channel in channels_of(stream):
            fields = {"start": rfc3339(span[0]), "end": rfc3339(span[1]), "version": version}
            self._outbox.tell("filled", channel, fields, urgent=True)

    def outcome(self, stream: Stream, frame: str, outcome: Outcome, *, version: int, now: int) -> None:
        """What history says of one bar."""
        fields = {**bar_fields(outcome.bar), "state": outcome.state.value, "source": "history", "version": version}
        if outcome.was is not None:
            fields["was"] = {name: value for name, value in bar_fields(outcome.was).items() if name != "ts"}
        self._outbox.tell("bar", bar_channel(stream, frame), fields | {"seen": rfc3339(now)}, urgent=True)

    def confirmed(self, stream: Stream, frame: str, span: Span, version: int) -> None:
        """Bars were confirmed as listeners have them."""
        fields = {"start": rfc3339(span[0]), "end": rfc3339(span[1]), "version": version}
        self._outbox.tell("confirmed", bar_channel(stream, frame), fields)

    def series(self, report: Report) -> None:
        """The version of a series has moved."""
        spans = list(report.settled) or [(one.bar.ts, one.bar.ts + 1) for one in report.outcomes]
        fields: dict[str, Any] = {"version": report.version}
        if spans:
            fields |= {"start": rfc3339(spans[0][0]), "end": rfc3339(spans[-1][1])}
        self._outbox.tell("series", Channel("events.series", subject=str(report.series_id)).name, fields)


def _tick_fields(tick: Tick, factor: float | None) -> tuple[str, dict[str, Any]]:
    """The kind of its message, and its fields without times. The flags of a quote are there where they are true."""
    match tick:
        case Trade():
            fields = {"price": tick.price, "size": scaled(tick.size, factor)}
            return "trade", fields | {"exchange": tick.exchange, "conditions": tick.conditions}
        case MidpointTick():
            return "midpoint_tick", {"price": tick.price}
        case QuoteTick():
            sizes = {"bid_size": scaled(tick.bid_size, factor), "ask_size": scaled(tick.ask_size, factor)}
            flags = {"bid_past_low": tick.bid_past_low, "ask_past_high": tick.ask_past_high}
            sides = {"bid": tick.bid, "ask": tick.ask, **sizes}
            return "quote_tick", sides | {name: True for name, set_ in flags.items() if set_}


def source_of(stream: Stream) -> str:
    """The source that stands with its bars."""
    return "history" if stream.source is None or stream.source.value == "poll" else stream.source.value


def provisional(stream: Stream, bar: LiveBar, *, factor: float | None, now: int) -> ProvisionalBar:
    """The row of a bar of the stream's own series."""
    assert stream.series_id is not None  # noqa: S101  for the type checker: a stream of bars has one
    prices = (bar.open, bar.high, bar.low, bar.close, _with_volume(bar, factor).volume, bar.trades)
    return ProvisionalBar(
        stream.series_id,
        bar.ts,
        *prices,
        state=bar.state.value,
        partial=bar.partial,
        source=source_of(stream),
        seen_at=now,
    )


def of_row(row: ProvisionalBar) -> LiveBar:
    """The reverse: a bar with its volume in units."""
    values = row.open, row.high, row.low, row.close, row.volume, row.trades
    return LiveBar(row.ts, *values, LiveState(row.state), row.partial)


def _with_volume(bar: LiveBar, factor: float | None) -> LiveBar:
    """The same with its volume in units; without one while the factor is not known."""
    return bar._replace(volume=scaled(bar.volume, factor))
