"""What open orders reserve, and which order reduces a position: with a model that fills them in any order."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.orders.exposure import (
    Exposure,
    PendingOrder,
    added,
    exposure_of,
    is_reducing,
    pending,
    reserved_quantity,
    reserved_value,
    unit_value,
)
from nautilus.orders.ticket import Side

D = Decimal
BUY, SELL = Side.BUY, Side.SELL


def order(side=BUY, reserved=10, **more) -> PendingOrder:
    return PendingOrder("a", side, "LMT", D(reserved), **more)


# ---- one order -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reserves", "quantity", "filled", "wanted", "expected"),
    [
        (True, 100, 0, None, 100),
        (True, 100, 40, None, 60),
        (True, 100, 40, 150, 110),
        (True, 100, 40, 50, 60),
        (True, 100, 130, None, 0),
        (False, 100, 40, 150, 0),
    ],
)
def test_an_order_reserves_the_larger_of_old_and_new_less_what_has_filled(reserves, quantity, filled, wanted, expected):
    found = reserved_quantity(
        reserves=reserves, quantity=D(quantity), filled=D(filled), wanted=None if wanted is None else D(wanted)
    )
    assert found == expected


def test_a_reducing_order_holds_no_value():
    assert reserved_value(D(10), D("187.5"), reducing=False) == 1875
    assert reserved_value(D(10), D("187.5"), reducing=True) == 0


def test_the_value_of_a_unit_is_in_the_base_currency():
    # Five index points of 50 dollars, quoted in cents, in an account in euros.
    assert unit_value(D("6000"), multiplier=D(50), magnifier=D(100), rate=D("0.9")) == 2700
    assert unit_value(D("-37.63"), multiplier=D(1000), magnifier=D(1), rate=D(1)) == 37630


# ---- groups ----------------------------------------------------------------------------------------------------------
def test_of_a_group_of_which_one_ends_the_others_the_largest_counts():
    exits = [order(SELL, 100, group="g"), order(SELL, 60, group="g"), order(SELL, 5)]
    assert pending(exits, SELL) == 105
    assert pending(exits, BUY) == 0
    assert pending([one._replace(together=True) for one in exits], SELL) == 165


def test_an_exit_whose_entry_has_not_filled_cannot_fill():
    assert pending([order(SELL, 100, asleep=True), order(SELL, 5)], SELL) == 5


def test_the_second_exit_of_a_position_adds_nothing_to_the_first():
    first = order(SELL, 100, group="g")
    assert added([first], SELL, D(100), group="g") == 0
    assert added([first], SELL, D(130), group="g") == 30
    assert added([first], SELL, D(100)) == 100
    assert added([first], BUY, D(100), group="g") == 100
    assert added([first._replace(together=True)], SELL, D(100), group="g") == 100


# ---- reducing --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("position", "reserved", "quantity", "expected"),
    [
        (100, 0, 100, True),
        (100, 0, 101, False),
        (100, 60, 40, True),
        (100, 60, 41, False),
        (0, 0, 1, False),
        (-100, 0, 1, False),
    ],
)
def test_a_sale_reduces_a_long_position_while_all_open_sales_leave_room(position, reserved, quantity, expected):
    held = Exposure(D(position), reserved_sell=D(reserved))
    assert is_reducing(held, SELL, D(quantity)) is expected
    mirrored = Exposure(D(-position), reserved_buy=D(reserved))
    assert is_reducing(mirrored, BUY, D(quantity)) is expected


def test_open_orders_of_the_other_side_do_not_make_room():
    held = Exposure(D(100), reserved_buy=D(1000))
    assert not is_reducing(held, SELL, D(101))
    assert held.furthest(SELL, D(101)) == -1
    assert held.furthest(BUY) == 1100


quantities = st.decimals(min_value="0.01", max_value="500", places=2)
sides = st.sampled_from([BUY, SELL])
groups = st.sampled_from(["", "", "g", "h"])
resting = st.builds(
    lambda side, reserved, group, asleep: PendingOrder("x", side, "LMT", reserved, group=group, asleep=asleep),
    sides,
    quantities,
    groups,
    st.booleans(),
)
books = st.lists(resting, max_size=6)
positions = st.decimals(min_value="-500", max_value="500", places=2)


@given(books)
def test_what_is_pending_is_never_negative_and_never_more_than_the_sum(orders):
    for side in Side:
        total = sum((one.reserved for one in orders if one.side is side), D(0))
        assert 0 <= pending(orders, side) <= total


@given(books, sides, quantities, groups)
def test_adding_an_order_raises_what_is_pending_by_what_it_adds(orders, side, quantity, group):
    new = PendingOrder("new", side, "LMT", quantity, group=group)
    assert pending([*orders, new], side) - pending(orders, side) == added(orders, side, quantity, group=group)


@given(positions, books, sides, quantities, st.randoms(use_true_random=False))
def test_a_reducing_order_never_takes_a_position_through_zero(position, orders, side, quantity, random):
    """However many orders of its side fill, in whatever order: the size of the position only shrinks."""
    held = exposure_of(position, orders)
    if not is_reducing(held, side, added(orders, side, quantity)):
        return
    mine = PendingOrder("new", side, "LMT", quantity)
    for one in shuffled_fills([*orders, mine], side, random):
        moved = position + side.sign * one
        assert abs(moved) <= abs(position)
        assert moved * position >= 0
        position = moved


def shuffled_fills(orders, side, random):
    """The quantities of a side's fills, of each group one order alone."""
    rows = [one for one in orders if one.side is side and not one.asleep]
    random.shuffle(rows)
    seen = set()
    for one in rows:
        if one.group not in seen:
            yield one.reserved
        seen |= {one.group} - {""}


def test_a_rule_that_forgets_open_orders_is_caught():
    """The property above, broken on purpose: two sales of 60 each reduce 100 by themselves, and not together."""
    careless = Exposure(D(100))
    assert is_reducing(careless, SELL, D(60))
    assert not is_reducing(exposure_of(D(100), [order(SELL, 60)]), SELL, D(60))


steps = st.lists(
    st.tuples(st.sampled_from(["fill", "modify", "confirm", "over"]), st.decimals("0.01", "100", places=2)), max_size=12
)


@given(st.decimals("0.01", "100", places=2), steps)
def test_the_sum_of_reservations_is_never_negative_and_returns_to_nothing(quantity, moves):
    """A book that adds the difference of each change, as the ledger does, against an order computed anew."""
    filled, wanted, reserves = D(0), None, True
    book = before = reserved_quantity(reserves=True, quantity=quantity, filled=filled)
    for move, amount in moves:
        if move == "fill":
            filled += amount
        elif move == "modify":
            wanted = amount
        elif move == "confirm":
            quantity, wanted = wanted or quantity, None
        else:
            reserves = False
        after = reserved_quantity(reserves=reserves, quantity=quantity, filled=filled, wanted=wanted)
        book, before = book + after - before, after
        assert book >= 0
        assert book == after
    assert reserved_quantity(reserves=False, quantity=quantity, filled=filled, wanted=wanted) == 0
