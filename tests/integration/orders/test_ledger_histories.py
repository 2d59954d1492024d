"""Reservations, positions and filled quantities are those that the rows say, after any history of orders and words.

Each history is drawn from a seed: orders, modifies and cancels of ours, and an IB that answers late, twice, out of order, with
corrections and with fills that it takes back. `make verify` then computes everything anew.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg2
import pytest

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import order_statements, orders, requests, risk_book
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.db.verify_findings import Finding
from nautilus.errors import NautilusError
from nautilus.orders import change
from nautilus.orders.outcome import Known, Question, Terms
from nautilus.orders.states import OrderState
from nautilus.orders.ticket import Exit, OrderType, Prices
from nautilus.orders.words import BrokerError, Execution, Word
from tests.support.order_ledger import (
    NOW,
    STOCK,
    caller,
    commission,
    corrected,
    execution,
    findings,
    furnish,
    ib_says,
    just_sent,
    market,
    number_of,
    open_order,
    placed,
    row_of,
    sent,
    status,
    ticket,
)

HISTORIES = 300
STEPS = 12
_EXITS: dict[str, dict[str, Any]] = {
    side: {
        "take_profit": Exit(OrderType.LMT, Prices(limit=Decimal(profit))),
        "stop_loss": Exit(OrderType.STP, Prices(stop=Decimal(loss))),
    }
    for side, profit, loss in (("BUY", 150, 50), ("SELL", 50, 150))
}
_STATUSES = ("PendingSubmit", "PreSubmitted", "Submitted", "Inactive", "PendingCancel", "Cancelled", "Filled", "Odd")
_CODES = (103, 110, 133, 135, 201, 202, 399, 10147, 10148, 10349, 4_711)


@dataclass
class History:
    """One account with its orders, and the words that IB has not said yet."""

    database: Database
    draw: random.Random
    account: str
    rows: list[OrderRow] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    fills: list[Execution] = field(default_factory=list)

    def run(self) -> Iterator[None]:
        """Stop in the middle, for who wants to look, and at the end."""
        steps: tuple[Callable[[], None], ...] = (
            self.place,
            *(self.send,) * 2,
            *(self.speak,) * 6,
            *(self.hear,) * 4,
            *(self.modify,) * 2,
            *(self.send_request,) * 2,
            self.cancel,
            self.lose_request,
        )
        self.place()
        self.send()
        for step in range(STEPS):
            if step == STEPS // 2:
                yield
            with suppress(NautilusError):  # a refusal: the order is over, another modify is open
                self.draw.choice(steps)()
        while self.words:
            self.hear()
        yield

    def one(self) -> OrderRow:
        """One of the orders, more often than not one that was placed first."""
        return row_of(self.database, self.draw.choice([self.rows[0], *self.rows]).id)

    def place(self) -> None:
        side = self.draw.choice(["BUY", "SELL"])
        exits = _EXITS[side] if self.draw.random() < 0.25 else {}
        limit = self.draw.choice(["100", "99.5", "101.13"] * 4 + ["100.001"])
        quantity = self.draw.choice([1, 3, 7, 20] * 4 + [0])
        made = placed(self.database, ticket(side, quantity, limit, self.account, **exits))
        self.rows += made.orders

    def send(self) -> None:
        row = self.one()
        if row.state == OrderState.ACCEPTED:
            row = sent(self.database, row.id)
            self.words.append(open_order(row, "PreSubmitted", number_of(row)))

    def speak(self) -> None:
        """IB has something to say about an order, and says it some time."""
        row = self.one()
        if row.order_id is None:
            return
        perm_id = self.draw.choice([0, number_of(row)])
        kind = self.draw.randrange(6)
        if kind == 0:
            self.words.append(status(row, self.draw.choice(_STATUSES), perm_id))
        elif kind == 1:
            shown = self.draw.choice([row.quantity, row.quantity + 2])
            self.words.append(open_order(row, self.draw.choice(_STATUSES), perm_id, quantity=shown))
        elif kind == 2:
            self.words.append(BrokerError(row.order_id, self.draw.choice(_CODES), "text"))
        elif kind in (3, 4) and self.fills:
            fill = corrected(self.draw.choice(self.fills), self.draw.choice([0, 1, 2]), "99")
            self.fills.append(fill)
            self.words.append(fill)
        else:
            fill = execution(
                row, self.draw.choice([Decimal(1), Decimal(2), row.quantity]), self.draw.choice(["100", "99.37"])
            )
            self.fills.append(fill)
            self.words += [fill, commission(fill)]
            if kind == 5:
                self.words.append(fill)

    def hear(self) -> None:
        """Some of the words arrive, in any order; now and then as answers to a question."""
        self.draw.shuffle(self.words)
        batch = [self.words.pop() for _ in range(min(len(self.words), self.draw.randint(1, 4)))]
        answers: list[Question | None] = [None, None, None, "open", "completed", "executions"]
        if batch:
            ib_says(self.database, *batch, known=Known(now_ns=NOW, answer=self.draw.choice(answers)))

    def modify(self) -> None:
        row = self.one()
        terms = Terms(
            quantity=Decimal(self.draw.choice([1, 2, 8, 30])), limit_price=self.draw.choice([None, Decimal(103)])
        )
        with self.database.transaction() as cursor:
            facts = market()
            change.modify(cursor, row.id, terms, caller(), version=None, instrument=STOCK, facts=facts)

    def cancel(self) -> None:
        row = self.one()
        with self.database.transaction() as cursor:
            change.cancel(cursor, row.id, caller(), now=NOW)

    def _move_request(self, before: str, after: str) -> None:
        row = self.one()
        with self.database.transaction() as cursor:
            held = orders.lock_with_book(cursor, row.id)
            for request in requests.open_of(cursor, row.id):
                if held is not None and request.state == before and held.order_id is not None:
                    requests.update(cursor, request, state=after)
                    held = orders.update(cursor, held, {"pending": request.kind}, Event(after, "process", NOW))
                    if after == "sent":
                        self._answer(held, request)

    def _answer(self, row: OrderRow, request: requests.RequestRow) -> None:
        """IB confirms a request, refuses it, or says nothing."""
        reply = self.draw.choice(["yes", "yes", "no", "nothing"])
        if reply == "no":
            self.words.append(BrokerError(row.order_id or 0, self.draw.choice([201, 135, 10148, 104]), "no"))
        elif reply == "yes" and request.kind == "cancel":
            self.words.append(status(row, "Cancelled", number_of(row)))
        elif reply == "yes":
            shown = {"quantity": request.wanted_quantity or row.quantity}
            shown["limit_price"] = requests.number(request.wanted, "limit_price") or row.limit_price or Decimal(100)
            self.words.append(open_order(row, "Submitted", number_of(row), **shown))

    def send_request(self) -> None:
        self._move_request("wanted", "sent")

    def lose_request(self) -> None:
        self._move_request("sent", "unknown")


def histories(database: Database, seeds: range) -> Iterator[tuple[int, list[Finding]]]:
    """Run a history for each seed; what verifying finds after it."""
    for seed in seeds:
        account = f"SIM{seed}"
        with database.transaction() as cursor:
            furnish(cursor, account)
        for _ in History(database, random.Random(seed), account).run():
            yield seed, findings(database)


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    made = Database(dsn, name="test", size=4)
    yield made
    made.close()


def test_reservations_and_positions_are_those_of_the_rows_after_any_history(database: Database) -> None:
    for seed, found in histories(database, range(HISTORIES)):
        assert found == [], f"history {seed}"
    with database.transaction() as cursor:
        cursor.execute("SELECT array_agg(DISTINCT after) AS states FROM order_events")
        states = set(cursor.fetchone().states)
        cursor.execute("SELECT count(*) FILTER (WHERE NOT latest) AS corrected FROM executions")
        assert cursor.fetchone().corrected > 50
        cursor.execute("SELECT array_agg(DISTINCT kind || ':' || state) AS states FROM order_requests")
        moved = set(cursor.fetchone().states)
    assert states >= set(OrderState) - {OrderState.EXPIRED}, "too tame"
    assert moved >= {"modify:confirmed", "modify:refused", "modify:unknown", "modify:overtaken", "cancel:confirmed"}


# ---- mutants ---------------------------------------------------------------------------------------------------------


def free_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an order that is over held returns twice."""
    update = orders.update

    def twice(cursor: Cursor, before: OrderRow, changes: Mapping[str, object], event: Event) -> OrderRow:
        after = update(cursor, before, changes, event)
        if before.alive and not after.alive:
            side = "reserved_buy" if after.side == "BUY" else "reserved_sell"
            cursor.execute(
                f"UPDATE risk_book SET {side} = {side} - %s WHERE account = %s AND con_id = %s",
                (before.reserved_quantity, after.account, after.con_id),
            )
        return after

    monkeypatch.setattr(orders, "update", twice)


def forget_the_modify(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open modify reserves nothing more."""
    monkeypatch.setattr(requests, "OPEN_MODIFY_QUANTITY", "NULL::numeric")
    monkeypatch.setattr(orders, "update_of", order_statements.update_of.__wrapped__)  # made anew, with that in it


def forget_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fill lowers the reservation and moves no position."""
    monkeypatch.setattr(risk_book, "move", lambda *given: None)


@pytest.mark.parametrize("mutant", [free_twice, forget_the_modify, forget_the_position])
def test_a_ledger_that_miscounts_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutant(monkeypatch)
    assert miscounts(database)


def miscounts(database: Database) -> bool:
    """Whether verifying finds something after one of 40 histories, or the database refuses a sum below zero before."""
    try:
        return any(found for _, found in histories(database, range(40)))
    except psycopg2.errors.CheckViolation:
        return True


def test_the_end_of_a_bust_is_the_position_before_it(database: Database) -> None:
    """Fills and corrections in every order: only the highest revision of each counts."""
    with database.transaction() as cursor:
        furnish(cursor)
    draw = random.Random(7)
    for _ in range(20):
        row = just_sent(database, ticket(quantity=9))
        first = execution(row, 2)
        revisions: list[Word] = [first, corrected(first, 3), corrected(corrected(first, 3), 1)]
        draw.shuffle(revisions)
        ib_says(database, *revisions)
        assert row_of(database, row.id).filled == 1
    assert findings(database) == []
