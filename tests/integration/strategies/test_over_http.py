"""A back-test over HTTP with a real host and the engine: from the request to the report."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import functions.strategies.app
from nautilus.db.strategies import hosts, templates
from tests.support.stored_bars import Api
from tests.support.strategy_host import StrategyStack, strategy_stack

KEPT = "KEEP_REPORT"
"""With this variable the report is written to the file that it names, so that somebody can look at it."""


@pytest.fixture
def stack(tmp_path: Path, dsn: str) -> Iterator[StrategyStack]:
    with strategy_stack(tmp_path, dsn) as made:
        yield made


def until_able(stack: StrategyStack) -> None:
    """Until a host has described its templates."""

    def able() -> bool:
        with stack.db.transaction() as cursor:
            return bool(hosts.every_host(cursor)) and bool(templates.every_template(cursor))

    stack.wait(able, "a host describes its templates")


def test_a_request_becomes_a_report(stack: StrategyStack, tmp_path: Path) -> None:
    stack.store()
    stack.start()
    until_able(stack)
    api: Api = stack.bars.api(tmp_path, router=functions.strategies.app.router)
    headers = stack.bars.user(1, "orders:read", "strategies:write")
    body = {
        "template": "ema_cross",
        "instruments": [{"con_id": stack.instrument.con_id}],
        "timeframe": "1m",
        "start": "2026-10-05T13:30:00Z",
        "end": "2026-10-09T20:00:00Z",
    }
    made = api.request("POST", "/api/v1/backtests", headers=headers, json=body)
    assert made.status_code == 202, made.text
    path = f"/api/v1/backtests/{made.json()['id']}"
    stack.wait(lambda: api.get(path, headers=headers).json()["over"], "the back-test is over")
    found = api.get(path, headers=headers).json()
    assert (found["state"], found["progress"], found["data_changed"]) == ("completed", 1.0, False)
    fills = api.get(f"{path}/fills?limit=1000", headers=headers).json()["fills"]
    assert len(fills) == found["counts"]["fills"] > 10
    trips = api.get(f"{path}/round-trips", headers=headers).json()["round_trips"]
    assert len(trips) == found["metrics"]["total_trades"]
    link = api.request("POST", f"{path}/links", headers=headers, json={}).json()["url"]
    page = api.get(link).text
    assert page.count('class="up"') + page.count('class="down"') == len(fills)
    if os.environ.get(KEPT):
        Path(os.environ[KEPT]).write_text(page)
