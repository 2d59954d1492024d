"""`for bar in client.live(...)` before a stream process whose connections are cut: nothing is missing, nothing comes twice."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import functions.bars.app
import functions.live.app
from nautilus_client import live
from nautilus_client.client import Client
from nautilus_client.errors import NotAllowed, TransportError
from nautilus_client.live_bars import Event, LiveBar, LiveBook
from nautilus_client.retry import RetryPolicy
from tests.support.client_server import PATIENCE_S, Crossing, api_key, served
from tests.support.stored_bars import StoredBars
from tests.support.stream_process import StreamProcess
from tests.support.stream_server import BARS, MINUTE, OPEN, Publishing, wait


@pytest.fixture
def bridge(dsn: str) -> Iterator[Publishing]:
    """A stand-in for the bridge: it commits, then it publishes."""
    with closing(StoredBars(dsn, OPEN + 120 * MINUTE)) as stored, closing(Publishing(stored)) as made:
        yield made


@pytest.fixture
def crossing(
    bridge: Publishing, servers: SimpleNamespace, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Crossing]:
    """The functions of live data and of bars, and a stream process, at one address. Its parameter: settings of the process."""
    process = StreamProcess(servers.group, tmp_path, bridge.stored.dsn, **getattr(request, "param", {}))
    app = bridge.stored.app(tmp_path, router=functions.live.app.router, anonymous_scopes=())
    app.include_router(functions.bars.app.router)
    with served(app) as url:
        api_port = int(url.rpartition(":")[2])
        made = Crossing(lambda head: process.port if "/api/v1/stream/events" in head else api_port)
        yield made
        made.close()
    servers.group.stop_child(process.child)


class Follower:
    """Takes live bars in a thread of its own."""

    def __init__(self, bars: live.LiveBars) -> None:
        self.bars = bars
        self.taken: list[LiveBar] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        for bar in self.bars:
            self.taken.append(bar)

    def close(self) -> None:
        self.bars.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "a closed iterator ends"

    def words(self) -> list[tuple[int, str, float | None]]:
        """Minute, state and close of each bar that was given."""
        return [((bar.ts - OPEN) // MINUTE, bar.state, bar.close) for bar in self.taken]


@contextmanager
def following(bridge: Publishing, crossing: Crossing) -> Iterator[Follower]:
    """Who follows from minute 2 on, as the two before are confirmed."""
    bridge.confirm(0, 1)
    bridge.long_ago()
    key = api_key(bridge.stored.db, "bars:read")
    with Client(crossing.url, key, policy=RetryPolicy(first_wait_s=0.01)) as client:
        bars = client.live("AAPL", "1m")
        assert bars.channel == BARS
        follower = Follower(bars)
        wait(lambda: bars._book.confirmed_until, "the first snapshot has come")
        yield follower
        follower.close()


def outage(bridge: Publishing, crossing: Crossing, follower: Follower) -> None:
    """Bars close before, while and after the connection is away; history speaks, too, and changes its mind."""
    bridge.closed(2)
    bridge.closed(3)
    bridge.confirm(2, 2)
    wait(lambda: len(follower.taken) == 3, "the first three words have come")
    crossing.cut()
    bridge.closed(4)
    bridge.closed(5)
    bridge.confirm(3, 4)
    bridge.confirm(2, 2, close=77.0, revised=True)
    bridge.confirm(0, 0, close=55.0, revised=True)  # of before it began
    crossing.mend()
    wait(lambda: follower.bars.connections == 2, "it has connected anew")
    bridge.closed(6)
    wait(lambda: follower.words()[-1][:2] == (6, "closed"), "the last bar has come")


EXPECTED = [
    (2, "closed", 100.02),
    (3, "closed", 100.03),
    (2, "confirmed", 100.02),
    (0, "confirmed", 55.0),
    (2, "confirmed", 77.0),
    (3, "confirmed", 100.03),
    (4, "confirmed", 100.04),
    (5, "closed", 100.05),
    (6, "closed", 100.06),
]


def test_bars_go_on_over_a_connection_that_is_cut_without_a_gap_or_a_double(
    bridge: Publishing, crossing: Crossing
) -> None:
    with following(bridge, crossing) as follower:
        outage(bridge, crossing, follower)
    assert follower.words() == EXPECTED
    resumed = [head.lower() for head in crossing.heads if "/stream/events" in head]
    assert ["last-event-id" in head for head in resumed] == [False, True]


@pytest.mark.parametrize("crossing", [{"NAUTILUS_STREAM_SNAPSHOT_BARS": "2"}], indirect=True)
def test_more_changes_than_a_snapshot_holds_are_read_where_the_server_says(
    bridge: Publishing, crossing: Crossing
) -> None:
    with following(bridge, crossing) as follower:
        outage(bridge, crossing, follower)
        wait(lambda: len(follower.taken) == len(EXPECTED), "what was left out has come, too")
    assert sorted(follower.words()[3:]) == sorted(EXPECTED[3:])
    assert any("/historical/bars?" in head for head in crossing.heads)


def test_who_remembers_no_bar_of_before_misses_what_history_changes_in_it(
    bridge: Publishing, crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: it begins with an empty book."""
    monkeypatch.setattr(LiveBook, "take", lambda book, event, take=LiveBook.take: _without_bars(book, event, take))
    with following(bridge, crossing) as follower:
        outage(bridge, crossing, follower)
    assert (0, "confirmed", 55.0) not in follower.words()


def _without_bars(book: LiveBook, event: Event, take: Callable[[LiveBook, Event], Sequence[LiveBar]]) -> Any:
    if event.kind == "snapshot" and "since_version" not in event.data:
        event = event._replace(data={**event.data, "bars": []})
    return take(book, event)


def test_who_begins_anew_with_each_connection_lacks_bars(
    bridge: Publishing, crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: each connection begins as if it were the first."""
    whole = live.LiveBars._one_connection

    def forgetful(self: live.LiveBars) -> Iterator[Event]:
        self._last_id, self._begun = "", False
        return whole(self)

    monkeypatch.setattr(live.LiveBars, "_one_connection", forgetful)
    with following(bridge, crossing) as follower:
        outage(bridge, crossing, follower)
    assert follower.words() != EXPECTED


def test_who_may_not_read_is_refused_and_who_gives_up_knows_why(bridge: Publishing, crossing: Crossing) -> None:
    bridge.confirm(0, 1)
    with Client(crossing.url, api_key(bridge.stored.db, "monitoring:read")) as client, pytest.raises(NotAllowed):
        client.live("AAPL", "1m")
    key = api_key(bridge.stored.db, "bars:read", name="bob")
    with Client(crossing.url, key, policy=RetryPolicy(tries=1)) as client:
        bars = client.live("AAPL", "1m", give_up_s=0.0)
        crossing.cut()
        with pytest.raises(TransportError, match="no live data for 0 s"):
            next(iter(bars))
