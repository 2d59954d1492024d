"""Requests that are not quite right are told why in our own words, and no answer leads to a host that the caller chose."""

import gzip
import json
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.support.auth_api import AUTH, Api, Client, api_of, bearer, key
from tests.support.stack import ServiceStack, service_stack

BARS = "/api/v1/market-data/historical/bars"
BACKFILL = "/api/v1/ib/backfill"
START = "/api/v1/historical/backfill/start"
STOP = "/api/v1/historical/backfill/stop"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def api(server: Any, template: str) -> Iterator[Api]:
    from tests.conftest import database

    with database(server, template) as dsn, api_of(dsn) as made:
        yield made


@pytest.fixture(scope="module")
def boss(api: Api) -> Client:
    return api.boss()


@pytest.fixture
def idle(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """An API on a real socket; its bridge never came."""
    with service_stack(servers.group, servers.folder, dsn, settings={"NAUTILUS_SEARCH_WAIT_S": "0.1"}) as made:
        yield made


def problem_of(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    return answer.status_code, problem["code"], problem["detail"]


# ---- which instrument ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?symbol=", "?timeframe=1d", "?instrument_id="])
def test_a_read_that_names_no_instrument_hears_all_ways_to_name_one(boss: Client, query: str) -> None:
    status, code, detail = problem_of(boss.get(BARS + query))
    assert (status, code) == (422, "validation-error")
    assert detail.startswith("symbol: give one of symbol, symbols, instrument_id, con_id (")


@pytest.mark.parametrize("query", ["?symbol=AAPL,MSFT", "?instrument_id=AAPL,MSFT.NASDAQ"])
def test_several_symbols_in_place_of_one_are_refused_with_the_parameter_for_several(boss: Client, query: str) -> None:
    status, code, detail = problem_of(boss.get(BARS + query))
    assert (status, code) == (422, "validation-error")
    assert "a comma stands between several, which some routes take as symbols" in detail


# ---- numbers, flags and times in JSON --------------------------------------------------------------------------------

NOT_NUMBERS = ("true", "false", '"5"', "1.5", "NaN", "Infinity", "1e400", "-1e400", "9" * 5_000, "[5]", "{}", '"x"')
NO_TIMES = (*NOT_NUMBERS, '"1704465000000000000"', '"²000000000000000000"', "1.7e18", "5", '"-5"', '"12345678"')


@pytest.mark.parametrize("route", [BACKFILL, START])
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("start", text) for text in NO_TIMES),
        *(("end", text) for text in NO_TIMES),
        *(("days_back", text) for text in NOT_NUMBERS),
        *(("priority", text) for text in NOT_NUMBERS),
        *(("dry_run", text) for text in ("1", "0", '"true"', '"yes"', "NaN", "1e400", "[]")),
    ],
)
def test_no_number_flag_or_time_is_taken_for_what_it_is_not(
    api: Api, boss: Client, route: str, field: str, wrong: str
) -> None:
    content = f'{{"symbol": "AAPL", "timeframe": "1d", "{field}": {wrong}}}'.encode()
    status, code, detail = problem_of(boss.post(route, content=content, headers=JSON))
    assert (status, code) == (422, "validation-error"), detail
    assert detail.startswith((f"{field}: ", "body: holds ")), detail
    assert "sys.set" not in detail
    assert len(detail) < 400
    assert api.sql("SELECT 1 FROM backfill_jobs") == []


def test_numbers_flags_and_times_are_taken_for_what_they_are(boss: Client) -> None:
    body = {"symbol": "AAPL", "timeframe": "1d", "priority": 5, "dry_run": True}
    for times in (
        {"start": 1704465000000000000},
        {"start": "2024-01-05T14:30:00+01:00", "end": "2024-01-06T14:30:00.5Z"},
        {"days_back": 5},
        {"days_back": 5.0},
    ):
        answer = boss.post(BACKFILL, json=body | times)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("range_", "why"),
    [
        ({"duration": "0 D"}, "from 1 on"),
        ({"duration": "000 Y"}, "from 1 on"),
        ({"end": "1960-01-01T00:00:00Z"}, "before 1970"),
        ({"start": "2199-01-01T00:00:00Z"}, "lies in the future"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_ranges_that_hold_nothing_are_refused_and_not_estimated(
    api: Api, boss: Client, range_: dict[str, str], why: str, dry_run: bool
) -> None:
    answer = boss.post(BACKFILL, json={"symbol": "AAPL", "timeframe": "1d", "dry_run": dry_run, **range_})
    status, _, detail = problem_of(answer)
    assert (status, why in detail) == (422, True), detail
    assert api.sql("SELECT 1 FROM backfill_jobs") == []


@pytest.mark.parametrize("body", [b'{"job_id": null}', b'{"job_id": ""}', b'{"job_id": " "}', b"null", b"[]", b"0"])
def test_who_names_no_job_does_not_stop_every_one(api: Api, boss: Client, body: bytes) -> None:
    status, code, detail = problem_of(boss.post(STOP, content=body, headers=JSON))
    assert (status, code) == (422, "validation-error")
    assert "must be the id of a job" in detail


def test_lengths_of_secrets_are_counted_in_characters(boss: Client) -> None:
    for body, limit in (
        ({"username": "ann", "password": ""}, "at least 1"),
        ({"username": "a" * 999, "password": "x"}, "at most"),
    ):
        detail = problem_of(boss.post(f"{AUTH}/login", json=body))[2]
        assert limit in detail
        assert "characters" in detail
        assert "entries" not in detail


@pytest.mark.parametrize("wrong", [1, 0, "true", "no", 1.0])
def test_a_user_is_not_disabled_by_what_is_no_flag(boss: Client, wrong: Any) -> None:
    status, code, detail = problem_of(boss.patch(f"{AUTH}/users/2", json={"is_active": wrong}))
    assert (status, code) == (422, "validation-error")
    assert "true or false" in detail


def test_numbers_in_an_address_that_nobody_can_mean_are_refused(boss: Client) -> None:
    long = "9" * 5_000
    job = "9e107d9d-0000-0000-0000-000000000000"
    for path in (
        f"{BARS}?symbol=AAPL&limit={long}",
        *(f"{BARS}?symbol=AAPL&wait={text}" for text in (long, "nan", "inf", "1e400", "true")),
        *(f"{BARS}?symbol=AAPL&{name}={text}" for name in ("start", "end") for text in (long, "-" + long, "²" * 19)),
        f"{BARS}?symbol=AAPL&start={'1' * 19}{'٣'}",
        f"/api/v1/market-data/historical/explain?symbol=AAPL&ts={long}",
        f"/api/v1/market-data/instruments?after={long}",
        f"/api/v1/market-data/instruments?after={2**63}",
        f"/api/v1/historical/backfill/{job}/chunks?after={long}",
        f"/api/v1/historical/backfill/{job}/chunks?after={2**63}",
        f"/api/v1/historical/backfill/{job}/chunks?limit={long}",
    ):
        status, code, detail = problem_of(boss.get(path))
        assert (status, code) == (422, "validation-error"), (path[:80], detail)
        assert len(detail) < 400, path[:80]
        assert "sys." not in detail
        assert "parse" not in detail
    for method, path in (("DELETE", f"{AUTH}/api-keys/"), ("PATCH", f"{AUTH}/users/")):
        for number in (long, 2**63, 2**31):
            answer = boss.request(method, f"{path}{number}", json={})
            assert answer.status_code in (404, 422), (method, number, answer.text[:200])


@pytest.mark.parametrize("name", ["start", "end", "ts"])
@pytest.mark.parametrize("moment", ["2026-01-05T10:00:00+01:00", "2026-01-05T10:00:00.123+0100"])
def test_a_plus_that_became_a_blank_is_explained(boss: Client, name: str, moment: str) -> None:
    path = BARS if name != "ts" else "/api/v1/market-data/historical/explain"
    status, _, detail = problem_of(boss.get(f"{path}?symbol=AAPL&{name}={moment}"))
    assert status == 422
    assert "%2B" in detail
    if moment.endswith(":00"):
        later = boss.get(f"{path}?symbol=AAPL&{name}={moment.replace('+', '%2B')}")
        assert later.status_code == 503, later.text  # the time was understood; nobody can look AAPL up here


# ---- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "application", "json"])
def test_json_that_does_not_say_so_is_refused_by_naming_the_header(api: Api, boss: Client, kind: str | None) -> None:
    content = json.dumps({"username": "ann", "password": "x", "symbol": "AAPL"}).encode()
    headers = {} if kind is None else {"content-type": kind}
    for path in (BACKFILL, START, STOP, f"{AUTH}/login", f"{AUTH}/refresh", f"{AUTH}/users", f"{AUTH}/api-keys"):
        status, code, detail = problem_of(boss.post(path, content=content, headers=headers))
        assert (status, code) == (415, "unsupported-media-type"), path
        assert "Content-Type: application/json" in detail
        assert kind is None or kind in detail


def test_no_body_needs_no_header(boss: Client) -> None:
    assert problem_of(boss.post(f"{AUTH}/refresh"))[:2] == (401, "unauthorized")
    assert boss.post(STOP).status_code == 200
    assert boss.post(STOP, content=b" ").status_code == 200
    assert boss.post(STOP, content=b"{}", headers=JSON).status_code == 200
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json", "Application/JSON"):
        answer = boss.post(BACKFILL, content=b'{"symbol": ""}', headers={"content-type": kind})
        assert answer.status_code == 422, kind


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "GZIP", "gzip, gzip", "zstd"])
def test_packed_bodies_are_refused_as_such(boss: Client, coding: str) -> None:
    content = gzip.compress(b'{"symbol": "AAPL"}')
    for path in (BACKFILL, START, STOP, f"{AUTH}/login"):
        status, code, detail = problem_of(
            boss.post(path, content=content, headers={**JSON, "content-encoding": coding})
        )
        assert (status, code) == (415, "unsupported-content-encoding")
        assert "Content-Encoding" in detail
    plain = boss.post(BACKFILL, content=b'{"symbol": ""}', headers={**JSON, "content-encoding": "identity"})
    assert plain.status_code == 422


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"symbol": "AAPL", "symbol": "MSFT"}', "'symbol' more than once"),
        (b"{symbol: AAPL}", "line 1, column 2"),
        (b'{"symbol": "AAPL",}', "is not JSON"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b'{"symbol": "\xff"}', "UTF-8"),
        (gzip.compress(b"{}", mtime=0), "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"priority": ' + b"9" * 5_000 + b"}", "5000 digits"),
        (b'{"priority": NaN}', "NaN"),
        (b"[]", "must be a JSON object"),
        (b'"AAPL"', "must be a JSON object"),
        (b"7", "must be a JSON object"),
    ],
)
@pytest.mark.parametrize("path", [BACKFILL, START, STOP])
def test_what_is_wrong_with_a_body_is_said(boss: Client, path: str, content: bytes, why: str) -> None:
    status, code, detail = problem_of(boss.post(path, content=content, headers=JSON))
    assert (status, code) == (422, "validation-error")
    assert why in detail or (path == STOP and "in a JSON object" in detail), detail
    assert len(detail) < 400


# ---- credentials in the wrong place ----------------------------------------------------------------------------------


def test_a_credential_in_the_other_ones_header_is_told_where_it_belongs(api: Api) -> None:
    client = api.signed_in()
    text = api.new_key(client)["api_key"]
    token = client.tokens["access_token"]
    stranger = api.client()
    status, code, detail = problem_of(stranger.get(BARS, headers=bearer(text)))
    assert (status, code) == (401, "invalid-token")
    assert "X-API-Key" in detail
    assert text not in detail
    for wrong in (token, f"Bearer {token}", f"Bearer {text}"):
        status, code, detail = problem_of(stranger.get(BARS, headers=key(wrong)))
        assert (status, code) == (401, "invalid-api-key")
        assert "Authorization: Bearer" in detail
    assert stranger.get(f"{AUTH}/me", headers=key(text)).status_code == 200
    assert stranger.get(f"{AUTH}/me", headers=key(text) | {"authorization": "Bearer null"}).status_code == 200


@pytest.mark.parametrize(
    "written", ["{}", "Token {}", "ApiKey {}", 'Bearer "{}"', "Bearer\t{}", "bearer  {}", "Basic {}"]
)
def test_an_api_key_in_the_other_header_is_known_in_any_words(api: Api, written: str) -> None:
    text = api.new_key(api.signed_in())["api_key"]
    status, code, detail = problem_of(api.client().get(BARS, headers={"authorization": written.format(text)}))
    assert (status, code) == (401, "invalid-token")
    assert "X-API-Key" in detail
    assert "API key, sent as an access token" in detail
    assert text not in detail


@pytest.mark.parametrize("written", ['"{}"', "ApiKey {}", "key={}", "X-API-Key: {}", "'{}'"])
def test_more_than_the_key_in_its_own_header_is_told(api: Api, written: str) -> None:
    text = api.new_key(api.signed_in())["api_key"]
    status, code, detail = problem_of(api.client().get(BARS, headers=key(written.format(text))))
    assert (status, code) == (401, "invalid-api-key")
    assert "send the key alone" in detail
    assert text not in detail


# ---- paths and methods -----------------------------------------------------------------------------------------------


def paths(api: Api) -> Iterator[tuple[str, str]]:
    for path, item in api.app.openapi()["paths"].items():
        for method in item:
            yield method.upper(), path.replace("{job_id}", "x").replace("{session_id}", "x").replace("{key_id}", "1")


def test_a_slash_at_the_end_is_no_redirect(api: Api, boss: Client) -> None:
    both = {path.rstrip("/") for _, path in paths(api) if path.endswith("/")}  # the old front end calls these
    for method, path in paths(api):
        if "{" in path or path.rstrip("/") in both:
            continue
        for host in ("testserver", "evil.example"):
            answer = boss.request(method, path + "/", headers={"host": host})
            assert "location" not in answer.headers, path
            foreign = host != "testserver" and method != "GET"
            assert answer.status_code in ((403,) if foreign else (404, 405, 422)), (path, answer.status_code)
        if answer.status_code == 404:
            assert f"{path} does: leave out the slash" in answer.json()["detail"]
            assert "evil" not in answer.text


def test_the_next_page_is_named_without_the_callers_host(idle: ServiceStack) -> None:
    answer = idle.client.get("/api/v1/nothing/", headers={"host": "evil.example"})
    assert problem_of(answer) == (404, "no-such-route", "GET /api/v1/nothing/ does not exist")


def test_allow_lists_every_method_of_the_path(api: Api, boss: Client) -> None:
    for path, allowed in (
        (f"{AUTH}/users", "GET, HEAD, POST"),
        (f"{AUTH}/api-keys", "GET, HEAD, POST"),
        (f"{AUTH}/users/1", "PATCH"),
        (BARS, "GET, HEAD"),
        (BACKFILL, "POST"),
        (STOP, "GET, HEAD, POST"),  # GET by {job_id}
    ):
        answer = boss.request("PUT", path)
        assert problem_of(answer)[:2] == (405, "method-not-allowed")
        assert answer.headers["allow"] == allowed, path
        assert allowed in answer.json()["detail"]


def test_head_answers_as_get_does_without_a_body(api: Api, boss: Client) -> None:
    for method, path in paths(api):
        if method == "GET" and "{" not in path:
            head, get = boss.request("HEAD", path), boss.get(path)
            assert (head.status_code, head.content) == (get.status_code, b""), path
            assert head.headers["content-type"] == get.headers["content-type"]
            assert head.headers["x-request-id"]
    assert boss.request("HEAD", BACKFILL).status_code == 405
    assert boss.request("HEAD", "/nothing").status_code == 404


def test_head_over_a_socket_leaves_the_connection_usable(idle: ServiceStack) -> None:
    head = idle.client.head("/api/v1/ib/session")
    get = idle.client.get("/api/v1/ib/session")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert idle.client.head(BARS, params={"symbol": "AAPL"}).status_code == 503


def test_the_root_leads_to_the_page(api: Api) -> None:
    answer = api.client().get("/", headers={"host": "evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    assert api.client().get("/docs").status_code == 200


# ---- the Host of anonymous callers -----------------------------------------------------------------------------------

HOME = ("localhost", "localhost:8001", "LOCALHOST:8001", "127.0.0.1:8001", "127.8.9.1", "[::1]", "[::1]:8001")
ABROAD = (
    *(
        "",
        "localhost:abc",
        "localhost:99999",
        "[::1",
        "::1",
        "localhost/x",
        "localhost?x",
        "localhost#x",
        "localhost\\x",
    ),
    *(
        "localhost:80@evil.example",
        "user@localhost",
        "localhost, evil.example",
        "evil.example",
        "localhost.evil.example",
    ),
    *("127.0.0.1.evil.example", "127.1", "0x7f.0.0.1", "2130706433", "[::ffff:10.0.0.1]", "0.0.0.0", "local host"),
    *("http://localhost", "localhost:", "localhost:-1", "localhost%00", "%6cocalhost", "localhost..", "[localhost]"),
    *("[127.0.0.1", "localhost]", "[::1]x", "::1]:80", "127.0.0.1:8001:8001"),
)


@pytest.fixture(scope="module")
def open_api(server: Any, template: str) -> Iterator[Api]:
    from tests.conftest import database

    with database(server, template) as dsn, api_of(dsn, anonymous_scopes=("bars:read", "monitoring:read")) as made:
        yield made


@pytest.mark.parametrize("host", HOME)
def test_on_this_machine_a_caller_may_be_anonymous(open_api: Api, host: str) -> None:
    assert open_api.client("127.0.0.1").get("/api/v1/ib/session", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ABROAD)
def test_by_a_host_that_cannot_be_parsed_nobody_is_anonymous(open_api: Api, host: str) -> None:
    answer = open_api.client("127.0.0.1").get("/api/v1/ib/session", headers={"host": host})
    assert answer.status_code == 401, (host, answer.text)


def test_two_hosts_or_none_are_no_host(servers: SimpleNamespace, dsn: str) -> None:
    limits = {"NAUTILUS_ENV": "dev", "NAUTILUS_ANONYMOUS_SCOPES": "monitoring:read"}
    with service_stack(servers.group, servers.folder, dsn, settings=limits) as made:
        for lines, status in (
            (("Host: localhost",), b"200"),
            (("Host: localhost:x",), b"401"),
            (("Host: [::1",), b"401"),
            (("Host: localhost/",), b"401"),
            (("Host: localhost", "Host: evil.example"), b"400 401"),
        ):
            url = made.client.base_url
            with socket.create_connection((url.host, url.port or 80), 10) as wire:
                wire.sendall(
                    "\r\n".join(("GET /api/v1/ib/session HTTP/1.1", *lines, "Connection: close", "", "")).encode()
                )
                answer = wire.makefile("rb").readline()
            assert answer.split()[1] in status.split(), (lines, answer)
        with socket.create_connection((url.host, url.port or 80), 10) as wire:
            wire.sendall(b"GET /api/v1/ib/session HTTP/1.0\r\n\r\n")
            assert wire.makefile("rb").readline().split()[1] == b"401"
