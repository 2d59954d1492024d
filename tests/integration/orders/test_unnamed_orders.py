"""Orders that IB does not name when it is asked: which of them are missed, and keep other orders of their contract back."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Answers
from ib_bridge.orders.unnamed import UnnamedOrders
from nautilus.db.connection import Database
from tests.support.order_ledger import ACCOUNT, STOCK, ledger, placed, sent

ASK_AGAIN_S = (5.0, 30.0)


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as made:
        yield made


@pytest.fixture
def unnamed() -> UnnamedOrders:
    parts: Any = SimpleNamespace(
        gateway=SimpleNamespace(accounts=(ACCOUNT,)), settings=SimpleNamespace(orders_ask_again_s=ASK_AGAIN_S)
    )
    return UnnamedOrders(cast(OrderParts, parts))


def test_an_order_that_ib_does_not_name_keeps_others_of_its_contract_back(
    database: Database, unnamed: UnnamedOrders
) -> None:
    sent(database, placed(database).orders[0].id)
    with database.transaction() as cursor:
        candidates = unnamed.candidates(cursor)
    assert unnamed.note(candidates, Answers(epoch=1)) == []
    assert unnamed.doubtful(ACCOUNT, STOCK.con_id)
    assert unnamed.pause_s() == ASK_AGAIN_S[0]


def test_an_order_that_ib_speaks_of_while_the_questions_are_answered_is_not_missed(
    database: Database, unnamed: UnnamedOrders
) -> None:
    order = sent(database, placed(database).orders[0].id)
    with database.transaction() as cursor:
        candidates = unnamed.candidates(cursor)
    unnamed.forget([order.id])  # a word about it was committed; the answers are those of a moment before
    assert unnamed.note(candidates, Answers(epoch=1)) == []
    assert not unnamed.doubtful(ACCOUNT, STOCK.con_id)
    assert unnamed.pause_s() is None
    with database.transaction() as cursor:
        candidates = unnamed.candidates(cursor)
    unnamed.note(candidates, Answers(epoch=1))
    assert unnamed.doubtful(ACCOUNT, STOCK.con_id), "the next round counts anew"
