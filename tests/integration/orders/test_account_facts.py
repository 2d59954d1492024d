"""What the checks are told of an account's losing trades and of the gateway's restart, from the rows that say so."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from nautilus.clock import NS_PER_DAY, NS_PER_S, parse_rfc3339
from nautilus.db.connection import Database
from nautilus.db.orders import process
from nautilus.orders.place import Placed
from nautilus.orders.words import Execution
from tests.support.order_ledger import (
    NOW,
    commission,
    execution,
    ib_says,
    ledger,
    market,
    placed,
    ticket,
    working,
)

COOL = {"cool_down_losses": Decimal(2), "cool_down": Decimal(600), "restart_window": Decimal(60)}
LATER = market(now=NOW + 60 * NS_PER_S)
"""A minute after the fills; by machine time none of them is new."""


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn, limits=COOL) as made:
        yield made


def trade(database: Database, realized: str | None, *parts: int, reported: bool = True, at: int = NOW) -> None:
    """An order that filled in parts; IB reports the same result with each of them."""
    row = working(database, ticket(quantity=sum(parts or (1,))))
    fills: list[Execution] = [replace(execution(row, part), time_ns=at) for part in parts or (1,)]
    ib_says(database, *fills)
    if reported:
        ib_says(database, *(commission(one, realized=realized) for one in fills))
    with database.transaction() as cursor:
        cursor.execute("UPDATE executions SET seen_at = seen_at - interval '1 minute' WHERE order_id = %s", (row.id,))


def refused(made: Placed) -> list[tuple[int, str | None, str | None]]:
    return [(one.check, one.limit, one.value) for one in made.refusals]


def test_after_two_losing_trades_no_entry_passes_and_the_pause_ends(database: Database) -> None:
    trade(database, "-1", 1, 2)  # one trade, though it filled in two parts
    trade(database, "5")
    trade(database, None)  # it opened: nothing was realized
    assert refused(placed(database, facts=LATER)) == []
    trade(database, "-0.01")
    assert refused(placed(database, facts=LATER)) == [(22, "2", "2")]
    assert "540 s" in placed(database, facts=LATER).refusals[0].text
    assert refused(placed(database, facts=market(now=NOW + 601 * NS_PER_S))) == []


BEGAN = parse_rfc3339("2024-01-05T22:00:00Z")
"""Friday, 17:00 in New York: the trade date of Monday, NOW's, begins."""


@pytest.mark.parametrize(
    ("at", "count"), [(BEGAN - 1, False), (BEGAN, True), (NOW // NS_PER_DAY * NS_PER_DAY - 1, True)]
)
def test_losses_count_from_the_beginning_of_the_accounts_trade_date(database: Database, at: int, count: bool) -> None:
    trade(database, "-1", at=at)
    trade(database, "-1")
    assert refused(placed(database, facts=LATER)) == ([(22, "2", "2")] if count else [])


def test_a_result_that_ib_has_not_reported_yet_lets_no_entry_pass(database: Database) -> None:
    trade(database, None, reported=False)
    made = placed(database, facts=LATER)
    assert refused(made) == [(22, "2", None)]
    assert made.refusals[0].temporary
    assert "not reported" in made.refusals[0].text


def test_without_the_limit_nobody_counts(dsn: str) -> None:
    with ledger(dsn) as database:
        trade(database, "-1")
        trade(database, None, reported=False)
        assert refused(placed(database, facts=LATER)) == []


@pytest.mark.parametrize(("seconds", "passes"), [(59, False), (61, True), (-1, True)])
def test_the_restart_that_the_order_process_wrote_is_what_the_check_sees(
    database: Database, seconds: int, passes: bool
) -> None:
    from nautilus.db.orders import risk_book
    from nautilus.orders import checks
    from nautilus.orders.account_facts import with_account
    from tests.support.order_ledger import ACCOUNT

    with database.transaction() as cursor:
        row = process.read(cursor)
        assert row is not None
        process.report(cursor, row.token, state="ready", restarts_at=NOW + seconds * NS_PER_S)
        account, exposure = risk_book.lock_account(cursor, ACCOUNT), risk_book.lock_exposure(cursor, ACCOUNT, 1)
        facts = with_account(cursor, market(), account, exposure, principal="user:1")
    found = [one for one in checks.run(ticket(), facts, "process") if one.check == 23]
    assert (found == []) is passes, found
    if not passes:
        assert (found[0].limit, found[0].value, found[0].temporary) == ("60 s", "59 s", True)
