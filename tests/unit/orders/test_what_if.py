"""When an answer to a what-if order counts, and what it is asked for."""

from dataclasses import replace
from decimal import Decimal

import pytest

from nautilus.orders import checks
from nautilus.orders.check_case import Case
from nautilus.orders.facts import Facts, Margin
from nautilus.orders.groups import legs
from nautilus.orders.ticket import Oca, Side, Ticket, Tif
from nautilus.orders.what_if import MOST_AGE_S, WhatIfAnswer, fingerprint, margin_of, terms_of, with_answer
from tests.unit.orders.cases import FUTURE, facts, market_order, ticket

D = Decimal
ENOUGH = {"initMarginAfter": "10", "equityWithLoanAfter": "10.00"}
ANSWER = WhatIfAnswer(state="answered", text="", margins=ENOUGH, age_s=0.5, position=D(0), overtaken=False)
ONE = ticket(instrument=FUTURE, quantity=D(1))
STRICT = {"margin_check": D(1), "notional": None, "position": None, "gross_exposure": None}


def refused(answer: WhatIfAnswer | None, known: Facts | None = None) -> list[tuple[str, bool]]:
    """What check 20 says: code, and whether it may pass later."""
    known = with_answer(known or facts(limits=STRICT), answer)
    return [(one.code, one.temporary) for one in checks.run(ONE, known, "process") if one.check == 20]


def test_a_new_answer_for_the_same_position_counts() -> None:
    assert with_answer(facts(limits=STRICT), ANSWER).margin == Margin(D(10), D(10))
    assert refused(ANSWER) == []


@pytest.mark.parametrize(
    "answer",
    [
        None,
        replace(ANSWER, state="wanted", age_s=None),
        replace(ANSWER, state="sent", age_s=None),
        replace(ANSWER, state="failed", text="silent"),
        replace(ANSWER, age_s=MOST_AGE_S + 0.1),
        replace(ANSWER, age_s=None),
        replace(ANSWER, overtaken=True),
        replace(ANSWER, position=D(1)),
        replace(ANSWER, position=None),
        replace(ANSWER, margins={"initMarginAfter": "10"}),
        replace(ANSWER, margins={**ENOUGH, "initMarginAfter": "many"}),
        replace(ANSWER, margins={**ENOUGH, "initMarginAfter": "NaN"}),
        replace(ANSWER, state="refused", age_s=MOST_AGE_S + 1, text="old"),
    ],
)
def test_whatever_else_there_is_lets_no_order_pass_and_it_waits(answer: WhatIfAnswer | None) -> None:
    assert refused(answer) == [("margin", True)]


def test_a_refusal_and_too_little_equity_end_it() -> None:
    assert refused(replace(ANSWER, state="refused", text="IB 201: no")) == [("margin", False)]
    assert refused(replace(ANSWER, margins={**ENOUGH, "initMarginAfter": "10.01"})) == [("margin", False)]


def test_a_position_that_nobody_knows_makes_a_sale_a_short_one_until_it_is_known() -> None:
    sale = ticket(side=Side.SELL)
    known = facts(position=None, limits={**STRICT, "short": D(1)})
    assert 20 in {one.check for one in checks.run(sale, known, "process")}


def test_real_money_needs_it_by_default() -> None:
    live = facts(kind="live", mode="live", live_accounts=frozenset({"DU1"}))
    codes = {one.code for one in checks.run(ONE, live, "process")}
    assert "margin" in codes
    sale = ticket(side=Side.SELL)
    short = facts(kind="live", mode="live", live_accounts=frozenset({"DU1"}), limits={"short": D(1)})
    assert "margin" in {one.code for one in checks.run(sale, short, "process")}


# ---- what is asked ---------------------------------------------------------------------------------------------------


def case(given: Ticket = ONE, known: Facts | None = None) -> Case:
    return Case(given, legs(given)[0], known or facts())


def test_the_terms_are_those_of_the_order_with_what_can_still_fill() -> None:
    found = terms_of(case(ticket(quantity=D("10.00"), outside_rth=True), facts(filled=D(4), changes="x")))
    assert found == {
        "side": "BUY",
        "type": "LMT",
        "tif": "DAY",
        "quantity": "6",
        "limit_price": "100",
        "good_till": None,
        "outside_rth": True,
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"quantity": D(2)},
        {"side": Side.SELL},
        {"limit": D("100.01")},
        {"tif": Tif.GTC},
        {"account": "DU2"},
        {"outside_rth": True},
        {"instrument": FUTURE._replace(con_id=FUTURE.con_id + 1)},
    ],
)
def test_another_order_has_another_fingerprint(changed: dict[str, object]) -> None:
    base = {"instrument": FUTURE, "quantity": D(1)}
    assert fingerprint(case(ticket(**base))) != fingerprint(case(ticket(**{**base, **changed})))


def test_the_same_order_written_otherwise_has_the_same_fingerprint() -> None:
    assert fingerprint(case(ticket(quantity=D("10")))) == fingerprint(
        case(ticket(quantity=D("10.0"), limit=D("100.00")))
    )
    assert fingerprint(case(ticket(valid_for_s=5))) == fingerprint(case(ticket(oca=Oca("g"))))


def test_a_margin_needs_both_numbers() -> None:
    assert margin_of(ENOUGH) == Margin(D(10), D(10))
    assert margin_of({}) is None


# ---- the state of each check -----------------------------------------------------------------------------------------


def test_each_check_has_one_state() -> None:
    known = facts(limits=STRICT, ready=False, daily_pnl=None, session="closed")
    order = market_order(instrument=FUTURE, quantity=D(1))
    found = {one.number: one.state for one in checks.states(order, known)}
    assert list(found) == list(range(1, 24))
    assert (found[20], found[15], found[11], found[23]) == ("not_known", "not_known", "refused", "waits")
    assert found[1] == "passed"
    closing = {one.number: one.state for one in checks.states(ticket(side=Side.SELL), facts(position=D(10)))}
    assert (closing[8], closing[12]) == ("not_for_this_order", "not_for_this_order")
