"""Words of IB that say what is known: passed over, and only where recording them would have changed nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest

from ib_bridge.orders import word_writer
from ib_bridge.orders.word_writer import Arrival
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import orders
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.db.rows import scalar
from nautilus.orders.known_words import KnownWords
from nautilus.orders.outcome import Known
from nautilus.orders.recording import record
from nautilus.orders.words import CompletedOrder, Word
from tests.support.order_ledger import (
    NOW,
    commission,
    corrected,
    execution,
    ib_says,
    ledger,
    open_order,
    row_of,
    sent,
    status,
    ticket,
    working,
)
from tests.support.order_ledger import placed as placed_order

_TABLES = ("orders", "order_events", "order_requests", "executions", "early_commissions", "incidents", "trading_state")
OPEN, COMPLETED, EXECUTIONS = (Known(now_ns=NOW, answer=name) for name in ("open", "completed", "executions"))


@pytest.fixture
def store(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as database:
        yield database


def everything(cursor: Cursor) -> list[str]:
    """What stands in the tables of orders, in short."""
    found = []
    for table in (*_TABLES, "risk_book", "risk_accounts"):
        cursor.execute(f"SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {table} t")
        found.append(f"{table} {scalar(cursor, str)}")
    return found


def completed(row: OrderRow, word: str, filled: Decimal | None = None) -> CompletedOrder:
    perm_id = row.perm_ids[0] if row.perm_ids else 0
    return CompletedOrder(
        perm_id=perm_id,
        order_ref=str(row.id),
        account=row.account,
        con_id=row.con_id,
        side="BUY" if row.side == "BUY" else "SELL",
        type=row.type,
        tif=row.tif,
        quantity=row.quantity,
        filled=filled,
        status=word,
        completed_status=word,
    )


def orders_of_all_kinds(store: Database) -> list[OrderRow]:
    """Working, filled in part, filled, corrected, cancelled, unknown, sending."""
    rows = [working(store, ticket(quantity=10, limit=str(90 + n)), perm_id=5_000 + n) for n in range(6)]
    part, whole, wrong = rows[1], rows[2], rows[3]
    ib_says(store, execution(part, 3, exec_id="e1.01"), commission(execution(part, 3, exec_id="e1.01")))
    ib_says(store, execution(whole, 10, exec_id="e2.01"), status(whole, "Filled", 5_002, Decimal(10)))
    first = execution(wrong, 10, exec_id="e3.01")
    ib_says(store, first, corrected(first, 8))
    ib_says(store, status(rows[4], "Cancelled", 5_004))
    with store.transaction() as cursor:
        row = orders.lock_with_book(cursor, rows[5].id)
        assert row is not None
        orders.update(cursor, row, {"state": "unknown"}, Event("unknown", "process", NOW))
    rows.append(sent(store, placed_order(store, ticket(limit="80")).orders[0].id))
    return [row_of(store, row.id) for row in rows]


def answers(rows: Sequence[OrderRow]) -> Iterator[tuple[Word, Known]]:
    """What IB may answer about each of them, true or not, once and again."""
    for row in rows:
        perm_id = row.perm_ids[0] if row.perm_ids else 7_000
        for word in ("Submitted", "PreSubmitted", "PendingCancel", "Inactive", "Filled", "Cancelled", "Strange"):
            yield open_order(row, word, perm_id), OPEN
            yield open_order(row, word, perm_id, quantity=row.quantity + 1), OPEN
            yield status(row, word, perm_id), OPEN
            yield status(row, word, 0), OPEN
            yield status(row, word, perm_id + 100), OPEN
            yield completed(row, word, row.filled), COMPLETED
            yield replace(completed(row, word), account="SIM9"), COMPLETED
        for exec_id, quantity in (("e1.01", 3), ("e2.01", 10), ("e3.01", 10), ("e3.02", 8), ("e9.01", 1)):
            fill = execution(row, quantity, exec_id=exec_id, perm_id=perm_id)
            yield fill, EXECUTIONS
            yield fill, Known(now_ns=NOW)
            yield commission(fill), Known(now_ns=NOW)
            yield commission(fill, "2"), Known(now_ns=NOW)


def test_a_word_is_passed_over_only_where_recording_it_changes_nothing(store: Database) -> None:
    rows = orders_of_all_kinds(store)
    ib_says(store, *(open_order(row, "Submitted", row.perm_ids[0]) for row in rows[:2]), known=OPEN)
    passed = 0
    rows = [row_of(store, row.id) for row in rows]
    for word, about in answers(rows):
        with store.transaction() as cursor:
            found = KnownWords(cursor, [word]).repeated(word, about)
            if found is not None:
                passed += 1
                before = everything(cursor)
                assert record(cursor, [word], about) == [found], word
                assert everything(cursor) == before, word
    assert passed >= 20


def test_what_ib_answers_again_and_again_is_passed_over(store: Database) -> None:
    _, part, whole, _, cancelled, *_ = orders_of_all_kinds(store)
    fills = [execution(part, 3, exec_id="e1.01"), execution(whole, 10, exec_id="e2.01")]
    again: list[tuple[Word, Known]] = [
        (open_order(part, "Submitted", part.perm_ids[0]), OPEN),
        (status(part, "Submitted", part.perm_ids[0]), OPEN),
        (completed(whole, "Filled", Decimal(10)), COMPLETED),
        (completed(cancelled, "Cancelled", Decimal(0)), COMPLETED),
        *((fill, EXECUTIONS) for fill in fills),
        *((commission(fill), Known(now_ns=NOW)) for fill in fills),
    ]
    for word, about in again:
        ib_says(store, word, known=about)
    with store.transaction() as cursor:
        known = KnownWords(cursor, [word for word, _ in again])
        assert [word for word, about in again if known.repeated(word, about) is None] == []
        assert known.repeated(replace(fills[0], quantity=Decimal(2)), EXECUTIONS) is None, "it says something else"


def test_a_word_behind_one_that_changes_its_order_is_recorded(store: Database) -> None:
    row = working(store, perm_id=5_000)
    ib_says(store, open_order(row, "Submitted", 5_000), known=OPEN)
    with store.transaction() as cursor:
        batch = [
            Arrival(status(row, "Cancelled", 5_000), 1, NOW, None),
            Arrival(open_order(row, "Submitted", 5_000), 1, NOW + 1, "open"),
        ]
        list(word_writer._recorded(cursor, batch))
    assert row_of(store, row.id).state == "working", "IB shows it after it was cancelled"


def test_an_answer_that_says_what_is_known_costs_as_much_for_many_orders_as_for_two(store: Database) -> None:
    rows = [working(store, ticket(limit=str(50 + n)), perm_id=5_000 + n) for n in range(20)]

    def cost(some: Sequence[OrderRow]) -> int:
        shown = [
            (open_order(row, "Submitted", row.perm_ids[0]), status(row, "Submitted", row.perm_ids[0])) for row in some
        ]
        words: list[Word] = [word for pair in shown for word in pair]
        batch = [Arrival(word, 1, NOW + n, "open") for n, word in enumerate(words)]
        with store.transaction() as cursor:
            list(word_writer._recorded(cursor, batch))  # now it is known
            return statements(cursor, lambda: list(word_writer._recorded(cursor, batch)))

    assert cost(rows) == cost(rows[:2]) <= 4


def statements(cursor: Cursor, work: Any) -> int:
    """How many statements some work runs."""
    count = 0
    execute = type(cursor).execute

    def counting(self: Any, *given: Any) -> Any:
        nonlocal count
        count += 1
        return execute(self, *given)

    with patch.object(type(cursor), "execute", counting):
        work()
    return count
