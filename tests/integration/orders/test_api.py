"""The routes of orders over a real database: who may do what, what each refusal says, and what one key means."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

import functions.orders.app
from nautilus.db.market import instruments
from nautilus.db.orders import orders
from nautilus.db.orders.events import Event
from nautilus.market.instrument import Instrument
from nautilus.orders.prices import PRICE_STEPS, RULE
from tests.support.order_ledger import ACCOUNT, NOW, STOCK, findings, furnish
from tests.support.stored_bars import Api, StoredBars

ORDERS = "/api/v1/orders"
APPLE: Instrument = STOCK._replace(instrument_id="A.NASDAQ", primary_exchange="NASDAQ")
DETAILS = {
    RULE: 26,
    PRICE_STEPS: {RULE: 26, "steps": [["0", "0.01"]]},
    "trading_hours": "20240108:0930-20240108:1600",
    "liquid_hours": "20240108:0930-20240108:1600",
}
BUY = {"con_id": APPLE.con_id, "side": "BUY", "type": "LMT", "quantity": 10, "limit_price": "100.00"}


class Desk:
    """The API with an account that may trade, and its users."""

    def __init__(self, stored: StoredBars, folder: Path, **settings: Any) -> None:
        self.stored = stored
        self.api: Api = stored.api(folder, router=functions.orders.app.router, **settings)
        self.trader = stored.user(7, "orders:read", "orders:write", accounts=[ACCOUNT])
        self.reader = stored.user(8, "orders:read", accounts=[ACCOUNT])
        self.stranger = stored.user(9, "orders:read", "orders:write", accounts=["SIM99"])
        self.chief = stored.user(1, "admin")

    def place(self, key: str | None = None, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        sent = {"Idempotency-Key": key or str(uuid4()), **(headers or self.trader)}
        return self.api.request("POST", ORDERS, json={**BUY, **changes}, headers=sent)

    def placed(self, **changes: Any) -> dict[str, Any]:
        answer = self.place(**changes)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        return self.api.get(f"{ORDERS}{path}", headers=headers or self.trader, params=query)


@pytest.fixture
def stored(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    with made.db.transaction() as cursor:
        furnish(cursor)
        cursor.execute("DELETE FROM risk_limits WHERE name IN ('quantity_shares', 'short', 'duplicate_window')")
        instruments.store(cursor, APPLE, DETAILS)
    yield made
    made.close()


@pytest.fixture
def desk(stored: StoredBars, tmp_path: Path) -> Desk:
    return Desk(stored, tmp_path)


# ---- placing ---------------------------------------------------------------------------------------------------------


def test_an_order_is_accepted_reserved_and_found_again(desk: Desk) -> None:
    answer = desk.place()
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert answer.headers["Location"] == f"{ORDERS}/{body['id']}"
    assert (body["state"], body["account"], body["quantity"], body["filled"]) == ("accepted", ACCOUNT, "10", "0")
    assert body["prices"]["wanted"]["limit"] == "100"
    assert body["reserved"] == {"quantity": "10", "value": "1000"}
    found = desk.get(f"/{body['id']}")
    assert found.json()["id"] == body["id"]
    assert found.headers["ETag"] == answer.headers["ETag"] == '"1"'
    assert [row["id"] for row in desk.get("", open="true").json()["orders"]] == [body["id"]]
    kinds = [one["kind"] for one in desk.get(f"/{body['id']}/events").json()["events"]]
    assert kinds == ["accepted"]


def test_one_key_is_one_order_and_another_body_is_refused(desk: Desk) -> None:
    first, again = desk.place("k1"), desk.place("k1", limit_price="100")
    other = desk.place("k1", quantity=11)
    assert first.json()["id"] == again.json()["id"], "the same number, written in another way"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert len(desk.get("").json()["orders"]) == 1


def test_without_a_key_nothing_is_placed(desk: Desk) -> None:
    answer = desk.api.request("POST", ORDERS, json=BUY, headers=desk.trader)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert desk.get("").json()["orders"] == []


def test_a_denied_order_names_check_limit_and_value_and_reserves_nothing(desk: Desk) -> None:
    answer = desk.place(quantity=1001, limit_price="100.005")
    assert (answer.status_code, answer.json()["code"]) == (422, "order-denied")
    checks = {one["code"]: one for one in answer.json()["checks"]}
    assert checks["quantity_limit"]["limit"] == "1000"
    assert checks["quantity_limit"]["value"] == "1001"
    assert checks["price_step"]["check"] == 6
    kept = desk.get(f"/{answer.json()['order']['id']}").json()
    assert (kept["state"], kept["reserved"]["quantity"]) == ("denied", "0")
    assert findings(desk.stored.db) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"limit_price": 100.5}, "limit_price"),
        ({"side": "buy"}, "side"),
        ({"quantity": None}, "quantity"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_body_that_makes_no_sense_names_its_field(desk: Desk, changes: dict[str, Any], field: str) -> None:
    answer = desk.place(**changes)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_bracket_is_three_orders_and_one_key(desk: Desk) -> None:
    body = desk.placed(take_profit={"limit_price": "110"}, stop_loss={"stop_price": "90"})
    assert [leg["group"]["role"] for leg in body["legs"]] == ["take_profit", "stop_loss"]
    assert {leg["side"] for leg in body["legs"]} == {"SELL"}
    assert body["group"]["ids"] == [body["id"], *(leg["id"] for leg in body["legs"])]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "90"}},
        {"oca": {"group": "out", "type": 1}},
    ],
    ids=["alone", "bracket", "group"],
)
def test_the_answer_is_what_is_read_of_the_order_afterwards(desk: Desk, more: dict[str, Any]) -> None:
    """The first answer is made of what was written, the later ones of what is stored."""
    body = desk.placed(**more)
    for one in (body, *body["legs"]):
        read = desk.get(f"/{one['id']}").json()
        assert {name: one[name] for name in read} == read


def test_a_dry_run_and_a_preview_store_nothing(desk: Desk) -> None:
    dry = desk.place(dry_run=True, quantity=1001)
    seen = desk.api.request("POST", f"{ORDERS}/preview", json=BUY, headers=desk.reader)
    assert [one["code"] for one in dry.json()["checks"]].count("quantity_limit") == 1
    assert dry.json()["passes"] is False
    assert {one["code"] for one in seen.json()["checks"]} >= {"forbidden", "price_collar"}, seen.text
    assert desk.get("").json()["orders"] == []


def test_prices_are_rounded_for_who_asks(desk: Desk) -> None:
    body = desk.placed(limit_price="100.009", round_prices=True)
    assert body["prices"]["wanted"]["limit"] == "100"


def test_with_orders_switched_off_none_is_placed_and_one_can_be_cancelled(
    desk: Desk, stored: StoredBars, tmp_path: Path
) -> None:
    number = desk.placed()["id"]
    off = Desk(stored, tmp_path, orders="off")
    answer = off.place()
    assert (answer.status_code, answer.json()["code"]) == (409, "orders-off")
    gone = off.api.request("DELETE", f"{ORDERS}/{number}", headers=off.trader)
    assert (gone.status_code, gone.json()["state"]) == (202, "cancelled")


def test_a_contract_that_ib_did_not_confirm_today_is_not_traded(desk: Desk, stored: StoredBars) -> None:
    stored.rows("UPDATE instruments SET resolved_at = resolved_at - interval '1 day'")
    answer = desk.place()
    assert (answer.status_code, answer.json()["code"]) == (503, "instrument-unconfirmed")


# ---- whose orders ----------------------------------------------------------------------------------------------------


def test_nobody_sees_or_changes_the_orders_of_another_account(desk: Desk) -> None:
    number = desk.placed()["id"]
    assert desk.get("", desk.stranger).json()["orders"] == []
    for method, path, body in (
        ("GET", f"/{number}", None),
        ("GET", f"/{number}/events", None),
        ("PATCH", f"/{number}", {"quantity": 5}),
        ("DELETE", f"/{number}", None),
    ):
        headers = {**desk.stranger, "If-Match": '"1"'}
        answer = desk.api.request(method, f"{ORDERS}{path}", headers=headers, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "order-not-found"), (method, path)
    for answer in (
        desk.place(headers=desk.stranger, account=ACCOUNT),
        desk.get("", desk.stranger, account=ACCOUNT),
        desk.api.request("DELETE", f"{ORDERS}?account={ACCOUNT}", headers=desk.stranger),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "account-not-allowed")
    assert desk.get(f"/{number}").json()["state"] == "accepted"


def test_a_caller_with_several_accounts_names_one(desk: Desk, stored: StoredBars) -> None:
    with stored.db.transaction() as cursor:
        furnish(cursor, ACCOUNT, "SIM2")
    answer = desk.place(headers=desk.chief)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["allowed"] == [ACCOUNT, "SIM2"]


# ---- changing --------------------------------------------------------------------------------------------------------


def test_a_change_needs_the_version_that_was_seen(desk: Desk) -> None:
    number = desk.placed()["id"]
    path = f"{ORDERS}/{number}"
    blind = desk.api.request("PATCH", path, json={"quantity": 5}, headers=desk.trader)
    assert blind.json()["errors"][0]["field"] == "If-Match"
    done = desk.api.request("PATCH", path, json={"quantity": 5}, headers={**desk.trader, "If-Match": '"1"'})
    assert (done.status_code, done.json()["quantity"], done.headers["ETag"]) == (202, "5", '"2"')
    late = desk.api.request("PATCH", path, json={"quantity": 6}, headers={**desk.trader, "If-Match": '"1"'})
    assert (late.status_code, late.json()["code"]) == (409, "order-changed")
    wild = desk.api.request("PATCH", path, json={"quantity": 5000}, headers={**desk.trader, "If-Match": '"2"'})
    assert [one["code"] for one in wild.json()["checks"]] == ["quantity_limit"]


def test_an_order_is_cancelled_and_its_end_is_named_afterwards(desk: Desk) -> None:
    number = desk.placed()["id"]
    gone = desk.api.request("DELETE", f"{ORDERS}/{number}", headers=desk.trader)
    assert (gone.status_code, gone.json()["state"]) == (202, "cancelled")
    again = desk.api.request("DELETE", f"{ORDERS}/{number}", headers=desk.trader)
    assert (again.status_code, again.json()["code"], again.json()["state"]) == (409, "order-over", "cancelled")


def test_all_orders_of_an_account_are_cancelled_at_once(desk: Desk) -> None:
    desk.placed(quantity=9)
    desk.placed(take_profit={"limit_price": "110"}, stop_loss={"stop_price": "90"})
    answer = desk.api.request("DELETE", f"{ORDERS}?account={ACCOUNT}", headers=desk.trader)
    assert answer.status_code == 202, answer.text
    assert {row["state"] for row in desk.get("").json()["orders"]} == {"cancelled"}
    assert findings(desk.stored.db) == []


def test_only_an_administrator_resolves_an_unknown_order(desk: Desk, stored: StoredBars) -> None:
    number = desk.placed()["id"]
    path, body = f"{ORDERS}/{number}/resolve", {"outcome": "never_arrived", "note": "seen in TWS"}
    early = desk.api.request("POST", path, json=body, headers=desk.chief)
    assert (early.status_code, early.json()["code"]) == (409, "order-not-unknown")
    with stored.db.transaction() as cursor:
        row = orders.lock_with_book(cursor, orders.listed(cursor, orders.OrderFilter())[0].id)
        assert row is not None
        orders.update(cursor, row, {"state": "unknown"}, Event("unknown", "process", NOW))
    unknown = desk.get(f"/{number}").json()
    assert (unknown["state"], unknown["may_exist"]) == ("unknown", True)
    assert desk.api.request("POST", path, json=body, headers=desk.trader).status_code == 403
    done = desk.api.request("POST", path, json=body, headers=desk.chief)
    assert (done.status_code, done.json()["state"]) == (200, "denied"), done.text


# ---- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_goes_on_where_the_page_before_ended(desk: Desk) -> None:
    numbers = [desk.placed(quantity=n + 1)["id"] for n in range(3)]
    first = desk.get("", limit=2).json()
    second = desk.get("", limit=2, after=first["next_after"]).json()
    assert [row["id"] for row in first["orders"] + second["orders"]] == numbers[::-1]
    assert second["next_after"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "asleep"}, "state"),
        ({"since": "yesterday"}, "since"),
        ({"limit": 0}, "limit"),
        ({"after": "x"}, "after"),
    ],
)
def test_a_list_names_the_parameter_that_makes_no_sense(desk: Desk, query: dict[str, Any], field: str) -> None:
    answer = desk.get("", **query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_the_reservation_of_many_orders_is_their_sum(desk: Desk) -> None:
    for n in range(3):
        desk.placed(quantity=n + 1)
    with desk.stored.db.transaction() as cursor:
        cursor.execute("SELECT reserved_buy FROM risk_book WHERE account = %s", (ACCOUNT,))
        assert cursor.fetchone()[0] == Decimal(6)
