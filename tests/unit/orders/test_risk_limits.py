"""Limits of risk: defaults by kind of account, and rows of an administrator over them."""

from decimal import Decimal

import pytest

from nautilus.errors import InvalidInput
from nautilus.market.instrument import ASSET_CLASSES
from nautilus.orders import limits
from nautilus.orders.limits import LIMITS, LimitRow

D = Decimal


def test_paper_and_the_simulator_have_ten_times_the_room():
    live, paper, simulator = (limits.merged([], "X", kind) for kind in ("live", "paper", "simulator"))
    assert paper == simulator
    names = ("notional", "position", "gross_exposure")
    assert [live[name] for name in names] == [D(25_000), D(50_000), D(200_000)]
    assert [paper[name] for name in names] == [D(250_000), D(500_000), D(2_000_000)]
    assert {name for name in LIMITS if live[name] != paper[name]} == {
        *("notional", "position", "gross_exposure", "margin_check")
    }


def test_an_accounts_row_counts_before_one_of_all_accounts():
    rows = [LimitRow("DU1", "notional", D(7)), LimitRow("*", "notional", D(5)), LimitRow("*", "position", None)]
    assert limits.merged(rows, "DU1", "paper")["notional"] == 7
    assert limits.merged(reversed(rows), "DU1", "paper")["notional"] == 7
    other = limits.merged(rows, "DU2", "paper")
    assert [other["notional"], other["position"]] == [D(5), None]


def test_a_row_without_a_value_takes_the_limit_of_all_accounts_away():
    rows = [LimitRow("*", "notional", D(5)), LimitRow("DU1", "notional", None)]
    assert limits.merged(rows, "DU1", "paper")["notional"] is None


def test_rows_of_unknown_names_count_for_nothing():
    assert limits.merged([LimitRow("*", "nonsense", D(1))], "DU1", "paper").keys() == LIMITS.keys()


def test_the_list_of_what_may_be_traded_is_made_of_rows():
    rows = [LimitRow("*", "allow:STK", D(1)), LimitRow("DU1", "allow:265598", D(1)), LimitRow("DU2", "allow:FUT", D(1))]
    assert limits.allowed(rows, "DU1") == {"STK", "265598"}
    assert limits.allowed([*rows, LimitRow("DU1", "allow:STK", D(0))], "DU1") == {"265598"}
    assert limits.allowed([], "DU1") == frozenset()


@pytest.mark.parametrize(
    ("name", "value"),
    [("notional", "0"), ("notional", None), ("short", "1"), ("allow:FUT", "1"), ("allow:265598", "0")],
)
def test_a_limit_takes_what_makes_sense(name, value):
    given = None if value is None else D(value)
    assert limits.checked(name, given) == given


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("notionel", "5", "name"),
        ("allow:", "1", "name"),
        ("allow:IND", "1", "name"),
        ("allow:0", "1", "name"),
        ("allow:265598 ", "1", "name"),
        ("notional", "-1", "value"),
        ("notional", "NaN", "value"),
        ("notional", "Infinity", "value"),
        ("notional", "1e16", "value"),
        ("short", "2", "value"),
        ("allow:STK", "0.5", "value"),
    ],
)
def test_another_name_or_value_is_refused_with_the_field(name, value, field):
    with pytest.raises(InvalidInput) as refused:
        limits.checked(name, D(value))
    assert [error.field for error in refused.value.errors] == [field]


def test_every_class_that_has_orders_has_a_limit_of_its_quantity():
    assert set(limits.QUANTITY_LIMITS) == set(ASSET_CLASSES) - {"IND", "BOND"}
    assert set(limits.QUANTITY_LIMITS.values()) <= set(LIMITS)
