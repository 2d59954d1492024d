"""A week of market time passes without a hand: nightly restarts, a weekly login, farms that come and go."""

from types import SimpleNamespace
from typing import Any

from nautilus.clock import NS_PER_S, parse_rfc3339
from tests.support.stack import ServiceStack, service_stack

START = "2026-03-02T13:00:00Z"
WEEK = ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"]


def leap(stack: ServiceStack, until: str) -> None:
    """Jump to a moment while no request is open."""
    stack.wait(lambda: not stack.rows("SELECT 1 FROM ib_requests WHERE outcome = 'sent'"), "no request is open")
    seconds = (parse_rfc3339(until) - stack.market_ns()) / NS_PER_S
    if seconds > 0:
        stack.sim.command(f"advance {seconds}")


def fill(stack: ServiceStack) -> dict[str, Any]:
    return stack.finished(stack.backfill(symbol="AAPL", timeframe="1m", days_back=7), 90)


def waits_for_login(stack: ServiceStack) -> bool:
    """Let the login be missing, again where a connection was being made while all others were dropped."""
    state = stack.session()["state"]
    if state == "connected":
        stack.sim.command("login_needed mute")
    return bool(state == "needs_login")


def test_a_week_with_nightly_restarts_and_a_login_needs_no_hand(servers: SimpleNamespace, dsn: str) -> None:
    options = ("--latency", "none", "--clock", "rate:20", "--start", START)
    with service_stack(servers.group, servers.folder, dsn, *options) as stack:
        stack.start_bridge(ib_timeout_s="2")
        stack.sim.command("restart_daily 04:45 40")
        seen = set()
        for day in WEEK:
            leap(stack, f"{day}T21:05:00Z")  # after the close in New York
            stack.wait(lambda: stack.session()["state"] == "connected", "connected in the evening", 60)
            assert fill(stack)["status"] in ("succeeded", "partial")
            leap(stack, f"{day}T23:59:00Z")
            stack.sim.command("farm_down ushmds")
            stack.wait(lambda: stack.session()["state"] != "connected", "the farm is missed", 20)
            seen.add(stack.session()["state"])
            stack.sim.command("farm_up ushmds")
        # Sunday night the token has expired: the gateway takes the connection and says nothing until a person logs in.
        leap(stack, "2026-03-08T06:00:00Z")
        stack.wait(lambda: waits_for_login(stack), "somebody is asked to log in", 60, stack.session)
        assert stack.client.get("/health").json()["status"] == "degraded"
        stack.sim.command("login")
        stack.wait(lambda: stack.session()["state"] == "connected", "connected again by itself", 60)
        job = fill(stack)
        days = stack.rows(
            "SELECT (to_timestamp(ts / 1000000000) AT TIME ZONE 'UTC')::date AS day, count(*) AS n FROM bars_minute b"
            " JOIN series s ON s.id = b.series_id WHERE s.timeframe = '1m' GROUP BY 1 ORDER BY 1"
        )
        per_day = {str(row.day): row.n for row in days}
        assert [per_day[day] for day in WEEK] == [390] * 5
        assert job["status"] == "succeeded", job
        assert seen <= {"degraded", "reset_window", "down"}
        restarts = [line for line in stack.log() if line["message"] == "ib-connected"]
        assert len(restarts) >= 4
        assert stack.rows("SELECT 1 FROM ib_requests WHERE ib_text LIKE '%%pacing%%'") == []
