"""What the row of a run says while the run goes on."""

import asyncio
from collections.abc import Iterator

import pytest

from nautilus.db.strategies import runs
from nautilus.db.strategies.leases import LeaseLost
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import Unavailable
from strategy_host import stopping
from strategy_host.standing import Standing
from tests.support.held_run import Held, held_run
from tests.support.order_ledger import execution, ib_says, row_of


@pytest.fixture
def held(dsn: str) -> Iterator[Held]:
    with held_run(dsn) as made:
        yield made


def row(held: Held) -> RunRow:
    with held.database.transaction() as cursor:
        found = runs.read(cursor, held.run.id)
    assert found is not None
    return found


def test_counts_and_figures_are_written_when_something_has_come_and_not_again(held):
    standing = Standing(held.parts, held.run)
    asyncio.run(standing.step())
    before = row(held)
    assert (before.fills, (before.metrics or {})["total_trades"]) == (0, 0)
    asyncio.run(standing.step())
    assert row(held).version == before.version
    ib_says(held.database, execution(row_of(held.database, held.order_id), 1))
    asyncio.run(Standing(held.parts, held.run).step())
    assert row(held).fills == 1


def test_who_has_lost_the_run_writes_nothing(held):
    held.taken_by_another_host()
    before = row(held)
    with pytest.raises(LeaseLost):
        asyncio.run(Standing(held.parts, held.run).step())
    assert row(held).version == before.version


def test_figures_that_take_long_take_a_small_share_of_the_time_though_they_fail(held, monkeypatch):
    now, begun = [0.0], []

    def slow(*_):
        begun.append(now[0])
        now[0] += 15
        raise Unavailable("the database took too long to answer")

    monkeypatch.setattr(stopping, "outcome", slow)
    standing = Standing(held.parts, held.run, clock=lambda: now[0])
    with pytest.raises(Unavailable):
        asyncio.run(standing.step())
    now[0] += 290
    asyncio.run(standing.step())
    assert begun == [0.0]
    now[0] += 20
    with pytest.raises(Unavailable):
        asyncio.run(standing.step())
    assert len(begun) == 2
