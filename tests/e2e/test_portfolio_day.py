"""A trading day with every fault, then our book beside the simulator's, row by row, and whether it adds up to the cent.

`make test` plays a short day and finds mutants of its rows; `make portfolio-day` plays a long one.
"""

import os
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest

from dev.process import Group
from nautilus.db.portfolio import cash
from nautilus.db.portfolio.cash import Movement
from tests.support.chaos_callers import Callers
from tests.support.chaos_plan import BUST, Round, plan
from tests.support.chaos_run import Run
from tests.support.chaos_world import DurableServer, World, chaos_world
from tests.support.order_ledger import findings
from tests.support.portfolio_day import Day, day_of, table

ORDERS = int(os.environ.get("PORTFOLIO_DAY_ORDERS", "0"))
KILLS = int(os.environ.get("PORTFOLIO_DAY_KILLS", "30"))
NIGHTS = int(os.environ.get("PORTFOLIO_DAY_NIGHTS", "0"))
SEED = int(os.environ.get("PORTFOLIO_DAY_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
SHORT = (33, 16, 4, 1)
"""Seed, orders, kills and nights of the two days in the suite."""
WITHDRAWN = Decimal(-1_250)


def opened(world: World) -> None:
    """Wait until cash is counted, before anything is traded."""
    accounts = "SELECT count(*) AS n FROM cash_openings"
    world.stack.wait(
        lambda: world.rows(accounts)[0].n >= len(world.accounts), "balances are opened", tell=world.stack.log
    )


def ended(world: World) -> Day:
    """The day after IB has sent its last balances, and both books are equal or stay different."""
    world.sim.command("advance 400")
    try:
        world.stack.wait(lambda: not day_of(world.stack).found, "both books are equal")
    except AssertionError:
        print("the books stay different")
    return day_of(world.stack)


def withdraw(world: World) -> None:
    """Money goes without a trade, and a person says so: a line of its own, and no loss."""
    account = world.accounts[0]
    world.sim.command(f"deposit {WITHDRAWN}")
    with world.stack.db.transaction() as cursor:
        movement = Movement(account, "USD", WITHDRAWN, "withdrawal", world.now_ns(), "a test", "person", by="user:1")
        assert cash.put(cursor, movement)


@pytest.fixture(scope="module")
def server(servers: SimpleNamespace) -> Iterator[tuple[Group, DurableServer]]:
    folder = servers.folder / "portfolio-day"
    folder.mkdir()
    with Group() as group:
        yield group, DurableServer(group, folder)


def without_silent_busts(rounds: Iterable[Round]) -> Iterator[Round]:
    """An execution that IB takes back without a word leaves a break for a person: that is a case of its own."""
    for each in rounds:
        yield replace(each, faults=[fault for fault in each.faults if fault.name != BUST])


_BY_DAY = "SELECT count(*)::int AS n FROM executions WHERE latest GROUP BY ts / 86400000000000 ORDER BY min(ts)"


def played(world: World, seed: int, orders: int, kills: int, nights: int) -> Day:
    """nights: how many lie between the first round and the last."""
    began = time.monotonic()
    with closing(Callers(world)) as callers:
        opened(world)
        run, moving = Run(world, callers), []
        rounds = list(without_silent_busts(plan(seed, orders, kills)))
        for n in range(nights + 1):
            run.play(rounds[len(rounds) * n // (nights + 1) : len(rounds) * (n + 1) // (nights + 1)])
            if n < nights:
                moving += run.night()
        withdraw(world)
        moving += run.settle()
        day = ended(world)
        took_s = time.monotonic() - began
        fills = [row.n for row in world.rows(_BY_DAY)]
        print(
            f"\nseed {seed}, {orders} orders, {run.kills} kills, {nights} nights, {took_s:.0f} s; fills by day: {fills}"
        )
        print(table(day))
    assert moving == []
    assert len(fills) > nights, "something was traded on each day"
    assert findings(world.stack.db) == []
    return day


@pytest.mark.timeout(3_600 + 60 * KILLS)
@pytest.mark.skipif(ORDERS == 0, reason="make portfolio-day")
def test_a_long_day_ends_with_the_simulators_book(server: tuple[Group, DurableServer], tmp_path) -> None:
    group, database = server
    with chaos_world(group, tmp_path / "long", database) as world:
        assert played(world, SEED, ORDERS, KILLS, NIGHTS).found == [], f"seed {SEED}"


_ONE = "(SELECT exec_id FROM executions WHERE latest AND quantity > 0 ORDER BY exec_id LIMIT 1)"
MUTANTS = {
    "a lost commission": (
        f"UPDATE executions SET commission = NULL WHERE exec_id = {_ONE}",
        ("a commission of None", "1 commission not known yet"),
    ),
    "a fee left out": (
        f"UPDATE executions SET commission = 0 WHERE exec_id = {_ONE}",
        ("a commission of 0", "identity: broken"),
    ),
    "a doubled fill": (
        "INSERT INTO executions (account, exec_base, revision, exec_id, order_id, perm_id, client_id, broker_order_id, con_id,"
        " side, quantity, price, exchange, ts, latest, raw, commission, commission_currency) SELECT account, exec_base || 'x',"
        " revision, exec_id || 'x', order_id, perm_id, client_id, broker_order_id, con_id, side, quantity, price, exchange, ts,"
        f" latest, raw, commission, commission_currency FROM executions WHERE exec_id = {_ONE}",
        ("is on one side alone", "identity: broken"),
    ),
    "a movement of cash that nobody wrote down": (
        "DELETE FROM cash_movements",
        ("cash of", f"identity: broken by {WITHDRAWN}.00"),
    ),
}


@pytest.mark.skipif(ORDERS > 0, reason="a long day is played")
def test_short_days_end_with_the_simulators_book_and_mutants_do_not(
    server: tuple[Group, DurableServer], tmp_path
) -> None:
    group, database = server
    with chaos_world(group, tmp_path / "short", database) as world:
        assert played(world, *SHORT).found == []
        assert world.rows("SELECT 1 FROM executions WHERE commission > 0"), "something was traded"
        world.kill_process()
        tables = ("executions", "cash_movements")
        for name in tables:
            world.rows(f"CREATE TABLE kept_{name} AS SELECT * FROM {name}; SELECT 1")
        for mutant, (change, words) in MUTANTS.items():
            world.rows(f"{change}; SELECT 1")
            found = day_of(world.stack).found
            assert [word for word in words if not any(word in line for line in found)] == [], (mutant, found)
            world.rows("DELETE FROM executions; INSERT INTO executions SELECT * FROM kept_executions; SELECT 1")
            world.rows(
                "DELETE FROM cash_movements; INSERT INTO cash_movements OVERRIDING SYSTEM VALUE"
                " SELECT * FROM kept_cash_movements; SELECT 1"
            )
        assert day_of(world.stack).found == []
