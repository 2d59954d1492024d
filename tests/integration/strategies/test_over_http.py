"""A back-test over HTTP with a real host and the engine: from the request to the report."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import functions.strategies.app
from nautilus.db.strategies import hosts, templates
from tests.support.stored_bars import Api
from tests.support.strategy_host import StrategyStack, strategy_stack

KEPT = "KEEP_REPORT"
"""With this variable the report is written to the file that it names, so that somebody can look at it."""


HALVES = """
from nautilus_trader.model import OrderSide, Quantity
from strategy_runner.strategy import Strategy, StrategyParameters


class Halves(Strategy):
    class Parameters(StrategyParameters):
        size: str

    def prepare(self):
        self.left = 5

    def decide(self, bar):
        if self.left:
            self.left -= 1
            order = self.order_factory.market(self.instrument.id, OrderSide.BUY, Quantity.from_str(self.parameters.size))
            self.submit_order(order)
"""
"""Five orders, which the engine denies where they are for a part of a share."""


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


class Caller(NamedTuple):
    """Who asks for back-tests."""

    stack: StrategyStack
    api: Api
    headers: dict[str, str]

    def tested(self, template: str, end: str, **parameters: str) -> tuple[str, dict[str, Any]]:
        """(address, answer) of a back-test that is over."""
        body = {
            "template": template,
            "parameters": parameters,
            "instruments": [{"con_id": self.stack.instrument.con_id}],
            "timeframe": "1m",
            "start": "2026-10-05T13:30:00Z",
            "end": end,
        }
        made = self.api.request("POST", "/api/v1/backtests", headers=self.headers, json=body)
        assert made.status_code == 202, made.text
        path = f"/api/v1/backtests/{made.json()['id']}"
        self.stack.wait(lambda: self.api.get(path, headers=self.headers).json()["over"], "the back-test is over")
        return path, self.api.get(path, headers=self.headers).json()


def caller(stack: StrategyStack, folder: Path) -> Caller:
    """Once a host works."""
    stack.start()
    until_able(stack)
    api: Api = stack.bars.api(folder, router=functions.strategies.app.router)
    return Caller(stack, api, stack.bars.user(1, "orders:read", "strategies:write"))


def test_a_back_test_whose_orders_are_all_denied_is_failed_and_says_why(stack: StrategyStack, tmp_path: Path) -> None:
    stack.store("2026-10-05")
    stack.strategy("halves", HALVES)
    trader = caller(stack, tmp_path)
    _, denied = trader.tested("halves", "2026-10-05T14:00:00Z", size="1.5")
    assert (denied["state"], denied["bars_done"]) == ("failed", 30), "it went through all its bars"
    assert denied["reason"].startswith("all 5 orders were refused: ")
    assert "precision" in denied["reason"]
    assert denied["counts"] == {"orders": 5, "fills": 0, "denied": 5, "rejected": 0}
    _, filled = trader.tested("halves", "2026-10-05T14:00:00Z", size="1")
    assert (filled["state"], filled["reason"], filled["counts"]["fills"]) == ("completed", "", 5)


def test_a_request_becomes_a_report(stack: StrategyStack, tmp_path: Path) -> None:
    stack.store()
    trader = caller(stack, tmp_path)
    api, headers = trader.api, trader.headers
    path, found = trader.tested("ema_cross", "2026-10-09T20:00:00Z")
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
