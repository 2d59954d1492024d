"""What tightens the trading state by itself, and what does not."""

from decimal import Decimal

import pytest

from nautilus.orders.triggers import AccountFacts, Tightening, loss_percent, tightenings

LIMITS = {"daily_loss_reducing": Decimal(2), "daily_loss_halted": Decimal(4)}


def facts(
    pnl: str | None, worth: str | None = "98000", limits: dict[str, Decimal | None] | None = None, **more: int
) -> AccountFacts:
    values = [None if text is None else Decimal(text) for text in (pnl, worth)]
    return AccountFacts(values[0], values[1], LIMITS if limits is None else limits, **more)


@pytest.mark.parametrize(
    ("pnl", "worth", "state"),
    [
        ("-1999.99", "98000.01", None),
        ("-2000", "98000", "reducing"),
        ("-3999.99", "96000.01", "reducing"),
        ("-4000", "96000", "halted"),
        ("5000", "98000", None),
        ("0", "0", None),
        ("-1", "0", "halted"),
        ("-1", "-5", "halted"),
        (None, "98000", None),
        ("-4000", None, None),
    ],
)
def test_a_loss_tightens_until_the_trade_date_is_over(pnl: str | None, worth: str | None, state: str | None) -> None:
    found = tightenings(facts(pnl, worth))
    assert [(one.state, one.for_trade_date) for one in found] == ([] if state is None else [(state, True)])


def test_the_reason_names_figure_and_limit() -> None:
    (found,) = tightenings(facts("-2500", "97500"))
    assert found == Tightening(
        "reducing",
        "the loss of the day by IB's count is 2.50 % of the account; the limit daily_loss_reducing is 2 %",
        True,
    )


def test_a_limit_that_was_taken_away_tightens_nothing() -> None:
    assert tightenings(facts("-50000", limits={"daily_loss_reducing": None, "daily_loss_halted": None})) == []
    assert tightenings(facts("-50000", limits={})) == []
    assert [one.state for one in tightenings(facts("-50000", limits={"daily_loss_reducing": Decimal(2)}))] == [
        "reducing"
    ]
    assert tightenings(facts("0", limits={"daily_loss_reducing": Decimal(0)})) == []


def test_more_than_three_rejects_in_a_minute_and_a_break_reduce_until_a_person_ends_it() -> None:
    assert tightenings(facts(None, rejects=3)) == []
    rejects, broken = tightenings(facts(None, rejects=4, breaks=2))
    assert (rejects.state, rejects.for_trade_date) == ("reducing", False)
    assert rejects.reason == "IB rejected 4 orders within 60 s"
    assert broken == Tightening("reducing", "IB's position of 2 contracts is not ours", False)


def test_the_strictest_comes_first() -> None:
    assert [one.state for one in tightenings(facts("-9000", breaks=1))] == ["halted", "reducing"]


def test_a_loss_counts_against_what_there_was_in_the_morning() -> None:
    assert loss_percent(Decimal(-50), Decimal(50)) == 50
    assert loss_percent(Decimal(50), Decimal(50)) == 0
