"""The rules of connections: few, checked before use, named, bounded; and what a snapshot and a prepared statement are."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest

from nautilus.db.connection import Database
from nautilus.db.cursor import Prepared, PreparedByName
from nautilus.db.prepared import Collision
from nautilus.errors import Unavailable

_SUM = Prepared("test_sum", "SELECT $1 + 1 AS number, $2 AS words", ("int", "text[]"))


@pytest.fixture
def one(dsn: str) -> Iterator[Database]:
    """As in Lambda: a pool of one."""
    database = Database(dsn, name="nautilus-test", size=1, statement_timeout_ms=300)
    yield database
    database.close()


def ask(database: Database, query: str, *, snapshot: bool = True) -> tuple[object, ...]:
    with database.transaction(snapshot=snapshot) as cursor:
        cursor.execute(query)
        return tuple(cursor.fetchone())


def outside(dsn: str, statement: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


# ---- connections -----------------------------------------------------------------------------------------------------


def test_connections_are_named_bounded_and_never_compile(one: Database) -> None:
    names = ("application_name", "statement_timeout", "timezone", "idle_in_transaction_session_timeout", "jit")
    settings = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    for snapshot in (False, True):
        body = ask(one, f"SELECT {settings}", snapshot=snapshot)
        assert body == ("nautilus-test", "300ms", "UTC", "1min", "off")


def test_a_pool_of_one_opens_one_connection_and_uses_it_again(one: Database) -> None:
    assert len({ask(one, "SELECT pg_backend_pid()", snapshot=n % 2 == 0) for n in range(6)}) == 1


def test_a_caller_who_finds_all_connections_busy_is_told_to_come_back(dsn: str) -> None:
    with closing(Database(dsn, name="nautilus-test", size=1, pool_wait_s=0.05)) as pool:
        with pool.transaction():
            with ThreadPoolExecutor(1) as threads, pytest.raises(Unavailable) as refused:
                threads.submit(ask, pool, "SELECT 1").result()
            assert refused.value.code == "database-busy"
            assert refused.value.retry_after_s
        assert ask(pool, "SELECT 1") == (1,)


def test_a_connection_that_died_while_idle_is_replaced_without_a_word(dsn: str, one: Database) -> None:
    (pid,) = ask(one, "SELECT pg_backend_pid()")
    outside(dsn, f"SELECT pg_terminate_backend({pid}, 1000)")
    assert ask(one, "SELECT pg_backend_pid()") != (pid,)


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_statement_that_takes_too_long_ends_and_the_connection_lives_on(one: Database, snapshot: bool) -> None:
    before = ask(one, "SELECT pg_backend_pid()")
    with pytest.raises(Unavailable) as slow:
        ask(one, "SELECT pg_sleep(5)", snapshot=snapshot)
    assert slow.value.code == "database-slow"
    assert ask(one, "SELECT pg_backend_pid()") == before


def test_a_connection_that_dies_at_work_says_so_once(one: Database) -> None:
    with pytest.raises(Unavailable) as gone:
        ask(one, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert gone.value.code == "database-unavailable"
    assert ask(one, "SELECT 1") == (1,)


# ---- snapshots -------------------------------------------------------------------------------------------------------


def test_a_snapshot_sees_one_state_and_writes_nothing(dsn: str, one: Database) -> None:
    outside(dsn, "CREATE TABLE things (n int)")
    with one.transaction(snapshot=True) as cursor:
        cursor.execute("SELECT count(*) FROM things")
        assert cursor.fetchone()[0] == 0
        outside(dsn, "INSERT INTO things VALUES (1)")
        cursor.execute("SELECT count(*) FROM things")
        assert cursor.fetchone()[0] == 0
    assert ask(one, "SELECT count(*) FROM things") == (1,)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        ask(one, "INSERT INTO things VALUES (2) RETURNING n")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        ask(one, "SELECT 1/0")
    with one.transaction() as cursor:  # what a snapshot leaves behind is no transaction, and nothing read-only
        cursor.execute("INSERT INTO things VALUES (3)")
    assert ask(one, "SELECT count(*), max(n) FROM things") == (2, 3)


def test_a_snapshot_may_begin_with_a_copy_and_is_locked_before_it(one: Database) -> None:
    out = io.BytesIO()
    with one.transaction(snapshot=True) as cursor:
        cursor.copy_expert("COPY (SELECT current_setting('transaction_isolation')) TO STDOUT", out)
        assert out.getvalue() == b"repeatable read\n"
        cursor.execute("SELECT mode FROM pg_locks WHERE relation = 'store'::regclass AND pid = pg_backend_pid()")
        assert cursor.fetchone()[0] == "AccessShareLock"


def test_a_snapshot_that_asks_nothing_begins_nothing(one: Database) -> None:
    with one.transaction(snapshot=True):
        pass
    assert ask(one, "SELECT 1") == (1,)


# ---- prepared statements ---------------------------------------------------------------------------------------------


def total(database: Database, number: int) -> tuple[object, ...]:
    with database.transaction(snapshot=True) as cursor:
        cursor.run(_SUM, (number, ["a $1 %s", "it's"]))
        found = cursor.fetchone()
        cursor.execute(
            "SELECT current_setting('transaction_isolation') AS a, current_setting('transaction_read_only') AS b"
        )
        assert tuple(cursor.fetchone()) == ("repeatable read", "on")
        return tuple(found)


def test_a_connection_prepares_a_statement_once(one: Database) -> None:
    assert [total(one, n) for n in (1, 2, 3)] == [(n + 1, ["a $1 %s", "it's"]) for n in (1, 2, 3)]
    assert ask(one, "SELECT count(*), max(generic_plans) FROM pg_prepared_statements") == (1, 3)


def test_behind_a_pooler_statements_are_sent_whole(one: Database) -> None:
    """A pooler hands out another session for each transaction: one that knows no statement of ours, or all of them."""
    total(one, 1)
    ask(one, "DEALLOCATE ALL; SELECT 1")
    assert total(one, 2) == (3, ["a $1 %s", "it's"])
    assert ask(one, "SELECT count(*) FROM pg_prepared_statements") == (0,)
    assert total(one, 3) == (4, ["a $1 %s", "it's"])


def test_writing_behind_a_pooler_begins_anew_and_in_the_middle_is_a_collision(one: Database) -> None:
    def twice(first: str) -> None:
        with one.transaction() as cursor:
            cursor.execute(first)
            cursor.run(_SUM, (1, []))

    with one.transaction() as cursor:
        cursor.run(_SUM, (1, []))
    ask(one, "DEALLOCATE ALL; SELECT 1")
    with pytest.raises(Collision):
        twice("SELECT 1")
    twice("SELECT 1")
    assert ask(one, "SELECT count(*) FROM pg_prepared_statements") == (0,)

    one.close()
    with one.transaction() as cursor:
        cursor.run(_SUM, (1, []))
    ask(one, "DEALLOCATE ALL; SELECT 1")
    with one.transaction() as cursor:
        cursor.run(_SUM, (2, []))
        assert cursor.fetchone()[0] == 3


def test_a_session_that_has_the_statement_already_is_no_failure(one: Database) -> None:
    total(one, 1)
    plan = ask(one, "SELECT name FROM pg_prepared_statements")[0]
    one.close()
    ask(one, f"PREPARE {plan} AS SELECT 1; SELECT 1")
    assert total(one, 2) == (3, ["a $1 %s", "it's"])


def test_a_plan_outlives_the_failure_of_its_first_use(one: Database) -> None:
    share = Prepared("test_share", "SELECT 12 / $1 AS part", ("int",))

    def part(number: int) -> int:
        with one.transaction() as cursor:
            cursor.execute("SELECT 1")
            cursor.run(share, (number,))
            return int(cursor.fetchone()[0])

    with pytest.raises(psycopg2.errors.DivisionByZero):
        part(0)
    assert [part(2), part(3)] == [6, 4]
    assert ask(one, "SELECT count(*), max(generic_plans) FROM pg_prepared_statements") == (1, 3)


def test_a_statement_whose_values_have_names_uses_one_as_often_as_it_names_it(one: Database) -> None:
    types = {"word": "text", "number": "bigint", "unused": "uuid"}
    twice = PreparedByName.of("test_twice", "SELECT %(number)s + %(number)s AS sum, %(word)s AS word", types)
    assert twice.names == ("number", "word")
    for planned in (True, False):
        with one.transaction() as cursor:
            cursor.execute("SELECT 1")
            if not planned:
                cursor.connection.prepared = None  # as behind a pooler that hands out sessions
            twice.run(cursor, {"word": "it's $1", "number": 2, "unused": None})
            assert tuple(cursor.fetchone()) == (4, "it's $1")


def changing(dsn: str) -> None:
    outside(dsn, "CREATE TABLE sizes AS SELECT 1::smallint AS size")


_SIZES = Prepared("test_sizes", "SELECT size FROM sizes WHERE size > $1", ("int",))


def sizes(database: Database) -> list[int]:
    with database.transaction() as cursor:
        cursor.execute("SELECT 1")
        cursor.run(_SIZES, (0,))
        return [int(row[0]) for row in cursor.fetchall()]


def test_a_plan_that_a_migration_has_made_another_one_is_made_anew(dsn: str, one: Database) -> None:
    changing(dsn)
    assert sizes(one) == [1]
    outside(dsn, "ALTER TABLE sizes ADD COLUMN colour text")
    assert sizes(one) == [1], "a column more changes no plan"
    outside(dsn, "ALTER TABLE sizes ALTER COLUMN size TYPE bigint")
    with pytest.raises(Collision):
        sizes(one)
    assert sizes(one) == [1]
    assert ask(one, "SELECT count(*) FROM pg_prepared_statements") == (1,)


def test_a_statement_that_ended_while_it_was_planned_is_planned_again(dsn: str, one: Database) -> None:
    changing(dsn)
    with closing(psycopg2.connect(dsn)) as migration, migration.cursor() as locking:
        locking.execute("LOCK TABLE sizes IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="too long"):
            sizes(one)
        migration.rollback()
    assert [sizes(one), sizes(one)] == [[1], [1]]
    assert ask(one, "SELECT count(*) FROM pg_prepared_statements") == (1,)


def test_an_error_of_an_extension_is_no_lost_connection(one: Database) -> None:
    number = ask(one, "SELECT pg_backend_pid()")
    with pytest.raises(psycopg2.DatabaseError) as raised, one.transaction() as cursor:
        cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'compressed' USING ERRCODE = 'TS201'; END $$")
    assert raised.value.pgcode == "TS201"
    assert ask(one, "SELECT pg_backend_pid()") == number
