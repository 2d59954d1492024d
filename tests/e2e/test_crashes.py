"""Processes die, servers go away: nothing is lost, nothing doubled, and nobody is told a lie meanwhile."""

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dev.postgres import start_postgres
from dev.process import Group
from nautilus.clock import parse_rfc3339
from nautilus.db.bridge import commands
from nautilus.db.migrate import upgrade
from tests.integration.backfill.test_backfill import own_bars, stored
from tests.support.stack import ServiceStack, service_stack

MONTH = {"symbol": "AAPL", "timeframe": "1m", "start": "2026-02-02T00:00:00Z", "end": "2026-03-04T00:00:00Z"}


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str, queue: SimpleNamespace) -> Iterator[ServiceStack]:
    options = ("--latency", "none", "--clock", "rate:20", "--start", "2026-03-04T17:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *options, queue=queue) as made:
        made.start_bridge()
        yield made


def test_a_bridge_killed_in_the_middle_loses_and_doubles_nothing(stack: ServiceStack) -> None:
    stack.finished(stack.backfill(symbol="AAPL", timeframe="1d", start=MONTH["start"], end=MONTH["end"]))
    stack.sim.command("latency 20000")
    job_id = stack.backfill(**MONTH)
    stack.wait(lambda: stack.job(job_id)["progress"]["requests_sent"] >= 2, "requests are open")
    stack.kill_bridge()
    killed = time.monotonic()
    assert stack.rows("SELECT 1 FROM backfill_chunks WHERE state = 'leased'")
    assert stack.job(job_id)["finished_at"] is None

    def silent() -> bool:
        body = stack.client.get("/health").json()
        return body["status"] == "degraded" and "silent since" in body["checks"]["ib"]["detail"]

    stack.wait(silent, "health says that the bridge is silent", 20)
    assert time.monotonic() - killed < 20
    assert stack.client.get("/health").status_code == 200
    assert stack.job(job_id)["blocked_on"] == "ib_session"

    stack.sim.command("latency none")
    stack.start_bridge()
    job = stack.finished(job_id)
    assert job["status"] == "succeeded"
    first, last = parse_rfc3339(MONTH["start"]), parse_rfc3339(MONTH["end"])
    rows = [row for row in stored(stack, "AAPL.NASDAQ", "1m") if first <= row.ts < last]
    con_id = stack.rows("SELECT con_id FROM instruments")[0].con_id
    own = own_bars(stack, con_id, "TRADES", MONTH["start"], MONTH["end"], rth=True, size="1m")
    assert [(r.ts, r.open, r.high, r.low, r.close, r.volume) for r in rows] == [
        (b.t * 10**9, b.open, b.high, b.low, b.close, b.volume) for b in own
    ]
    assert stack.rows("SELECT 1 FROM bar_revisions") == []
    assert stack.rows("SELECT outcome FROM ib_requests WHERE outcome IN ('sent', 'lost') GROUP BY 1") == [("lost",)]


def test_a_command_that_a_bridge_died_over_is_executed_by_the_next(stack: ServiceStack) -> None:
    stack.sim.command("silent 1 reqContractDetails")
    with stack.db.transaction() as cursor:
        selector = {"asset_class": "STK", "symbol": "AAPL", "currency": "USD"}
        number = commands.request(cursor, "resolve", selector, by="x", correlation_id="", expires_s=300)

    def state() -> str:
        return str(stack.rows("SELECT state FROM bridge_commands WHERE id = %s", number)[0].state)

    stack.wait(lambda: stack.received("reqContractDetails"), "the bridge asks, and hears nothing")
    stack.kill_bridge()
    assert state() == "running"
    connections = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'nautilus-bridge-1'"
    stack.wait(lambda: not stack.rows(connections), "PostgreSQL sees that it is dead, and its name is free")
    stack.start_bridge()
    stack.wait(lambda: state() == "done", "the next one executes it")
    assert stack.rows("SELECT symbol FROM instruments") == [("AAPL",)]


def test_the_second_process_with_a_bridges_name_does_not_work(stack: ServiceStack) -> None:
    with pytest.raises(Exception, match="another process already works as bridge 'bridge-1'"):
        stack.start_bridge("bridge-1")


def test_a_database_of_another_source_is_refused(stack: ServiceStack) -> None:
    stack.stop_bridge()
    with stack.db.transaction() as cursor:
        cursor.execute("UPDATE store SET source = 'ib:live'")
    child = stack.launch_bridge()  # it may be over before anybody has seen it connected
    stack.wait(lambda: child.exit_code() is not None, "the bridge gives up")
    assert child.exit_code() == 1
    assert "this database holds bars of ib:live, the gateway serves sim:" in child.tail()


def test_sigterm_ends_the_bridge_cleanly_and_gives_back_its_work(stack: ServiceStack) -> None:
    stack.sim.command("latency 60000")
    job_id = stack.backfill(**MONTH)
    stack.wait(lambda: stack.rows("SELECT 1 FROM ib_requests WHERE kind = 'details'"), "the bridge has begun")
    stack.sim.command("latency none")
    stack.wait(lambda: stack.job(job_id)["status"] != "queued", "planning")
    assert stack.stop_bridge() == 0
    assert stack.rows("SELECT 1 FROM backfill_chunks WHERE state = 'leased'") == []
    assert stack.session()["state"] == "down"
    stack.start_bridge()
    assert stack.finished(job_id)["status"] == "succeeded"


def test_without_the_database_callers_hear_503_and_it_recovers(servers: SimpleNamespace) -> None:
    folder = servers.folder / "own-postgres"
    folder.mkdir()
    with Group() as group:
        server = start_postgres(group, folder, durable=True)
        server.child.wait_ready()
        upgrade(server.dsn())
        options = ("--latency", "none", "--clock", "rate:20", "--start", "2026-03-04T17:30:30Z")
        with service_stack(group, folder, server.dsn(), *options) as stack:
            stack.start_bridge()
            stack.finished(stack.backfill(symbol="AAPL", timeframe="1d", days_back=30))
            group.stop_child(server.child)
            answer = stack.client.get(
                "/api/v1/market-data/historical/bars", params={"symbol": "AAPL", "timeframe": "1d"}
            )
            assert answer.status_code == 503
            assert answer.json()["code"] == "database-unavailable"
            assert int(answer.headers["retry-after"]) > 0
            assert stack.client.get("/health").status_code == 503
            assert "password" not in answer.text.lower()

            again = start_postgres(group, folder, durable=True, port=server.port)
            again.child.wait_ready()
            assert stack.bars(symbol="AAPL", timeframe="1d")["total"] > 10
            # The bridge, too, comes back by itself: without any queue, by the sweep.
            assert stack.finished(stack.backfill(symbol="MSFT", timeframe="1d", days_back=30))["status"] == "succeeded"
