"""What the ledger knows of an account when an order is checked: trading state, process, limits, counts, open orders."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from nautilus.clock import NS_PER_S
from nautilus.db.connection import Database
from nautilus.db.market import calendars
from nautilus.db.orders import orders, risk_book, trading_state
from nautilus.db.orders.trading_state import StateRow
from nautilus.market.account_kind import AccountKind
from nautilus.market.calendar import Session
from nautilus.orders import change
from nautilus.orders.account_facts import state_of, with_account
from nautilus.orders.facts import Facts
from nautilus.orders.outcome import Known, Terms
from nautilus.orders.ticket import Exit, OrderType, Prices
from tests.support.order_ledger import (
    ACCOUNT,
    NOW,
    STOCK,
    caller,
    execution,
    ib_says,
    ledger,
    market,
    placed,
    row_of,
    seen,
    status,
    ticket,
    working,
)

HOUR = 3_600 * NS_PER_S


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as made:
        yield made


def facts(database: Database, principal: str = "user:1", changes: orders.OrderRow | None = None) -> Facts:
    with database.transaction() as cursor:
        account = risk_book.lock_account(cursor, ACCOUNT)
        exposure = risk_book.lock_exposure(cursor, ACCOUNT, 1)
        return with_account(cursor, market(), account, exposure, principal=principal, changes=changes)


def execute(database: Database, statement: str) -> None:
    with database.transaction() as cursor:
        cursor.execute(statement)


# ---- trading state ---------------------------------------------------------------------------------------------------

_SINCE = datetime(2024, 1, 1, tzinfo=UTC)


def state(scope: str, name: str, until: date | None = None) -> StateRow:
    return StateRow(scope, name, "", "", _SINCE, until)


@pytest.mark.parametrize(
    ("rows", "kind", "expected"),
    [
        ([], "paper", "active"),
        ([], "simulator", "active"),
        ([], "live", "halted"),
        ([state("*", "active")], "live", "halted"),
        ([state("A", "active")], "live", "active"),
        ([state("A", "active"), state("*", "reducing")], "live", "reducing"),
        ([state("A", "halted"), state("*", "active")], "paper", "halted"),
        ([state("A", "reducing", date(2024, 1, 8))], "paper", "reducing"),
        ([state("A", "halted", date(2024, 1, 7))], "paper", "active"),
        ([state("A", "active", date(2024, 1, 7))], "live", "halted"),
    ],
)
def test_the_stricter_state_counts_and_a_live_account_is_opened_by_a_person(
    rows: list[StateRow], kind: AccountKind, expected: str
) -> None:
    assert state_of(rows, kind, date(2024, 1, 8)) == expected


def test_a_state_becomes_stricter_and_never_laxer_by_a_rule(database: Database) -> None:
    with database.transaction() as cursor:
        for name, changed in (("reducing", True), ("reducing", False), ("halted", True), ("reducing", False)):
            assert trading_state.tighten(cursor, ACCOUNT, name, reason=name, set_by="rule") is changed
        assert [row.state for row in trading_state.read(cursor, [ACCOUNT])] == ["halted"]
        cursor.execute("UPDATE trading_state SET until_trade_date = '2024-01-08'")
        assert trading_state.tighten(cursor, ACCOUNT, "halted", reason="for good", set_by="rule")
        assert trading_state.read(cursor, [ACCOUNT])[0].until_trade_date is None


def test_a_halted_account_takes_no_order_and_a_reducing_one_those_that_reduce(database: Database) -> None:
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        risk_book.move(cursor, ACCOUNT, 1, Decimal(5))
        trading_state.tighten(cursor, ACCOUNT, "reducing", reason="", set_by="rule")
    assert [one.code for one in placed(database).refusals] == ["reducing_only"]
    assert placed(database, ticket("SELL", 5)).refusals == ()
    with database.transaction() as cursor:
        trading_state.tighten(cursor, trading_state.ALL, "halted", reason="", set_by="rule")
    assert [one.code for one in placed(database, ticket("SELL")).refusals] == ["trading_halted"]


# ---- process, limits -------------------------------------------------------------------------------------------------


def test_a_process_that_says_nothing_is_not_ready(database: Database) -> None:
    assert (facts(database).ready, facts(database).accounts) == (True, frozenset({ACCOUNT}))
    execute(database, "UPDATE order_process SET heartbeat = clock_timestamp() - interval '16 s'")
    assert facts(database).ready is False
    assert "said nothing" in facts(database).not_ready_because
    execute(database, "DELETE FROM order_process")
    assert (facts(database).accounts, facts(database).ready) == (None, False)


def test_an_account_that_the_login_does_not_have_is_denied(database: Database) -> None:
    assert [one.code for one in placed(database, ticket(account="SIM9")).refusals] == ["unknown_account"]


def test_limits_of_the_account_count_before_those_of_all(database: Database) -> None:
    execute(database, "INSERT INTO risk_limits (account, name, value, set_by) VALUES ('SIM1', 'notional', 150, 'x')")
    assert facts(database).limits["notional"] == 150
    assert [one.code for one in placed(database, ticket(quantity=2)).refusals] == ["notional_limit"]


# ---- how often -------------------------------------------------------------------------------------------------------


def test_orders_and_modifies_of_a_caller_count_and_denied_ones_do_not(database: Database) -> None:
    row = working(database, ticket(quantity=2))
    placed(database, ticket("BUY", 1), caller(principal="user:2"))
    assert placed(database, ticket(quantity=0)).denied
    with database.transaction() as cursor:
        change.modify(
            cursor, row.id, Terms(quantity=Decimal(3)), caller(), version=None, instrument=STOCK, facts=market()
        )
    found = facts(database).counts
    assert found is not None
    assert (found.minute, found.day) == (2, 2)
    other = facts(database, "user:2").counts
    assert other is not None
    assert other.day == 1
    execute(database, "UPDATE orders SET accepted_at = accepted_at - interval '2 min'")
    execute(database, "UPDATE order_requests SET asked_at = asked_at - interval '2 days'")
    found = facts(database).counts
    assert found is not None
    assert (found.second, found.minute, found.day, found.account_second) == (0, 0, 1, 0)


def test_the_legs_of_a_bracket_are_one_order_of_the_caller(database: Database) -> None:
    exits: dict[str, Any] = {"stop_loss": Exit(OrderType.STP, Prices(stop=Decimal(90)))}
    placed(database, ticket(**exits))
    found = facts(database).counts
    assert found is not None
    assert found.day == 1


def test_an_equal_order_a_moment_ago_is_a_mistake(database: Database) -> None:
    execute(database, "UPDATE risk_limits SET value = 10 WHERE name = 'duplicate_window'")
    assert placed(database, ticket(allow_duplicate=False), caller("a")).refusals == ()
    again = placed(database, ticket(allow_duplicate=False), caller("b"))
    assert [one.code for one in again.refusals] == ["duplicate_order"]
    assert placed(database, ticket(quantity=2, allow_duplicate=False), caller("c")).refusals == ()
    assert placed(database, ticket(allow_duplicate=True), caller("d")).refusals == ()
    execute(database, "UPDATE orders SET accepted_at = accepted_at - interval '11 s'")
    later = replace(market(), now=NOW + 11 * NS_PER_S)
    assert placed(database, ticket(allow_duplicate=False), caller("e"), later).refusals == ()


def test_the_order_that_changes_is_left_out_of_what_is_reserved(database: Database) -> None:
    row = working(database, ticket(quantity=2))
    placed(database, ticket(quantity=3))
    assert facts(database).reserved_value == 500
    changed = facts(database, changes=row)
    assert seen(changed.reserved_value, changed.changes, changed.filled) == (300, str(row.id), 0)
    assert changed.order_ratio == 2


# ---- open orders -----------------------------------------------------------------------------------------------------


def test_exits_sleep_until_their_entry_fills(database: Database) -> None:
    exits: dict[str, Any] = {
        "take_profit": Exit(OrderType.LMT, Prices(limit=Decimal(110))),
        "stop_loss": Exit(OrderType.STP, Prices(stop=Decimal(90))),
    }
    made = placed(database, ticket(quantity=2, **exits))
    entry = made.orders[0]
    assert [(one.type, one.asleep) for one in facts(database).orders] == [("LMT", False), ("LMT", True), ("STP", True)]
    groups = [one.group for one in facts(database).orders]
    assert groups == ["", str(entry.group_id), str(entry.group_id)]
    assert [one.entry_of for one in facts(database).orders] == [str(entry.group_id), "", ""]
    ib_says(database, execution(entry, 1, order_id=0))
    assert [one.asleep for one in facts(database).orders] == [False, False, False]
    ib_says(database, execution(entry, 1, order_id=0))
    assert row_of(database, entry.id).state == "filled"
    assert [one.asleep for one in facts(database).orders] == [False, False]


def test_a_modify_under_way_counts_with_its_new_price(database: Database) -> None:
    row = working(database, ticket("BUY", 2, "90"))
    with database.transaction() as cursor:
        terms = Terms(limit_price=Decimal(95))
        change.modify(cursor, row.id, terms, caller(), version=None, instrument=STOCK, facts=market())
    (found,) = facts(database).orders
    assert found.limit == 95
    assert [one.code for one in placed(database, ticket("SELL", 1, "94")).refusals] == ["self_match"]
    assert placed(database, ticket("SELL", 1, "96")).refusals == ()


# ---- the end of a day ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("close", [NOW + HOUR, None], ids=["before its end", "not known"])
def test_before_the_end_of_its_day_a_cancel_is_a_cancel(database: Database, close: int | None) -> None:
    row = working(database)
    if close is not None:
        store_day(database, close)
    ib_says(database, status(row, "Cancelled", row.perm_ids[0]))
    assert row_of(database, row.id).state == "cancelled"


def store_day(database: Database, close: int) -> None:
    day = date(2024, 1, 8)
    with database.transaction() as cursor:
        sessions = [Session(NOW - 6 * HOUR, close, day), Session(NOW + 18 * HOUR, NOW + 24 * HOUR, date(2024, 1, 9))]
        span = (NOW - 10 * HOUR, NOW + 48 * HOUR)
        calendars.store(cursor, "X", "rth", time_zone="America/New_York", known=span, sessions=sessions)


def test_a_day_order_that_ends_after_its_day_has_expired(database: Database) -> None:
    row = working(database)
    store_day(database, NOW + HOUR)
    with database.transaction() as cursor:
        assert calendars.end_of_day(cursor, 1, NOW, "rth") == NOW + HOUR
        assert calendars.end_of_day(cursor, 1, NOW + 2 * HOUR, "rth") == NOW + 24 * HOUR
        assert calendars.end_of_day(cursor, 1, NOW + 40 * HOUR, "rth") is None
        assert calendars.end_of_day(cursor, 2, NOW, "rth") is None
    ib_says(database, status(row, "Cancelled", row.perm_ids[0]), known=Known(now_ns=NOW + HOUR))
    assert row_of(database, row.id).state == "expired"
