"""From a body to the simulator's port and back: what the routes accept is sent once, fills, and is cancelled."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from nautilus.auth.principal import Principal
from nautilus.db.connection import Database
from nautilus.orders.desk import OrderDesk
from nautilus.orders.schemas import OrderRequest
from nautilus.settings.orders import OrderModeSettings
from tests.support.order_process import OrderStack, order_stack

TRADER = Principal("user:7", "trader", frozenset({"orders:read", "orders:write"}), accounts=frozenset({"*"}))
BODY = {"side": "BUY", "type": "LMT", "quantity": 10, "limit_price": "280.00", "valid_for_s": 3600}


@pytest.fixture
def stack(servers: SimpleNamespace, tmp_path: Path, dsn: str) -> Iterator[OrderStack]:
    with order_stack(servers.group, tmp_path, dsn, settings={}) as made:
        yield made


@pytest.fixture
def desk(dsn: str) -> Iterator[OrderDesk]:
    database = Database(dsn, name="test-desk", size=2)
    yield OrderDesk(database, OrderModeSettings.model_validate({}))
    database.close()


def test_cancelling_all_orders_of_a_name_by_mistake_leaves_no_account(stack: OrderStack, desk: OrderDesk) -> None:
    assert desk.cancel_all("SIM9", TRADER) == []
    assert stack.rows("SELECT 1 FROM risk_accounts WHERE account = 'SIM9'") == []


def test_an_accepted_order_is_sent_once_fills_and_the_next_one_is_cancelled(stack: OrderStack, desk: OrderDesk) -> None:
    market = OrderRequest.model_validate({**BODY, "con_id": 1, "type": "MKT", "limit_price": None})
    (first,) = desk.place(market, stack.instrument, TRADER, key="k1").orders
    assert first.state == "accepted", first.why
    assert desk.place(market, stack.instrument, TRADER, key="k1").orders[0].id == first.id
    filled = stack.until(first.id, "filled")
    assert (filled.filled, filled.reserved_quantity) == (Decimal(10), Decimal(0))
    resting = OrderRequest.model_validate({**BODY, "con_id": 1})
    (second,) = desk.place(resting, stack.instrument, TRADER, key="k2").orders
    stack.until(second.id, "working")
    desk.cancel(second.id, TRADER)
    assert stack.until(second.id, "cancelled").reserved_quantity == 0
    assert stack.placed() == [str(first.id), str(second.id)]
