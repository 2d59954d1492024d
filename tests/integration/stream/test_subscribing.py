"""Subscribing over a real socket: acknowledgement, snapshot, and what follows it."""

from nautilus.clock import rfc3339
from tests.support.stream_server import BARS, FIVE, MINUTE, OPEN, QUOTES, Chart, Publishing, StreamServer, client


def test_a_socket_gets_a_welcome_a_snapshot_and_then_what_happens(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 9)
    bridge.closed(10)
    with client(running, running.token()) as socket:
        welcome = socket.next("welcome")
        assert (welcome["v"], welcome["limits"]["channels"]) == (1, 200)
        ack = socket.subscribe(BARS, QUOTES, snapshot={"bars": 5})
        assert [(one["c"], one["state"]) for one in ack["channels"]] == [(BARS, "wanted"), (QUOTES, "wanted")]
        snapshot = socket.next("snapshot", c=BARS)
        assert [bar["close"] for bar in snapshot["bars"]] == [100.05, 100.06, 100.07, 100.08, 100.09]
        assert [bar["close"] for bar in snapshot["provisional"]] == [100.1]
        assert (snapshot["version"], snapshot["confirmed_until"]) == (1, rfc3339(OPEN + 10 * MINUTE))
        bridge.closed(11)
        bar = socket.next("bar")
        assert (bar["ts"], bar["state"], bar["seq"]) == (rfc3339(OPEN + 11 * MINUTE), "closed", snapshot["seq"] + 1)
        bridge.quote(9.0)
        assert socket.next("quote")["bid"] == 9.0
        bridge.confirm(10, 11)
        assert socket.next("confirmed")["version"] == 2


def test_longer_bars_are_made_of_minutes(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 11)
    bridge.closed(12)
    with client(running, running.token()) as socket:
        socket.subscribe(FIVE)
        snapshot = socket.next("snapshot")
    assert [(bar["ts"], bar["close"], bar["volume"]) for bar in snapshot["bars"]] == [
        (rfc3339(OPEN), 100.04, 60.0),
        (rfc3339(OPEN + 5 * MINUTE), 100.09, 85.0),
    ]
    folded = snapshot["forming"] or snapshot["provisional"][0]
    assert (folded["ts"], folded["open"], folded["close"], folded["volume"]) == (
        rfc3339(OPEN + 10 * MINUTE),
        100.1,
        100.12,
        63.0,
    )


def test_what_is_published_while_the_snapshot_is_read_comes_after_it(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 3)
    chart = Chart()
    with client(running, running.token()) as socket:
        for _ in range(5):
            socket.subscribe(BARS)
            socket.next("snapshot")
        bridge.closed(4)
        socket.next("bar")
        for message in socket.received:
            chart.take(message)
    assert [close for _, close in chart.closes()] == [100.0, 100.01, 100.02, 100.03, 100.04]


def test_the_usual_session_may_be_named_in_every_message(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 3)
    named = f"{BARS}@rth"
    with client(running, running.token()) as socket:
        welcome = socket.next("welcome")
        socket.subscribe(named, BARS)
        first = socket.next("snapshot", c=BARS)
        socket.send(op="unsubscribe", id=8, channels=[named])
        assert socket.next("ack", id=8)["channels"] == []
        bridge.confirm(4, 4)
        socket.send(op="resume", id=9, e=welcome["e"], channels={named: {"seq": 0, "version": first["version"]}})
        second = socket.next("snapshot", c=BARS)
        # What was committed shortly before its version is sent again, too.
        assert (second["since_version"], second["bars"][-1]["close"]) == (first["version"], 100.04)
        socket.send(op="ping", id=10)
        socket.next("pong")
    assert sum(1 for message in socket.received if message["t"] == "snapshot") == 2


def test_a_longer_bar_that_the_stream_has_closed_is_in_the_snapshot_though_the_known_clock_is_behind(
    bridge: Publishing, running: StreamServer
) -> None:
    """Market time is read from the bridge's last row: that may be older than the minutes that it stored."""
    bridge.stored.set_time(OPEN + 4 * MINUTE)
    bridge.confirm(0, 2)
    for n in (3, 4):
        bridge.closed(n)
    bridge.closed(5, state="forming")
    with client(running, running.token()) as socket:
        socket.subscribe(FIVE)
        snapshot = socket.next("snapshot")
    assert [(bar["ts"], bar["state"]) for bar in snapshot["provisional"]] == [(rfc3339(OPEN), "closed")]
    assert snapshot["forming"]["ts"] == rfc3339(OPEN + 5 * MINUTE)
