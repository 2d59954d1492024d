"""Every route knows its parameters: another one is refused with the nearest name, as is one that is given twice."""

import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import BaseModel

from nautilus.errors import InvalidInput
from nautilus.http.app import create_app
from nautilus.http.parameters import Known, check, nearest
from nautilus.http.routes import StrictRoute
from tests.support.auth_api import Api, Client, api_of

BARS = "/api/v1/market-data/historical/bars"

# What the existing web front end sends in the address, by route.
FRONT_END: dict[str, tuple[str, ...]] = {
    BARS: ("symbol", "timeframe", "asset_class", "exchange", "currency", "limit"),
    "/api/v1/ib/instruments/search/{query}": ("sec_type", "max_results", "exchange", "currency"),
    "/api/v1/ib/forex-pairs": (),
    "/api/v1/ib/connection/status": (),
    "/api/v1/historical/backfill/status": (),
    "/api/v1/historical/backfill/start": (),
    "/api/v1/historical/backfill/stop": (),
    "/api/v1/auth/login": (),
    "/api/v1/ib/orders": (),
    "/api/v1/ib/orders/place": (),
    "/api/v1/ib/orders/{order_id}/modify": (),
    "/api/v1/ib/orders/{order_id}/cancel": (),
    "/api/v1/ib/orders/refresh": (),
    "/api/v1/ib/positions/refresh": (),
    "/api/v1/ib/account/refresh": (),
}

# What users of other services write, and what it is called here.
MEANT = {
    "start_date": "start",
    "from": "start",
    "to": "end",
    "end_date": "end",
    "interval": "timeframe",
    "time_frame": "timeframe",
    "Symbol": "symbol",
    "sybmol": "symbol",
    "ticker": "symbol",
    "limt": "limit",
    "count": "limit",
    "pageToken": "page_token",
    "cursor": "page_token",
    "use_rth": "session",
    "what_to_show": "price",
    "sec_type": "asset_class",
}


@pytest.fixture(scope="module")
def api(server: Any, template: str) -> Iterator[Api]:
    from tests.conftest import database

    with database(server, template) as dsn, api_of(dsn, search_wait_s=0) as made:  # no bridge would answer
        yield made


@pytest.fixture(scope="module")
def boss(api: Api) -> Client:
    return api.boss()


def operations(api: Api) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, item in api.app.openapi()["paths"].items()
        for method, operation in item.items()
    ]


def filled(path: str) -> str:
    return re.sub(r"\{\w+\}", "1", re.sub(r"\{(job|session)_id\}", "9e107d9d-0000-0000-0000-000000000000", path))


def names_of(operation: dict[str, Any]) -> list[str]:
    return [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]


def test_no_route_takes_a_parameter_that_it_does_not_know(api: Api, boss: Client) -> None:
    for method, path, operation in operations(api):
        answer = boss.request(method, f"{filled(path)}?colour=red")
        if path.startswith("/health"):
            assert answer.json().get("code") != "unknown-parameter"
            continue
        body = answer.json()
        assert (answer.status_code, body["code"]) == (422, "unknown-parameter"), (method, path, body)
        assert body["errors"][0]["field"] == "colour"
        assert body["errors"][0].get("allowed", []) == names_of(operation), path
        assert all(name in body["detail"] for name in names_of(operation))


def test_every_route_knows_the_parameters_of_its_document_and_takes_each_once(api: Api, boss: Client) -> None:
    twice = 0
    for method, path, operation in operations(api):
        for name in names_of(operation):
            once = boss.request(method, f"{filled(path)}?{name}=1")
            is_problem = once.headers["content-type"] == "application/problem+json"
            code = once.json()["code"] if is_problem else ""  # some answers are lists, or tables
            assert code not in ("unknown-parameter", "repeated-parameter"), (path, name, once.text)
            answer = boss.request(method, f"{filled(path)}?{name}=1&{name}=2")
            assert (answer.status_code, answer.json()["code"]) == (422, "repeated-parameter"), (path, name)
            assert answer.json()["errors"][0]["field"] == name
            twice += 1
    assert twice > 40


def test_who_gives_a_symbol_twice_is_told_how_to_ask_for_several(boss: Client) -> None:
    for query in ("symbol=AAPL&symbol=MSFT", "symbols=AAPL&symbols=MSFT", "symbol=AAPL&timeframe=1h&symbol=AAPL"):
        assert "symbols=AAPL,MSFT" in boss.get(f"{BARS}?{query}").json()["detail"]
    assert "fields=ts,close" in boss.get(f"{BARS}?symbol=AAPL&fields=ts&fields=close").json()["detail"]


@pytest.mark.parametrize("text", ["1_0", " 10", "10 ", "+10", "10.0", "1e1", "0x10", "", "ten"])
def test_a_whole_number_is_written_in_digits_alone(boss: Client, text: str) -> None:
    answer = boss.get(BARS, params={"symbol": "AAPL", "limit": text})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["limit"]
    assert "whole number" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize(("given", "meant"), MEANT.items())
def test_the_nearest_name_is_named(boss: Client, given: str, meant: str) -> None:
    body = boss.get(f"{BARS}?symbol=AAPL&{given}=1").json()
    assert body["code"] == "unknown-parameter"
    assert f"did you mean {meant}?" in body["detail"], body["detail"]


def test_what_resembles_nothing_is_answered_with_all_names(boss: Client) -> None:
    detail = boss.get(f"{BARS}?symbol=AAPL&adjustment=split").json()["detail"]
    assert "timeframe" in detail
    assert "page_token" in detail
    assert nearest("zzz", ("symbol", "limit")) is None


def test_long_and_many_names_make_a_short_answer(boss: Client) -> None:
    query = "&".join(f"{'x' * 300}{n}=1" for n in range(60))
    answer = boss.get(f"{BARS}?{query}")
    assert answer.json()["code"] == "unknown-parameter"
    assert len(answer.content) < 20_000


def test_without_credentials_that_is_said_first(api: Api) -> None:
    assert api.client().get(f"{BARS}?colour=red").status_code == 401


def test_routes_of_the_front_end_know_what_it_sends(api: Api) -> None:
    documented = {path: names_of(operation) for _, path, operation in operations(api)}
    for path, sent in FRONT_END.items():
        assert set(sent) <= set(documented[path]), path


class _Model(BaseModel):
    colour: str = ""
    sizes: list[int] | None = None


def _shared(depth: int = 0) -> int:
    return depth


def test_a_new_route_refuses_what_it_does_not_know_by_itself(api: Api) -> None:
    router = APIRouter(route_class=StrictRoute)

    @router.get("/new")
    def new(
        depth: Annotated[int, Depends(_shared)],
        limit: int = 5,
        frame: Annotated[str, Query(alias="timeframe")] = "",
        tags: Annotated[list[str] | None, Query()] = None,
    ) -> int:
        return limit

    @router.get("/model")
    def model(what: Annotated[_Model, Query()]) -> str:
        return what.colour

    app = create_app(router, services=api.services)

    def get(path: str) -> Any:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
                return await client.get(path)

        return asyncio.run(ask()).json()

    assert get("/new?limit=7&timeframe=1m&depth=1&tags=a&tags=b") == 7
    assert get("/new?frame=1m")["code"] == "unknown-parameter"
    assert get("/new?limit=1&limit=1")["code"] == "repeated-parameter"
    assert get("/model?colour=red&sizes=1&sizes=2") == "red"
    assert get("/model?colours=red")["errors"][0]["allowed"] == ["colour", "sizes"]


def test_all_routes_of_the_app_are_of_the_kind_that_checks(api: Api) -> None:
    documented = {path for _, path, _ in operations(api)}
    plain = [route for route in api.app.routes if getattr(route, "path", "") in documented]
    assert [route for route in plain if not isinstance(route, StrictRoute)] == []
    assert isinstance(api.app, FastAPI)


def test_a_check_names_what_it_refuses() -> None:
    known = Known(("symbol", "tags"), frozenset({"tags"}))
    check(known, [("symbol", "A"), ("tags", "a"), ("tags", "b")])
    for given in ([("", "x")], [("symbol", "A"), ("symbol", "A")], [("Tags", "a")]):
        with pytest.raises(InvalidInput):
            check(known, given)
