"""Redis flushed, evicted, killed or absent, PostgreSQL killed: sockets stay open, and a closed bar is there once."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from websockets.exceptions import InvalidStatus

from dev.postgres import Postgres, start_postgres
from dev.process import Group, StartError
from dev.redis import redis_binary
from nautilus.auth import api_keys
from nautilus.clock import rfc3339
from nautilus.db.migrate import upgrade
from nautilus.infra.bus.publishing import Message
from stream.subscriber import Subscriber
from tests.support.neighbours import relay
from tests.support.own_redis import own_redis
from tests.support.stored_bars import StoredBars
from tests.support.stream_server import (
    BARS,
    MINUTE,
    OPEN,
    QUOTES,
    Chart,
    Client,
    Publishing,
    StreamServer,
    client,
    live,
    minute,
    wait,
)

SOCKETS = 100


@contextmanager
def followers(running: StreamServer, number: int = SOCKETS) -> Iterator[list[Client]]:
    """Sockets that follow the bars and the quotes of the stock, ten of a caller."""
    with ExitStack() as stack:
        opened = [stack.enter_context(client(running, running.token(n // 10 + 1))) for n in range(number)]
        for socket in opened:
            socket.subscribe(BARS, QUOTES)
            socket.next("snapshot", c=BARS)
        yield opened


def chart_of(socket: Client) -> Chart:
    chart = Chart()
    for message in socket.received:
        chart.take(message)
    return chart


def closes(*numbers: int) -> list[tuple[str, float]]:
    return [(rfc3339(OPEN + n * MINUTE), 100.0 + n / 100) for n in numbers]


def check(sockets: list[Client], last: int) -> None:
    """Each socket hears of the new epoch and comes to the same bars, none twice; the last one comes by itself."""
    for socket in sockets:
        socket.next("reset")
        socket.collect(lambda s=socket: len(chart_of(s).closes()) == last + 1, "all bars are there")  # type: ignore[misc]
        chart = chart_of(socket)
        assert chart.closes() == closes(*range(last + 1))
        assert len(chart.events) == len(set(chart.events))
        socket.send(op="ping", id=last)
        assert socket.next("pong", id=last)


@pytest.fixture
def over_redis(stored: StoredBars, redis_url: str, tmp_path: Path) -> Iterator[tuple[Publishing, StreamServer]]:
    with closing(Publishing(stored, redis_url=redis_url)) as bridge:
        running = StreamServer(stored.dsn, tmp_path, redis_url=redis_url)
        yield bridge, running
        running.stop()


def lose_bars(bridge: Publishing, lose: Callable[[], object]) -> None:
    """Bars close and are confirmed while the bus loses what it holds."""
    bridge.closed(1)
    lose()
    bridge.closed(2)
    bridge.confirm(1, 2)


def test_a_flushed_redis_is_a_new_epoch_and_no_bar_is_lost_or_doubled(
    over_redis: tuple[Publishing, StreamServer], redis_url: str
) -> None:
    bridge, running = over_redis
    bridge.confirm(0, 0)
    with followers(running) as sockets, closing(redis.Redis.from_url(redis_url)) as cache:
        lose_bars(bridge, cache.flushall)
        wait(lambda: running.stream.hub.epoch == bridge.bus.epoch, "the epoch is known")
        bridge.closed(3)
        check(sockets, 3)


def test_without_healing_a_flush_would_lose_bars(
    over_redis: tuple[Publishing, StreamServer], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: nothing is read from the database after a loss, and what was lost is not told anew."""
    monkeypatch.setattr(Subscriber, "heal", lambda self, channel: None)
    bridge, running = over_redis
    bridge.confirm(0, 0)
    with followers(running, 1) as [socket], closing(redis.Redis.from_url(redis_url)) as cache:
        with running.paused_bus():
            lose_bars(bridge, cache.flushall)
        bridge.closed(3)
        socket.next("bar", ts=rfc3339(OPEN + 3 * MINUTE))
        assert chart_of(socket).closes() != closes(0, 1, 2, 3)


def test_an_evicted_stream_is_healed(over_redis: tuple[Publishing, StreamServer], redis_url: str) -> None:
    bridge, running = over_redis
    bridge.confirm(0, 0)
    with followers(running, 5) as sockets, closing(redis.Redis.from_url(redis_url)) as cache:
        bridge.closed(1)
        for socket in sockets:
            socket.next("bar")
        with running.paused_bus():
            bridge.closed(2)
            cache.delete(f"live:{{{bridge.store}}}:bars")
            bridge.closed(3)
        for socket in sockets:
            socket.collect(lambda s=socket: len(chart_of(s).closes()) == 4, "the lost bar is there")  # type: ignore[misc]
            assert chart_of(socket).closes() == closes(0, 1, 2, 3)
            assert not [m for m in socket.received if m["t"] == "reset"]


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
def test_a_redis_that_dies_and_comes_back_costs_no_bar_and_no_socket(stored: StoredBars, tmp_path: Path) -> None:
    with own_redis(tmp_path / "redis") as server, closing(Publishing(stored, redis_url=server.url)) as bridge:
        running = StreamServer(stored.dsn, tmp_path, redis_url=server.url)
        try:
            bridge.confirm(0, 0)
            with followers(running, 10) as sockets:
                bridge.closed(1)
                server.kill()
                bridge.closed(2)  # it goes over to the notifications of the database after a while
                bridge.closed(3)
                check(sockets, 3)
                server.start()
                before = bridge.bus.epoch
                other = Message("quote", "data.quotes.NASDAQ.OTHER", {"bid": 1.0})

                def carried() -> bool:
                    bridge.publish(other)
                    return bridge.bus.epoch != before

                wait(carried, "Redis carries the bus again")
                bridge.closed(4)
                check(sockets, 4)
        finally:
            running.stop()


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
def test_a_redis_that_freezes_and_thaws_costs_no_bar_and_no_socket(stored: StoredBars, tmp_path: Path) -> None:
    with own_redis(tmp_path / "redis") as server, closing(Publishing(stored, redis_url=server.url)) as bridge:
        running = StreamServer(stored.dsn, tmp_path, redis_url=server.url)
        try:
            bridge.confirm(0, 0)
            with followers(running, 10) as sockets:
                bridge.closed(1)
                server.freeze()
                bridge.closed(2)
                bridge.closed(3)
                check(sockets, 3)
                assert running.stream.health()["ok"], "the other way is read"
                server.thaw()
                bridge.closed(4)
                for socket in sockets:
                    socket.collect(lambda s=socket: len(chart_of(s).closes()) == 5, "the next bar is there")  # type: ignore[misc]
                    assert chart_of(socket).closes() == closes(*range(5))
        finally:
            server.thaw()
            running.stop()


def test_without_redis_two_hundred_quotes_a_second_and_bars_come_over_notifications(
    bridge: Publishing, running: StreamServer
) -> None:
    """No payload is above 7.9 KB: PostgreSQL would refuse it, and the publisher with it."""
    bridge.confirm(0, 0)
    with client(running, running.token()) as socket:
        socket.subscribe(BARS, QUOTES)
        socket.next("snapshot", c=BARS)
        for beat in range(12):
            others = [Message("quote", f"data.quotes.NASDAQ.X{n}", {"bid": n, "feed": "live"}) for n in range(49)]
            bridge.publish(*others, Message("quote", QUOTES, {"bid": float(beat), "feed": "live"}))
            bridge.closed(beat + 1)
        socket.next("bar", ts=rfc3339(OPEN + 12 * MINUTE))
        socket.collect(lambda: any(m.get("bid") == 11.0 for m in socket.received), "so is the last quote")
    assert [m["ts"] for m in socket.received if m["t"] == "bar"] == [rfc3339(OPEN + n * MINUTE) for n in range(1, 13)]
    quotes = [m for m in socket.received if m["t"] == "quote"]
    assert all(one["seq"] - two["seq"] - 1 == one.get("skip", 0) for two, one in itertools.pairwise(quotes))


def started_again(group: Group, folder: Path, port: int) -> Postgres:
    """The server once more, when what was killed is gone."""
    for _ in range(200):
        with suppress(StartError):
            server = start_postgres(group, folder, durable=True, port=port)
            server.child.wait_ready()
            return server
        time.sleep(0.05)
    raise AssertionError("the killed server is still there")


def test_a_database_that_dies_is_told_and_what_it_holds_follows_later(tmp_path: Path, redis_url: str) -> None:
    with Group() as group:
        folder = tmp_path / "store"
        server = start_postgres(group, folder, durable=True)
        server.child.wait_ready()
        upgrade(server.dsn())
        stored = StoredBars(server.dsn(), OPEN + 120 * MINUTE)
        bridge = Publishing(stored, redis_url=redis_url)
        running = StreamServer(server.dsn(), tmp_path, redis_url=redis_url)
        try:
            bridge.confirm(0, 0)
            with followers(running, 3) as sockets:
                group.kill_child(server.child)
                bridge.publish(Message("bar", BARS, live(minute(1), "closed", seen=rfc3339(OPEN + 2 * MINUTE))))
                for socket in sockets:
                    assert socket.next("bar")["ts"] == rfc3339(OPEN + MINUTE), "Redis carries it"
                first = sockets[0]
                first.send(op="subscribe", id=5, channels=[BARS])
                assert first.next("error", id=5)["code"] == "database-unavailable"
                first.send(op="ping", id=6)
                assert first.next("pong", id=6)
                server = started_again(group, folder, server.port)
                first.send(op="subscribe", id=7, channels=[BARS])
                bridge.confirm(1, 2)
                for socket in sockets:  # by a message, or by what is read when notifications are heard again
                    socket.collect(
                        lambda s=socket: any(m.get("version") == bridge.version for m in s.received),  # type: ignore[misc]
                        "history's word is there",
                    )
                first.next("snapshot", c=BARS)
                assert [ts for ts, _ in chart_of(first).closes()][:2] == [rfc3339(OPEN), rfc3339(OPEN + MINUTE)]
        finally:
            running.stop()
            bridge.close()
            stored.close()


def test_a_database_that_falls_silent_is_told_within_seconds(bridge: Publishing, tmp_path: Path) -> None:
    """It takes what is sent and answers nothing. Six seconds on a quiet machine."""
    with relay(bridge.stored.dsn) as database:
        running = StreamServer(database.before(bridge.stored.dsn), tmp_path)
        try:
            with client(running, running.token()) as socket:
                socket.subscribe(QUOTES)
                database.hang()
                with client(running) as ticket:
                    began = time.monotonic()
                    socket.send(op="subscribe", channels=[BARS])
                    ticket.send(op="auth", ticket="x")
                    for one in (socket, ticket):
                        assert one.next("error")["code"] == "database-unavailable"
                    assert time.monotonic() - began < 14
                    assert ticket.closed() == 1013
                began = time.monotonic()
                key = {"X-API-Key": api_keys.new_key().text}
                with pytest.raises(InvalidStatus) as refused, client(running, headers=key):
                    pass
                assert refused.value.response.status_code == 503
                assert time.monotonic() - began < 14
                database.heal()

                def subscribed() -> bool:
                    socket.send(op="subscribe", channels=[BARS], id=8)
                    return bool(socket.next("ack", "error", id=8)["t"] == "ack")

                while not subscribed():
                    time.sleep(0.5)
        finally:
            running.stop()
