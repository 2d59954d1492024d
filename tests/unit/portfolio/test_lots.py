"""First in, first out, beside a model that holds each unit by itself."""

from collections import deque
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.portfolio import lots as rules
from nautilus.portfolio.lots import (
    Booked,
    Split,
    SplitWithoutPosition,
    Trade,
    book,
    book_all,
    cost,
    fee_share,
    position,
)
from tests.support.markets import few

D = Decimal


def trade(n: int, quantity, price="10", unit="1") -> Trade:
    return Trade(f"e{n:04}", n, D(quantity), None if price is None else D(price), D(unit))


def done(*events) -> Booked:
    return book_all(events)


def figures(booked: Booked) -> list[Any]:
    return [(one.opened_key, one.closed_key, one.quantity, one.gross) for one in booked.matches]


def opened(booked: Booked) -> list[Any]:
    return [(lot.key, lot.quantity, lot.opened, lot.cost) for lot in booked.lots]


def total(values) -> Decimal:
    """A sum of amounts that are all known."""
    return sum(values, D(0))


# ---- one after the other ---------------------------------------------------------------------------------------------


def test_a_sale_closes_the_oldest_purchase_first():
    booked = done(trade(1, 10, "100"), trade(2, 10, "110"), trade(3, -15, "120"))
    assert figures(booked) == [("e0001", "e0003", 10, 200), ("e0002", "e0003", 5, 50)]
    assert opened(booked) == [("e0002", 5, 5, 550)]


def test_a_short_sale_is_closed_by_a_purchase():
    booked = done(trade(1, -10, "100"), trade(2, 4, "90"))
    assert figures(booked) == [("e0001", "e0002", -4, 40)]
    assert position(booked.lots) == -6
    assert cost(booked.lots) == -600


def test_a_trade_that_turns_a_position_ends_one_and_opens_the_next():
    booked = done(trade(1, 10, "100"), trade(2, -25, "101"))
    assert figures(booked) == [("e0001", "e0002", 10, 10)]
    assert booked.matches[-1].flat
    assert opened(booked) == [("e0002", -15, -15, -1515)]


def test_a_multiplier_and_a_price_in_hundredths_count():
    booked = done(trade(1, 2, "5000.25", "50"), trade(2, -2, "5001", "50"))
    assert booked.matches[0].gross == 75
    assert done(trade(1, 100, "250", "0.01"), trade(2, -100, "260", "0.01")).matches[0].gross == 10


def test_a_negative_price_is_a_price():
    assert done(trade(1, 1, "-37.63", "1000"), trade(2, -1, "-40", "1000")).matches[0].gross == -2370


def test_what_has_no_price_has_no_profit():
    booked = done(trade(1, 10, None), trade(2, 5, "20"), trade(3, -12, "30"))
    assert figures(booked) == [("e0001", "e0003", 10, None), ("e0002", "e0003", 2, 20)]
    assert cost(booked.lots) == 60
    assert cost(done(trade(1, 10, None)).lots) is None


def test_a_closing_without_a_price_leaves_the_costs_of_the_rest():
    booked = done(trade(1, 10, "7"), trade(2, -4, None))
    assert booked.matches[0].gross is None
    assert cost(booked.lots) == 42


def test_the_last_match_before_flat_says_so():
    booked = done(trade(1, 1), trade(2, 1), trade(3, -1), trade(4, -1), trade(5, 1), trade(6, -1))
    assert [one.flat for one in booked.matches] == [False, True, True]


# ---- splits ----------------------------------------------------------------------------------------------------------


def test_a_split_changes_quantities_and_no_cost():
    booked = done(trade(1, 10, "100"), trade(2, 5, "130"), Split("s", 3, D(30)), trade(4, -45, "40"))
    assert figures(booked) == [("e0001", "e0004", 30, 200), ("e0002", "e0004", 15, -50)]
    assert [one.opened for one in booked.matches] == [10, 5]
    assert booked.lots == ()


def test_parts_of_a_lot_that_does_not_divide_evenly_add_up():
    # Three shares become seven; sold one by one, each match has a seventh of cost and of the three shares.
    events = [trade(1, 3, "100"), Split("s", 2, D(4)), *(trade(3 + n, -1, "50") for n in range(7))]
    booked = done(*events)
    assert total(one.cost for one in booked.matches) == 300
    assert total(one.opened for one in booked.matches) == 3
    assert total(one.gross for one in booked.matches) == 50


@pytest.mark.parametrize("change", [-10, -11])
def test_a_split_that_leaves_nothing_or_turns_a_position_is_refused(change):
    with pytest.raises(SplitWithoutPosition):
        done(trade(1, 10), Split("s", 2, D(change)))


def test_a_split_of_nothing_is_refused():
    with pytest.raises(SplitWithoutPosition):
        done(Split("s", 2, D(10)))


# ---- commissions -----------------------------------------------------------------------------------------------------


def test_a_commission_is_shared_out_by_quantity():
    assert fee_share(D("1.50"), D(-5), D(15)) == D("0.5")
    assert fee_share(None, D(5), D(15)) is None


# ---- beside a model --------------------------------------------------------------------------------------------------

quantities = st.integers(-7, 7).filter(bool)
prices = st.decimals("-5", "100", places=2)
histories = st.lists(st.tuples(quantities, prices), max_size=30)


def unit_by_unit(history):
    """Each unit by itself, in a queue: pairs (opened by, closed by, profit)."""
    queue: deque[Any] = deque()
    pairs = []
    for n, (quantity, price) in enumerate(history, start=1):
        sign = 1 if quantity > 0 else -1
        for _ in range(abs(quantity)):
            if queue and queue[0][1] != sign:
                opened, side, paid = queue.popleft()
                pairs.append((opened, n, side * (price - paid)))
            else:
                queue.append((n, sign, price))
    return pairs, queue


def held_against_the_model(history, booked: Booked) -> bool:
    pairs, queue = unit_by_unit(history)
    profits: dict[tuple[str, str], Decimal] = {}
    for opened, closed, profit in pairs:
        profits[f"e{opened:04}", f"e{closed:04}"] = profits.get((f"e{opened:04}", f"e{closed:04}"), D(0)) + profit
    held: dict[str, int] = {}
    for opened, side, _ in queue:
        held[f"e{opened:04}"] = held.get(f"e{opened:04}", 0) + side
    return (
        {(one.opened_key, one.closed_key): one.gross for one in booked.matches} == profits
        and {lot.key: lot.quantity for lot in booked.lots} == held
        and cost(booked.lots) == sum(side * paid for _, side, paid in queue)
    )


def events_of(history) -> list[Trade]:
    return [Trade(f"e{n:04}", n, D(quantity), price) for n, (quantity, price) in enumerate(history, start=1)]


@few
@given(histories)
def test_lots_are_those_of_the_model(history):
    assert held_against_the_model(history, book_all(events_of(history)))


@few
@given(histories)
def test_realized_and_unrealized_are_what_trades_left_in_cash_and_positions(history):
    booked, mark = book_all(events_of(history)), D("33.33")
    realized, value = total(one.gross for one in booked.matches), position(booked.lots) * mark
    held = cost(booked.lots)
    assert held is not None
    assert realized + value - held == value - total(quantity * price for quantity, price in history)


@few
@given(histories, st.integers(0, 30))
def test_going_on_from_open_lots_is_booking_all_of_it(history, cut):
    first, rest = events_of(history)[:cut], events_of(history)[cut:]
    lots, matches = book_all(first)
    for event in rest:
        step = book(lots, event)
        lots, matches = step.lots, (*matches, *step.matches)
    assert Booked(lots, matches) == book_all(events_of(history))


def last_in_first_out(lots, event):
    done = _BOOK(lots[::-1], event)
    return done._replace(lots=tuple(sorted(done.lots, key=lambda lot: lot.ts)))


def without_the_rest_of_a_turn(lots, event):
    done = _BOOK(lots, event)
    return done._replace(
        lots=done.lots if not done.matches else tuple(lot for lot in done.lots if lot.key != event.key)
    )


def profit_of_the_wrong_side(lots, event):
    done = _BOOK(lots, event)
    turned = tuple(one._replace(cost=one.proceeds, proceeds=one.cost) for one in done.matches)
    return done._replace(matches=turned)


_BOOK = rules.book
HISTORY = [(5, D("10.01")), (3, D("11.02")), (-6, D("12.03")), (-4, D("9.04")), (1, D("8.05"))]


@pytest.mark.parametrize("mutant", [last_in_first_out, without_the_rest_of_a_turn, profit_of_the_wrong_side])
def test_the_model_tells_a_wrong_rule(mutant, monkeypatch):
    monkeypatch.setattr(rules, "book", mutant)
    assert not held_against_the_model(HISTORY, book_all(events_of(HISTORY)))
