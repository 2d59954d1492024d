"""Orders are accepted or denied: reservations under the locks, idempotency, groups, denied rows, many at once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import events, orders, risk_book
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import NewOrder, OrderRow
from nautilus.db.prepared import Collision
from nautilus.errors import InvalidInput
from nautilus.orders import place as placing
from nautilus.orders.place import Placed, place
from nautilus.orders.ticket import Exit, Oca, OrderType, Prices
from tests.support.order_ledger import (
    ACCOUNT,
    NOW,
    caller,
    counted,
    events_of,
    findings,
    ledger,
    market,
    placed,
    row_of,
    seen,
    ticket,
)

ROOM = {"gross_exposure": Decimal(1_000)}
"""Room for ten shares at 100."""


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn, limits=ROOM) as made:
        yield made


def book(database: Database) -> tuple[str, ...]:
    """Reserved to buy, to sell, and in value, as texts."""
    with database.transaction() as cursor:
        held = risk_book.read(cursor, ACCOUNT, 1)
        value = risk_book.lock_account(cursor, ACCOUNT).reserved_value
    return tuple(f"{one.normalize():f}" for one in (held.reserved_buy, held.reserved_sell, value))


# ---- accepted and denied ---------------------------------------------------------------------------------------------


def test_an_accepted_order_is_stored_with_its_reservation_and_its_event(database: Database) -> None:
    made = placed(database, ticket(quantity=3), caller("k", "f"))
    row = row_of(database, made.orders[0].id)
    assert (row.state, row.idempotency_key, row.fingerprint, row.principal) == ("accepted", "k", "f", "user:1")
    assert seen(row.reserved_quantity, row.reserved_value, row.unit_value) == (3, 300, 100)
    assert (row.market_at, row.valid_until, row.version) == (NOW, NOW + 30 * 10**9, 1)
    assert book(database) == ("3", "0", "300")
    assert events_of(database, row.id) == ["accepted"]
    assert findings(database) == []


def test_a_denied_order_is_kept_with_its_checks_and_reserves_nothing(database: Database) -> None:
    made = placed(database, ticket(quantity=11), caller("k", "f"))
    row = row_of(database, made.orders[0].id)
    assert made.denied
    assert seen(row.state, row.reserved_quantity, row.reserved_value) == ("denied", 0, 0)
    assert row.checks == [one.as_dict() for one in made.refusals]
    assert {"code": "exposure_limit", "check": 13, "limit": "1000", "value": "1100"}.items() <= row.checks[0].items()
    assert row.over_at is not None
    assert book(database) == ("0", "0", "0")
    assert events_of(database, row.id) == ["denied"]
    assert findings(database) == []


def test_a_name_by_mistake_leaves_a_denied_order_and_no_account(database: Database) -> None:
    wrong = ticket(account="SIM9")
    denied = placed(database, wrong)
    assert [one.code for one in denied.refusals] == ["unknown_account"]
    assert row_of(database, denied.orders[0].id).state == "denied"
    with database.transaction() as cursor:
        assert place(cursor, replace(wrong, dry_run=True), caller(), market()).denied
    for table in ("risk_accounts", "risk_book"):
        assert counted(database, f"SELECT count(*) FROM {table} WHERE account = 'SIM9'") == 0


def test_a_denied_order_leaves_an_account_as_it_was(database: Database) -> None:
    """Also where the same transaction had an order of it before."""
    with database.transaction() as cursor:
        first = place(cursor, ticket(), caller(), market()).orders[0]
        risk_book.forget_unused(cursor, ACCOUNT)
    assert counted(database, f"SELECT count(*) FROM risk_accounts WHERE account = '{ACCOUNT}'") == 1
    assert row_of(database, first.id).reserved_quantity == 1


def test_a_dry_run_writes_nothing(database: Database) -> None:
    for quantity, refused in ((1, False), (11, True)):
        made = placed(database, ticket(quantity=quantity, dry_run=True), caller("k"))
        assert (made.orders, made.denied) == ((), refused)
    assert counted(database, "SELECT count(*) FROM orders") == 0
    assert counted(database, "SELECT count(*) FROM order_events") == 0


def test_a_reducing_order_reserves_its_quantity_and_no_value(database: Database) -> None:
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        risk_book.move(cursor, ACCOUNT, 1, Decimal(5))
    row = placed(database, ticket("SELL", 5)).orders[0]
    assert seen(row.reducing, row.reserved_quantity, row.reserved_value) == (True, 5, 0)
    assert book(database) == ("0", "5", "0")
    more = placed(database, ticket("SELL", 1)).orders[0]
    assert more.reducing is False


# ---- idempotency -----------------------------------------------------------------------------------------------------


def test_the_same_key_with_the_same_body_is_the_same_order(database: Database) -> None:
    first = placed(database, ticket(), caller("k", "f"))
    again = placed(database, ticket(), caller("k", "f"))
    assert [row.id for row in again.orders] == [row.id for row in first.orders]
    assert (first.repeated, again.repeated) == (False, True)
    assert counted(database, "SELECT count(*) FROM orders") == 1
    other = placed(database, ticket(), caller("k", "f", principal="user:2"))
    assert not other.repeated


def test_the_same_key_with_another_body_is_refused(database: Database) -> None:
    placed(database, ticket(), caller("k", "f"))
    with pytest.raises(InvalidInput, match="used for another order") as refused:
        placed(database, ticket(quantity=2), caller("k", "g"))
    assert refused.value.code == "idempotency-key-reused"
    assert counted(database, "SELECT count(*) FROM orders") == 1


def test_a_denied_order_is_answered_again_by_its_key(database: Database) -> None:
    first = placed(database, ticket(quantity=11), caller("k", "f"))
    again = placed(database, ticket(quantity=11), caller("k", "f"))
    assert (again.repeated, again.denied, again.orders[0].id) == (True, True, first.orders[0].id)


def at_once(work: Sequence[Callable[[], Placed]]) -> list[Placed | Exception]:
    """Each in a thread of its own, begun together."""
    begin = threading.Barrier(len(work))

    def run(one: Callable[[], Placed]) -> Placed | Exception:
        begin.wait(10)
        try:
            return one()
        except (InvalidInput, psycopg2.Error) as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(run, work))


def test_two_functions_at_once_with_one_key_make_one_order(database: Database) -> None:
    for round_number in range(20):
        who = caller(f"k{round_number}", "f")
        found = at_once([partial(placed, database, ticket(limit="1"), who)] * 4)
        ids = {one.orders[0].id for one in found if isinstance(one, Placed)}
        assert len(ids) == 1, found
        assert sum(isinstance(one, Placed) and not one.repeated for one in found) == 1
    assert counted(database, "SELECT count(*) FROM orders") == 20
    assert findings(database) == []


def test_without_the_constraint_one_key_would_be_two_orders(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant of the test below: accounts have locks of their own, so that the constraint alone keeps keys apart."""
    with ledger(dsn, "SIM1", "SIM2") as database:
        met = threading.Barrier(2)

        def insert_without_key(cursor: Cursor, new: NewOrder, event: Event) -> OrderRow | None:
            met.wait(10)
            return orders.insert(cursor, new._replace(idempotency_key=None), event)

        monkeypatch.setattr(placing, "orders", SimpleNamespace(insert=insert_without_key, by_key=orders.by_key))
        work = [partial(placed, database, ticket(account=a), caller("k", a)) for a in ("SIM1", "SIM2")]
        assert [type(one).__name__ for one in at_once(work)] == ["Placed", "Placed"]


def test_one_key_for_two_accounts_at_once_is_one_order_and_one_refusal(dsn: str) -> None:
    with ledger(dsn, "SIM1", "SIM2") as database:
        for round_number in range(10):
            key = f"k{round_number}"
            found = at_once(
                [
                    partial(placed, database, ticket(account="SIM1"), caller(key, "one")),
                    partial(placed, database, ticket(account="SIM2"), caller(key, "two")),
                ]
            )
            assert sorted(type(one).__name__ for one in found) == ["InvalidInput", "Placed"], found
        assert counted(database, "SELECT count(*) FROM orders") == 10
        assert findings(database) == []


# ---- groups ----------------------------------------------------------------------------------------------------------

BRACKET: dict[str, Any] = {
    "take_profit": Exit(OrderType.LMT, Prices(limit=Decimal(110))),
    "stop_loss": Exit(OrderType.STP, Prices(stop=Decimal(90))),
}


def test_a_bracket_is_three_rows_of_one_transaction(database: Database) -> None:
    made = placed(database, ticket(quantity=2, **BRACKET), caller("k", "f"))
    parent, profit, loss = made.orders
    assert [row.group_role for row in made.orders] == ["parent", "take_profit", "stop_loss"]
    assert {row.group_id for row in made.orders} == {parent.group_id}
    assert (profit.parent_id, loss.parent_id, parent.parent_id) == (parent.id, parent.id, None)
    assert [row.idempotency_key for row in made.orders] == ["k", None, None]
    assert [row.reserved_value for row in made.orders] == [200, 0, 0]
    assert book(database) == ("2", "4", "200")
    again = placed(database, ticket(quantity=2, **BRACKET), caller("k", "f"))
    assert [row.id for row in again.orders] == [row.id for row in made.orders]
    assert findings(database) == []


def test_a_bracket_is_denied_as_a_whole(database: Database) -> None:
    wrong = BRACKET | {"stop_loss": Exit(OrderType.STP, Prices(stop=Decimal("90.001")))}
    made = placed(database, ticket(quantity=2, **wrong))
    assert [row.state for row in made.orders] == ["denied"] * 3
    assert [one.code for one in made.refusals] == ["price_step"]
    assert book(database) == ("0", "0", "0")


def test_a_bracket_of_which_one_row_fails_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    inserted: list[NewOrder] = []

    def third_fails(cursor: Cursor, new: NewOrder, event: Event) -> OrderRow | None:
        inserted.append(new)
        if len(inserted) == 3:
            raise RuntimeError("the third")
        return orders.insert(cursor, new, event)

    monkeypatch.setattr(placing, "orders", SimpleNamespace(insert=third_fails, by_key=orders.by_key))
    with pytest.raises(RuntimeError, match="the third"):
        placed(database, ticket(quantity=2, **BRACKET))
    assert counted(database, "SELECT count(*) FROM orders") == 0
    assert book(database) == ("0", "0", "0")


def test_orders_of_one_oca_group_share_its_id(database: Database) -> None:
    one, other = (placed(database, ticket(limit=limit, oca=Oca("g", 2))).orders[0] for limit in ("90", "91"))
    assert one.group_id == other.group_id
    assert (one.group_kind, one.group_role, one.oca_group, one.oca_type) == ("oca", "member", "g", 2)


# ---- many at once ----------------------------------------------------------------------------------------------------


def test_of_forty_at_once_with_room_for_ten_exactly_ten_are_accepted(dsn: str) -> None:
    with ledger(dsn, size=20, limits=ROOM) as database:
        found = at_once([partial(placed, database, ticket(), caller(f"k{n}")) for n in range(40)])
        accepted = [one for one in found if isinstance(one, Placed) and not one.denied]
        refused = [one.refusals[0].code for one in found if isinstance(one, Placed) and one.denied]
        assert (len(accepted), refused) == (10, ["exposure_limit"] * 30)
        assert book(database) == ("10", "0", "1000")
        assert findings(database) == []


def test_who_sums_first_and_inserts_then_accepts_more(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: it reads account and contract without holding them."""
    with ledger(dsn, size=20, limits=ROOM) as database:
        all_read = threading.Barrier(20)

        def read_and_wait(
            cursor: Cursor, account: str, con_id: int
        ) -> tuple[risk_book.AccountRow, risk_book.ExposureRow]:
            found = risk_book.read(cursor, account, con_id)
            all_read.wait(10)
            return risk_book.AccountRow(account, Decimal(0)), found

        monkeypatch.setattr(placing, "risk_book", SimpleNamespace(lock_book=read_and_wait))
        with database.transaction() as cursor:
            risk_book.lock_account(cursor, ACCOUNT)
            risk_book.lock_exposure(cursor, ACCOUNT, 1)
        found = at_once([partial(placed, database, ticket(), caller(f"k{n}")) for n in range(20)])
        assert sum(isinstance(one, Placed) and not one.denied for one in found) > 10


# ---- rows that others changed ----------------------------------------------------------------------------------------


def test_a_change_of_a_row_that_somebody_else_changed_is_refused(database: Database) -> None:
    row = placed(database).orders[0]
    with database.transaction() as cursor:
        orders.lock_with_book(cursor, row.id)
        newer = orders.update(cursor, row, {"why": "first"}, Event("note", "process", NOW))
    with pytest.raises(Collision), database.transaction() as cursor:
        orders.update(cursor, row, {"why": "second"}, Event("note", "process", NOW))
    assert (newer.version, row_of(database, row.id).why) == (2, "first")


def test_twenty_changes_at_once_are_twenty_versions(database: Database) -> None:
    """Each reads under the lock what the one before wrote: no note is lost."""
    row = placed(database).orders[0]

    def add_note(number: int) -> None:
        with database.transaction() as cursor:
            held = orders.lock_with_book(cursor, row.id)
            assert held is not None
            notices = [*held.notices, {"code": number, "text": ""}]
            orders.update(cursor, held, {"notices": notices}, Event("note", "process", NOW))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_note, range(20)))
    found = row_of(database, row.id)
    assert sorted(notice["code"] for notice in found.notices) == list(range(20))
    assert found.version == 21


def test_who_reads_without_the_lock_is_told_of_the_collision_and_loses_nothing(database: Database) -> None:
    """The opponent of the test above: version and lock both gone, notes are lost; with the version alone nobody loses any."""
    row, read = placed(database).orders[0], threading.Barrier(8)

    def add_note(number: int) -> bool:
        with database.transaction() as cursor:
            held = orders.read(cursor, row.id)
            assert held is not None
            read.wait(10)
            notices = [*held.notices, {"code": number, "text": ""}]
            try:
                orders.update(cursor, held, {"notices": notices}, Event("note", "process", NOW))
            except Collision:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add_note, range(8))) == 1
    assert len(row_of(database, row.id).notices) == 1


def test_columns_that_follow_from_others_are_not_set_by_a_change(database: Database) -> None:
    row = placed(database).orders[0]
    for column in ("reserved_quantity", "version", "account", "nonsense"):
        with pytest.raises(ValueError, match=column), database.transaction() as cursor:
            orders.update(cursor, row, {column: 1}, Event("note", "process", NOW))


# ---- events ----------------------------------------------------------------------------------------------------------


def test_events_of_an_account_come_in_the_order_of_their_commits(dsn: str) -> None:
    """A reader that goes on from the last id of each account misses none, however many write."""
    accounts = ["SIM1", "SIM2"]
    with ledger(dsn, *accounts, size=12) as database:
        seen: list[int] = []
        last = dict.fromkeys(accounts, 0)
        done = threading.Event()

        def read() -> None:
            while True:
                over = done.is_set()
                with database.transaction() as cursor:
                    found = events.after(cursor, last)
                for event in found:
                    seen.append(event.id)
                    last[event.account] = event.id
                if over and not found:
                    return

        reader = threading.Thread(target=read)
        reader.start()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: placed(database, ticket(account=accounts[n % 2])), range(80)))
        done.set()
        reader.join(30)
        assert len(seen) == len(set(seen)) == counted(database, "SELECT count(*) FROM order_events") == 80


def test_the_commit_is_durable_even_where_the_server_would_not_wait(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        place(cursor, ticket(), caller(), market())
        cursor.execute("SELECT current_setting('synchronous_commit')")
        assert cursor.fetchone()[0] == "on"


def test_a_list_goes_on_behind_its_last_order(database: Database) -> None:
    made = [placed(database, ticket(limit="1")).orders[0].id for _ in range(5)]
    which = orders.OrderFilter(accounts=[ACCOUNT], open_only=True)
    found: list[UUID] = []
    last: orders.LastListed | None = None
    with database.transaction() as cursor:
        while page := orders.listed(cursor, which, last, 2):
            found += [row.id for row in page]
            last = orders.LastListed(page[-1].accepted_at, page[-1].id)
        assert orders.listed(cursor, orders.OrderFilter(accounts=["SIM9"])) == []
        assert orders.listed(cursor, orders.OrderFilter(states=["denied"])) == []
    assert found == made[::-1]


# ---- an order whose value nobody knows -------------------------------------------------------------------------------

NEVER_QUOTED = market(quote=None, close=None)


def test_an_order_without_a_price_reserves_the_most_that_one_order_may_be_worth(dsn: str) -> None:
    with ledger(dsn, limits={"gross_exposure": Decimal(1_000), "notional": Decimal(400)}) as database:
        made = [placed(database, ticket(quantity=3, limit=None), facts=NEVER_QUOTED) for _ in range(3)]
        assert [one.denied for one in made] == [False, False, True]
        first = row_of(database, made[0].orders[0].id)
        assert Decimal(400) <= first.reserved_value <= Decimal("400.000001")
        (refusal,) = made[2].refusals
        assert seen(refusal.code, refusal.limit, refusal.value) == ("exposure_limit", "1000", "1200")
        assert findings(database) == []


def test_an_order_that_nothing_bounds_is_refused_and_names_what_is_missing(database: Database) -> None:
    made = placed(database, ticket(quantity=3, limit=None), facts=NEVER_QUOTED)
    (refusal,) = made.refusals
    assert seen(refusal.code, refusal.check, refusal.limit, refusal.value) == (
        "exposure_limit",
        13,
        "1000",
        "not known",
    )
    assert "neither a price nor a rate" in refusal.text
    assert book(database) == ("0", "0", "0")


def test_a_rate_that_is_missing_counts_as_a_price_that_is(dsn: str) -> None:
    with ledger(dsn, limits={"gross_exposure": Decimal(1_000), "notional": Decimal(400)}) as database:
        made = placed(database, ticket(quantity=4), facts=market(rate=None))
        assert seen(row_of(database, made.orders[0].id).unit_value) == (100,)


def test_without_a_limit_of_the_exposure_an_order_needs_no_value(dsn: str) -> None:
    with ledger(dsn) as database:
        made = placed(database, ticket(quantity=3, limit=None), facts=NEVER_QUOTED)
        assert not made.denied
        assert row_of(database, made.orders[0].id).unit_value is None
