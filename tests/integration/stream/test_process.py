"""`python -m stream` as a process: its health page, its leases, its end by SIGTERM and by SIGKILL."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dev.process import Group
from nautilus.clock import rfc3339
from nautilus.db.live import wants
from nautilus.db.live.wants import CurrentWant
from stream.wants import LEASE_S
from tests.support.stream_process import StreamProcess
from tests.support.stream_server import BARS, FIVE, MINUTE, OPEN, QUOTES, Chart, Publishing, wait


@pytest.fixture
def group() -> Iterator[Group]:
    with Group() as made:
        yield made


@pytest.fixture
def process(group: Group, bridge: Publishing, tmp_path: Path) -> StreamProcess:
    return StreamProcess(group, tmp_path, bridge.stored.dsn)


def wanted(bridge: Publishing) -> list[CurrentWant]:
    with bridge.stored.db.transaction() as cursor:
        return [want for want in wants.current(cursor) if want.owner.startswith("stream:")]


def kinds(bridge: Publishing) -> list[tuple[str, str, int]]:
    return sorted((want.kind, want.timeframe, want.priority) for want in wanted(bridge))


def test_all_sockets_want_a_channel_once_and_the_last_one_gives_it_up(
    bridge: Publishing, process: StreamProcess
) -> None:
    with process.client() as first:
        first.subscribe(BARS, QUOTES)
        with process.client(2) as second:
            second.subscribe(BARS, FIVE, chart=True)
            wait(lambda: kinds(bridge) == [("bars", "1m", 7), ("bars", "5m", 7), ("quotes", "", 6)], "one want each")
            assert {(one.price, one.session) for one in wanted(bridge)} == {("TRADES", "rth"), ("", "")}
            assert process.health() == {**(process.health() or {}), "ok": True, "sockets": 2}
        wait(lambda: kinds(bridge) == [("bars", "1m", 6), ("quotes", "", 6)], "one socket is left")
        first.send(op="unsubscribe", channels=[BARS])
        wait(lambda: kinds(bridge) == [("quotes", "", 6)], "the quotes are left")
    wait(lambda: wanted(bridge) == [], "nothing is wanted")


def test_sigterm_says_goodbye_and_wants_nothing_any_more(
    bridge: Publishing, process: StreamProcess, group: Group
) -> None:
    with process.client() as socket:
        socket.subscribe(BARS)
        socket.next("snapshot")
        wait(lambda: wanted(bridge), "the lease is written")
        assert group.stop_child(process.child) == 0
        assert socket.closed() == 1012
        bye = socket.received[-1]
        assert (bye["t"], bye["code"]) == ("bye", 1012)
        assert 1 <= bye["retry_after_s"] <= 10
        assert list(bye["resume"]["channels"]) == [BARS]
    assert wanted(bridge) == []
    lines = [json.loads(line) for line in process.child.log.read_text().splitlines() if line.startswith("{")]
    assert [line["message"] for line in lines if line["level"] in ("ERROR", "CRITICAL")] == []


def test_what_a_killed_process_wants_ends_within_a_minute(
    bridge: Publishing, process: StreamProcess, group: Group
) -> None:
    with process.client() as socket:
        socket.subscribe(BARS)
        wait(lambda: wanted(bridge), "the lease is written")
        group.kill_child(process.child)
        killed_at = datetime.now(UTC)
    [left] = wanted(bridge)
    assert left.lease_until is not None
    assert (left.lease_until - killed_at).total_seconds() <= LEASE_S
    bridge.stored.rows("UPDATE live_wants SET lease_until = lease_until - interval '60 s'")
    assert wanted(bridge) == []
    with bridge.stored.db.transaction() as cursor:
        assert wants.expire(cursor) == 1


def test_who_resumes_after_the_process_was_killed_has_each_closed_bar_once(
    bridge: Publishing, process: StreamProcess, group: Group
) -> None:
    chart = Chart()
    bridge.confirm(0, 1)
    with process.client() as socket:
        socket.subscribe(BARS)
        socket.next("snapshot")
        bridge.closed(2)
        socket.next("bar", ts=rfc3339(OPEN + 2 * MINUTE))
        group.kill_child(process.child)
        for message in socket.received:
            chart.take(message)
    bridge.closed(3)
    bridge.confirm(2, 2)
    bridge.confirm(1, 1, close=90.5, revised=True)
    process.start()
    with process.client() as again:
        again.send(op="resume", id=1, e="", channels={BARS: {"seq": 0, "version": chart.version}})
        snapshot = again.next("snapshot")
        stamps = [bar["ts"] for bar in (*snapshot["bars"], *snapshot["provisional"])]
        assert sorted(stamps) == sorted({*stamps}), "each bar once"
        assert {rfc3339(OPEN + n * MINUTE) for n in (1, 2, 3)} <= {*stamps}
        bridge.closed(4)
        again.next("bar", ts=rfc3339(OPEN + 4 * MINUTE))
        late = chart.closes()
        for message in again.received:
            chart.take(message)
    expected = [100.0, 90.5, *(100.0 + n / 100 for n in (2, 3, 4))]
    assert chart.closes() == [(rfc3339(OPEN + n * MINUTE), close) for n, close in enumerate(expected)]
    assert late != chart.closes()[: len(late)], "the mutant: who does not resume"
