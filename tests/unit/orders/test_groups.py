"""Brackets and OCA groups: the orders that they are made of, and what is wrong with one before anything is sent."""

from dataclasses import replace
from decimal import Decimal

import pytest

from nautilus.orders import groups
from nautilus.orders.ticket import Exit, Oca, OrderType, Prices, Side, Tif
from tests.unit.orders.cases import ticket

D = Decimal
PROFIT = Exit(OrderType.LMT, Prices(limit=D(110)))
LOSS = Exit(OrderType.STP, Prices(stop=D(90)))
BRACKET = ticket(take_profit=PROFIT, stop_loss=LOSS)


def test_an_order_alone_is_one_leg():
    (leg,) = groups.legs(ticket())
    assert (leg.role, leg.side, leg.quantity, leg.prices.limit) == ("", Side.BUY, D(10), D(100))
    assert not list(groups.check(ticket()))


def test_a_bracket_has_its_entry_in_front_and_exits_of_the_other_side():
    parent, profit, loss = groups.legs(BRACKET)
    assert [one.role for one in (parent, profit, loss)] == ["parent", "take_profit", "stop_loss"]
    assert [one.side for one in (parent, profit, loss)] == [Side.BUY, Side.SELL, Side.SELL]
    assert {one.quantity for one in (parent, profit, loss)} == {D(10)}
    assert (profit.prices.limit, loss.prices.stop) == (D(110), D(90))
    assert [one.is_exit for one in (parent, profit, loss)] == [False, True, True]
    assert not list(groups.check(BRACKET))


def test_one_exit_is_a_bracket_too():
    assert [one.role for one in groups.legs(ticket(stop_loss=LOSS))] == ["parent", "stop_loss"]


def test_a_member_of_a_group_says_so():
    assert [one.role for one in groups.legs(ticket(oca=Oca("g")))] == ["member"]


def test_a_group_has_one_id_in_an_account():
    assert groups.oca_group_id("DU1", "g") == groups.oca_group_id("DU1", "g")
    assert len({groups.oca_group_id(*names) for names in (("DU1", "g"), ("DU2", "g"), ("DU1", "h"))}) == 3


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (replace(BRACKET, take_profit=Exit(OrderType.LMT, Prices(limit=D(100)))), "take_profit.limit_price"),
        (replace(BRACKET, stop_loss=Exit(OrderType.STP, Prices(stop=D(100)))), "stop_loss.stop_price"),
        (replace(BRACKET, take_profit=Exit(OrderType.STP, Prices(stop=D(110)))), "take_profit.type"),
        (replace(BRACKET, stop_loss=Exit(OrderType.LMT, Prices(limit=D(90)))), "stop_loss.type"),
        (replace(BRACKET, stop_loss=LOSS._replace(tif=Tif.IOC)), "stop_loss.tif"),
        (replace(BRACKET, oca=Oca("g")), "oca"),
        (ticket(oca=Oca("")), "oca.group"),
        (ticket(oca=Oca("g" * 65)), "oca.group"),
        (ticket(oca=Oca("g", 4)), "oca.type"),
    ],
)
def test_what_is_wrong_with_a_group_names_its_field(wrong, field):
    found = list(groups.check(wrong))
    assert [one.field for one in found] == [field]
    assert all(one.allowed for one in found)


@pytest.mark.parametrize("order_type", [OrderType.MKT, OrderType.LMT])
def test_the_exits_of_a_sale_are_the_other_way_round(order_type):
    limit = D(100) if order_type is OrderType.LMT else None
    right = ticket(
        side=Side.SELL,
        type=order_type,
        limit=limit,
        take_profit=Exit(OrderType.LMT, Prices(limit=D(90))),
        stop_loss=Exit(OrderType.STP, Prices(stop=D(110))),
    )
    assert not list(groups.check(right))
    wrong = replace(right, side=Side.BUY)
    assert {one.field for one in groups.check(wrong)} >= {"stop_loss.stop_price"}


@pytest.mark.parametrize("order_type", [OrderType.STP, OrderType.MIT])
def test_the_exits_of_an_entry_that_waits_for_a_price_lie_around_it(order_type):
    right = ticket(type=order_type, limit=None, stop=D(100), take_profit=PROFIT, stop_loss=LOSS)
    assert not list(groups.check(right))
    for stop, field in ((D(90), "stop_loss.stop_price"), (D(110), "take_profit.limit_price")):
        (wrong,) = groups.check(replace(right, prices=Prices(stop=stop)))
        assert (wrong.field, f"the stop price of the entry, {stop}" in wrong.allowed) == (field, True)


def test_the_stop_of_a_trailing_entry_moves_so_exits_are_not_compared_with_it():
    prices = Prices(stop=D(90), trail_amount=D(1))
    assert not list(groups.check(replace(BRACKET, type=OrderType.TRAIL, prices=prices)))
