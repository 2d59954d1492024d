"""The routes of imports: a file in parts over HTTP, and every way to send a wrong one."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import functions.portfolio.app
from nautilus.portfolio.import_schemas import MAX_PART_BYTES, MAX_PARTS
from nautilus.portfolio.report_rows import MAX_FILE_BYTES
from tests.support.imports import NEW_YORK, bought, moved, pieces, report
from tests.support.order_ledger import ACCOUNT, NOW, ledger
from tests.support.stored_bars import Api, StoredBars

IMPORTS = "/api/v1/portfolio/imports"
BYTES = {"Content-Type": "application/octet-stream"}


class Caller:
    """A user, and the requests of an upload."""

    def __init__(self, api: Api, headers: dict[str, str]) -> None:
        self._api = api
        self._headers = headers

    def send(
        self, method: str, path: str = "", headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        return self._api.request(method, IMPORTS + path, headers={**self._headers, **(headers or {})}, **options)

    def begin(self, raw: bytes, **changes: Any) -> httpx.Response:
        body = {"account": ACCOUNT, "kind": "flex", "name": "january.xml", "size": len(raw), "time_zone": NEW_YORK}
        return self.send("POST", json={**body, "sha256": hashlib.sha256(raw).hexdigest(), **changes})

    def part(self, number: str, n: int, raw: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.send("PUT", f"/{number}/parts/{n}", headers or BYTES, content=raw)

    def uploaded(self, raw: bytes, **changes: Any) -> str:
        number = str(self.begin(raw, **changes).json()["id"])
        for n, part in enumerate(pieces(raw, 1_000), start=1):
            assert self.part(number, n, part).status_code == 200
        return number

    def finish(self, number: str, **query: Any) -> httpx.Response:
        return self.send("POST", f"/{number}/finish", params=query)


@pytest.fixture
def stored(dsn: str) -> Iterator[StoredBars]:
    with ledger(dsn):
        made = StoredBars(dsn, NOW)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def api(stored: StoredBars, tmp_path: Path) -> Api:
    return stored.api(tmp_path, router=functions.portfolio.app.router)


@pytest.fixture
def trader(stored: StoredBars, api: Api) -> Caller:
    return Caller(api, stored.user(7, "orders:read", "orders:write", accounts=[ACCOUNT]))


@pytest.fixture
def reader(stored: StoredBars, api: Api) -> Caller:
    return Caller(api, stored.user(8, "orders:read", accounts=[ACCOUNT]))


@pytest.fixture
def stranger(stored: StoredBars, api: Api) -> Caller:
    return Caller(api, stored.user(9, "orders:read", "orders:write", accounts=["SIM2"]))


def field_of(answer: httpx.Response) -> str:
    return str(answer.json()["errors"][0]["field"])


def test_a_file_comes_in_parts_and_is_written_once(trader: Caller, stored: StoredBars) -> None:
    raw = report([bought(n, 1, seconds=n) for n in range(1, 11)], [moved(1)])
    begun = trader.begin(raw)
    number = begun.json()["id"]
    assert (begun.status_code, begun.headers["location"]) == (201, f"{IMPORTS}/{number}")
    assert (begun.json()["state"], begun.json()["parts"]) == ("uploading", [])
    for n, part in enumerate(pieces(raw, 2_000), start=1):
        answer = trader.part(number, n, part)
        assert answer.json()["parts"][-1] == {"n": n, "size": len(part)}
    assert answer.json()["received"] == len(raw)
    dry = trader.finish(number, dry_run="true")
    assert (dry.status_code, dry.json()["dry_run"], dry.json()["counts"]["new"]) == (200, True, 10)
    assert stored.rows("SELECT count(*) FROM executions") == [(0,)]
    done = trader.finish(number)
    assert (done.status_code, done.json()["state"], done.json()["counts"]["cash_new"]) == (200, "done", 1)
    assert done.headers["cache-control"] == "no-store"
    assert done.json()["position_differences"] == [{"con_id": 1, "expected": "10", "broker": "0"}]
    assert trader.finish(number).json()["counts"] == done.json()["counts"]
    assert stored.rows("SELECT count(*) FROM executions") == [(10,)]


def test_the_same_file_goes_on_and_its_parts_are_named(trader: Caller) -> None:
    raw = report([bought(1, 1)])
    number = trader.begin(raw).json()["id"]
    trader.part(number, 1, raw[:10])
    again = trader.begin(raw)
    assert (again.status_code, again.json()["id"], again.json()["parts"]) == (200, number, [{"n": 1, "size": 10}])


def test_who_reads_sees_imports_and_starts_none(trader: Caller, reader: Caller, stranger: Caller) -> None:
    numbers = [trader.uploaded(report([bought(n, 1)])) for n in (1, 2, 3)]
    trader.finish(numbers[0])
    page = reader.send("GET", params={"limit": 2}).json()
    assert [one["id"] for one in page["imports"]] == numbers[:0:-1]
    rest = reader.send("GET", params={"limit": 2, "after": page["next_after"]}).json()
    assert ([one["state"] for one in rest["imports"]], rest["next_after"]) == (["done"], None)
    assert reader.send("GET", f"/{numbers[0]}").json()["counts"]["new"] == 1
    for answer in (reader.begin(b"x"), reader.part(numbers[1], 1, b"x"), reader.finish(numbers[1])):
        assert (answer.status_code, answer.json()["scope"]) == (403, "orders:write")
    assert stranger.send("GET").json()["imports"] == []
    assert stranger.send("GET", params={"account": ACCOUNT}).status_code == 403
    assert stranger.begin(b"x").json()["code"] == "account-not-allowed"
    for answer in (
        stranger.send("GET", f"/{numbers[1]}"),
        stranger.part(numbers[1], 1, b"x"),
        stranger.finish(numbers[1]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "no-such-import")


def test_a_file_that_cannot_be_read_answers_with_line_and_field(trader: Caller) -> None:
    raw = report([bought(1, 1)]).replace(b"<FlexQueryResponse", b"<!DOCTYPE x><FlexQueryResponse", 1)
    number = trader.uploaded(raw)
    refused = trader.finish(number)
    assert (refused.status_code, refused.json()["code"]) == (422, "import-refused")
    assert "DTD" in refused.json()["detail"]
    assert refused.json()["import"]["problems"][0]["line"] == 2
    assert trader.send("GET", f"/{number}").json()["state"] == "refused"


def test_a_row_that_is_refused_is_told_with_line_field_and_value(trader: Caller) -> None:
    done = trader.finish(trader.uploaded(report([bought(1, 1), bought(2, 1, ibExecID="")]))).json()
    assert (done["counts"]["new"], done["counts"]["refused"]) == (1, 1)
    (problem,) = done["problems"]
    assert (problem["line"], problem["field"], problem["value"]) == (7, "ibExecID", "")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"size": MAX_FILE_BYTES + 1}, "size"),
        ({"size": 0}, "size"),
        ({"size": "5"}, "size"),
        ({"sha256": "x" * 64}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"kind": "xlsx"}, "kind"),
        ({"name": "a\nb"}, "name"),
        ({"name": ""}, "name"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"account": "x" * 33}, "account"),
        ({"more": 1}, "more"),
    ],
)
def test_a_wrong_announcement_names_the_field(trader: Caller, changes: dict[str, Any], field: str) -> None:
    answer = trader.begin(b"x", **changes)
    assert (answer.status_code, field_of(answer)) == (422, field)


def test_an_account_that_no_gateway_named_is_refused(stored: StoredBars, api: Api) -> None:
    answer = Caller(api, stored.user(1, "admin")).begin(b"x", account="U404")
    assert (answer.status_code, field_of(answer)) == (422, "account")


def test_a_part_is_plain_bytes_of_a_certain_size(trader: Caller, dsn: str) -> None:
    raw = b"x" * (MAX_PART_BYTES + 1)
    number = trader.begin(raw).json()["id"]
    for headers in ({"Content-Type": "text/xml"}, {"Content-Type": "application/json"}, {"X-Nothing": "1"}):
        assert trader.part(number, 1, b"x", headers).status_code == 415
    assert trader.part(number, 1, b"x", {**BYTES, "Content-Encoding": "gzip"}).status_code == 415
    assert field_of(trader.part(number, 1, raw)) == "body"
    assert field_of(trader.part(number, 1, b"")) == "body"
    assert trader.part(number, 1, b"x" * 1_100_000).status_code == 413
    for n in (0, MAX_PARTS + 1):
        assert trader.part(number, n, b"x").status_code == 422
    assert trader.send("GET", f"/{number}").json()["parts"] == []
    assert trader.part(number, 1, raw[:-1]).status_code == 200
    assert trader.part(number, 2, raw[-1:]).status_code == 200


def test_a_formula_in_a_name_stays_a_text(trader: Caller) -> None:
    raw = report([bought(1, 1, description="=1+1", symbol="@x")])
    number = trader.uploaded(raw, name='=HYPERLINK("x")')
    done = trader.finish(number).json()
    assert (done["name"], done["counts"]["new"]) == ('=HYPERLINK("x")', 1)
