"""What a word of IB changes of an order."""

from decimal import Decimal

import pytest

from nautilus.orders import apply as rules
from nautilus.orders.apply import NOT_ABOUT_AN_ORDER, apply
from nautilus.orders.outcome import FollowUp, Known, Notice, OrderFacts, Terms
from nautilus.orders.states import OVER, OrderState, Pending, RequestState
from nautilus.orders.words import Commission, CurrentTime, ManagedAccounts, NextOrderId, PositionsEnd, Word
from tests.unit.orders.makers import (
    CANCEL,
    MODIFY,
    NOON,
    PERM,
    Book,
    applied,
    cancel,
    completed,
    either_order,
    error,
    execution,
    incidents,
    modify,
    open_order,
    order,
    status,
    story,
    taken,
    written,
)

S, R, D = OrderState, RequestState, Decimal
SENT_STATES = [S.SENDING, S.SENT, S.HELD, S.WORKING, S.INACTIVE, S.UNKNOWN]


# ---- statuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("ApiPending", S.SENT),
        ("PendingSubmit", S.SENT),
        ("PendingCancel", S.SENT),
        ("PreSubmitted", S.HELD),
        ("Submitted", S.WORKING),
        ("Inactive", S.INACTIVE),
        ("Cancelled", S.CANCELLED),
        ("ApiCancelled", S.CANCELLED),
    ],
)
@pytest.mark.parametrize("state_before", [S.SENDING, S.UNKNOWN])
def test_a_status_tells_the_state_of_what_was_sent(name: str, state: OrderState, state_before: OrderState) -> None:
    for word in (open_order(name), status(name)):
        outcome = applied(order(state_before), word)
        assert outcome.changes["state"] is state
        assert outcome.changes["broker_status"] == name
        assert outcome.changes["perm_ids"] == (PERM,)


def test_filled_by_a_status_alone_is_not_filled() -> None:
    for state in SENT_STATES:
        outcome = applied(order(state), status("Filled", 100))
        assert outcome.state is None
        assert outcome.changes["filled_by_status"] == 100
        assert outcome.follow_ups == (FollowUp.ASK_EXECUTIONS,)


def test_a_status_that_nobody_knows_keeps_the_order_alive_and_alarms() -> None:
    outcome = applied(taken(), status("Thinking"))
    assert (outcome.state, incidents(outcome)) == (None, {"order-word-unexpected"})
    assert applied(order(), status("Thinking")).state is S.SENT


def test_inactive_alone_is_alive() -> None:
    facts, outcomes = story(taken(S.HELD), [open_order("Inactive"), status("Inactive")])
    assert facts.state is S.INACTIVE
    assert facts.state not in OVER
    assert incidents(outcomes) == set()
    facts, _ = story(facts, [status("Submitted")])
    assert facts.state is S.WORKING


def test_inactive_and_a_refusing_code_end_an_order_in_either_order() -> None:
    for words in either_order(error(201, "no"), status("Inactive")):
        for facts in (order(), order(S.SENT), taken(S.HELD), taken(S.WORKING)):
            assert story(facts, words)[0].state is S.REJECTED


def test_inactive_with_locate_is_no_refusal() -> None:
    facts, _ = story(order(), [error(404, "Shares are not available"), status("Inactive", why_held="locate")])
    assert (facts.state, facts.why_held) == (S.INACTIVE, "locate")
    assert facts.notices[0].code == 404


@pytest.mark.parametrize(("name", "held"), [("PreSubmitted", "child"), ("Inactive", "locate")])
def test_an_answer_that_repeats_why_an_order_is_held_changes_nothing(name: str, held: str) -> None:
    """IB says with orderStatus alone why; the openOrder beside it says nothing about it."""
    answer: list[Word] = [open_order(name), status(name, why_held=held)]
    facts, _ = story(taken(S.HELD), answer, {0: "open", 1: "open"})
    assert facts.why_held == held
    for word in answer:
        assert not applied(facts, word, answer="open").changes, word
    assert applied(facts, open_order("Submitted"), answer="open").changes["why_held"] == ""


def test_an_order_that_waits_for_shares_is_not_refused_by_a_word_that_does_not_say_so() -> None:
    waiting = taken(S.INACTIVE, broker_status="Inactive", why_held="locate", notices=(Notice(201, "a modify"),))
    assert applied(waiting, open_order("Inactive")).state is None


def test_a_refused_modify_makes_no_later_inactive_a_refusal() -> None:
    facts, _ = story(taken(requests=(modify(),), pending=Pending.MODIFY), [error(201, "no"), status("Inactive")])
    assert facts.state is S.INACTIVE


def test_an_order_goes_back_to_held_at_the_close() -> None:
    assert applied(taken(S.WORKING), status("PreSubmitted", why_held="child")).changes["state"] is S.HELD


def test_a_late_status_of_an_order_that_is_over_changes_nothing_of_its_state() -> None:
    for state in OVER - {S.REJECTED, S.DENIED}:
        for word in (status("Submitted"), open_order("PreSubmitted"), status("PendingCancel"), status("Inactive")):
            assert applied(taken(state), word).state is None


@pytest.mark.parametrize("state", [S.ACCEPTED, S.RESERVED, S.REJECTED, S.DENIED])
def test_what_ib_shows_and_we_called_unsent_or_refused_is_a_ghost(state: OrderState) -> None:
    for word, shown in (
        (open_order("Submitted"), S.WORKING),
        (status("PreSubmitted"), S.HELD),
        (execution(40), S.WORKING),
    ):
        outcome = applied(order(state), word)
        assert outcome.changes["state"] is shown
        assert incidents(outcome) == {"order-ghost"}
        assert FollowUp.THREE_QUESTIONS in outcome.follow_ups
    assert applied(order(state), execution(100)).changes["state"] is S.FILLED


def test_a_refused_order_that_is_inactive_is_no_ghost() -> None:
    assert incidents(applied(order(S.REJECTED), open_order("Inactive"))) == set()


def test_an_unsent_order_that_ib_calls_cancelled_is_never_sent() -> None:
    assert applied(order(S.ACCEPTED), completed("Cancelled", "by Trader")).changes["state"] is S.CANCELLED


def test_a_what_if_answer_is_about_no_order() -> None:
    outcome = applied(order(), open_order("PreSubmitted", what_if=True, margins={"initMarginAfter": Decimal(5)}))
    assert (outcome.event, outcome.changes) == (NOT_ABOUT_AN_ORDER, {})


@pytest.mark.parametrize(
    "word",
    [
        NextOrderId(4),
        ManagedAccounts(("DU1",)),
        CurrentTime(5),
        PositionsEnd(),
        Commission("a.b.01.01", Decimal(1), "USD", None),
    ],
)
def test_other_words_change_no_order(word) -> None:
    outcome = applied(taken(), word)
    assert (outcome.event, outcome.changes, outcome.follow_ups) == (NOT_ABOUT_AN_ORDER, {}, ())


# ---- the three questions ---------------------------------------------------------------------------------------------


def test_the_answer_for_open_orders_overwrites_a_higher_rank() -> None:
    outcome = applied(taken(S.WORKING), open_order("PendingSubmit"), answer="open")
    assert (outcome.changes["state"], outcome.changes["broker_status"]) == (S.SENT, "PendingSubmit")
    assert applied(taken(S.WORKING), open_order("PendingSubmit")).changes.get("state") is None


@pytest.mark.parametrize("state", [S.CANCELLED, S.EXPIRED])
def test_an_order_that_is_over_and_named_among_the_open_ones_lives(state: OrderState) -> None:
    for word in (open_order("Submitted"), status("Submitted")):
        outcome = applied(taken(state, broker_status="Cancelled"), word, answer="open")
        assert (outcome.changes["state"], outcome.changes["broker_status"]) == (S.WORKING, "Submitted")
        assert incidents(outcome) == {"order-ghost"}


def test_an_order_that_is_filled_and_named_among_the_open_ones_was_named_before_its_fill() -> None:
    facts = taken(S.FILLED, filled=Decimal(100), broker_status="Filled")
    for word in (open_order("Submitted"), status("Submitted", 40)):
        outcome = applied(facts, word, answer="open")
        assert (outcome.state, incidents(outcome)) == (None, set())
    corrected = taken(S.FILLED, filled=Decimal(90), broker_status="Filled")
    assert applied(corrected, open_order("Submitted"), answer="open").changes["state"] is S.WORKING


@pytest.mark.parametrize("facts", [order(S.SENDING), order(S.UNKNOWN), taken(S.WORKING)])
def test_completed_orders_end_what_they_name(facts: OrderFacts) -> None:
    assert (
        applied(facts, completed("Cancelled", "Cancelled by Trader"), answer="completed").changes["state"]
        is S.CANCELLED
    )
    assert (
        applied(facts, completed("Inactive", "Rejected by System"), answer="completed").changes["state"] is S.REJECTED
    )
    filled = applied(facts, completed("Filled", filled=100), answer="completed")
    assert filled.state is None
    assert FollowUp.ASK_EXECUTIONS in filled.follow_ups


def test_an_order_that_was_filled_while_we_were_away_is_found() -> None:
    facts, _ = story(
        order(S.SENDING), [completed("Filled", filled=100), execution(100)], {0: "completed", 1: "executions"}
    )
    assert (facts.state, facts.filled, facts.perm_ids) == (S.FILLED, D(100), (PERM,))


def test_executions_of_an_unknown_order_ask_for_its_rest() -> None:
    outcome = applied(order(S.UNKNOWN), execution(40), answer="executions")
    assert (outcome.state, outcome.changes["filled"]) == (None, D(40))
    assert FollowUp.THREE_QUESTIONS in outcome.follow_ups


# ---- the end of an order ---------------------------------------------------------------------------------------------


def test_cancelled_with_fills_that_we_have_not_asks_for_them() -> None:
    outcome = applied(taken(), status("Cancelled", 40))
    assert outcome.changes["state"] is S.CANCELLED
    assert outcome.follow_ups == (FollowUp.ASK_EXECUTIONS,)


def test_cancelled_before_ib_had_it_is_checked() -> None:
    assert applied(order(), status("ApiCancelled")).follow_ups == (FollowUp.THREE_QUESTIONS,)


@pytest.mark.parametrize(
    ("facts", "text", "state"),
    [
        (taken(tif="DAY", day_ends=NOON), "", S.EXPIRED),
        (taken(tif="DAY", day_ends=NOON + 1), "", S.CANCELLED),
        (taken(tif="DAY"), "", S.CANCELLED),
        (taken(tif="GTD", good_till=NOON - 1), "", S.EXPIRED),
        (taken(tif="GTD", good_till=NOON + 1), "", S.CANCELLED),
        (taken(tif="GTC", good_till=NOON - 1), "", S.CANCELLED),
        (taken(tif="GTC"), "Order expired", S.EXPIRED),
        (taken(tif="DAY", day_ends=NOON, requests=(cancel(),)), "", S.CANCELLED),
    ],
)
def test_an_order_expires_when_its_time_is_over_or_ib_says_so(facts: OrderFacts, text: str, state: OrderState) -> None:
    assert applied(facts, completed("Cancelled", text)).changes["state"] is state
    assert applied(facts, error(202, text)).changes["state"] is state


def test_a_request_that_was_not_sent_does_not_make_an_expiry_a_cancel() -> None:
    outcome = applied(taken(tif="DAY", day_ends=NOON, requests=(cancel(R.WANTED),)), status("Cancelled"))
    assert outcome.changes["state"] is S.EXPIRED
    assert outcome.requests[0].state is R.OVERTAKEN


def test_no_request_outlives_its_order() -> None:
    facts = taken(requests=(modify(), cancel()), pending=Pending.CANCEL)
    cancelled, filled = applied(facts, status("Cancelled")), applied(facts, execution(100))
    assert {one.id: one.state for one in cancelled.requests} == {MODIFY: R.OVERTAKEN, CANCEL: R.CONFIRMED}
    assert {one.id: one.state for one in filled.requests} == {MODIFY: R.OVERTAKEN, CANCEL: R.OVERTAKEN}
    for outcome in (cancelled, filled):
        assert outcome.changes["pending"] is Pending.NONE


# ---- fills -----------------------------------------------------------------------------------------------------------


def test_a_fill_comes_before_every_status() -> None:
    outcome = applied(order(), execution(40))
    assert (outcome.changes["state"], outcome.changes["filled"], outcome.changes["avg_fill_price"]) == (
        S.WORKING,
        40,
        50,
    )
    assert applied(order(), execution(100)).changes["state"] is S.FILLED


def test_a_late_fill_after_cancelled_is_kept() -> None:
    facts, outcomes = story(taken(), [status("Cancelled"), execution(40)])
    assert (facts.state, facts.filled) == (S.CANCELLED, D(40))
    assert incidents(outcomes) == {"order-late-fill"}
    facts, outcomes = story(taken(), [status("Cancelled"), execution(40), execution(60, "a.b.02.01")])
    assert (facts.state, facts.filled) == (S.FILLED, D(100))


def test_a_fill_that_overtakes_a_cancel_fills_the_order() -> None:
    """Filled, then 10148: one order, filled, and the cancel is over."""
    facts = taken(requests=(cancel(),), pending=Pending.CANCEL)
    for words in either_order(execution(100), error(10148, "cannot be cancelled, state: Filled.")):
        end, outcomes = story(facts, words)
        assert (end.state, end.filled, end.pending, end.requests) == (S.FILLED, D(100), Pending.NONE, ())
        assert incidents(outcomes) == set()


def test_an_overfill_halts() -> None:
    facts, outcomes = story(taken(), [execution(60), execution(60, "a.b.02.01")])
    assert (facts.state, facts.filled) == (S.FILLED, D(120))
    assert incidents(outcomes) == {"order-overfill"}
    assert FollowUp.HALT in outcomes[-1].follow_ups
    later, outcomes = story(taken(S.FILLED, filled=Decimal(100)), [execution(120)])
    assert (later.state, later.filled, incidents(outcomes)) == (S.FILLED, D(120), {"order-overfill"})


def test_a_correction_lowers_the_sum_of_a_filled_order() -> None:
    facts, outcomes = story(taken(), [execution(100), execution(90, "a.b.01.02"), execution(100)])
    assert (facts.state, facts.filled) == (S.FILLED, D(90))
    assert outcomes[1].event == "corrected"
    assert incidents(outcomes) == set()


def test_a_bust_leaves_a_working_order_working() -> None:
    facts, _ = story(taken(), [execution(40), execution(0, "a.b.01.02")])
    assert (facts.state, facts.filled, facts.average) == (S.WORKING, D(0), None)


def test_a_corrected_price_changes_the_average_alone() -> None:
    facts, outcomes = story(taken(), [execution(100), execution(100, "a.b.01.02", price="49.5")])
    assert outcomes[1].changes == {"avg_fill_price": Decimal("49.5")}
    assert facts.state is S.FILLED


def test_a_doubled_fill_changes_nothing() -> None:
    facts, outcomes = story(taken(), [execution(40), execution(40)])
    assert (outcomes[1].changes, outcomes[1].event) == ({}, "repeated_fill")
    assert facts.filled == 40


def test_if_a_lower_sum_were_ignored_a_correction_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    class Highest(Book):
        def put(self, word):
            before = {key: one for key, (_, one) in self.fills.items()}
            total, average = super().put(word)
            return max(total, sum((one.quantity for one in before.values()), Decimal(0))), average

    book, facts = Highest(), taken()
    for word in (execution(100), execution(90, "a.b.01.02")):
        facts = written(facts, applied(facts, word, book))
    assert facts.filled == 100  # what the right book never says


def test_an_execution_without_the_sum_is_a_bug() -> None:
    with pytest.raises(ValueError, match=r"known\.filled"):
        apply(taken(), execution(40), Known(NOON))


# ---- modifies --------------------------------------------------------------------------------------------------------


def test_a_modify_is_confirmed_when_ib_shows_it() -> None:
    facts = taken(requests=(modify(quantity=Decimal(200), limit_price=Decimal(51)),), pending=Pending.MODIFY)
    assert applied(facts, open_order("Submitted")).requests == ()
    outcome = applied(facts, open_order("Submitted", quantity=200, price="51"))
    assert (outcome.requests[0].id, outcome.requests[0].state) == (MODIFY, R.CONFIRMED)
    assert outcome.changes == {
        "pending": Pending.NONE,
        "quantity": 200,
        "limit_price": 51,
        "confirmed_quantity": 200,
        "confirmed_limit": 51,
    }


def test_a_modify_that_was_not_sent_is_never_confirmed() -> None:
    facts = taken(requests=(modify(R.WANTED),))
    assert applied(facts, open_order("Submitted", price="51")).requests == ()


def test_an_unknown_modify_is_confirmed_by_what_ib_shows_later() -> None:
    facts = taken(requests=(modify(R.UNKNOWN),), pending=Pending.MODIFY)
    assert applied(facts, open_order("Submitted", price="51"), answer="open").requests[0].state is R.CONFIRMED


def test_an_order_whose_modify_to_more_is_under_way_is_not_filled_by_its_old_quantity() -> None:
    facts = taken(requests=(modify(quantity=Decimal(200)),), pending=Pending.MODIFY)
    outcome = applied(facts, execution(100))
    assert (outcome.state, outcome.changes["filled"]) == (None, D(100))
    end, _ = story(facts, [execution(100), open_order("Submitted", quantity=200), execution(100, "a.b.02.01")])
    assert (end.state, end.filled) == (S.FILLED, D(200))


def test_such_an_order_is_filled_when_ib_says_so_and_the_sum_agrees() -> None:
    facts = taken(requests=(modify(quantity=Decimal(200)),), pending=Pending.MODIFY)
    for words in either_order(execution(100), status("Filled", 100)):
        end, outcomes = story(facts, words)
        assert (end.state, end.requests) == (S.FILLED, ())
        assert outcomes[-1].requests[-1].state is R.OVERTAKEN


def test_a_modify_to_less_than_was_filled_ends_the_order() -> None:
    facts = taken(filled=Decimal(60), requests=(modify(quantity=Decimal(60)),), pending=Pending.MODIFY)
    outcome = applied(facts, open_order("Submitted", quantity=60))
    assert (outcome.changes["state"], outcome.changes["quantity"]) == (S.FILLED, D(60))


def test_what_somebody_changed_at_ib_is_what_the_order_asks_for() -> None:
    assert applied(taken(), open_order("Submitted", quantity=300), answer="open").changes["quantity"] == 300
    during = taken(requests=(modify(),), pending=Pending.MODIFY)
    assert "quantity" not in applied(during, open_order("Submitted", quantity=300), answer="open").changes


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        ("LMT", Terms(Decimal(100), Decimal(50), tif="GTC")),
        ("MKT", Terms(Decimal(100), tif="GTC")),
        ("STP", Terms(Decimal(100), stop_price=Decimal(3), tif="GTC")),
        ("STP LMT", Terms(Decimal(100), Decimal(50), Decimal(3), tif="GTC")),
        ("STP_LMT", Terms(Decimal(100), Decimal(50), Decimal(3), tif="GTC")),
        ("TRAIL", Terms(Decimal(100), trail_amount=Decimal(3), tif="GTC")),
        ("TRAIL LIMIT", Terms(Decimal(100), Decimal(50), trail_amount=Decimal(3), tif="GTC")),
    ],
)
def test_ib_shows_the_prices_that_the_type_has(kind: str, terms: Terms) -> None:
    assert rules.terms_of(open_order("Submitted", type=kind, aux_price=Decimal(3))) == terms


def test_if_any_open_order_confirmed_a_modify_the_old_price_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "fits", lambda wanted, shown: True)
    assert applied(taken(requests=(modify(),)), open_order("Submitted")).requests[0].state is R.CONFIRMED


# ---- two permIds -----------------------------------------------------------------------------------------------------


def test_two_perm_ids_are_two_orders_and_halt() -> None:
    outcome = applied(taken(), open_order("Submitted", perm_id=9))
    assert outcome.changes["perm_ids"] == (PERM, 9)
    assert incidents(outcome) == {"order-twin"}
    assert FollowUp.HALT in outcome.follow_ups


def test_an_order_with_two_perm_ids_is_over_when_both_are() -> None:
    facts = taken(perm_ids=(PERM, 9), requests=(cancel(),), pending=Pending.CANCEL)
    one, outcomes = story(facts, [status("Cancelled"), status("Cancelled"), error(202, "Order Canceled")])
    assert (one.state, one.pending) == (S.WORKING, Pending.NONE)
    assert [[each.state for each in outcome.requests] for outcome in outcomes] == [[R.WANTED], [], []], (
        "sent once more, once"
    )
    assert FollowUp.THREE_QUESTIONS in outcomes[0].follow_ups
    both, _ = story(one, [status("Cancelled", perm_id=9)])
    assert (both.state, both.requests) == (S.CANCELLED, ())
    late, outcomes = story(both, [execution(40, perm_id=9)])
    assert (late.state, late.filled, incidents(outcomes)) == (S.CANCELLED, D(40), {"order-late-fill"})


def test_a_second_perm_id_revives_what_the_first_had_ended() -> None:
    facts, outcomes = story(taken(), [status("Cancelled"), open_order("Submitted", perm_id=9)])
    assert (facts.state, incidents(outcomes)) == (S.WORKING, {"order-twin", "order-ghost"})
    assert story(facts, [status("Cancelled", perm_id=9)])[0].state is S.CANCELLED


def test_of_two_orders_one_that_fills_leaves_the_order_alive_until_the_other_is_over() -> None:
    facts = taken(perm_ids=(PERM, 9), requests=(cancel(),), pending=Pending.CANCEL)
    one, outcomes = story(facts, [execution(100), status("Filled", 100), completed("Filled", filled=100)])
    assert (one.state, one.filled, one.broker_status) == (S.WORKING, D(100), "Filled")
    assert [[each.state for each in outcome.requests] for outcome in outcomes] == [[], [R.WANTED], []], (
        "the cancel reaches the other one now"
    )
    both, _ = story(one, [status("Cancelled", perm_id=9)])
    assert (both.state, both.filled) == (S.FILLED, D(100))


def test_a_second_perm_id_that_shows_up_after_the_fill_keeps_the_order_alive_whatever_is_listed_of_the_first() -> None:
    """Each round of questions names the open one, and lists the other one as completed."""
    facts, _ = story(taken(), [execution(100), status("Filled", 100), open_order("Submitted", perm_id=9)])
    assert facts.state is S.WORKING
    again, outcomes = story(facts, [completed("Filled", filled=100), execution(100)])
    assert (again.state, [outcome.follow_ups for outcome in outcomes]) == (S.WORKING, [(), ()])
    assert story(again, [status("Cancelled", perm_id=9)])[0].state is S.FILLED


def test_an_order_without_a_perm_id_learns_its_first_without_an_alarm() -> None:
    assert incidents(applied(order(), open_order("Submitted", perm_id=0))) == set()
    assert applied(order(), open_order("Submitted", perm_id=0)).changes.get("perm_ids") is None
