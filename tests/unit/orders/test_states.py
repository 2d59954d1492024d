"""The table of order states: what the page says of it stands in it, and what it does not say raises or alarms."""

import re

import pytest

from nautilus.monitoring.incidents import CODES
from nautilus.orders import draft
from nautilus.orders.outcome import FollowUp
from nautilus.orders.states import (
    ALIVE,
    AT_BROKER,
    BEFORE_SENDING,
    MOVES,
    OVER,
    TABLE,
    WORDS_OF_IB,
    Event,
    ImpossibleMove,
    OrderState,
    after,
    before,
)
from tests.unit.orders.makers import order

S, E = OrderState, Event

# The page, once more and by hand: from, events, to, incident.
PAGE = """
-                                        checks_passed                        accepted
-                                        checks_failed                        denied
accepted reserved                        cancelled_unsent                     cancelled
accepted reserved                        denied_unsent                        denied
accepted                                 id_reserved                          reserved
reserved sending                         not_written                          accepted
reserved                                 committed_to_send                    sending
sending unknown                          pending_submit pending_cancel        sent
sending unknown                          other_status                         sent       order-word-unexpected
sent held working inactive               pending_submit pending_cancel        same
sent held working inactive               other_status                         same       order-word-unexpected
sending sent held working inactive unknown  pre_submitted named_held          held
sending sent held working inactive unknown  submitted named_working           working
sending sent held working inactive unknown  named_sent                        sent
sending sent held working inactive unknown  inactive                          inactive
sending sent held working inactive unknown  rejected                          rejected
sending sent inactive unknown            refused                              rejected
cancelled                                refused                              rejected
sending                                  refused_once                         accepted
sending sent held working inactive unknown  refused_later request_refused notice twin_ended status_filled  same
sending sent held working inactive unknown  cancel_sent modify_sent corrected repeated_fill  same
sending sent                             filled_in_part                       working
held working inactive unknown            filled_in_part                       same
sending sent held working inactive unknown  filled_whole                      filled
sending sent held working inactive unknown  overfilled                        filled     order-overfill
sending sent held working inactive unknown  status_cancelled                  cancelled
sending sent held working inactive unknown  status_expired                    expired
sending sent held working inactive unknown  not_named uncertain               unknown    order-unknown
unknown                                  resolved_cancelled                   cancelled
unknown                                  resolved_never_arrived               denied
cancelled expired                        filled_in_part                       same       order-late-fill
cancelled expired                        filled_whole                         filled     order-late-fill
cancelled expired                        overfilled                           filled     order-overfill
filled                                   overfilled                           same       order-overfill
accepted reserved rejected denied        overfilled                           filled     order-overfill
accepted reserved rejected denied        filled_whole                         filled     order-ghost
accepted reserved rejected denied        submitted filled_in_part             working    order-ghost
accepted reserved rejected denied        pre_submitted                        held       order-ghost
accepted reserved rejected denied        pending_submit                       sent       order-ghost
accepted reserved rejected denied cancelled expired filled  named_working     working    order-ghost
accepted reserved rejected denied cancelled expired filled  named_held        held       order-ghost
accepted reserved rejected denied cancelled expired filled  named_sent        sent       order-ghost
accepted reserved                        pending_cancel other_status          sent       order-ghost
accepted reserved                        inactive                             inactive   order-ghost
accepted reserved                        status_filled                        unknown    order-ghost
accepted reserved                        status_cancelled                     cancelled  order-ghost
accepted reserved                        status_expired                       expired    order-ghost
accepted reserved                        rejected                             rejected   order-ghost
"""
Key = tuple[OrderState | None, Event]


def page() -> dict[Key, tuple[OrderState | None, str]]:
    """(state, event) -> (state after it, incident)."""
    found: dict[Key, tuple[OrderState | None, str]] = {}
    for line in PAGE.strip().splitlines():
        states, events, to, *incident = re.split(r" {2,}", line.strip())
        for state in states.split():
            for event in events.split():
                key = (None if state == "-" else S(state), E(event))
                assert key not in found, key
                found[key] = (None if to == "same" else S(to), "".join(incident))
    for over in OVER:
        for event in WORDS_OF_IB:
            found.setdefault((over, event), (None, ""))
    return found


def differences(table: dict[Key, tuple[OrderState | None, str]]) -> set[Key]:
    """Where a table says something else than the page. A state that is named as the next one stays."""
    mine, theirs = ({key: (to or key[0], incident) for key, (to, incident) in one.items()} for one in (table, page()))
    return {key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)}


def built(moves) -> dict[Key, tuple[OrderState | None, str]]:
    found: dict[Key, tuple[OrderState | None, str]] = {}
    for move in moves:
        for key in ((state, event) for state in move.before for event in move.events):
            found.setdefault(key, (move.to, move.incident))
    return found


def test_the_table_is_what_the_page_says() -> None:
    assert differences({key: (move.to, move.incident) for key, move in TABLE.items()}) == set()


def test_no_line_of_the_table_can_go() -> None:
    without = [n for n in range(len(MOVES)) if not differences(built(MOVES[:n] + MOVES[n + 1 :]))]
    assert [MOVES[n] for n in without] == []


def test_a_changed_target_is_found() -> None:
    for n, move in enumerate(MOVES):
        other = move._replace(to=S.DENIED if move.to is not S.DENIED else S.FILLED)
        assert differences(built((*MOVES[:n], other, *MOVES[n + 1 :]))), move


def test_the_groups_part_the_states() -> None:
    assert set(S) == ALIVE | OVER
    assert not ALIVE & OVER
    assert BEFORE_SENDING | AT_BROKER == ALIVE
    assert not BEFORE_SENDING & AT_BROKER
    assert {S.DENIED, S.REJECTED, S.FILLED, S.CANCELLED, S.EXPIRED} == OVER


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", WORDS_OF_IB)
def test_a_word_moves_an_order_by_the_table_or_alarms(state: OrderState, event: Event) -> None:
    now = draft.Draft.of(order(state))
    now.move(event, "what IB said")
    outcome = now.outcome()
    move = TABLE.get((state, event))
    if move is None:
        assert outcome.changes == {}
        assert [one.code for one in outcome.incidents] == [draft.UNEXPECTED]
    else:
        assert outcome.changes.get("state", state) == (move.to or state)
        assert [one.code for one in outcome.incidents] == ([move.incident] if move.incident else [])


def test_what_is_not_listed_is_known() -> None:
    """Words about an order that was never sent, and that do not show it at IB: of another order with its number."""
    missing = {(state, event) for state in S for event in WORDS_OF_IB} - TABLE.keys()
    alone = {(state, E.REFUSED_ONCE) for state in AT_BROKER - {S.SENDING}} | {
        (S.HELD, E.REFUSED),
        (S.WORKING, E.REFUSED),
    }
    assert {state for state, _ in missing - alone} == BEFORE_SENDING
    assert missing >= alone
    assert {event for state, event in missing - alone} == {
        *(E.REFUSED, E.REFUSED_LATER, E.REFUSED_ONCE, E.REQUEST_REFUSED, E.NOTICE, E.UNCERTAIN),
        *(E.TWIN_ENDED, E.CORRECTED, E.REPEATED_FILL),
    }


@pytest.mark.parametrize("event", [event for event in E if event not in WORDS_OF_IB])
@pytest.mark.parametrize("state", [None, *S])
def test_a_step_of_ours_is_in_the_table_or_raises(state: OrderState | None, event: Event) -> None:
    move = TABLE.get((state, event))
    if move is None:
        with pytest.raises(ImpossibleMove, match=str(event)):
            after(state, event)
    else:
        assert after(state, event) == (move.to or state)
    assert (state is not None and state.value in before(event)) == (state is not None and move is not None)


def test_an_order_that_is_over_is_never_ended_by_us_again() -> None:
    ours = [event for event in E if event not in WORDS_OF_IB]
    assert [key for key in TABLE if key[0] in OVER and key[1] in ours] == []


def test_time_alone_ends_no_order_that_ib_may_have() -> None:
    """No step of ours leads from `sending` and later to an end, but for a person's word on an unknown one."""
    ours = [event for event in E if event not in WORDS_OF_IB]
    ends = {key for key, move in TABLE.items() if key[0] in AT_BROKER and key[1] in ours and move.to in OVER}
    assert ends == {(S.UNKNOWN, E.RESOLVED_CANCELLED), (S.UNKNOWN, E.RESOLVED_NEVER_ARRIVED)}


def test_every_incident_of_the_table_has_its_page() -> None:
    assert {move.incident for move in MOVES if move.incident} | {draft.UNEXPECTED} <= set(CODES)


def test_an_alarm_that_stops_trading_says_so() -> None:
    now = draft.Draft.of(order(S.WORKING))
    now.move(E.OVERFILLED, "too much")
    assert now.outcome().follow_ups == (FollowUp.HALT,)
