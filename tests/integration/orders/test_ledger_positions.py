"""Openings at the first connect, executions older than they are, adjustments, differences from IB and how they end."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from nautilus.db.connection import Database
from nautilus.db.orders import account_state, positions, risk_book
from nautilus.db.orders.positions import Adjustment, Compared
from nautilus.orders.words import Execution, Position
from tests.support.order_ledger import (
    ACCOUNT,
    NOW,
    corrected,
    counted,
    execution,
    findings,
    furnish,
    ib_says,
    ledger,
    placed,
    seen,
    ticket,
    working,
)

OPENED = NOW - 1_000
BEFORE, AFTER = OPENED - 1, OPENED + 1


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """An account that was never opened."""
    with ledger(dsn) as made:
        with made.transaction() as cursor:
            cursor.execute("UPDATE accounts SET opened_at = NULL")
        yield made
        assert findings(made) == []


def position(database: Database, con_id: int = 1) -> Decimal:
    with database.transaction() as cursor:
        return risk_book.read(cursor, ACCOUNT, con_id).position


def opened(database: Database, *held: tuple[int, int]) -> bool:
    """IB names all positions of the account, and they are taken as its openings if it has none."""
    words = [Position(ACCOUNT, con_id, Decimal(quantity), Decimal(50)) for con_id, quantity in held]
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        positions.put_all_broker(cursor, ACCOUNT, words, OPENED)
        return positions.open_account(cursor, ACCOUNT, OPENED)


def compared(database: Database, *held: tuple[int, int]) -> Compared:
    words = [Position(ACCOUNT, con_id, Decimal(quantity), None) for con_id, quantity in held]
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        positions.put_all_broker(cursor, ACCOUNT, words, NOW)
        return positions.compare(cursor, ACCOUNT)


def fill_of_others(database: Database, quantity: int, at: int, perm_id: int = 9) -> None:
    row = placed(database).orders[0]
    ib_says(database, execution(row, quantity, order_ref="", order_id=0, perm_id=perm_id, time_ns=at))


# ---- openings --------------------------------------------------------------------------------------------------------


def test_the_first_positions_are_the_openings_and_no_later_ones_are(database: Database) -> None:
    assert opened(database, (1, 7), (2, -3))
    assert (position(database, 1), position(database, 2)) == seen(7, -3)
    assert not opened(database, (1, 8))
    assert position(database, 1) == 7
    assert counted(database, "SELECT count(*) FROM position_openings") == 2


def test_an_opening_leaves_out_what_executions_explain(database: Database) -> None:
    fill_of_others(database, 4, BEFORE)
    opened(database, (1, 10))
    assert position(database) == 10
    assert counted(database, "SELECT quantity::int FROM position_openings") == 6


def test_an_older_execution_that_is_told_later_moves_the_opening_back(database: Database) -> None:
    opened(database, (1, 10))
    fill_of_others(database, 4, BEFORE)
    assert position(database) == 10
    assert counted(database, "SELECT quantity::int FROM position_openings") == 6
    fill_of_others(database, 2, AFTER, perm_id=10)
    assert position(database) == 12


def fill_of_ib(database: Database, quantity: int, request: int) -> Execution:
    """An execution of before the opening. request: the number of the question that it answers; -1: IB sent it by itself."""
    row = placed(database).orders[0]
    word = execution(row, quantity, order_ref="", order_id=0, perm_id=9, time_ns=BEFORE, request_id=request)
    ib_says(database, word)
    return word


def test_an_older_execution_and_its_correction_in_one_answer_move_the_opening_alone(database: Database) -> None:
    opened(database, (1, 10))
    word = fill_of_ib(database, 4, request=7)
    ib_says(database, corrected(word, 3))
    assert position(database) == 10
    assert counted(database, "SELECT quantity::int FROM position_openings") == 7
    ib_says(database, corrected(corrected(word, 3), 0))
    assert position(database) == 10
    assert counted(database, "SELECT quantity::int FROM position_openings") == 10


@pytest.mark.parametrize("case", ["sent by itself", "in a later answer", "IB's position has moved"])
def test_an_older_execution_that_is_corrected_after_the_opening_moves_the_position(
    database: Database, case: str
) -> None:
    opened(database, (1, 10))
    word = fill_of_ib(database, 4, request=7)
    later = corrected(word, 3)
    if case == "sent by itself":
        later = replace(later, request_id=-1)
    with database.transaction() as cursor:
        if case == "in a later answer":
            cursor.execute("UPDATE executions SET seen_at = seen_at - interval '31 s'")
        if case == "IB's position has moved":
            positions.put_broker(cursor, [Position(ACCOUNT, 1, Decimal(9), None)], NOW)
    ib_says(database, later)
    assert position(database) == 9
    assert counted(database, "SELECT quantity::int FROM position_openings") == 6


def test_an_execution_that_the_opening_left_out_moves_the_position_when_it_is_corrected(database: Database) -> None:
    word = fill_of_ib(database, 4, request=-1)
    opened(database, (1, 10))
    ib_says(database, corrected(word, 3))
    assert position(database) == 9


def test_an_older_execution_of_a_contract_that_is_flat_makes_its_opening(database: Database) -> None:
    opened(database)
    fill_of_others(database, 4, BEFORE)
    assert position(database) == 0
    assert counted(database, "SELECT quantity::int FROM position_openings") == -4


def test_before_it_is_opened_the_position_of_an_account_is_not_known(database: Database) -> None:
    """A function leaves checks that need it to the order process; it does not take the account for flat."""
    made = placed(database, ticket("SELL"))
    assert made.orders[0].reducing is False
    with database.transaction() as cursor:
        furnish(cursor, limits={"short": Decimal(0)})
    assert [one.code for one in placed(database, ticket("SELL")).refusals] == ["short_not_allowed"]


# ---- differences -----------------------------------------------------------------------------------------------------


def test_a_difference_is_a_break_until_both_agree_again(database: Database) -> None:
    opened(database, (1, 7))
    assert compared(database, (1, 7)) == Compared([], [], [])
    found = compared(database, (1, 9))
    assert [(row.con_id, row.expected, row.broker) for row in found.opened] == [seen(1, 7, 9)]
    again = compared(database, (1, 11))
    assert seen(again.opened, [row.broker for row in again.open]) == ([], [11])
    assert again.open[0].since == found.opened[0].since
    over = compared(database, (1, 7))
    assert [(row.id, row.by, row.adjustment_id) for row in over.closed] == [(found.opened[0].id, "", None)]


def test_what_ib_no_longer_names_is_flat_there(database: Database) -> None:
    opened(database, (1, 7))
    found = compared(database)
    assert [(row.expected, row.broker) for row in found.opened] == [seen(7, 0)]


def test_positions_of_currency_pairs_prove_nothing(database: Database) -> None:
    opened(database)
    with database.transaction() as cursor:
        cursor.execute("UPDATE instruments SET asset_class = 'CASH'")
    assert compared(database, (1, 20_000)).opened == []


def test_while_a_break_is_open_only_reducing_orders_pass(database: Database) -> None:
    opened(database, (1, 7))
    compared(database, (1, 9))
    assert [one.code for one in placed(database, ticket()).refusals] == ["position_break"]
    assert placed(database, ticket("SELL", 7)).refusals == ()


def test_a_person_ends_a_break_by_an_adjustment(database: Database) -> None:
    opened(database, (1, 7))
    (found,) = compared(database, (1, 9)).opened
    change = Adjustment(ACCOUNT, 1, Decimal(2), "missed_fills", "filled at night", "user:7", NOW)
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        closed = positions.resolve_break(cursor, found, change)
        assert positions.resolve_break(cursor, found, change) is None
    assert closed is not None
    assert (closed.by, closed.note, closed.adjustment_id is not None) == ("user:7", "filled at night", True)
    assert position(database) == 9
    assert compared(database, (1, 9)) == Compared([], [], [])
    assert counted(database, "SELECT count(*) FROM position_adjustments") == 1


def test_a_fill_that_ib_has_counted_closes_the_break_by_itself(database: Database) -> None:
    opened(database, (1, 7))
    row = working(database, ticket(quantity=2))
    compared(database, (1, 9))
    ib_says(database, replace(execution(row, 2), time_ns=AFTER))
    assert len(compared(database, (1, 9)).closed) == 1


# ---- values ----------------------------------------------------------------------------------------------------------


def test_the_gross_value_counts_fills_that_ib_has_not_counted_yet(database: Database) -> None:
    with database.transaction() as cursor:
        assert account_state.gross_position_value(cursor, ACCOUNT) == 0
    row = working(database, ticket(quantity=3))
    ib_says(database, execution(row, 2))
    with database.transaction() as cursor:
        assert account_state.gross_position_value(cursor, ACCOUNT) == 200
        cursor.execute("UPDATE account_values SET as_of = %s, value = '201.5' WHERE tag = 'GrossPositionValue'", (NOW,))
        assert account_state.gross_position_value(cursor, ACCOUNT) == Decimal("201.5")
        cursor.execute("UPDATE account_values SET value = 'none' WHERE tag = 'GrossPositionValue'")
        assert account_state.gross_position_value(cursor, ACCOUNT) is None
