"""The old front end's routes of orders over a real database: one order for a double click, and answers that its page shows."""

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from nautilus.db.orders import orders
from nautilus.orders import account_events, front_end
from nautilus.orders import desk as desks
from tests.support.front_end_orders import Page, tradable
from tests.support.front_end_page import BRACKET, FORM, LIMIT
from tests.support.neighbours import relay
from tests.support.order_ledger import ACCOUNT, findings, furnish
from tests.support.stored_bars import StoredBars


@pytest.fixture
def stored(dsn: str) -> Iterator[StoredBars]:
    with tradable(dsn) as made:
        yield made


@pytest.fixture
def page(stored: StoredBars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr(front_end, "WAIT_S", 0)  # nobody sends here, so there is nothing to wait for
    return Page(stored, tmp_path)


def shown(answer: httpx.Response, status: int, code: str) -> str:
    """What the page shows of an answer that is an error."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert isinstance(body["detail"], str)
    return str(body["detail"])


# ---- placing ---------------------------------------------------------------------------------------------------------


def test_an_order_of_the_page_is_stored_exactly_and_stands_in_its_list(page: Page) -> None:
    answer = page.click()
    body = answer.json()
    assert (answer.status_code, body["order"]["status"]) == (200, "Accepted"), answer.text
    assert "BUY 10 A LMT limit 99.95 is stored and not sent yet" in body["message"]
    assert page.listed() == [body["order"]]
    own = page.order(body["order_id"])
    assert (own["origin"], own["account"], own["quantity"]) == ("front_end", ACCOUNT, "10")
    assert own["prices"]["wanted"]["limit"] == "99.95"


def test_a_bracket_has_the_entry_that_its_prices_say(page: Page) -> None:
    page.placed(BRACKET)
    page.placed(BRACKET, stop_price=None, limit_price=100)
    page.placed(BRACKET, stop_price=None)
    found = {(order["order_type"], order["action"]) for order in page.listed()}
    assert found == {("STP", "BUY"), ("LMT", "BUY"), ("MKT", "BUY"), ("LMT", "SELL"), ("STP", "SELL")}
    assert len(page.listed()) == 9


def test_an_order_of_a_group_is_one_of_ours(page: Page) -> None:
    own = page.order(page.placed(FORM, order_type="OCA", oca_group="exits", limit_price=99))
    assert (own["type"], own["group"]["kind"], own["group"]["name"]) == ("LMT", "oca", "exits")


def test_what_the_form_leaves_empty_is_as_if_it_were_not_there(page: Page) -> None:
    empty: dict[str, Any] = {
        "account_id": " ",
        "oca_group": "",
        "stop_price": None,
        "hidden": False,
        "discretionary_amount": 0,
    }
    assert page.order(page.placed(**empty))["state"] == "accepted"
    assert page.order(page.placed(account_id=f" {ACCOUNT} "))["account"] == ACCOUNT


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"action": "buy"}, "action", ["BUY", "SELL"]),
        ({"order_type": "MOC"}, "order_type", ["MKT", "LMT", "STP", "STP_LMT", "TRAIL", "BRACKET", "OCA"]),
        ({"time_in_force": "GTD"}, "time_in_force", ["DAY", "GTC", "IOC", "FOK"]),
        ({"quantity": None}, "quantity", None),
        ({"quantity": "many"}, "quantity", None),
        ({"quantity": True}, "quantity", None),
        ({"limit_price": 1e300}, "limit_price", None),
        ({"limit_price": 0.1 + 0.2}, "limit_price", None),
        ({"take_profit_price": 110}, "take_profit_price", ["BRACKET"]),
        ({"order_type": "BRACKET", "take_profit_price": 110}, "stop_loss_price", None),
        ({"order_type": "OCA"}, "oca_group", None),
        ({"oca_group": "exits"}, "oca_group", ["OCA"]),
        ({"hidden": True}, "hidden", ["false"]),
        ({"discretionary_amount": 0.05}, "discretionary_amount", ["0"]),
        ({"parent_order_id": "7"}, "parent_order_id", None),
        ({"symbol": ""}, "symbol", None),
        ({"asset_class": "GOLD"}, "asset_class", None),
        ({"account_id": "x" * 33}, "account_id", None),
    ],
)
def test_a_form_that_makes_no_sense_names_its_field(
    page: Page, changes: dict[str, Any], field: str, allowed: list[str] | None
) -> None:
    answer = page.click(**changes)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert field in answer.json()["detail"]
    if allowed is not None:
        assert error["allowed"] == allowed
    assert page.count() == 0


def test_a_denied_order_is_an_error_that_names_check_limit_and_value(page: Page) -> None:
    answer = page.click(quantity=1001)
    assert "quantity_limit" in shown(answer, 422, "order-denied")
    assert [(one["code"], one["limit"], one["value"]) for one in answer.json()["checks"]] == [
        ("quantity_limit", "1000", "1001")
    ]
    assert [order["status"] for order in page.listed()] == ["Denied"]
    assert findings(page.stored.db) == []


def test_with_orders_switched_off_the_page_says_so_and_cancels_pass(page: Page, tmp_path: Path) -> None:
    number = page.placed()
    off = Page(page.stored, tmp_path, orders="off")
    assert "NAUTILUS_ORDERS" in shown(off.click(), 409, "orders-off")
    assert "NAUTILUS_ORDERS" in shown(off.send("PUT", f"/{number}/modify", json={"quantity": 5}), 409, "orders-off")
    assert off.send("DELETE", f"/{number}/cancel").json()["order"]["status"] == "Cancelled"


# ---- one order for a double click ------------------------------------------------------------------------------------


def orders_of_two_clicks(page: Page, count: int = 8) -> set[str]:
    """The ids that so many clicks at once are answered with."""
    answers = page.clicks(count)
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    return {answer.json()["order_id"] for answer in answers}


def test_a_double_click_is_one_order(page: Page) -> None:
    (number,) = orders_of_two_clicks(page)
    assert page.count() == 1
    again = page.click()
    assert again.json()["order_id"] == number
    assert "double click" in again.json()["message"]
    assert page.order(number)["reserved"]["quantity"] == "10"


def test_a_double_click_on_a_bracket_is_one_bracket(page: Page) -> None:
    answers = page.clicks(4, BRACKET)
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert page.count() == 3


def without_looking(desk: desks.OrderDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "same_lately", lambda *_, **__: None)


def looking_before_the_lock(desk: desks.OrderDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    find, both = orders.same_lately, threading.Barrier(2)

    def place_once(body: Any, instrument: Any, principal: Any) -> Any:
        found = {"principal": principal.id, "fingerprint": desks.fingerprint(body), "within_s": desks.DOUBLE_CLICK_S}
        with desk._db.transaction() as cursor:
            before = find(cursor, ACCOUNT, **found)
        both.wait(10)
        assert before is None
        return desk.place(body, instrument, principal, key=str(threading.get_ident()))

    monkeypatch.setattr(desk, "place_once", place_once)


@pytest.mark.parametrize("mutant", [without_looking, looking_before_the_lock])
def test_the_test_of_double_clicks_finds_a_desk_that_places_twice(
    page: Page, mutant: Callable[[desks.OrderDesk, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.orders.app import _shared

    mutant(_shared(page.api.services).desk, monkeypatch)
    assert len(orders_of_two_clicks(page, 2)) == 2
    assert page.count() == 2


def test_the_same_order_later_is_another_order(page: Page) -> None:
    first = page.placed()
    page.later(desks.DOUBLE_CLICK_S - 1)
    assert page.placed() == first
    page.later(2)
    assert page.placed() != first
    assert page.count() == 2


def test_another_form_another_user_and_another_account_are_other_orders(page: Page) -> None:
    with page.stored.db.transaction() as cursor:
        furnish(cursor, ACCOUNT, "SIM2")
        cursor.execute("DELETE FROM risk_limits WHERE name = 'quantity_shares'")
    numbers = {
        page.placed(),
        page.placed(quantity=11),
        str(page.click(headers=page.chief, account_id=ACCOUNT).json()["order_id"]),
        str(page.click(headers=page.chief, account_id="SIM2").json()["order_id"]),
    }
    assert len(numbers) == page.count() == 4


def test_an_order_that_was_denied_is_checked_anew(page: Page) -> None:
    denied = page.click(quantity=1001)
    shown(denied, 422, "order-denied")
    page.stored.rows(
        "INSERT INTO risk_limits (account, name, value, set_by) VALUES ('*', 'quantity_shares', 2000, 't')"
    )
    assert page.placed(quantity=1001) != denied.json()["order"]["order_id"]


def test_a_click_on_what_was_cancelled_just_before_is_not_answered_as_placed(page: Page) -> None:
    number = page.placed()
    page.send("POST", f"/{number}/cancel")
    assert "is cancelled" in shown(page.click(), 409, "order-over")
    page.later(desks.DOUBLE_CLICK_S)
    assert page.placed() != number


def test_an_unknown_order_is_never_answered_as_placed(page: Page) -> None:
    number = page.placed()
    page.moved(number, "unknown", why="written before a crash")
    text = shown(page.click(), 409, "order-unknown")
    assert "do not place it again" in text
    assert "written before a crash" in text
    assert [(order["status"], order["state"]) for order in page.listed()] == [("Unknown", "unknown")]
    page.later(desks.DOUBLE_CLICK_S)
    assert "unresolved_order" in shown(page.click(), 422, "order-denied")


# ---- rights ----------------------------------------------------------------------------------------------------------


def test_who_may_read_alone_sees_orders_and_changes_none(page: Page) -> None:
    number = page.placed()
    assert [order["order_id"] for order in page.listed(page.reader)] == [number]
    for method, path, body in (
        ("POST", "/place", LIMIT),
        ("PUT", f"/{number}/modify", {"quantity": 5}),
        ("DELETE", f"/{number}/cancel", None),
        ("POST", f"/{number}/cancel", None),
    ):
        shown(page.send(method, path, page.reader, json=body), 403, "missing-scope")
    outsider = page.stored.user(6, "bars:read", accounts=[ACCOUNT])
    for method, path in (("GET", ""), ("POST", "/refresh")):
        shown(page.send(method, path, outsider), 403, "missing-scope")
    assert page.order(number)["state"] == "accepted"


def test_orders_of_another_account_do_not_exist(page: Page) -> None:
    number = page.placed()
    assert page.listed(page.stranger) == []
    for method, path, body in (
        ("PUT", f"/{number}/modify", {"quantity": 5}),
        ("DELETE", f"/{number}/cancel", None),
        ("POST", f"/{number}/cancel", None),
    ):
        shown(page.send(method, path, page.stranger, json=body), 404, "order-not-found")
    assert ACCOUNT in shown(page.click(headers=page.stranger, account_id=ACCOUNT), 403, "account-not-allowed")
    assert page.order(number)["state"] == "accepted"


def test_a_user_with_several_accounts_is_asked_for_one(page: Page) -> None:
    with page.stored.db.transaction() as cursor:
        furnish(cursor, "SIM2")
    answer = page.click(headers=page.chief)
    assert "account_id" in shown(answer, 422, "validation-error")
    assert answer.json()["errors"][0]["allowed"] == [ACCOUNT, "SIM2"]
    assert page.count() == 0
    done = page.click(headers=page.chief, account_id="SIM2")
    assert done.json()["order"]["account_id"] == "SIM2"
    assert [order["account_id"] for order in page.listed(page.chief)] == ["SIM2"]


def test_a_foreign_page_changes_nothing(page: Page) -> None:
    number = page.placed()
    foreign = {**page.trader, "Origin": "https://elsewhere.example"}
    for method, path, body in (
        ("POST", "/place", {**LIMIT, "quantity": 3}),
        ("PUT", f"/{number}/modify", {"quantity": 5}),
        ("DELETE", f"/{number}/cancel", None),
        ("POST", f"/{number}/cancel", None),
        ("POST", "/refresh", None),
    ):
        shown(page.send(method, path, foreign, json=body), 403, "foreign-origin")
    text = {**page.trader, "Content-Type": "text/plain"}
    shown(page.send("POST", "/place", text, content=b'{"symbol": "A"}'), 415, "unsupported-media-type")
    assert (page.count(), page.order(number)["quantity"]) == (1, "10")


# ---- changing --------------------------------------------------------------------------------------------------------


def test_the_form_of_changes_sends_all_fields_and_changes_those_that_differ(page: Page) -> None:
    number = page.placed()
    answer = page.send("PUT", f"/{number}/modify", json={"quantity": 10, "limit_price": 99.9, "stop_price": None})
    assert (answer.status_code, answer.json()["order"]["limit_price"]) == (200, 99.9), answer.text
    same = page.send("PUT", f"/{number}/modify", json={"quantity": 10, "limit_price": 99.9})
    assert "nothing would change" in shown(same, 422, "no-change")
    page.moved(number, "working")
    sent = page.send("PUT", f"/{number}/modify", json={"quantity": 12, "limit_price": 99.9})
    assert "not confirmed by IB yet" in sent.json()["message"]
    assert sent.json()["order"]["total_quantity"] == 10


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({}, "validation-error", "quantity, limit_price, stop_price"),
        ({"quantity": None}, "validation-error", "quantity, limit_price, stop_price"),
        ({"quantity": "x"}, "validation-error", "quantity"),
        ({"colour": 1}, "validation-error", "colour"),
        ({"quantity": 5000}, "order-denied", "limit quantity_shares"),
    ],
)
def test_a_change_that_cannot_be_says_why(page: Page, body: dict[str, Any], code: str, word: str) -> None:
    number = page.placed()
    assert word in shown(page.send("PUT", f"/{number}/modify", json=body), 422, code)
    assert page.order(number)["quantity"] == "10"


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_an_order_is_cancelled_either_way_and_its_end_is_named_afterwards(page: Page, method: str) -> None:
    number = page.placed()
    page.moved(number, "working")
    first, again = (page.send(method, f"/{number}/cancel") for _ in range(2))
    assert first.status_code == again.status_code == 200, first.text
    assert "the cancel is requested, and not confirmed by IB yet" in first.json()["message"]
    page.moved(number, "filled", filled=Decimal(10))
    assert "the order is over: filled" in shown(page.send(method, f"/{number}/cancel"), 409, "order-over")


def test_what_is_no_order_says_so(page: Page) -> None:
    for number in ("7", "undefined"):
        answer = page.send("DELETE", f"/{number}/cancel")
        assert answer.json()["errors"][0]["field"] == "order_id"
    unknown = page.send("DELETE", "/9e107d9d-3721-4bd2-a5cb-5f1d9b0c7e11/cancel")
    shown(unknown, 404, "order-not-found")


# ---- lists -----------------------------------------------------------------------------------------------------------


def test_the_list_has_every_open_order_and_the_newest_of_those_that_are_over(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_events, "SHOWN_OVER", 2)
    numbers = [page.placed(quantity=n + 1) for n in range(5)]
    for number in numbers[1:4]:
        page.send("DELETE", f"/{number}/cancel")
    shown_ids = [order["order_id"] for order in page.listed()]
    assert shown_ids == [numbers[4], numbers[3], numbers[2], numbers[0]]


def test_a_refresh_tells_whether_anything_comes_from_ib(page: Page) -> None:
    for name in ("orders", "positions", "account"):
        answer = page.api.request("POST", f"/api/v1/ib/{name}/refresh", headers=page.reader)
        assert (answer.status_code, answer.json()["order_process"]["state"]) == (200, "ready")
    page.stored.rows("UPDATE order_process SET heartbeat = heartbeat - interval '1 hour'")
    assert "silent" in page.send("POST", "/refresh").json()["message"]
    page.stored.rows("DELETE FROM order_process")
    assert page.send("POST", "/refresh").json()["order_process"] is None


# ---- neighbours ------------------------------------------------------------------------------------------------------


def test_without_the_database_the_page_shows_that_nothing_is_known(
    page: Page, stored: StoredBars, tmp_path: Path
) -> None:
    dead = Page(stored, tmp_path, database_url="postgresql://nobody:x@127.0.0.1:1/none")
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/place", LIMIT),
        ("PUT", "/9e107d9d-3721-4bd2-a5cb-5f1d9b0c7e11/modify", {"quantity": 1}),
        ("DELETE", "/9e107d9d-3721-4bd2-a5cb-5f1d9b0c7e11/cancel", None),
        ("POST", "/refresh", None),
    ):
        answer = dead.send(method, path, json=body)
        assert "database" in shown(answer, 503, "database-unavailable")
        assert "Retry-After" in answer.headers


def test_a_database_that_says_nothing_after_the_commit_may_have_stored_the_order(
    page: Page, stored: StoredBars, tmp_path: Path
) -> None:
    with relay(stored.dsn) as between:
        slow = Page(stored, tmp_path, database_url=between.before(stored.dsn), statement_timeout_ms=1_000)
        slow.listed()
        inserted = threading.Event()

        def hang_at_commit(data: bytes) -> None:
            if b"INSERT INTO orders" in data:
                inserted.set()
            if inserted.is_set() and b"COMMIT" in data:
                between.hang()

        between.overheard = hang_at_commit
        text = shown(slow.click(), 503, "database-unavailable")
        assert "the order may be stored: look at the list of orders before you place it again" in text
        between.overheard = None
        between.heal(anew=True)
    number = page.listed()[0]["order_id"]
    assert page.placed() == number
    assert page.count() == 1


def test_an_order_that_is_stored_is_answered_when_the_database_is_away_afterwards(
    page: Page, stored: StoredBars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relay(stored.dsn) as between:
        slow = Page(stored, tmp_path, database_url=between.before(stored.dsn), statement_timeout_ms=1_000)
        newest = desks.OrderDesk.newest

        def newest_of_a_silent_database(desk: desks.OrderDesk, row: Any) -> Any:
            between.hang()
            return newest(desk, row)

        monkeypatch.setattr(desks.OrderDesk, "newest", newest_of_a_silent_database)
        answer = slow.click()
        assert (answer.status_code, answer.json()["order"]["state"]) == (200, "accepted"), answer.text
        between.heal(anew=True)
    assert [order["order_id"] for order in page.listed()] == [answer.json()["order_id"]]
