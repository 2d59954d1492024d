"""The orders of a live run in the ledger: only the host that has the run leads them, and none begins while it is stopped."""

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg2
import pytest

from nautilus.db.auth import api_keys, users
from nautilus.db.cursor import Cursor
from nautilus.db.orders import orders
from nautilus.db.orders.events import Event
from nautilus.db.prepared import Collision
from nautilus.db.strategies import results, writing
from nautilus.db.strategies.leases import LeaseLost
from nautilus.errors import Unavailable
from nautilus.strategies import placing
from nautilus.strategies.states import RunState, Wanted
from strategy_host import stopping
from strategy_host.run_orders import RunOrders
from tests.support.held_run import KEY, MODIFY, SUBMIT, Held, Messages, held_run
from tests.support.order_ledger import ACCOUNT, counted, execution, ib_says, row_of


@pytest.fixture
def held(dsn: str) -> Iterator[Held]:
    with held_run(dsn) as made:
        yield made


def test_a_host_that_has_lost_a_run_neither_changes_nor_cancels_its_orders(held):
    messages: Any = Messages()
    held.taken_by_another_host()
    with pytest.raises(LeaseLost):
        asyncio.run(held.orders.modify(messages, MODIFY))
    with pytest.raises(LeaseLost):
        asyncio.run(held.orders.cancel(messages, {"client_order_id": KEY}))
    with pytest.raises(LeaseLost), held.database.transaction() as cursor:
        stopping.again(cursor, held.run, "it was suspended for a while", most=5, cancels=True)
    with pytest.raises(LeaseLost), held.database.transaction() as cursor:
        stopping.fail(cursor, held.run, "it was suspended for a while")
    assert held.requested() == []
    assert held.state() == "queued"


def test_the_host_that_has_a_run_cancels_its_orders(held):
    messages: Any = Messages()
    asyncio.run(held.orders.cancel(messages, {"client_order_id": KEY}))
    assert held.requested() == ["cancel"]
    assert messages.sent == []


def test_a_run_that_fails_is_over_and_its_orders_are_being_cancelled_in_one_step(held):
    held.move(RunState.STARTING)
    with held.database.transaction() as cursor:
        stopping.fail(cursor, held.run, "ZeroDivisionError")
    assert held.requested() == ["cancel"]
    assert held.state() == "error"
    assert counted(held.database, "SELECT count(*) FROM incidents WHERE code = 'strategy-run-ended'") == 1
    assert counted(held.database, "SELECT count(*) FROM strategy_claims") == 0


@pytest.mark.parametrize("wanted", [Wanted.STOPPED, Wanted.FLAT, None], ids=["stop", "flatten", "stopping"])
def test_no_order_begins_once_a_stop_is_committed(held, wanted):
    """An order that was on its way when the stop came would be left behind by a run that is over."""
    held.move(RunState.STARTING, RunState.RUNNING)
    assert held.submit()["kind"] == "submitted"
    assert _orders(held) == 2
    if wanted is None:
        held.move(RunState.STOPPING)
    else:
        held.want(wanted)
    late = held.submit(client_order_id="0b7ad4c5-0000-4000-8000-000000000003")
    assert (late["kind"], late["reason"]) == ("denied", "the run is being stopped")
    assert _orders(held) == 2
    assert row_of(held.database, held.order_id).state == "sending"


@pytest.mark.parametrize("meanwhile", ["rights", "stop"])
def test_an_order_whose_answer_was_lost_is_found_again_whatever_has_changed(held, meanwhile):
    """Called denied, it would live on at the broker without its strategy."""
    first = held.submit()
    if meanwhile == "rights":
        with held.database.transaction() as cursor:
            users.update(cursor, 1, scopes=["strategies:write"])
    else:
        held.want(Wanted.STOPPED)
    again = held.submit()
    assert (again["kind"], again["venue_order_id"]) == ("submitted", first["venue_order_id"])
    assert _orders(held) == 2
    if meanwhile == "rights":
        with pytest.raises(placing.RightsLost):
            held.submit(client_order_id="0b7ad4c5-0000-4000-8000-000000000003")
    assert _orders(held) == 2


def key_of_owner(cursor: Cursor, **changed: Any) -> int:
    given = {"scopes": ["strategies:write", "orders:write"], "accounts": None, "expires_at": None, **changed}
    return api_keys.create(
        cursor, user_id=1, name="run", prefix="0000aaaa", secret_hash=secrets.token_bytes(32), **given
    ).id


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"scopes": ["strategies:write"]}, "the API key that began it has lost the scope orders:write"),
        ({"accounts": ["OTHER"]}, f"the API key that began it may not use the account {ACCOUNT} any more"),
        ({"expires_at": datetime(2026, 1, 1, tzinfo=UTC)}, "the API key that began it is revoked, or has expired"),
        ({}, "the API key that began it is revoked, or has expired"),
    ],
    ids=["scope", "account", "expired", "revoked"],
)
def test_a_run_that_a_key_began_has_no_more_rights_than_the_key(held, changed, reason):
    """Its owner has all of them throughout."""
    with held.database.transaction() as cursor:
        good, other = key_of_owner(cursor), key_of_owner(cursor, **changed)
        cursor.execute("UPDATE strategy_runs SET key_id = %s", (good,))
    assert held.submit()["kind"] == "submitted"
    with held.database.transaction() as cursor:
        cursor.execute("UPDATE strategy_runs SET key_id = %s", (other,))
        if not changed:
            api_keys.revoke(cursor, other, None)
    with pytest.raises(placing.RightsLost) as lost:
        held.submit(client_order_id="0b7ad4c5-0000-4000-8000-000000000003")
    assert lost.value.detail == reason
    assert _orders(held) == 2


def test_a_strategy_gives_no_order_a_name_of_the_host(held):
    taken = held.submit(client_order_id="host:flatten-1")
    assert taken["kind"] == "denied"
    assert "may not begin with host:" in taken["reason"]
    assert held.submit(client_order_id="flatten-1")["kind"] == "submitted"
    assert _orders(held) == 2


@pytest.mark.parametrize(("cancels", "requested"), [(True, ["cancel"]), (False, [])], ids=["cancel", "keep"])
def test_open_orders_of_a_run_that_starts_again_rest_or_are_cancelled(held, cancels, requested):
    held.move(RunState.STARTING, RunState.RUNNING)
    with held.database.transaction() as cursor:
        assert stopping.again(cursor, held.run, "its process ended", most=5, cancels=cancels)
    assert held.requested() == requested
    assert held.state() == "queued"
    with pytest.raises(LeaseLost):
        held.submit()


def test_a_run_that_was_started_again_too_often_ends_and_its_orders_are_cancelled(held):
    held.move(RunState.STARTING, RunState.RUNNING)
    with held.database.transaction() as cursor:
        assert not stopping.again(cursor, held.run, "its process ended", most=0, cancels=False)
    assert held.requested() == ["cancel"]
    assert held.state() == "error"


def _orders(held: Held) -> int:
    return counted(held.database, "SELECT count(*) FROM orders")


def test_an_order_that_was_changed_is_shown_with_the_terms_that_the_ledger_has(held):
    name = str(SUBMIT["client_order_id"])
    assert held.submit(order_type="LIMIT", price="90.00")["kind"] == "submitted"
    with held.database.transaction() as cursor:
        found = orders.by_key(cursor, held.run.principal, name)
        assert found is not None
        row = orders.lock_with_book(cursor, found.id)
        assert row is not None
        before = results.orders(cursor, held.run.id)
        changes = {"quantity": Decimal(3), "limit_price": Decimal("89.50")}
        orders.update(cursor, row, changes, Event("modified", "process", 1))
        after = results.orders(cursor, held.run.id)
    assert [(one.quantity, one.limit_price) for one in before] == [(Decimal(1), Decimal(90))]
    assert [(one.quantity, one.limit_price) for one in after] == [(Decimal(3), Decimal("89.50"))]


def received(own: RunOrders) -> tuple[list[str], bool]:
    """(what the engine is sent, whether the database was away)."""
    sent: list[str] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message["kind"])

    try:
        asyncio.run(own.news(send))
    except Unavailable:
        return sent, True
    return sent, False


def fail_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The last statement of what reads the news fails, once."""
    passed_on = writing.passed_on
    failed: list[Any] = []

    def failing(*given: Any) -> None:
        if not failed:
            failed.append(given)
            raise error
        passed_on(*given)

    monkeypatch.setattr(writing, "passed_on", failing)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (Collision("another change came in between", code="collision"), False),
        (psycopg2.OperationalError("the connection is gone"), True),
    ],
    ids=["tried again", "away"],
)
def test_a_fill_reaches_the_engine_though_the_transaction_that_read_it_failed(held, monkeypatch, error, away):
    own, child = held.orders, Messages()
    asyncio.run(own.adopt(child))
    ib_says(held.database, execution(row_of(held.database, held.order_id), 1))
    fail_once(monkeypatch, error)
    first, was_away = received(own)
    assert was_away is away
    second, _ = received(own)
    assert [*first, *second] == ["filled"]
    assert received(own) == ([], False), "and once"
