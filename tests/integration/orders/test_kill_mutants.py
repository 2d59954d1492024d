"""Kill, resume and limits with one of their rules broken: each is found by a test of test_kill.py or test_limit_changes.py."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.db.auth import audit
from nautilus.db.connection import Database
from nautilus.db.orders import positions, trading_state
from nautilus.orders import account_facts, change, flatten, kill, limit_changes, limits, tightening
from nautilus.orders.placing_rows import Caller
from tests.integration.orders import test_kill as kills
from tests.integration.orders import test_limit_changes as changes
from tests.support.order_ledger import ACCOUNT, ledger

Patch = pytest.MonkeyPatch


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn, ACCOUNT, kills.OTHER) as made:
        yield made


# ---- what is broken --------------------------------------------------------------------------------------------------


def halt_too_mildly(patch: Patch) -> None:
    """A kill lets orders pass that reduce."""
    put = trading_state.put
    patch.setattr(trading_state, "put", lambda c, scope, state, **how: put(c, scope, "reducing", **how))


def halt_all_for_one(patch: Patch) -> None:
    """A kill of one account is one of all."""
    patch.setattr(kill, "_scopes", lambda accounts: (trading_state.ALL,))


def leave_what_was_not_sent(patch: Patch) -> None:
    patch.setattr(kill, "_deny", lambda *_: None)


def cancel_stops_as_well(patch: Patch) -> None:
    patch.setattr(kill, "is_entry", lambda row: row.origin != "external")


def cancel_exits_as_well(patch: Patch) -> None:
    patch.setattr(kill, "EXITS", frozenset())
    patch.setattr(kill, "is_entry", lambda row: row.origin != "external")


def cancel_orders_of_others(patch: Patch) -> None:
    """What a person placed in TWS is ours."""
    patch.setattr(kill, "_is_meant", lambda row, cancel: cancel != "none")
    patch.setattr(change, "_may_change", lambda row: None)


def send_the_modify_nevertheless(patch: Patch) -> None:
    patch.setattr(change, "_overtake", lambda cursor, row, request, **_: row)


def flatten_beside_open_orders(patch: Patch) -> None:
    patch.setattr(flatten, "orders", SimpleNamespace(open_of=lambda *_: []))


def flatten_what_ib_does_not_have(patch: Patch) -> None:
    patch.setattr(flatten, "positions", SimpleNamespace(differences=lambda *_: []))


def flatten_again_and_again(patch: Patch) -> None:
    """Each look has a key of its own."""
    numbers = iter(range(10**6))
    patch.setattr(flatten, "Caller", lambda principal, key: Caller(principal, f"{key}:{next(numbers)}"))


def resume_in_spite_of_breaks(patch: Patch) -> None:
    patch.setattr(positions, "open_breaks", lambda *_: [])


def resume_accounts_with_a_row_of_their_own(patch: Patch) -> None:
    """A resume of all is one of each account."""
    state_of = account_facts.state_of
    patch.setattr(
        kills,
        "state_of",
        lambda rows, *about: state_of([row for row in rows if row.scope == trading_state.ALL], *about),
    )


def resume_without_a_word(patch: Patch) -> None:
    """Nobody can read afterwards who resumed."""
    patch.setattr(audit, "record", lambda *_, **__: None)


def forget_the_resume_of_a_day(patch: Patch) -> None:
    """The loss of before tightens again at the next look."""
    patch.setattr(trading_state, "open_day", lambda *_, **__: None)


def tighten_for_ever(patch: Patch) -> None:
    """What a loss tightens does not end with its trade date."""

    def write(cursor: Any, account: str, found: Any, today: str) -> bool:
        return trading_state.tighten(cursor, account, found.state, reason=found.reason, set_by="order-process")

    patch.setattr(tightening, "_write", write)


def count_defaults_alone(patch: Patch) -> None:
    merged = limits.merged
    patch.setattr(account_facts, "merged", lambda rows, account, kind: merged([], account, kind))


def forget_the_row_of_all(patch: Patch) -> None:
    patch.setattr(limits, "ALL_ACCOUNTS", ACCOUNT)


def count_for_every_account(patch: Patch) -> None:
    """A limit of one account holds for all."""
    merged = limits.merged
    patch.setattr(
        account_facts,
        "merged",
        lambda rows, account, kind: merged([row._replace(account=account) for row in rows], account, kind),
    )
    patch.setattr(limit_changes, "checked_accounts", lambda field, accounts: ("*",))


def change_limits_without_a_word(patch: Patch) -> None:
    patch.setattr(audit, "record", lambda *_, **__: None)


Test = Callable[[Database], None]


def _entries(database: Database) -> None:
    kills.test_a_kill_cancels_what_it_says(database, "entries", {"entry", "unknown"})


def _everything(database: Database) -> None:
    kills.test_a_kill_cancels_what_it_says(database, "everything", {"entry", "unknown", "stop"})


def _not_sent(database: Database) -> None:
    kills.test_what_was_not_sent_is_never_sent(database, "accepted", "entries")


MUTANTS: list[tuple[Callable[[Patch], None], Test]] = [
    (halt_too_mildly, kills.test_after_a_kill_no_order_passes_anywhere),
    (halt_all_for_one, kills.test_a_kill_of_one_account_leaves_the_others),
    (leave_what_was_not_sent, _not_sent),
    (cancel_stops_as_well, _entries),
    (cancel_exits_as_well, kills.test_the_exits_of_a_bracket_stay),
    (cancel_orders_of_others, _everything),
    (send_the_modify_nevertheless, kills.test_a_modify_that_waits_is_not_sent_after_a_kill),
    (flatten_beside_open_orders, kills.test_flatten_closes_a_position_when_nothing_of_ours_is_open_there),
    (flatten_what_ib_does_not_have, kills.test_flatten_waits_for_an_unknown_order_and_for_ibs_position),
    (flatten_again_and_again, kills.test_what_a_check_refuses_is_not_tried_for_ever),
    (resume_in_spite_of_breaks, kills.test_nobody_resumes_while_a_position_is_not_ibs),
    (resume_accounts_with_a_row_of_their_own, kills.test_a_halt_of_one_account_outlasts_a_resume_of_all),
    (resume_without_a_word, kills.test_an_administrator_lets_trading_go_on),
    (forget_the_resume_of_a_day, kills.test_an_administrator_resumes_in_spite_of_a_loss_for_the_rest_of_the_trade_date),
    (tighten_for_ever, kills.test_a_loss_tightens_until_its_trade_date_is_over),
    (count_defaults_alone, kills.test_a_limit_that_an_administrator_sets_counts_from_the_next_order_on),
    (forget_the_row_of_all, changes.test_a_report_of_limits_says_what_counts_and_from_where),
    (count_for_every_account, kills.test_a_limit_that_an_administrator_sets_counts_from_the_next_order_on),
    (change_limits_without_a_word, changes.test_a_row_that_is_removed_leaves_what_was_before),
]


@pytest.mark.parametrize(("broken", "test"), MUTANTS, ids=[broken.__name__ for broken, _ in MUTANTS])
def test_a_broken_rule_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Patch], None], test: Test
) -> None:
    broken(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError)):
        test(database)
