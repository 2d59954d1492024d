"""The tables of live data: wants and their leases, streams, quotes, provisional bars and their loss, the watch list, tickets."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest

from dev.postgres import Postgres, start_postgres
from dev.process import Group
from nautilus.db.connection import Database, readable
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional, quotes, streams, tickets, wants, watch_list
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.live.streams import StreamRow
from nautilus.db.live.tickets import Ticket
from nautilus.db.live.wants import WantKey, WantRow
from nautilus.db.live.watch_list import WatchRow
from nautilus.db.market import instruments
from nautilus.db.migrate import upgrade
from nautilus.spans import Spans
from tests.support.stored_bars import stock

T = TypeVar("T")
MINUTES = WantRow(1, "bars", "1m", "TRADES", "rth", 6)
QUOTES = WantRow(1, "quotes", "", "", "", 6)
TICKS = WantRow(2, "ticks", "", "", "", 6)
STREAM = StreamRow(1, "bars:1m", "TRADES", "rth", "kutd", "live", "", None, "live", 6, 10, 20, 15, Spans([(3, 5)]), 1)
BAR = ProvisionalBar(7, 60, 1.0, 2.0, 0.5, 1.5, 100.0, None, "closed", False, "kutd", 61)
TICKET = Ticket("user:7", "ada", ["bars:read"], "session-1", None, ["DU1"])


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    with closing(Database(dsn, name="test-live-rows", size=4)) as database:
        with database.transaction() as cursor:
            instruments.store_all(cursor, [(stock(), {}), (stock(2, "MSFT"), {})])
        yield database


def done(db: Database, work: Callable[..., T], *values: object) -> T:
    """What `work` returns, in a transaction of its own."""
    with db.transaction() as cursor:
        return work(cursor, *values)


def pass_time(db: Database, seconds: int) -> None:
    """As if all leases and tickets had been given so many seconds earlier."""
    with db.transaction() as cursor:
        cursor.execute("UPDATE live_wants SET lease_until = lease_until - %s * interval '1 s'", (seconds,))
        cursor.execute("UPDATE stream_tickets SET expires_at = expires_at - %s * interval '1 s'", (seconds,))


def owned(db: Database) -> list[tuple[str, WantKey]]:
    return [(want.owner, want.key) for want in done(db, wants.current)]


# ---- wants -----------------------------------------------------------------------------------------------------------


def test_wants_hold_until_their_lease_is_over(db: Database) -> None:
    assert done(db, wants.put, "user:7", [MINUTES, QUOTES, QUOTES], 60) == 2
    assert done(db, wants.put, "watch", [MINUTES], None) == 1
    pass_time(db, 59)
    assert owned(db) == [("user:7", MINUTES.key), ("user:7", QUOTES.key), ("watch", MINUTES.key)]
    pass_time(db, 1)
    assert owned(db) == [("watch", MINUTES.key)]
    assert done(db, wants.of_owner, "user:7") == []
    assert done(db, wants.expire) == 2
    assert done(db, wants.expire) == 0
    assert owned(db) == [("watch", MINUTES.key)]


def test_who_wants_the_same_again_keeps_the_age_of_the_want(db: Database) -> None:
    done(db, wants.put, "user:7", [MINUTES], 60)
    (first,) = done(db, wants.current)
    pass_time(db, 30)
    assert done(db, wants.put, "user:7", [MINUTES._replace(priority=7)], 60) == 0
    (again,) = done(db, wants.current)
    assert (again.since, again.priority) == (first.since, 7)
    pass_time(db, 59)
    assert len(owned(db)) == 1
    pass_time(db, 1)
    assert done(db, wants.put, "user:7", [MINUTES], 60) == 1, "it was over, though nobody had removed it"
    (later,) = done(db, wants.current)
    assert later.since > first.since


def test_all_leases_of_an_owner_are_renewed_together(db: Database) -> None:
    done(db, wants.put, "stream:a", [MINUTES, QUOTES], 60)
    done(db, wants.put, "stream:b", [TICKS], 60)
    done(db, wants.put, "watch", [MINUTES], None)
    pass_time(db, 50)
    assert done(db, wants.renew, "stream:a", 60) == 2
    assert done(db, wants.renew, "watch", 60) == 0
    pass_time(db, 10)
    assert [owner for owner, _ in owned(db)] == ["stream:a", "stream:a", "watch"]
    pass_time(db, 100)
    assert [owner for owner, _ in owned(db)] == ["watch"], "what is wanted for good gets no end"


def test_wants_are_dropped_one_by_one_or_all(db: Database) -> None:
    done(db, wants.put, "user:7", [MINUTES, QUOTES, TICKS], 60)
    done(db, wants.put, "user:8", [QUOTES], 60)
    assert done(db, wants.drop, "user:7", [QUOTES.key, WantKey(2, "quotes")]) == [QUOTES.key]
    assert done(db, wants.drop, "user:7", []) == []
    assert sorted(done(db, wants.drop, "user:7", None)) == [MINUTES.key, TICKS.key]
    assert owned(db) == [("user:8", QUOTES.key)]


def test_the_bridge_is_told_when_wants_change_and_not_before_it_is_committed(db: Database) -> None:
    with closing(db.listen(wants.CHANNEL)) as hearing:

        def arrived() -> int:
            """How many words came before one that is sent now."""
            with db.transaction() as cursor:
                cursor.execute("SELECT pg_notify(%s, 'last')", (wants.CHANNEL,))
            while not any(note.payload == "last" for note in hearing.notifies):
                assert readable(hearing, 10)
                hearing.poll()
            count = len(hearing.notifies) - 1
            hearing.notifies.clear()
            return count

        with db.transaction() as cursor:
            wants.put(cursor, "user:7", [MINUTES], 60)
            assert arrived() == 0
        assert arrived() == 1
        done(db, wants.drop, "user:7", [QUOTES.key])
        done(db, wants.renew, "user:7", 60)
        assert arrived() == 0, "nothing has changed"
        done(db, wants.drop, "user:7", None)
        assert arrived() == 1


def test_wants_are_counted_under_a_lock(db: Database) -> None:
    """Two requests of one owner, each of which adds a want as long as there is none."""

    def put_first(row: WantRow) -> int:
        with db.transaction() as cursor:
            wants.lock(cursor, "user:7")
            if wants.of_owner(cursor, "user:7"):
                return 0
            cursor.execute("SELECT pg_sleep(0.1)")
            return wants.put(cursor, "user:7", [row], 60)

    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(put_first, (MINUTES, QUOTES))) == 1


# ---- streams, quotes, the watch list ---------------------------------------------------------------------------------


def known(rows: list[StreamRow]) -> list[StreamRow]:
    return [row._replace(updated_at=None) for row in rows]


def test_streams_are_written_and_removed_by_their_bridge(db: Database) -> None:
    quote_stream = STREAM._replace(con_id=2, kind="quotes", price="", session="", source="mkt", holes=Spans())
    done(db, streams.put, "bridge-1", [quote_stream, STREAM])
    listed = done(db, streams.listed)
    assert known(listed) == [STREAM._replace(bridge="bridge-1"), quote_stream._replace(bridge="bridge-1")]
    waiting = STREAM._replace(source="", state="waiting", reason="no_history_slot_free", holes=Spans([(3, 5), (7, 9)]))
    done(db, streams.put, "bridge-2", [STREAM, waiting])
    assert known(done(db, streams.listed))[0] == waiting._replace(bridge="bridge-2")
    assert done(db, streams.remove, "bridge-1", [STREAM.key]) == 0, "it is another bridge's by now"
    assert done(db, streams.remove, "bridge-2", [STREAM.key]) == 1
    assert done(db, streams.remove, "bridge-2", None) == 0
    assert done(db, streams.remove, "bridge-1", None) == 1
    assert done(db, streams.listed) == []


def test_the_newest_quote_takes_the_place_of_the_one_before(db: Database) -> None:
    prices = (1.25, 3.0, 1.5, 2.0, None, None)
    first = QuoteRow(1, *prices, None, None, None, None, None, None, "", None, 20)
    other = first._replace(con_id=2, halted=True, feed="delayed", ts=18)
    done(db, quotes.put, [first, other])
    later = first._replace(bid=None, ask=1.75, feed="live", seen_at=30)
    done(db, quotes.put, [first, later])
    found = done(db, quotes.newest, [2, 1, 3])
    assert [row._replace(updated_at=None) for row in found] == [later, other]
    assert done(db, quotes.newest, []) == []


def test_an_empty_watch_list_differs_from_none(db: Database) -> None:
    apple = WatchRow(1, "1m", "TRADES", "rth", "AAPL.NASDAQ")
    assert done(db, watch_list.read) is None
    done(db, watch_list.put, "user:7", [apple._replace(con_id=2, instrument_id="MSFT.NASDAQ"), apple])
    assert [row.con_id for row in done(db, watch_list.read) or []] == [2, 1], "in the order in which it was set"
    done(db, watch_list.put, "user:8", [apple])
    assert done(db, watch_list.read) == [apple]
    done(db, watch_list.put, "user:9", [])
    assert done(db, watch_list.read) == []
    about = done(db, watch_list.about)
    assert about is not None
    assert about.set_by == "user:9"
    done(db, watch_list.clear)
    assert (done(db, watch_list.read), done(db, watch_list.about)) == (None, None)


# ---- tickets ---------------------------------------------------------------------------------------------------------


def test_a_ticket_is_good_once(db: Database) -> None:
    done(db, tickets.put, b"\x01" * 32, TICKET, 30)
    assert done(db, tickets.take, b"\x02" * 32) is None
    assert done(db, tickets.take, b"\x01" * 32) == TICKET
    assert done(db, tickets.take, b"\x01" * 32) is None


def test_of_two_who_show_a_ticket_at_once_one_gets_in(db: Database) -> None:
    done(db, tickets.put, b"\x01" * 32, TICKET, 30)

    def take(_: int) -> Ticket | None:
        with db.transaction() as cursor:
            found = tickets.take(cursor, b"\x01" * 32)
            cursor.execute("SELECT pg_sleep(0.05)")
            return found

    with ThreadPoolExecutor(4) as threads:
        assert [one for one in threads.map(take, range(4)) if one] == [TICKET]


def test_a_ticket_is_good_for_a_while(db: Database) -> None:
    for number in (1, 2):
        done(db, tickets.put, bytes([number]) * 32, TICKET, 30)
        pass_time(db, 20)
    assert done(db, tickets.take, b"\x01" * 32) is None
    assert done(db, tickets.expire) == 0, "it went when it was shown"
    pass_time(db, 10)
    assert done(db, tickets.expire) == 1


# ---- provisional bars ------------------------------------------------------------------------------------------------


def test_provisional_bars_are_replaced_and_removed_by_their_slots(db: Database) -> None:
    forming = BAR._replace(ts=120, state="forming", partial=True, volume=None)
    done(db, provisional.put, [forming, BAR, BAR._replace(series_id=8)])
    closed = forming._replace(state="closed", close=1.75, trades=3, partial=False)
    done(db, provisional.put, [forming, closed])
    assert done(db, provisional.within, 7, 60, 121) == [BAR, closed]
    assert done(db, provisional.within, 7, 61, 120) == []
    assert done(db, provisional.remove, 7, 0, 120) == 1
    assert done(db, provisional.within, 7, 0, 1_000) == [closed]
    assert done(db, provisional.within, 8, 0, 1_000) == [BAR._replace(series_id=8)]


def test_each_generation_is_whole(db: Database) -> None:
    assert not done(db, provisional.is_whole), "none was begun"
    assert [done(db, provisional.begin_generation) for _ in range(2)] == [1, 2]
    assert done(db, provisional.is_whole)


def durable(group: Group, folder: Path, port: int | None = None) -> Postgres:
    server = start_postgres(group, folder, durable=True, port=port)
    server.child.wait_ready()
    return server


def test_a_crash_of_the_server_empties_the_table_and_that_is_seen() -> None:
    def begin(cursor: Cursor) -> None:
        provisional.begin_generation(cursor)
        provisional.put(cursor, [BAR])

    with Group() as group, TemporaryDirectory(prefix="nautilus-crash-") as folder:
        server = durable(group, Path(folder))
        upgrade(server.dsn())
        with closing(Database(server.dsn(), name="test-crash", size=1)) as db:
            done(db, begin)
            done(db, watch_list.put, "user:7", [])
            assert done(db, provisional.within, 7, 0, 1_000) == [BAR]
        group.kill_child(server.child)
        durable(group, Path(folder), server.port)
        with closing(Database(server.dsn(), name="test-crash", size=1)) as db:
            assert done(db, watch_list.read) == [], "what is logged has outlived the crash"
            assert done(db, provisional.within, 7, 0, 1_000) == []
            assert not done(db, provisional.is_whole)
            done(db, provisional.put, [BAR._replace(ts=120)])
            assert not done(db, provisional.is_whole), "one more bar makes it no whole table"
            assert done(db, provisional.begin_generation) == 2
            assert done(db, provisional.is_whole)
