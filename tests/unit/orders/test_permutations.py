"""Words that cross each other end in the same facts: all orders of the seven messages of a fill, and of a refusal."""

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from itertools import permutations
from typing import cast

import pytest

from nautilus.orders import apply as rules
from nautilus.orders import draft, states
from nautilus.orders.outcome import OrderFacts
from nautilus.orders.states import OVER, TABLE, Event, Move, OrderState
from nautilus.orders.words import Commission, Execution, Word
from tests.unit.orders.makers import (
    PERM,
    Book,
    applied,
    error,
    execution,
    final,
    open_order,
    order,
    status,
    story,
    taken,
    written,
)

S, E, D = OrderState, Event, Decimal
FILL: tuple[Word, ...] = (
    open_order("PreSubmitted"),
    status("PreSubmitted"),
    execution(100),
    open_order("Submitted"),
    status("Filled", 100),
    open_order("Filled"),
    Commission("a.b.01.01", Decimal(1), "USD", None),
)
"""A market order that fills at once, as a gateway sends it."""
REFUSAL: tuple[Word, ...] = (
    error(201, "Order rejected - reason: margin"),
    open_order("Inactive"),
    status("Inactive"),
)


def ends(words: tuple[Word, ...], before: OrderFacts) -> set[OrderFacts]:
    """The facts after each order of the words, each word twice in a row, and each a second time at the end."""

    @cache
    def step(facts: OrderFacts, put: tuple[int, ...], n: int) -> tuple[OrderFacts, tuple[int, ...]]:
        """The facts after word n, and which executions are in the book then."""
        book, word = Book(), words[n]
        for earlier in put:
            book.put(cast(Execution, words[earlier]))
        return written(facts, applied(facts, word, book)), (*put, n) if isinstance(word, Execution) else put

    found = set()
    for row in permutations(range(len(words))):
        for doubled in ([n for n in row for _ in (0, 1)], [*row, *row]):
            facts, put = before, cast(tuple[int, ...], ())
            for n in doubled:
                facts, put = step(facts, put, n)
            found.add(final(facts))
    return found


@pytest.mark.parametrize("state", [S.SENDING, S.UNKNOWN])
def test_every_order_of_the_words_of_a_fill_ends_alike(state: OrderState) -> None:
    """5,040 orders, each word doubled, in two ways."""
    (end,) = ends(FILL, order(state))
    assert (end.state, end.filled, end.average, end.filled_by_status) == (S.FILLED, D(100), D(50), D(100))
    assert (end.perm_ids, end.broker_status, end.confirmed.limit_price, end.notices) == ((PERM,), "Filled", D(50), ())


def test_a_fill_in_two_parts_and_a_correction_end_alike() -> None:
    words = (
        status("Submitted", 60),
        execution(60),
        execution(30, "a.b.02.01"),
        execution(40, "a.b.02.02", price="49"),
        status("Filled", 100),
        open_order("Filled"),
    )
    (end,) = ends(words, order())
    assert (end.state, end.filled, end.average) == (S.FILLED, D(100), Decimal("49.6"))


def test_every_order_of_the_words_of_a_refusal_ends_alike() -> None:
    (end,) = ends(REFUSAL, order())
    assert (end.state, len(end.notices), end.broker_status) == (S.REJECTED, 1, "Inactive")


def test_a_cancelled_order_that_fills_ends_alike() -> None:
    words = (status("Cancelled", 40), error(202, "Order Canceled"), execution(40), execution(60, "a.b.02.01"))
    (end,) = ends(words, taken())
    assert (end.state, end.filled) == (S.FILLED, D(100))


def test_a_cancelled_order_that_fills_in_part_ends_alike() -> None:
    words = (status("PendingCancel"), status("Cancelled", 40), error(202, "Order Canceled"), execution(40))
    (end,) = ends(words, taken())
    assert (end.state, end.filled, end.broker_status) == (S.CANCELLED, D(40), "Cancelled")


def test_a_lower_rank_never_overwrites_a_higher_one() -> None:
    words = (status("ApiPending"), status("PendingSubmit"), status("Submitted"))
    (end,) = ends(words, order())
    assert (end.state, end.broker_status) == (S.WORKING, "Submitted")


# ---- what must not pass ----------------------------------------------------------------------------------------------


def changed_table(
    table: Mapping[tuple[OrderState | None, Event], Move], name: str
) -> dict[tuple[OrderState | None, Event], Move]:
    changed = dict(table)
    if name == "over orders move":
        for over in OVER:
            for event in (E.PRE_SUBMITTED, E.SUBMITTED):
                changed[over, event] = TABLE[S.SENDING, event]
    elif name == "no rank":
        for state in (S.HELD, S.WORKING):
            changed[state, E.PENDING_SUBMIT] = TABLE[S.SENDING, E.PENDING_SUBMIT]
    elif name == "late fills are lost":
        changed[S.CANCELLED, E.FILLED_WHOLE] = TABLE[S.CANCELLED, E.FILLED_IN_PART]
    return changed


def table_mutant(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(draft, "TABLE", changed_table(TABLE, name))


def test_without_the_rule_for_what_is_over_a_late_status_revives_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (status("Submitted"), status("Cancelled"))
    assert {end.state for end in ends(words, order())} == {S.CANCELLED}
    table_mutant(monkeypatch, "over orders move")
    assert {end.state for end in ends(words, order())} == {S.CANCELLED, S.WORKING}


def test_without_ranks_a_late_status_takes_an_order_back(monkeypatch: pytest.MonkeyPatch) -> None:
    table_mutant(monkeypatch, "no rank")
    assert len(ends((status("PendingSubmit"), status("Submitted")), order())) > 1


def test_without_late_fills_a_cancelled_order_depends_on_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    table_mutant(monkeypatch, "late fills are lost")
    assert len(ends((status("Cancelled"), execution(100)), taken())) > 1


def test_if_a_status_were_believed_an_order_would_be_filled_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (status("Submitted"), status("Filled", 100))
    assert {end.state for end in ends(words, order())} == {S.WORKING}
    monkeypatch.setattr(rules, "_whole", lambda facts: facts.broker_status == "Filled")
    assert S.FILLED in {end.state for end in ends(words, order())}


def test_if_executions_were_added_a_doubled_one_would_count_twice() -> None:
    class Adding(Book):
        def put(self, word):
            self.fills["DU1", str(len(self.fills))] = (0, word)
            return sum((one.quantity for _, one in self.fills.values()), Decimal(0)), Decimal(50)

    right, wrong, facts = Book(), Adding(), order()
    for book, sum_of_two in ((right, 100), (wrong, 200)):
        for _ in (0, 1):
            total, _average = book.put(execution(100))
        assert total == sum_of_two
    assert applied(written(facts, applied(facts, execution(100), Adding())), execution(100), wrong).incidents


def test_without_status_ranks_the_last_status_would_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "BROKER_RANKS", {})
    assert len(ends(FILL[:6], order())) > 1


def test_a_story_is_what_its_steps_are() -> None:
    facts, outcomes = story(order(), FILL)
    assert final(facts) in ends(FILL, order())
    assert states.OrderState.FILLED in {outcome.state for outcome in outcomes}
