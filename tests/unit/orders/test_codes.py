"""Every code of orders has its effect; what nobody knows alarms."""

import pytest

from nautilus.monitoring.incidents import CODES as INCIDENTS
from nautilus.orders import refusals
from nautilus.orders.codes import CODES, TEXTS, UNMAPPED, UNMAPPED_NOTICE, About, Act, refuses, rule
from nautilus.orders.outcome import FollowUp, Notice, OrderFacts, Outcome
from nautilus.orders.states import OrderState, Pending, RequestState
from nautilus.orders.words import BrokerError
from tests.unit.orders.makers import applied, cancel, error, incidents, modify, order, story, taken, written

S, R = OrderState, RequestState
REJECTED = (
    *(109, 163, 164, 382, 383),
    *(110, 160, 355, 388, 434, 10250),
    *(111, 113, 334, 337, 361, 362, 363, 387, 391, 403),
    *(154, 200, 201, 203, 321, 460, 10015, *range(10243, 10253)),
)
NOTICES = (399, 404, 2109, 2111, 10233, 10349, 10311, 2137)
REQUESTS = (105, 106, 107, 134, 329, 10241, 10242)
NOT_FOUND = (135, 10147, 136, 161, 10148, 10149)
ALL = {*REJECTED, *NOTICES, *REQUESTS, *NOT_FOUND, 100, 103, 104, 133, 202, 512, 515, 2102, 10006, 10328}


def test_the_table_has_every_code_of_orders_and_no_other() -> None:
    assert set(CODES) == ALL


def changed(facts: OrderFacts, outcome: Outcome) -> bool:
    return bool(outcome.changes or outcome.requests or outcome.follow_ups or outcome.incidents)


@pytest.mark.parametrize("code", sorted(ALL | {999, 2199}))
def test_every_code_has_an_effect_on_an_order_that_was_sent(code: int) -> None:
    for facts in (order(), taken(), taken(requests=(modify(),)), taken(requests=(cancel(),))):
        assert changed(facts, applied(facts, error(code, "text"))), (code, facts)


def test_a_code_without_an_effect_would_be_found() -> None:
    assert not changed(order(S.REJECTED), applied(order(S.REJECTED), error(105)))


@pytest.mark.parametrize("each", [*CODES.values(), *(found for _, found in TEXTS.values()), UNMAPPED, UNMAPPED_NOTICE])
def test_every_rule_is_whole(each) -> None:
    assert each.reason.replace("_", "").isalpha()
    assert len(each.text) > 15
    assert not each.incident or each.incident in INCIDENTS


@pytest.mark.parametrize("code", REJECTED)
@pytest.mark.parametrize("state", [S.SENDING, S.SENT, S.UNKNOWN])
def test_a_refusing_code_ends_an_order_that_ib_never_took(code: int, state: OrderState) -> None:
    outcome = applied(order(state), error(code, "no"))
    assert outcome.changes["state"] is S.REJECTED
    assert str(outcome.changes["why"]).startswith(f"{CODES[code].reason}: IB {code}: no")
    assert outcome.changes["notices"] == [{"code": code, "text": outcome.changes["why"]}]


@pytest.mark.parametrize("code", REJECTED)
def test_a_refusing_code_refuses_the_modify_of_an_order_that_ib_has(code: int) -> None:
    for state in (S.HELD, S.WORKING):
        facts = taken(state, requests=(modify(),), pending=Pending.MODIFY)
        outcome = applied(facts, error(code, "no"))
        assert outcome.state is None
        assert outcome.changes == {"pending": Pending.NONE}
        assert [(one.state, one.code) for one in outcome.requests] == [(R.REFUSED, code)]
        assert outcome.follow_ups == (FollowUp.REREAD,)


@pytest.mark.parametrize("code", REJECTED)
def test_a_refusing_code_out_of_nowhere_ends_nothing(code: int) -> None:
    for facts in (taken(S.HELD), taken(S.WORKING), taken(S.SENT), taken(requests=(cancel(),))):
        outcome = applied(facts, error(code, "no"))
        assert outcome.state is None
        assert FollowUp.THREE_QUESTIONS in outcome.follow_ups
        assert outcome.requests == ()


def test_a_mutant_that_rejects_whatever_ib_has_is_found(monkeypatch) -> None:
    monkeypatch.setattr(refusals, "taken", lambda facts: False)
    assert applied(taken(S.SENT), error(201, "no")).state is S.REJECTED
    assert applied(taken(requests=(modify(),)), error(201, "no")).requests == ()


@pytest.mark.parametrize("code", NOTICES)
@pytest.mark.parametrize("state", [S.SENDING, S.SENT, S.HELD, S.WORKING])
def test_a_notice_leaves_an_order_alive_and_has_it_read_again(code: int, state: OrderState) -> None:
    facts = taken(state, requests=(modify(), cancel()), pending=Pending.CANCEL)
    outcome = applied(facts, error(code, "held until the open"))
    assert set(outcome.changes) == {"notices"}
    assert outcome.follow_ups == (FollowUp.REREAD,)
    assert outcome.requests == ()


def test_a_notice_is_kept_once() -> None:
    facts, _ = story(taken(S.HELD), [error(399, "a"), error(399, "a"), error(10349, "b")])
    assert [(notice.code, notice.text) for notice in facts.notices] == [
        (399, "notice: IB 399: a"),
        (10349, "preset_applied: IB 10349: b"),
    ]


@pytest.mark.parametrize("code", [2137, 10311])
def test_an_order_that_may_wait_for_a_click_names_the_box(code: int) -> None:
    outcome = applied(order(S.SENDING), error(code, "direct routing"))
    assert incidents(outcome) == {"order-waits-for-click"}
    assert "Bypass Order Precautions" in outcome.incidents[0].detail


@pytest.mark.parametrize("code", [109, 163, 164, 382, 383])
def test_a_precaution_of_the_gateway_names_the_setting(code: int) -> None:
    outcome = applied(order(), error(code, "too far"))
    assert str(outcome.changes["why"]).startswith("broker_precaution")
    assert "Presets" in outcome.incidents[0].detail


@pytest.mark.parametrize("code", [110, 160, 355, 388, 434, 10250])
def test_a_step_that_our_check_passed_is_a_defect_of_the_check(code: int) -> None:
    assert incidents(applied(order(), error(code))) == {"order-check-missed"}


@pytest.mark.parametrize("code", REQUESTS)
def test_a_code_of_requests_refuses_the_modify_alone(code: int) -> None:
    outcome = applied(taken(requests=(modify(), cancel()), pending=Pending.CANCEL), error(code, "no"))
    assert (outcome.changes, outcome.follow_ups) == ({}, (FollowUp.REREAD,))
    assert [(one.id, one.state) for one in outcome.requests] == [(modify().id, R.REFUSED)]


@pytest.mark.parametrize("code", NOT_FOUND)
def test_a_cancel_that_finds_no_order_proves_nothing(code: int) -> None:
    """10147 for an order that lives: it stays as it is, and three questions are asked."""
    facts = taken(S.WORKING, requests=(cancel(),), pending=Pending.CANCEL)
    outcome = applied(facts, error(code, "OrderId 4 that needs to be cancelled is not found."))
    assert outcome.changes == {"pending": Pending.NONE}
    assert [(one.id, one.state, one.code) for one in outcome.requests] == [(cancel().id, R.REFUSED, code)]
    assert outcome.follow_ups == (FollowUp.THREE_QUESTIONS,)


@pytest.mark.parametrize(
    "word", [error(104, "Cannot modify a filled order."), error(10148, "cannot be cancelled, state: Filled.")]
)
def test_a_cancel_of_a_filled_order_asks_for_executions(word: BrokerError) -> None:
    facts = taken(S.WORKING, requests=(cancel(),), pending=Pending.CANCEL)
    outcome = applied(facts, word)
    assert outcome.changes == {"pending": Pending.NONE}
    assert outcome.follow_ups == (FollowUp.ASK_EXECUTIONS,)
    assert outcome.requests[0].state is R.REFUSED


def test_a_request_that_came_too_early_is_sent_once_more() -> None:
    facts = taken(requests=(modify(),), pending=Pending.MODIFY)
    first = applied(facts, error(2102, "still being processed"))
    assert (first.requests[0].state, first.requests[0].code) == (R.WANTED, 2102)
    facts = written(facts, first)
    assert facts.pending is Pending.NONE
    again = applied(
        taken(requests=(facts.requests[0].__class__(modify().id, modify().kind, R.SENT, code=2102),)), error(2102)
    )
    assert again.requests[0].state is R.REFUSED


@pytest.mark.parametrize("code", [133, 512, 999])
def test_after_an_uncertain_code_an_order_is_unknown(code: int) -> None:
    for facts in (order(), taken(S.WORKING)):
        outcome = applied(facts, error(code, "who knows"))
        assert outcome.changes["state"] is S.UNKNOWN
        assert FollowUp.THREE_QUESTIONS in outcome.follow_ups
        assert "order-unknown" in incidents(outcome)
    request = applied(taken(requests=(modify(),)), error(code, "who knows"))
    assert (request.state, request.requests[0].state) == (None, R.UNKNOWN)


@pytest.mark.parametrize("code", [515, 10328])
def test_an_uncertain_request_stays_open(code: int) -> None:
    facts = taken(requests=(cancel(),), pending=Pending.CANCEL)
    outcome = applied(facts, error(code, "lost"))
    assert outcome.changes == {}
    assert outcome.requests[0].state is R.UNKNOWN
    assert written(facts, outcome).requests[0].state is R.UNKNOWN


def test_a_code_that_nobody_knows_reduces_trading() -> None:
    outcome = applied(taken(), error(999, "new"))
    assert incidents(outcome) == {"order-code-unknown", "order-unknown"}
    assert FollowUp.REDUCE in outcome.follow_ups
    notice = applied(taken(), error(2199, "new"))
    assert notice.state is None
    assert incidents(notice) == {"order-code-unknown"}


def test_the_next_word_ends_what_an_unknown_code_began() -> None:
    from tests.unit.orders.makers import open_order

    facts, _ = story(taken(), [error(999), open_order("Submitted")])
    assert facts.state is S.WORKING


def test_an_unknown_contract_proves_nothing_while_the_contract_database_is_away() -> None:
    assert applied(order(), error(200), contracts_known=False).state is S.UNKNOWN
    assert applied(order(), error(200)).state is S.REJECTED


def test_an_order_id_that_was_used_before_leaves_an_unknown_order() -> None:
    outcome = applied(order(), error(103, "Duplicate order id"))
    assert outcome.changes["state"] is S.UNKNOWN
    assert FollowUp.RAISE_ORDER_ID in outcome.follow_ups


def test_an_order_id_that_was_never_used_before_is_changed_once() -> None:
    first = applied(order(), error(103, "Duplicate order id"), id_used_before=False)
    assert first.changes["state"] is S.ACCEPTED
    assert first.changes["order_id"] is None
    again = order(notices=written(order(), first).notices)
    assert applied(again, error(103, "Duplicate order id"), id_used_before=False).state is S.UNKNOWN


def test_an_order_that_ib_shows_is_never_sent_again() -> None:
    for code in (103, 10006):
        for facts in (order(S.SENT), taken(S.SENDING), taken(S.WORKING), order(S.UNKNOWN)):
            assert applied(facts, error(code), id_used_before=False).state is not S.ACCEPTED


def test_a_leg_without_its_parent_is_sent_once_more_and_then_ends_its_group() -> None:
    first = applied(order(), error(10006, "Missing parent order."))
    assert first.changes["state"] is S.ACCEPTED
    again = applied(order(notices=(Notice(10006, "parent_missing: IB 10006: Missing parent order."),)), error(10006))
    assert again.changes["state"] is S.REJECTED
    assert FollowUp.CANCEL_GROUP in again.follow_ups


def test_a_read_only_gateway_halts() -> None:
    outcome = applied(
        order(), error(321, "Error validating request: the API interface is currently in Read-Only mode.")
    )
    assert outcome.changes["state"] is S.REJECTED
    assert incidents(outcome) == {"orders-not-allowed"}
    assert FollowUp.HALT in outcome.follow_ups
    assert applied(order(), error(321, "Invalid account code")).follow_ups == ()


def test_a_cancel_that_a_read_only_gateway_refuses_waits_until_it_takes_it() -> None:
    read_only = error(321, "Error validating request.-'bX' : cause - The API interface is currently in Read-Only mode.")
    outcome = applied(taken(requests=(cancel(),), pending=Pending.CANCEL), read_only)
    assert [(one.state, one.code) for one in outcome.requests] == [(R.WANTED, 321)]
    assert outcome.changes == {"pending": Pending.NONE}
    assert {FollowUp.HALT, FollowUp.REREAD} <= set(outcome.follow_ups)


def test_202_cancels() -> None:
    outcome = applied(taken(requests=(cancel(),), pending=Pending.CANCEL), error(202, "Order Canceled - reason:"))
    assert outcome.changes["state"] is S.CANCELLED
    assert outcome.changes["pending"] is Pending.NONE
    assert outcome.requests[0].state is R.CONFIRMED


def test_a_rate_that_is_too_high_is_about_no_order() -> None:
    outcome = applied(taken(), error(100, "Max rate of messages"))
    assert outcome.changes == {}
    assert incidents(outcome) == {"order-message-rate"}
    assert rule(100).act is Act.SLOW_DOWN
    assert rule(100).about is About.CONNECTION


@pytest.mark.parametrize("code", [104, 105, 135, 10147, 2102])
def test_a_new_order_that_ib_takes_for_a_modify_is_unknown(code: int) -> None:
    assert applied(order(), error(code)).state is S.UNKNOWN


@pytest.mark.parametrize("code", [104, 105, 135, 10147, 2102])
def test_a_late_answer_changes_nothing(code: int) -> None:
    assert applied(taken(), error(code)).changes == {}
    assert applied(order(S.FILLED), error(code)).follow_ups == ()


def test_refusing_codes_are_known_without_their_text() -> None:
    assert {code for code in CODES if refuses(code)} == set(REJECTED)
