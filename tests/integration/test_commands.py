"""Commands for the bridge: executed once, or again when whoever had them died."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from nautilus.clock import MarketTime
from nautilus.db import commands, sessions
from nautilus.db.connection import Database


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


def told(db: Database, number: UUID) -> tuple[str, Any, Any]:
    with db.transaction() as cursor:
        row = commands.outcome(cursor, number)
    assert row is not None
    return row.state, row.result, row.error


def heartbeat(db: Database, bridge: str, ago_s: float) -> None:
    with db.transaction() as cursor:
        sessions.publish(
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


@pytest.mark.parametrize("heard", [True, False], ids=["silent", "never heard"])
def test_what_a_silent_bridge_took_is_taken_over_and_its_late_answer_does_not_count(db: Database, heard: bool) -> None:
    number = ask(db)
    assert claim(db, "a") == number
    if heard:
        heartbeat(db, "a", 14)
        assert claim(db, "b") is None
        heartbeat(db, "a", 16)
    assert claim(db, "b") == number
    with db.transaction() as cursor:
        commands.finish(cursor, number, "a", result={"by": "a"})
    assert told(db, number) == ("running", None, None)
    with db.transaction() as cursor:
        commands.finish(cursor, number, "b", result={"by": "b"})
    assert told(db, number) == ("done", {"by": "b"}, None)
    assert claim(db, "a") is None


def test_what_nobody_waits_for_any_more_ends_with_a_reason(db: Database) -> None:
    number = ask(db, expires_s=-1)
    assert claim(db, "a") is None
    state, result, error = told(db, number)
    assert (state, result, error["code"]) == ("failed", None, "expired")
