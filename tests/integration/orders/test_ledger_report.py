"""An order as the API tells it: every number is text, every time has a zone, what IB has not told is null."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from nautilus.db.connection import Database
from nautilus.db.orders import events, executions, orders, requests
from nautilus.orders import change
from nautilus.orders.outcome import Terms
from nautilus.orders.report import event_json, number, order_json
from nautilus.orders.ticket import Exit, OrderType, Prices
from tests.support.order_ledger import (
    NOW,
    STOCK,
    caller,
    commission,
    execution,
    ib_says,
    ledger,
    market,
    open_order,
    placed,
    row_of,
    sent,
    ticket,
    working,
)

_FIELDS = {
    *(
        "id",
        "client_key",
        "principal",
        "origin",
        "account",
        "instrument",
        "side",
        "type",
        "tif",
        "good_till",
        "outside_rth",
    ),
    *(
        "quantity",
        "filled",
        "remaining",
        "avg_fill_price",
        "prices",
        "state",
        "state_since",
        "may_exist",
        "pending",
        "why",
    ),
    *("checks", "requests", "broker", "group", "tags", "reserved", "reducing", "version", "times", "commission"),
    *("broker_realized", "executions"),
}


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as made:
        yield made


def report(database: Database, order_id: UUID) -> dict[str, Any]:
    """The order with all that belongs to it, once through JSON."""
    with database.transaction() as cursor:
        row = orders.read(cursor, order_id)
        assert row is not None
        found = order_json(
            row,
            executions.of_order(cursor, order_id),
            requests.of_order(cursor, order_id),
            orders.of_group(cursor, row.group_id) if row.group_id else (),
        )
    back: dict[str, Any] = json.loads(json.dumps(found))
    assert back == found
    return back


def floats(value: object, path: str = "") -> list[str]:
    """Where a number with a decimal point stands."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in floats(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for inner in value for found in floats(inner, path)]
    return [path] if isinstance(value, float) else []


def test_a_filled_order_is_told_whole(database: Database) -> None:
    row = working(database, ticket(quantity="3", tags=("a",)))
    ib_says(database, open_order(row, "Submitted", row.perm_ids[0]))
    fills = [execution(row, 1, "99.50"), execution(row, 2, "100.10")]
    ib_says(database, *fills, commission(fills[0], "1.00", "2.50"), commission(fills[1], "0.35"))
    answer = report(database, row.id)
    assert set(answer) == _FIELDS
    assert floats(answer) == []
    assert (answer["state"], answer["filled"], answer["remaining"], answer["avg_fill_price"]) == (
        "filled",
        "3",
        "0",
        "99.9",
    )
    assert answer["commission"] == {"USD": "1.35"}
    assert answer["broker_realized"] is None, "of one of the two nobody knows it"
    assert [one["price"] for one in answer["executions"]] == ["99.5", "100.1"]
    assert answer["prices"]["wanted"] == {"limit": "100", "stop": None, "trail_amount": None, "trail_percent": None}
    assert answer["prices"]["confirmed"] == {"quantity": "3", "limit": "100", "stop": None}
    assert answer["broker"]["perm_ids"] == row.perm_ids
    assert answer["instrument"] == {"con_id": 1, "symbol": "A", "instrument_id": "A.X"}
    assert answer["times"]["accepted_market"] == "2024-01-08T15:00:00Z"
    assert all(answer["times"][name].endswith("Z") for name in ("accepted", "sent", "acknowledged", "over"))
    assert answer["tags"] == ["a"]


def test_an_order_nobody_filled_has_no_price_and_no_costs(database: Database) -> None:
    answer = report(database, placed(database, ticket(quantity=3)).orders[0].id)
    assert (answer["avg_fill_price"], answer["commission"], answer["executions"]) == (None, {}, [])
    assert (answer["times"]["sent"], answer["group"], answer["pending"], answer["why"]) == (None, None, None, None)
    assert answer["reserved"] == {"quantity": "3", "value": "300"}


def test_a_fill_without_a_commission_makes_the_costs_unknown(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    ib_says(database, execution(row, 1))
    assert report(database, row.id)["commission"] is None


def test_an_unknown_order_says_that_it_may_exist(database: Database) -> None:
    row = sent(database, placed(database).orders[0].id)
    assert report(database, row.id)["may_exist"] is False
    with database.transaction() as cursor:
        held = orders.lock_with_book(cursor, row.id)
        assert held is not None
        orders.update(cursor, held, {"state": "unknown", "why": "nobody named it"}, events.Event("x", "process", NOW))
    answer = report(database, row.id)
    assert (answer["may_exist"], answer["why"]) == (True, "nobody named it")


def test_a_modify_shows_what_is_wanted_and_nothing_of_ours(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    with database.transaction() as cursor:
        terms, who = Terms(quantity=Decimal(5)), caller("k", "fingerprint")
        change.modify(cursor, row.id, terms, who, version=None, instrument=STOCK, facts=market())
    (request,) = report(database, row.id)["requests"]
    assert (request["kind"], request["state"], request["wanted"]) == ("modify", "wanted", {"quantity": "5"})


def test_a_bracket_names_its_orders(database: Database) -> None:
    exits: dict[str, Any] = {"take_profit": Exit(OrderType.LMT, Prices(limit=Decimal(110)))}
    made = placed(database, ticket(**exits))
    answer = report(database, made.orders[1].id)["group"]
    assert (answer["kind"], answer["role"], answer["parent_id"]) == ("bracket", "take_profit", str(made.orders[0].id))
    assert answer["ids"] == [str(row.id) for row in made.orders]


def test_events_are_told_with_what_ib_sent(database: Database) -> None:
    row = working(database)
    with database.transaction() as cursor:
        answer = [event_json(event) for event in events.of_order(cursor, row.id)]
    assert [(one["kind"], one["before"], one["after"]) for one in answer] == [
        ("accepted", None, "accepted"),
        ("reserved", "accepted", "reserved"),
        ("sending", "reserved", "sending"),
        ("order-status", "sending", "working"),
    ]
    assert answer[-1]["frame"] == {"status": "Submitted"}
    assert row_of(database, row.id).version == 4


@pytest.mark.parametrize(
    ("value", "text"), [("1E+3", "1000"), ("0.10", "0.1"), ("-0.00000001", "-0.00000001"), ("100", "100")]
)
def test_numbers_are_plain_text(value: str, text: str) -> None:
    assert number(Decimal(value)) == text
    assert number(None) is None
