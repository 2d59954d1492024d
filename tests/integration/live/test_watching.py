"""The watch list and its wants, and tickets for sockets, on the real database."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import pytest

from nautilus.auth.principal import Principal
from nautilus.db.connection import Database
from nautilus.db.live import wants, watch_list
from nautilus.db.live.wants import WantKey, WantRow
from nautilus.db.live.watch_list import WatchRow
from nautilus.db.market import instruments
from nautilus.live import tickets, watching
from nautilus.live.watch_series import WatchSeries
from nautilus.live.watching import Unresolved
from tests.support.stored_bars import stock

T = TypeVar("T")
APPLE = WatchRow(1, "1m", "TRADES", "rth", "AAPL.NASDAQ")
SETTING = (WatchSeries("AAPL.NASDAQ", "1m"), WatchSeries("MSFT.NASDAQ", "5m", "MIDPOINT", "all"))
USER = Principal("user:7", "ada", frozenset({"bars:read"}), "session-1", 3)


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    with closing(Database(dsn, name="test-watching", size=2)) as database:
        with database.transaction() as cursor:
            instruments.store_all(cursor, [(stock(), {})])
        yield database


def done(db: Database, work: Callable[..., T], *values: object) -> T:
    with db.transaction() as cursor:
        return work(cursor, *values)


def watched(db: Database) -> list[WantKey]:
    found = done(db, wants.of_owner, watching.OWNER)
    assert all(want.lease_until is None and want.priority == 3 for want in found)
    return [want.key for want in found]


def learn(db: Database, *symbols: str) -> None:
    """As if the bridge had looked these up."""
    with db.transaction() as cursor:
        instruments.store_all(cursor, [(stock(n, symbol), {}) for n, symbol in enumerate(symbols, 2)])


# ---- the list --------------------------------------------------------------------------------------------------------


def test_a_setting_is_kept_as_far_as_its_names_are_known(db: Database) -> None:
    assert done(db, watching.keep, SETTING) == [Unresolved(SETTING[1], "unknown_instrument")]
    assert watched(db) == [WantKey(1, "bars", "1m", "TRADES", "rth")]
    learn(db, "MSFT")
    assert done(db, watching.keep, SETTING) == []
    assert watched(db)[1] == WantKey(2, "bars", "5m", "MIDPOINT", "all")


def test_a_name_of_several_contracts_and_a_price_that_an_asset_class_lacks_are_told(db: Database) -> None:
    learn(db, "AAPL")
    setting = (SETTING[0], WatchSeries("MSFT.NASDAQ", "1m", "AGGTRADES"))
    with db.transaction() as cursor:
        instruments.store_all(cursor, [(stock(9, "MSFT"), {})])
    reasons = [one.reason for one in done(db, watching.keep, setting)]
    assert reasons == ["ambiguous_instrument", "no_such_price"]
    assert watched(db) == []


def test_an_expired_contract_of_the_name_is_not_meant(db: Database) -> None:
    future = stock(5, "ESZ6")._replace(asset_class="FUT", instrument_id="ESZ6.CME", expiry="20161216")
    with db.transaction() as cursor:
        instruments.store_all(cursor, [(future, {}), (future._replace(con_id=6, expiry="20991216"), {})])
    assert done(db, watching.keep, [WatchSeries("ESZ6.CME", "1m")]) == []
    assert watched(db) == [WantKey(6, "bars", "1m", "TRADES", "all")]


def test_what_is_no_longer_on_the_list_is_no_longer_wanted(db: Database) -> None:
    learn(db, "MSFT")
    done(db, wants.put, "user:7", [WantRow(1, "bars", "1m", "TRADES", "rth", 6)], 60)
    done(db, watching.keep, SETTING)
    done(db, watching.keep, SETTING[1:])
    assert [key.con_id for key in watched(db)] == [2]
    done(db, watching.keep, ())
    assert watched(db) == []
    assert len(done(db, wants.of_owner, "user:7")) == 1, "others go on wanting it"


def test_a_list_that_was_set_wins_also_when_it_is_empty(db: Database) -> None:
    done(db, watching.keep, SETTING[:1])
    done(db, watch_list.put, "user:7", [APPLE._replace(timeframe="5m")])
    assert done(db, watching.keep, SETTING) == []
    assert [key.timeframe for key in watched(db)] == ["5m"]
    done(db, watch_list.put, "user:7", [])
    assert done(db, watching.keep, SETTING) == []
    assert watched(db) == []
    done(db, watch_list.clear)
    done(db, watching.keep, SETTING)
    assert [key.timeframe for key in watched(db)] == ["1m"]


def test_a_sweep_without_a_change_writes_nothing(db: Database) -> None:
    done(db, watching.keep, SETTING)

    def row() -> object:
        with db.transaction() as cursor:
            cursor.execute("SELECT xmin::text, id FROM live_wants")
            return cursor.fetchall()

    before = row()
    done(db, watching.keep, SETTING)
    assert row() == before


# ---- tickets ---------------------------------------------------------------------------------------------------------


def test_a_ticket_stands_for_its_caller_once(db: Database) -> None:
    first, second = (done(db, tickets.issue, USER) for _ in range(2))
    assert first.ticket != second.ticket
    assert len(first.ticket) == 43, "256 bits as base64url without padding"
    assert first.expires_in == 30
    assert done(db, tickets.redeem, first.ticket) == USER
    assert done(db, tickets.redeem, first.ticket) is None
    assert done(db, tickets.redeem, second.ticket) == USER


@pytest.mark.parametrize("text", ["", "x", "x" * 5_000_000, "ä\ud800", "\x00"])
def test_what_is_no_ticket_signs_nobody_in(db: Database, text: str) -> None:
    done(db, tickets.issue, USER)
    assert done(db, tickets.redeem, text) is None


def test_the_text_of_a_ticket_is_not_stored_and_old_ones_go(db: Database) -> None:
    issued = done(db, tickets.issue, USER)
    with db.transaction() as cursor:
        cursor.execute("SELECT hash, stream_tickets::text AS row FROM stream_tickets")
        (row,) = cursor.fetchall()
        assert bytes(row.hash) == hashlib.sha256(issued.ticket.encode()).digest()
        assert issued.ticket not in row.row
        cursor.execute("UPDATE stream_tickets SET expires_at = expires_at - interval '31 s'")
    assert done(db, tickets.redeem, issued.ticket) is None
    done(db, tickets.issue, USER)
    with db.transaction() as cursor:
        cursor.execute("UPDATE stream_tickets SET expires_at = expires_at - interval '31 s'")
    done(db, tickets.issue, USER)
    with db.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM stream_tickets")
        assert cursor.fetchone()[0] == 1
