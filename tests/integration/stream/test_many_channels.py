"""As many channels as one socket may have, and what it gets on each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nautilus.clock import rfc3339
from nautilus.db.market import instruments
from nautilus.infra.bus.publishing import Message
from nautilus.market.instrument import Instrument
from tests.support.stream_server import BARS, OPEN, Client, Publishing, StreamServer, client, live, minute

STOCKS = [f"X{n}" for n in range(50)]
CHANNELS = [
    *(f"data.bars.{stock}.NASDAQ-1-MINUTE-LAST-EXTERNAL" for stock in STOCKS),
    *(f"data.bars.{stock}.NASDAQ-5-MINUTE-LAST-EXTERNAL" for stock in STOCKS),
    *(f"data.bars.{stock}.NASDAQ-1-MINUTE-MID-EXTERNAL" for stock in STOCKS),
    *(f"data.quotes.NASDAQ.{stock}" for stock in STOCKS),
]


@pytest.fixture
def socket(bridge: Publishing, tmp_path: Path) -> Iterator[Client]:
    """A socket while fifty more stocks are known."""
    with bridge.stored.db.transaction() as cursor:
        for n, stock in enumerate(STOCKS):
            words = (f"{stock}.NASDAQ", stock, "STK", "SMART", "NASDAQ", "USD", stock, "NMS", "", "", 0.01, "", "", "")
            instruments.store(cursor, Instrument(1_000 + n, *words), {})
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_heartbeat_s=0.5)
    with client(running, running.token()) as opened:
        yield opened
    running.stop()


def messages() -> list[Message]:
    """One of each channel."""
    bars = [Message("bar", name, live(minute(0), "closed")) for name in CHANNELS if name.startswith("data.bars")]
    quotes = [Message("quote", name, {"bid": 1.0}) for name in CHANNELS if name.startswith("data.quotes")]
    return [*bars, *quotes]


def names_of(socket: Client, kind: str) -> list[str]:
    return sorted(m["c"] for m in socket.received if m["t"] == kind)


def test_a_socket_has_two_hundred_channels_and_not_one_more(bridge: Publishing, socket: Client) -> None:
    socket.send(op="subscribe", channels=CHANNELS)
    assert socket.next("error")["errors"][0]["field"] == "snapshot.bars"
    ack = socket.subscribe(*CHANNELS, snapshot={"bars": 100})
    assert [one["c"] for one in ack["channels"]] == CHANNELS
    socket.collect(lambda: len(names_of(socket, "snapshot")) >= 200, "a snapshot of each")
    assert names_of(socket, "snapshot") == sorted(CHANNELS)
    socket.send(op="subscribe", id=3, channels=[BARS])
    assert socket.next("error", id=3)["errors"][0]["field"] == "channels"
    bridge.publish(*messages())
    socket.collect(lambda: len(names_of(socket, "bar")) + len(names_of(socket, "quote")) >= 200, "a message of each")
    assert sorted([*names_of(socket, "bar"), *names_of(socket, "quote")]) == sorted(CHANNELS)
    assert sorted(socket.next("heartbeat")["channels"]) == sorted(CHANNELS)


def test_two_hundred_channels_resume_in_two_frames_with_twenty_thousand_bars_at_most(
    bridge: Publishing, socket: Client
) -> None:
    bridge.confirm(0, 0)
    bridge.confirm(1, 350)
    known = {name: {"seq": 0, "version": 0} for name in CHANNELS[:100]}
    socket.send(op="resume", e="", channels=known | {BARS: {"seq": 0, "version": 1}})
    snapshot, gap = socket.next("snapshot", c=BARS), socket.next("gap")
    assert (snapshot["bars"], gap["c"], gap["reason"]) == ([], BARS, "too_many_changes")
    assert gap["start"] == rfc3339(OPEN), "what was committed shortly before its version is sent again"
    socket.send(op="resume", id=2, e="", channels={key: {"seq": 0} for key in CHANNELS[100:199]})
    assert len(socket.next("ack", id=2)["channels"]) == 200
