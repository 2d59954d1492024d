"""Limits of risk are set by an administrator, row by row, and each change stands in the audit log."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from nautilus.auth.principal import Client
from nautilus.db.connection import Database
from nautilus.db.rows import scalars
from nautilus.errors import InvalidInput, NotFound
from nautilus.orders import limit_changes

ACCOUNT, OTHER = "SIM1", "SIM2"
ADMIN = Client("192.0.2.7", request_id="r1")


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    made = Database(dsn, name="test", size=2)
    yield made
    made.close()


def audited(database: Database) -> list[Any]:
    with database.transaction() as cursor:
        cursor.execute("SELECT detail FROM audit_log WHERE action = 'limit-changed' ORDER BY id")
        return scalars(cursor, dict)


def test_a_row_that_is_removed_leaves_what_was_before(database: Database) -> None:
    with database.transaction() as cursor:
        limit_changes.set_limit(cursor, ACCOUNT, "notional", Decimal("5.50"), by="user:1", client=ADMIN)
        limit_changes.set_limit(cursor, ACCOUNT, "notional", None, by="user:1", client=ADMIN)
        assert limit_changes.unset_limit(cursor, ACCOUNT, "notional", by="user:1", client=ADMIN)
        with pytest.raises(NotFound):
            limit_changes.unset_limit(cursor, ACCOUNT, "notional", by="user:1", client=ADMIN)
        (found,) = [one for one in limit_changes.limits_of(cursor, ACCOUNT) if one.name == "notional"]
    assert (found.value, found.row) == (found.default, None)
    assert [(one["before"], one["after"]) for one in audited(database)] == [
        ("default", "5.50"),
        ("5.50", "none"),
        ("none", "default"),
    ]


def test_what_may_be_traded_is_a_row_too(database: Database) -> None:
    with database.transaction() as cursor:
        limit_changes.set_limit(cursor, "*", "allow:STK", Decimal(1), by="user:1", client=ADMIN)
        limit_changes.set_limit(cursor, OTHER, "allow:FUT", Decimal(1), by="user:1", client=ADMIN)
        assert [row.name for row in limit_changes.allow_rows(cursor, ACCOUNT)] == ["allow:STK"]
        assert [row.name for row in limit_changes.allow_rows(cursor, OTHER)] == ["allow:STK", "allow:FUT"]


def test_a_report_of_limits_says_what_counts_and_from_where(database: Database) -> None:
    with database.transaction() as cursor:
        limit_changes.set_limit(cursor, "*", "notional", Decimal(7), by="user:1", client=ADMIN)
        limit_changes.set_limit(cursor, ACCOUNT, "notional", Decimal(5), by="user:2", client=ADMIN)
        own = {one.name: one for one in limit_changes.limits_of(cursor, ACCOUNT)}
        other = {one.name: one for one in limit_changes.limits_of(cursor, OTHER)}
    assert (own["notional"].value, other["notional"].value, own["notional"].default) == (
        Decimal(5),
        Decimal(7),
        Decimal(250_000),
    )
    assert [one["notional"].row and one["notional"].row.set_by for one in (own, other)] == ["user:2", "user:1"]
    assert own["collar_percent"].row is None


@pytest.mark.parametrize(
    ("account", "name", "value", "field"),
    [
        (ACCOUNT, "colour", Decimal(1), "name"),
        (ACCOUNT, "short", Decimal(2), "value"),
        (ACCOUNT, "notional", Decimal(-1), "value"),
        (ACCOUNT, "notional", Decimal("NaN"), "value"),
        ("SIM 1", "notional", Decimal(1), "account"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    database: Database, account: str, name: str, value: Decimal, field: str
) -> None:
    with pytest.raises(InvalidInput) as wrong, database.transaction() as cursor:
        limit_changes.set_limit(cursor, account, name, value, by="user:1", client=ADMIN)
    assert wrong.value.errors[0].field == field
    assert audited(database) == []
