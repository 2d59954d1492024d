"""The seven messages of a fill in any order, each doubled once: the rows are the same in the end.

All 5,040 orders of them are tried on the rules alone (tests/unit/orders/test_permutations.py); here some go through the store.
"""

import random
from itertools import permutations
from typing import Any

import pytest

from nautilus.db.connection import Database
from nautilus.db.orders import executions
from nautilus.orders import draft
from nautilus.orders.words import Word
from tests.support.order_ledger import (
    commission,
    execution,
    findings,
    ib_says,
    just_sent,
    ledger,
    number_of,
    open_order,
    row_of,
    status,
    ticket,
)

TRIED = 25


def messages(row: Any) -> list[Word]:
    """What a gateway sends of an order for one that fills at once."""
    perm, fill = number_of(row), execution(row, 1)
    return [
        open_order(row, "PreSubmitted", perm),
        status(row, "PreSubmitted", perm),
        fill,
        open_order(row, "Submitted", perm),
        status(row, "Filled", perm, filled=row.quantity),
        open_order(row, "Filled", perm),
        commission(fill),
    ]


def end(database: Database, order: tuple[int, ...], doubled: int) -> tuple[Any, ...]:
    """The rows after the messages in this order, one of them twice."""
    row = just_sent(database, ticket(limit=None))
    sent_by_ib = messages(row)
    words = [sent_by_ib[number] for number in order]
    words.insert(order.index(doubled), sent_by_ib[doubled])
    for word in words:
        ib_says(database, word)
    after = row_of(database, row.id)
    with database.transaction() as cursor:
        (fill,) = executions.of_order(cursor, row.id)
    facts = (
        after.state,
        after.filled,
        after.avg_fill_price,
        after.filled_by_status,
        after.broker_status,
        after.pending,
    )
    return (*facts, after.reserved_quantity, len(after.perm_ids), after.why, fill.quantity, fill.price, fill.commission)


def ends(database: Database) -> set[tuple[Any, ...]]:
    every = list(permutations(range(7)))
    chosen = random.Random(7).sample(every, TRIED)
    return {end(database, order, number % 7) for number, order in enumerate([every[0], every[-1], *chosen])}


@pytest.fixture
def database(dsn: str) -> Any:
    with ledger(dsn) as made:
        yield made


def test_messages_of_a_fill_in_any_order_and_doubled_leave_the_same_rows(database: Database) -> None:
    (found,) = ends(database)
    assert (found[0], found[1], found[4], found[6], found[-1]) == ("filled", 1, "Filled", 0, 1)
    assert findings(database) == []


def test_without_ranks_of_statuses_the_rows_depend_on_the_order(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "BROKER_RANKS", {})
    assert len(ends(database)) > 1
