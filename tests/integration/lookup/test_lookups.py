"""Tickers that change hands: old answers are answered from, renewed beside the reads, and no contract takes over in silence."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from nautilus.clock import parse_rfc3339
from nautilus.db.bridge import commands
from nautilus.db.connection import Database
from nautilus.db.market import instruments
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import select
from tests.integration.reading.test_bars import CALENDAR, NOW, minutes
from tests.support.stack import ServiceStack, service_stack
from tests.support.stored_bars import BARS, Api, StoredBars, stock

MONDAY = "2024-01-08"
ROOT = "/api/v1/market-data"
OLD = "UPDATE instrument_lookups SET checked_at = checked_at - interval '8 days'"


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path)


def remember(stored_bars: StoredBars, key: str, *con_ids: int, **more: Any) -> Any:
    with stored_bars.db.transaction() as cursor:
        return instruments.remember(cursor, key, con_ids, keep_s=3600, **more)


def look_up(stored_bars: StoredBars, **words: Any) -> Any:
    with stored_bars.db.transaction() as cursor:
        return instruments.look_up(cursor, select(**words))


def due(stored_bars: StoredBars) -> list[str]:
    with stored_bars.db.transaction() as cursor:
        return instruments.due(cursor, 10)


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_another_contract_for_the_same_words_is_kept_beside_the_one_before(stored_bars: StoredBars) -> None:
    for number in (1, 2):
        stored_bars.instrument(stock(number), CALENDAR)
    key = select(symbol="AAPL").key
    assert remember(stored_bars, key, 1) == instruments.Renewal((2,), (1,))
    assert remember(stored_bars, key, 1) is None, "asked again, the same"
    found = look_up(stored_bars, symbol="AAPL")
    assert ([i.con_id for i in found.candidates], [i.con_id for i in found.former]) == ([1], [2])
    assert found.changed_at is not None


def test_words_that_ib_no_longer_knows_keep_their_contract(stored_bars: StoredBars, api: Api) -> None:
    stored_bars.instrument(stock(1), CALENDAR)
    assert remember(stored_bars, select(symbol="AAPL").key, ib_code=200, ib_text="No security definition") is None
    body = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m"}).json()
    assert body["instrument"]["con_id"] == 1
    assert body["instrument"]["upstream"]["code"] == 200


def test_old_answers_are_due_and_the_front_month_after_an_hour(stored_bars: StoredBars) -> None:
    front = future(5, "20240315")
    stored_bars.instrument(stock(1), CALENDAR)
    stored_bars.instrument(front, CALENDAR, "all")
    remember(stored_bars, "conId=1", 1)
    assert due(stored_bars) == []
    stored_bars.rows("UPDATE instrument_lookups SET checked_at = checked_at - interval '2 hours'")
    assert set(due(stored_bars)) == {"FUT|ES|USD|front", "FUT|ES||front"}
    stored_bars.rows(OLD)
    assert set(due(stored_bars)) == {"STK|AAPL|USD|front", "STK|AAPL||front", "FUT|ES|USD|front", "FUT|ES||front"}


def future(con_id: int, expiry: str) -> Instrument:
    return stock(con_id, "ES", "FUT:CME:ES")._replace(
        instrument_id="ESH4.CME",
        asset_class="FUT",
        exchange="CME",
        primary_exchange="",
        local_symbol="ESH4",
        trading_class="ES",
        expiry=expiry,
    )


def test_a_front_month_is_answered_from_until_it_is_over(stored_bars: StoredBars, api: Api) -> None:
    stored_bars.instrument(future(5, "20240315"), CALENDAR, "all")
    stored_bars.rows(OLD)
    stored_bars.rows("UPDATE instrument_lookups SET expires_at = clock_timestamp() - interval '1 day'")
    query = {"symbol": "ES", "asset_class": "FUT", "timeframe": "1m"}
    assert api.get(BARS, params=query).json()["instrument_id"] == "ESH4.CME"
    stored_bars.set_time(parse_rfc3339("2024-03-16T12:00:00Z"))
    answer = api.get(BARS, params=query)
    assert (answer.status_code, answer.json()["code"]) == (503, "instrument-not-resolved")


# ---- what a reader is told -------------------------------------------------------------------------------------------


def test_an_old_answer_is_answered_from_at_once_and_tells_its_age(stored_bars: StoredBars, api: Api) -> None:
    one = stored_bars.instrument(stock(1), CALENDAR)
    stored_bars.record(one, "1m", minutes(MONDAY))
    query = {"symbol": "AAPL", "timeframe": "1m", "start": f"{MONDAY}T00:00:00Z", "end": f"{MONDAY}T23:00:00Z"}
    fresh = api.get(BARS, params=query)
    stored_bars.rows(OLD)
    old = api.get(BARS, params=query)
    assert old.json()["candles"] == fresh.json()["candles"] != []
    assert old.json()["instrument"]["con_id"] == 1
    assert old.json()["instrument"]["checked_at"] < fresh.json()["instrument"]["checked_at"]
    assert old.headers.get("etag") != fresh.headers.get("etag") or old.headers.get("etag") is None
    assert stored_bars.rows("SELECT count(*) FROM bridge_commands")[0][0] == 0, "nobody waits for a renewal"


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_ticker_that_changed_hands_says_so_and_series_stay(stored_bars: StoredBars, api: Api, form: str) -> None:
    first = stored_bars.instrument(stock(1), CALENDAR)
    stored_bars.record(first, "1m", minutes(MONDAY))
    second = stored_bars.instrument(stock(2)._replace(instrument_id="AAPL.NYSE", primary_exchange="NYSE"), CALENDAR)
    assert second.con_id == 2
    window = {"timeframe": "1m", "start": f"{MONDAY}T00:00:00Z", "end": f"{MONDAY}T23:00:00Z", "format": form}
    answer = api.get(BARS, params={"symbol": "AAPL", **window})
    if form == "csv":
        assert '"from_con_id":1,' in answer.headers["X-Instrument-Changed"]
        assert '"to_con_id":2,' in answer.headers["X-Instrument-Changed"]
        return
    body = answer.json()
    assert body["instrument"]["con_id"] == 2
    assert (body["instrument_changed"]["from_con_id"], body["instrument_changed"]["to_con_id"]) == (1, 2)
    assert body["candles"] == []
    mine = api.get(BARS, params={"con_id": 1, **window}).json()
    assert len(mine["candles"]) == 390
    assert "instrument_changed" not in mine
    by_name = api.get(BARS, params={"instrument_id": "AAPL.NASDAQ", **window}).json()
    assert by_name["instrument"]["con_id"] == 1, "the name is still that of the first"
    for path in ("historical/coverage", "historical/explain"):
        more = {"ts": f"{MONDAY}T15:00:00Z"} if path.endswith("explain") else {}
        report = api.get(f"{ROOT}/{path}", params={"symbol": "AAPL", "timeframe": "1m", **more}).json()
        assert report["instrument_changed"]["to_con_id"] == 2


def test_a_name_that_two_contracts_share_is_ambiguous_and_a_number_chooses(stored_bars: StoredBars, api: Api) -> None:
    for number in (1, 2):
        stored_bars.instrument(stock(number), CALENDAR)
    for path, query in (
        (BARS, {"instrument_id": "AAPL.NASDAQ"}),
        (f"{ROOT}/historical/coverage", {"instrument_id": "AAPL.NASDAQ"}),
        (f"{ROOT}/calendar", {"instrument_id": "aapl.island"}),
        (f"{ROOT}/instruments/AAPL.NASDAQ", {}),
    ):
        answer = api.get(path, params=query)
        assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous-instrument"), path
        assert [one["con_id"] for one in answer.json()["candidates"]] == [1, 2]
        assert "name one by con_id:" in answer.json()["detail"], "they share the other name"
    for number in (1, 2):
        assert api.get(BARS, params={"con_id": number}).json()["instrument"]["con_id"] == number
    twice = api.get(BARS, params={"con_id": 1, "symbol": "AAPL"})
    assert twice.status_code == 422
    with stored_bars.db.transaction() as cursor, pytest.raises(Exception, match="several instruments"):
        instruments.by_name(cursor, "AAPL.NASDAQ")


# ---- many at once ----------------------------------------------------------------------------------------------------


def transactions(stored_bars: StoredBars, *databases: Database) -> int:
    """How many transactions were committed in this database. A server process writes its count down when it ends, so the
    idle connections of these pools are closed first."""
    for each in (stored_bars.db, *databases):
        each.close()
    with closing(psycopg2.connect(stored_bars.dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        others = "datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        while True:
            cursor.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {others}")
            if cursor.fetchone()[0] == 0:
                break
        cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_a_read_of_a_hundred_unknown_symbols_costs_few_commands_and_transactions(
    stored_bars: StoredBars, tmp_path: Path
) -> None:
    stored_bars.instrument(stock(1), CALENDAR)
    api = stored_bars.api(tmp_path, search_wait_s=3)
    names = ["AAPL", *(f"NEW{n}" for n in range(99))]
    before = transactions(stored_bars, api.services.db)
    body = api.get(BARS, params={"symbols": ",".join(names), "timeframe": "1m"}).json()["results"]
    spent = transactions(stored_bars, api.services.db) - before
    assert spent < 120, "2,598 when each symbol had a command and a watch of its own"
    assert [one["symbol"] for one in body] == names
    assert "error" not in body[0]
    codes = Counter(one["error"]["code"] for one in body[1:])
    assert codes == {"instrument-not-resolved": 50, "too-many-unknown-symbols": 49}
    assert stored_bars.rows("SELECT count(*) FROM bridge_commands")[0][0] == 5
    assert sum(len(row.args["selectors"]) for row in stored_bars.rows("SELECT args FROM bridge_commands")) == 50


def test_a_reader_with_too_many_open_lookups_is_told_and_others_are_not_held_up(
    stored_bars: StoredBars, tmp_path: Path
) -> None:
    api = stored_bars.api(tmp_path, search_wait_s=0.05)
    answers = [
        api.get(BARS, params={"symbol": f"NEW{n}", "timeframe": "1m"}, headers=stored_bars.user(1, "bars:read"))
        for n in range(21)
    ]
    assert [answer.status_code for answer in answers] == [503] * 20 + [429]
    assert answers[-1].json()["code"] == "too-many-lookups"
    assert int(answers[-1].headers["Retry-After"]) > 0
    other = api.get(BARS, params={"symbol": "NEW99", "timeframe": "1m"}, headers=stored_bars.user(2, "bars:read"))
    assert other.status_code == 503
    body = api.get(
        BARS, params={"symbols": "NEW50,NEW51", "timeframe": "1m"}, headers=stored_bars.user(1, "bars:read")
    ).json()
    assert {one["error"]["code"] for one in body["results"]} == {"too-many-lookups"}


def test_what_a_read_has_to_post_names_the_contract_that_it_read(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))
    for number in (1, 2):
        stored_bars.instrument(stock(number), CALENDAR)
    window = {"timeframe": "1m", "start": f"{MONDAY}T00:00:00Z", "end": f"{MONDAY}T23:00:00Z"}
    for words, number in (({"con_id": "1"}, 1), ({"symbol": "AAPL"}, 2)):
        body = api.get(BARS, params={**words, **window}).json()
        assert body["instrument"]["con_id"] == number
        assert body["backfill"]["body"]["con_id"] == number


# ---- with a bridge ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    options = ("--latency", "none", "--clock", "stepped", "--start", "2026-03-06T20:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *options) as made:
        yield made


def first_owner(stack: ServiceStack, symbol: str) -> None:
    """The words of a symbol led to another contract, eight days ago."""
    with stack.db.transaction() as cursor:
        instruments.store(cursor, stock(7, symbol), {})
        instruments.remember(cursor, select(symbol=symbol).key, [7], keep_s=None)
        cursor.execute(OLD)


def test_an_old_lookup_is_renewed_beside_the_reads_and_the_change_is_told(stack: ServiceStack) -> None:
    first_owner(stack, "AAPL")
    query = {"symbol": "AAPL", "timeframe": "1d", "wait": 0}
    assert stack.bars(**query)["instrument"]["con_id"] == 7, "IB is away: it is answered from"
    stack.start_bridge()
    stack.wait(lambda: "instrument_changed" in stack.bars(**query), "the change is told")
    body = stack.bars(**query)
    assert body["instrument_changed"]["from_con_id"] == 7
    assert body["instrument_changed"]["to_con_id"] == body["instrument"]["con_id"] != 7
    lines = [line for line in stack.log() if line["message"] == "instrument-changed"]
    assert lines[0]["instrument_changed"] == {"from_con_ids": [7], "to_con_ids": [body["instrument"]["con_id"]]}
    job = stack.job(stack.backfill(symbol="AAPL", timeframe="1d", days_back=10))
    assert job["items"][0]["instrument_changed"]["from_con_id"] == 7
    assert stack.rows("SELECT count(*) FROM instruments WHERE con_id = 7")[0][0] == 1


def test_force_asks_ib_again_once_a_day_what_the_words_mean(stack: ServiceStack) -> None:
    stack.start_bridge()
    body = {"symbol": "AAPL", "timeframe": "1d", "days_back": 10, "mode": "force"}

    def requests() -> int:
        identity = f"details|{select(symbol='AAPL').key}"
        return int(stack.rows("SELECT count(*) FROM ib_requests WHERE identity = %s", identity)[0][0])

    stack.finished(stack.backfill(**body))
    stack.finished(stack.backfill(**body))
    assert requests() == 1
    stack.rows("UPDATE instrument_lookups SET checked_at = checked_at - interval '1 day' RETURNING 1")
    job = stack.finished(stack.backfill(**body))
    assert requests() == 2
    assert "instrument_changed" not in job["items"][0]
    stack.finished(stack.backfill(**{**body, "mode": "missing", "days_back": 20}))
    assert requests() == 2


@pytest.fixture
def running(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """Market time runs, as IB's limit of messages per second goes by it."""
    with service_stack(servers.group, servers.folder, dsn, "--latency", "none") as made:
        yield made


def test_many_unknown_symbols_are_looked_up_together_and_each_tells_what_became_of_it(running: ServiceStack) -> None:
    stack = running
    stack.start_bridge()
    names = [*(f"MANY{n:02}" for n in range(1, 41)), *(f"NONE{n}" for n in range(30))]
    results: list[dict[str, Any]] = []

    def looked_up() -> bool:
        results[:] = stack.bars(symbols=",".join(names), timeframe="1d", wait=0, limit=1)["results"]
        codes = {one["error"]["code"] for one in results if "error" in one}
        return codes == {"unknown-instrument"}

    stack.wait(looked_up, "all are known or unknown", 60, lambda: Counter(str(one.get("error")) for one in results))
    assert ["error" in one for one in results] == [False] * 40 + [True] * 30
    requested = stack.rows("SELECT identity, count(*) AS n FROM ib_requests WHERE kind = 'details' GROUP BY identity")
    assert {row.n for row in requested} == {1}, "nothing was asked twice"
    assert len(requested) == 70


def test_a_search_holds_no_lookup_up(stack: ServiceStack) -> None:
    stack.start_bridge()
    with stack.db.transaction() as cursor:
        for n in range(6):  # IB takes one a second
            commands.request(cursor, "search", {"pattern": f"Q{n}"}, by="x", correlation_id="", expires_s=60)
    assert stack.bars(symbol="MSFT", timeframe="1d", wait=0)["instrument"]["con_id"]
    open_ = stack.rows("SELECT count(*) FROM bridge_commands WHERE type = 'search' AND state IN ('queued', 'running')")
    assert open_[0][0] > 0, "the lookup did not wait for the searches before it"


# ---- what a 404 suggests, and what a search returns ------------------------------------------------------------------


def test_a_404_suggests_what_is_known_here_and_how_ib_writes_it(stored_bars: StoredBars, api: Api) -> None:
    stored_bars.instrument(stock(3, "BRK B"), CALENDAR)
    for words in ({"symbol": "BRK.B"}, {"symbol": "BRK-B"}, {"symbol": "BRK/B"}):
        remember(stored_bars, select(symbol=words["symbol"]).key, ib_code=200, ib_text="No security definition")
        answer = api.get(BARS, params=words)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-instrument")
        first = answer.json()["suggestions"][0]
        assert (first["symbol"], first["asset_class"], first["instrument_id"]) == ("BRK B", "STK", "BRK B.NASDAQ")
        assert "BRK B (STK)" in answer.json()["detail"]
        assert answer.json()["upstream"]["code"] == 200
    body = api.get(BARS, params={"symbols": "BRK.B,BRK B", "timeframe": "1m"}).json()["results"]
    assert body[0]["error"]["suggestions"][0]["symbol"] == "BRK B"
    assert "error" not in body[1]


def test_a_404_at_a_venue_of_an_old_name_tells_the_new_one(stored_bars: StoredBars, api: Api) -> None:
    remember(stored_bars, select(instrument_id="NOSUCH.GLOBEX").key, ib_code=200, ib_text="No security definition")
    for path in (BARS, f"{ROOT}/historical/coverage"):
        body = api.get(path, params={"instrument_id": "NOSUCH.GLOBEX"}).json()
        assert body["suggestions"][-1]["exchange"] == "CME"
        assert body["suggestions"][-1]["instrument_id"] == "NOSUCH.CME"
    body = api.get(f"{ROOT}/instruments/NOSUCH.GLOBEX").json()
    assert body["suggestions"][-1]["exchange"] == "CME"


def test_every_name_that_a_search_returns_leads_to_its_instrument(running: ServiceStack) -> None:
    stack = running
    stack.start_bridge()
    unknown = stack.client.get(BARS, params={"symbol": "ES"}).json()
    assert (unknown["code"], unknown["suggestions"][0]["asset_class"]) == ("unknown-instrument", "FUT")
    seen = {}
    for text in ("SPX", "ES", "AAPL", "500", "NDX", "EUR", "BTC", "VIX"):
        for path in (f"{ROOT}/instruments/search?q={text}", f"/api/v1/ib/instruments/search/{text}?sec_type=IND"):
            for row in stack.client.get(path).json()["instruments"]:
                seen[row["instrument_id"]] = row.get("con_id") or row["contract_id"]
    assert "SPX.CBOE" in seen
    for name, con_id in seen.items():
        found = stack.client.get(f"{ROOT}/instruments/{quote(name)}")
        assert (found.status_code, found.json().get("con_id")) == (200, con_id), (name, found.text)
        read = stack.client.get(BARS, params={"instrument_id": name, "timeframe": "1d", "limit": 1, "wait": 0})
        assert read.status_code == 200, (name, read.text)
        assert read.json()["instrument"]["con_id"] == con_id


def test_a_backfill_of_a_name_that_two_share_is_refused_and_a_number_chooses(stack: ServiceStack) -> None:
    with stack.db.transaction() as cursor:
        for number in (7, 8):
            instruments.store(cursor, stock(number), {})
    body = {"timeframe": "1d", "days_back": 5}
    for more in ({}, {"mode": "force"}, {"dry_run": True}):
        answer = stack.client.post("/api/v1/ib/backfill", json={"instrument_id": "AAPL.NASDAQ", **body, **more})
        assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous-instrument"), more
        assert [one["con_id"] for one in answer.json()["candidates"]] == [7, 8]
    assert stack.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 0
    stack.backfill(con_id=8, **body)
    assert stack.rows("SELECT selector FROM backfill_items")[0].selector == {"con_id": 8}
    twice = stack.client.post("/api/v1/ib/backfill", json={"con_id": 8, "symbol": "AAPL", **body})
    assert twice.status_code == 422


def test_a_name_means_the_contract_that_has_it_whatever_its_words_suggest(stack: ServiceStack) -> None:
    index = stock(9, "DAX")._replace(asset_class="IND", instrument_id="DAX.EUREX", exchange="EUREX", currency="EUR")
    with stack.db.transaction() as cursor:
        instruments.store(cursor, index._replace(primary_exchange=""), {})
    stack.backfill(instrument_id="DAX.EUREX", timeframe="1d", days_back=5)
    kept = stack.rows("SELECT selector FROM backfill_items")[0].selector
    assert (kept["con_id"], kept["asset_class"]) == (9, "IND"), "by its venue it would be a future"


@pytest.mark.parametrize("way", ["read", "backfill"])
def test_lookups_of_one_read_or_job_are_under_way_at_once(servers: SimpleNamespace, dsn: str, way: str) -> None:
    names = [f"MANY{n:02}" for n in range(1, 9)]
    with service_stack(servers.group, servers.folder, dsn, "--latency", "1000") as stack:
        stack.start_bridge()
        if way == "read":
            stack.bars(symbols=",".join(names), timeframe="1d", wait=0, limit=1)
        else:
            stack.backfill(symbols=names, timeframe="1d", days_back=5)
        query = "SELECT sent_at, ms FROM ib_requests WHERE identity LIKE 'details|STK|%%' AND ms IS NOT NULL"
        stack.wait(lambda: len(stack.rows(query)) == 8, "all are looked up")
        rows = sorted(stack.rows(query))
        first_ends = rows[0].sent_at + rows[0].ms * 1_000_000
        assert sum(row.sent_at < first_ends for row in rows) > 4
