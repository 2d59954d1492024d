"""Orders that IB does not name when it is asked: which of them are missed, and keep other orders of their contract back."""

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.questions import Answers, Questions
from ib_bridge.orders.reconciling import Reconciling
from ib_bridge.orders.unnamed import UnnamedOrders
from nautilus.db.connection import Database
from tests.support.order_ledger import ACCOUNT, NOW, STOCK, ledger, placed, row_of, sent

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


class _Asking:
    """A connection over which IB answers at once and names nothing."""

    def __init__(self, database: Database) -> None:
        self.rounds = 0
        self._database = database
        gateway = SimpleNamespace(accounts=(ACCOUNT,), epoch=1, next_order_id=1)
        settings = SimpleNamespace(orders_ask_again_s=(0.2, 0.2), orders_zone="UTC", orders_ack_timeout_s=5.0)
        clock = SimpleNamespace(now_ns=lambda: NOW)
        log = SimpleNamespace(error=lambda *_, **__: None, warning=lambda *_, **__: None)
        self.parts: Any = SimpleNamespace(
            gateway=gateway, settings=settings, clock=clock, log=log, transactions=self, floor=lambda: 1
        )

    async def run(self, work: Callable[..., Any], *values: Any) -> Any:
        with self._database.transaction() as cursor:
            return work(cursor, *values)

    async def ask_all(self) -> Answers:
        self.rounds += 1
        return Answers(epoch=1)


def test_who_wakes_it_often_does_not_put_the_next_questions_off(database: Database) -> None:
    order = sent(database, placed(database).orders[0].id)
    asking = _Asking(database)
    unnamed = UnnamedOrders(cast(OrderParts, asking.parts))
    questions = cast(Questions, asking)
    reconciling = Reconciling(asking.parts, questions, unnamed, is_possible=lambda: True, changed=lambda: None)

    async def play() -> None:
        async with asyncio.timeout(20):
            while row_of(database, order.id).state != "unknown":
                reconciling.wake()
                await reconciling.step()
                await asyncio.sleep(0.01)

    asyncio.run(play())
    assert asking.rounds == 3
