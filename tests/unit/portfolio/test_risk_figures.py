"""Losses and correlations beside a second library, and beside figures that a person can check."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import empyrical
import numpy
import pytest

from nautilus.portfolio.returns import DayReturn
from nautilus.portfolio.risk_figures import (
    beta,
    correlation,
    expected_shortfall,
    of_single_days,
    paired,
    returns_of_closes,
    value_at_risk,
    windows,
)

D = Decimal
FIVE, ONE = D("0.05"), D("0.01")
FRIDAY, MONDAY = date(2026, 3, 6), date(2026, 3, 9)


def dice(seed: int, count: int) -> list[Decimal]:
    values = numpy.random.default_rng(seed).normal(0.0005, 0.02, count)
    return [D(str(round(float(one), 6))) for one in values]


def days(values: Sequence[Decimal], first: date = FRIDAY) -> list[DayReturn]:
    return [DayReturn(first + timedelta(n + 1), first + timedelta(n), one) for n, one in enumerate(values)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [FIVE, ONE])
def test_losses_are_those_of_a_second_library(seed: int, share: Decimal) -> None:
    returns = dice(seed, 100 + 37 * seed)
    theirs = numpy.array([float(one) for one in returns])
    found, worst = value_at_risk(returns, share), expected_shortfall(returns, share)
    assert found is not None
    assert worst is not None
    assert float(found) == pytest.approx(-empyrical.value_at_risk(theirs, float(share)))
    assert float(worst) == pytest.approx(-empyrical.conditional_value_at_risk(theirs, float(share)))
    assert worst >= found


@pytest.mark.parametrize("seed", range(4))
def test_beta_and_correlation_are_those_of_a_second_library(seed: int) -> None:
    own, other = dice(seed, 60), dice(seed + 100, 60)
    own = [one + 2 * two for one, two in zip(own, other, strict=True)]
    pairs = list(zip(own, other, strict=True))
    mine, market = (numpy.array([float(pair[n]) for pair in pairs]) for n in (0, 1))
    found, alike = beta(pairs), correlation(pairs)
    assert found is not None
    assert alike is not None
    assert float(found) == pytest.approx(empyrical.beta(mine, market))
    assert float(alike) == pytest.approx(numpy.corrcoef(mine, market)[0, 1])


def test_the_example_of_the_page() -> None:
    returns = [D("-0.04"), D("-0.02"), *[D("0.01")] * 18]
    assert value_at_risk(returns, FIVE) == D("0.021")
    assert expected_shortfall(returns, FIVE) == D("0.04")


@pytest.mark.parametrize(
    ("count", "share", "known"), [(19, FIVE, False), (20, FIVE, True), (99, ONE, False), (100, ONE, True)]
)
def test_a_rare_loss_needs_as_many_returns_as_it_is_rare(count: int, share: Decimal, known: bool) -> None:
    for figure in (value_at_risk, expected_shortfall):
        assert (figure(dice(1, count), share) is not None) is known


def test_an_account_that_only_gains_has_no_loss() -> None:
    assert value_at_risk([D("0.01")] * 20, FIVE) == expected_shortfall([D("0.01")] * 20, FIVE) == 0


def test_what_never_moved_has_no_correlation() -> None:
    pairs = [(one, D(0)) for one in dice(1, 30)]
    assert (beta(pairs), correlation(pairs)) == (None, None)
    assert correlation([(D(0), one) for one in dice(1, 30)]) is None
    assert beta([(one, one) for one in dice(1, 19)]) is None


def test_a_return_over_a_gap_is_none_of_a_day() -> None:
    over_weekend = DayReturn(MONDAY, FRIDAY, D("0.01"))
    over_a_gap = DayReturn(MONDAY + timedelta(2), MONDAY, D("0.02"))
    assert of_single_days([over_weekend, over_a_gap]) == [over_weekend]


def test_windows_are_cut_from_the_newest_day_and_share_none() -> None:
    values = [D("0.5"), D("0.1"), D("0.1"), D("-0.5"), D(1)]
    assert windows(days(values), 2) == [D("0.21"), D(0)]
    assert windows(days(values), 1) == values
    assert windows(days(values), 6) == []
    with_gap = [*days(values[:3]), *days(values[3:], first=FRIDAY + timedelta(10))]
    assert windows(with_gap, 2) == [D("0.21"), D(0)]
    assert windows(with_gap[:4], 2) == [D("0.21")], "a day between a gap and the end belongs to no window"


def test_only_the_same_dates_are_compared() -> None:
    closes = {FRIDAY: D(100), FRIDAY + timedelta(1): D(110), FRIDAY + timedelta(3): D(99)}
    assert [one.value for one in returns_of_closes(closes)] == [D("0.1"), D("-0.1")]
    assert paired(days([D(1), D(2), D(3)]), returns_of_closes(closes)) == [(D(1), D("0.1"))]
