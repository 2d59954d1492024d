"""What a run has earned, kept up as executions come, is what all of them amount to; a mutant that books on blindly is not."""

import random
from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

import pytest

from nautilus.db.strategies.ledger import RunExecution
from strategy_host import earnings
from strategy_host.earnings import Earnings, earned

UNITS = {1: Decimal(1), 2: Decimal(50)}


def course(seed: int) -> Iterable[tuple[list[RunExecution], list[UUID]]]:
    """The executions of a run after each word of IB, and the orders that it was about: executions, late ones too, commissions
    that follow, corrections of a price, and busts."""
    chance = random.Random(seed)
    all_of: dict[str, RunExecution] = {}
    for n in range(120):
        order = UUID(int=chance.randrange(30) + 1)
        mine = [one for one in all_of.values() if one.order_id == order]
        kind = chance.choice(["new", "new", "new", "late", "commission", "correction", "bust"])
        if kind in ("new", "late") or not mine:
            ts = 1_000 * n - (chance.randrange(20_000) if kind == "late" else 0)
            side, price = chance.choice(["BUY", "SELL"]), Decimal(chance.randrange(9_000, 11_000)) / 100
            quantity = Decimal(chance.randrange(1, 5))
            new = RunExecution(f"e{n}", order, 1 + order.int % 2, side, quantity, price, ts, None, None)
            all_of[new.exec_id] = new
        else:
            one = chance.choice(mine)
            if kind == "commission":
                all_of[one.exec_id] = one._replace(commission=Decimal("1.25"), commission_currency="USD")
            elif kind == "correction":
                all_of[one.exec_id] = one._replace(price=one.price + 1)
            else:
                del all_of[one.exec_id]
        yield sorted(all_of.values(), key=lambda one: (one.ts, one.exec_id)), [order]


def differences(seed: int) -> int:
    """How often what was kept up is not what all executions amount to."""
    kept, wrong = Earnings(UNITS), 0
    for executions, touched in course(seed):
        kept.take([one for one in executions if one.order_id in touched], of=touched)
        wrong += kept.amount != earned(executions, UNITS)
    return wrong


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_up_is_what_all_executions_amount_to(seed: int) -> None:
    assert differences(seed) == 0


def test_a_mutant_that_takes_every_trade_for_the_same_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earnings, "_is_same_trade", lambda *_: True)
    assert differences(1) > 0


def test_a_run_takes_up_what_it_earned_before() -> None:
    *_, (executions, _) = course(3)
    kept = Earnings(UNITS)
    kept.take(executions)
    assert kept.amount == earned(executions, UNITS) != 0
