"""Every fault of the simulator, while bars are being fetched: what the API says while it lasts, and that the backfill ends
complete when it is over. The table is held against the simulator's own list of what it can do.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ib_gateway_sim.control import accounts, executions, fills, live, orders, saving
from ib_gateway_sim.control.table import COMMANDS
from ib_gateway_sim.faults.notices import HISTORY_ERRORS
from ib_gateway_sim.faults.state import Faults
from nautilus.clock import datetime_of, parse_rfc3339
from tests.conftest import Server, database
from tests.support.stack import ServiceStack, service_stack

START = "2026-03-04T17:30:30Z"
SYMBOLS = ("AAPL", "MSFT", "SPY")
LAST = datetime(2026, 2, 25, tzinfo=UTC)
"""A Wednesday. Each item has a Thursday, a Friday, a Monday and a Tuesday before one, of its own: two requests."""
NEW_YORK = ZoneInfo("America/New_York")
NO_FAULT = {"help", "received", "sent", "forget", "clients", "weather", "clock", "volume_unit"}
"""Commands that ask and change nothing."""
OF_ORDERS = {command.name for module in (orders, fills, executions, accounts, saving) for command in module.COMMANDS}
"""Faults of orders and accounts; a backfill places none and owns nothing."""
LIVE_ONLY = {command.name for command in live.COMMANDS}
"""Commands that change live bars, or history after its answer: a backfill cannot notice them while it runs."""
HELD = "latency 60000"
"""Requests stay open for a minute of market time, or until the clock is moved on."""


@dataclass(frozen=True)
class Item:
    """What begins, what the API says while it lasts, what ends it, and how the backfill ends.

    state, reason: of the session; blocked_on: of the job. answers: among those that the job's requests got, as `outcome`
    or `outcome:code`. status: of the job; what is not `succeeded` is completed by the remedy. body: instead of the item's
    own days of a known stock.
    """

    begins: tuple[str, ...]
    ends: tuple[str, ...] = ()
    state: str = "connected"
    reason: str = ""
    blocked_on: str = ""
    answers: tuple[str, ...] = ()
    status: str = "succeeded"
    remedy: str = ""
    upcoming: bool = False
    """Set for requests to come; otherwise it begins while requests are open."""
    goes_on: bool = False
    """The job ends while the fault lasts."""
    alarms: int = 0
    """Codes that nobody knows."""
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " & ".join([*self.begins, *([self.body["symbol"]] if self.body else [])])


def gone(*begins: str, ends: str = "", state: str = "down", reason: str = "cannot be reached") -> Item:
    """The connection is lost, and with it what was open."""
    return Item(begins, (ends,) if ends else (), state, reason, "ib_session", ("lost",))


def away(*begins: str, ends: str = "", state: str = "degraded", reason: str = "ushmds", **more: Any) -> Item:
    """Connected, but what history needs is not there."""
    blocked_on = "reset_window" if state == "reset_window" else "ib_session"
    return Item(begins, (ends,) if ends else (), state, reason, blocked_on, **more)


def harmless(*begins: str, ends: str = "", state: str = "connected", reason: str = "", alarms: int = 0) -> Item:
    return Item(begins, (ends,) if ends else (), state, reason, goes_on=True, alarms=alarms)


def answered(begins: str, answer: str, blocked_on: str = "", *, alarms: int = 0) -> Item:
    """So are the next requests answered, and asked again by itself."""
    return Item((begins,), (), "connected", "", blocked_on, (answer,), upcoming=True, alarms=alarms)


def refused(begins: str, answer: str, *, alarms: int = 0) -> Item:
    """So are the next requests refused, for good as it seems: asked again by force."""
    item = answered(begins, answer, alarms=alarms)
    return Item(item.begins, answers=item.answers, status="failed", remedy="force", upcoming=True, alarms=alarms)


def unplanned(*begins: str, blocked_on: str, symbol: str, **more: Any) -> Item:
    """What keeps a job of something new from being planned."""
    body = {"symbol": symbol, "timeframe": "1h", "start": "2026-02-02T00:00:00Z", "end": "2026-02-06T00:00:00Z"} | more
    return Item(begins, blocked_on=blocked_on, upcoming=True, body=body)


SERVICE = "Historical Market Data Service error message:"
OLD = {"symbol": "GLD", "timeframe": "1d", "start": "2025-01-06T00:00:00Z", "end": "2025-01-10T00:00:00Z"}
"""So old that the oldest bar is asked for first."""
SILENCE = "IB did not answer in time"
ITEMS = (
    # ---- time
    harmless("advance 3600"),
    harmless("set_clock {later}"),
    harmless("set_clock {earlier}", ends="advance 400"),
    Item(("rate 0",), ("rate 20",)),
    # ---- slow, silent and wrong answers
    Item(("latency 10000",), upcoming=True),
    Item(("latency measured", "slow 20"), upcoming=True),
    Item(("latency measured", "crawl 1 20"), upcoming=True),
    answered("silent 1", "timeout"),
    Item(("silent 2 reqCurrentTime",), answers=("lost",)),
    Item(("silent 1 reqExecutions", "drop")),
    Item(("silent 1 reqPositions", "silent 1 reqAccountUpdates", "silent 1 reqAccountUpdatesMulti", "drop")),
    unplanned("silent 1 reqContractDetails", blocked_on=SILENCE, symbol="AMZN"),
    unplanned("silent 1 reqHistoricalData", blocked_on=SILENCE, symbol="SPX", asset_class="IND"),
    unplanned("silent 1 reqHeadTimestamp", blocked_on=SILENCE, symbol="IWM", start="2025-01-06T00:00:00Z"),
    Item(
        ("silent 1 reqMarketRule",),
        upcoming=True,
        body={"symbol": "USD/JPY", "timeframe": "1h", "start": "2026-02-02T00:00:00Z", "end": "2026-02-06T00:00:00Z"},
    ),
    Item(("short 2",), status="partial", remedy="re-check", upcoming=True),
    Item(("duplicate 2",), upcoming=True),
    Item(("cut 1",), answers=("lost",), upcoming=True),
    answered("pacing 2", "error:162", "pacing"),
    answered("history_error pacing 2", "error:162", "pacing"),
    answered("history_error cancelled 2", "error:162", "cancelled_by_ib"),
    answered("history_error query_failed 2", "error:162", "query_failed"),
    answered("history_error exited 2", "error:162", "query_failed"),
    answered("history_error timed_out 2", "error:162", "timed_out"),
    answered("history_error unavailable 2", "error:162", "history_farm_away"),
    refused("history_error not_supported 2", "error:162"),
    refused("history_error too_long 2", "error:162"),
    refused("history_error no_head 2", "error:162"),
    Item(("history_error no_data 1",), answers=("empty:162",), status="partial", remedy="re-check", upcoming=True),
    refused("history_error no_permission 2", "error:162"),
    refused("history_error unknown_contract 2", "error:162"),
    refused("history_error invalid_step 2", "error:162"),
    refused("history_error no_history 2", "error:162"),
    away("history_error other_address 2", state="displaced", reason="another session", upcoming=True),
    answered("reject_next reqHistoricalData 100 Max 2", "error:100", "message_rate"),
    answered("reject_next reqHistoricalData 322 Max 2", "error:322", "cannot_process"),
    answered("reject_next reqHistoricalData 504 Not 2", "error:504"),
    answered("reject_next reqHistoricalData 366 'No historical data query found' 2", "error:366", "query_lost"),
    answered("reject_next reqHistoricalData 386 'Duplicate ticker ID' 2", "error:386", "duplicate_request_id"),
    refused("reject_next reqHistoricalData 321 cause 2", "error:321"),
    refused("reject_next reqHistoricalData 354 Not 2", "error:354"),
    refused("reject_next reqHistoricalData 54321 What 2", "error:54321", alarms=2),
    Item((f"reject_next reqHeadTimestamp 162 '{SERVICE}No head time stamp'",), upcoming=True, body=OLD),
    unplanned("reject_next reqContractDetails 322 Max", blocked_on="IB could not look up NVDA", symbol="NVDA"),
    # ---- connections
    Item(("drop",), answers=("lost",)),
    Item(("half_open",), answers=("lost",)),
    Item(("hold_ids 100", "drop"), answers=("lost",)),
    gone("accept refuse", "drop", ends="accept yes"),
    gone("accept close", "drop", ends="accept yes", reason="hangs up"),
    gone("accept mute", "drop", ends="accept yes", state="needs_login", reason="waiting for a login"),
    gone("restart 200"),
    gone("restart 200 refuse"),
    gone("restart 200 close", reason="hangs up"),
    gone("restart 200 mute", state="needs_login", reason="waiting for a login"),
    gone("restart_daily {soon} 200", "advance 181"),
    gone("login_needed", ends="login"),
    gone("login_needed refuse", ends="login"),
    gone("login_needed close", ends="login", reason="hangs up"),
    gone("login_needed mute", ends="login", state="needs_login", reason="waiting for a login"),
    # ---- farms, and the line to IB
    away("farm_down ushmds", ends="farm_up ushmds"),
    away("farm_down ushmds", ends="farm_inactive ushmds"),
    away("farm_down ushmds", ends="clear"),
    away("farm_down hmds", ends="farm_up hmds", reason="ushmds, euhmds, cashhmds"),
    away("farm_down all", ends="farm_up all", reason="secdefil"),
    away("farm_flap ushmds 200"),
    harmless("farm_flap usfarm 100"),
    harmless("farm_flap data"),
    harmless("farm_down data", ends="farm_up data"),
    harmless("farm_down euhmds", ends="farm_up euhmds", state="degraded", reason="euhmds"),
    harmless("farm_down cashhmds", ends="farm_up cashhmds", state="degraded", reason="cashhmds"),
    harmless("farm_down secdefil", ends="farm_up secdefil", state="degraded", reason="secdefil"),
    harmless("farm_inactive all", ends="farm_up all"),
    Item(
        ("farm_down secdef",),
        ("farm_up secdef",),
        "degraded",
        "secdefil",
        "ib_session",
        upcoming=True,
        body=unplanned(blocked_on="", symbol="GOOGL").body,
    ),
    Item(
        ("farm_down cashhmds",),
        ("farm_up cashhmds",),
        "degraded",
        "cashhmds",
        "ib_session",
        upcoming=True,
        body=unplanned(blocked_on="", symbol="EUR/USD").body,
    ),
    away("lost", ends="restored", reason="1100"),
    away("lost", ends="restored maintained", reason="1100"),
    away("lost", ends="restored lost", reason="1100"),
    away("lost", ends="clear", reason="1100"),
    away("reset_window 200", reason="1100"),
    harmless("live_lost"),
    away("competing on", ends="competing off", state="displaced", reason="another session", upcoming=True),
    # ---- words out of the blue
    harmless("notice 165 'HMDS server connection was successful'"),
    harmless("notice 2199 'nobody knows it'"),
    harmless("notice 54321 'nobody knows it'", alarms=1),
    away("notice 2110 'Connectivity between TWS and server is broken'", ends="restored", reason="1100", goes_on=True),
    Item(("notice 1300 'Socket port has been reset'",), answers=("lost",)),
    # ---- several
    away("scenario {scenario}"),
    harmless("clear"),
    # The night after: last, as the hour decides what the other outages are called.
    away("set_clock {reset}", "reset_window 200 lost", state="reset_window", reason="1100", upcoming=True),
)
STOCKS = [item for item in ITEMS if not item.body]


# ---- the table is whole ----------------------------------------------------------------------------------------------


def words_of(command: str) -> set[str]:
    """Every word that follows a command anywhere in the table."""
    lines = [line.split() for item in ITEMS for line in (*item.begins, *item.ends)]
    return {word for line in lines if line[0] == command for word in line[1:]}


def test_every_command_that_makes_a_fault_is_in_the_table() -> None:
    commands = set(COMMANDS) - NO_FAULT - OF_ORDERS - LIVE_ONLY
    named = {line.split()[0] for item in ITEMS for line in (*item.begins, *item.ends)}
    assert commands - named == {"split"}, "it has a test of its own below"
    assert named <= commands


def test_every_kind_of_it_is_in_the_table(faults: ServiceStack) -> None:
    """The simulator names what it allows when it refuses what it does not."""
    for line in ("accept ?", "restart 1 ?", "login_needed ?", "restored ?", "competing ?", "reset_window 1 ?"):
        words = faults.sim.refusal(line)
        allowed = set(re.findall(r"\w+", words.partition("allowed: ")[2]))
        default = {"login_needed": "refuse", "restored": "maintained", "reset_window": "maintained"}
        command = line.split()[0]
        assert allowed - words_of(command) - {default.get(command, "")} == set(), line
    assert set(HISTORY_ERRORS) <= words_of("history_error")
    farms = Faults().farms.values()
    broken = words_of("farm_down") | words_of("farm_flap")
    assert {farm.name for farm in farms if farm.kind != "data"} | {farm.kind for farm in farms} | {"all"} <= broken


# ---- the service stack -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faults(servers: SimpleNamespace, server: Server, template: str) -> Iterator[ServiceStack]:
    """One service stack for all items. Its bridge knows three stocks and their sessions, and is impatient."""
    options = ("--latency", "none", "--clock", "rate:20", "--start", START)
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge(request_timeout_s="3", ib_timeout_s="2", ib_heartbeat_s="0.5")
        first = LAST - timedelta(weeks=len(STOCKS) // len(SYMBOLS) + 2)
        day = {"start": f"{first:%Y-%m-%d}T00:00:00Z", "end": f"{first + timedelta(days=1):%Y-%m-%d}T00:00:00Z"}
        made.finished(made.backfill(symbols=SYMBOLS, timeframe="1m", **day))
        made.finished(made.backfill(symbol="EUR/USD", timeframe="1d", start=day["start"], end=START))
        yield made


@pytest.fixture
def stack(faults: ServiceStack) -> Iterator[ServiceStack]:
    yield faults
    for line in ("clear", "farm_up all", "restored", "rate 20", "latency none"):
        faults.sim.command(line)
    pass_time(faults, lambda: faults.session()["state"] == "connected", "the session is well again")


def pass_time(stack: ServiceStack, true: Any, what: str, tell: Any = lambda: "") -> None:
    """Wait until something is true; market time leaps while no request is open."""

    def is_shown() -> bool:
        if true():
            return True
        if not stack.rows("SELECT 1 FROM ib_requests WHERE outcome = 'sent'"):
            stack.sim.command("advance 20")
        return False

    stack.wait(is_shown, what, 60, tell)


def filled_in(stack: ServiceStack, folder: Path, line: str) -> str:
    """The command with its times and files.

    Market time runs: a command is filled in just before it is sent, and `soon` is at least two minutes away.
    """
    now = datetime_of(stack.market_ns())
    local = now.astimezone(NEW_YORK)
    night = (local + timedelta(days=1)).replace(hour=0, minute=30, second=0, microsecond=0)
    scenario = folder / "flaps.txt"
    scenario.write_text("0 farm_down ushmds\n300 farm_up ushmds\n")
    return line.format(
        later=f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        earlier=f"{now - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}",
        reset=f"{night.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        soon=f"{local + timedelta(minutes=3):%H:%M}",
        scenario=scenario,
    )


def days_of(item: Item) -> dict[str, str]:
    """A symbol and four trading days that no other item has."""
    n = STOCKS.index(item)
    end = LAST - timedelta(weeks=n // len(SYMBOLS))
    start = end - timedelta(days=6)
    day = "%Y-%m-%dT00:00:00Z"
    return {
        "symbol": SYMBOLS[n % len(SYMBOLS)],
        "timeframe": "1m",
        "start": start.strftime(day),
        "end": end.strftime(day),
    }


def answers(stack: ServiceStack, job_id: str) -> set[str]:
    """What became of the job's requests, as the API tells it."""
    chunks = stack.client.get(f"/api/v1/historical/backfill/{job_id}/chunks").json()["chunks"]
    requested = [r for chunk in chunks for r in chunk["requests"]]
    return {f"{r['outcome']}:{r['ib_code']}" if r["ib_code"] else r["outcome"] for r in requested}


# ---- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_fault(stack: ServiceStack, item: Item, tmp_path: Path) -> None:
    body = item.body or days_of(item)
    stack.advance(1)  # and wait until the bridge knows how late it is, or waits would be over before they are told
    alarms = stack.session()["activity"]["unmapped_codes"]

    def begin() -> None:
        for line in item.begins:
            stack.sim.command(filled_in(stack, tmp_path, line))

    if item.upcoming:
        begin()
        job_id = stack.backfill(**body)
    else:
        stack.sim.command(HELD)
        job_id = stack.backfill(**body)
        stack.wait(lambda: stack.job(job_id)["progress"]["requests_sent"] > 0, "requests are open")
        stack.sim.command("latency none")
        begin()
    status_while_it_lasts(stack, item, job_id)
    if not item.upcoming:
        stack.sim.command("advance 61")  # what was held is answered now, if it can be
    if item.goes_on:
        pass_time(stack, lambda: stack.job(job_id)["finished_at"], "the job ends meanwhile", lambda: stack.job(job_id))
    for line in item.ends:
        stack.sim.command(line)
    pass_time(stack, lambda: stack.job(job_id)["finished_at"], "the job ends", lambda: stack.job(job_id))
    pass_time(stack, lambda: stack.session()["state"] == "connected", "the session is well again", stack.session)
    assert stack.job(job_id)["status"] == item.status, stack.job(job_id)
    assert set(item.answers) <= answers(stack, job_id)
    assert stack.session()["activity"]["unmapped_codes"] - alarms == item.alarms
    complete(stack, item, body)


def status_while_it_lasts(stack: ServiceStack, item: Item, job_id: str) -> None:
    if item.state != "connected":
        stack.wait(lambda: stack.session()["state"] == item.state, f"it is {item.state}", 20, stack.session)
        stack.wait(lambda: item.reason in stack.session()["reason"], "and why", 20, stack.session)
    if item.blocked_on and not item.goes_on:

        def blocked() -> bool:
            return item.blocked_on in (stack.job(job_id)["blocked_on"] or "")

        stack.wait(blocked, "the job tells what it waits for", 20, lambda: stack.job(job_id))
    if "lost" in item.answers:
        stack.wait(lambda: "lost" in answers(stack, job_id), "what was open is lost", 20, lambda: stack.job(job_id))


def complete(stack: ServiceStack, item: Item, body: dict[str, Any]) -> None:
    """All that was asked for is there, if need be after an empty re-check or a second request."""
    query = {name: body[name] for name in ("symbol", "timeframe", "start", "end")} | {"limit": 5000, "wait": 0}
    query |= {"asset_class": body["asset_class"]} if "asset_class" in body else {}
    if item.remedy:
        missing = stack.bars(**query)["coverage"]["missing"]
        assert {m["state"] for m in missing} <= {"empty_unconfirmed", "unavailable", "failed"}
        assert all(m["reason"] for m in missing)
        assert missing
    stack.sim.command("clear")
    if item.remedy == "force":
        job_id = stack.backfill(**body, mode="force")
        pass_time(stack, lambda: stack.job(job_id)["finished_at"], "the job ends", lambda: stack.job(job_id))
    pass_time(
        stack,
        lambda: stack.bars(**query)["coverage"]["complete"],
        "all is there",
        lambda: stack.bars(**query)["coverage"],
    )
    if not item.body:
        assert stack.bars(**query)["total"] == minutes_open(stack, body)


def minutes_open(stack: ServiceStack, body: dict[str, Any]) -> int:
    (row,) = stack.rows(
        "SELECT sum(close_ns - open_ns) / 60000000000 AS n FROM trading_sessions s JOIN instruments i USING (calendar)"
        " WHERE i.symbol = %s AND s.session = 'rth' AND open_ns >= %s AND close_ns <= %s",
        body["symbol"],
        parse_rfc3339(body["start"]),
        parse_rfc3339(body["end"]),
    )
    return int(row.n)


def test_a_split_makes_older_bars_stale_and_they_are_fetched_again(stack: ServiceStack) -> None:
    body = {"symbol": "QQQ", "timeframe": "1m"}
    older = {"start": "2026-02-02T00:00:00Z", "end": "2026-02-21T00:00:00Z"}
    newer = {"start": "2026-02-21T00:00:00Z", "end": "2026-02-28T00:00:00Z"}
    hour = {"start": "2026-02-20T20:00:00Z", "end": "2026-02-20T21:00:00Z"}

    def stale() -> list[Any]:
        return stack.rows("SELECT state, reason FROM coverage_notes")

    stack.finished(stack.backfill(**body, **older))
    old = stack.bars(**body, **hour)
    stack.sim.command("split QQQ 4")
    stack.sim.command("advance 86400")
    # The refetch has to wait, so that what is told meanwhile can be seen.
    stack.sim.command("reject_next reqHistoricalData 100 Max 2")
    job_id = stack.backfill(**body, **newer)
    pass_time(stack, lambda: stack.job(job_id)["finished_at"], "the newer bars come", lambda: stack.job(job_id))
    stack.wait(stale, "the older ones are stale")
    payload = stack.bars(**body, **hour, wait=0)
    assert payload["candles"] == old["candles"], "still served"
    why = [(m["state"], m.get("reason")) for m in payload["coverage"]["missing"]]
    assert why in ([("stale", stale()[0].reason)], [("queued", None)]), "the second when the refetch has begun"
    pass_time(stack, lambda: not stale(), "the stale part is fetched again", stale)
    new = stack.bars(**body, **hour)
    assert new["coverage"]["complete"]
    for was, now in zip(old["candles"], new["candles"], strict=True):
        assert abs(now["close"] * 4 - was["close"]) < 0.05
        assert now["volume"] == was["volume"] * 4
    revised = "SELECT count(*) AS n FROM bar_revisions r JOIN series s ON s.id = r.series_id WHERE s.con_id = %s"
    con_id = stack.rows("SELECT con_id FROM instruments WHERE symbol = 'QQQ'")[0].con_id
    assert stack.rows(revised, con_id)[0].n == 14 * 390  # every bar of three weeks, but for the holiday
    log = [line for line in stack.log() if line["message"] == "split-found"]
    assert len(log) == 1
    assert abs(log[0]["ratio"] - 0.25) < 0.001


def test_every_question_of_the_bridge_went_unanswered_once(faults: ServiceStack) -> None:
    """What it asks of the gateway is told by the gateway; without startApi there is no session at all (`accept mute`)."""
    requested = {entry["kind"] for entry in faults.received("")} - {"startApi", "error"}
    requested = {kind for kind in requested if not kind.startswith("cancel")}
    assert requested <= words_of("silent") | {"reqHistoricalData"}
    assert "reqContractDetails" in requested


def test_a_gateway_of_another_language_is_told_and_never_taken_for_no_data(stack: ServiceStack) -> None:
    """The sentence is one that a Spanish gateway sends, its accent escaped as on the wire; the words behind it are ours."""
    words = "Mensaje de error de los servicios de datos de mercado hist\\u00f3ricos:La consulta no devolvi\\u00f3 datos"
    stack.wait(lambda: stack.session()["activity"]["gateway_language"] == "english", "the farms are told in English")
    stack.sim.command(json.dumps({"cmd": "reject_next", "kind": "reqHistoricalData", "code": 162, "text": words}))
    job = stack.finished(
        stack.backfill(symbol="AAPL", timeframe="5m", start="2025-12-01T00:00:00Z", end="2025-12-02T00:00:00Z")
    )
    assert job["status"] == "failed"
    stack.wait(lambda: stack.session()["activity"]["gateway_language"] == "other", "the language is told")
    session = stack.session()
    assert session["state"] == "connected"
    assert "Show API error messages in English" in session["reason"]
    chunks = stack.client.get(f"/api/v1/historical/backfill/{job['job_id']}/chunks").json()["chunks"]
    assert {chunk["outcome"] for chunk in chunks} == {"other_language"}
    stack.sim.command("drop")
    stack.wait(lambda: stack.session()["activity"]["gateway_language"] == "english", "another connection, told anew")
    pass_time(stack, lambda: stack.session()["state"] == "connected" and not stack.session()["reason"], "well again")
