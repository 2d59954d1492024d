"""Every check of an order can be met by a caller; each refusal names the check, its limit and the value, and reserves nothing."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nautilus.clock import NS_PER_S
from nautilus.db.live import quotes
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.market import instruments
from nautilus.db.orders import account_state, orders, positions, process, trading_state, what_ifs
from nautilus.db.orders.events import Event
from nautilus.orders.checks import CHECKS
from nautilus.orders.words import AccountValue, Position
from tests.integration.orders.test_api import APPLE, BUY, DETAILS, ORDERS, Desk
from tests.support.order_ledger import ACCOUNT, NOW, commission, execution, findings, furnish, ib_says, ticket, working
from tests.support.stored_bars import StoredBars

CLOSED = NOW + 8 * 3_600 * NS_PER_S


class Met(NamedTuple):
    """How a caller meets a refusal. before: what makes it so; body: of the order; by: `place`, or `preview` for what the order
    process checks, or what the route itself would not let through; headers: name of a caller of `Desk`. unknown: it says that
    something is not known, and so has no value."""

    check: int
    code: str
    before: Callable[[Desk], None]
    body: dict[str, Any]
    by: str = "place"
    headers: str = "trader"
    unknown: bool = False

    def __str__(self) -> str:
        return f"{self.check}-{self.code}"


def nothing(_: Desk) -> None:
    """The order alone is reason enough."""


def limit(name: str, value: int | None) -> Callable[[Desk], None]:
    def set_limit(desk: Desk) -> None:
        body = {"name": name, "value": value}
        answer = desk.api.request("PUT", f"{ORDERS}/risk/limits", json=body, headers=desk.chief)
        assert answer.status_code == 200, answer.text

    return set_limit


def several(*steps: Callable[[Desk], Any]) -> Callable[[Desk], None]:
    def do(desk: Desk) -> None:
        for step in steps:
            step(desk)

    return do


def trading(state: str) -> Callable[[Desk], None]:
    def put(desk: Desk) -> None:
        with desk.stored.db.transaction() as cursor:
            trading_state.put(cursor, ACCOUNT, state, reason="a test", set_by="test")

    return put


def place(**changes: Any) -> Callable[[Desk], None]:
    def place_one(desk: Desk) -> None:
        desk.placed(**changes)

    return place_one


def quote(price: float, age_s: int) -> Callable[[Desk], None]:
    def put(desk: Desk) -> None:
        row = QuoteRow(
            APPLE.con_id, price, 100, price, 100, price, 100, 1e6, price, price, price, price,
            halted=False, feed="live", ts=NOW, seen_at=NOW - age_s * NS_PER_S,
        )  # fmt: skip
        with desk.stored.db.transaction() as cursor:
            quotes.put(cursor, [row])
            cursor.execute("UPDATE live_quotes SET updated_at = updated_at - interval '1 hour'")

    return put


def value(tag: str, amount: str) -> Callable[[Desk], None]:
    def put(desk: Desk) -> None:
        with desk.stored.db.transaction() as cursor:
            account_state.put_values(cursor, [AccountValue(ACCOUNT, tag, "BASE", amount)], NOW)

    return put


def lose(desk: Desk) -> None:
    """A trade that lost."""
    row = working(desk.stored.db, ticket(quantity=1))
    fill = execution(row, 1)
    ib_says(desk.stored.db, fill, commission(fill, realized="-1"))


def lost(desk: Desk) -> None:
    """An order that nobody knows the end of."""
    row = working(desk.stored.db, ticket(quantity=1))
    with desk.stored.db.transaction() as cursor:
        held = orders.lock_with_book(cursor, row.id)
        assert held is not None
        orders.update(cursor, held, {"state": "unknown"}, Event("unknown", "process", NOW))


def moved(desk: Desk) -> None:
    """A position that only IB has."""
    with desk.stored.db.transaction() as cursor:
        positions.put_all_broker(cursor, ACCOUNT, [Position(ACCOUNT, APPLE.con_id, Decimal(3), None)], NOW)
        positions.compare(cursor, ACCOUNT)


def live_account(desk: Desk) -> None:
    with desk.stored.db.transaction() as cursor:
        furnish(cursor, ACCOUNT, "U1234567")


def margin_of_ten(desk: Desk) -> None:
    """IB wants more margin than the account has equity."""
    several(limit("margin_check", 1), limit("short", 1))(desk)
    seen = desk.api.request("POST", f"{ORDERS}/preview", json={**BUY, **SALE}, headers=desk.trader)
    assert seen.json()["what_if"]["state"] == "no_answer", seen.text
    with desk.stored.db.transaction() as cursor:
        cursor.execute("SELECT id FROM what_ifs")
        found = cursor.fetchone()
        margins = {"initMarginAfter": "10", "equityWithLoanAfter": "5"}
        what_ifs.finish(cursor, found[0], "answered", margins=margins)


def not_ready(desk: Desk) -> None:
    with desk.stored.db.transaction() as cursor:
        row = process.read(cursor)
        assert row is not None
        process.report(cursor, row.token, state="not_ready", reason="the gateway has lost IB's servers (1100)")


SALE = {"side": "SELL", "limit_price": "101.00"}
MARKET = {"type": "MKT", "limit_price": None}
MEETINGS = (
    Met(1, "trading_halted", trading("halted"), {}),
    Met(1, "reducing_only", trading("reducing"), {}),
    Met(2, "unknown_account", nothing, {"account": "SIM77"}, headers="chief"),
    Met(2, "live_not_enabled", live_account, {"account": "U1234567"}, headers="chief"),
    Met(3, "forbidden", nothing, {}, by="preview", headers="reader"),
    Met(4, "instrument_not_allowed", limit("allow:FUT", 1), {}),
    Met(5, "invalid_order", nothing, {"limit_price": None}),
    Met(6, "price_step", nothing, {"limit_price": "100.005"}),
    Met(6, "quantity_step", nothing, {"quantity": "0.5"}),
    Met(7, "quantity_limit", nothing, {"quantity": 1001}),
    Met(8, "notional_limit", limit("notional", 999), {}),
    Met(9, "price_collar", quote(100.0, 0), {"limit_price": "106.00"}, by="preview"),
    Met(10, "market_order_not_allowed", quote(100.0, 30), MARKET, by="preview"),
    Met(11, "session_closed", lambda desk: desk.stored.set_time(CLOSED), MARKET),
    Met(12, "position_limit", limit("position", 999), {}),
    Met(13, "exposure_limit", limit("gross_exposure", 999), {}),
    Met(14, "short_not_allowed", nothing, SALE),
    Met(15, "daily_loss", value("DailyPnL", "-100000000"), {}, by="preview"),
    Met(16, "rate_limit", several(limit("orders_per_day", 1), place()), {"quantity": 9}),
    Met(17, "duplicate_order", place(), {}),
    Met(18, "too_many_orders", several(limit("open_orders", 1), place()), {"quantity": 9}),
    Met(19, "self_match", several(limit("short", 1), place()), {"side": "SELL", "limit_price": "99.00"}),
    Met(20, "margin", margin_of_ten, SALE, by="preview"),
    Met(20, "margin", several(limit("margin_check", 1), limit("short", 1)), SALE, by="preview", unknown=True),
    Met(21, "unresolved_order", lost, {}),
    Met(21, "position_break", moved, {}),
    Met(22, "cool_down", several(limit("cool_down_losses", 1), lose), {}),
    Met(23, "broker_not_ready", not_ready, {}, by="preview"),
)
BY_ROUTE = {"orders_off"}
"""Codes whose check the route itself is before: it answers 409 `orders-off` to everybody."""


@pytest.fixture
def desk(dsn: str, tmp_path: Path) -> Iterator[Desk]:
    stored = StoredBars(dsn, NOW)
    with stored.db.transaction() as cursor:
        furnish(cursor)
        cursor.execute("DELETE FROM risk_limits WHERE name IN ('quantity_shares', 'short', 'duplicate_window')")
        instruments.store(cursor, APPLE, DETAILS)
    yield Desk(stored, tmp_path)
    stored.close()


def test_every_check_and_every_code_is_met() -> None:
    assert {one.check for one in MEETINGS} == {check.number for check in CHECKS} == set(range(1, 24))
    codes = {(check.number, code) for check in CHECKS for code in check.codes if code not in BY_ROUTE}
    assert {(one.check, one.code) for one in MEETINGS} == codes


@pytest.mark.parametrize("met", MEETINGS, ids=str)
def test_a_refusal_names_check_limit_and_value_and_reserves_nothing(desk: Desk, met: Met) -> None:
    met.before(desk)
    before = reserved(desk)
    headers = getattr(desk, met.headers)
    if met.by == "preview":
        body = {name: value for name, value in {**BUY, **met.body}.items() if value is not None}
        answer = desk.api.request("POST", f"{ORDERS}/preview", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["passes"] is False
    else:
        answer = desk.place(headers=headers, **met.body)
        assert (answer.status_code, answer.json()["code"]) == (422, "order-denied"), answer.text
        kept = answer.json()["order"]
        assert (kept["state"], kept["reserved"]["quantity"], kept["reserved"]["value"]) == ("denied", "0", "0")
    found = [one for one in answer.json()["checks"] if (one["check"], one["code"]) == (met.check, met.code)]
    assert found, answer.text
    for one in found:
        assert one["limit"], one
        assert one["detail"], one
        assert one["value"] or (met.unknown and one["temporary"]), one
    assert reserved(desk) == before
    assert findings(desk.stored.db) == []


def reserved(desk: Desk) -> list[Any]:
    """What all accounts have reserved."""
    return [
        *desk.stored.rows(
            "SELECT account, reserved_value FROM risk_accounts WHERE reserved_value <> 0 ORDER BY account"
        ),
        *desk.stored.rows(
            "SELECT con_id, reserved_buy, reserved_sell FROM risk_book WHERE reserved_buy + reserved_sell <> 0"
        ),
    ]
