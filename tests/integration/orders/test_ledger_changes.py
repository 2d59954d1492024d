"""Modify, cancel and resolve: what each reserves, what is refused, what ends at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from nautilus.db.connection import Database
from nautilus.db.monitoring import incidents
from nautilus.db.orders import orders, requests
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.orders import change
from nautilus.orders.change import Changed
from nautilus.orders.outcome import Terms
from nautilus.orders.placing_rows import Caller
from nautilus.orders.ticket import Exit, OrderType, Prices
from nautilus.orders.words import BrokerError
from tests.support.order_ledger import (
    NOW,
    STOCK,
    caller,
    counted,
    events_of,
    execution,
    findings,
    ib_says,
    ledger,
    market,
    open_order,
    placed,
    row_of,
    seen,
    sent,
    status,
    ticket,
    working,
)

ROOM = {"gross_exposure": Decimal(1_000)}


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn, limits=ROOM) as made:
        yield made
        assert findings(made) == []


def modify(
    database: Database, row: OrderRow, who: Caller | None = None, version: int | None = None, **terms: Any
) -> Changed:
    wanted = Terms(**{name: Decimal(value) for name, value in terms.items()})  # type: ignore[arg-type]
    with database.transaction() as cursor:
        return change.modify(cursor, row.id, wanted, who or caller(), version=version, instrument=STOCK, facts=market())


def cancel(database: Database, row: OrderRow, who: Caller | None = None) -> Changed:
    with database.transaction() as cursor:
        return change.cancel(cursor, row.id, who or caller(), now=NOW)


def request_sent(database: Database, changed: Changed) -> RequestRow:
    """What the order process does before it writes a request, and after."""
    assert changed.request is not None
    with database.transaction() as cursor:
        row = orders.lock_with_book(cursor, changed.order.id)
        assert row is not None
        request = requests.read(cursor, changed.request.id)
        for state in ("sending", "sent"):
            assert request is not None
            request = requests.update(cursor, request, state=state)
        orders.update(cursor, row, {"pending": changed.request.kind}, Event("request-sent", "process", NOW))
    assert request is not None
    return request


def request_of(database: Database, changed: Changed) -> RequestRow:
    assert changed.request is not None
    with database.transaction() as cursor:
        found = requests.read(cursor, changed.request.id)
    assert found is not None
    return found


def reserved(database: Database, row: OrderRow) -> tuple[object, ...]:
    now = row_of(database, row.id)
    return now.reserved_quantity, now.reserved_value


# ---- modify ----------------------------------------------------------------------------------------------------------


def test_a_larger_quantity_is_reserved_at_once_and_confirmed_by_ib(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    changed = modify(database, row, quantity=5)
    assert changed.request is not None
    assert seen(changed.request.state, changed.request.extra_reserved) == ("wanted", 2)
    assert seen(row_of(database, row.id).quantity, reserved(database, row)) == (3, (5, 500))
    request_sent(database, changed)
    ib_says(database, open_order(row, "Submitted", row.perm_ids[0], quantity=Decimal(5)))
    assert seen(row_of(database, row.id).quantity, reserved(database, row)) == (5, (5, 500))
    assert request_of(database, changed).state == "confirmed"
    assert row_of(database, row.id).pending == ""


def test_a_smaller_quantity_keeps_the_old_reservation_until_it_is_confirmed(database: Database) -> None:
    row = working(database, ticket(quantity=5))
    changed = modify(database, row, quantity=2)
    assert reserved(database, row) == (5, 500)
    request_sent(database, changed)
    ib_says(database, open_order(row, "Submitted", row.perm_ids[0], quantity=Decimal(2)))
    assert reserved(database, row) == (2, 200)


def test_what_a_refused_modify_reserved_returns(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    changed = modify(database, row, quantity=5, limit_price=110)
    assert reserved(database, row) == (5, 550)
    request_sent(database, changed)
    ib_says(database, BrokerError(row.order_id or 0, 201, "margin"))
    assert reserved(database, row) == (3, 300)
    assert (request_of(database, changed).state, request_of(database, changed).code) == ("refused", 201)
    assert row_of(database, row.id).state == "working"


def test_a_higher_price_reserves_the_larger_value_and_stays_when_confirmed(database: Database) -> None:
    row = working(database, ticket(quantity=4))
    changed = modify(database, row, limit_price=120)
    assert reserved(database, row) == (4, 480)
    request_sent(database, changed)
    ib_says(database, open_order(row, "Submitted", row.perm_ids[0], limit_price=Decimal(120)))
    row = row_of(database, row.id)
    assert seen(row.limit_price, row.unit_value, row.reserved_value) == (120, 120, 480)
    request_sent(database, modify(database, row, limit_price=90))
    assert reserved(database, row) == (4, 480)
    ib_says(database, open_order(row, "Submitted", row.perm_ids[0], limit_price=Decimal(90)))
    assert reserved(database, row) == (4, 360)


def test_a_modify_beyond_the_limit_is_refused_and_writes_nothing(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    before = row_of(database, row.id)
    changed = modify(database, row, quantity=11)
    assert [one.code for one in changed.refusals] == ["exposure_limit"]
    assert changed.request is None
    assert row_of(database, row.id) == before
    assert modify(database, row, quantity=10).refusals == ()  # its own reservation does not count twice


def test_no_second_modify_while_one_is_open(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    changed = modify(database, row, quantity=4)
    with pytest.raises(Conflict, match="there is another modify") as refused:
        modify(database, row, quantity=5)
    assert refused.value.code == "order-modify-pending"
    request = request_sent(database, changed)
    with database.transaction() as cursor:
        orders.lock_with_book(cursor, row.id)
        requests.update(cursor, request, state="unknown", why="no answer")
    with pytest.raises(Conflict, match="IB has not said"):
        modify(database, row, quantity=5)
    assert reserved(database, row) == (4, 400)


def test_two_modifies_at_once_are_one(database: Database) -> None:
    row, begin = working(database, ticket(quantity=3)), threading.Barrier(4)

    def one(quantity: int) -> bool:
        begin.wait(10)
        try:
            return modify(database, row, quantity=quantity).request is not None
        except Conflict:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, (4, 5, 6, 7))) == 1
    assert counted(database, "SELECT count(*) FROM order_requests") == 1


def test_an_order_that_was_not_sent_is_changed_at_once(database: Database) -> None:
    row = placed(database, ticket(quantity=3)).orders[0]
    changed = modify(database, row, quantity=5, limit_price=90)
    row = row_of(database, row.id)
    assert seen(row.quantity, row.limit_price, row.state) == (5, 90, "accepted")
    assert seen(row.reserved_quantity, row.reserved_value) == (5, 450)
    assert request_of(database, changed).state == "confirmed"
    assert modify(database, row, quantity=99).refusals != ()


def test_a_version_that_is_not_the_rows_is_refused(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    with pytest.raises(Conflict, match="changed since version 1") as refused:
        modify(database, row, version=1, quantity=4)
    assert (refused.value.code, refused.value.extra) == ("order-changed", {"version": row.version})
    assert modify(database, row, version=row.version, quantity=4).request is not None


@pytest.mark.parametrize(
    ("terms", "error"),
    [({}, "nothing would change"), ({"quantity": 3}, "nothing would change"), ({"quantity": 1}, "have filled")],
)
def test_a_modify_that_changes_nothing_or_less_than_filled_is_refused(
    database: Database, terms: dict[str, Any], error: str
) -> None:
    row = working(database, ticket(quantity=3))
    ib_says(database, execution(row, 1))
    with pytest.raises(InvalidInput, match=error):
        modify(database, row, **terms)


def test_the_same_key_is_the_same_request(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    first = modify(database, row, caller("k", "f"), quantity=4)
    again = modify(database, row, caller("k", "f"), quantity=4)
    assert (first.request, again.repeated) == (again.request, True)
    with pytest.raises(InvalidInput, match="another request"):
        modify(database, row, caller("k", "g"), quantity=5)
    with pytest.raises(InvalidInput, match="another request"):
        cancel(database, row, caller("k", "f"))


def test_fills_during_a_modify_lower_what_is_reserved(database: Database) -> None:
    row = working(database, ticket(quantity=5))
    request_sent(database, modify(database, row, quantity=8))
    ib_says(database, execution(row, 3))
    assert reserved(database, row) == (5, 500)
    ib_says(database, status(row_of(database, row.id), "Cancelled", row.perm_ids[0]))
    assert reserved(database, row) == (0, 0)


# ---- cancel ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["accepted", "reserved"])
def test_what_was_not_sent_ends_at_once(database: Database, state: str) -> None:
    row = placed(database, ticket(quantity=3)).orders[0]
    with database.transaction() as cursor:
        held = orders.lock_with_book(cursor, row.id)
        if held is not None and held.state != state:
            orders.update(cursor, held, {"state": state}, Event(state, "process", NOW))
    changed = cancel(database, row)
    assert (changed.order.state, request_of(database, changed).state) == ("cancelled", "confirmed")
    assert reserved(database, row) == (0, 0)
    assert events_of(database, row.id)[-1] == "cancelled"


def test_the_exits_of_a_bracket_end_with_an_entry_that_was_not_sent(database: Database) -> None:
    exits: dict[str, Any] = {
        "take_profit": Exit(OrderType.LMT, Prices(limit=Decimal(110))),
        "stop_loss": Exit(OrderType.STP, Prices(stop=Decimal(90))),
    }
    made = placed(database, ticket(quantity=2, **exits))
    cancel(database, made.orders[0])
    assert [row_of(database, row.id).state for row in made.orders] == ["cancelled"] * 3


@pytest.mark.parametrize("word", [None, "Submitted", "Inactive"])
def test_a_cancel_of_what_ib_may_have_is_a_request_and_is_answered_again(database: Database, word: str | None) -> None:
    row = sent(database, placed(database, ticket(quantity=3)).orders[0].id)
    if word is not None:
        ib_says(database, status(row, word, 77))
    changed = cancel(database, row)
    again = cancel(database, row)
    assert (changed.request, again.repeated) == (again.request, True)
    assert reserved(database, row) == (3, 300)
    request_sent(database, changed)
    ib_says(database, status(row, "Cancelled", 77))
    assert (row_of(database, row.id).state, request_of(database, changed).state) == ("cancelled", "confirmed")
    assert reserved(database, row) == (0, 0)


def test_a_cancel_overtakes_a_modify_that_was_not_sent(database: Database) -> None:
    row = working(database, ticket(quantity=3))
    modified = modify(database, row, quantity=5, limit_price=110)
    assert reserved(database, row) == (5, 550)
    cancel(database, row)
    assert request_of(database, modified).state == "overtaken"
    assert reserved(database, row) == (3, 300)
    with pytest.raises(Conflict, match="cancel of this order"):
        modify(database, row, quantity=4)


def test_cancels_are_sent_first(database: Database) -> None:
    first, second = working(database), working(database)
    modify(database, first, quantity=2)
    wanted = cancel(database, second)
    with database.transaction() as cursor:
        found = requests.next_wanted(cursor, [first.account])
        elsewhere = requests.next_wanted(cursor, ["SIM99"])
    assert [one.kind for one in found] == ["cancel", "modify"]
    assert found[0] == wanted.request
    assert elsewhere == [], "the login of another account is not sent them"


def test_what_is_over_or_external_is_not_changed(database: Database) -> None:
    row = placed(database).orders[0]
    cancel(database, row)
    for attempt in (cancel, modify):
        with pytest.raises(Conflict, match="over: cancelled") as refused:
            attempt(database, row)
        assert refused.value.code == "order-over"
    (found,) = ib_says(database, execution(row, 1, order_ref="", order_id=0, perm_id=9))
    assert found.order_id is not None
    with pytest.raises(Conflict, match="placed beside"):
        cancel(database, row_of(database, found.order_id))
    with pytest.raises(NotFound):
        cancel(database, row._replace(id=uuid4()))


def test_a_cancel_refused_as_filled_leaves_the_order_to_its_fills(database: Database) -> None:
    row = working(database, ticket(quantity=2))
    changed = cancel(database, row)
    request_sent(database, changed)
    ib_says(database, BrokerError(row.order_id or 0, 10148, "cannot be cancelled, state: Filled"))
    assert request_of(database, changed).state == "refused"
    assert (row_of(database, row.id).state, reserved(database, row)) == ("working", (2, 200))
    ib_says(database, execution(row, 2))
    assert row_of(database, row.id).state == "filled"


# ---- resolve ---------------------------------------------------------------------------------------------------------


def unknown(database: Database) -> OrderRow:
    row = sent(database, placed(database, ticket(quantity=3)).orders[0].id)
    ib_says(database, BrokerError(row.order_id or 0, 133, "submit failed"))
    return row_of(database, row.id)


def test_what_is_unknown_is_cancelled_and_not_modified(database: Database) -> None:
    row = unknown(database)
    with pytest.raises(Conflict, match="nobody knows") as refused:
        modify(database, row, quantity=4)
    assert refused.value.code == "order-unknown"
    assert cancel(database, row).request is not None


@pytest.mark.parametrize(("outcome", "state"), [("never_arrived", "denied"), ("cancelled", "cancelled")])
def test_a_person_resolves_what_is_unknown(database: Database, outcome: change.ResolvedAs, state: str) -> None:
    row = unknown(database)
    assert seen(row.state, row.reserved_quantity) == ("unknown", 3)
    with database.transaction() as cursor:
        row = change.resolve(cursor, row.id, outcome, by="user:7", note="TWS shows nothing", now=NOW)
        assert incidents.listed(cursor, only_open=True) == []
    assert seen(row.state, row.reserved_quantity) == (state, 0)
    assert "user:7: TWS shows nothing" in row.why
    assert events_of(database, row.id)[-1] == "resolved"


def test_evidence_against_a_person_counts_more_and_alarms(database: Database) -> None:
    row = unknown(database)
    with database.transaction() as cursor:
        change.resolve(cursor, row.id, "never_arrived", by="user:7", note="nothing there", now=NOW)
    ib_says(database, open_order(row, "Submitted", 77))
    row = row_of(database, row.id)
    assert seen(row.state, row.reserved_quantity, row.over_at) == ("working", 3, None)
    with database.transaction() as cursor:
        assert [one.code for one in incidents.listed(cursor, only_open=True)] == ["order-ghost"]


def test_only_what_is_unknown_is_resolved_and_with_a_reason(database: Database) -> None:
    row = working(database)
    with pytest.raises(Conflict, match="working, not unknown"), database.transaction() as cursor:
        change.resolve(cursor, row.id, "cancelled", by="user:7", note="x", now=NOW)
    with pytest.raises(InvalidInput, match="note"), database.transaction() as cursor:
        change.resolve(cursor, row.id, "cancelled", by="user:7", note=" ", now=NOW)
