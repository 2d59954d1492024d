"""Orders, the portfolio and strategies by the client, before the functions themselves and a real order process."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import functions.orders.app
import functions.portfolio.app
import functions.strategies.app
from nautilus_client.client import Client
from nautilus_client.errors import Conflict, Invalid, NotAllowed, NotFound, OrderDenied
from nautilus_client.records import Execution, Order, Position
from nautilus_client.retry import RetryPolicy
from tests.conftest import database
from tests.support.client_server import Wire, api_key, served, wire
from tests.support.order_api import order_api
from tests.support.order_process import order_stack
from tests.support.strategy_api import ACCOUNT, Strategies, strategies

AGAIN = RetryPolicy(tries=3, first_wait_s=0.01)


# ---- orders and what they make ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(
    servers: SimpleNamespace, server: Any, template: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """An order process before a simulator, and the functions of orders and of the portfolio at one address."""
    folder = tmp_path_factory.mktemp("trading")
    with database(server, template) as dsn, order_stack(servers.group, folder, dsn, settings={}) as stack:
        known = "SELECT 1 FROM account_values WHERE tag = 'GrossPositionValue'"
        stack.wait(lambda: stack.rows(known), "IB tells the values of the account", tell=stack.log)
        with order_api(stack, folder) as made:
            made.keep_time()
            app = made._stored.app(folder, router=functions.orders.app.router, anonymous_scopes=())
            app.include_router(functions.portfolio.app.router)
            key = api_key(stack.db, "orders:read", "orders:write", accounts=[stack.account])
            with served(app) as url:
                yield SimpleNamespace(api=made, stack=stack, url=url, key=key, account=stack.account)


@pytest.fixture
def client(desk: Any) -> Iterator[Client]:
    with Client(desk.url, desk.key, policy=AGAIN) as made:
        yield made


def buy(client: Client, desk: Any, quantity: int = 10, **more: Any) -> Order:
    given = {"type": "LMT", "limit_price": Decimal("280.00"), "valid_for_s": 3600, **more}
    return client.orders.place(None, "BUY", quantity, con_id=desk.stack.instrument.con_id, **given)


def test_an_order_lives_from_its_preview_to_its_end(desk: Any, client: Client) -> None:
    seen = client.orders.preview(
        None, "BUY", 10, type="LMT", limit_price="280.00", con_id=desk.stack.instrument.con_id, valid_for_s=3600
    )
    assert seen.passes
    assert client.orders.list() == [], "a preview places nothing"
    placed = buy(client, desk, wait=10)
    assert (placed.state, placed.quantity, placed.filled) == ("working", Decimal(10), Decimal(0))
    assert placed.state_since.utcoffset() is not None
    changed = client.orders.change(placed, limit_price=Decimal("281.00"))
    assert changed.id == placed.id
    with pytest.raises(Conflict):
        client.orders.change(placed, limit_price="282.00")
    desk.stack.wait(
        lambda: client.orders.get(placed.id).prices["confirmed"]["limit"] in ("281", "281.00"), "IB confirms it"
    )
    client.orders.cancel(client.orders.get(placed.id))
    desk.stack.wait(lambda: client.orders.get(placed.id).over, "it is cancelled")
    assert client.orders.get(placed.id).state == "cancelled"
    kinds = [str(row["kind"]) for row in client.orders.events(placed.id)]
    assert kinds[0] == "accepted"
    assert "cancel-sent" in kinds
    assert [one.id for one in client.orders.list(open=True)] == []
    assert placed.id in [one.id for one in client.orders.list()]


def test_a_lost_answer_places_one_order(desk: Any) -> None:
    def lose(number: int, answer: bytes) -> bytes:
        return answer[:20] if number == 1 else answer

    with wire(desk.url, lose) as line, Client(line.url, desk.key, policy=AGAIN) as client:
        placed = buy(client, desk, quantity=3)
        keys = keys_of(line)
        found = [one for one in client.orders.list() if one.quantity == 3]
        assert [one.id for one in found] == [placed.id]
        assert len(keys) == 2, "it was sent twice"
        assert len(set(keys)) == 1, "under one key"
        again = buy(client, desk, quantity=3)
        assert again.id != placed.id, "another call has another key"
        client.orders.cancel_all(desk.account)


def keys_of(line: Wire) -> list[str]:
    """The idempotency keys that were sent."""
    rows = [row for head in line.heads for row in head.split("\r\n")]
    return [row.partition(": ")[2] for row in rows if row.lower().startswith("idempotency-key")]


def test_what_cannot_be_placed_is_refused_with_the_reasons(desk: Any, client: Client) -> None:
    with pytest.raises(TypeError, match="binary fraction"):
        buy(client, desk, limit_price=280.1)
    with pytest.raises(Invalid) as wrong:
        buy(client, desk, type="LIMIT")
    assert "type" in json.dumps(wrong.value.errors)
    with pytest.raises(NotFound):
        client.orders.get("00000000-0000-0000-0000-000000000000")
    desk.api.limits(quantity_shares=5)
    try:
        with pytest.raises(OrderDenied) as denied:
            buy(client, desk)
        assert denied.value.checks
    finally:
        desk.api.limits()
    reader = api_key(desk.stack.db, "orders:read", name="eve", accounts=[desk.account])
    with Client(desk.url, reader) as other, pytest.raises(NotAllowed):
        buy(other, desk)


def test_a_fill_is_in_the_portfolio_with_decimals(desk: Any, client: Client) -> None:
    desk.stack.quote(desk.stack.instrument, 300.0)
    placed = buy(client, desk, quantity=2, type="MKT", limit_price=None)
    desk.stack.wait(lambda: client.orders.get(placed.id).state == "filled", "it is filled", tell=desk.stack.log)
    filled = client.orders.get(placed.id)
    assert filled.filled == Decimal(2)
    desk.stack.wait(lambda: client.portfolio.executions(desk.account), "its execution is booked")
    [one] = client.portfolio.executions(desk.account)
    assert isinstance(one, Execution)
    assert (one.side, one.quantity, type(one.price)) == ("BUY", Decimal(2), Decimal)
    [held] = client.portfolio.positions(desk.account)
    assert isinstance(held, Position)
    assert (held.quantity, held.cost) == (Decimal(2), 2 * one.price)
    assert [account.account for account in client.portfolio.accounts()] == [desk.account]
    assert all(isinstance(row.cash, Decimal) for row in client.portfolio.balances())
    assert client.orders.risk()["accounts"][0]["account"] == desk.account


# ---- strategies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(dsn: str, tmp_path: Path) -> Iterator[Strategies]:
    with strategies(dsn, tmp_path) as made:
        yield made


def test_a_backtest_is_begun_once_listed_and_cancelled(runs: Strategies, tmp_path: Path) -> None:
    app = runs.stored.app(tmp_path, router=functions.strategies.app.router, anonymous_scopes=())
    scopes = ("orders:read", "orders:write", "strategies:write", "monitoring:read")
    body: dict[str, Any] = {
        "template": "ema_cross",
        "instruments": [{"con_id": 1}],
        "timeframe": "1m",
        "start": "2024-01-05T14:30:00Z",
        "end": "2024-01-05T21:00:00Z",
    }

    def lose(number: int, answer: bytes) -> bytes:
        return answer[:20] if number == 1 else answer

    key_of_ann = api_key(runs.db, *scopes, accounts=[ACCOUNT])
    with served(app) as url, wire(url, lose) as line, Client(line.url, key_of_ann, policy=AGAIN) as client:
        begun = client.backtests.start(**body)
        assert not begun.over
        assert [one.id for one in client.backtests.list()] == [begun.id]
        assert len(set(keys_of(line))) == 1
        begun.cancel()
        assert (begun.refresh().wanted, begun.over) == ("stopped", False), "no host runs that would end it"
        runs.sql("UPDATE strategy_runs SET state = 'cancelled', finished_at = now()")
        assert begun.refresh().wait(timeout=1).over
        with pytest.raises(Invalid) as wrong:
            client.backtests.start(**{**body, "template": "no_such"})
        assert "template" in json.dumps(wrong.value.errors)
        assert client.strategies.list() == []
