"""Incidents of orders end by what IB shows, or by a person who has looked."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

import functions.monitoring.app
from nautilus.db.monitoring import incidents
from nautilus.monitoring.incidents import CLOSED_BY_A_PERSON, CODES, Condition
from nautilus.orders.applying import KEEPER
from tests.support.order_ledger import NOW, execution, furnish, ib_says, number_of, open_order, status, working
from tests.support.stored_bars import Api, StoredBars


class Desk:
    def __init__(self, stored: StoredBars, folder: Path) -> None:
        self.stored = stored
        self.db = stored.db
        self.api: Api = stored.api(folder, router=functions.monitoring.app.router)
        self.chief = stored.user(1, "admin")
        self.trader = stored.user(7, "orders:read", "orders:write", "monitoring:read", accounts=["*"])

    def tell(self, code: str, subject: str = "x", keeper: str = KEEPER) -> int:
        with self.db.transaction() as cursor:
            (row,) = incidents.tell(cursor, keeper, [Condition(code, subject, {"text": "a test"})])
        return row.id

    def close(self, number: int, note: str = "seen", headers: dict[str, str] | None = None) -> httpx.Response:
        path = f"/api/v1/incidents/{number}/close"
        return self.api.request("POST", path, json={"note": note}, headers=headers or self.chief)

    def open(self) -> set[str]:
        rows = self.api.get("/api/v1/incidents", params={"open": "true"}, headers=self.chief).json()["incidents"]
        return {str(row["code"]) for row in rows}


@pytest.fixture
def desk(dsn: str, tmp_path: Path) -> Iterator[Desk]:
    stored = StoredBars(dsn, NOW)
    with stored.db.transaction() as cursor:
        furnish(cursor)
    yield Desk(stored, tmp_path)
    stored.close()


# ---- by a person -----------------------------------------------------------------------------------------------------


def test_an_administrator_ends_what_happened_once_and_it_is_audited(desk: Desk) -> None:
    number = desk.tell("order-late-fill")
    done = desk.close(number, " the position is right ")
    assert done.status_code == 200, done.text
    assert done.json()["until"] is not None
    assert done.json()["detail"] == {"text": "a test", "closed_by": "user:1", "note": "the position is right"}
    assert desk.open() == set()
    again = desk.close(number)
    assert (again.status_code, again.json()["code"]) == (409, "incident-over")
    (row,) = desk.stored.rows("SELECT actor, subject, detail FROM audit_log WHERE action = 'incident-closed'")
    assert (row.actor, row.subject, row.detail["code"]) == ("user:1", f"incident:{number}", "order-late-fill")
    assert desk.tell("order-late-fill") != number, "the next one is another incident"


@pytest.mark.parametrize("code", ["order-unknown", "position-break", "orders-not-ready", "bridge-silent"])
def test_nobody_ends_what_lasts(desk: Desk, code: str) -> None:
    answer = desk.close(desk.tell(code))
    assert (answer.status_code, answer.json()["code"]) == (409, "incident-lasts")
    assert code in desk.open()


def test_who_is_no_administrator_ends_none_and_one_that_is_not_there_is_named(desk: Desk) -> None:
    number = desk.tell("order-twin")
    assert desk.close(number, headers=desk.trader).json()["code"] == "missing-scope"
    assert desk.close(number + 1).json()["code"] == "incident-not-found"
    for note in ("", "   "):
        assert desk.close(number, note).json()["errors"][0]["field"] == "note"
    assert desk.open() == {"order-twin"}


def test_every_code_that_words_of_orders_open_has_an_end() -> None:
    assert set(CODES) >= CLOSED_BY_A_PERSON
    from nautilus.orders.codes import CODES as BROKER_CODES
    from nautilus.orders.codes import TEXTS, UNMAPPED, UNMAPPED_NOTICE
    from nautilus.orders.states import MOVES

    rules = [*BROKER_CODES.values(), *(rule for _, rule in TEXTS.values()), UNMAPPED, UNMAPPED_NOTICE]
    opened = {rule.incident for rule in rules} | {move.incident for move in MOVES} | {"order-twin", "order-modify-late"}
    assert (
        opened - {"", "order-unknown"}
        | {"order-word-unmatched", "order-exits", "strategy-run-ended", "strategy-rights-lost"}
        == CLOSED_BY_A_PERSON
    )


# ---- by what IB shows ------------------------------------------------------------------------------------------------


def test_a_ghost_is_over_when_ib_shows_that_the_order_is(desk: Desk) -> None:
    row = working(desk.db)
    ib_says(desk.db, status(row, "Cancelled", number_of(row)))
    ib_says(desk.db, execution(row, 1))
    assert desk.open() == {"order-late-fill"}
    desk.tell("order-ghost", str(row.id))
    ghost = working(desk.db)
    desk.tell("order-ghost", str(ghost.id))
    ib_says(desk.db, status(ghost, "Cancelled", number_of(ghost)))
    still = desk.stored.rows("SELECT subject FROM incidents WHERE code = 'order-ghost' AND until IS NULL")
    assert [each.subject for each in still] == [str(row.id)]


def test_a_click_that_was_waited_for_is_over_when_ib_has_the_order(desk: Desk) -> None:
    from tests.support.order_ledger import placed, sent

    row = sent(desk.db, placed(desk.db).orders[0].id)
    desk.tell("order-waits-for-click", str(row.id))
    desk.tell("orders-not-allowed", "another order")
    ib_says(desk.db, replace(open_order(row, "Submitted", number_of(row)), quantity=Decimal(1)))
    assert desk.open() == set()
