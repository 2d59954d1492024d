"""A client that was away resumes by version: every closed and revised bar once, whatever happened meanwhile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from nautilus.clock import rfc3339
from nautilus.infra.bus.publishing import Message
from stream.series_snapshot import SnapshotQuery
from stream.subscriber import Subscriber
from tests.support.stream_server import (
    BARS,
    FIVE,
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


def away(bridge: Publishing) -> None:
    """What happens in an outage: bars close, some are confirmed, one is revised, the last are provisional still."""
    for n in range(5, 9):
        bridge.closed(n)
    bridge.confirm(5, 7)
    bridge.confirm(1, 1, close=77.0, revised=True)
    bridge.quote(50.0)
    bridge.quote(51.0)
    bridge.closed(9)


def followed(socket: Client, chart: Chart) -> None:
    for message in socket.received:
        chart.take(message)


def resumed(
    bridge: Publishing, running: StreamServer, what_happens: Callable[[Publishing], None]
) -> tuple[Chart, list[Any]]:
    """A chart that follows, is cut off while something happens, and resumes; and what it was told then."""
    chart = Chart()
    with client(running, running.token()) as socket:
        socket.next("welcome")
        socket.subscribe(BARS, QUOTES)
        socket.next("snapshot", c=BARS)
        bridge.closed(4)
        bar = socket.next("bar")
        followed(socket, chart)
    what_happens(bridge)
    with client(running, running.token()) as socket:
        socket.next("welcome")
        known = {BARS: {"seq": bar["seq"], "version": chart.version}, QUOTES: {"seq": 0}}
        socket.send(op="resume", id=3, e=bar["e"], channels=known)
        assert [one["c"] for one in socket.next("ack", id=3)["channels"]] == [BARS, QUOTES]
        socket.collect(
            lambda: len([m for m in socket.received if m["t"] in ("snapshot", "resumed")]) == 2, "both channels resume"
        )
        bridge.closed(10)
        socket.next("bar", ts=rfc3339(OPEN + 10 * MINUTE))
        followed(socket, chart)
        return chart, socket.received


def expected(bridge: Publishing) -> list[tuple[str, float]]:
    closes = {n: 100.0 + n / 100 for n in range(11)} | {1: 77.0}
    return [(rfc3339(OPEN + n * MINUTE), close) for n, close in closes.items()]


def test_a_client_that_was_away_has_each_bar_once_and_the_newest_quote(
    bridge: Publishing, running: StreamServer
) -> None:
    bridge.confirm(0, 2)
    bridge.long_ago()
    bridge.confirm(3, 3)
    chart, received = resumed(bridge, running, away)
    assert chart.closes() == expected(bridge)
    [snapshot] = [m for m in received if m["t"] == "snapshot" and m["c"] == BARS]
    assert snapshot["since_version"] == 2
    stamps = [bar["ts"] for bar in (*snapshot["bars"], *snapshot["provisional"])]
    assert sorted(stamps) == sorted({*stamps}), "each bar once"
    assert len(stamps) == 8, "three new, one revised, three provisional, and that of the last version that it knew"
    [quote] = [m for m in received if m["t"] == "snapshot" and m["c"] == QUOTES]
    assert quote["quote"]["bid"] == 51.0


def test_a_client_that_believes_its_numbers_would_lack_bars(
    bridge: Publishing, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: what changed is taken from the newest version, not from the client's."""
    ask = Subscriber._query

    def newest(self: Subscriber, subscription: Any, bars: int, since: int | None) -> SnapshotQuery:
        return ask(self, subscription, bars, since)._replace(since=bridge.version if since else None)

    def exact(self: Subscriber, *_: Any) -> bool:
        return True

    monkeypatch.setattr(Subscriber, "_query", newest)
    monkeypatch.setattr(Subscriber, "_has_all", exact)
    bridge.confirm(0, 3)
    chart, _ = resumed(bridge, running, away)
    assert chart.closes() != expected(bridge)


def resume(running: StreamServer, *, epoch: str, number: int, version: int, channel: str = BARS) -> dict[str, Any]:
    """The answer to a client that comes back."""
    with client(running, running.token()) as socket:
        socket.send(op="resume", id=1, e=epoch, channels={channel: {"seq": number, "version": version}})
        return socket.next("resumed", "snapshot")


def test_who_shows_by_its_numbers_that_it_has_all_is_answered_in_a_word(
    bridge: Publishing, running: StreamServer
) -> None:
    bridge.confirm(0, 3)
    wait(lambda: running.stream.hub.number(BARS) == 1, "the stream has it")
    epoch = running.stream.hub.epoch
    answer = resume(running, epoch=epoch, number=1, version=1)
    assert (answer["t"], answer["count"], answer["version"]) == ("resumed", 0, 1)
    for unproven in ({"epoch": "", "number": 1}, {"epoch": epoch, "number": 0}, {"epoch": epoch, "number": 2}):
        answer = resume(running, version=1, **unproven)
        assert (answer["t"], len(answer["bars"])) == ("snapshot", 4), unproven


@pytest.mark.parametrize("channel", [BARS, FIVE])
def test_a_bar_that_is_published_after_a_later_version_is_not_missed_by_who_left_between_the_two(
    bridge: Publishing, running: StreamServer, channel: str
) -> None:
    """A commit settles minutes 0 to 4; listeners get a word on a later commit first, and leave."""
    chart = Chart(channel)
    commit(bridge, 0, 4)
    with bridge.stored.db.transaction() as cursor:
        bridge._commit(cursor, [minute(5)], (OPEN + 5 * MINUTE, OPEN + 6 * MINUTE))
    sent = {**live(minute(5), "confirmed"), "version": bridge.version}
    bridge.publish(Message("bar", channel, sent))
    wait(lambda: running.stream.hub.number(channel), "the later word is there")
    chart.take({**sent, "t": "bar", "c": channel})
    answer = resume(running, epoch="", number=0, version=chart.version, channel=channel)
    chart.take({**answer, "c": channel})
    assert rfc3339(OPEN) in chart.bars


def test_what_was_committed_long_before_is_not_repeated(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 300)
    bridge.long_ago()
    bridge.confirm(301, 301)
    answer = resume(running, epoch="", number=0, version=2)
    assert [bar["ts"] for bar in answer["bars"]] == [rfc3339(OPEN + 301 * MINUTE)]


def test_what_history_withdrew_is_gone(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 3)

    def withdrawn(bridge: Publishing) -> None:
        bridge.withdraw(4)

    chart, _ = resumed(bridge, running, withdrawn)
    assert [ts for ts, _ in chart.closes()] == [rfc3339(OPEN + n * MINUTE) for n in (0, 1, 2, 3, 10)]


def test_an_emptied_table_of_provisional_bars_withdraws_nothing(bridge: Publishing, running: StreamServer) -> None:
    """A crash of PostgreSQL takes the rows; the bars that a client has stay until history answers."""
    bridge.confirm(0, 3)

    def crashed(bridge: Publishing) -> None:
        with bridge.stored.db.transaction() as cursor:
            cursor.execute("DELETE FROM live_bars")
            cursor.execute("DELETE FROM live_bars_marker")

    chart, received = resumed(bridge, running, crashed)
    assert [ts for ts, _ in chart.closes()] == [rfc3339(OPEN + n * MINUTE) for n in (0, 1, 2, 3, 4, 10)]
    assert {m.get("reason") for m in received if m["t"] == "snapshot" and m["c"] == BARS} == {"live_bars_lost"}


def test_longer_bars_resume_by_the_version_of_their_minutes(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 13)
    bridge.long_ago()
    bridge.confirm(14, 14)
    bridge.confirm(7, 7, close=55.0)
    with client(running, running.token()) as socket:
        socket.send(op="resume", id=1, e="", channels={FIVE: {"seq": 0, "version": 2}})
        snapshot = socket.next("snapshot")
    assert [(bar["ts"], bar["low"]) for bar in snapshot["bars"]] == [
        (rfc3339(OPEN + 5 * MINUTE), 54.0),
        (rfc3339(OPEN + 10 * MINUTE), 99.1),
    ]
    assert snapshot["version"] == 3


def without_trades(bridge: Publishing, first: int, last: int) -> None:
    """History has answered for these minutes, and has no bar."""
    with bridge.stored.db.transaction() as cursor:
        bridge._commit(cursor, [], (OPEN + first * MINUTE, OPEN + (last + 1) * MINUTE))


def test_a_longer_bar_that_minutes_without_trades_have_settled_is_among_what_changed(
    bridge: Publishing, running: StreamServer
) -> None:
    bridge.confirm(0, 4)
    bridge.long_ago()
    bridge.confirm(5, 6)
    sent = bridge.version
    without_trades(bridge, 7, 9)
    with client(running, running.token()) as socket:
        socket.send(op="resume", id=1, e="", channels={FIVE: {"seq": 0, "version": sent}})
        snapshot = socket.next("snapshot")
        assert [(bar["ts"], bar["close"]) for bar in snapshot["bars"]] == [(rfc3339(OPEN + 5 * MINUTE), 100.06)]
        without_trades(bridge, 10, 14)
        socket.send(op="resume", id=3, e="", channels={FIVE: {"seq": 0, "version": sent + 1}})
        assert rfc3339(OPEN + 10 * MINUTE) not in [bar["ts"] for bar in socket.next("snapshot")["bars"]], (
            "no trade, no bar"
        )


def test_a_longer_bar_is_provisional_while_a_minute_of_it_is_not_settled_though_none_is_provisional(
    bridge: Publishing, running: StreamServer
) -> None:
    bridge.confirm(0, 6)
    with client(running, running.token()) as socket:
        socket.subscribe(FIVE)
        snapshot = socket.next("snapshot")
    assert [bar["ts"] for bar in snapshot["bars"]] == [rfc3339(OPEN)]
    (bar,) = snapshot["provisional"]
    assert (bar["ts"], bar["close"], bar["state"], bar["partial"]) == (
        *(rfc3339(OPEN + 5 * MINUTE), 100.06),
        *("closed", True),
    )
    bridge.stored.set_time(OPEN + 8 * MINUTE)
    with client(running, running.token()) as socket:
        socket.subscribe(FIVE)
        snapshot = socket.next("snapshot")
    assert (snapshot["forming"]["ts"], snapshot["forming"].get("partial", False)) == (rfc3339(OPEN + 5 * MINUTE), False)


def test_more_changes_than_fit_are_a_gap_whose_range_closes_the_hole(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_snapshot_bars=100)
    bridge.confirm(0, 8)
    bridge.long_ago()
    bridge.confirm(9, 9)
    chart = Chart()
    try:
        with client(running, running.token()) as socket:
            socket.subscribe(BARS, snapshot={"bars": 50})
            socket.next("snapshot")
            followed(socket, chart)
        bridge.confirm(10, 389)
        bridge.closed(390)
        with client(running, running.token()) as socket:
            socket.send(op="resume", id=1, e="", channels={BARS: {"seq": 0, "version": 2}})
            snapshot, gap = socket.next("snapshot"), socket.next("gap")
            assert (gap["start"], gap["reason"]) == (rfc3339(OPEN + 9 * MINUTE), "too_many_changes")
            followed(socket, chart)
    finally:
        running.stop()
    assert snapshot["version"] == 3
    bridge.stored.set_time(OPEN + 500 * MINUTE)
    answer: httpx.Response = bridge.stored.api(tmp_path).get(f"{gap['rest']}&limit=5000")
    assert answer.status_code == 200, answer.text
    for candle in answer.json()["candles"]:
        time = candle["time"]
        ts = f"{time[:4]}-{time[4:6]}-{time[6:8]}T{time[-9:]}"
        chart._bar({"ts": ts, "close": candle["close"], "state": "confirmed"}, 2)
    assert [ts for ts, _ in chart.closes()] == [rfc3339(OPEN + n * MINUTE) for n in range(391)]


@pytest.mark.parametrize("channel", [BARS, FIVE])
def test_a_version_of_another_store_is_answered_by_the_whole_range(
    bridge: Publishing, running: StreamServer, channel: str
) -> None:
    bridge.confirm(0, 9)
    chart = Chart(channel)
    chart.bars = {"2025-01-06T14:30:00Z": {"ts": "2025-01-06T14:30:00Z", "state": "confirmed", "version": 4711}}
    with client(running, running.token()) as socket:
        socket.send(op="resume", id=1, e="", channels={channel: {"seq": 9, "version": 4711}})
        snapshot, gap = socket.next("snapshot"), socket.next("gap")
    followed(socket, chart)
    assert not chart.bars, "a bar that only the other store has is gone"
    assert (gap["start"], gap["version"], gap["reason"]) == (rfc3339(OPEN), 1, "unknown_version")
    assert (snapshot["version"], snapshot["reason"]) == (1, "unknown_version")


def test_a_series_that_is_no_more_takes_its_bars_along(bridge: Publishing, running: StreamServer) -> None:
    chart = Chart()
    chart.bars = {rfc3339(OPEN): {"ts": rfc3339(OPEN), "state": "confirmed", "version": 4711}}
    with client(running, running.token()) as socket:
        socket.send(op="resume", id=1, e="", channels={BARS: {"seq": 9, "version": 4711}})
        snapshot = socket.next("snapshot")
        followed(socket, chart)
    assert (snapshot["version"], snapshot["reason"], chart.bars) == (0, "unknown_version", {})


def test_longer_bars_without_known_sessions_are_an_error_until_they_are_known(
    bridge: Publishing, running: StreamServer
) -> None:
    bridge.confirm(0, 9)
    for table in ("calendars", "trading_sessions"):
        bridge.stored.rows(f"CREATE TABLE {table}_away AS SELECT * FROM {table}")
    bridge.stored.rows("DELETE FROM calendars")
    with client(running, running.token()) as socket:
        socket.send(op="resume", id=1, e="", channels={FIVE: {"seq": 9, "version": 1}, BARS: {"seq": 9, "version": 1}})
        assert socket.next("snapshot", c=BARS), "the other channel is well"
        error = next(m for m in socket.received if m["t"] == "error")
        assert (error["code"], error["channel"]) == ("calendar-unknown", FIVE)
        for table in ("calendars", "trading_sessions"):
            bridge.stored.rows(f"INSERT INTO {table} SELECT * FROM {table}_away ON CONFLICT DO NOTHING")
        bridge.confirm(3, 3, close=55.0)
        snapshot = socket.next("snapshot", c=FIVE)
    assert (snapshot["bars"][0]["ts"], snapshot["bars"][0]["low"]) == (rfc3339(OPEN), 54.0)


def test_who_resumes_from_a_version_that_is_not_reached_misses_nothing_later(
    bridge: Publishing, running: StreamServer
) -> None:
    """As after a database was restored from a backup: what is read again later counts from what was sent, not from the claim."""
    bridge.confirm(0, 3)
    sent = bridge.version
    with client(running, running.token()) as socket:
        socket.next("welcome")
        socket.send(op="resume", e="", channels={BARS: {"seq": 1, "version": sent + 2}})
        assert socket.next("snapshot", c=BARS)["version"] == sent
        assert socket.next("gap")["version"] == sent
        lost(bridge, 4)
        bridge.confirm(5, 5)
        healed = socket.next("snapshot", c=BARS)
        assert healed["since_version"] == sent
        assert [bar["ts"] for bar in healed["bars"]] == [rfc3339(OPEN + n * MINUTE) for n in range(6)]


def commit(bridge: Publishing, first: int, last: int) -> None:
    """Minutes first to last are confirmed, and nobody is told."""
    bars = [minute(n) for n in range(first, last + 1)]
    with bridge.stored.db.transaction() as cursor:
        bridge._commit(cursor, bars, (bars[0].ts, bars[-1].ts + MINUTE))


def lost(bridge: Publishing, n: int) -> None:
    """Minute n is confirmed, and the bus loses the word of it."""
    commit(bridge, n, n)
    assert bridge.bus._numbers is not None
    bridge.bus._numbers.entry("confirmed", BARS, {})
