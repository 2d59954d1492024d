"""The ledger row by row: what a crash leaves behind, who gets the work next, and what is written when."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nautilus.backfill.planner import Chunk
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.connection import Database
from nautilus.db.ledger import chunks, job_counts, job_planning, job_stopping, jobs
from nautilus.db.ledger.chunks import Lease, LeaseLost
from nautilus.db.ledger.job_planning import PlanLost
from nautilus.db.ledger.jobs import Item
from nautilus.db.market import instruments, series
from nautilus.db.ranges import spans_of
from nautilus.market.bar import Bar
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans

MINUTE = 60 * 10**9
AAPL = Instrument(
    1,
    "AAPL.NASDAQ",
    "AAPL",
    "STK",
    "SMART",
    "NASDAQ",
    "USD",
    "AAPL",
    "NMS",
    "",
    "",
    0.01,
    "Apple",
    "America/New_York",
    "c",
)
OUR: dict[str, Any] = {"bridge": "b", "lease_s": 60}


class Ledger:
    """A series and short words for what happens to it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.db = Database(dsn, name="test", size=4)
        with self.db.transaction() as cursor:
            instruments.store(cursor, AAPL, {})
            self.series = series.find_or_make(cursor, 1, timeframe("1m"), price="TRADES", session="rth").id

    def job(self, *spans: tuple[int, int], state: str = "running") -> tuple[UUID, list[int]]:
        """A job that wants new chunks of these spans (in minutes)."""
        with self.db.transaction() as cursor:
            number = jobs.create(
                cursor,
                owner="user:1",
                origin="api",
                items=[Item(Selector("STK", "AAPL", "USD"), "1m", None, None, 0, MINUTE, None)],
                priority=4,
                mode="missing",
                request={},
                fingerprint="f",
                correlation_id="",
            )
            job_planning.claim_queued(cursor, "b", 60)
            planned = [Chunk((a * MINUTE, b * MINUTE), (a * MINUTE, b * MINUTE)) for a, b in spans]
            ids = chunks.insert(cursor, self.series, planned, mode="missing")
            chunks.want(cursor, number, ids)
            (item,) = job_planning.open_items(cursor, number)
            job_planning.item_planned(
                cursor, item.id, number, series_id=self.series, plan={}, chunks=len(ids), shortfall=False, **OUR
            )
            if state == "running":
                job_planning.planned(cursor, number, "b")
        return number, ids

    def join(self, ids: list[int]) -> UUID:
        """Another job that wants chunks that are there."""
        number, _ = self.job()
        with self.db.transaction() as cursor:
            chunks.want(cursor, number, ids)
            cursor.execute(
                "UPDATE backfill_jobs SET state = 'running', finished_at = NULL, chunks_total = %s WHERE id = %s",
                (len(ids), number),
            )
        return number

    def lease(self, chunk_id: int, bridge: str = "b") -> Lease | None:
        with self.db.transaction() as cursor:
            return chunks.lease(cursor, chunk_id, bridge)

    def done(self, held: Lease, good: bool = True, new: int = 1) -> None:
        with self.db.transaction() as cursor:
            series.by_id(cursor, self.series, lock=True)
            chunks.done(cursor, held, outcome="filled", good=good, bars=new, new=new)

    def write(self, held: Lease) -> None:
        """What an answer with one bar does, in one transaction."""
        with self.db.transaction() as cursor:
            row = series.by_id(cursor, self.series, lock=True)
            series.apply_changes(
                cursor, row, bars=[Bar(0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1)], settled=Spans.of(*held.span)
            )
            chunks.done(cursor, held, outcome="filled", good=True, bars=1, new=1)

    def one(self, query: str, *values: Any) -> Any:
        with self.db.transaction() as cursor:
            cursor.execute(query, values)
            return cursor.fetchone()

    def state(self, number: UUID | int) -> str:
        table = "backfill_jobs" if isinstance(number, UUID) else "backfill_chunks"
        return str(self.one(f"SELECT state FROM {table} WHERE id = %s", number).state)


@pytest.fixture
def ledger(dsn: str) -> Iterator[Ledger]:
    made = Ledger(dsn)
    yield made
    made.db.close()


def test_a_lease_that_ran_out_is_free_again_and_its_old_holder_can_write_nothing(ledger: Ledger) -> None:
    job, (chunk,) = ledger.job((0, 10))
    held = ledger.lease(chunk)
    assert held is not None
    assert ledger.lease(chunk) is None
    ledger.one("UPDATE backfill_chunks SET lease_until = clock_timestamp() - interval '1 s' RETURNING 1")
    with ledger.db.transaction() as cursor:
        assert chunks.release(cursor) == 1
    again = ledger.lease(chunk, "other")
    assert again is not None
    assert again.token > held.token
    with pytest.raises(LeaseLost):
        ledger.write(held)
    assert ledger.one("SELECT count(*) AS n FROM bars_minute").n == 0
    assert ledger.one("SELECT covered::text AS c FROM series").c == "{}"
    ledger.done(again)
    assert (ledger.state(chunk), ledger.state(job)) == ("done", "succeeded")


def test_a_bridge_that_starts_frees_its_own_leases_at_once_and_no_others(ledger: Ledger) -> None:
    _, (one, two) = ledger.job((0, 10), (10, 20))
    ledger.lease(one, "b")
    ledger.lease(two, "other")
    with ledger.db.transaction() as cursor:
        assert chunks.release(cursor, "b") == 1
    assert (ledger.state(one), ledger.state(two)) == ("pending", "leased")


def test_a_plan_whose_bridge_went_silent_is_queued_again_and_the_old_planner_is_refused(ledger: Ledger) -> None:
    job, _ = ledger.job((0, 10), state="planning")
    ledger.one("UPDATE backfill_jobs SET lease_until = clock_timestamp() - interval '1 s' RETURNING 1")
    with ledger.db.transaction() as cursor:
        assert job_planning.expire_plans(cursor) == 1
    assert ledger.state(job) == "queued"
    with pytest.raises(PlanLost), ledger.db.transaction() as cursor:
        job_planning.item_planned(cursor, 1, job, series_id=ledger.series, plan={}, chunks=1, shortfall=False, **OUR)


def test_a_job_stopped_while_it_is_planned_leaves_no_chunk_behind(ledger: Ledger) -> None:
    job, (chunk,) = ledger.job((0, 10), state="planning")
    with ledger.db.transaction() as cursor:
        assert job_stopping.stop(cursor, job, "user:1") == [job]
        assert job_stopping.stop(cursor, job, "user:1") == []
    assert (ledger.state(job), ledger.state(chunk)) == ("stopped", "cancelled")
    with pytest.raises(PlanLost), ledger.db.transaction() as cursor:
        job_planning.item_planned(cursor, 1, job, series_id=ledger.series, plan={}, chunks=1, shortfall=False, **OUR)


def test_stopping_one_job_leaves_what_another_wants(ledger: Ledger) -> None:
    job, (mine, shared) = ledger.job((0, 10), (10, 20))
    other = ledger.join([shared])
    with ledger.db.transaction() as cursor:
        job_stopping.stop(cursor, job, None)
    assert (ledger.state(mine), ledger.state(shared), ledger.state(job)) == ("cancelled", "pending", "stopped")
    held = ledger.lease(shared)
    assert held is not None
    ledger.done(held)
    assert ledger.state(other) == "succeeded"
    assert ledger.state(job) == "stopped"


def test_stopping_waits_for_what_is_being_asked_and_the_bridge_ends_it(ledger: Ledger) -> None:
    job, (chunk,) = ledger.job((0, 10))
    held = ledger.lease(chunk)
    assert held is not None
    with ledger.db.transaction() as cursor:
        job_stopping.stop(cursor, job, None)
    assert ledger.state(job) == "stopping"
    with ledger.db.transaction() as cursor:
        assert chunks.unwanted(cursor, [held]) == [chunk]
        chunks.cancel(cursor, held)
        job_stopping.finish_stopping(cursor)
    assert (ledger.state(chunk), ledger.state(job)) == ("cancelled", "stopped")


def test_a_split_takes_the_place_of_the_whole_for_every_job(ledger: Ledger) -> None:
    job, (chunk,) = ledger.job((0, 10))
    other = ledger.join([chunk])
    held = ledger.lease(chunk)
    assert held is not None
    parts = [Chunk((0, 5 * MINUTE), (0, 5 * MINUTE)), Chunk((5 * MINUTE, 10 * MINUTE), (5 * MINUTE, 10 * MINUTE))]
    with ledger.db.transaction() as cursor:
        series.by_id(cursor, ledger.series, lock=True)
        chunks.split(cursor, held, parts, request_id=None)
        cursor.execute("SELECT id FROM backfill_chunks WHERE parent_id = %s ORDER BY id", (chunk,))
        ids = [row.id for row in cursor.fetchall()]
    assert ledger.state(chunk) == "split"
    for at, number in enumerate(ids):
        assert {ledger.state(job), ledger.state(other)} == {"running"}
        held = ledger.lease(number)
        assert held is not None
        ledger.done(held, good=at == 0)
    assert {ledger.state(job), ledger.state(other)} == {"partial"}
    assert ledger.one("SELECT chunks_total AS t, chunks_done AS d FROM backfill_jobs WHERE id = %s", job) == (2, 2)


def test_the_answer_that_ends_the_last_chunk_ends_the_job_in_the_same_transaction(ledger: Ledger) -> None:
    job, (one, two) = ledger.job((0, 10), (10, 20))
    for number in (one, two):
        assert ledger.state(job) == "running"
        held = ledger.lease(number)
        assert held is not None
        ledger.done(held, new=5)
    row = ledger.one("SELECT state, bars_new, finished_at FROM backfill_jobs WHERE id = %s", job)
    assert (row.state, row.bars_new) == ("succeeded", 10)
    assert row.finished_at is not None


def test_the_job_served_longest_ago_is_next_within_a_priority(ledger: Ledger) -> None:
    low, (a,) = ledger.job((0, 10))
    first, (b,) = ledger.job((10, 20))
    second, (c,) = ledger.job((20, 30))
    for number, priority in ((low, 1), (first, 5), (second, 5)):
        ledger.one("UPDATE backfill_jobs SET priority = %s WHERE id = %s RETURNING 1", priority, number)

    def order() -> list[int]:
        with ledger.db.transaction() as cursor:
            return [found.chunk_id for found in chunks.candidates(cursor, 0)]

    assert order() == [b, c, a]
    with ledger.db.transaction() as cursor:
        job_counts.served(cursor, b)
    assert order() == [c, b, a]


def test_chunks_that_no_live_job_wants_are_swept_away(ledger: Ledger) -> None:
    job, (chunk,) = ledger.job((0, 10))
    ledger.one("UPDATE backfill_jobs SET state = 'stopped' WHERE id = %s RETURNING 1", job)
    with ledger.db.transaction() as cursor:
        assert job_stopping.cancel_unreferenced(cursor) == 1
    assert ledger.state(chunk) == "cancelled"


PRICES = st.sampled_from([1.0, 1.5, 2.25, 1e-05, 123456.789])
ANSWERS = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 40), PRICES, max_size=25),
        st.tuples(st.integers(0, 40), st.integers(1, 20)),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=ANSWERS)
def test_whatever_is_recorded_counts_versions_and_coverage_are_those_of_a_plain_model(
    ledger: Ledger, answers: Any
) -> None:
    with ledger.db.transaction() as cursor:
        cursor.execute("TRUNCATE bars_minute, bar_revisions, series_changes, coverage_notes")
        cursor.execute("UPDATE series SET covered = '{}', data_version = 0")
    model: dict[int, float] = {}
    history: list[dict[int, float]] = [{}]
    covered = Spans()
    for stamps, (start, length), settles in answers:
        rows = [Bar(ts * MINUTE, p, p, p, p, p, p, 1) for ts, p in sorted(stamps.items())]
        span = Spans.of(start * MINUTE, (start + length) * MINUTE)
        note = [] if settles else [Note(next(iter(span)), CoverageState.EMPTY_UNCONFIRMED, "no_data", None, 0, 1)]
        with ledger.db.transaction() as cursor:
            row = series.by_id(cursor, ledger.series, lock=True)
            written = series.apply_changes(cursor, row, bars=rows, settled=span if settles else Spans(), noted=note)
        fresh = {ts: p for ts, p in stamps.items() if ts not in model}
        changed = {ts for ts, p in stamps.items() if ts in model and model[ts] != p}
        assert (written.new, written.revised, written.same) == (
            len(fresh),
            len(changed),
            len(stamps) - len(fresh) - len(changed),
        )
        model = model | stamps
        was, covered = covered, covered | span if settles else covered - span
        row = ledger.one("SELECT covered::text AS c, data_version AS v FROM series")
        assert spans_of(row.c) == covered
        if fresh or changed or was != covered:
            history.append(dict(model))
        notes = ledger.one("SELECT coalesce(range_agg(range), '{}')::text AS r, count(*) AS n FROM coverage_notes")
        assert not spans_of(notes.r) & covered
    stored = ledger.one("SELECT json_object_agg(ts / %s, close) AS bars FROM bars_minute", MINUTE).bars or {}
    assert {int(ts): close for ts, close in stored.items()} == model


def test_notes_come_in_order_of_time_however_many_digits_it_has(ledger: Ledger) -> None:
    spans = [(-300, -200), (9, 10), (20, 30), (100, 200)]
    with ledger.db.transaction() as cursor:
        row = series.by_id(cursor, ledger.series, lock=True)
        series.apply_changes(
            cursor, row, noted=[Note(span, CoverageState.FAILED, "x", None, 0, None) for span in spans]
        )
        assert [note.span for note in series.notes(cursor, row.id, series.ALL_TIME)] == spans
