"""How much of a run's position may be closed, and how soon it is tried again."""

from decimal import Decimal
from itertools import product

from nautilus.orders.exposure import Exposure
from nautilus.strategies.closing import Tries, closing, pause_s


def test_no_combination_turns_a_position_round():
    amounts = [Decimal(n) for n in (-12, -10, -3, 0, 3, 10, 12)]
    resting = [Decimal(n) for n in (0, 3, 10, 15)]
    closed = 0
    for held, position, buys, sells in product([a for a in amounts if a], amounts, resting, resting):
        todo = closing(held, Exposure(position, buys, sells))
        reserved = buys if held < 0 else sells
        assert todo.side.sign * held < 0
        assert 0 <= todo.quantity <= abs(held)
        assert todo.quantity + todo.promised + todo.gone == abs(held)
        if todo.quantity:
            closed += 1
            left = position + todo.side.sign * (reserved + todo.quantity)
            assert left * position >= 0, (held, position, buys, sells)
    assert closed > 100


def test_pauses_grow_to_five_minutes():
    assert [pause_s(n) for n in (0, 1, 2, 5, 6, 100)] == [5, 10, 20, 160, 300, 300]


def test_a_position_that_changes_is_tried_again_soon():
    tries = Tries()
    assert tries.due(100)
    tries.tried({1: 10}, 100)
    assert not tries.due(104.9)
    assert tries.due(105)
    tries.tried({1: 10}, 105)
    assert not tries.due(114.9)
    tries.tried({1: 6}, 115)
    assert tries.due(120)
