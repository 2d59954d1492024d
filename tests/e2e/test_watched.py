"""A backfill watched through the API while farms flap, IB's servers go and the gateway restarts. `-s` prints what is seen."""

import os
import time
from types import SimpleNamespace
from typing import Any

from nautilus.clock import NS_PER_S
from tests.support.stack import ServiceStack, service_stack

FIRST = os.environ.get("WATCH_FROM", "2026-02-23")
"""`make watch` has it begin three weeks earlier."""
# Bids and asks of half a minute: each request counts twice, so that IB's sixty in ten minutes are reached.
REQUEST = {
    "symbols": ["AAPL", "MSFT"],
    "timeframes": ["30s", "1m"],
    "price": "BID_ASK",
    "start": f"{FIRST}T00:00:00Z",
    "end": "2026-03-04T00:00:00Z",
}
# So much of the job is done when it happens: (percent, words, command, what takes it back, after how many seconds).
FAULTS = (
    (10, "somebody else logs in", "competing on", "competing off", 60),
    (25, "a history farm flaps", "farm_flap ushmds 60", "", 0),
    (40, "the gateway restarts", "restart 60 refuse", "", 0),
    (50, "IB's servers are lost", "lost", "restored lost", 40),
)
HEADINGS = ("market time", "session", "job", "chunks", "requests", "bars", "blocked on", "in 10 min", "left", "open")
WIDTHS = (20, 13, 10, 8, 9, 8, 12, 10, 5, 5)


class Watch:
    """Looks as a front end does, and writes down what changed."""

    def __init__(self, stack: ServiceStack, job_id: str) -> None:
        self.stack = stack
        self.job_id = job_id
        self.last: tuple[Any, ...] = ()
        self.lines = ["", self.line(HEADINGS)]
        self.seen: set[tuple[str, str | None]] = set()

    @staticmethod
    def line(cells: tuple[Any, ...]) -> str:
        return "  ".join(
            str("" if c is None else c).ljust(width) for c, width in zip(cells, WIDTHS, strict=True)
        ).rstrip()

    def read(self) -> dict[str, Any]:
        session = self.stack.session()
        body = self.stack.client.get("/api/v1/historical/backfill/status").json()["jobs"]
        job: dict[str, Any] = next(job for job in body if job["job_id"] == self.job_id)
        budget = self.stack.client.get("/api/v1/ib/budget").json()
        progress, small = job["progress"], budget["small_bars"]
        now = (session["state"], job["status"], job["blocked_on"])
        self.seen.add((session["state"], job["blocked_on"]))
        if now != self.last or job["finished_at"]:
            self.last = now
            self.lines.append(
                self.line(
                    (
                        session["market_time"][:19],
                        session["state"],
                        job["status"],
                        f"{progress['chunks_done']}/{progress['chunks_total']}",
                        progress["requests_sent"],
                        progress["bars_written"],
                        job["blocked_on"],
                        f"{small['used']} of {small['limit']}",
                        small["remaining"],
                        budget["open_requests"],
                    )
                )
                + (f"   {session['reason']}" if session["reason"] else "")
            )
        return job


def test_a_backfill_is_watched_through_all_faults(servers: SimpleNamespace, dsn: str) -> None:
    options = ("--latency", "none", "--clock", "rate:20", "--start", "2026-03-04T17:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *options) as stack:
        stack.start_bridge(request_timeout_s="10", ib_timeout_s="3")
        stack.sim.command("latency 2000")
        watch = Watch(stack, stack.backfill(**REQUEST))
        todo = list(FAULTS)
        later: list[tuple[int, str]] = []
        job = watch.read()
        while not job["finished_at"]:
            time.sleep(0.05)
            job = watch.read()
            now = stack.market_ns()
            if todo and not later and job["progress"]["pct"] >= todo[0][0]:
                _, words, begins, ends, after_s = todo.pop(0)
                watch.lines.append(f"--- {words}: {begins}")
                stack.sim.command(begins)
                later = [(now + after_s * NS_PER_S, ends)] if ends else []
            if later and now >= later[0][0]:
                _, ends = later.pop()
                watch.lines.append(f"--- {ends}")
                stack.sim.command(ends)
            waits = job["blocked_on"] == "pacing" or (watch.last[0] == "displaced" and not later)
            if waits and not stack.rows("SELECT 1 FROM ib_requests WHERE outcome = 'sent'"):
                stack.sim.command("advance 20")
        stack.wait(lambda: stack.session()["state"] == "connected", "all is well")
        print("\n".join(watch.lines))
        assert job["status"] == "succeeded", job
        days = stack.rows(
            "SELECT count(*) AS n FROM trading_sessions WHERE trade_date BETWEEN %s AND '2026-03-03'", FIRST
        )
        assert job["progress"]["bars_new"] == 2 * days[0].n * (390 + 780)
        assert not todo
        assert {"degraded", "down", "displaced"} <= {state for state, _ in watch.seen}
        assert {("connected", None), ("down", "ib_session")} <= watch.seen
