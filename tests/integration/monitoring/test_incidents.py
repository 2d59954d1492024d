"""Incidents: opened once, closed when they are over, listed by the API."""

import json
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.db.connection import Database
from nautilus.db.monitoring import incidents
from nautilus.db.monitoring.incidents import Changes
from nautilus.db.orders import process
from nautilus.monitoring.incidents import CODES, SEVERITIES, Condition
from tests.support.stack import ServiceStack, service_stack

LOST = Condition("ib-connection-lost", "bridge-1", {"reason": "refused"})
LANGUAGE = Condition("ib-other-language", "bridge-1", {})


@pytest.fixture
def db(dsn: str) -> Iterator[Database]:
    with closing(Database(dsn, name="test-incidents", size=2)) as database:
        yield database


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    with service_stack(
        servers.group, servers.folder, dsn, "--latency", "none", "--start", "2026-03-04T17:30:30Z"
    ) as made:
        made.start_bridge()
        yield made


def logged(stack: ServiceStack, action: str) -> list[str]:
    return [line["code"] for line in stack.log() if line["message"] == action]


def keep(db: Database, keeper: str, *conditions: Condition) -> Changes:
    with db.transaction() as cursor:
        return incidents.keep(cursor, keeper, conditions)


def listed(db: Database, **about: Any) -> list[incidents.Incident]:
    with db.transaction() as cursor:
        return incidents.listed(cursor, **about)


def test_a_condition_is_one_incident_as_long_as_it_holds(db: Database) -> None:
    (opened,) = keep(db, "bridge:1", LOST).opened
    assert (opened.severity, opened.until, opened.detail) == ("critical", None, {"reason": "refused"})
    assert keep(db, "bridge:1", LOST) == Changes([], [])
    assert keep(db, "bridge:1", LOST._replace(detail={"reason": "hangs up"}), LANGUAGE).opened[0].code == LANGUAGE.code
    first = listed(db)[-1]
    assert (first.id, first.since, first.detail) == (opened.id, opened.since, {"reason": "hangs up"})
    (closed,) = keep(db, "bridge:1", LANGUAGE).closed
    assert closed.id == opened.id
    assert closed.until is not None
    assert closed.until >= closed.since
    (again,) = keep(db, "bridge:1", LOST, LANGUAGE).opened
    assert again.id > opened.id
    assert [row.code for row in listed(db, only_open=True)] == [LOST.code, LANGUAGE.code]
    assert [row.id for row in listed(db, code=LOST.code)] == [again.id, opened.id]
    assert [row.id for row in listed(db, code=LOST.code, limit=1, before=again.id)] == [opened.id]


def test_nobody_closes_what_another_one_keeps(db: Database) -> None:
    keep(db, "bridge:1", LOST)
    assert keep(db, "monitoring") == Changes([], [])
    assert keep(db, "monitoring", LOST._replace(detail={"x": 1})) == Changes([], [])
    (row,) = listed(db, only_open=True)
    assert (row.keeper, row.detail) == ("bridge:1", LOST.detail)


def test_open_incidents_are_counted_by_how_bad_they_are(db: Database) -> None:
    keep(db, "bridge:1", LOST, Condition("ib-degraded", "bridge-1", {}))
    keep(db, "bridge:2", LOST._replace(subject="bridge-2"))
    keep(db, "bridge:2")
    with db.transaction() as cursor:
        assert incidents.open_incidents(cursor) == (2, 1)
    assert set(CODES.values()) <= set(SEVERITIES)


def test_a_bridge_keeps_its_incidents_and_who_asks_sees_that_it_is_silent(stack: ServiceStack) -> None:
    def listing(**query: Any) -> list[dict[str, Any]]:
        answer = stack.client.get("/api/v1/incidents", params=query)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["incidents"]
        return found

    assert listing() == []
    text = "Mensaje de error de los servicios de datos de mercado hist\\u00f3ricos:La consulta no devolvi\\u00f3 datos"
    stack.sim.command(json.dumps({"cmd": "reject_next", "kind": "reqHistoricalData", "code": 162, "text": text}))
    stack.backfill(symbol="AAPL", timeframe="5m", start="2025-12-01T00:00:00Z", end="2025-12-02T00:00:00Z")
    stack.wait(lambda: listing(open=True, code="ib-other-language"), "it is opened", 30)
    (row,) = listing(code="ib-other-language")
    assert (row["subject"], row["severity"], row["until"]) == ("bridge-1", "critical", None)
    assert row["since"].endswith("Z")
    assert logged(stack, "incident-opened") == ["ib-other-language", "ib-unknown-code"], "nobody knows its sentence"

    stack.sim.command("drop")
    stack.wait(lambda: not listing(open=True, code="ib-other-language"), "another connection, another language", 30)
    assert listing(code="ib-other-language")[0]["until"] is not None
    assert logged(stack, "incident-closed") == ["ib-other-language"]

    stack.stop_bridge()
    assert not listing(code="bridge-silent"), "it has just said good-bye"
    stack.rows("UPDATE ib_sessions SET heartbeat_at = heartbeat_at - interval '61 s' RETURNING 1")
    (silent,) = listing(code="bridge-silent")
    assert (silent["subject"], silent["until"]) == ("bridge-1", None)
    assert [row["id"] for row in listing(code="bridge-silent")] == [silent["id"]], "asking again opens nothing"
    page = stack.client.get("/api/v1/incidents", params={"limit": 1}).json()
    assert page["next_before"] == silent["id"]
    assert len(listing(before=silent["id"])) == 2
    stack.start_bridge()
    stack.wait(lambda: listing(open=True) == [], "it is heard again", 30)


def test_an_order_process_that_is_gone_is_told_by_whoever_asks(stack: ServiceStack, db: Database) -> None:
    def open_codes() -> list[str]:
        return sorted(
            row["code"] for row in stack.client.get("/api/v1/incidents", params={"open": True}).json()["incidents"]
        )

    def health() -> tuple[str, dict[str, str] | None]:
        answer = stack.client.get("/health").json()
        return answer["status"], answer["checks"].get("orders")

    def older(mode: str = "paper") -> None:
        stack.rows("UPDATE order_process SET heartbeat = heartbeat - interval '61 s', mode = %s RETURNING 1", mode)

    stack.wait(lambda: health() == ("ok", None), "connected, and no order process has ever run", 30)
    with db.transaction() as cursor:
        token = process.take_over(cursor, "test", mode="paper")
    own = Condition("orders-not-ready", "order-process", {"state": "starting"})
    position = Condition("position-break", "DU1:265598", {})
    keep(db, "order-process", own, position)
    assert health() == ("degraded", {"status": "starting", "detail": ""})
    assert open_codes() == ["orders-not-ready", "position-break"]

    older()
    assert open_codes() == ["orders-silent", "position-break"], "nobody knows how it is; the position is still another"
    state, orders = health()
    assert orders is not None
    assert (state, orders["status"]) == ("degraded", "silent")
    older("off")
    assert open_codes() == ["position-break"], "nobody waits for orders"

    with db.transaction() as cursor:
        assert process.report(cursor, token, state="not_ready", reason="orders are switched off")
    assert health() == ("ok", {"status": "off", "detail": "orders are switched off"})
    stack.rows("UPDATE order_process SET mode = 'live', state = 'ready', reason = '' RETURNING 1")
    assert health() == ("ok", {"status": "ok", "detail": ""})


@pytest.mark.parametrize(("name", "value"), [("code", "fire"), ("limit", "0"), ("before", "x"), ("open", "perhaps")])
def test_what_is_wrong_with_the_question_is_named(stack: ServiceStack, name: str, value: str) -> None:
    answer = stack.client.get("/api/v1/incidents", params={name: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == name
