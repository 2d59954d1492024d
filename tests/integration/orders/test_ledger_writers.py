"""Writers of every kind at once meet no deadlock; order ids are given once; the newest process alone may send."""

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

import pytest

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import orders, process, risk_book, sessions
from nautilus.db.orders.events import Event
from nautilus.db.prepared import Collision
from nautilus.errors import Conflict, InvalidInput
from nautilus.orders import change
from nautilus.orders.outcome import Terms
from nautilus.orders.words import Word
from tests.support.order_ledger import (
    CLIENT,
    NOW,
    STOCK,
    caller,
    counted,
    execution,
    findings,
    ib_says,
    ledger,
    market,
    placed,
    row_of,
    sent,
    status,
    ticket,
    working,
)

ACCOUNTS = ("SIM1", "SIM2", "SIM3")


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn, *ACCOUNTS, size=10) as made:
        yield made


# ---- locks -----------------------------------------------------------------------------------------------------------


class Writers:
    """What functions, the order process and the kill switch do, each in transactions of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rows = [working(database, ticket(quantity=50, account=account)) for account in ACCOUNTS for _ in range(2)]

    def place(self, draw: random.Random) -> None:
        placed(self.database, ticket(account=draw.choice(ACCOUNTS)), caller(str(draw.random())))

    def cancel(self, draw: random.Random) -> None:
        with self.database.transaction() as cursor:
            change.cancel(cursor, draw.choice(self.rows).id, caller(), now=NOW)

    def modify(self, draw: random.Random) -> None:
        row, terms = draw.choice(self.rows), Terms(quantity=Decimal(draw.randint(51, 90)))
        with self.database.transaction() as cursor:
            change.modify(cursor, row.id, terms, caller(), version=None, instrument=STOCK, facts=market())

    def record(self, draw: random.Random) -> None:
        """Words of several accounts in one transaction, in any order."""
        words: list[Word] = []
        for row in draw.sample(self.rows, 4):
            words += [execution(row, 1), status(row, "Submitted", row.perm_ids[0])]
        ib_says(self.database, *words)

    def kill(self, draw: random.Random) -> None:
        """All accounts at once."""
        with self.database.transaction() as cursor:
            risk_book.lock_accounts(cursor, draw.sample(ACCOUNTS, 3))
            for account in ACCOUNTS:
                for row in orders.open_of(cursor, account):
                    orders.lock(cursor, row.id)


def test_writers_of_every_kind_at_once_meet_no_deadlock(database: Database) -> None:
    writers = Writers(database)
    kinds: Sequence[Callable[[random.Random], None]] = (
        *(writers.place, writers.cancel, writers.modify, writers.record, writers.record, writers.kill),
    )
    collisions = []

    def work(number: int) -> None:
        draw = random.Random(number)
        for _ in range(12):
            try:
                draw.choice(kinds)(draw)
            except (Conflict, InvalidInput):
                pass
            except Collision as met:
                collisions.append(met)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert collisions == []
    assert findings(database) == []


def test_who_locks_accounts_in_any_order_meets_a_deadlock(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: accounts are locked as the words name them."""
    rows = [working(database, ticket(quantity=50, account=account)) for account in ACCOUNTS[:2]]
    both = threading.Barrier(2)

    def as_they_come(cursor: Cursor, accounts: Iterable[str]) -> None:
        first, *others = dict.fromkeys(accounts)
        risk_book.lock_account(cursor, first)
        both.wait(10)
        for account in others:
            risk_book.lock_account(cursor, account)

    monkeypatch.setattr(risk_book, "lock_accounts", as_they_come)

    def record(order: Sequence[int]) -> bool:
        try:
            ib_says(database, *(execution(rows[number], 1) for number in order))
        except Collision:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(record, ([0, 1], [1, 0]))) == [False, True]


# ---- order ids and the token -----------------------------------------------------------------------------------------


def test_no_order_id_is_given_twice_by_any_number_at_once(database: Database) -> None:
    def take(number: int) -> list[int]:
        with database.transaction() as cursor:
            first = sessions.reserve_order_id(cursor, CLIENT, 100, count=3)
        return list(range(first, first + 3))

    with ThreadPoolExecutor(8) as pool:
        taken = [number for three in pool.map(take, range(20)) for number in three]
    assert sorted(taken) == list(range(100, 160))


def test_a_gateway_that_begins_anew_with_lower_ids_gets_higher_ones(database: Database) -> None:
    with database.transaction() as cursor:
        assert sessions.reserve_order_id(cursor, CLIENT, 100) == 100
        assert sessions.reserve_order_id(cursor, CLIENT, 97) == 101
        assert sessions.reserve_order_id(cursor, CLIENT, 200) == 200
        assert sessions.raise_floor(cursor, CLIENT, 150) == 201
        assert sessions.raise_floor(cursor, CLIENT, 300) == 300
        assert sessions.reserve_order_id(cursor, CLIENT, 1) == 300
        assert sessions.reserve_order_id(cursor, 6, 1) == 1


def test_an_order_id_that_is_not_committed_is_not_lost(database: Database) -> None:
    """The row that takes it and the floor go together."""

    def crash() -> None:
        with database.transaction() as cursor:
            assert sessions.reserve_order_id(cursor, CLIENT, 100) == 100
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    with database.transaction() as cursor:
        assert sessions.reserve_order_id(cursor, CLIENT, 100) == 100


def test_one_connection_at_a_time_is_open(database: Database) -> None:
    with database.transaction() as cursor:
        first = sessions.begin(cursor, CLIENT, 1, ["SIM1"], server_version=178)
        second = sessions.begin(cursor, CLIENT, 1, ["SIM1"])
        assert second > first
    assert counted(database, "SELECT count(*) FROM gateway_sessions WHERE ended_at IS NULL") == 1
    with database.transaction() as cursor:
        sessions.end(cursor, second)
    assert counted(database, "SELECT count(*) FROM gateway_sessions WHERE ended_at IS NULL") == 0


def test_the_newest_process_alone_may_send(database: Database) -> None:
    with database.transaction() as cursor:
        first = process.take_over(cursor, "one", mode="paper", client_id=CLIENT)
        second = process.take_over(cursor, "two", mode="paper", client_id=CLIENT)
        assert second == first + 1
        assert not process.report(cursor, first, state="ready")
        assert process.report(cursor, second, state="not_ready", reason="r", accounts=["SIM1"], reconciled=True)
        assert (process.still_mine(cursor, first), process.still_mine(cursor, second)) == (False, True)
        row = process.read(cursor)
    assert row is not None
    assert (row.holder, row.state, row.reason, row.accounts) == ("two", "not_ready", "r", ["SIM1"])
    assert row.last_reconciled_at is not None


def test_nobody_takes_over_between_the_look_at_the_token_and_the_commit(database: Database) -> None:
    with database.transaction() as cursor:
        token = process.take_over(cursor, "one", mode="paper")
    taken = threading.Event()

    def take_over() -> None:
        with database.transaction() as cursor:
            process.take_over(cursor, "two", mode="paper")
        taken.set()

    thread = threading.Thread(target=take_over)
    with database.transaction() as cursor:
        assert process.still_mine(cursor, token)
        thread.start()
        while counted(database, "SELECT count(*)::int FROM pg_locks WHERE NOT granted") == 0:
            assert thread.is_alive()
        assert not taken.is_set()
    thread.join(30)
    assert taken.is_set()


# ---- sending ---------------------------------------------------------------------------------------------------------


def test_a_cancel_between_the_two_commits_of_sending_stops_it(database: Database) -> None:
    """The second commit finds the order no longer `reserved`."""
    order_id = placed(database).orders[0].id
    with database.transaction() as cursor:
        row = orders.lock_with_book(cursor, order_id)
        assert row is not None
        orders.update(cursor, row, {"state": "reserved"}, Event("reserved", "process", NOW))
    with database.transaction() as cursor:
        change.cancel(cursor, order_id, caller(), now=NOW)
    with database.transaction() as cursor:
        held = orders.lock_with_book(cursor, order_id)
    assert held is not None
    assert held.state == "cancelled"


def test_what_waits_and_what_a_crash_left_is_found_by_its_state(database: Database) -> None:
    ids: list[UUID] = [placed(database).orders[0].id for _ in range(3)]
    sent(database, ids[1])
    with database.transaction() as cursor:
        assert [row.id for row in orders.in_state(cursor, ["accepted"])] == [ids[0], ids[2]]
        assert [row.id for row in orders.in_state(cursor, ["sending", "reserved"])] == [ids[1]]
    assert row_of(database, ids[1]).order_id is not None
