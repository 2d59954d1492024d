"""A chart that loads bars and then subscribes has, whatever the instant, the bars of history: none missing, none twice."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from nautilus.clock import rfc3339
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.live import delta
from nautilus.market.timeframes import timeframe
from stream.series_snapshot import SeriesSnapshot
from stream.subscriber import Subscriber
from tests.support.stored_bars import StoredBars
from tests.support.stream_server import BARS, Chart, Publishing, StreamServer

CHARTS = 100
MINUTES = 120


def publish_all(bridge: Publishing, draw: random.Random) -> None:
    """What a bridge does in the course of minutes: bars that form, close, are confirmed in twos and threes, and now and then are
    revised."""
    unconfirmed = 1
    for n in range(1, MINUTES):
        if draw.random() < 0.5:
            bridge.closed(n, close=99.0, state="forming", seen=-5)
        bridge.closed(n)
        if draw.random() < 0.4 or n == MINUTES - 1:
            bridge.confirm(unconfirmed, n)
            unconfirmed = n + 1
        if draw.random() < 0.1:
            one = draw.randrange(unconfirmed)
            bridge.confirm(one, one, close=90.0 + draw.random(), revised=True)


def history(stored: StoredBars, series_id: int) -> tuple[int, list[tuple[str, float]], list[dict[str, Any]]]:
    """Version, closes and bars of the series now, as a REST answer has them."""
    with stored.db.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT data_version FROM series WHERE id = %s", (series_id,))
        version = cursor.fetchone()[0]
        rows = delta.newest(cursor, BarSource(series_id, timeframe("1m")), 10_000)
    bars: list[dict[str, Any]] = [{"ts": rfc3339(row.ts), "close": row.close, "state": "confirmed"} for row in rows]
    return version, [(bar["ts"], bar["close"]) for bar in bars], bars


async def watch(
    running: StreamServer, stored: StoredBars, series_id: int, *, seed: int, over: threading.Event
) -> Chart:
    """One chart: bars by REST at a random instant, a subscription at a later one, and messages until the bridge is done."""
    draw, chart = random.Random(seed), Chart()
    await asyncio.sleep(draw.random() * 3)
    version, _, bars = await asyncio.to_thread(history, stored, series_id)
    for bar in bars:
        chart._bar(bar, version)
    await asyncio.sleep(draw.random() * 0.3)
    headers = {"Authorization": f"Bearer {running.token(seed + 1)}"}
    async with connect(
        f"ws://{running.address}/ws/v1/stream", additional_headers=headers, proxy=None, compression=None
    ) as socket:
        await socket.send(json.dumps({"op": "subscribe", "channels": [BARS], "snapshot": {"bars": 300}}))
        quiet = 0
        while quiet < 2:
            try:
                async with asyncio.timeout(1.0):
                    frame = await socket.recv()
            except TimeoutError:
                quiet += over.is_set()
                continue
            quiet = 0
            for message in json.loads(frame):
                chart.take(message)
    return chart


@contextmanager
def published(bridge: Publishing, seed: int) -> Iterator[threading.Event]:
    over = threading.Event()

    def work() -> None:
        publish_all(bridge, random.Random(seed))
        over.set()

    thread = threading.Thread(target=work)
    thread.start()
    yield over
    thread.join()


def wrong_charts(running: StreamServer, bridge: Publishing, seed: int) -> tuple[int, int]:
    """How many of the charts differ from history in the end, and how many were told one thing twice."""
    bridge.confirm(0, 0)
    series_id = bridge.series_id()

    async def all_of_them(over: threading.Event) -> list[Chart]:
        watching = [watch(running, bridge.stored, series_id, seed=n, over=over) for n in range(CHARTS)]
        return await asyncio.gather(*watching)

    with published(bridge, seed) as over:
        charts = asyncio.run(all_of_them(over))
    _, closes, _ = history(bridge.stored, series_id)
    assert len(closes) == MINUTES
    twice = sum(1 for chart in charts if len(closing_events(chart)) != len(set(closing_events(chart))))
    return sum(1 for chart in charts if chart.closes() != closes), twice


def closing_events(chart: Chart) -> list[tuple[str, str, int]]:
    return [event for event in chart.events if event[1] != "forming"]


def test_a_chart_that_subscribes_at_any_instant_has_the_bars_of_history(
    bridge: Publishing, running: StreamServer
) -> None:
    assert wrong_charts(running, bridge, 1) == (0, 0)


def test_a_subscription_after_the_snapshot_would_leave_a_gap(
    bridge: Publishing, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: what is published while the snapshot is read is not held."""
    release = Subscriber._release

    def forgetful(self: Subscriber, subscription: Any, snapshot: SeriesSnapshot, **more: Any) -> None:
        subscription.held.clear()
        release(self, subscription, snapshot, **more)

    monkeypatch.setattr(Subscriber, "_release", forgetful)
    wrong, _ = wrong_charts(running, bridge, 1)
    assert wrong > 0
