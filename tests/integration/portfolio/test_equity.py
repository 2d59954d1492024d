"""Which value of an account is that of a trade date, and which contracts' profits are wanted, on rows alone."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from nautilus.clock import NS_PER_S
from nautilus.db.connection import Database
from nautilus.db.portfolio import broker, equity
from nautilus.db.portfolio.broker import BrokerPnl
from nautilus.portfolio.trade_dates import span_of

ACCOUNT = "SIM1"
MONDAY = date(2026, 3, 2)
_, END = span_of(MONDAY)
_MINUTE = 60 * NS_PER_S


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    made = Database(dsn, name="test")
    yield made
    made.close()


def ended(database: Database, *, value: tuple[int, int] | None, minutes: dict[int, int]) -> list[tuple[Decimal, int]]:
    """Worth and time of the day's row. value: in `accounts`, and when it came, in seconds before the end; minutes: the same
    -> worth in `pnl_minutes`."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO accounts (account, kind, base_currency, net_liquidation, values_at, opened_at)"
            " VALUES (%s, 'paper', 'USD', %s, %s, 1)",
            (ACCOUNT, value and value[0], value and END - value[1] * NS_PER_S),
        )
        for before_s, worth in minutes.items():
            cursor.execute(
                "INSERT INTO pnl_minutes (account, minute, net_liquidation) VALUES (%s, %s, %s)",
                (ACCOUNT, END - before_s * NS_PER_S, worth),
            )
        missing = equity.end_day(cursor, [ACCOUNT], MONDAY, span_of(MONDAY))
        found = equity.days(cursor, [ACCOUNT])
        assert missing == ([] if found else [ACCOUNT])
        assert equity.end_day(cursor, [ACCOUNT], MONDAY, span_of(MONDAY)) == missing
        assert equity.days(cursor, [ACCOUNT]) == found
    return [(row.net_liquidation, (END - row.as_of) // NS_PER_S) for row in found]


@pytest.mark.parametrize(
    ("value", "minutes", "day"),
    [
        ((100, 1), {60: 90, 120: 80}, [(100, 1)]),
        ((100, -1), {60: 90, 120: 80}, [(90, 60)]),  # the newest value came after the end
        ((100, -1), {60: 90, -60: 95}, [(90, 60)]),
        ((100, 0), {}, []),
        ((100, 3_600), {}, [(100, 3_600)]),
        ((100, 3_601), {3_660: 90}, []),  # nothing of the last hour tells about the end
        (None, {60: 90}, [(90, 60)]),
        (None, {}, []),
    ],
)
def test_a_day_is_worth_what_came_last_in_its_last_hour(
    database: Database, value: tuple[int, int] | None, minutes: dict[int, int], day: list[tuple[int, int]]
) -> None:
    assert ended(database, value=value, minutes=minutes) == [(Decimal(worth), before_s) for worth, before_s in day]


def test_a_day_before_the_account_was_known_is_not_missing(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO accounts (account, kind, opened_at) VALUES (%s, 'paper', %s)", (ACCOUNT, END))
        assert equity.end_day(cursor, [ACCOUNT], MONDAY, span_of(MONDAY)) == []


@pytest.mark.parametrize(
    ("position", "sent", "wanted"), [(5, None, True), (5, 5, True), (0, 5, True), (0, 0, False), (0, None, False)]
)
def test_the_profit_of_a_contract_is_wanted_until_ib_says_that_nothing_is_left(
    database: Database, position: int, sent: int | None, wanted: bool
) -> None:
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO broker_positions (account, con_id, quantity, as_of) VALUES (%s, 1, %s, 1)", (ACCOUNT, position)
        )
        if sent is not None:
            nothing = Decimal(0)
            broker.put_pnl(cursor, [BrokerPnl(ACCOUNT, 1, Decimal(sent), nothing, nothing, nothing, nothing, as_of=1)])
        assert broker.to_watch(cursor, [ACCOUNT]) == ([(ACCOUNT, 1)] if wanted else [])


@pytest.mark.parametrize(
    ("age_s", "standing_s", "kept"),
    [
        (239, None, True),
        (240, None, False),
        (3_600, 3_600, True),
        (3_601, 3_600, False),  # it came before the account was followed
        (239, 10, True),
    ],
)
def test_a_value_counts_in_a_minute_while_its_stream_stands(
    database: Database, age_s: int, standing_s: int | None, kept: bool
) -> None:
    minute = END // _MINUTE * _MINUTE
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO accounts (account, kind, base_currency, net_liquidation, values_at) VALUES (%s, 'paper', 'USD', 7, %s)",
            (ACCOUNT, minute - age_s * NS_PER_S),
        )
        cursor.execute(
            "INSERT INTO account_values (account, tag, currency, value, as_of) VALUES (%s, 'DailyPnL', 'BASE', '5', %s)",
            (ACCOUNT, minute - age_s * NS_PER_S),
        )
        standing = {} if standing_s is None else {ACCOUNT: minute - standing_s * NS_PER_S}
        equity.put_minutes(cursor, [ACCOUNT], minute + 7, standing)
        (row,) = equity.minutes(cursor, [ACCOUNT], 0, END + 1)
    assert (row.net_liquidation, row.daily) == ((7, 5) if kept else (None, None))
