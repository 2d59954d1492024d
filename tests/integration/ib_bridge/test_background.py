"""What runs in the background goes on, whatever its neighbours do: each is broken once in a way that nobody foresaw."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from ib_bridge.ib.clock import MarketClock
from ib_bridge.ib.connection import IbConnection
from nautilus.backfill.pacing import Request
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import job_stopping, requests
from nautilus.log import logger
from nautilus.process.transactions import TransactionRunner
from nautilus.reading.read_through import Watch
from nautilus.settings.bridge import BridgeSettings
from tests.integration.backfill.test_ledger import Ledger
from tests.support.neighbours import Relay, relay
from tests.support.sim_process import simulator
from tests.support.stack import ServiceStack, service_stack

NOW = ("--latency", "none", "--start", "2026-03-04T17:30:30Z")
DAY = {"symbol": "AAPL", "timeframe": "1m", "start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    with service_stack(servers.group, servers.folder, dsn, *NOW) as made:
        made.start_bridge()
        yield made


def logged(lines: str, action: str) -> list[Any]:
    found = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return [line for line in found if line["message"] == action]


def settings_of(port: int, **more: Any) -> BridgeSettings:
    return BridgeSettings.model_validate({"database_url": "postgresql://x@127.0.0.1/x", "ib_port": port} | more)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel it until it ends: Python 3.11's wait_for forgets a cancellation now and then."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1)


# ---- the session -----------------------------------------------------------------------------------------------------


def test_the_session_connects_anew_after_an_error_that_nobody_foresaw(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        with simulator(*NOW) as sim:
            broken = 2
            connected = asyncio.Event()

            def changed() -> None:
                nonlocal broken
                if connection.up and broken:
                    broken -= 1
                    raise LookupError("who is told of a change breaks")
                if connection.up:
                    connected.set()

            connection = IbConnection(settings_of(sim.port), MarketClock(), logger("test"), changed)
            running = asyncio.create_task(connection.run())
            waiting = asyncio.create_task(connected.wait())
            await asyncio.wait({running, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            assert not running.done(), running.exception()
            assert connection.up
            assert connection.number == 3
            await ended(running)

    asyncio.run(work())
    assert len(logged(capsys.readouterr().out, "session-broke")) == 2


@pytest.mark.parametrize("answer", ['{"ok": true}', "[]", "7", "nonsense", '{"ok": true, "now_ns": null, "rate": []}'])
def test_a_control_port_that_speaks_nonsense_costs_the_session_nothing(answer: str) -> None:
    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer.encode() + b"\n")
        writer.close()

    async def work() -> None:
        with simulator(*NOW) as sim:
            control = await asyncio.start_server(tell, "127.0.0.1", 0)
            connected = asyncio.Event()

            def changed() -> None:
                if connection.up:
                    connected.set()

            settings = settings_of(sim.port, control_port=control.sockets[0].getsockname()[1])
            connection = IbConnection(settings, MarketClock(), logger("test"), changed)
            running = asyncio.create_task(connection.run())
            waiting = asyncio.create_task(connected.wait())
            await asyncio.wait({running, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            assert not running.done(), running.exception()
            assert connection.stated_volume_unit is None
            await ended(running)
            control.close()

    asyncio.run(work())


# ---- reads that wait -------------------------------------------------------------------------------------------------


@contextmanager
def renamed(database: Database, table: str) -> Iterator[None]:
    """A table is away: an error of a kind that is none of a database that went away."""
    for before, after in ((table, "hidden"), ("hidden", table)):
        with database.transaction() as cursor:
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")
        if before == table:
            yield


def test_a_waiting_read_is_woken_after_an_error_that_nobody_foresaw(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logger("test")
    ledger = Ledger(dsn)
    job, _ = ledger.job((0, 10))

    async def work() -> None:
        watch = Watch(ledger.db)
        with renamed(ledger.db, "backfill_jobs"):
            waiting = asyncio.create_task(watch.changed([], [job], 60))
            while "watch-broke" not in (body := capsys.readouterr().out):
                assert not waiting.done(), body
                await asyncio.sleep(0.05)
        with ledger.db.transaction() as cursor:
            job_stopping.stop(cursor, job, None)
            job_stopping.finish_stopping(cursor)
        assert await waiting

    asyncio.run(work())
    del log


# ---- the bridge's store and name -------------------------------------------------------------------------------------


def test_a_transaction_that_collides_lets_the_other_one_end_before_it_tries_again(dsn: str) -> None:
    database = Database(dsn, name="test", size=2)
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with database.transaction() as cursor:
            cursor.execute("SELECT 1 FROM store FOR UPDATE")
            held.set()
            free.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    pauses: list[float] = []

    def sleep(pause_s: float) -> None:
        """What the pause is for: at the third one the other transaction ends."""
        pauses.append(pause_s)
        if len(pauses) == 3:
            free.set()
            other.join()

    def work(cursor: Cursor) -> str:
        cursor.execute("SET LOCAL lock_timeout = '10ms'; SELECT 'ours' FROM store FOR UPDATE")
        return str(cursor.fetchone()[0])

    store = TransactionRunner(database, 1, sleep)
    assert asyncio.run(store.run(work)) == "ours"
    assert len(pauses) == 3
    assert 0 < pauses[0] < pauses[2]
    store.close()


def test_a_lost_name_is_told_and_taken_again(stack: ServiceStack) -> None:
    stack.rows("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1")
    stack.wait(lambda: [x for x in stack.log() if x["message"] == "name-lost"], "the bridge tells")
    held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
    stack.wait(lambda: stack.rows(held), "the name is held again")
    assert stack.bridges["bridge-1"].exit_code() is None


_HELD = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"


@contextmanager
def cut_off(servers: SimpleNamespace, dsn: str) -> Iterator[tuple[ServiceStack, Relay]]:
    """A service stack whose bridge alone has a database that can fall silent."""
    with relay(dsn) as between, service_stack(servers.group, servers.folder, dsn, *NOW) as stack:
        stack.start_bridge(database_url=between.before(dsn))
        try:
            yield stack, between
        finally:
            between.heal()


def test_a_name_whose_server_says_nothing_is_taken_anew(servers: SimpleNamespace, dsn: str) -> None:
    """The network is cut: the server goes on with a session that nobody is at the other end of."""
    with cut_off(servers, dsn) as (stack, between):
        before = stack.rows(_HELD)
        between.hang()
        stack.wait(lambda: [x for x in stack.log() if x["message"] == "name-lost"], "the bridge tells")
        assert stack.rows(_HELD) == before, "the server has not noticed"
        between.heal(anew=True)
        stack.wait(lambda: stack.rows(_HELD) and stack.rows(_HELD) != before, "the name is held again")
        assert stack.bridges["bridge-1"].exit_code() is None
        stack.finished(stack.backfill(**DAY))


def test_a_bridge_whose_database_hangs_ends_when_it_is_told_to(servers: SimpleNamespace, dsn: str) -> None:
    with cut_off(servers, dsn) as (stack, between):
        between.hang()
        bridge = stack.bridges["bridge-1"]
        os.kill(bridge.pid, signal.SIGTERM)
        stack.wait(lambda: bridge.exit_code() is not None, "the bridge ends", 60)
        assert bridge.exit_code() == 0
        body = [x for x in stack.log() if x["message"] == "farewell-not-stored"]
        assert len(body) == 1


# ---- requests --------------------------------------------------------------------------------------------------------


def test_the_request_of_a_chunk_that_somebody_else_has_taken_is_closed_as_it_ended(stack: ServiceStack) -> None:
    stack.finished(stack.backfill(symbol="AAPL", timeframe="1d", start=DAY["start"], end=DAY["end"]))
    stack.sim.command("latency 3000")
    stack.backfill(**DAY)
    of_chunks = (
        "SELECT r.outcome, r.bars FROM ib_requests r JOIN series s ON s.id = r.series_id WHERE s.timeframe = '1m'"
    )
    stack.wait(lambda: stack.rows(of_chunks), "a request is open")
    # Another bridge has it: its token is higher, and its lease lives.
    stack.rows(
        "UPDATE backfill_chunks SET token = token + 1, lease_bridge = 'other' WHERE state = 'leased' RETURNING 1"
    )
    stack.wait(lambda: [x for x in stack.log() if x["message"] == "lease-lost"], "the answer comes too late")
    stack.wait(lambda: stack.rows(of_chunks)[0].outcome != "sent", "its request is closed")
    assert [tuple(row) for row in stack.rows(of_chunks)] == [("ok", 390)]
    assert stack.rows("SELECT count(*) AS n FROM bars_minute")[0].n == 0, "nothing of it is stored"


def test_a_request_whose_end_could_not_be_written_is_lost_after_the_longest_wait(dsn: str) -> None:
    database = Database(dsn, name="test")
    with database.transaction() as cursor:
        numbers = [
            requests.insert(cursor, "L", bridge, kind="bars", request=Request(str(n), "c", small=True), sent_at=n)
            for n, bridge in enumerate(["b", "b", "other", "b"])
        ]
        cursor.execute("UPDATE ib_requests SET booked_at = booked_at - interval '121 s' WHERE id <> %s", (numbers[0],))
        requests.close(cursor, numbers[3], "ok", ms=1)
        assert requests.lose_old(cursor, "b", 120) == 1
        cursor.execute("SELECT outcome FROM ib_requests ORDER BY id")
        assert [row.outcome for row in cursor.fetchall()] == ["sent", "lost", "sent", "ok"]
    database.close()
