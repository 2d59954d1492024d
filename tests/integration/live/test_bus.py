"""The bus between a publisher and listeners: over Redis, over PostgreSQL, and from one to the other while it runs."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis

from dev.process import Group
from dev.redis import start_redis
from nautilus.db.connection import Database
from nautilus.errors import Unavailable
from nautilus.infra.bus.notifications import NotifyPublisher, NotifyReader, packed
from nautilus.infra.bus.publishing import PATIENCE_S, Bus, Message
from nautilus.infra.bus.redis_streams import LENGTHS, RedisPublisher, RedisReader
from nautilus.live.envelope import Entry, Sequencer
from nautilus.live.hearing import Hearing, ReceivedEntry

STORE = "store-1"


def machine_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    with closing(Database(dsn, name="test-bus", size=2)) as database:
        yield database


class Listener:
    """Reads all ways there are."""

    def __init__(self, *readers: RedisReader | NotifyReader) -> None:
        self.readers = readers
        self.hearing = Hearing()
        self.received: list[ReceivedEntry] = []
        self.listen()

    def listen(self) -> list[ReceivedEntry]:
        """What is new, read until nothing more comes."""
        new: list[ReceivedEntry] = []
        while entries := [entry for reader in self.readers for entry in _read(reader)]:
            new += [found for entry in entries if (found := self.hearing.hear(entry)) is not None]
        self.received += new
        return new

    def close(self) -> None:
        for reader in self.readers:
            reader.close()


def _read(reader: RedisReader | NotifyReader) -> list[Entry]:
    try:
        return reader.read()
    except Unavailable:
        return []


def bar(n: int) -> Message:
    return Message("bar", "data.bars.X", {"n": n})


def ns(received: list[ReceivedEntry]) -> list[int]:
    return [one.fields["n"] for one in received if one.entry.kind == "bar"]


def test_what_is_published_over_redis_is_heard_in_order_and_bounded(redis_url: str) -> None:
    bus = Bus([RedisPublisher(redis_url, STORE)], machine_ms)
    with closing(Listener(RedisReader(redis_url, STORE, 0.05))) as listener:
        for n in range(0, 2_500, 2):
            assert bus.publish([bar(n), Message("quote", "data.quotes.N.X", {}), bar(n + 1)])
        received = listener.listen()
    assert ns(received) == list(range(2_500))
    assert all(one.missed == 0 and not one.new_epoch for one in received)
    assert bus.publish([bar(n) for n in range(30_000)]), "more than one command holds"
    with closing(redis.Redis.from_url(redis_url)) as client:
        assert LENGTHS["bars"] <= client.xlen(f"live:{{{STORE}}}:bars") < 1.1 * LENGTHS["bars"]
    bus.close()


@pytest.mark.parametrize("channel", ["data.bars.X", "data.quotes.N.X", "data.trades.N.X"])
def test_what_is_said_of_a_channel_is_heard_in_its_order_whatever_its_kind(redis_url: str, channel: str) -> None:
    bus = Bus([RedisPublisher(redis_url, STORE)], machine_ms)
    kinds = ["stream", "bar", "confirmed", "gap", "bar", "filled", "quote", "trade", "stream", "bar"]
    with closing(Listener(RedisReader(redis_url, STORE, 0.05))) as listener:
        assert bus.publish([Message(kind, channel, {}) for kind in kinds])
        received = [one for one in listener.listen() if one.entry.channel == channel]
    assert [one.entry.kind for one in received] == kinds
    assert not any(one.missed for one in received)
    bus.close()


def test_notifications_carry_the_same_and_no_payload_is_too_long(db: Database) -> None:
    bus = Bus([NotifyPublisher(db)], machine_ms)
    with closing(Listener(NotifyReader(db, 0.2))) as listener:
        assert bus.publish([bar(n) for n in range(500)])
        received = listener.listen()
    assert ns(received) == list(range(500))
    numbered = Sequencer("e")
    entries = [numbered.entry("bar", "c", {"é": "é" * n}) for n in range(0, 4_000, 37)]
    payloads = list(packed(entries))
    assert all(len(payload.encode()) <= 7_900 for payload in payloads)
    assert [line.encode() for p in payloads for line in p.splitlines()] == [
        e.body for e in entries if len(e.body) <= 7_900
    ]


def test_a_flushed_redis_begins_an_epoch_with_the_newest_states(redis_url: str) -> None:
    bus = Bus([RedisPublisher(redis_url, STORE)], machine_ms)
    with (
        closing(Listener(RedisReader(redis_url, STORE, 0.05))) as listener,
        closing(redis.Redis.from_url(redis_url)) as client,
    ):
        bus.publish([bar(1), Message("quote", "data.quotes.N.X", {"bid": 1})])
        bus.publish([Message("quote", "data.quotes.N.X", {"bid": 2}), bar(2)])
        listener.listen()
        first = bus.epoch
        client.flushall()
        assert bus.publish([bar(3)])
        received = listener.listen()
    assert bus.epoch > first
    assert received[0].new_epoch
    assert ns(received) == [3]
    assert [one.fields["bid"] for one in received if one.entry.kind == "quote"] == [2]
    assert all(one.missed == 0 for one in received)


def test_without_the_check_of_the_epoch_a_flush_goes_unseen(redis_url: str) -> None:
    """The mutant: a publisher that adds to whatever is there. A listener that was away hears nothing of the loss."""

    class Careless(RedisPublisher):
        def publish(self, epoch: str, entries: list[Entry]) -> bool:  # type: ignore[override]
            self.begin(epoch)
            return super().publish(epoch, entries)

    bus = Bus([Careless(redis_url, STORE)], machine_ms)
    with (
        closing(Listener(RedisReader(redis_url, STORE, 0.05))) as listener,
        closing(redis.Redis.from_url(redis_url)) as client,
    ):
        bus.publish([bar(1)])
        listener.listen()
        client.flushall()
        bus.publish([bar(2)])
        assert not any(one.new_epoch for one in listener.listen())
    bus.close()


def test_an_evicted_stream_is_seen_by_its_numbers(redis_url: str) -> None:
    bus = Bus([RedisPublisher(redis_url, STORE)], machine_ms)
    with (
        closing(Listener(RedisReader(redis_url, STORE, 0.05))) as listener,
        closing(redis.Redis.from_url(redis_url)) as client,
    ):
        bus.publish([bar(1)])
        listener.listen()
        bus.publish([bar(2), bar(3)])
        client.delete(f"live:{{{STORE}}}:bars")
        bus.publish([bar(4)])
        (received,) = listener.listen()
    assert (received.fields["n"], received.missed) == (4, 2)


def test_a_stream_that_begins_anew_with_lower_ids_is_heard(redis_url: str) -> None:
    with closing(redis.Redis.from_url(redis_url)) as client, closing(RedisReader(redis_url, STORE, 0.02)) as reader:
        key, fields = f"live:{{{STORE}}}:bars", ["k", "bar", "c", "x", "d", "{}"]
        client.execute_command("XADD", key, "900-0", *fields)
        assert reader.read() == []
        client.delete(key)
        client.execute_command("XADD", key, "100-0", *fields)
        found = [entry for _ in range(25) for entry in reader.read()]
    assert found == [Entry("bar", "x", b"{}")]


@pytest.fixture
def own_redis(servers: SimpleNamespace, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Starts a Redis of this test's own, always on the same port, and gives its URL; the one before is killed."""
    with Group() as group:
        running: list[object] = []
        ports: list[int] = []

        def start() -> str:
            server = start_redis(group, tmp_path / f"redis-{len(running)}", port=ports[0] if ports else None)
            server.child.wait_ready()
            running.append(server)
            ports.append(server.port)
            start.child = server.child  # type: ignore[attr-defined]
            return server.url

        yield start


def test_a_redis_that_dies_is_replaced_by_notifications_and_taken_again(
    db: Database, own_redis: Callable[[], str]
) -> None:
    url = own_redis()
    now = [0.0]
    bus = Bus([RedisPublisher(url, STORE), NotifyPublisher(db)], machine_ms, clock=lambda: now[0])
    with closing(Listener(RedisReader(url, STORE, 0.05), NotifyReader(db, 0.1))) as listener:
        bus.publish([bar(1)])
        assert ns(listener.listen()) == [1]
        own_redis.child.kill()  # type: ignore[attr-defined]
        assert not bus.publish([bar(2)])
        now[0] += PATIENCE_S - 1
        assert not bus.publish([bar(3)])
        assert listener.listen() == []
        now[0] += 2
        before = bus.epoch
        assert bus.publish([bar(4)])
        received = listener.listen()
        assert bus.epoch > before
        assert received[0].new_epoch, "whoever hears it resumes from the database"
        now[0] += 1
        assert bus.publish([bar(5)])
        assert ns(listener.listen()) == [5]
    bus.close()


def test_without_any_way_nothing_waits_for_ever() -> None:
    way, now = Switched(), [0.0]
    bus = Bus([way], machine_ms, clock=lambda: now[0])
    assert bus.publish([bar(0)])
    first, way.works = bus.epoch, False
    for n in range(1, 20):
        now[0] += 1
        assert not bus.publish([bar(n), Message("quote", "data.quotes.N.X", {"n": n})])
    way.works = True
    way.entries.clear()
    now[0] += 1
    assert bus.publish([bar(20)])
    assert bus.epoch > first
    sent = [json.loads(entry.body) for entry in way.entries]
    assert [(one["t"], one.get("n")) for one in sent] == [("epoch", None), ("quote", 19), ("bar", 20)]


def test_epochs_rise_when_the_clock_goes_back_and_wait_while_nobody_knows_the_time() -> None:
    way, now, ms = Switched(), [0.0], [5_000]

    def database_ms() -> int:
        if ms[0] < 0:
            raise Unavailable("the database is away")
        return ms[0]

    bus = Bus([way], database_ms, clock=lambda: now[0])
    bus.publish([bar(1)])
    first = bus.epoch
    way.works = False
    for _ in range(7):
        now[0] += 1
        bus.publish([bar(2)])
    way.works, ms[0] = True, -1
    now[0] += 1
    assert not bus.publish([bar(3)])
    ms[0] = 4_000
    now[0] += 1
    assert bus.publish([bar(4)])
    assert bus.epoch > first


class Switched:
    """A way that works or not, and keeps what it was given."""

    def __init__(self) -> None:
        self.works = True
        self.entries: list[Entry] = []

    def begin(self, epoch: str) -> None:
        if not self.works:
            raise Unavailable("switched off")

    def publish(self, epoch: str, entries: list[Entry]) -> bool:
        self.begin(epoch)
        self.entries += entries
        return True

    def close(self) -> None:
        pass
