"""What one answer leaves open: empty re-checks, splits, refusals, slow answers, faults of the gateway, several bridges."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.clock import parse_rfc3339
from tests.integration.backfill.test_backfill import own_bars
from tests.support.stack import ServiceStack, service_stack

NOW = "2026-03-04T17:30:30Z"
WEEKS = {"symbol": "AAPL", "timeframe": "1m", "start": "2026-02-02T00:00:00Z", "end": "2026-03-04T00:00:00Z"}


def running(servers: SimpleNamespace, dsn: str, *options: str) -> Iterator[ServiceStack]:
    clock = ("--latency", "none", "--clock", "rate:20", "--start", NOW)
    with service_stack(servers.group, servers.folder, dsn, *clock, *options) as made:
        made.start_bridge()
        yield made


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    for made in running(servers, dsn):
        # Contract and sessions are known: the faults of a test then meet its requests for bars.
        made.finished(
            made.backfill(symbol="AAPL", timeframe="1d", start="2026-01-05T00:00:00Z", end="2026-02-02T00:00:00Z")
        )
        yield made


def notes(stack: ServiceStack) -> list[Any]:
    return stack.rows("SELECT state, reason, ib_code FROM coverage_notes ORDER BY range")


def test_sessions_that_an_answer_lacks_are_reported_and_found_by_an_empty_recheck(stack: ServiceStack) -> None:
    stack.sim.command("short 1")
    job = stack.finished(stack.backfill(**WEEKS | {"start": "2026-02-23T00:00:00Z", "end": "2026-02-28T00:00:00Z"}))
    assert job["status"] == "partial"
    assert {n.state for n in notes(stack)} == {"empty_unconfirmed"}
    answer = stack.bars(
        symbol="AAPL", timeframe="1m", start="2026-02-23T00:00:00Z", end="2026-02-28T00:00:00Z", limit=5000
    )
    assert not answer["coverage"]["complete"]
    assert {m["state"] for m in answer["coverage"]["missing"]} == {"empty_unconfirmed"}
    before = answer["total"]
    stack.sim.command("advance 1000")
    stack.wait(lambda: not notes(stack), "the re-check settles it", 40)
    answer = stack.bars(
        symbol="AAPL", timeframe="1m", start="2026-02-23T00:00:00Z", end="2026-02-28T00:00:00Z", limit=5000
    )
    assert answer["coverage"]["complete"]
    assert answer["total"] == 5 * 390 > before
    confirming = stack.rows("SELECT priority, owner, state FROM backfill_jobs WHERE origin = 'confirm'")
    assert [tuple(row) for row in confirming] == [(0, "bridge", "succeeded")]


def test_a_schedule_that_was_refused_is_asked_for_again_and_what_was_concluded_from_a_guess_put_right(
    stack: ServiceStack,
) -> None:
    """Weekdays stand in, for which Sunday evening is closed; a future trades then."""
    body = {"symbol": "ES", "asset_class": "FUT", "timeframe": "30s"}
    days = {"start": "2026-03-01T06:00:00Z", "end": "2026-03-03T06:00:00Z"}
    evening = {"start": "2026-03-01T23:00:00Z", "end": "2026-03-02T06:00:00Z"}  # from 17:00 in Chicago
    no_schedule = "Historical Market Data Service error message:No data of type EODChart is available"

    def schedules() -> int:
        requested = stack.received("reqHistoricalData")
        return len([entry for entry in requested if entry["fields"]["whatToShow"] == "SCHEDULE"])

    def guesses() -> list[Any]:
        return stack.rows("SELECT refusals, ask_again_at FROM calendars WHERE guessed <> '{}'")

    before = schedules()
    stack.sim.command(f"reject_next reqHistoricalData 162 '{no_schedule}'")
    stack.finished(stack.backfill(**body, **days))
    first = stack.bars(**body, **days, limit=5000, wait=0)
    assert first["coverage"]["complete"], first["coverage"]
    assert stack.bars(**body, **evening, wait=0)["total"] == 0
    assert schedules() == before + 1
    assert [g.refusals for g in guesses()] == [1]

    stack.sim.command(f"reject_next reqHistoricalData 162 '{no_schedule}'")
    stack.sim.command("advance 3600")
    stack.wait(lambda: [g.refusals for g in guesses()] == [2], "it is asked for again after an hour", 30, guesses)
    assert guesses()[0].ask_again_at - stack.market_ns() > 3_600 * 10**9, "then after two"
    stack.sim.command("advance 7200")
    stack.wait(lambda: not guesses(), "the schedule comes", 30, guesses)
    assert schedules() == before + 3
    stack.wait(lambda: stack.bars(**body, **evening, wait=0)["total"] == 840, "and the evening with it", 30)
    stack.wait(lambda: not notes(stack), "nothing is in doubt any more", 30, lambda: notes(stack))
    answer = stack.bars(**body, **days, limit=5000, wait=0)
    assert answer["coverage"]["complete"]
    own = own_bars(
        stack,
        stack.rows("SELECT con_id FROM series WHERE timeframe = '30s'")[0].con_id,
        "TRADES",
        **days,
        rth=False,
        size="30s",
    )
    assert [c["ts"] for c in answer["candles"]] == [bar.t * 10**9 for bar in own]
    assert stack.rows("SELECT 1 FROM bar_revisions") == []
    assert [line["series"] for line in stack.log() if line["message"] == "schedule-corrected"] == [1]


def test_what_ib_refuses_is_noted_with_its_code_and_not_asked_again(stack: ServiceStack) -> None:
    stack.stop_bridge()
    stack.start_bridge(max_open_requests="1")
    stack.sim.command("history_error no_permission 1")
    job = stack.finished(stack.backfill(**WEEKS | {"start": "2026-02-23T00:00:00Z"}))
    assert job["status"] == "failed"  # nothing of it is possible
    assert job["progress"]["requests_sent"] == 1 < job["progress"]["chunks_total"]  # and IB is not asked for the rest
    assert {(n.state, n.reason, n.ib_code) for n in notes(stack)} == {("unavailable", "no_permission", 162)}
    requested = len(stack.rows("SELECT 1 FROM ib_requests WHERE kind = 'bars'"))
    again = stack.finished(stack.backfill(**WEEKS | {"start": "2026-02-23T00:00:00Z"}))
    assert again["status"] == "partial"
    assert len(stack.rows("SELECT 1 FROM ib_requests WHERE kind = 'bars'")) == requested
    force = stack.finished(stack.backfill(**WEEKS | {"start": "2026-02-23T00:00:00Z", "mode": "force"}))
    assert force["status"] == "succeeded"
    assert notes(stack) == []


def test_a_request_without_answer_is_cancelled_and_halved(stack: ServiceStack) -> None:
    stack.stop_bridge()
    stack.start_bridge(request_timeout_s="1.5")
    stack.sim.command("silent 1")
    job_id = stack.backfill(**WEEKS | {"start": "2026-02-23T00:00:00Z"})
    assert stack.finished(job_id)["status"] == "succeeded"
    chunks = stack.client.get(f"/api/v1/historical/backfill/{job_id}/chunks").json()["chunks"]
    assert sorted(c["state"] for c in chunks).count("split") == 1
    assert [r["outcome"] for c in chunks if c["state"] == "split" for r in c["requests"]] == ["timeout"]
    assert stack.received("cancelHistoricalData")


def test_two_bridges_share_the_work_and_the_book_and_no_chunk_is_asked_twice(
    servers: SimpleNamespace, dsn: str
) -> None:
    options = ("--latency", "3000", "--clock", "rate:20", "--start", NOW)
    with service_stack(servers.group, servers.folder, dsn, *options) as stack:
        stack.start_bridge("bridge-1")
        stack.start_bridge("bridge-2")
        job = stack.finished(stack.backfill(**WEEKS | {"timeframe": "30s", "start": "2026-02-09T00:00:00Z"}), 90)
        assert job["status"] == "succeeded"
        by = stack.rows("SELECT bridge, count(*) AS n FROM ib_requests WHERE kind = 'bars' GROUP BY bridge")
        assert {row.bridge for row in by} == {"bridge-1", "bridge-2"}
        requested = stack.rows("SELECT chunk_id FROM ib_requests WHERE kind = 'bars'")
        assert len(requested) == len({row.chunk_id for row in requested})
        assert stack.rows("SELECT 1 FROM ib_requests WHERE outcome = 'error'") == []


def test_the_bridge_forgets_old_rows_once_a_day_but_not_while_it_works(stack: ServiceStack) -> None:
    stack.stop_bridge()
    request = "INSERT INTO ib_requests (login, bridge, kind, identity, contract, small, weight, sent_at, booked_at)"
    with stack.db.transaction() as cursor:
        cursor.execute(f"{request} VALUES ('', '', 'old', '', '', false, 1, 0, now() - interval '9 days')")
        cursor.execute("UPDATE store SET created_at = now() - interval '30 hours'")
    hour = stack.rows("SELECT extract(hour FROM clock_timestamp() AT TIME ZONE 'UTC')::int AS n")[0].n
    stack.sim.command("silent 9")
    job_id = stack.backfill(**WEEKS)
    stack.start_bridge(forget_hour=str(hour), keep_requests_days="7")
    stack.wait(lambda: stack.job(job_id)["progress"]["requests_sent"] > 0, "it works")
    assert stack.rows("SELECT 1 FROM ib_requests WHERE kind = 'old'")
    assert stack.rows("SELECT 1 FROM store WHERE forgotten_at IS NULL")
    stack.client.post("/api/v1/historical/backfill/stop", json={"job_id": job_id})
    stack.finished(job_id)
    stack.stop_bridge()
    stack.start_bridge(forget_hour=str(hour), keep_requests_days="7")
    stack.wait(lambda: not stack.rows("SELECT 1 FROM ib_requests WHERE kind = 'old'"), "what is old is forgotten")
    stack.wait(lambda: stack.rows("SELECT 1 FROM store WHERE forgotten_at IS NOT NULL"), "and that is written down")
    assert stack.rows("SELECT 1 FROM ib_requests WHERE kind = 'details'"), "what is not stays"


def test_a_dry_run_tells_the_plan_and_spends_nothing(stack: ServiceStack) -> None:
    requested = len(stack.rows("SELECT 1 FROM ib_requests"))
    answer = stack.client.post("/api/v1/ib/backfill", json=WEEKS | {"dry_run": True})
    body = answer.json()
    assert answer.status_code == 200
    assert body["requests"] == 5
    assert not body["approximate"]
    assert body["seconds"] > 0
    assert len(stack.rows("SELECT 1 FROM ib_requests")) == requested
    assert stack.rows("SELECT 1 FROM backfill_jobs WHERE request ? 'dry_run'") == []
    job = stack.finished(stack.backfill(**WEEKS))
    assert job["items"][0]["plan"]["requests"] == body["requests"]
    unknown = stack.client.post(
        "/api/v1/ib/backfill",
        json={"symbol": "TSLA", "timeframe": "1s", "start": "2025-01-02T00:00:00Z", "dry_run": True},
    ).json()
    assert unknown["approximate"]
    assert unknown["items"][0]["unavailable"][0]["reason"] == "older_than_six_months"
    assert unknown["weight"] == unknown["requests"] > 1_000


def test_the_budget_counts_small_requests_in_market_time(stack: ServiceStack) -> None:
    before = stack.client.get("/api/v1/ib/budget").json()["small_bars"]
    assert (before["limit"], before["used"], before["remaining"]) == (60, 0, 58)
    stack.finished(stack.backfill(**WEEKS | {"timeframe": "30s", "start": "2026-03-03T00:00:00Z"}))
    after = stack.client.get("/api/v1/ib/budget").json()["small_bars"]
    assert (after["used"], after["remaining"]) == (1, 57)
    now, free = (parse_rfc3339(after["next_leaves_window_at"]), parse_rfc3339(stack.session()["market_time"]))
    assert 0 < now - free <= 600 * 10**9


def test_equal_requests_join_and_idempotency_keys_hold(stack: ServiceStack) -> None:
    stack.sim.command("latency 20000")
    first = stack.client.post("/api/v1/ib/backfill", json=WEEKS)
    second = stack.client.post("/api/v1/ib/backfill", json=WEEKS)
    assert first.json()["job_id"] == second.json()["job_id"]
    assert second.json()["deduplicated"]
    keyed = stack.client.post("/api/v1/ib/backfill", json=WEEKS, headers={"Idempotency-Key": "k1"})
    again = stack.client.post("/api/v1/ib/backfill", json=WEEKS, headers={"Idempotency-Key": "k1"})
    other = stack.client.post(
        "/api/v1/ib/backfill", json=WEEKS | {"timeframe": "5m"}, headers={"Idempotency-Key": "k1"}
    )
    assert keyed.json()["job_id"] == again.json()["job_id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    stack.sim.command("latency none")
    for job in (first, keyed):
        stack.finished(job.json()["job_id"])
    # Two jobs for the same bars: IB was asked once.
    spans = stack.rows(
        "SELECT span_start, span_end FROM backfill_chunks JOIN series s ON s.id = series_id"
        " WHERE state = 'done' AND outcome <> 'covered' AND s.timeframe = '1m'"
    )
    assert len(spans) == len(set(spans)) == 5
