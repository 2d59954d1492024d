"""A channel that begins while its stream runs: the bridge reads the want after the snapshot of who wants it was read."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ib_bridge.live.new_channels import NewChannels
from nautilus.clock import NS_PER_S, rfc3339
from nautilus.live.bars import LiveState, bar_fields
from nautilus.live.confirmation import MINUTE_NS, Outcome, Report
from nautilus.live.offered import channel_of
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from stream.series_snapshot import SnapshotQuery
from stream.snapshot_messages import snapshot_text
from stream.snapshots import Snapshots
from tests.integration.live.test_confirming import AAPL, NOON, THIN, play
from tests.support.confirming import LiveBridge
from tests.support.stream_server import Chart

OTHER = {"1m": "5m", "5m": "1m"}
LENGTH = {"1m": 1, "5m": 5, "15m": 15}


class LateListener:
    """Somebody who begins to listen to a timeframe: a snapshot first, then all that is published on its channel."""

    def __init__(self, it: LiveBridge, key: StreamKey, frame: str) -> None:
        self.it, self.key, self.frame = it, key, frame
        self.chart = Chart(channel_of(it._instruments[key.con_id], "bars", frame, price="TRADES", session="rth").name)
        outbox = it.bridge._live.publishing.outbox
        self._tell, self._tell_newest = outbox.tell, outbox.tell_newest
        outbox.tell, outbox.tell_newest = self._hear, self._hear_newest  # type: ignore[method-assign]

    def _hear(self, kind: str, channel: str, fields: Any, **more: Any) -> None:
        self.chart.take({"t": kind, "c": channel, **fields})
        self._tell(kind, channel, fields, **more)

    def _hear_newest(self, kind: str, channel: str, fields: Any) -> None:
        self.chart.take({"t": kind, "c": channel, **fields})
        self._tell_newest(kind, channel, fields)

    async def read_snapshot(self) -> None:
        name, snapshots = self.chart.channel, Snapshots(self.it.bridge._transactions.database)
        found = self.it._instruments[self.key.con_id]
        read = await snapshots.read(SnapshotQuery(name, found, self.frame, "TRADES", "rth", 10))
        self.chart.take(json.loads(snapshot_text(name, read, 0, None)))
        snapshots.close()

    def state(self, ts: int) -> str:
        bar = self.chart.bars.get(rfc3339(ts))
        return bar["state"] if bar else ""

    async def differs(self, ts: int) -> list[str]:
        """What of a bar is otherwise than history's."""
        minutes = await self.it.history(self.key, ts, ts + LENGTH[self.frame] * MINUTE_NS)
        true = {
            "open": minutes[0].open,
            "high": max(bar.high for bar in minutes),
            "low": min(bar.low for bar in minutes),
            "close": minutes[-1].close,
            "volume": sum(bar.volume or 0 for bar in minutes),
        }
        bar = self.chart.bars[rfc3339(ts)]
        return [name for name, value in true.items() if bar[name] != value]


@asynccontextmanager
async def wants_unread(it: LiveBridge) -> AsyncIterator[None]:
    """The bridge reads no wants while the block lasts."""
    live = it.bridge._live
    follow = live._follow

    async def later(left: object) -> None:
        return None

    live._follow = later  # type: ignore[method-assign]
    try:
        yield
    finally:
        live._follow = follow  # type: ignore[method-assign]
        live.wake()


async def minutes_live(it: LiveBridge, frame: str) -> StreamKey:
    """A stream of minutes that somebody wants bars of a timeframe of; it is 20 s before the close of five minutes."""
    await it.want(AAPL, frame)
    key = StreamKey(next(iter(it._instruments)), "bars:1m", "TRADES", "rth")
    await it.until(lambda: it._is_live(key), "the stream is live")
    for seconds in (50, 60, 60, 60, 20):
        await it.advance(seconds)
    await confirmed_until(it, key, NOON + 4 * MINUTE_NS)
    return key


async def confirmed_until(it: LiveBridge, key: StreamKey, end: int) -> None:
    await it.until(lambda: any(end - 1 in one.covered for one in it.reports if one.key == key), "history has answered")


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("frame", ["1m", "5m"])
def test_what_changes_before_a_new_channel_is_published_is_published_then(dsn: str, frame: str, answered: bool) -> None:
    """The bar of the snapshot closes, and is answered, while nobody publishes its timeframe."""

    async def story(it: LiveBridge) -> None:
        key = await minutes_live(it, OTHER[frame])
        ts, end = NOON + (5 - LENGTH[frame]) * MINUTE_NS, NOON + 5 * MINUTE_NS
        late = LateListener(it, key, frame)
        async with wants_unread(it):
            await it.want(AAPL, frame, owner="user:2")
            await late.read_snapshot()
            assert late.state(ts) == "forming"
            await it.advance(25)
            assert await late.differs(ts), "the snapshot has a part of it"
            await it.shown(key, end - MINUTE_NS)
            if answered:
                await it.advance(15)
                await confirmed_until(it, key, end)
            assert late.state(ts) == "forming", "nobody has published it"
        if not answered:
            await it.until(lambda: late.state(ts) == "closed", "it is published as it closed")
            await it.advance(15)
        await it.until(lambda: late.state(ts) == "confirmed", "history's word is published")
        assert await late.differs(ts) == []

    play(dsn, story)


@pytest.mark.parametrize("frame", ["1m", "5m"])
def test_a_bar_that_is_withdrawn_before_a_new_channel_is_published_is_withdrawn_then(dsn: str, frame: str) -> None:
    """A minute that a stream brought and history has not, alone in its five minutes. THIN has no trades at noon."""

    async def story(it: LiveBridge) -> None:
        await it.want(THIN, OTHER[frame])
        key = StreamKey(next(iter(it._instruments)), "bars:1m", "TRADES", "rth")
        await it.until(lambda: it.is_requested(key), "the stream is requested")
        minute = NOON + MINUTE_NS
        ts = minute if frame == "1m" else NOON
        bar = Bar(minute, 7.0, 7.0, 7.0, 7.0, 1.0, None, 1)
        late = LateListener(it, key, frame)
        async with wants_unread(it):
            await it.want(THIN, frame, owner="user:2")
            late.chart.take({"t": "bar", "c": late.chart.channel, **bar_fields(bar._replace(ts=ts)), "state": "closed"})
            gone, row = Outcome(bar, LiveState.WITHDRAWN, bar), await it.series(key)
            it.bridge._live.reported(Report(key, row.id, 1, (gone,), covered=Spans.of(minute, minute + MINUTE_NS)))
            assert late.state(ts) == "closed", "nobody has published it"
        await it.until(lambda: not late.state(ts), "it is withdrawn")

    play(dsn, story)


def test_what_history_answered_long_before_a_channel_begins_is_not_published_again() -> None:
    channels, key = NewChannels(), StreamKey(1, "bars:1m", "TRADES", "rth")
    first = channels.begin(key, frozenset({"1m"}), "1m", 0)
    assert first.frames == frozenset(), "all that a new stream brings is published"
    for n in range(3):
        answered = Spans.of(n * MINUTE_NS, (n + 1) * MINUTE_NS)
        channels.answered(key, timeframe("1m"), Report(key, 1, n, answered=answered), n * MINUTE_NS)
    again = channels.begin(key, frozenset({"1m", "5m"}), "1m", 150 * NS_PER_S)
    assert (again.frames, again.answered) == (frozenset({"5m"}), Spans.of(MINUTE_NS, 3 * MINUTE_NS))
    assert channels.begin(key, frozenset({"1m", "5m"}), "1m", 150 * NS_PER_S).frames == frozenset(), "once"
