"""Lots are those of the executions, after any history; the short way gives the rows of the long one."""

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import executions, positions, risk_book
from nautilus.db.orders.positions import Adjustment
from nautilus.db.portfolio import booking
from nautilus.db.rows import scalar
from nautilus.orders.words import Execution, Position
from tests.support.order_ledger import ACCOUNT, NOW, commission, corrected, findings, ib_says, ledger, seen
from tests.support.statements import Statements

HISTORIES, STEPS = 15, 25
D = Decimal
OPENED = NOW - 50


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as made:
        with made.transaction() as cursor:
            cursor.execute("UPDATE accounts SET opened_at = NULL")
        yield made


def fill(number: int, quantity: int, price: str = "10", at: int = NOW, con_id: int = 1) -> Execution:
    side = "BUY" if quantity > 0 else "SELL"
    return Execution(
        exec_id=f"{number:06d}.01",
        order_id=0,
        client_id=0,
        perm_id=number,
        order_ref="",
        account=ACCOUNT,
        con_id=con_id,
        side=side,  # type: ignore[arg-type]
        quantity=D(abs(quantity)),
        price=D(price),
        exchange="X",
        time_ns=at,
    )


def opened(database: Database, *held: tuple[int, int]) -> None:
    words = [Position(ACCOUNT, con_id, D(quantity), D(50)) for con_id, quantity in held]
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        positions.put_all_broker(cursor, ACCOUNT, words, OPENED)
        positions.open_account(cursor, ACCOUNT, OPENED)


def adjusted(database: Database, quantity: int, kind: str, price: str | None = None, at: int = NOW) -> None:
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        made = Adjustment(ACCOUNT, 1, D(quantity), kind, "a test", "user:1", at, None if price is None else D(price))
        positions.adjust(cursor, made)


def booked(database: Database, con_id: int = 1) -> booking.Rows:
    with database.transaction() as cursor:
        return booking.stored(cursor, ACCOUNT, con_id)


def lots(database: Database) -> list[Any]:
    return [(row.opened_key, row.quantity, row.cost) for row in booked(database).lots]


def matches(database: Database) -> list[Any]:
    return [
        (row.opened_key, row.closed_key, row.quantity, row.cost, row.proceeds, row.flat)
        for row in booked(database).matches
    ]


# ---- one after the other ---------------------------------------------------------------------------------------------


def test_fills_open_lots_and_close_the_oldest(database: Database) -> None:
    ib_says(database, fill(1, 10, "100", NOW), fill(2, 10, "110", NOW + 1), fill(3, -15, "120", NOW + 2))
    assert matches(database) == [
        ("exec:000001", "exec:000003", 10, 1000, 1200, False),
        ("exec:000002", "exec:000003", 5, 550, 600, False),
    ]
    assert lots(database) == [("exec:000002", 5, 550)]


def test_an_opening_is_booked_before_all_executions(database: Database) -> None:
    opened(database, (1, 7))
    ib_says(database, fill(1, -3, "60"))
    assert matches(database) == [("opening", "exec:000001", 3, 150, 180, False)]
    assert lots(database) == [("opening", 4, 200)]


def test_of_an_opening_whose_executions_are_known_in_part_nobody_knows_the_price(database: Database) -> None:
    ib_says(database, fill(1, 4, "60", OPENED - 5))
    opened(database, (1, 10))
    assert lots(database) == [("opening", 6, None), ("exec:000001", 4, 240)]


def test_an_older_execution_moves_the_opening_back_and_takes_its_price(database: Database) -> None:
    opened(database, (1, 10))
    ib_says(database, fill(1, 4, "60", OPENED - 5))
    assert lots(database) == [("opening", 6, None), ("exec:000001", 4, 240)]
    ib_says(database, fill(2, 6, "61", OPENED - 9))
    assert lots(database) == [("exec:000002", 6, 366), ("exec:000001", 4, 240)]


def test_a_correction_books_anew_and_a_bust_takes_back(database: Database) -> None:
    first = fill(1, 10, "100")
    ib_says(database, first, fill(2, -10, "120", NOW + 1))
    ib_says(database, corrected(first, 10, "101"))
    assert matches(database) == [("exec:000001", "exec:000002", 10, 1010, 1200, True)]
    ib_says(database, corrected(corrected(first, 10), 0))
    assert matches(database) == []
    assert lots(database) == [("exec:000002", -10, -1200)]


def test_a_split_changes_quantities_alone(database: Database) -> None:
    ib_says(database, fill(1, 10, "100"))
    adjusted(database, 30, "corporate_action", at=NOW + 1)
    assert [seen(row.quantity, row.opened, row.cost) for row in booked(database).lots] == [(40, 10, 1000)]


@pytest.mark.parametrize("kind", ["expiry", "assignment", "corporate_action", "missed_fills"])
def test_what_closes_without_a_price_has_no_profit(database: Database, kind: str) -> None:
    ib_says(database, fill(1, 10, "3"))
    adjusted(database, -10, kind, at=NOW + 1)
    assert [seen(row.cost, row.proceeds) for row in booked(database).matches] == [(30, None)]


def test_an_option_that_expires_without_value_is_told_so(database: Database) -> None:
    ib_says(database, fill(1, -2, "3"))
    adjusted(database, 2, "expiry", "0", at=NOW + 1)
    assert [seen(row.cost, row.proceeds, row.flat) for row in booked(database).matches] == [(-6, 0, True)]


def test_late_commissions_leave_lots_alone(database: Database) -> None:
    word = fill(1, 10, "100")
    ib_says(database, word)
    before = booked(database)
    ib_says(database, commission(word, "1.25"))
    assert booked(database) == before


def test_contracts_that_were_traded_before_there_were_lots_are_found(database: Database) -> None:
    ib_says(database, fill(1, 10), fill(2, 3, con_id=2))
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM lots; DELETE FROM lot_matches; DELETE FROM lot_books")
        assert list(booking.unbooked(cursor)) == [(ACCOUNT, 1), (ACCOUNT, 2)]
        booking.rebook(cursor, ACCOUNT, 1)
        assert list(booking.unbooked(cursor)) == [(ACCOUNT, 2)]
        booking.rebook(cursor, ACCOUNT, 2)
    assert findings(database) == []


# ---- what it costs ---------------------------------------------------------------------------------------------------

STATEMENTS = {"of the first of a contract": 9, "of a new fill": 9, "of one that is repeated": 1}


def test_a_fill_takes_as_few_statements_as_it_did(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executions come in bursts, and the next order waits for them."""
    found = {}
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        risk_book.lock_exposure(cursor, ACCOUNT, 1)
        words = {"of the first of a contract": fill(1, 10), "of a new fill": fill(2, -4, "110", NOW + 1)}
        for name, word in {**words, "of one that is repeated": words["of a new fill"]}.items():
            with monkeypatch.context() as patched:
                statements = Statements(patched)
                executions.put(cursor, word, None)
                found[name] = len(statements.texts)
    assert found == STATEMENTS


# ---- rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "age_h", "rate"), [("0.86", 1, "0.86"), ("0.86", 25, None), ("0", 1, None), ("x", 1, None)]
)
def test_a_fill_keeps_the_rate_of_its_day(database: Database, value: str, age_h: int, rate: str | None) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO account_values VALUES (%s, 'ExchangeRate', 'USD', %s, %s)",
            (ACCOUNT, value, NOW - age_h * 3_600_000_000_000),
        )
    word = fill(1, 10)
    ib_says(database, word)
    with database.transaction() as cursor:
        found = executions.by_exec_id(cursor, word.exec_id)
    assert found is not None
    assert found.fx_rate == (None if rate is None else D(rate))


# ---- any history -----------------------------------------------------------------------------------------------------


def play(database: Database, seed: int) -> None:
    """Fills out of order, corrections, busts, repetitions, adjustments and an opening, all of one contract."""
    draw = random.Random(seed)
    fills: list[Execution] = []
    for number in range(STEPS):
        at = OPENED + draw.choice([-10, 10 + number, 10 + number, 10 + number, 20])
        quantity = draw.choice([-4, -2, -1, 1, 2, 3])
        kind = draw.randrange(10)
        if number == STEPS // 3:
            opened(database, (1, draw.choice([-3, 0, 5])))
        elif kind < 6 or not fills:
            fills.append(fill(number, quantity, draw.choice(["9.5", "10", "11.25"]), at))
            ib_says(database, fills[-1])
        elif kind == 6:
            fills.append(corrected(draw.choice(fills), draw.choice([0, 1, 2]), "12"))
            ib_says(database, fills[-1])
        elif kind == 7:
            ib_says(database, draw.choice(fills))
        elif kind == 8:
            adjusted(database, quantity, draw.choice(["missed_fills", "transfer"]), draw.choice([None, "10"]), at)
        else:
            adjusted(database, quantity, "corporate_action", at=at)


def first_wrong(database: Database) -> int | None:
    """Over some histories: the first that ends with rows that are not those of its facts."""
    for seed in range(HISTORIES):
        with database.transaction() as cursor:
            cursor.execute(
                "TRUNCATE executions, position_openings, position_adjustments, adjustment_executions, position_breaks, lots,"
                " lot_matches, lot_books, risk_book, broker_positions, orders, order_events, order_requests;"
                " UPDATE accounts SET opened_at = NULL"
            )
        play(database, seed)
        if findings(database):
            return seed
    return None


def test_rows_are_those_of_the_facts_after_any_history(database: Database) -> None:
    assert first_wrong(database) is None
    with database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM lot_matches")
        assert scalar(cursor, int) > 0


def on_top(cursor: Cursor, account: str, con_id: int, fact: booking.Fact) -> None:
    """A booking that puts an older fill on top of the lots, too."""
    cursor.execute("UPDATE lot_books SET last_ts = 0 WHERE account = %s AND con_id = %s", (account, con_id))
    _ADD(cursor, account, con_id, fact)


def never_anew(_cursor: Cursor, _account: str, _con_id: int) -> None:
    """A booking that forgets corrections."""


_ADD = booking.add


@pytest.mark.parametrize(("name", "mutant"), [("add", on_top), ("rebook", never_anew)])
def test_a_booking_that_does_not_book_anew_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str, mutant: Callable[..., None]
) -> None:
    monkeypatch.setattr(booking, name, mutant)
    assert first_wrong(database) is not None
