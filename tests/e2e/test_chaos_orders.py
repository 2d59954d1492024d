"""Orders under kills at random: each is at IB once, or it is unknown and says why. The simulator's own book is the judge.

`make test` plays a short run and three mutants, which the same checker finds wrong; `make chaos-orders` plays a long run.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from dev.process import Group
from nautilus.db.verify_orders import verify_orders
from nautilus.db.verify_portfolio import verify_portfolio
from tests.support.chaos_book import book_of
from tests.support.chaos_callers import Callers
from tests.support.chaos_checker import Checker, Evidence
from tests.support.chaos_plan import CRASH_POINTS, STRANGE, Fault, Kill, PlannedOrder, Round, plan
from tests.support.chaos_run import Run
from tests.support.chaos_table import table
from tests.support.chaos_world import ORDER_PROCESS, DurableServer, World, chaos_world

ORDERS = int(os.environ.get("CHAOS_ORDERS", "0"))
KILLS = int(os.environ.get("CHAOS_ORDERS_KILLS", "100"))
SEED = int(os.environ.get("CHAOS_ORDERS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
SHORT = (191, 24, 7)
"""Seed, orders and kills of the run in the suite."""


class Stage:
    """Where runs are played: a server, and a folder for each run."""

    def __init__(self, group: Group, folder: Path) -> None:
        folder.mkdir()
        self.group = group
        self.folder = folder
        self.server = DurableServer(group, folder)


@pytest.fixture(scope="module")
def stage(servers: SimpleNamespace) -> Iterator[Stage]:
    with Group() as group:
        yield Stage(group, servers.folder / "chaos-orders")


def played(stage: Stage, name: str, rounds: Sequence[Round], command: Sequence[str] = ORDER_PROCESS) -> list[str]:
    """The differences after these rounds; prints the table."""
    with (
        chaos_world(stage.group, stage.folder / name, stage.server, command) as world,
        closing(Callers(world)) as callers,
    ):
        run = Run(world, callers)
        run.play(rounds)
        moving = run.settle()
        checker = Checker(evidence_of(world, run, callers))
        found = [*moving, *checker.differences()]
        print(
            f"\n{table(checker, run.journal)}\n{len(callers.placed)} orders of callers,"
            f" {sum(one.attempts for one in callers.placed.values())} requests; {run.kills} kills;"
            f" denied by {denials(checker)};"
            f" {checker.again} orders sent once more after a refused order id; changes: {dict(callers.changes)};"
            f" an administrator resumed {callers.resumed} accounts ({callers.resume_refused} refused) and resolved"
            f" {callers.resolved} unknown orders and {callers.breaks_resolved} breaks; {run.lasted_s:.0f} s"
        )
        if found:
            print("DIFFERENCES:", *found[:10], sep="\n  ")
    return found


def denials(checker: Checker) -> dict[str, int]:
    """Check -> how many orders it denied."""
    found = Counter(
        row.checks[0]["code"] if row.checks else row.why.partition(":")[0]
        for row in checker.ours
        if row.state == "denied"
    )
    return dict(found.most_common())


def evidence_of(world: World, run: Run, callers: Callers) -> Evidence:
    with world.stack.db.transaction(snapshot=True) as cursor:
        findings = [f"{one.kind}: {one.text}" for one in (*verify_orders(cursor), *verify_portfolio(cursor))]
    return Evidence(
        rows=world.rows,
        book=book_of(world.sim, world.folder),
        journal=run.journal,
        answers=list(callers.placed.values()),
        listed=callers.listed(),
        findings=findings,
        database_clock=world.database_clock,
        uncertain_ns=world.uncertain_ns,
    )


@pytest.mark.timeout(3_600 + 60 * KILLS)
@pytest.mark.skipif(ORDERS == 0, reason="make chaos-orders")
def test_orders_are_at_ib_once_whatever_was_killed(stage: Stage) -> None:
    print(f"seed {SEED}, {ORDERS} orders, {KILLS} kills")
    assert played(stage, "long", list(plan(SEED, ORDERS, KILLS))) == [], f"seed {SEED}"


def test_a_seed_decides_everything_of_a_plan() -> None:
    rounds = list(plan(5, 300, 100))
    assert rounds == list(plan(5, 300, 100)) != list(plan(6, 300, 100))
    assert len(rounds) == 100
    assert 300 <= sum(len(each.orders) for each in rounds) <= 320, "an OCA group is two orders"
    kills = Counter(each.kill.what for each in rounds if each.kill)
    assert set(CRASH_POINTS) | {"process", "database", "api"} == set(kills)


@pytest.mark.skipif(ORDERS > 0, reason="a long run is played")
def test_a_short_run_with_every_kind_of_kill(stage: Stage) -> None:
    assert played(stage, "short", list(plan(*SHORT))) == []


# ---- mutants ---------------------------------------------------------------------------------------------------------


def _round(symbol: str, kind: str, *faults: Fault, kill: str) -> Round:
    order = PlannedOrder(f"small-{symbol}", 7, "plain", 0, symbol, kind, "BUY", 5, 0.95)
    return Round([order], (), faults, None, Kill(kill, 1.5), pauses_s=(0.0,))


SMALL = (
    _round("AAPL", "resting", kill="after-write"),
    _round("MSFT", "resting", Fault("order read and forgotten", ("eat_order",)), kill="api"),
    _round("SPY", "bracket", Fault("order refused by IB", ('reject_order 201 "Order rejected"',)), kill="process"),
)
"""An order over which the process dies at the write, one that the gateway forgets, and a bracket whose entry IB refuses."""


SMALL_AND_STRANGE = (
    _round("AAPL", "market", STRANGE[1], kill="api"),
    _round("MSFT", "resting", STRANGE[0], kill="api"),
)
"""An execution that IB takes back without a word, and an order of which it makes two."""


@pytest.mark.skipif(ORDERS > 0, reason="a long run is played")
@pytest.mark.parametrize(
    ("mutant", "laws"),
    [("none", set()), ("keep-one-perm-id", {"twin"}), ("take-ib-s-position", {"position", "bust"})],
)
def test_what_needs_a_person_is_found_and_ends(stage: Stage, mutant: str, laws: set[str]) -> None:
    """An administrator cancels the order, and says why the position is another one."""
    found = played(stage, f"strange-{mutant}", SMALL_AND_STRANGE, ("-m", "tests.support.order_mutants", mutant))
    assert {line.partition(":")[0] for line in found} >= laws, found
    assert bool(found) == bool(laws), found


@pytest.mark.skipif(ORDERS > 0, reason="a long run is played")
@pytest.mark.parametrize(
    ("mutant", "laws"),
    [
        ("none", set()),
        ("send-before-commit", {"sent-uncommitted"}),
        ("resend-what-is-not-found", {"sent-again"}),
        ("act-before-commit", {"acted-early"}),
    ],
)
def test_a_mutant_is_found_by_what_it_breaks(stage: Stage, mutant: str, laws: set[str]) -> None:
    """The same rounds with the order process as it is break nothing."""
    found = played(stage, mutant, SMALL, ("-m", "tests.support.order_mutants", mutant))
    assert {line.partition(":")[0] for line in found} >= laws, found
    assert bool(found) == bool(laws), found
