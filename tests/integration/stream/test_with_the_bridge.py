"""From a socket's subscription to IB and back: the bridge, the simulator and the stream together; in the end the charts are
compared with history."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev.postgres import start_postgres
from dev.process import Group
from dev.redis import redis_binary
from nautilus.clock import rfc3339
from nautilus.db.migrate import upgrade
from tests.integration.stream.test_neighbours import started_again
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE, ns
from tests.support.own_redis import OwnRedis, own_redis
from tests.support.stack import service_stack
from tests.support.stream_server import BARS, FIVE, QUOTES, Chart, Client, StreamServer, client

NOON = ns("2026-03-02 17:00")
STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:00Z")
VALUES = ("open", "high", "low", "close", "volume")


def follow(socket: Client, *charts: Chart) -> None:
    """Take what came and was not taken yet."""
    while socket.read(0.3):
        pass
    for message in socket.received:
        for chart in charts:
            chart.take(message)
    socket.received.clear()
    socket._at = 0


def history(live: LiveStack, timeframe: str, minutes: int) -> list[tuple[Any, ...]]:
    window = {"start": rfc3339(NOON), "end": rfc3339(NOON + minutes * MINUTE)}
    live.stack.finished(live.stack.backfill(symbol="AAPL", timeframe=timeframe, mode="force", **window))
    found = live.stack.bars(symbol="AAPL", timeframe=timeframe, **window)["candles"]
    return [(rfc3339(int(row["ts"])), *(row[name] for name in VALUES)) for row in found]


def shown(chart: Chart, minutes: int) -> list[tuple[Any, ...]]:
    """What a chart shows of these minutes, whatever the state."""
    first, last = rfc3339(NOON), rfc3339(NOON + minutes * MINUTE)
    return [(ts, *(bar[name] for name in VALUES)) for ts, bar in sorted(chart.bars.items()) if first <= ts < last]


def test_a_chart_over_ten_minutes_with_a_bridge_killed_in_the_middle_equals_history(
    both: tuple[LiveStack, StreamServer],
) -> None:
    live, running = both
    live.start_bridge()
    live.instrument("AAPL")
    minutes, fives, resumed = Chart(BARS), Chart(FIVE), Chart(BARS)
    with client(running, running.token()) as socket:
        socket.subscribe(BARS, FIVE, QUOTES, chart=True)
        socket.collect(lambda: {"stream", "quote"} <= {m["t"] for m in socket.received}, "live bars and a quote")
        live.wait_state("AAPL", "live", "bars")
        for _ in range(12):
            live.advance(20)
            follow(socket, minutes, fives)
        with client(running, running.token(2)) as other:
            other.subscribe(BARS)
            other.next("snapshot")
            follow(other, resumed)
        live.stack.kill_bridge()
        live.start_bridge()
        live.wait_state("AAPL", "live", "bars")
        for _ in range(24):
            live.advance(20)
            follow(socket, minutes, fives)
        live.wait(lambda: confirmed(socket, minutes, 10), "ten minutes are confirmed", 60, lambda: minutes.bars)
        with client(running, running.token(2)) as other:
            other.send(op="resume", id=1, e="", channels={BARS: {"seq": 0, "version": resumed.version}})
            other.next("snapshot")
            follow(other, resumed)
        follow(socket, minutes, fives)
    true = history(live, "1m", 10)
    assert len(true) == 10
    assert shown(minutes, 10) == true
    assert shown(resumed, 10) == true
    assert shown(fives, 10) == history(live, "5m", 10)
    wrong = Chart(BARS)
    wrong.bars = {ts: {**bar, "high": bar["low"]} for ts, bar in minutes.bars.items()}
    assert shown(wrong, 10) != true, "the mutant: two prices in the wrong place"


FAULTS: Mapping[str, tuple[Callable[[OwnRedis], None], Callable[[OwnRedis], None]]] = {
    "killed": (OwnRedis.kill, OwnRedis.start),
    "frozen": (OwnRedis.freeze, OwnRedis.thaw),
    "flushed": (OwnRedis.flush, OwnRedis.flush),
}
"""What happens to Redis, and how it ends."""


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_chart_through_a_redis_that_fails_equals_history(
    servers: SimpleNamespace, dsn: str, tmp_path: Path, fault: str
) -> None:
    begin, end = FAULTS[fault]
    with (
        own_redis(tmp_path / "redis") as cache,
        service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack,
        live_stack(stack, cache.url) as live,
    ):
        running = StreamServer(dsn, tmp_path, redis_url=cache.url, stream_beat_ms=50)
        live.start_bridge()
        live.instrument("AAPL")
        minutes, fives = Chart(BARS), Chart(FIVE)
        try:
            with client(running, running.token()) as socket:
                socket.subscribe(BARS, FIVE, QUOTES)
                live.wait_state("AAPL", "live", "bars")
                epoch = running.stream.hub.epoch

                def begun_anew() -> bool:
                    """Whether the bus has a new epoch; of a frozen Redis it knows after some seconds of machine time."""
                    live.advance(2)
                    follow(socket, minutes, fives)
                    return bool(running.stream.hub.epoch > epoch)

                for happens in (lambda c: None, begin, end):
                    happens(cache)
                    for _ in range(11):
                        live.advance(20)
                        follow(socket, minutes, fives)
                    if happens is begin:
                        live.wait(begun_anew, "there is a new epoch", 60, lambda: running.stream.hub.epoch)
                live.wait(lambda: confirmed(socket, minutes, 10), "ten minutes are confirmed", 60, lambda: minutes.bars)
                follow(socket, minutes, fives)
        finally:
            if fault == "frozen":
                cache.thaw()
            running.stop()
        true = history(live, "1m", 10)
        assert len(true) == 10
        assert shown(minutes, 10) == true
        assert shown(fives, 10) == history(live, "5m", 10)


def test_a_chart_through_a_database_that_is_killed_equals_history(
    servers: SimpleNamespace, redis_url: str, tmp_path: Path
) -> None:
    """With SIGKILL, in the middle of what it writes: its table of provisional bars is empty when it is back."""
    folder = tmp_path / "store"
    with Group() as group:
        server = start_postgres(group, folder, durable=True)
        server.child.wait_ready()
        upgrade(server.dsn())
        with (
            service_stack(servers.group, servers.folder, server.dsn(), *STEPPED) as stack,
            live_stack(stack, redis_url) as live,
        ):
            running = StreamServer(server.dsn(), tmp_path, redis_url=redis_url, stream_beat_ms=50)
            live.start_bridge()
            live.instrument("AAPL")
            minutes, fives, left = Chart(BARS), Chart(FIVE), Chart(BARS)
            try:
                with client(running, running.token()) as socket:
                    socket.subscribe(BARS, FIVE)
                    live.wait_state("AAPL", "live", "bars")
                    for _ in range(10):
                        live.advance(20)
                        follow(socket, minutes, fives)
                    with client(running, running.token(2)) as other:
                        other.subscribe(BARS)
                        other.next("snapshot")
                        follow(other, left)
                    group.kill_child(server.child)
                    for _ in range(6):
                        live.sim.command("advance 20")
                        follow(socket, minutes, fives)
                    started_again(group, folder, server.port)
                    for _ in range(20):
                        live.advance(20)
                        follow(socket, minutes, fives)
                    live.wait(lambda: confirmed(socket, minutes, 10), "ten minutes are confirmed", 60, minutes.closes)
                    with client(running, running.token(2)) as other:
                        other.send(op="resume", id=1, e="", channels={BARS: {"seq": 0, "version": left.version}})
                        other.next("snapshot")
                        follow(other, left)
                    follow(socket, minutes, fives)
                true = history(live, "1m", 10)
                assert len(true) == 10
                assert shown(minutes, 10) == true
                assert shown(left, 10) == true
                assert shown(fives, 10) == history(live, "5m", 10)
                assert live.violations() == []
            finally:
                running.stop()


def confirmed(socket: Client, chart: Chart, number: int) -> bool:
    follow(socket, chart)
    return sum(1 for bar in chart.bars.values() if Chart.RANK[bar["state"]] == 2) >= number


def test_one_line_at_ib_however_many_listen(both: tuple[LiveStack, StreamServer]) -> None:
    live, running = both
    live.start_bridge()
    live.instrument("AAPL")
    with client(running, running.token()) as first:
        first.subscribe(QUOTES)
        first.next("quote")
        with client(running, running.token(2)) as second, client(running, running.token(3)) as third:
            for socket in (second, third):
                socket.subscribe(QUOTES, chart=True)
                socket.next("snapshot", c=QUOTES)
            # Somebody looks at it: so the bridge has read what they want.
            live.wait(lambda: [row.priority for row in live.streams()] == [7], "the want is read")
        assert live.wait_state("AAPL", "live", "quotes").source == "mkt"
        assert len(live.received("reqMktData")) == 1
