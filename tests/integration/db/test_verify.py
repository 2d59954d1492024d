"""The command that proves coverage against bars against sessions: silent on what a backfill made, loud on each harm."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from types import SimpleNamespace

import pytest

from nautilus.clock import NS_PER_S, label_of
from nautilus.coverage.states import CoverageState, Note
from nautilus.db import verify
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import calendars, series
from nautilus.db.portfolio import booking
from nautilus.db.ranges import int8range
from nautilus.db.verify_findings import KINDS, REPAIRED, Finding
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from nautilus.strategies.states import Mode
from tests.integration.db.test_migrate import INSTRUMENT
from tests.support.markets import ns, nyse
from tests.support.stack import service_stack
from tests.support.strategy_rows import insert_run, series_of

MINUTE = 60 * NS_PER_S
FRAME = timeframe("1m")
MONDAY, SATURDAY = (ns(f"2024-01-{day} 00:00") for day in ("08", "13"))
OPENS = [ns(f"2024-01-{day:02} 09:30", "America/New_York") for day in range(8, 13)]
WEEK = (MONDAY, SATURDAY)


def bar(ts: int) -> Bar:
    return Bar(ts, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1)


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """A week of a stock, three bars a day, all covered, and a day after it in doubt."""
    made = Database(dsn, name="test")
    calendar = nyse()
    with made.transaction() as cursor:
        cursor.execute(INSTRUMENT)
        calendars.store(
            cursor, "X", "rth", time_zone=calendar.time_zone, known=calendar.known, sessions=list(calendar.sessions)
        )
        row = series.find_or_make(cursor, 1, FRAME, price="TRADES", session="rth")
        bars = [bar(opens + n * MINUTE) for opens in OPENS for n in range(3)]
        failed = Note((SATURDAY, SATURDAY + MINUTE), CoverageState.FAILED, "timeout", None, 5, 6)
        series.apply_changes(cursor, row, bars=bars, settled=Spans.of(*WEEK), noted=[failed], request_id=1)
    yield made
    made.close()


def found(database: Database) -> list[Finding]:
    with database.transaction(snapshot=True) as cursor:
        return verify.verify(cursor).findings


def test_a_sound_store_has_nothing_wrong(database: Database) -> None:
    with database.transaction(snapshot=True) as cursor:
        report = verify.verify(cursor)
    assert report.findings == []
    assert (report.series, report.bars, report.sessions) == (1, 15, 5)


def lose_a_day(cursor: Cursor) -> None:
    cursor.execute("DELETE FROM bars_minute WHERE ts BETWEEN %s AND %s", (OPENS[2], OPENS[2] + 9 * MINUTE))


def trade_at_night(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO bars_minute VALUES (1, %s, 1, 1, 1, 1)", (OPENS[2] - 60 * MINUTE,))


def stray(cursor: Cursor) -> None:
    cursor.execute(
        "INSERT INTO bars_minute VALUES (1, %s, 1, 1, 1, 1)", (OPENS[4] + 96 * 60 * MINUTE,)
    )  # the Tuesday after


def note(cursor: Cursor, at: int, checked_at: int = 7) -> None:
    cursor.execute(
        "INSERT INTO coverage_notes (series_id, range, state, reason, checked_at) VALUES (1, %s, 'failed', 'x', %s)",
        (int8range((at, at + 5 * MINUTE)), checked_at),
    )


def chunk(cursor: Cursor, state: str, start: int = MONDAY) -> int:
    cursor.execute(
        "INSERT INTO backfill_chunks (series_id, span_start, span_end, window_start, window_end, state, request_id)"
        " VALUES (1, %s, %s, %s, %s, %s, 1) RETURNING id",
        (start, start + MINUTE, start, start + MINUTE, state),
    )
    return int(cursor.fetchone().id)


def job(cursor: Cursor, chunks: list[int], total: int) -> None:
    cursor.execute(
        "INSERT INTO backfill_jobs (owner, origin, state, request, fingerprint, chunks_total)"
        " VALUES ('a', 'api', 'running', '{}', '', %s) RETURNING id",
        (total,),
    )
    owner = cursor.fetchone().id
    for number in chunks:
        cursor.execute("INSERT INTO job_chunks VALUES (%s, %s)", (owner, number))


def order(cursor: Cursor, *, reserves: int = 5, booked: int = 5, state: str = "working") -> None:
    """An order for 5, what it says that it reserves, and what the book says."""
    over = "now()" if state == "cancelled" else "NULL"
    cursor.execute(
        "INSERT INTO orders (id, principal, account, con_id, symbol, side, type, tif, quantity, origin, state, market_at,"
        " reserved_quantity, perm_ids, over_at) VALUES (gen_random_uuid(), 'user:1', 'SIM1', 1, 'A', 'BUY', 'LMT', 'DAY', 5,"
        f" 'api', %s, 1, %s, '{{7}}', {over})",
        (state, reserves),
    )
    cursor.execute(
        "INSERT INTO risk_book (account, con_id, reserved_buy) VALUES ('SIM1', 1, %s) ON CONFLICT (account, con_id)"
        " DO UPDATE SET reserved_buy = risk_book.reserved_buy + excluded.reserved_buy",
        (booked,),
    )


def fill_of_another_quantity(cursor: Cursor) -> None:
    order(cursor)
    cursor.execute(
        "INSERT INTO executions (account, exec_base, revision, exec_id, order_id, con_id, side, quantity, price, ts, latest)"
        " SELECT 'SIM1', 'a', 1, 'a.01', id, 1, 'BUY', 2, 1, 1, true FROM orders"
    )
    cursor.execute("UPDATE risk_book SET position = 2")
    booking.rebook(cursor, "SIM1", 1)


def bought_and_sold(cursor: Cursor, harm: str) -> None:
    """Two units bought, one of them sold, and then a row that is not so."""
    cursor.execute(
        "INSERT INTO executions (account, exec_base, revision, exec_id, con_id, side, quantity, price, ts, latest)"
        " VALUES ('SIM1', 'a', 1, 'a.01', 1, 'BUY', 2, 5, 1, true), ('SIM1', 'b', 1, 'b.01', 1, 'SELL', 1, 7, 2, true);"
        " INSERT INTO risk_book (account, con_id, position) VALUES ('SIM1', 1, 1)"
    )
    booking.rebook(cursor, "SIM1", 1)
    cursor.execute(harm)


def request_of_an_order_that_is_over(cursor: Cursor) -> None:
    order(cursor, state="cancelled", reserves=0, booked=0)
    cursor.execute(
        "INSERT INTO order_requests (id, order_id, account, principal, kind, state)"
        " SELECT gen_random_uuid(), id, 'SIM1', 'user:1', 'cancel', 'wanted' FROM orders"
    )


def missed_fills_that_nothing_explains(cursor: Cursor) -> None:
    cursor.execute(
        "INSERT INTO position_adjustments (account, con_id, quantity, explained, kind, reason, by, at)"
        " VALUES ('SIM1', 1, 2, 1, 'missed_fills', 'a test', 'user:1', 1);"
        " INSERT INTO risk_book (account, con_id, position) VALUES ('SIM1', 1, 2)"
    )
    booking.rebook(cursor, "SIM1", 1)


def two_orders_of_one_perm_id(cursor: Cursor) -> None:
    order(cursor)
    order(cursor)


def claim_of_a_paper_run(cursor: Cursor) -> None:
    run = insert_run(cursor, Mode.PAPER)
    cursor.execute("INSERT INTO strategy_claims (account, con_id, run_id) VALUES ('DU1', 5, %s)", (run.id,))


def backtest_that_counts_wrong(cursor: Cursor) -> None:
    insert_run(cursor)
    cursor.execute("UPDATE strategy_runs SET state = 'completed', finished_at = now(), fills = 1")


def order_of_nobody(cursor: Cursor) -> None:
    run = insert_run(cursor, Mode.LIVE)
    cursor.execute(
        "INSERT INTO strategy_orders (run_id, n, client_order_id, con_id, decided_ns, side, type, quantity, state, order_id)"
        " VALUES (%s, 1, 'a', 1, 1, 'BUY', 'MARKET', 1, 'submitted', gen_random_uuid())",
        (run.id,),
    )


HARMS: dict[str, Callable[[Cursor], None]] = {
    "covered_without_bars": lose_a_day,
    "bars_outside_sessions": trade_at_night,
    "bars_not_covered": stray,
    "covered_and_noted": lambda cursor: note(cursor, OPENS[1]),
    "notes_overlap": lambda cursor: note(cursor, SATURDAY),
    "bars_of_no_series": lambda cursor: cursor.execute("INSERT INTO bars_fine VALUES (99, 1, 1, 1, 1, 1)"),
    "bars_in_wrong_table": lambda cursor: cursor.execute("INSERT INTO bars_fine VALUES (1, 1, 1, 1, 1, 1)"),
    "version_behind": lambda cursor: cursor.execute("UPDATE series SET data_version = 0"),
    "key_missing": lambda cursor: cursor.execute("ALTER TABLE bars_fine DROP CONSTRAINT bars_fine_pkey"),
    "chunks_overlap": lambda cursor: job(cursor, [chunk(cursor, "pending"), chunk(cursor, "leased")], 2),
    "chunk_unwanted": lambda cursor: void(chunk(cursor, "pending")),
    "job_counters": lambda cursor: job(cursor, [chunk(cursor, "pending")], 2),
    "chunk_counts": lambda cursor: cursor.execute("INSERT INTO backfill_chunk_counts VALUES (0, 'failed', 3)"),
    "order_reservation": lambda cursor: order(cursor, reserves=4),
    "order_reserved_sum": lambda cursor: order(cursor, booked=4),
    "order_position": lambda cursor: cursor.execute(
        "INSERT INTO risk_book (account, con_id, position) VALUES ('SIM1', 1, 3)"
    ),
    "order_fills": fill_of_another_quantity,
    "order_twice": two_orders_of_one_perm_id,
    "order_request_open": request_of_an_order_that_is_over,
    "adjustment_explained": missed_fills_that_nothing_explains,
    "portfolio_lots": lambda cursor: bought_and_sold(cursor, "UPDATE lots SET cost = cost + 0.01"),
    "portfolio_matches": lambda cursor: bought_and_sold(cursor, "UPDATE lot_matches SET proceeds = 8"),
    "strategy_claims": claim_of_a_paper_run,
    "strategy_fills": backtest_that_counts_wrong,
    "strategy_order": order_of_nobody,
}


def void(_: object) -> None:
    return None


@pytest.mark.parametrize("kind", HARMS)
def test_each_harm_is_found_and_what_can_be_mended_is(database: Database, kind: str) -> None:
    with database.transaction() as cursor:
        HARMS[kind](cursor)
    findings = found(database)
    assert [finding.kind for finding in findings] == [kind]
    assert verify.repair(database, findings) == (1 if kind in REPAIRED else 0)
    assert [finding.kind for finding in found(database)] == ([] if kind in REPAIRED else [kind])


def test_a_live_run_holds_its_contracts_again_after_repair(database: Database) -> None:
    with database.transaction() as cursor:
        run = insert_run(cursor, Mode.LIVE, series=[series_of(5), series_of(6), series_of(5, price="BID")])
    assert found(database) == []
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM strategy_claims WHERE con_id = 6")
    findings = found(database)
    assert [finding.kind for finding in findings] == ["strategy_claims"]
    assert verify.repair(database, findings) == 1
    assert found(database) == []
    with database.transaction() as cursor:
        cursor.execute("SELECT account, con_id, run_id FROM strategy_claims ORDER BY con_id")
        assert [tuple(row) for row in cursor.fetchall()] == [("DU1", 5, run.id), ("DU1", 6, run.id)]


def test_every_kind_but_labels_has_its_harm() -> None:
    assert set(HARMS) == set(KINDS) - {"bars_off_label"}


def test_a_day_without_its_bars_is_asked_again_after_repair(database: Database) -> None:
    with database.transaction() as cursor:
        lose_a_day(cursor)
    verify.repair(database, found(database))
    with database.transaction() as cursor:
        row = series.by_id(cursor, 1)
        unit = (OPENS[2], OPENS[2] + 390 * MINUTE)
        assert row.covered == Spans.of(*WEEK) - Spans.of(*unit)
        assert [n.state for n in series.notes(cursor, 1, unit)] == [CoverageState.EMPTY_UNCONFIRMED]
        due = series.due_rechecks(cursor, 2**62, 2**62 + 1, 10)
        assert [(check.start, check.end) for check in due] == [unit]


def test_an_empty_session_needs_two_answers_or_the_daily_series(database: Database) -> None:
    with database.transaction() as cursor:
        lose_a_day(cursor)
        cursor.execute(
            "INSERT INTO backfill_chunks (series_id, span_start, span_end, window_start, window_end, state, request_id)"
            " SELECT 1, %s, %s, 1, 2, 'done', n FROM generate_series(1, 2) n",
            WEEK,
        )
    assert found(database) == []
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM backfill_chunks WHERE id = (SELECT min(id) FROM backfill_chunks)")
    assert [finding.kind for finding in found(database)] == ["covered_without_bars"]
    with database.transaction() as cursor:
        days = series.find_or_make(cursor, 1, timeframe("1d"), price="TRADES", session="rth")
        labels = [label_of(date(2024, 1, day)) for day in (8, 9, 11, 12)]
        series.apply_changes(cursor, days, bars=[bar(label) for label in labels], settled=Spans.of(*WEEK))
        cursor.execute(
            "INSERT INTO backfill_chunks (series_id, span_start, span_end, window_start, window_end, state, request_id)"
            " SELECT %s, %s, %s, 1, 2, 'done', n FROM generate_series(1, 2) n",
            (days.id, *WEEK),
        )
    assert found(database) == []


def test_a_daily_bar_off_its_date_is_found(database: Database) -> None:
    with database.transaction() as cursor:
        days = series.find_or_make(cursor, 1, timeframe("1d"), price="TRADES", session="rth")
        labels = [label_of(date(2024, 1, day)) for day in (8, 9, 10, 11, 12)]
        series.apply_changes(cursor, days, bars=[bar(label) for label in labels], settled=Spans.of(*WEEK))
        cursor.execute("INSERT INTO bars_coarse VALUES (%s, %s, 1, 1, 1, 1)", (days.id, labels[0] + MINUTE))
    assert [finding.kind for finding in found(database)] == ["bars_off_label"]


def test_the_command_says_it_and_mends_it(database: Database, dsn: str) -> None:
    with database.transaction() as cursor:
        lose_a_day(cursor)

    def command(*options: str) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"NAUTILUS_DATABASE_URL": dsn, "PYTHONPATH": os.pathsep.join(sys.path)}
        words = [sys.executable, "-m", "nautilus.db.verify", *options]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    body = command()
    assert body.returncode == 1, body.stderr
    assert "covered_without_bars" in body.stdout
    assert "2024-01-10T14:30:00Z to 2024-01-10T21:00:00Z" in body.stdout
    assert command("--repair").returncode == 0
    assert command().stdout.endswith("nothing is wrong\n")


def test_what_a_backfill_made_is_sound(servers: SimpleNamespace, dsn: str) -> None:
    clock = ("--latency", "none", "--clock", "rate:20", "--start", "2026-03-04T17:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *clock) as stack:
        stack.start_bridge()
        for symbol, frame, start in (
            ("AAPL", "1m", "2026-02-11T00:00:00Z"),
            ("AAPL", "1h", "2026-01-05T00:00:00Z"),
            ("AAPL", "1d", "2025-06-02T00:00:00Z"),
            ("AAPL", "1w", "2025-06-02T00:00:00Z"),
            ("AAPL", "1M", "2025-01-01T00:00:00Z"),
            ("EUR/USD", "5m", "2026-02-20T00:00:00Z"),
            ("EUR/USD", "1d", "2026-01-05T00:00:00Z"),
        ):
            stack.finished(stack.backfill(symbol=symbol, timeframe=frame, start=start, end="2026-03-04T00:00:00Z"))
        with stack.db.transaction(snapshot=True) as cursor:
            report = verify.verify(cursor)
    assert report.findings == []
    assert report.series == 7
    assert report.sessions > 300
