"""A week of market time passes without a hand: nightly restarts, a weekly login, farms that come and go."""

from types import SimpleNamespace
from typing import Any

from nautilus.clock import NS_PER_S, parse_rfc3339
from tests.support.stack import Plant, plant

START = "2026-03-02T13:00:00Z"
WEEK = ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06"]


def leap(works: Plant, until: str) -> None:
    """Jump to a moment while no request is open."""
    works.wait(lambda: not works.rows("SELECT 1 FROM ib_requests WHERE outcome = 'sent'"), "no request is open")
    seconds = (parse_rfc3339(until) - works.market_ns()) / NS_PER_S
    if seconds > 0:
        works.sim.command(f"advance {seconds}")


def fill(works: Plant) -> dict[str, Any]:
    return works.finished(works.backfill(symbol="AAPL", timeframe="1m", days_back=7), 90)


def asked_to_log_in(works: Plant) -> bool:
    """Let the login be missing, again where a connection was being made while all others were dropped."""
    state = works.session()["state"]
    if state == "connected":
        works.sim.command("login_needed mute")
    return bool(state == "needs_login")


def test_a_week_with_nightly_restarts_and_a_login_needs_no_hand(servers: SimpleNamespace, dsn: str) -> None:
    options = ("--latency", "none", "--clock", "rate:20", "--start", START)
    with plant(servers.group, servers.folder, dsn, *options) as works:
        works.start_bridge(ib_timeout_s="2")
        works.sim.command("restart_daily 04:45 40")
        seen = set()
        for day in WEEK:
            leap(works, f"{day}T21:05:00Z")  # after the close in New York
            works.wait(lambda: works.session()["state"] == "connected", "connected in the evening", 60)
            assert fill(works)["status"] in ("succeeded", "partial")
            leap(works, f"{day}T23:59:00Z")
            works.sim.command("farm_down ushmds")
            works.wait(lambda: works.session()["state"] != "connected", "the farm is missed", 20)
            seen.add(works.session()["state"])
            works.sim.command("farm_up ushmds")
        # Sunday night the token has expired: the gateway takes the connection and says nothing until a person logs in.
        leap(works, "2026-03-08T06:00:00Z")
        works.wait(lambda: asked_to_log_in(works), "somebody is asked to log in", 60, works.session)
        assert works.client.get("/health").json()["status"] == "degraded"
        works.sim.command("login")
        works.wait(lambda: works.session()["state"] == "connected", "connected again by itself", 60)
        job = fill(works)
        days = works.rows(
            "SELECT (to_timestamp(ts / 1000000000) AT TIME ZONE 'UTC')::date AS day, count(*) AS n FROM bars_minute b"
            " JOIN series s ON s.id = b.series_id WHERE s.timeframe = '1m' GROUP BY 1 ORDER BY 1"
        )
        per_day = {str(row.day): row.n for row in days}
        assert [per_day[day] for day in WEEK] == [390] * 5
        assert job["status"] == "succeeded", job
        assert seen <= {"degraded", "reset_window", "down"}
        restarts = [line for line in works.log() if line["message"] == "ib-connected"]
        assert len(restarts) >= 4
        assert works.rows("SELECT 1 FROM ib_requests WHERE ib_text LIKE '%%pacing%%'") == []
