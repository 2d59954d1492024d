"""The routes of risk over a real database: the kill switch, who may resume, limits, and how an account stands."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

import functions.orders.app
from nautilus.db.orders import positions, trading_state
from nautilus.orders.ticket import OrderType, Prices
from nautilus.orders.words import Position
from tests.support.order_ledger import (
    ACCOUNT,
    NOW,
    STOCK,
    execution,
    findings,
    furnish,
    ib_says,
    placed,
    ticket,
    working,
)
from tests.support.stored_bars import StoredBars

ORDERS = "/api/v1/orders"
OTHER = "SIM2"


class Risk:
    """The API with two accounts, a trader of the first, a trader of all, and an administrator."""

    def __init__(self, stored: StoredBars, folder: Path, **settings: Any) -> None:
        self.db = stored.db
        self.stored = stored
        self.api = stored.api(folder, router=functions.orders.app.router, **settings)
        self.trader = stored.user(7, "orders:read", "orders:write", accounts=[ACCOUNT])
        self.reader = stored.user(8, "orders:read", accounts=[ACCOUNT])
        self.partner = stored.user(9, "orders:read", "orders:write", accounts=["*"])
        self.nobody = stored.user(10, "orders:read", "orders:write")
        self.chief = stored.user(1, "admin")

    def post(self, path: str, headers: dict[str, str], **body: Any) -> httpx.Response:
        return self.api.request("POST", f"{ORDERS}{path}", headers=headers, json={"reason": "a test", **body})

    def kill(self, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        answer = self.post("/kill", headers or self.chief, **body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def limit(self, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return self.api.request("PUT", f"{ORDERS}/risk/limits", headers=headers or self.chief, json=body)

    def unset(self, name: str, headers: dict[str, str] | None = None, **query: str) -> httpx.Response:
        path = f"{ORDERS}/risk/limits/{name}"
        return self.api.request("DELETE", path, headers=headers or self.chief, params=query)

    def report(self, headers: dict[str, str] | None = None) -> dict[str, Any]:
        answer = self.api.get(f"{ORDERS}/risk", headers=headers or self.trader)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def states(self) -> dict[str, str]:
        found = self.report(self.chief)["accounts"]
        return {one["account"]: one["trading"]["state"] for one in found}


@pytest.fixture
def stored(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    with made.db.transaction() as cursor:
        furnish(cursor, ACCOUNT, OTHER)
    yield made
    assert findings(made.db) == []
    made.close()


@pytest.fixture
def risk(stored: StoredBars, tmp_path: Path) -> Risk:
    return Risk(stored, tmp_path)


def requested(risk: Risk, order_id: UUID) -> list[str]:
    """The requests about an order."""
    rows = risk.stored.rows("SELECT kind FROM order_requests WHERE order_id = %s", order_id)
    return [str(row.kind) for row in rows]


# ---- kill ------------------------------------------------------------------------------------------------------------


def test_an_administrators_kill_halts_all_accounts_and_says_what_it_did(risk: Risk) -> None:
    unsent, sent = placed(risk.db).orders[0], working(risk.db, ticket(account=OTHER))
    done = risk.kill()
    assert [(one["account"], one["state"], one["reason"], one["set_by"]) for one in done["halted"]] == [
        ("*", "halted", "a test", "user:1")
    ]
    assert (done["denied"], done["cancelling"]) == ([str(unsent.id)], [str(sent.id)])
    assert [(one["account"], one["cancel"], one["flatten"], one["done"]) for one in done["kills"]] == [
        ("*", "entries", False, None)
    ]
    assert done["unknown_accounts"] == []
    assert risk.states() == {ACCOUNT: "halted", OTHER: "halted"}
    rows = risk.stored.rows("SELECT actor, subject FROM audit_log WHERE action = 'trading-halted'")
    assert [(row.actor, row.subject) for row in rows] == [("user:1", "account:*")]


def test_a_trader_without_a_name_halts_the_accounts_of_theirs_alone(risk: Risk) -> None:
    theirs = working(risk.db, ticket(account=OTHER))
    done = risk.kill(risk.trader)
    assert [one["account"] for one in done["halted"]] == [ACCOUNT]
    assert risk.states() == {ACCOUNT: "halted", OTHER: "active"}
    assert requested(risk, theirs.id) == []


@pytest.mark.parametrize("accounts", [None, ["*"]])
def test_a_trader_of_all_accounts_halts_each_and_not_the_login(risk: Risk, accounts: list[str] | None) -> None:
    done = risk.kill(risk.partner, accounts=accounts)
    assert [one["account"] for one in done["halted"]] == [ACCOUNT, OTHER]
    with risk.db.transaction() as cursor:
        assert {row.scope for row in trading_state.read(cursor, [ACCOUNT, OTHER])} == {ACCOUNT, OTHER}


@pytest.mark.parametrize("accounts", [[OTHER], [ACCOUNT, OTHER], ["*"]])
def test_nobody_halts_an_account_of_others(risk: Risk, accounts: list[str]) -> None:
    answer = risk.post("/kill", risk.trader, accounts=accounts)
    assert (answer.status_code, answer.json()["code"]) == (403, "account-not-allowed")
    assert risk.states() == {ACCOUNT: "active", OTHER: "active"}


def test_the_global_cancel_is_an_administrators(risk: Risk) -> None:
    answer = risk.post("/kill", risk.partner, cancel="everything")
    assert (answer.status_code, answer.json()["code"], answer.json()["scope"]) == (403, "missing-scope", "admin")
    assert risk.states() == {ACCOUNT: "active", OTHER: "active"}
    assert risk.kill(risk.chief, cancel="everything")["kills"][0]["cancel"] == "everything"


def test_who_may_only_read_or_has_no_account_halts_nothing(risk: Risk) -> None:
    assert risk.post("/kill", risk.reader).json()["code"] == "missing-scope"
    answer = risk.post("/kill", risk.nobody)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "accounts")
    assert risk.states() == {ACCOUNT: "active", OTHER: "active"}


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({"cancel": "all"}, "cancel", ["none", "entries", "ours", "everything"]),
        ({"flatten": True, "cancel": "entries"}, "flatten", ["false"]),
        ({"reason": " "}, "reason", None),
        ({"accounts": ["a b"]}, "accounts", None),
        ({"account": ACCOUNT}, "account", None),
    ],
)
def test_a_kill_that_makes_no_sense_names_its_field(
    risk: Risk, body: dict[str, Any], field: str, allowed: list[str] | None
) -> None:
    answer = risk.post("/kill", risk.chief, **body)
    assert answer.status_code == 422, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    if allowed is not None:
        assert [str(one) for one in answer.json()["errors"][0]["allowed"]] == allowed
    assert risk.states() == {ACCOUNT: "active", OTHER: "active"}


def test_protective_stops_stay_unless_ours_is_said_and_flatten_says_it(risk: Risk) -> None:
    row = working(risk.db, ticket(quantity=10))
    ib_says(risk.db, execution(row, 10))
    stop = working(risk.db, ticket("SELL", 10, type=OrderType.STP, prices=Prices(stop=Decimal(90))))
    entry = working(risk.db)
    assert risk.kill(risk.trader)["cancelling"] == [str(entry.id)]
    assert requested(risk, stop.id) == []
    done = risk.kill(risk.trader, flatten=True)
    assert [(one["cancel"], one["flatten"]) for one in done["kills"]] == [("ours", True)]
    assert requested(risk, stop.id) == ["cancel"]


def test_a_kill_works_while_orders_are_switched_off(risk: Risk, stored: StoredBars, tmp_path: Path) -> None:
    sent = working(risk.db)
    off = Risk(stored, tmp_path, orders="off")
    assert off.kill(off.trader)["cancelling"] == [str(sent.id)]


def kept(risk: Risk, account: str) -> list[str]:
    """The tables that have a row of an account."""
    tables = {"risk_accounts": "account", "trading_state": "scope", "kill_orders": "account", "risk_book": "account"}
    return [
        table
        for table, column in tables.items()
        if risk.stored.rows(f"SELECT 1 FROM {table} WHERE {column} = %s", account)
    ]


def test_a_name_that_nobody_here_knows_keeps_no_account_from_being_halted(risk: Risk) -> None:
    done = risk.kill(accounts=[ACCOUNT, "SIM3"])
    assert [one["account"] for one in done["halted"]] == [ACCOUNT]
    assert done["unknown_accounts"] == ["SIM3"]
    assert kept(risk, "SIM3") == []


def test_a_kill_of_nothing_but_a_wrong_name_names_the_known_ones_and_leaves_nothing(risk: Risk) -> None:
    answer = risk.post("/kill", risk.chief, accounts=["SIM11"])
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["field"], error["allowed"]) == ("accounts", [ACCOUNT, OTHER])
    assert kept(risk, "SIM11") == []
    assert risk.states() == {ACCOUNT: "active", OTHER: "active"}


@pytest.mark.parametrize("left", ["orders", "order_process", "users", "nothing"])
def test_a_known_account_is_halted_whoever_knows_it(risk: Risk, left: str) -> None:
    """Also where the list of accounts is empty, as the order process never connected."""
    if left == "orders":
        placed(risk.db)
    risk.stored.rows("DELETE FROM accounts")
    if left != "order_process":
        risk.stored.rows("UPDATE order_process SET accounts = '{}'")
    if left == "users":
        risk.stored.rows("INSERT INTO users (username, password_hash, accounts) VALUES ('a', '', %s)", [ACCOUNT])
    assert [one["account"] for one in risk.kill(accounts=[ACCOUNT])["halted"]] == [ACCOUNT]
    assert "trading_state" in kept(risk, ACCOUNT)


def test_an_account_is_halted_by_who_may_use_it_though_no_gateway_named_it(risk: Risk) -> None:
    owner = risk.stored.user(11, "orders:read", "orders:write", accounts=["U7654321"])
    assert [one["account"] for one in risk.kill(owner)["halted"]] == ["U7654321"]
    assert [one["account"] for one in risk.kill(owner, accounts=["U7654321"])["halted"]] == ["U7654321"]


# ---- resume ----------------------------------------------------------------------------------------------------------


def test_only_an_administrator_resumes(risk: Risk) -> None:
    risk.kill(accounts=[ACCOUNT])
    refused = risk.post("/resume", risk.partner)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope")
    assert risk.states()[ACCOUNT] == "halted"
    done = risk.post("/resume", risk.chief, accounts=[ACCOUNT], state="reducing")
    assert (done.status_code, done.json()["resumed"][0]["state"]) == (200, "reducing"), done.text
    assert risk.states() == {ACCOUNT: "reducing", OTHER: "active"}
    wrong = risk.post("/resume", risk.chief, accounts=[ACCOUNT], state="halted")
    assert wrong.json()["errors"][0]["allowed"] == ["active", "reducing"]


def test_who_resumes_all_is_told_which_accounts_stay_halted_and_why(risk: Risk) -> None:
    risk.kill(accounts=[ACCOUNT], reason="prices look wrong")
    done = risk.post("/resume", risk.chief).json()
    assert [row["account"] for row in done["resumed"]] == ["*"]
    assert [(one["account"], one["state"], one["reason"]) for one in done["not_resumed"]] == [
        (ACCOUNT, "halted", "prices look wrong")
    ]
    assert risk.states() == {ACCOUNT: "halted", OTHER: "active"}
    assert risk.post("/resume", risk.chief, accounts=[ACCOUNT]).json()["not_resumed"] == []
    assert risk.states() == {ACCOUNT: "active", OTHER: "active"}


def test_nothing_resumes_while_a_position_is_not_ibs(risk: Risk) -> None:
    with risk.db.transaction() as cursor:
        positions.put_all_broker(cursor, ACCOUNT, [Position(ACCOUNT, STOCK.con_id, Decimal(3), None)], NOW)
        positions.compare(cursor, ACCOUNT)
    risk.kill()
    refused = risk.post("/resume", risk.chief)
    assert (refused.status_code, refused.json()["code"]) == (409, "position-breaks-open")
    assert risk.states() == {ACCOUNT: "halted", OTHER: "halted"}


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_a_limit_is_set_audited_and_shown_with_its_origin(risk: Risk) -> None:
    risk.stored.rows("DELETE FROM risk_limits")
    answer = risk.limit(name="notional", value="7.50")
    assert (answer.status_code, answer.json()["account"], answer.json()["value"]) == (200, "*", "7.5"), answer.text
    risk.limit(account=ACCOUNT, name="position", value=None)
    limits = {one["name"]: one for one in risk.report()["accounts"][0]["limits"]}
    shown = {name: (limits[name]["value"], limits[name]["origin"]) for name in ("notional", "position", "short")}
    assert shown == {"notional": ("7.5", "all"), "position": (None, "account"), "short": ("0", "default")}
    assert limits["notional"]["default"] == "250000"
    assert limits["notional"]["set_by"] == "user:1"
    rows = risk.stored.rows("SELECT actor, subject, detail FROM audit_log WHERE action = 'limit-changed' ORDER BY id")
    assert [(row.actor, row.subject, row.detail["before"], row.detail["after"]) for row in rows] == [
        ("user:1", "account:*", "default", "7.50"),
        ("user:1", f"account:{ACCOUNT}", "default", "none"),
    ]


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({"name": "notionall", "value": "1"}, "name", "notional"),
        ({"name": "short", "value": "2"}, "value", "1"),
        ({"name": "notional", "value": "-1"}, "value", None),
        ({"name": "notional"}, "value", None),
        ({"name": "notional", "value": "1", "account": "a b"}, "account", None),
    ],
)
def test_a_limit_that_makes_no_sense_names_its_field(
    risk: Risk, body: dict[str, Any], field: str, allowed: str | None
) -> None:
    before = risk.stored.rows("SELECT count(*) AS n FROM risk_limits")[0].n
    answer = risk.limit(**body)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    if allowed is not None:
        assert allowed in error["allowed"]
    assert risk.stored.rows("SELECT count(*) AS n FROM risk_limits")[0].n == before


def test_a_limit_returns_to_that_of_all_and_then_to_its_default(risk: Risk) -> None:
    risk.stored.rows("DELETE FROM risk_limits")
    risk.limit(name="notional", value="7")
    risk.limit(account=ACCOUNT, name="notional", value=None)
    first = risk.unset("notional", account=ACCOUNT)
    assert first.status_code == 200, first.text
    assert (first.json()["removed"]["account"], first.json()["removed"]["value"]) == (ACCOUNT, None)
    assert (first.json()["limit"]["value"], first.json()["limit"]["origin"]) == ("7", "all")
    second = risk.unset("notional")
    assert (second.json()["removed"]["value"], second.json()["limit"]) == ("7", None)
    limits = {one["name"]: one for one in risk.report()["accounts"][0]["limits"]}
    assert (limits["notional"]["value"], limits["notional"]["origin"]) == ("250000", "default")
    third = risk.unset("notional")
    assert (third.status_code, third.json()["code"]) == (404, "limit-not-set")
    rows = risk.stored.rows("SELECT subject, detail FROM audit_log WHERE action = 'limit-changed' ORDER BY id")
    assert [(row.subject, row.detail["before"], row.detail["after"]) for row in rows][2:] == [
        (f"account:{ACCOUNT}", "none", "default"),
        ("account:*", "7", "default"),
    ]


def test_a_row_of_the_list_of_what_may_be_traded_is_removed_too(risk: Risk) -> None:
    risk.limit(account=ACCOUNT, name="allow:STK", value=1)
    assert [row["name"] for row in risk.report()["accounts"][0]["allowed"]] == ["allow:STK"]
    assert risk.unset("allow:STK", account=ACCOUNT).json()["limit"] is None
    assert risk.report()["accounts"][0]["allowed"] == []


@pytest.mark.parametrize(("name", "account", "field"), [("notionall", "*", "name"), ("short", "a b", "account")])
def test_a_limit_that_nobody_can_have_set_names_its_field(risk: Risk, name: str, account: str, field: str) -> None:
    answer = risk.unset(name, account=account)
    assert answer.status_code == 422, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]


def test_only_an_administrator_sets_limits(risk: Risk) -> None:
    answer = risk.limit(risk.partner, account=ACCOUNT, name="notional", value="1")
    assert (answer.status_code, answer.json()["code"]) == (403, "missing-scope")
    risk.limit(account=ACCOUNT, name="short", value="1")
    risk.stored.rows("DELETE FROM audit_log")
    assert risk.unset("short", risk.partner, account=ACCOUNT).status_code == 403
    limits = {one["name"]: one["value"] for one in risk.report()["accounts"][0]["limits"]}
    assert limits["short"] == "1"
    assert risk.stored.rows("SELECT 1 FROM audit_log WHERE action = 'limit-changed'") == []


# ---- the report ------------------------------------------------------------------------------------------------------


def test_a_report_is_about_the_callers_accounts_alone(risk: Risk) -> None:
    risk.kill(accounts=[OTHER])
    mine = risk.report()
    assert [one["account"] for one in mine["accounts"]] == [ACCOUNT]
    assert mine["kills"] == []
    assert OTHER not in str(mine)
    assert [one["account"] for one in risk.report(risk.partner)["accounts"]] == [ACCOUNT, OTHER]


def test_a_report_says_what_is_reserved_and_used(risk: Risk) -> None:
    row = working(risk.db, ticket(quantity=10))
    ib_says(risk.db, execution(row, 10))
    working(risk.db, ticket(quantity=4))
    (found,) = risk.report()["accounts"]
    assert found["contracts"] == [{"con_id": STOCK.con_id, "position": "10", "reserved_buy": "4", "reserved_sell": "0"}]
    assert found["reserved"] == "400"
    assert Decimal(found["used"]["gross_exposure"]) >= 400
    assert (found["kind"], found["base_currency"]) == ("simulator", "USD")


def test_a_report_says_why_trading_is_halted_and_since_when(risk: Risk) -> None:
    assert risk.report()["accounts"][0]["trading"]["reason"] is None
    done = risk.kill(reason="prices look wrong")
    trading = risk.report()["accounts"][0]["trading"]
    assert (trading["state"], trading["reason"]) == ("halted", "prices look wrong")
    assert trading["since"] == done["halted"][0]["since"]
    assert [one["account"] for one in trading["rows"]] == ["*"]
    assert [one["id"] for one in risk.report()["kills"]] == [done["kills"][0]["id"]]


def test_an_account_of_real_money_is_halted_until_somebody_resumes_it_by_name(risk: Risk) -> None:
    with risk.db.transaction() as cursor:
        furnish(cursor, "U1234567")
    found = {one["account"]: one["trading"] for one in risk.report(risk.chief)["accounts"]}
    assert found["U1234567"]["state"] == "halted"
    assert "by name" in found["U1234567"]["reason"]


def test_a_report_tells_of_an_order_process_that_fell_silent(risk: Risk) -> None:
    process = risk.report()["order_process"]
    assert (process["state"], process["mode"]) == ("ready", "paper")
    risk.stored.rows("UPDATE order_process SET heartbeat = heartbeat - interval '1 minute'")
    silent = risk.report()["order_process"]
    assert (silent["state"], silent["last_state"]) == ("silent", "ready")
    assert silent["heartbeat_age_s"] >= 60
    assert "said nothing" in silent["reason"]
    risk.stored.rows("DELETE FROM order_process")
    assert risk.report()["order_process"] is None
