"""A live run is made flat: never beyond what the account has, and not without a word where that fails."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from nautilus.db.auth import users
from nautilus.db.connection import Database
from nautilus.db.orders import orders, positions, trading_state
from nautilus.db.orders.events import Event
from nautilus.db.strategies import results, writing
from nautilus.db.strategies.writing import NewEquity
from nautilus.orders.words import Position
from nautilus.strategies.closing import MOST_FRUITLESS
from nautilus.strategies.options import RunOptions
from nautilus.strategies.states import RunState, Wanted
from strategy_host import stopping
from strategy_host.closing import NotClosed
from tests.support.held_run import Held, held_run
from tests.support.order_ledger import (
    ACCOUNT,
    NOW,
    STOCK,
    caller,
    counted,
    execution,
    ib_says,
    just_sent,
    placed,
    row_of,
    sent,
    ticket,
)

HELD = 10


class Bought(Held):
    """A live run that holds ten shares and is to be flat."""

    def step(self) -> Any:
        settings = self.parts.settings
        return asyncio.run(self.parts.transactions.run(stopping.step, self.run, settings, flat=True, due=True))

    def closing(self) -> list[tuple[str, Decimal, str]]:
        """(side, quantity, state) of each closing order, the oldest first."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT side, quantity, state FROM orders WHERE principal = %s AND starts_with(idempotency_key, 'host:')"
                " ORDER BY accepted_at",
                (self.run.principal,),
            )
            return [tuple(row) for row in cursor.fetchall()]

    def end_last(self, state: str) -> None:
        """The last closing order is over without a fill."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT id FROM orders WHERE idempotency_key LIKE 'host:%' ORDER BY accepted_at DESC LIMIT 1"
            )
            row = orders.lock_with_book(cursor, cursor.fetchone()[0])
            assert row is not None
            orders.update(cursor, row, {"state": state, "why": "no price"}, Event(state, "process", NOW))

    def end_curve(self) -> list[tuple[int, Decimal, Decimal | None, Decimal | None]]:
        """Its curve after its end: (time, equity, unrealized, drawdown)."""
        asyncio.run(self.parts.transactions.run(stopping.end_curve, self.run, RunOptions(capital=Decimal(100_000))))
        with self.database.transaction() as cursor:
            found = results.equity(cursor, self.run.id)
        return [(row.market_ns, row.equity, row.unrealized, row.drawdown) for row in found]

    def fill_last(self, price: str = "100", at_ns: int = NOW) -> None:
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT id FROM orders WHERE idempotency_key LIKE 'host:%' ORDER BY accepted_at DESC LIMIT 1"
            )
            order_id = cursor.fetchone()[0]
        row = sent(self.database, order_id)
        ib_says(self.database, execution(row, row.quantity, price, time_ns=at_ns))
        show(self.database, HELD - int(row.quantity))

    def incidents(self) -> list[tuple[str, str, bool]]:
        """(code, reason, whether it is open)."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT code, detail->>'reason' AS reason, until IS NULL AS is_open FROM incidents ORDER BY id"
            )
            return [tuple(row) for row in cursor.fetchall()]


def show(database: Database, quantity: int) -> None:
    """IB's position of the account."""
    with database.transaction() as cursor:
        positions.put_broker(cursor, [Position(ACCOUNT, STOCK.con_id, Decimal(quantity), Decimal(100))], NOW)


@pytest.fixture
def bought(dsn: str) -> Iterator[Bought]:
    with held_run(dsn, quantity=HELD) as made:
        run = Bought(*made)
        ib_says(run.database, execution(row_of(run.database, run.order_id), HELD))
        show(run.database, HELD)
        run.move(RunState.STARTING, RunState.RUNNING)
        run.want(Wanted.FLAT)
        run.move(RunState.STOPPING)
        yield run


@pytest.mark.parametrize(
    ("others", "resting", "closes", "left"),
    [
        (0, 0, 10, ""),
        (4, 0, 6, ""),
        (10, 0, 0, "10 of A.X were closed by others"),
        (15, 0, 0, "10 of A.X were closed by others"),
        (0, 4, 6, ""),
        (3, 4, 3, ""),
        (0, 10, 0, None),
        (-5, 0, 10, ""),
    ],
    ids=["alone", "partly", "whole", "turned", "rests", "both", "all-rests", "more"],
)
def test_what_is_closed_never_turns_the_position_round(bought, others, resting, closes, left):
    """others: what a person has sold of the account meanwhile; resting: what a person's open order would sell."""
    if others:
        row = just_sent(bought.database, ticket("SELL" if others > 0 else "BUY", abs(others)))
        ib_says(bought.database, execution(row, abs(others)))
        show(bought.database, HELD - others)
    if resting:
        just_sent(bought.database, ticket("SELL", resting, "120"))
    done = bought.step()
    assert [(side, quantity) for side, quantity, _ in bought.closing()] == ([("SELL", closes)] if closes else [])
    if left is None:
        assert "other orders that are open would close 10 of it" in done.waits_for
    elif not closes:
        assert (done.waits_for, done.left) == ("", left)
    assert not bought.step().tried, "a closing order that is open is waited for"
    assert len(bought.closing()) == (1 if closes else 0)


def test_nothing_is_sent_while_the_broker_has_another_position(bought):
    show(bought.database, 3)
    assert bought.step().waits_for.endswith("A.X: IB's position is not ours")
    show(bought.database, HELD)
    assert bought.step().tried
    assert bought.closing() == [("SELL", HELD, "accepted")]


def test_a_run_that_is_closed_is_over_with_nothing_to_report(bought):
    bought.step()
    bought.fill_last()
    assert bought.step() == stopping.NOTHING_LEFT


def test_the_curve_of_a_run_that_is_closed_ends_with_the_fill_that_closed_it(bought):
    at_last_bar = (NOW + 1, Decimal(100_050), Decimal(50), Decimal(0))
    with bought.database.transaction() as cursor:
        writing.equity(
            cursor, bought.run.id, [NewEquity(NOW + 1, Decimal(100_050), Decimal(100_000), *at_last_bar[2:])]
        )
    assert bought.end_curve() == [at_last_bar], "it holds something"
    bought.step()
    bought.fill_last("98", NOW + 5)
    lost = round(Decimal(70) / 100_050, 10)
    assert bought.end_curve() == [at_last_bar, (NOW + 5, Decimal(99_980), Decimal(0), lost)]
    assert len(bought.end_curve()) == 2, "a second host writes the same"


def halt(database: Database, state: str) -> None:
    with database.transaction() as cursor:
        trading_state.put(cursor, ACCOUNT, state, set_by="test", reason="a test")


def test_a_refused_flatten_is_one_incident_and_no_order(bought):
    halt(bought.database, "halted")
    for _ in range(3):
        assert "trading_halted" in bought.step().waits_for
    assert bought.closing() == []
    ((code, reason, is_open),) = bought.incidents()
    assert (code, is_open) == ("strategy-flatten-denied", True)
    assert "trading_halted" in reason
    halt(bought.database, "active")
    assert bought.step().tried
    assert bought.closing() == [("SELL", HELD, "accepted")]
    bought.fill_last()
    bought.step()
    assert [is_open for _, _, is_open in bought.incidents()] == [False]


def test_who_wants_it_flat_must_be_allowed_to_trade_and_its_owner_need_not(bought):
    with bought.database.transaction() as cursor:
        users.update(cursor, 1, scopes=["strategies:write"])
    assert "has lost the scope orders:write" in bought.step().waits_for
    assert bought.closing() == []
    with bought.database.transaction() as cursor:
        other = users.create(cursor, username="other", email=None, password_hash="", scopes=["admin"])
        cursor.execute("UPDATE strategy_runs SET wanted_by = %s", (f"user:{other.id}",))
    assert bought.step().tried
    assert bought.closing() == [("SELL", HELD, "accepted")]


def test_after_too_many_orders_that_close_nothing_a_person_must_do_it(bought):
    for _ in range(MOST_FRUITLESS):
        bought.step()
        bought.end_last("denied")
    with pytest.raises(NotClosed, match="the last one: no price"):
        bought.step()
    assert len(bought.closing()) == MOST_FRUITLESS


def test_an_order_of_the_strategy_in_the_old_name_space_is_no_closing_order(bought):
    """It is cancelled as any other one."""
    row = sent(
        bought.database,
        placed(bought.database, ticket("BUY", 1, "90"), caller("flatten-1", principal=bought.run.principal))
        .orders[0]
        .id,
    )
    assert bought.step().waits_for == "1 of its orders are not over yet"
    assert counted(bought.database, "SELECT count(*) FROM order_requests WHERE kind = 'cancel'") == 1
    assert row_of(bought.database, row.id).state == "sending"
