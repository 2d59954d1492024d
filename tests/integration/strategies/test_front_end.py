"""Strategies in the words of the old front end: its shapes and units, and that each figure comes from rows."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from nautilus.clock import NS_PER_DAY
from nautilus.strategies.page_words import STATES
from nautilus.strategies.states import OVER, Mode, RunState
from tests.support.strategy_api import ACCOUNT, CLOSE, MINUTE, OPEN, Strategies, strategies

METRICS = {
    "total_pnl": "120.5",
    "realized_pnl": "100",
    "unrealized_pnl": "20.5",
    "win_rate": "0.25",
    "total_trades": 4,
    "winning_trades": 1,
    "max_drawdown": "0.031",
    "sharpe_ratio": "1.5",
    "profit_factor": "2",
    "volatility": "0.2",
}


@pytest.fixture
def desk(dsn: str, tmp_path: Path) -> Iterator[Strategies]:
    with strategies(dsn, tmp_path) as made:
        yield made


def configured(desk: Strategies, **parameters: Any) -> str:
    body = {"template_id": "ema_cross", "name": "mine", "parameters": {"instrument_id": "AAPL.NASDAQ", **parameters}}
    answer = desk.ask_page("POST", "/strategies/configure", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["strategy_id"])


def in_paper(desk: Strategies, config: str, **columns: Any) -> str:
    """A run in paper of a configuration, with the figures above."""
    given = {"state": "running", "started_at": "2026-01-01", "metrics": json.dumps(METRICS), "fills": 8, "orders": 9}
    return str(desk.run(Mode.PAPER, config_id=config, **{**given, **columns}).id)


# ---- an empty database -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/strategies/configurations", []),
        ("/strategies/active", {"instances": []}),
        ("/strategies/monitoring", {"strategies": []}),
        ("/strategies/signals/recent", {"signals": []}),
        ("/strategies/positions/active", {"positions": []}),
        ("/performance/compare", {"comparisons": []}),
    ],
)
def test_without_rows_there_is_an_empty_list(desk: Strategies, path: str, answer: Any) -> None:
    assert desk.shown(path) == answer


def test_a_strategy_that_never_ran_has_zeros_and_no_sharpe_ratio(desk: Strategies) -> None:
    found = desk.shown(f"/strategies/status/{configured(desk)}")
    assert found["state"] == "stopped"
    metrics = found["performance_metrics"]
    assert isinstance(metrics.pop("last_updated"), str)
    assert metrics == {
        "total_pnl": "0",
        "unrealized_pnl": "0",
        "total_trades": 0,
        "winning_trades": 0,
        "win_rate": 0,
        "max_drawdown": "0",
        "sharpe_ratio": None,
    }
    runtime = found["runtime_info"]
    assert (runtime["orders_placed"], runtime["positions_opened"], runtime["uptime_seconds"]) == (0, 0, 0)


# ---- shapes and units ------------------------------------------------------------------------------------------------


def test_configurations_are_a_bare_list_with_names(desk: Strategies) -> None:
    number = configured(desk, fast=3, timeframe="5m")
    (found,) = desk.shown("/strategies/configurations")
    assert (found["id"], found["name"], found["template_id"], found["status"]) == (
        number,
        "mine",
        "ema_cross",
        "stopped",
    )
    assert (found["parameters"]["fast"], found["parameters"]["instrument_id"]) == (3, "AAPL.NASDAQ")
    assert found["parameters"]["timeframe"] == "5m"
    assert found["created_at"].endswith("Z")
    in_paper(desk, number)
    assert desk.shown("/strategies/configurations")[0]["status"] == "running"


def test_templates_have_what_the_form_needs(desk: Strategies) -> None:
    found = desk.shown("/strategies/templates")
    (template,) = found["templates"]
    assert set(template) == {
        *("id", "name", "category", "description", "python_class", "parameters", "risk_parameters", "example_configs")
    }
    assert found["categories"] == [template["category"]]
    by_name = {one["name"]: one for one in template["parameters"]}
    assert (by_name["fast"]["type"], by_name["fast"]["min_value"], by_name["fast"]["default_value"]) == (
        "integer",
        1,
        10,
    )
    assert (by_name["trade_size"]["type"], by_name["side"]["allowed_values"]) == ("decimal", ["both", "long"])
    assert (by_name["instrument_id"]["required"], by_name["timeframe"]["required"]) == (True, False)
    assert desk.shown("/strategies/templates", search="nothing")["templates"] == []
    assert desk.shown("/strategies/templates/ema_cross") == template


def test_what_can_be_chosen(desk: Strategies) -> None:
    for base in ("", "/strategies"):
        assert desk.shown(f"{base}/instruments/available") == ["AAPL.NASDAQ"]
        assert desk.shown(f"{base}/timeframes/available") == ["1m"]


def test_status_has_text_money_and_a_win_rate_of_one_at_most(desk: Strategies) -> None:
    number = configured(desk)
    run = in_paper(desk, number)
    for given in (number, run):
        found = desk.shown(f"/strategies/status/{given}")
        metrics = found["performance_metrics"]
        assert found["state"] == "running"
        assert (metrics["total_pnl"], metrics["unrealized_pnl"], metrics["max_drawdown"]) == ("120.5", "20.5", "3.1")
        assert (metrics["win_rate"], metrics["sharpe_ratio"], metrics["total_trades"]) == (0.25, 1.5, 4)
        assert found["runtime_info"]["orders_placed"] == 9


def test_performance_has_numbers_and_a_drawdown_in_percent(desk: Strategies) -> None:
    number = configured(desk)
    run = in_paper(desk, number)
    desk.equity(desk.get(f"/strategy-runs/{run}")["id"], (OPEN, "100000"), (CLOSE, "100120.5"))
    for path, query in (
        (f"/strategies/{number}/performance", {}),
        ("/performance/aggregate", {"strategy_id": number}),
    ):
        found = desk.shown(path, **query)
        assert (found["total_pnl"], found["win_rate"], found["max_drawdown"]) == (120.5, 0.25, 3.1)
        assert found["daily_returns"] == [pytest.approx(0.001205)]
    (shot,) = desk.shown("/performance/history", strategy_id=number)["snapshots"]
    assert shot["total_pnl"] == 120.5
    assert desk.shown("/performance/aggregate")["total_pnl"] != 120.5


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_strategies_side_by_side(desk: Strategies, method: str) -> None:
    number = configured(desk)
    in_paper(desk, number)
    if method == "GET":
        found = desk.shown("/performance/compare", strategy_ids=number)
    else:
        found = desk.ask_page("POST", "/performance/compare", {"strategy_ids": [number]}).json()
    (one,) = found["comparisons"]
    assert (one["strategy_id"], one["strategy_name"], one["state"], one["win_rate"]) == (
        number,
        "mine",
        "running",
        0.25,
    )
    assert (one["volatility"], one["max_drawdown"]) == (20, 3.1)
    assert isinstance(one["uptime_percentage"], float)


def test_correlations_are_those_of_the_rows_of_live_runs(desk: Strategies) -> None:
    path = f"/portfolio/{ACCOUNT}/strategy-correlations"
    first = desk.run(Mode.LIVE, account=ACCOUNT, name="first")
    in_paper(desk, configured(desk))
    lonely = desk.page.get(f"/api/v1{path}", headers=desk.trader)
    assert (lonely.status_code, lonely.json()["code"]) == (404, "no-figures")
    desk.sql("DELETE FROM strategy_claims RETURNING run_id")
    second = desk.run(Mode.LIVE, account=ACCOUNT, name="second")
    (found,) = desk.shown(path)["correlations"]
    assert (found["x"], found["y"], found["correlation"], found["days"]) == ("second", "first", None, 0)
    worth = {first.id: Decimal(100), second.id: Decimal(100)}
    for day in range(22):
        up = Decimal("1.01") if day % 3 else Decimal("0.99")
        for run, factor in ((first, up), (second, 2 - up)):
            worth[run.id] *= factor
            desk.equity(run.id, (OPEN + day * NS_PER_DAY, str(round(worth[run.id], 12))))
    (found,) = desk.shown(path)["correlations"]
    assert (found["correlation"], found["days"]) == (-1, 21)
    desk.equity(second.id, (OPEN + 22 * NS_PER_DAY, "5"))
    desk.equity(first.id, (OPEN + 22 * NS_PER_DAY, "5"))
    (found,) = desk.shown(path)["correlations"]
    assert (found["correlation"] > 0.9, found["days"]) == (True, 22)
    assert desk.page.get(f"/api/v1{path}", headers=desk.other).status_code == 403


def test_strategies_side_by_side_are_what_their_rows_are(desk: Strategies) -> None:
    number = configured(desk)
    run = in_paper(desk, number)
    (before,) = desk.shown("/performance/compare", strategy_ids=number)["comparisons"]
    with desk.db.transaction() as cursor:
        cursor.execute(
            """UPDATE strategy_runs SET metrics = metrics || '{"win_rate": "0.75"}', state = 'paused' WHERE config_id = %s""",
            (number,),
        )
        assert cursor.rowcount == 1, run
    (after,) = desk.shown("/performance/compare", strategy_ids=number)["comparisons"]
    assert (before["win_rate"], before["state"], after["win_rate"], after["state"]) == (0.25, "running", 0.75, "paused")
    assert desk.shown("/performance/compare", strategy_ids=str(uuid4())) == {"comparisons": []}


def test_runs_signals_and_positions_come_from_rows(desk: Strategies) -> None:
    number = configured(desk)
    run = desk.run(Mode.PAPER, config_id=number, state="running", name="mine")
    desk.event(run.id, 1, "signal", '{"name": "cross", "fast": 1.5}', at=OPEN)
    desk.fill(run.id, 1, "SELL", "10", "100", at=OPEN)
    desk.fill(run.id, 2, "BUY", "4", "99", at=OPEN + MINUTE)
    (active,) = desk.shown("/strategies/active")["instances"]
    assert (active["id"], active["strategy_id"], active["state"]) == (str(run.id), number, "running")
    (watched,) = desk.shown("/strategies/monitoring")["strategies"]
    assert (watched["strategy_id"], watched["total_pnl"], watched["mode"]) == (number, 0, "paper")
    (signal,) = desk.shown("/strategies/signals/recent", limit=50)["signals"]
    assert (signal["signal"], signal["data"], signal["timestamp"]) == ("cross", {"fast": 1.5}, "2024-01-05T14:30:00Z")
    (held,) = desk.shown("/strategies/positions/active")["positions"]
    assert (held["symbol"], held["side"], held["quantity"], held["last_fill_price"]) == ("AAPL.NASDAQ", "SHORT", 6, 99)
    desk.fill(run.id, 3, "BUY", "6", "99", at=OPEN + 2 * MINUTE)
    assert desk.shown("/strategies/positions/active") == {"positions": []}
    assert desk.shown(f"/strategies/status/{number}")["runtime_info"]["positions_opened"] == 1


def test_a_page_that_asks_every_two_seconds_gets_304(desk: Strategies) -> None:
    path = "/api/v1/strategies/positions/active"
    first = desk.page.get(path, headers=desk.trader)
    again = desk.page.get(path, headers={**desk.trader, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    run = desk.run(Mode.PAPER, state="running")
    desk.fill(run.id, 1, "BUY", "1", "5", at=OPEN)
    changed = desk.page.get(path, headers={**desk.trader, "If-None-Match": first.headers["etag"]})
    assert len(changed.json()["positions"]) == 1


# ---- doing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["/strategies/{}/control", "/strategies/control/{}"])
def test_a_strategy_is_deployed_and_controlled(desk: Strategies, shape: str) -> None:
    number = configured(desk)
    path = shape.format(number)
    assert desk.ask_page("POST", path, {"action": "pause"}).status_code == 409
    made = desk.ask_page("POST", "/strategies/deploy", {"strategy_id": number, "deployment_mode": "paper"})
    assert (made.status_code, made.json()["status"]) == (201, "initializing")
    assert made.json()["deployment_id"] == made.json()["nautilus_strategy_id"]
    for action, wanted in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        answer = desk.ask_page("POST", path, {"action": action})
        assert (answer.status_code, set(answer.json())) == (200, {"new_state", "message"}), answer.text
        assert [row.wanted for row in desk.sql("SELECT wanted FROM strategy_runs")] == [wanted]
    wrong = desk.ask_page("POST", path, {"action": "resume"})
    assert (wrong.status_code, isinstance(wrong.json()["detail"], str)) == (409, True)
    assert desk.ask_page("DELETE", f"/strategies/configure/{number}").status_code == 409
    desk.sql("UPDATE strategy_runs SET state = 'stopped', finished_at = now()")
    again = desk.ask_page("POST", path, {"action": "start"})
    assert (again.status_code, again.json()["new_state"]) == (200, "initializing")


def test_a_live_deployment_needs_the_account_twice(desk: Strategies) -> None:
    number = configured(desk)
    body = {"strategy_id": number, "deployment_mode": "live"}
    bare = desk.ask_page("POST", "/strategies/deploy", body)
    assert (bare.status_code, isinstance(bare.json()["detail"], str)) == (422, True)
    made = desk.ask_page("POST", "/strategies/deploy", {**body, "account": ACCOUNT, "confirm": ACCOUNT})
    assert made.status_code == 201, made.text


def test_a_back_test_is_deployed_over_a_range(desk: Strategies) -> None:
    number = configured(desk)
    body = {"strategy_id": number, "deployment_mode": "backtest", "start": OPEN, "end": CLOSE}
    assert desk.ask_page("POST", "/strategies/deploy", body).status_code == 201
    whole = desk.ask_page("POST", "/strategies/deploy", {**body, "start": None, "end": None})
    assert (whole.status_code, whole.json()["code"], isinstance(whole.json()["detail"], str)) == (
        409,
        "bars-missing",
        True,
    )


def test_a_strategy_is_changed_and_validated(desk: Strategies) -> None:
    number = configured(desk)
    changed = desk.ask_page("PATCH", f"/strategies/configure/{number}", {"parameters": {"fast": 7}})
    assert (changed.status_code, changed.json()["parameters"]["fast"]) == (200, 7)
    assert changed.json()["parameters"]["instrument_id"] == "AAPL.NASDAQ"
    good = {"template_id": "ema_cross", "parameters": {"instrument_id": "AAPL.NASDAQ", "fast": 7}}
    assert desk.ask_page("POST", "/strategies/validate", good).json() == {"valid": True, "errors": []}
    bad = {"template_id": "ema_cross", "parameters": {"fast": 0}}
    found = desk.ask_page("POST", "/strategies/validate", bad).json()
    assert found == {
        "valid": False,
        "errors": ["parameters.fast: must be at least 1", "instrument_id: is missing"],
    }


def test_the_engine_has_a_state_whatever_runs(desk: Strategies) -> None:
    found = desk.shown("/nautilus/engine/status")
    assert (found["success"], found["status"]["state"]) == (True, "running")
    desk.sql("DELETE FROM strategy_hosts")
    status = desk.shown("/nautilus/engine/status")["status"]
    assert (status["state"], "no strategy host ever ran" in status["message"]) == ("stopped", True)


@pytest.mark.parametrize(
    "path", ["/strategy/templates", "/strategy/live", "/nautilus/deployment/list", "/nautilus/data/catalog"]
)
def test_what_no_server_ever_had_is_404(desk: Strategies, path: str) -> None:
    answer = desk.page.get(f"/api/v1{path}", headers=desk.trader)
    assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (404, True)


def test_every_state_has_a_word_that_the_page_knows() -> None:
    assert set(STATES) == set(RunState)
    known = {"initializing", "running", "paused", "stopping", "stopped", "error", "completed"}
    assert set(STATES.values()) == known
    assert {STATES[RunState(state)] for state in OVER} == {"stopped", "completed", "error"}


def test_nobody_sees_or_controls_strategies_of_others(desk: Strategies) -> None:
    number = configured(desk)
    run = in_paper(desk, number)
    for path in ("/strategies/configurations", "/strategies/monitoring", "/strategies/active"):
        found = desk.ask_page("GET", path, headers=desk.other).json()
        assert not (found if isinstance(found, list) else next(iter(found.values()))), path
    for given in (number, run):
        assert desk.ask_page("GET", f"/strategies/status/{given}", headers=desk.other).status_code == 404
        body = {"action": "stop"}
        assert desk.ask_page("POST", f"/strategies/{given}/control", body, desk.other).status_code == 404
    assert desk.ask_page("POST", f"/strategies/{number}/control", {"action": "stop"}, desk.reader).status_code == 403
