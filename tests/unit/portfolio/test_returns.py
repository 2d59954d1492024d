"""Returns beside a second library, and beside figures that a person can check."""

from datetime import date, timedelta
from decimal import Decimal

import empyrical
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.portfolio.returns import (
    DayReturn,
    Drawdown,
    EquityDay,
    annual_return,
    daily_returns,
    largest_drawdown,
    sharpe_ratio,
    total_return,
    volatility,
)
from tests.support.markets import few

D = Decimal
FIRST = date(2026, 3, 2)


def days(*equities, deposits=None) -> list[EquityDay]:
    more = deposits or {}
    return [EquityDay(FIRST + timedelta(n), D(one), D(more.get(n, 0))) for n, one in enumerate(equities)]


def series(*values) -> list[DayReturn]:
    return [DayReturn(FIRST + timedelta(n + 1), FIRST + timedelta(n), D(str(one))) for n, one in enumerate(values)]


# ---- each day --------------------------------------------------------------------------------------------------------


def test_a_deposit_is_no_profit():
    found = daily_returns(days("1000", "2100", "2205", deposits={1: "1000"}))
    assert [one.value for one in found] == [D("0.1"), D("0.05")]
    assert total_return(found) == D("0.155")


def test_a_day_that_is_missing_makes_one_return_over_both():
    found = daily_returns([EquityDay(FIRST, D(100)), EquityDay(FIRST + timedelta(3), D(103))])
    assert found == [DayReturn(FIRST + timedelta(3), FIRST, D("0.03"))]


def test_nothing_grows_from_nothing():
    assert daily_returns(days("0", "100", "110", deposits={1: "100"})) == [
        DayReturn(FIRST + timedelta(2), FIRST + timedelta(1), D("0.1"))
    ]


def test_without_days_nothing_is_known():
    assert total_return([]) is None
    assert largest_drawdown([]) is None


def test_below_twenty_days_there_is_no_deviation():
    short = series(*[0.01, -0.01] * 9, 0.02)
    assert len(short) == 19
    assert (volatility(short), sharpe_ratio(short), annual_return(short)) == (None, None, None)
    assert None not in (volatility(series(*[0.01, -0.01] * 10)), sharpe_ratio(series(*[0.01, -0.01] * 10)))


def test_equal_returns_have_no_sharpe_ratio():
    flat = series(*[0] * 30)
    assert volatility(flat) == 0
    assert sharpe_ratio(flat) is None


# ---- drawdown --------------------------------------------------------------------------------------------------------


def test_the_deepest_fall_and_its_days():
    found = largest_drawdown(daily_returns(days("100", "110", "99", "88", "110", "100")))
    assert found == Drawdown(D("0.2"), FIRST + timedelta(1), FIRST + timedelta(3), FIRST + timedelta(4))


def test_a_fall_from_the_first_day_that_lasts():
    assert largest_drawdown(daily_returns(days("100", "90", "95"))) == Drawdown(
        D("0.1"), FIRST, FIRST + timedelta(1), None
    )


def test_a_later_peak_does_not_end_an_older_fall_twice():
    found = largest_drawdown(daily_returns(days("100", "80", "100", "120", "110", "130")))
    assert found is not None
    assert found.until == FIRST + timedelta(2)


def test_what_only_rises_has_no_drawdown():
    assert largest_drawdown(daily_returns(days("1", "2", "3"))) is None


# ---- beside empyrical ------------------------------------------------------------------------------------------------

values = st.lists(st.integers(-2_000, 2_000).map(lambda n: D(n) / 10_000), min_size=20, max_size=60)


@few
@given(values)
def test_figures_are_those_of_empyrical(found):
    ours, theirs = series(*found), numpy.array([float(one) for one in found])
    fall = largest_drawdown(ours)
    pairs = [
        (total_return(ours), empyrical.cum_returns_final(theirs)),
        (annual_return(ours), empyrical.annual_return(theirs)),
        (volatility(ours), empyrical.annual_volatility(theirs)),
        (fall.share if fall else D(0), -empyrical.max_drawdown(theirs)),
    ]
    if volatility(ours):
        pairs.append((sharpe_ratio(ours), empyrical.sharpe_ratio(theirs)))
    assert all(mine is not None and float(mine) == pytest.approx(other, rel=1e-9, abs=1e-12) for mine, other in pairs)
