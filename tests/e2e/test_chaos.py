"""A backfill of three instruments in three timeframes while everything around it dies, lies and comes back.

At the end every bar that the simulator holds is in the database exactly once, equal to the last digit, coverage equals
the truth and no chunk is stuck. `make test` runs a short one; `make chaos` kills the bridge a hundred times.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from dev.environment import CLIENT_ENVIRONMENT
from dev.postgres import Postgres, start_postgres
from dev.process import Group, StartError
from dev.sqs import Sqs, start_sqs
from ib_gateway_sim.market.contracts import ContractQuery
from ib_gateway_sim.market.generated.market import Market
from nautilus.clock import NS_PER_DAY, NS_PER_S, rfc3339
from nautilus.db.market import series
from nautilus.db.migrate import upgrade
from nautilus.infra.messages import JobHint
from nautilus.infra.queue import Queue
from nautilus.spans import Spans
from tests.support.stack import ServiceStack, service_stack

KILLS = int(os.environ.get("CHAOS_KILLS", "5"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
NOW = "2026-03-04T17:30:30Z"
SYMBOLS: list[dict[str, Any]] = [{"symbol": "AAPL"}, {"symbol": "EUR/USD"}, {"symbol": "ES", "asset_class": "FUT"}]
FRAMES = ["1m", "1h", "1d"]
QUEUE = "chaos"
TABLES = {"1m": "bars_minute", "1h": "bars_coarse", "1d": "bars_coarse"}


class Chaos:
    """What can go wrong, each a method; `count` says how often it did."""

    def __init__(
        self, stack: ServiceStack, group: Group, server: Postgres, sqs: Sqs, url: str, folder: Path, dice: random.Random
    ) -> None:
        self.stack = stack
        self.group = group
        self.server = server
        self.sqs: Sqs | None = sqs
        self.queue = Queue(url, endpoint=sqs.endpoint_url)
        self.folder = folder
        self.dice = dice
        self.count: Counter[str] = Counter()
        self.jobs: list[str] = []

    def faults(self) -> None:
        """Something else than a kill, most of the time nothing."""
        choice: list[Callable[[], None]] = [self.nothing, self.nothing, self.short_answers, self.farm_flap, self.drop]
        choice += [self.rubbish, self.hints_again, self.queue_down, self.database] if self.sqs else [self.queue_up]
        do = self.dice.choice(choice)
        self.count[do.__name__] += 1
        do()

    def nothing(self) -> None:
        pass

    def short_answers(self) -> None:
        self.stack.sim.command("short 2")

    def farm_flap(self) -> None:
        self.stack.sim.command("farm_down ushmds")
        time.sleep(0.2)
        self.stack.sim.command("farm_up ushmds")

    def drop(self) -> None:
        self.stack.sim.command("drop")

    def rubbish(self) -> None:
        """Messages that cannot be read, that come twice, and of jobs that never were."""
        for body in (
            "not json",
            '{"v": 9}',
            '{"v": 1, "kind": "job", "job_id": "00000000-0000-0000-0000-000000000000"}',
        ):
            for _ in range(2):
                self.queue._sqs().send_message(QueueUrl=self.queue.url, MessageBody=body)

    def hints_again(self) -> None:
        """True hints, twice and in another order."""
        for job in self.dice.sample(self.jobs * 2, 2 * len(self.jobs)):
            assert self.queue.send(JobHint(job_id=UUID(job)))

    def queue_down(self) -> None:
        """SQS is away for a while, and forgets all its messages."""
        assert self.sqs is not None
        self.group.kill_child(self.sqs.child)
        self.sqs = None

    def queue_up(self) -> None:
        port = urlsplit(self.queue.url).port
        self.sqs = start_sqs(self.group, self.folder, port=port)
        self.sqs.child.wait_ready()
        assert self.sqs.make_queue_pair(QUEUE)[0] == self.queue.url

    def database(self) -> None:
        """PostgreSQL dies at once and comes back."""
        self.group.kill_child(self.server.child)
        time.sleep(0.2)
        self.server = start_postgres(self.group, self.folder, durable=True, port=self.server.port)
        self.server.child.wait_ready()

    def kill(self) -> None:
        self.stack.kill_bridge()
        self.count["kill"] += 1
        self.revive()

    def revive(self) -> None:
        """The name of a killed bridge is free as soon as PostgreSQL sees its connection end."""
        for _ in range(20):
            try:
                self.stack.start_bridge()
            except StartError:
                self.stack.bridges.pop("bridge-1", None)
                time.sleep(0.3)
            else:
                return
        raise AssertionError("the bridge does not come back")


@pytest.mark.timeout(1_800 + 120 * KILLS)
def test_every_bar_is_there_once_whatever_died(servers: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CLIENT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    dice = random.Random(SEED)
    folder = servers.folder / f"chaos-{SEED}"
    folder.mkdir()
    with Group() as group:
        server, sqs = start_postgres(group, folder, durable=True), start_sqs(group, folder)
        server.child.wait_ready()
        upgrade(server.dsn())
        sqs.child.wait_ready()
        queue = SimpleNamespace(url=sqs.make_queue_pair(QUEUE)[0], endpoint_url=sqs.endpoint_url)
        options = ("--latency", "8000", "--clock", "rate:20", "--start", NOW)
        with service_stack(group, folder, server.dsn(), *options, queue=queue) as stack:
            stack.start_bridge()
            chaos = Chaos(stack, group, server, sqs, queue.url, folder, dice)
            end = stack.market_ns() // NS_PER_DAY * NS_PER_DAY - NS_PER_DAY
            start = end - (60 + 6 * KILLS) * NS_PER_DAY

            def ask(symbol: dict[str, Any]) -> None:
                body = {**symbol, "timeframes": FRAMES, "start": rfc3339(start), "end": rfc3339(end)}
                chaos.jobs.append(stack.backfill(**body))

            for symbol in SYMBOLS[:2]:
                ask(symbol)
            for number in range(KILLS):
                if number == KILLS // 2:
                    # Nobody hears of the last job through the queue.
                    if chaos.sqs:
                        chaos.count["queue_down"] += 1
                        chaos.queue_down()
                    ask(SYMBOLS[2])
                time.sleep(dice.uniform(0.05, 0.9))
                chaos.faults()
                time.sleep(dice.uniform(0.0, 0.4))
                chaos.kill()
            stack.sim.command("latency none")
            stack.sim.command("short 0")
            ended = [stack.finished(job, 120 + 2 * KILLS)["status"] for job in chaos.jobs]
            settle(stack)
            payload = check(stack, start, end)
            print(f"seed {SEED}: {dict(chaos.count)}; jobs {ended}; {payload}")


def settle(stack: ServiceStack) -> None:
    """What was left in doubt is looked at again a quarter of an hour later, market time."""
    for _ in range(6):
        if not stack.rows("SELECT 1 FROM coverage_notes"):
            return
        stack.sim.command("advance 3700")
        stack.wait(partial(nothing_due, stack, stack.market_ns()), "what was due is asked for again", 60)
    assert stack.rows("SELECT range, state, reason FROM coverage_notes") == []


def nothing_due(stack: ServiceStack, at_ns: int) -> bool:
    """Whether no note had expired by then that no job has taken up and finished."""
    due = stack.rows("SELECT 1 FROM coverage_notes WHERE expires_at <= %s", at_ns)
    return not due and not stack.rows("SELECT 1 FROM backfill_jobs WHERE state IN ('queued', 'planning', 'running')")


def check(stack: ServiceStack, start: int, end: int) -> str:
    """Compare the database with the simulator's market, series by series."""
    market = Market(int(stack.sim.ready["account"].removeprefix("SIM")))
    now = stack.market_ns() / NS_PER_S
    bars = 0
    with stack.db.transaction() as cursor:
        cursor.execute("SELECT s.id, s.con_id, s.timeframe, s.price, s.session FROM series s ORDER BY id")
        rows = cursor.fetchall()
        assert len(rows) == len(SYMBOLS) * len(FRAMES)
        for row in rows:
            (contract,) = market.find(ContractQuery(con_id=row.con_id), now)
            # A day's bar opens before the day's label, on the evening before: ask wider, then cut.
            own = market.bars(
                contract,
                row.timeframe,
                row.price,
                rth=row.session == "rth",
                start_s=(start - 2 * NS_PER_DAY) // NS_PER_S,
                end_s=(end + 2 * NS_PER_DAY) // NS_PER_S,
                now_s=now,
            )
            own = [b for b in own if start <= b.t * NS_PER_S < end]
            cursor.execute(
                f"SELECT ts, open, high, low, close, coalesce(volume, -1) FROM {TABLES[row.timeframe]}"
                " WHERE series_id = %s AND ts >= %s AND ts < %s ORDER BY ts",
                (row.id, start, end),
            )
            there = [tuple(r) for r in cursor.fetchall()]
            assert there == [(b.t * NS_PER_S, b.open, b.high, b.low, b.close, b.volume) for b in own], row
            found = series.by_id(cursor, row.id)
            # A future has no bars from before it was listed; the bars above prove that there were none.
            listed = found.timeframe.floor(found.head_ts) if found.head_ts is not None else start
            assert not Spans.of(max(start, listed), end) - found.covered, row
            bars += len(there)
        cursor.execute("SELECT count(*) FROM backfill_chunks WHERE state IN ('pending', 'leased')")
        assert cursor.fetchone()[0] == 0
        cursor.execute("SELECT count(*) FROM ib_requests WHERE ib_text LIKE '%pacing%'")
        assert cursor.fetchone()[0] == 0
    return f"{bars} bars in {len(rows)} series equal the simulator's"
