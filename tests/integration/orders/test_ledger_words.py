"""Words of IB become rows: matching, executions by revision, commissions, orders of others, what fits nothing."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from nautilus.clock import NS_PER_DAY
from nautilus.db.connection import Database
from nautilus.db.monitoring import incidents
from nautilus.db.orders import events, executions, risk_book, trading_state
from nautilus.db.orders.executions import ExecutionRow
from nautilus.orders import account_events
from nautilus.orders.outcome import FollowUp, Known
from nautilus.orders.words import BrokerError, CompletedOrder, CurrentTime, OpenOrder, Position, Word
from tests.support.order_ledger import (
    ACCOUNT,
    CLIENT,
    NOW,
    commission,
    corrected,
    counted,
    events_of,
    execution,
    findings,
    ib_says,
    ledger,
    open_order,
    placed,
    row_of,
    seen,
    sent,
    status,
    ticket,
    working,
)

_ANSWER = Known(now_ns=NOW, answer="open")


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn) as made:
        yield made
        assert findings(made) == []


def position(database: Database) -> Decimal:
    with database.transaction() as cursor:
        return risk_book.read(cursor, ACCOUNT, 1).position


def stored(database: Database) -> list[ExecutionRow]:
    with database.transaction() as cursor:
        cursor.execute(f"SELECT {', '.join(ExecutionRow._fields)} FROM executions ORDER BY exec_base, revision")
        return [ExecutionRow(*row) for row in cursor.fetchall()]


def open_incidents(database: Database) -> list[tuple[str, str]]:
    with database.transaction() as cursor:
        return sorted((one.code, one.subject) for one in incidents.listed(cursor, only_open=True))


# ---- matching --------------------------------------------------------------------------------------------------------


def test_words_move_an_order_from_sending_to_filled(database: Database) -> None:
    row = sent(database, placed(database, ticket(quantity=3)).orders[0].id)
    assert row.sent_at is not None
    assert row.acknowledged_at is None
    ib_says(database, open_order(row, "PreSubmitted", 77), status(row, "Submitted", 77))
    row = row_of(database, row.id)
    assert seen(row.state, row.perm_ids, row.confirmed_quantity, row.confirmed_limit) == ("working", [77], 3, 100)
    assert row.acknowledged_at is not None
    ib_says(database, execution(row, 1, "99.5"), execution(row, 2, "99.8"))
    row = row_of(database, row.id)
    assert seen(row.state, row.filled, row.avg_fill_price) == ("filled", 3, Decimal("99.7"))
    assert seen(row.reserved_quantity, row.reserved_value, position(database)) == (0, 0, 3)
    assert events_of(database, row.id) == [
        *("accepted", "reserved", "sending", "open-order", "order-status", "execution", "execution")
    ]


def test_an_order_is_found_by_each_of_its_names(database: Database) -> None:
    row = sent(database, placed(database).orders[0].id)
    by_order_id = replace(status(row, "PendingSubmit"), perm_id=0)
    by_ref = open_order(row, "PreSubmitted", 77, order_id=0, client_id=0)
    by_perm_id = replace(status(row, "Submitted", 77), order_id=0, client_id=0)
    by_suffix = open_order(row, "Submitted", 77, order_ref=f"{row.id}:12")
    for word in (by_order_id, by_ref, by_perm_id, by_suffix):
        assert [one.order_id for one in ib_says(database, word)] == [row.id], word
    assert row_of(database, row.id).state == "working"


def test_an_order_id_with_the_reference_of_somebody_else_is_somebody_elses(database: Database) -> None:
    """A gateway that begins anew with lower ids gives them to others: two rows never share an event."""
    row = sent(database, placed(database).orders[0].id)
    found = ib_says(database, open_order(row, "Submitted", 99, order_ref="theirs"))
    assert found[0].order_id != row.id
    assert row_of(database, row.id).state == "sending"
    assert row_of(database, found[0].order_id or row.id).origin == "external"


def test_the_account_of_a_word_must_be_the_orders(database: Database) -> None:
    row = sent(database, placed(database).orders[0].id)
    found = ib_says(database, open_order(row, "Submitted", 99, account="SIM2", order_ref=""))
    assert found[0].order_id not in (row.id, None)
    assert row_of(database, row.id).state == "sending"


def test_an_error_is_about_the_order_process_own_order_id(database: Database) -> None:
    row = sent(database, placed(database).orders[0].id)
    found = ib_says(database, BrokerError(row.order_id or 0, 201, "margin"))
    assert found[0].order_id == row.id
    row = row_of(database, row.id)
    assert seen(row.state, row.reserved_quantity) == ("rejected", 0)
    assert "margin" in row.why


def test_a_word_that_fits_nothing_is_kept_and_told(database: Database) -> None:
    row = sent(database, placed(database).orders[0].id)
    stranger = replace(status(row, "Submitted", 4_711), order_id=9_999)
    found = ib_says(database, stranger, BrokerError(8_888, 201, "what?"))
    assert [one.order_id for one in found] == [None, None]
    with database.transaction() as cursor:
        kept = events.after(cursor, {"": 0})
    assert [(event.kind, event.order_id, event.account) for event in kept] == [
        ("order-status", None, ""),
        ("broker-error", None, ""),
    ]
    assert kept[0].frame == {"status": "Submitted"}
    assert [code for code, _ in open_incidents(database)] == ["order-word-unmatched"] * 2


def test_words_about_no_order_are_left_alone(database: Database) -> None:
    found = ib_says(database, CurrentTime(1), Position(ACCOUNT, 1, Decimal(5), None))
    assert [one.order_id for one in found] == [None, None]
    assert counted(database, "SELECT count(*) FROM order_events") == 0


def test_a_notice_about_the_connection_is_kept_and_alarms_nobody(database: Database) -> None:
    ib_says(database, BrokerError(-1, 1100, "connectivity lost"))
    assert counted(database, "SELECT count(*) FROM order_events WHERE order_id IS NULL") == 1
    assert open_incidents(database) == []


def test_a_what_if_is_no_order(database: Database) -> None:
    row = placed(database).orders[0]
    ib_says(database, open_order(row, "PreSubmitted", 1, what_if=True))
    assert row_of(database, row.id).state == "accepted"


@pytest.mark.parametrize(
    "odd", ["a\x00b", "\ud800", "".join(map(chr, range(256, 30_000)))], ids=["null", "half", "long"]
)
def test_odd_texts_are_kept_as_far_as_they_can_be(database: Database, odd: str) -> None:
    row = sent(database, placed(database).orders[0].id)
    ib_says(database, open_order(row, "Submitted", 7, why_held=odd, raw={"a": odd, odd: {"b": [odd]}}))
    ib_says(database, open_order(row, "Submitted", 8, order_ref=odd, account=odd), BrokerError(7_777, 201, odd))
    assert row_of(database, row.id).state == "working"


def test_a_word_that_cannot_be_written_does_not_take_the_others_with_it(database: Database) -> None:
    row = sent(database, placed(database, ticket(quantity=5)).orders[0].id)
    infinite = replace(execution(row, 1), quantity=Decimal("Infinity"))
    too_late = replace(execution(row, 1), time_ns=2**70)
    too_high = replace(status(row, "Submitted", 2**70), order_id=2**70)
    found = ib_says(database, execution(row, 1), infinite, too_late, too_high, execution(row, 2))
    assert [one.order_id for one in found] == [row.id, None, None, None, row.id]
    assert row_of(database, row.id).filled == 3
    assert [code for code, _ in open_incidents(database)] == ["order-word-unmatched"] * 2
    assert counted(database, "SELECT count(*) FROM order_events WHERE order_id IS NULL") == 3


def test_an_answer_that_changes_nothing_leaves_no_event(database: Database) -> None:
    row = working(database)
    ib_says(database, open_order(row, "Submitted", row.perm_ids[0]), known=_ANSWER)
    before, version = events_of(database, row.id), row_of(database, row.id).version
    ib_says(database, open_order(row, "Submitted", row.perm_ids[0]), known=_ANSWER)
    assert (events_of(database, row.id), row_of(database, row.id).version) == (before, version)


def test_a_word_that_came_by_itself_is_an_event_even_if_it_changes_nothing(database: Database) -> None:
    row = working(database)
    again = status(row, "Submitted", row.perm_ids[0])
    before, version = events_of(database, row.id), row_of(database, row.id).version
    ib_says(database, again)
    assert events_of(database, row.id) == [*before, "order-status"]
    assert row_of(database, row.id).version == version


# ---- executions ------------------------------------------------------------------------------------------------------


def test_a_higher_revision_takes_the_place_of_a_lower_one(database: Database) -> None:
    row = working(database, ticket(quantity=5))
    first = execution(row, 3)
    second = corrected(first, 2, "99")
    ib_says(database, first)
    ib_says(database, second)
    assert [(one.revision, one.latest) for one in stored(database)] == [(1, False), (2, True)]
    row = row_of(database, row.id)
    assert seen(row.filled, row.avg_fill_price, position(database)) == (2, 99, 2)
    assert row.reserved_quantity == 3
    ib_says(database, first)  # late: a lower one changes nothing
    assert seen(row_of(database, row.id).filled, position(database), len(stored(database))) == (2, 2, 2)


def test_a_fill_that_is_taken_back_leaves_nothing(database: Database) -> None:
    row = working(database, ticket(quantity=5))
    fill = execution(row, 3)
    ib_says(database, fill)
    ib_says(database, corrected(fill, 0))
    row = row_of(database, row.id)
    assert seen(row.filled, row.avg_fill_price, position(database), row.reserved_quantity) == (0, None, 0, 5)


def test_the_same_execution_twice_is_one(database: Database) -> None:
    row = working(database, ticket(quantity=5))
    fill = execution(row, 3)
    ib_says(database, fill, fill)
    ib_says(database, replace(fill, request_id=9), known=Known(now_ns=NOW, answer="executions"))
    assert seen(row_of(database, row.id).filled, position(database), len(stored(database))) == (3, 3, 1)
    assert open_incidents(database) == []


def test_a_sale_lowers_the_position(database: Database) -> None:
    row = working(database, ticket("SELL", 5))
    ib_says(database, execution(row, 2))
    assert position(database) == -2


def test_more_than_was_ordered_is_an_overfill_and_halts_the_account(database: Database) -> None:
    row = working(database, ticket(quantity=2))
    ib_says(database, execution(row, 3))
    row = row_of(database, row.id)
    assert seen(row.state, row.filled, row.reserved_quantity, position(database)) == ("filled", 3, 0, 3)
    assert ("order-overfill", str(row.id)) in open_incidents(database)
    with database.transaction() as cursor:
        assert [(one.scope, one.state) for one in trading_state.read(cursor, [ACCOUNT])] == [(ACCOUNT, "halted")]
    assert placed(database).refusals[0].code == "trading_halted"


def test_a_late_fill_of_a_cancelled_order_is_booked(database: Database) -> None:
    row = working(database, ticket(quantity=2))
    ib_says(database, status(row, "Cancelled", row.perm_ids[0]))
    assert row_of(database, row.id).state == "cancelled"
    ib_says(database, execution(row, 1))
    row = row_of(database, row.id)
    assert seen(row.state, row.filled, row.reserved_quantity, position(database)) == ("cancelled", 1, 0, 1)
    assert [code for code, _ in open_incidents(database)] == ["order-late-fill"]


# ---- commissions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_a_commission_finds_its_execution_whichever_comes_first(database: Database, early: bool) -> None:
    row = working(database, ticket(quantity=2))
    fill = execution(row, 2)
    words = (commission(fill, "1.05", "3"), fill)
    for word in words if early else words[::-1]:
        ib_says(database, word)
    (found,) = stored(database)
    assert seen(found.commission, found.commission_currency, found.broker_realized) == (Decimal("1.05"), "USD", 3)
    assert counted(database, "SELECT count(*) FROM early_commissions") == 0


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_a_commission_of_an_execution_of_no_order_is_an_event_of_the_account_once(
    database: Database, early: bool
) -> None:
    """A fill without a permId is at no order; who follows the account's fills sees it, and what it cost."""
    fill = execution(working(database), 2, order_id=0, perm_id=0, client_id=0, order_ref="")
    with database.transaction() as cursor:
        last = account_events.newest(cursor, ACCOUNT)
    words: list[Word] = [commission(fill, "1.05"), fill, commission(fill, "1.05")]
    for word in words if early else words[1:]:
        ib_says(database, word)
    with database.transaction() as cursor:
        found = [one for one in account_events.after(cursor, {ACCOUNT: last}, 100) if one.fill]
    assert [one.order for one in found] == [None] * len(found)
    assert [one.row.kind for one in found] == (["execution"] if early else ["execution", "commission"])
    assert [one.fill[-1].commission for one in found] == [Decimal("1.05")] * len(found)


def test_what_ib_did_not_tell_is_not_zero(database: Database) -> None:
    row = working(database, ticket(quantity=2))
    fill = execution(row, 2)
    ib_says(database, fill)
    assert (stored(database)[0].commission, stored(database)[0].broker_realized) == (None, None)
    with database.transaction() as cursor:
        assert [one.exec_id for one in executions.without_commission(cursor, NOW + NS_PER_DAY)] == [fill.exec_id]
        assert executions.without_commission(cursor, NOW - NS_PER_DAY) == []
    ib_says(database, commission(fill))
    assert seen(stored(database)[0].commission, stored(database)[0].broker_realized) == (1, None)


def test_a_correction_waits_for_a_commission_of_its_own(database: Database) -> None:
    row = working(database, ticket(quantity=5))
    fill = execution(row, 3)
    ib_says(database, fill, commission(fill, "1"))
    ib_says(database, corrected(fill, 2))
    latest = stored(database)[-1]
    assert (latest.revision, latest.commission) == (2, None)
    ib_says(database, commission(corrected(fill, 2), "0.8"))
    assert [one.commission for one in stored(database)] == [1, Decimal("0.8")]


# ---- orders of others ------------------------------------------------------------------------------------------------


def manual(word: str = "Submitted", quantity: int = 4, perm_id: int = 500) -> OpenOrder:
    """An order that somebody typed into TWS."""
    return OpenOrder(
        order_id=0,
        client_id=0,
        perm_id=perm_id,
        order_ref="",
        account=ACCOUNT,
        con_id=42,
        symbol="ODD",
        side="BUY",
        type="STP LMT",
        tif="GTC",
        quantity=Decimal(quantity),
        status=word,
        limit_price=Decimal(9),
        aux_price=Decimal(8),
    )


def test_an_order_of_others_is_adopted_shown_and_reserved_for(database: Database) -> None:
    (found,) = ib_says(database, manual(), known=_ANSWER)
    assert found.order_id is not None
    row = row_of(database, found.order_id)
    assert (row.origin, row.principal, row.state, row.perm_ids, row.con_id) == ("external", "ib", "working", [500], 42)
    assert seen(row.type, row.limit_price, row.stop_price, row.reserved_quantity) == ("STP_LMT", 9, 8, 4)
    assert [one.order_id for one in ib_says(database, manual(), known=_ANSWER)] == [row.id]
    assert counted(database, "SELECT count(*) FROM orders") == 1


def test_a_change_that_others_make_is_followed(database: Database) -> None:
    (found,) = ib_says(database, manual(), known=_ANSWER)
    ib_says(database, replace(manual(quantity=6), limit_price=Decimal(10)))
    assert found.order_id is not None
    row = row_of(database, found.order_id)
    assert seen(row.quantity, row.limit_price, row.reserved_quantity, row.state) == (6, 10, 6, "working")


def test_fills_of_others_are_booked_with_an_order_of_their_own(database: Database) -> None:
    row = placed(database).orders[0]
    theirs = execution(row, 3, order_ref="", order_id=0, client_id=0, perm_id=600)
    more = execution(row, 2, order_ref="", order_id=0, client_id=0, perm_id=600)
    first, second = ib_says(database, theirs, more)
    assert first.order_id == second.order_id != row.id
    assert first.order_id is not None
    adopted = row_of(database, first.order_id)
    assert seen(adopted.origin, adopted.filled, adopted.quantity, adopted.state) == ("external", 5, 5, "filled")
    assert position(database) == 5
    assert open_incidents(database) == []


def test_of_an_order_that_was_taken_for_filled_ib_may_show_the_rest(database: Database) -> None:
    row = placed(database).orders[0]
    ib_says(database, execution(row, 3, order_ref="", order_id=0, client_id=0, perm_id=600, con_id=42))
    (found,) = ib_says(database, manual(quantity=5, perm_id=600), known=_ANSWER)
    assert found.order_id is not None
    adopted = row_of(database, found.order_id)
    assert seen(adopted.state, adopted.quantity, adopted.filled, adopted.reserved_quantity) == ("working", 5, 3, 2)
    assert open_incidents(database) == []


def test_a_completed_order_of_others_is_adopted_as_over(database: Database) -> None:
    word = CompletedOrder(700, "", ACCOUNT, 1, "SELL", "LMT", "DAY", Decimal(4), Decimal(0), "Cancelled", "by Trader")
    (found,) = ib_says(database, word, known=Known(now_ns=NOW, answer="completed"))
    assert found.order_id is not None
    row = row_of(database, found.order_id)
    assert seen(row.origin, row.state, row.reserved_quantity) == ("external", "cancelled", 0)


def test_an_order_of_ours_that_the_store_lost_comes_back_under_its_own_id(database: Database) -> None:
    row = working(database)
    lost = "7b0b3f2e-2f9a-4f9e-9b4f-0a2f6f0f1a11"
    (found,) = ib_says(database, open_order(row, "Submitted", 800, order_ref=lost, order_id=801), known=_ANSWER)
    assert str(found.order_id) == lost


def test_an_order_without_a_permid_that_nobody_here_placed_is_only_kept(database: Database) -> None:
    (found,) = ib_says(database, manual(perm_id=0))
    assert found.order_id is None
    assert counted(database, "SELECT count(*) FROM orders") == 0
    assert [code for code, _ in open_incidents(database)] == ["order-word-unmatched"]


# ---- unknown, twins --------------------------------------------------------------------------------------------------


def test_evidence_ends_unknown_and_its_incident(database: Database) -> None:
    row = sent(database, placed(database).orders[0].id)
    ib_says(database, BrokerError(row.order_id or 0, 133, "submit failed"))
    assert row_of(database, row.id).state == "unknown"
    assert ("order-unknown", str(row.id)) in open_incidents(database)
    assert row_of(database, row.id).reserved_quantity == 1
    ib_says(database, open_order(row, "Submitted", 77), known=_ANSWER)
    assert row_of(database, row.id).state == "working"
    assert open_incidents(database) == []


def test_a_second_permid_is_on_the_same_row_and_halts_the_account(database: Database) -> None:
    row = working(database)
    found = ib_says(database, open_order(row, "Submitted", 4_711))
    assert row_of(database, row.id).perm_ids == [*row.perm_ids, 4_711]
    assert found[0].outcome is not None
    assert FollowUp.HALT in found[0].outcome.follow_ups
    with database.transaction() as cursor:
        assert trading_state.read(cursor, [ACCOUNT])[0].state == "halted"
    ib_says(database, replace(status(row, "Submitted", 4_711), order_id=0, client_id=CLIENT))
    assert counted(database, "SELECT count(*) FROM orders") == 1
