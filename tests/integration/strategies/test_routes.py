"""The routes of strategies: rows are seen as they are, bad requests are refused by field, nobody sees what is others'."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from nautilus.db.strategies import runs
from nautilus.strategies.report_style import POLICY
from nautilus.strategies.states import Mode
from tests.support.strategy_api import ACCOUNT, CLOSE, EMA, MINUTE, OPEN, Strategies, strategies

DONE: dict[str, Any] = {
    "state": "completed",
    "finished_at": "2026-01-01",
    "bars_done": 390,
    "bars_total": 390,
    "orders": 4,
    "fills": 4,
    "fills_hash": "abc",
    "engine": "nautilus_trader 2",
    "metrics": json.dumps({"total_pnl": "46", "win_rate": "0.5", "total_trades": 2, "sharpe_ratio": None}),
}


@pytest.fixture
def desk(dsn: str, tmp_path: Path) -> Iterator[Strategies]:
    with strategies(dsn, tmp_path) as made:
        yield made


def traded(desk: Strategies) -> str:
    """A back-test with two round trips, of which one won 48 and one lost 2."""
    row = desk.run(**DONE)
    for n, (side, price) in enumerate([("BUY", "100"), ("SELL", "105"), ("BUY", "105"), ("SELL", "105")], start=1):
        desk.fill(row.id, n, side, "10", price, at=OPEN + n * MINUTE)
    desk.equity(row.id, (OPEN + MINUTE, "100000"), (OPEN + 2 * MINUTE, "100048"), (CLOSE, "100046"))
    return str(row.id)


# ---- rows are seen as they are ---------------------------------------------------------------------------------------


def test_without_rows_every_list_is_empty(desk: Strategies) -> None:
    assert desk.get("/backtests") == {"backtests": [], "next_after": None}
    assert desk.get("/strategy-runs") == {"runs": [], "next_after": None}
    assert desk.get("/backtest-sweeps") == {"sweeps": []}
    assert desk.get("/strategy-configs") == {"configs": [], "next_after": None}
    assert [one["id"] for one in desk.get("/strategy-templates")["templates"]] == ["ema_cross"]


def test_a_back_test_is_seen_as_its_row_is(desk: Strategies) -> None:
    number = traded(desk)
    found = desk.get(f"/backtests/{number}")
    assert (found["state"], found["over"], found["progress"], found["fills_hash"]) == ("completed", True, 1.0, "abc")
    assert found["metrics"] == {"total_pnl": "46", "win_rate": "0.5", "total_trades": 2, "sharpe_ratio": None}
    assert found["counts"] == {"orders": 4, "fills": 4, "denied": 0, "rejected": 0}
    assert (found["start"], found["end"]) == ("2024-01-05T14:30:00Z", "2024-01-05T21:00:00Z")
    assert [one["id"] for one in desk.get("/backtests")["backtests"]] == [number]
    assert [one["id"] for one in desk.get("/backtests", state="completed")["backtests"]] == [number]
    assert desk.get("/backtests", state="running")["backtests"] == []


def test_fills_come_in_pages_and_as_a_file(desk: Strategies) -> None:
    number = traded(desk)
    first = desk.get(f"/backtests/{number}/fills", limit=3)
    assert [(one["n"], one["side"], one["quantity"], one["price"]) for one in first["fills"]] == [
        (1, "BUY", "10", "100"),
        (2, "SELL", "10", "105"),
        (3, "BUY", "10", "105"),
    ]
    assert first["next_after"] == 3
    rest = desk.get(f"/backtests/{number}/fills", limit=3, after=3)
    assert ([one["n"] for one in rest["fills"]], rest["next_after"]) == ([4], None)
    file = desk.send("GET", f"/backtests/{number}/fills?format=csv&limit=1")
    lines = file.text.splitlines()
    assert (len(lines), lines[1].split(",")[:7]) == (
        5,
        ["1", "2024-01-05T14:31:00Z", "AAPL.NASDAQ", "1", "BUY", "10", "100"],
    )
    assert "attachment" in file.headers["content-disposition"]


def test_equity_round_trips_and_the_whole_as_one_object(desk: Strategies) -> None:
    number = traded(desk)
    assert [one["equity"] for one in desk.get(f"/backtests/{number}/equity")["equity"]] == [
        "100000",
        "100048",
        "100046",
    ]
    trips = desk.get(f"/backtests/{number}/round-trips")["round_trips"]
    assert [(one["side"], one["net"], one["symbol"]) for one in trips] == [
        ("LONG", "48", "AAPL.NASDAQ"),
        ("LONG", "-2", "AAPL.NASDAQ"),
    ]
    whole = desk.get(f"/backtests/{number}/report", format="json")
    assert (whole["run"]["id"], len(whole["fills"]), whole["round_trips"]) == (number, 4, trips)


def test_a_cell_that_a_spreadsheet_would_compute_is_quoted(desk: Strategies) -> None:
    number = traded(desk)
    desk.sql("UPDATE strategy_runs SET series = jsonb_set(series, '{0,instrument_id}', '\"=HYPERLINK(1)\"')")
    for what in ("fills", "round-trips"):
        line = desk.send("GET", f"/backtests/{number}/{what}?format=csv").text.splitlines()[1]
        assert "'=HYPERLINK(1)" in line


def test_events_of_one_kind(desk: Strategies) -> None:
    number = traded(desk)
    row = desk.get(f"/backtests/{number}")["id"]
    desk.event(row, 1, "log", '{"text": "hello"}')
    desk.event(row, 2, "fault", '{"exception": "ValueError"}', at=OPEN)
    assert [one["kind"] for one in desk.get(f"/backtests/{number}/events")["events"]] == ["log", "fault"]
    (fault,) = desk.get(f"/backtests/{number}/events", kind="fault")["events"]
    assert (fault["time"], fault["body"]) == ("2024-01-05T14:30:00Z", {"exception": "ValueError"})


def test_a_back_test_says_whether_its_bars_have_changed_since(desk: Strategies) -> None:
    (series_id, version) = desk.sql("SELECT id, data_version FROM series")[0]
    row = desk.run(**DONE, data_versions=json.dumps({str(series_id): version}))
    assert desk.get(f"/backtests/{row.id}")["data_changed"] is False
    desk.sql(
        "INSERT INTO bar_revisions (series_id, ts, until_version, open, high, low, close) VALUES (%s, %s, %s, 1, 2, 0.5, 1)",
        *(series_id, OPEN + MINUTE, version + 1),
    )
    found = desk.get(f"/backtests/{row.id}")
    assert (found["data_changed"], found["changed_series"]) == (
        True,
        [{"series_id": series_id, "version": version + 1}],
    )


# ---- the report, and links to it -------------------------------------------------------------------------------------


def test_the_report_is_a_page_without_script(desk: Strategies) -> None:
    number = traded(desk)
    desk.sql("UPDATE strategy_runs SET name = '<script>alert(1)</script>'")
    answer = desk.send("GET", f"/backtests/{number}/report")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == POLICY
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert 'class="up"' in answer.text
    assert "46.00 USD" in answer.text


def test_a_link_opens_one_address_once(desk: Strategies) -> None:
    number = traded(desk)
    made = desk.send("POST", f"/backtests/{number}/links", json={})
    url = made.json()["url"]
    assert (
        made.status_code,
        made.json()["expires_in"],
        url.startswith(f"/api/v1/backtests/{number}/report?link="),
    ) == (
        201,
        60,
        True,
    )
    elsewhere = url.replace("/report?", "/equity?")
    assert desk.api.get(elsewhere).json()["code"] == "invalid-link"
    assert desk.api.get(url).status_code == 200
    assert (desk.api.get(url).status_code, desk.api.get(url).json()["code"]) == (401, "invalid-link")


def test_a_link_is_good_for_a_minute(desk: Strategies) -> None:
    number = traded(desk)
    made = desk.send("POST", f"/backtests/{number}/links", json={"what": "fills"}).json()
    assert made["url"].endswith("&format=csv")
    desk.sql("UPDATE one_use_links SET expires_at = expires_at - interval '61 s'")
    assert desk.api.get(made["url"]).status_code == 401
    desk.send("POST", f"/backtests/{number}/links", json={})
    assert [row.count for row in desk.sql("SELECT count(*) FROM one_use_links")] == [1]


def test_a_link_is_made_by_who_may_read_alone_and_its_secret_is_not_stored(desk: Strategies) -> None:
    number = traded(desk)
    assert desk.send("POST", f"/backtests/{number}/links", desk.other, json={}).status_code == 404
    secret = desk.send("POST", f"/backtests/{number}/links", json={}).json()["url"].partition("link=")[2]
    assert secret not in str(desk.sql("SELECT * FROM one_use_links"))
    assert desk.api.get(f"/api/v1/backtests/{number}/report").json()["code"] == "missing-scope"


# ---- new ones --------------------------------------------------------------------------------------------------------


def test_a_back_test_becomes_a_row(desk: Strategies) -> None:
    answer = desk.backtest(parameters={"fast": 5}, capital="5000", fill="close")
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1/backtests/{made['id']}"
    assert (made["state"], made["parameters"]["fast"], made["parameters"]["slow"]) == ("queued", 5, 20)
    assert made["options"] == {"fill": "close", "capital": "5000"}
    assert made["series"] == [
        {"con_id": 1, "instrument_id": "AAPL.NASDAQ", "timeframe": "1m", "price": "TRADES", "session": "rth"}
    ]
    (row,) = desk.sql("SELECT owner, wanted, template_hash, start_ns, end_ns FROM strategy_runs")
    assert tuple(row) == ("user:7", "running", "hash-1", OPEN, CLOSE)


def test_the_same_key_and_body_are_one_back_test(desk: Strategies) -> None:
    headers = {**desk.trader, "Idempotency-Key": "k"}
    body = {"template": "ema_cross", "instruments": [{"con_id": 1}], "start": OPEN, "end": CLOSE}
    first = desk.send("POST", "/backtests", headers, json=body).json()
    again = desk.send("POST", "/backtests", headers, json=body)
    assert (again.status_code, again.json()["id"], again.json()["repeated"]) == (202, first["id"], True)
    other = desk.send("POST", "/backtests", headers, json={**body, "name": "x"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert desk.sql("SELECT count(*) FROM strategy_runs") == [(1,)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"template": "none"}, "template"),
        ({"template": None}, "template"),
        ({"parameters": {"fast": 0}}, "parameters.fast"),
        ({"parameters": {"fast": "ten"}}, "parameters.fast"),
        ({"parameters": {"fastt": 1}}, "parameters.fastt"),
        ({"parameters": {"side": "short"}}, "parameters.side"),
        ({"parameters": {"trade_size": "-"}}, "parameters.trade_size"),
        ({"timeframe": "7m"}, "timeframe"),
        ({"start": None}, "start"),
        ({"end": "2024-01-05T14:30:00Z"}, "end"),
        ({"start": "2099-01-01T00:00:00Z", "end": "2099-01-02T00:00:00Z"}, "start"),
        ({"instruments": []}, "instruments"),
        ({"instruments": [{"con_id": 1}, {"con_id": 1}]}, "instruments.1"),
        ({"grid": {}}, "grid"),
        ({"grid": {"fast": []}}, "grid.fast"),
        ({"grid": {"fast": list(range(1, 52))}}, "grid"),
        ({"capital": "0"}, "options.capital"),
        ({"capital": 1.5}, "capital"),
        ({"colour": "red"}, "colour"),
        ({"repeat_of": str(uuid4())}, "end"),
    ],
)
def test_a_bad_request_names_its_field(desk: Strategies, changes: dict[str, Any], field: str) -> None:
    answer = desk.backtest(**changes)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert isinstance(answer.json()["detail"], str)
    assert desk.sql("SELECT count(*) FROM strategy_runs") == [(0,)]


def test_missing_bars_are_named_with_the_backfill_that_brings_them(desk: Strategies) -> None:
    answer = desk.backtest(timeframe="5m")
    found = answer.json()
    assert (answer.status_code, found["code"]) == (409, "bars-missing")
    assert (found["missing"][0]["timeframe"], found["missing"][0]["ranges"][0]["state"]) == ("5m", "not_asked")
    assert found["backfill"] == [
        {
            "con_id": 1,
            "timeframe": "5m",
            "price": "TRADES",
            "session": "rth",
            "start": "2024-01-05T14:30:00Z",
            "end": "2024-01-05T21:00:00Z",
        }
    ]
    assert desk.backtest(timeframe="5m", allow_missing=True).status_code == 202


def test_a_pair_reads_bid_and_ask(desk: Strategies) -> None:
    desk.sql(
        "INSERT INTO instruments SELECT 3, 'EUR/USD.IDEALPRO', 'EUR', 'CASH', exchange, primary_exchange, currency, 'EUR.USD',"
        " 'EUR.USD', expiry, multiplier, 0.00005, 'Euro', time_zone, calendar, details, resolved_at FROM instruments"
    )
    found = desk.backtest(instruments=[{"con_id": 3}]).json()
    assert found["code"] == "bars-missing"
    assert [one["price"] for one in found["backfill"]] == ["ASK", "BID"]


def test_no_host_is_503_with_the_reason(desk: Strategies) -> None:
    desk.sql("UPDATE strategy_hosts SET heartbeat_at = heartbeat_at - interval '1 min'")
    answer = desk.backtest()
    assert (answer.status_code, answer.json()["code"]) == (503, "no-strategy-host")
    assert "no sign of life" in answer.json()["detail"]
    desk.host(problem="no python3.13 was found")
    assert "no python3.13 was found" in desk.backtest().json()["detail"]
    assert desk.get("/strategy-hosts")["able"] is False
    desk.sql("DELETE FROM strategy_hosts")
    assert "no strategy host ever ran" in desk.backtest().json()["detail"]


def test_a_grid_is_one_job_with_a_table(desk: Strategies) -> None:
    answer = desk.backtest(grid={"fast": [5, 10], "slow": [20, 30, 40]})
    made = answer.json()
    assert (answer.status_code, made["runs"], len(made["results"])) == (202, 6, 6)
    assert [one["values"] for one in made["results"]][:2] == [{"fast": 5, "slow": 20}, {"fast": 5, "slow": 30}]
    assert answer.headers["location"] == f"/api/v1/backtest-sweeps/{made['id']}"
    desk.sql(
        "UPDATE strategy_runs SET state = 'completed', finished_at = now(), metrics = '{\"total_pnl\": \"7\"}' WHERE sweep_n = 1"
    )
    found = desk.get(f"/backtest-sweeps/{made['id']}")
    assert (found["results"][1]["metrics"], found["progress"], found["over"]) == (
        {"total_pnl": "7"},
        pytest.approx(1 / 6),
        False,
    )
    gone = desk.send("DELETE", f"/backtest-sweeps/{made['id']}")
    assert gone.status_code == 202
    wanted = dict(desk.sql("SELECT wanted, count(*) FROM strategy_runs GROUP BY 1"))
    assert wanted == {"stopped": 5, "running": 1}


def test_a_repetition_reads_the_versions_of_the_first(desk: Strategies) -> None:
    row = desk.run(**DONE, data_versions='{"1": 4}')
    answer = desk.send("POST", "/backtests", json={"repeat_of": str(row.id)})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["as_of"], answer.json()["start"]) == ({"1": 4}, "2024-01-05T14:30:00Z")
    unread = desk.run()
    assert desk.send("POST", "/backtests", json={"repeat_of": str(unread.id)}).json()["code"] == "run-not-read"


def test_a_back_test_is_cancelled_once(desk: Strategies) -> None:
    row = desk.run()
    assert desk.send("DELETE", f"/backtests/{row.id}").json()["wanted"] == "stopped"
    assert desk.send("DELETE", f"/backtests/{row.id}").status_code == 202
    over = desk.run(**DONE)
    refused = desk.send("DELETE", f"/backtests/{over.id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "run-over")


# ---- paper and live --------------------------------------------------------------------------------------------------


def start(desk: Strategies, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    body = {"mode": "paper", "template": "ema_cross", "instruments": [{"con_id": 1}], **changes}
    return desk.send("POST", "/strategy-runs", {**(headers or desk.trader), "Idempotency-Key": str(uuid4())}, json=body)


def test_a_run_in_paper_is_paused_resumed_flattened(desk: Strategies) -> None:
    made = start(desk).json()
    assert (made["mode"], made["account"], made["wanted"]) == ("paper", None, "running")
    path = f"/strategy-runs/{made['id']}"
    for what, wanted in (("pause", "paused"), ("resume", "running"), ("stop", "stopped"), ("flatten", "flat")):
        answer = desk.send("POST", f"{path}/{what}")
        assert (answer.status_code, answer.json()["wanted"]) == (202, wanted)
    refused = desk.send("POST", f"{path}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "run-wanted-otherwise")
    assert desk.send("GET", f"/backtests/{made['id']}").status_code == 404


def test_a_live_run_needs_its_account_twice_and_the_right_to_trade(desk: Strategies) -> None:
    live: dict[str, Any] = {"mode": "live", "account": ACCOUNT}
    assert start(desk, **live).json()["errors"][0]["field"] == "confirm"
    assert start(desk, mode="live").json()["errors"][0]["field"] == "account"
    foreign = start(desk, mode="live", account="SIM2", confirm="SIM2")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "account-not-allowed")
    poor = desk.stored.user(7, "orders:read", "strategies:write", accounts=[ACCOUNT])
    assert start(desk, poor, **live, confirm=ACCOUNT).json()["scope"] == "orders:write"
    made = start(desk, **live, confirm=ACCOUNT)
    assert made.status_code == 202, made.text
    taken = start(desk, **live, confirm=ACCOUNT)
    assert (taken.status_code, taken.json()["code"]) == (409, "instrument-taken")
    assert "AAPL.NASDAQ" in taken.json()["detail"]


def test_a_run_keeps_the_api_key_that_began_it(desk: Strategies) -> None:
    scopes = ("orders:read", "orders:write", "strategies:write")
    by_key = desk.stored.user(7, *scopes, accounts=[ACCOUNT], key_id=12)
    begun = [start(desk, by_key, mode="live", account=ACCOUNT, confirm=ACCOUNT), start(desk)]
    with desk.db.transaction() as cursor:
        rows = [runs.read(cursor, UUID(answer.json()["id"])) for answer in begun]
    assert [row.key_id for row in rows if row is not None] == [12, None]


def test_a_run_without_a_key_is_refused(desk: Strategies) -> None:
    answer = desk.send("POST", "/strategy-runs", json={"mode": "paper", "template": "ema_cross"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


# ---- configurations --------------------------------------------------------------------------------------------------


def test_a_configuration_is_made_changed_run_and_archived(desk: Strategies) -> None:
    body = {"name": "mine", "template": "ema_cross", "parameters": {"fast": 3}, "instruments": [{"con_id": 1}]}
    made = desk.send("POST", "/strategy-configs", json=body).json()
    path = f"/strategy-configs/{made['id']}"
    assert (made["name"], made["parameters"]["fast"], made["series"][0]["con_id"]) == ("mine", 3, 1)
    changed = desk.send("PATCH", path, json={"name": "ours", "parameters": {"fast": 4}})
    assert (changed.json()["name"], changed.json()["parameters"]["fast"], changed.json()["version"]) == ("ours", 4, 2)
    run = desk.backtest(template=None, instruments=None, timeframe=None, config_id=made["id"]).json()
    assert (run["name"], run["config_id"], run["parameters"]["fast"]) == ("ours", made["id"], 4)
    assert desk.get(path)["newest_run"]["id"] == run["id"]
    assert desk.send("DELETE", path).json()["code"] == "config-in-use"
    desk.sql("UPDATE strategy_runs SET state = 'completed', finished_at = now()")
    assert desk.send("DELETE", path).status_code == 204
    assert desk.send("GET", path).status_code == 404


def test_changed_code_must_be_accepted(desk: Strategies) -> None:
    made = desk.send(
        "POST", "/strategy-configs", json={"name": "x", "template": "ema_cross", "instruments": [{"con_id": 1}]}
    ).json()
    desk.templates(EMA._replace(code_hash="hash-2"))
    assert desk.get(f"/strategy-configs/{made['id']}")["template_changed"] is True
    given: dict[str, Any] = {"template": None, "instruments": None, "config_id": made["id"]}
    assert desk.backtest(**given).json()["code"] == "template-changed"
    assert desk.backtest(**given, accept_new_version=True).status_code == 202


def test_a_template_that_cannot_be_used_says_why(desk: Strategies) -> None:
    desk.templates(EMA._replace(error="ImportError: no module"))
    answer = desk.backtest()
    assert (answer.status_code, answer.json()["code"]) == (409, "template-unusable")
    assert "ImportError: no module" in answer.json()["detail"]


def test_parameters_are_checked_without_a_row(desk: Strategies) -> None:
    good = desk.send("POST", "/strategy-configs/validate", json={"template": "ema_cross", "parameters": {"fast": 2}})
    assert (good.json()["valid"], good.json()["parameters"]["slow"]) == (True, 20)
    bad = desk.send("POST", "/strategy-configs/validate", json={"template": "ema_cross", "parameters": {"fast": 900}})
    assert (bad.json()["valid"], bad.json()["errors"][0]["detail"]) == (False, "must be at most 500")


# ---- rights ----------------------------------------------------------------------------------------------------------


def test_nobody_sees_or_stops_what_is_others(desk: Strategies) -> None:
    number = traded(desk)
    for what in ("", "/fills", "/equity", "/orders", "/events", "/report", "/round-trips"):
        assert desk.send("GET", f"/backtests/{number}{what}", desk.other).status_code == 404, what
    assert desk.get("/backtests", desk.other)["backtests"] == []
    assert desk.send("DELETE", f"/backtests/{number}", desk.other).status_code == 404
    assert desk.get(f"/backtests/{number}", desk.chief)["id"] == number
    assert desk.get(f"/backtests/{number}", desk.reader)["id"] == number
    assert desk.send("DELETE", f"/backtests/{number}", desk.reader).json()["code"] == "missing-scope"


def test_a_live_run_is_seen_and_stopped_by_who_trades_its_account(desk: Strategies) -> None:
    row = desk.run(Mode.LIVE, owner="user:1", account=ACCOUNT)
    assert [one["id"] for one in desk.get("/strategy-runs")["runs"]] == [str(row.id)]
    assert desk.get("/strategy-runs", desk.other)["runs"] == []
    assert desk.send("POST", f"/strategy-runs/{row.id}/stop").status_code == 202
