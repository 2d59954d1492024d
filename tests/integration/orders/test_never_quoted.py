"""Orders for an instrument that nobody has quoted: what they reserve before the first quote, and after it."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.order_desk import OrderDeskStack, order_desk


@pytest.fixture
def desk(servers: SimpleNamespace, tmp_path: Path, dsn: str) -> Iterator[OrderDeskStack]:
    with order_desk(servers.group, tmp_path, dsn, settings={}) as made:
        made.stack.rows("DELETE FROM live_quotes RETURNING 1")
        yield made


def test_it_holds_the_limit_until_the_first_quote_and_then_its_value(desk: OrderDeskStack) -> None:
    desk.limit("notional", 5_000)
    order = desk.placed(con_id=desk.stack.instrument.con_id, type="MKT", quantity=10)
    assert desk.stack.order(order).reserved_value == Decimal(5_000)
    desk.stack.quote(desk.stack.instrument, 300.0)
    row = desk.stack.until(order, "filled")
    assert row.unit_value == Decimal(300)
    reserved = [one.text for one in desk.stack.events(order)]
    assert row.reserved_value == 0, reserved


def test_of_many_at_once_no_more_pass_than_their_values_allow(desk: OrderDeskStack) -> None:
    for name in ("orders_per_second", "account_orders_per_second", "duplicate_window", "gross_exposure_percent"):
        desk.limit(name, None)
    desk.limit("notional", 3_000)
    desk.limit("gross_exposure", 9_000)
    answers = [
        desk.post(con_id=desk.stack.instrument.con_id, type="MKT", quantity=10, allow_duplicate=True) for _ in range(5)
    ]
    assert [one.status_code for one in answers] == [202, 202, 202, 422, 422]
    (check,) = answers[3].json()["checks"]
    assert (check["code"], check["limit"], check["value"]) == ("exposure_limit", "9000", "12000")
