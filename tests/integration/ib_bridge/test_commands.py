"""Commands for the bridge: executed once, or again when whoever had them died."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from nautilus.clock import MarketTime
from nautilus.db.bridge import commands, status
from nautilus.db.connection import Database
from nautilus.errors import RateLimited


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    made = Database(dsn, name="test")
    yield made
    made.close()


def ask(db: Database, expires_s: float = 60) -> UUID:
    with db.transaction() as cursor:
        return commands.request(cursor, "reconnect", {}, by="x", correlation_id="", expires_s=expires_s)


def claim(db: Database, bridge: str) -> Any | None:
    with db.transaction() as cursor:
        row = commands.claim(cursor, bridge)
        return row.id if row else None


def resolve(db: Database, symbol: str, by: str = "x", most_open: int | None = None) -> UUID:
    with db.transaction() as cursor:
        return commands.request(
            cursor, "resolve", {"symbol": symbol}, by=by, correlation_id="", expires_s=60, most_open=most_open
        )


def command_state(db: Database, number: UUID) -> tuple[str, Any, Any]:
    with db.transaction() as cursor:
        row = commands.outcome(cursor, number)
    assert row is not None
    return row.state, row.result, row.error


def heartbeat(db: Database, bridge: str, ago_s: float) -> None:
    with db.transaction() as cursor:
        status.publish(
            cursor,
            bridge,
            login="",
            account="",
            state="connected",
            reason="",
            host="",
            port=0,
            client_id=1,
            server_version=1,
            farms={},
            activity={},
            clock=MarketTime(0, 0),
            settle_s=(15, 900),
        )
        cursor.execute(
            "UPDATE ib_sessions SET heartbeat_at = clock_timestamp() - make_interval(secs => %s) WHERE bridge = %s",
            (ago_s, bridge),
        )


def test_of_two_bridges_one_gets_it(db: Database) -> None:
    number = ask(db)
    assert ask(db) == number, "equal ones are joined"
    heartbeat(db, "a", 0)
    assert claim(db, "a") == number
    assert claim(db, "b") is None


def test_a_bridge_that_comes_back_goes_on_where_it_died(db: Database) -> None:
    number = ask(db)
    heartbeat(db, "a", 0)
    assert claim(db, "a") == claim(db, "a") == number


@pytest.mark.parametrize("answer", [True, False], ids=["silent", "never heard"])
def test_what_a_silent_bridge_took_is_taken_over_and_its_late_answer_does_not_count(db: Database, answer: bool) -> None:
    number = ask(db)
    assert claim(db, "a") == number
    if answer:
        heartbeat(db, "a", 14)
        assert claim(db, "b") is None
        heartbeat(db, "a", 16)
    assert claim(db, "b") == number
    with db.transaction() as cursor:
        commands.finish(cursor, number, "a", result={"by": "a"})
    assert command_state(db, number) == ("running", None, None)
    with db.transaction() as cursor:
        commands.finish(cursor, number, "b", result={"by": "b"})
    assert command_state(db, number) == ("done", {"by": "b"}, None)
    assert claim(db, "a") is None


def test_what_nobody_waits_for_any_more_ends_with_a_reason(db: Database) -> None:
    number = ask(db, expires_s=-1)
    assert claim(db, "a") is None
    state, result, error = command_state(db, number)
    assert (state, result, error["code"]) == ("failed", None, "expired")


def test_taking_one_waits_for_nobody_who_joins_one_that_has_expired(dsn: str, db: Database) -> None:
    """Who joins several comes for one after the other; a bridge that held one and waited for another could stop both."""
    late, next_ = ask(db, expires_s=-1), resolve(db, "MSFT")
    impatient = Database(dsn, name="test", lock_timeout_ms=300)
    with db.transaction() as joining:
        commands.request(joining, "reconnect", {}, by="x", correlation_id="", expires_s=60)
        assert claim(impatient, "one") == next_
    assert claim(impatient, "one") == late, "it waits again, as somebody waits for it"
    impatient.close()


def test_of_equal_commands_one_is_open_whoever_writes_them(db: Database) -> None:
    number = resolve(db, "AAPL")
    with db.transaction() as cursor, pytest.raises(psycopg2.errors.UniqueViolation):
        cursor.execute(
            "INSERT INTO bridge_commands (type, args, requested_by, correlation_id, expires_at)"
            " SELECT type, args, 'other', '', expires_at FROM bridge_commands WHERE id = %s",
            (number,),
        )
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: resolve(db, "MSFT"), range(24))) == {resolve(db, "MSFT")}


def test_a_command_as_long_as_the_words_of_many_symbols_is_open_once(db: Database) -> None:
    names = "".join(f"{n:x}" for n in range(20_000))
    assert resolve(db, names) == resolve(db, names)


def test_joining_a_command_that_nobody_took_has_it_wait_as_long(db: Database) -> None:
    number = ask(db, expires_s=-1)
    assert ask(db) == number
    assert claim(db, "a") == number
    assert ask(db) == number, "it runs"


def test_one_caller_has_no_more_than_its_share_open(db: Database) -> None:
    first = resolve(db, "A0", "reader", 3)
    for symbol in ("A1", "A2"):
        resolve(db, symbol, "reader", 3)
    with pytest.raises(RateLimited) as refused:
        resolve(db, "A3", "reader", 3)
    assert refused.value.code == "too-many-lookups"
    with db.transaction() as cursor:
        cursor.execute("SELECT count(*) AS n FROM bridge_commands")
        assert cursor.fetchone().n == 3, "what was refused is not written"
    assert resolve(db, "A0", "reader", 3) == first, "to join costs nothing"
    resolve(db, "A3", "other", 3)
    assert claim(db, "a") == first
    with db.transaction() as cursor:
        commands.finish(cursor, first, "a", result={})
    resolve(db, "A4", "reader", 3)


def test_each_caller_has_a_turn(db: Database) -> None:
    heartbeat(db, "a", 0)
    flood = [resolve(db, f"A{n}", "flood") for n in range(6)]
    late = resolve(db, "B", "late")
    busy: list[UUID] = []
    for _ in range(3):
        with db.transaction() as cursor:
            row = commands.claim(cursor, "a", None, busy=busy)
        assert row is not None
        busy.append(row.id)
    assert busy == [flood[0], late, flood[1]]


def test_types_are_left_out_and_what_is_under_way_is_not_taken_again(db: Database) -> None:
    heartbeat(db, "a", 0)
    number = ask(db)
    other = resolve(db, "A")
    with db.transaction() as cursor:
        row = commands.claim(cursor, "a", None, busy=(), without=["reconnect"])
        assert row is not None
        assert row.id == other
        row = commands.claim(cursor, "a", None, busy=[other])
        assert row is not None
        assert row.id == number
        assert commands.claim(cursor, "a", None, busy=[other, number]) is None
