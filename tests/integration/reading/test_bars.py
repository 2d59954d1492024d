"""Reading bars over HTTP from a real database: forms, pages, tags, limits, proofs."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev.redis import Redis
from nautilus.backfill.pacing import Request
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.bars import requested
from nautilus.db.ledger import requests
from nautilus.db.market import series
from nautilus.http.response_size import ANSWER_BYTES, lambda_bytes
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.markets import DAY, HOUR, MINUTE, ns, nyse
from tests.support.stored_bars import BARS, SOURCE, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")  # a Friday, after the close
FIRST = ns("2024-01-08 09:30", "America/New_York")
CALENDAR = nyse(date(2023, 12, 1), 60)


def bar(ts: int, n: int = 0) -> Bar:
    return Bar(ts, 100 + n % 7, 101.25 + n % 7, 99.5, 100.5 + n % 5, float(n % 11), 100.1, n % 13)


def minutes(day: str, count: int = 390) -> list[Bar]:
    start = ns(f"{day} 09:30", "America/New_York")
    return [bar(start + n * MINUTE, n) for n in range(count)]


WEEK = [b for day in ("2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12") for b in minutes(day)]


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), CALENDAR)
    made.record(stock(), "1m", WEEK, settled=[(FIRST, ns("2024-01-12 16:00", "America/New_York"))])
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path)


def read(api: Api, **query: Any) -> Any:
    answer = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


# ---- windows and pages -----------------------------------------------------------------------------------------------


def test_the_front_ends_request_is_answered_as_its_chart_reads_it(api: Api) -> None:
    answer = api.get(
        BARS,
        params={"symbol": "AAPL", "timeframe": "1m", "asset_class": "STK", "exchange": "NASDAQ", "currency": "USD"},
    )
    body = answer.json()
    assert body["candles"][0] == {
        "time": "20240112  14:30:00Z",
        "ts": ns("2024-01-12 14:30"),
        "open": 100,
        "high": 101.25,
        "low": 99.5,
        "close": 100.5,
        "volume": 0,
    }
    assert (body["total"], len(body["candles"])) == (390, 390)
    assert (body["start_date"], body["end_date"]) == ("20240112  14:30:00Z", "20240112  20:59:00Z")
    assert body["source"] == body["store"] == SOURCE
    assert body["coverage"] == {"complete": True, "missing": []}
    assert body["next_page_token"] is None
    assert "dur=" in answer.headers["server-timing"]


def test_pages_from_a_start_go_on_to_the_end(api: Api) -> None:
    token, stamps = None, []
    for _ in range(20):
        page = read(api, start=FIRST, limit=333, **({"page_token": token} if token else {}))
        stamps += [c["ts"] for c in page["candles"]]
        token = page["next_page_token"]
        if token is None:
            break
        assert page["total"] == 333
    assert stamps == [b.ts for b in WEEK]


def test_without_a_start_the_newest_come_first_and_the_token_walks_back(api: Api) -> None:
    pages, token = [], None
    while True:
        page = read(api, limit=150, **({"page_token": token} if token else {}))
        pages.append([c["ts"] for c in page["candles"]])
        token = page["next_page_token"]
        if token is None:
            break
    assert pages[0] == [b.ts for b in WEEK[-150:]]
    assert [ts for page in reversed(pages) for ts in page] == [b.ts for b in WEEK[-390:]]


def test_descending_pages(api: Api) -> None:
    page = read(api, start=FIRST, limit=500, sort="desc")
    more = read(api, start=FIRST, limit=50_000, sort="desc", page_token=page["next_page_token"])
    stamps = [c["ts"] for c in page["candles"] + more["candles"]]
    assert stamps == [b.ts for b in reversed(WEEK)]
    assert more["next_page_token"] is None


def test_a_page_of_exactly_all_bars_has_no_token(api: Api) -> None:
    assert read(api, start=FIRST, limit=len(WEEK))["next_page_token"] is None
    assert read(api, start=FIRST, limit=len(WEEK) - 1)["next_page_token"] is not None


def test_a_token_of_another_query_is_refused_and_so_is_a_forged_one(api: Api, stored_bars: StoredBars) -> None:
    token = read(api, start=FIRST, limit=10)["next_page_token"]
    for change in ({"timeframe": "5m"}, {"sort": "desc"}, {"start": FIRST + MINUTE}, {"session": "rth"}):
        query = {"symbol": "AAPL", "timeframe": "1m", "start": FIRST, "page_token": token} | change
        answer = api.get(BARS, params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, "page-token-mismatch")
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for forged in (flipped, "1" + token, "x", "1", "'; DROP TABLE series; --"):
        answer = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", "start": FIRST, "page_token": forged})
        assert (answer.status_code, answer.json()["code"]) == (400, "page-token-invalid")
    # Fields, format, limit and wait may change on the way.
    assert (
        api.get(
            BARS,
            params={
                "symbol": "AAPL",
                "timeframe": "1m",
                "start": FIRST,
                "page_token": token,
                "limit": 3,
                "format": "csv",
            },
        )
        .text.splitlines()[1]
        .startswith(str(WEEK[10].ts))
    )
    stored_bars.rows("UPDATE series SET data_version = 0")
    answer = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", "start": FIRST, "page_token": token})
    assert (answer.status_code, answer.json()["code"]) == (410, "page-token-expired")


def test_an_answer_beyond_lambdas_limit_is_a_shorter_page(api: Api, stored_bars: StoredBars) -> None:
    start = ns("2023-10-02 09:30", "America/New_York")
    old = [bar(start + n * 1_000_000_000, n) for n in range(50_000)]
    stored_bars.record(stock(), "1s", old, settled=[(start, start + DAY)])
    query = {"symbol": "AAPL", "timeframe": "1s", "start": start, "end": start + DAY, "limit": 50_000}
    stamps, token = [], None
    while True:
        answer = api.get(BARS, params={**query, **({"page_token": token} if token else {})})
        assert len(json.dumps(answer.text)) - 2 == lambda_bytes(answer.content, text=True) < ANSWER_BYTES
        stamps += [c["ts"] for c in answer.json()["candles"]]
        token = answer.json()["next_page_token"]
        if token is None:
            break
    assert stamps == [b.ts for b in old]


def test_what_is_told_of_gaps_counts_too(api: Api, stored_bars: StoredBars) -> None:
    start = ns("2023-10-02 09:30", "America/New_York")
    second = 1_000_000_000
    old = [bar(start + n * second, n) for n in range(40_000)]
    reason = "a long story " * 80
    noted = [Note((b.ts, b.ts + second), CoverageState.UNAVAILABLE, reason, 162, NOW) for b in old[:1_000:2]]
    stored_bars.record(stock(), "1s", old, settled=[(start, start + DAY)])
    stored_bars.record(stock(), "1s", noted=noted)
    query = {"symbol": "AAPL", "timeframe": "1s", "start": start, "end": start + DAY, "limit": 50_000, "wait": 0}
    answer = api.get(BARS, params=query)
    assert answer.status_code == 200, answer.text[:200]
    assert len(answer.json()["coverage"]["missing"]) == 500
    assert 0.9 * ANSWER_BYTES < lambda_bytes(answer.content, text=True) <= ANSWER_BYTES


@pytest.mark.parametrize("form", ["json", "columns", "ndjson", "csv"])
def test_a_bar_outside_of_all_sessions_has_its_time_too(api: Api, stored_bars: StoredBars, form: str) -> None:
    """Times are looked up in a list of those at which the market is open; what is not in it is computed."""
    night = FIRST - 6 * HOUR - 30 * MINUTE  # 08:00 UTC
    stored_bars.record(stock(), "1m", [bar(night), bar(night + 13 * HOUR)])
    answer = api.get(
        BARS,
        params={"symbol": "AAPL", "timeframe": "1m", "start": night, "limit": 800, "fields": "time", "format": form},
    )
    times = [t for t in answer.text.replace('"', "\n").replace(",", "\n").splitlines() if t.startswith("2024010")]
    assert len(times) >= 782
    assert times[:2] == ["20240108  08:00:00Z", "20240108  14:30:00Z"]
    assert times[390:394] == [
        "20240108  20:59:00Z",
        "20240108  21:00:00Z",
        "20240109  14:30:00Z",
        "20240109  14:31:00Z",
    ]


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_the_forms_tell_the_same(api: Api) -> None:
    query = {"symbol": "AAPL", "timeframe": "1m", "start": FIRST, "limit": 1_000}
    candles = api.get(BARS, params=query).json()["candles"]
    by_line = api.get(BARS, params={**query, "format": "ndjson"})
    assert [json.loads(line) for line in by_line.text.splitlines()] == candles
    assert by_line.headers["content-type"].startswith("application/x-ndjson")
    columns = api.get(BARS, params=query, headers={"Accept": "application/vnd.nautilus.columns+json"}).json()["candles"]
    assert columns == {name: [c[name] for c in candles] for name in candles[0]}
    sheet = api.get(BARS, params=query, headers={"Accept": "text/csv, application/json;q=0.5"})
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [int(row["ts"]) for row in rows] == [c["ts"] for c in candles]
    assert [float(row["close"]) for row in rows] == [c["close"] for c in candles]
    assert "time" not in rows[0]
    assert json.loads(sheet.headers["x-coverage"]) == {"complete": True, "gaps": 0, "missing": []}
    assert sheet.headers["x-next-page-token"]
    assert sheet.headers["x-source"] == SOURCE
    assert 'rel="next"' in sheet.headers["link"]


def test_links_lead_through_all_pages(api: Api) -> None:
    address, stamps = f"{BARS}?symbol=AAPL&timeframe=1m&start={FIRST}&limit=600&fields=ts%2Cclose&price=", []
    while address:
        page = api.get(address)
        stamps += [candle["ts"] for candle in page.json()["candles"]]
        address, _, relation = page.headers.get("link", "<").partition(">; ")
        address = address[1:]
        assert (relation == 'rel="next"') == bool(address)
    assert stamps == [bar.ts for bar in WEEK if bar.ts >= FIRST]
    assert len(stamps) > 3 * 600


def test_what_is_null_stays_a_candle(api: Api, stored_bars: StoredBars) -> None:
    quotes = [Bar(b.ts, 1.1, 1.2, 1.0, 1.15, None, None, None) for b in WEEK[:700]]
    stored_bars.record(stock(), "1m", quotes, settled=[(FIRST, WEEK[700].ts)], price="MIDPOINT")
    query = {"price": "MIDPOINT", "start": FIRST, "end": WEEK[700].ts, "fields": "volume,ts,vwap,trades"}
    assert read(api, **query)["candles"] == [
        {"volume": None, "ts": b.ts, "vwap": None, "trades": None} for b in WEEK[:700]
    ]
    only = read(api, **{**query, "fields": "trades"})["candles"]
    assert only == [{"trades": None}] * 700
    columns = read(api, **query, format="columns")["candles"]
    assert columns["volume"] == [None] * 700
    sheet = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", **query, "format": "csv"}).text
    assert sheet.splitlines()[:2] == ["volume,ts,vwap,trades", f",{FIRST},,"]


def test_fields_are_chosen_added_and_dropped(api: Api) -> None:
    assert list(read(api, limit=1, fields="close,ts")["candles"][0]) == ["close", "ts"]
    added = read(api, limit=1, fields="+vwap,-volume,+ts_close,+ts_open")["candles"][0]
    assert list(added) == ["time", "ts", "open", "high", "low", "close", "vwap", "ts_close", "ts_open"]
    assert added["ts_open"] == added["ts"] == added["ts_close"] - MINUTE
    answer = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", "fields": "close,profit"})
    assert answer.status_code == 422
    assert "ts_close" in answer.json()["errors"][0]["allowed"]


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0"])
def test_a_form_that_does_not_exist_is_refused_with_those_that_do(api: Api, accept: str) -> None:
    answer = api.get(BARS, params={"symbol": "AAPL"}, headers={"Accept": accept})
    assert answer.status_code == 406
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["available"] == ["json", "csv", "ndjson", "columns", "arrow"]


def test_gzip_when_asked(api: Api) -> None:
    plain = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m"}, headers={"Accept-Encoding": "identity"})
    coded = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m"}, headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert coded.headers["content-encoding"] == "gzip"
    assert int(coded.headers["content-length"]) * 5 < len(plain.content)
    assert coded.content == plain.content  # decoded by the client
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] != coded.headers["etag"]


# ---- tags and caching ------------------------------------------------------------------------------------------------


def test_an_unchanged_answer_is_a_304_and_a_changed_one_is_not(api: Api, stored_bars: StoredBars) -> None:
    query = {"symbol": "AAPL", "timeframe": "1m"}
    first = api.get(BARS, params=query)
    tag = first.headers["etag"]
    again = api.get(BARS, params=query, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for other in ({"limit": 10}, {"format": "csv"}, {"fields": "ts"}, {"sort": "desc"}, {"end": NOW - HOUR}):
        assert api.get(BARS, params={**query, **other}, headers={"If-None-Match": tag}).status_code == 200
    stored_bars.record(stock(), "1m", [WEEK[-1]._replace(close=1.0)])
    changed = api.get(BARS, params=query, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["candles"][-1]["close"] == 1.0
    assert changed.headers["etag"] != tag


def test_over_a_weekend_the_answer_stays_the_same_and_nobody_is_asked(api: Api, stored_bars: StoredBars) -> None:
    tag = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m"}).headers["etag"]
    for hours in (1, 20, 50, 63):  # until Monday 08:00 in New York
        stored_bars.set_time(NOW + hours * HOUR)
        answer = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m"}, headers={"If-None-Match": tag})
        assert answer.status_code == 304, answer.text
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 0


def test_only_complete_answers_may_be_kept(api: Api) -> None:
    sealed = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", "start": FIRST, "end": FIRST + DAY})
    assert sealed.headers["cache-control"] == "private, max-age=86400"
    today = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m"})
    assert today.headers["cache-control"] == "private, no-cache"
    gaps = api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", "start": FIRST - 3 * DAY})
    assert gaps.headers["cache-control"] == "no-store"
    assert "etag" not in gaps.headers
    assert "Authorization" in sealed.headers["vary"]


def test_redis_keeps_complete_answers_and_only_these(stored_bars: StoredBars, tmp_path: Path, redis_url: str) -> None:
    api = stored_bars.api(tmp_path, redis_url=redis_url)
    query = {"symbol": "AAPL", "timeframe": "1m"}
    first, second = api.get(BARS, params=query), api.get(BARS, params=query)
    assert "desc=miss" in first.headers["server-timing"]
    assert "desc=hit" in second.headers["server-timing"]
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    stored_bars.record(stock(), "1m", [WEEK[-1]._replace(close=2.0)])
    third = api.get(BARS, params=query)
    assert "desc=miss" in third.headers["server-timing"]
    assert third.json()["candles"][-1]["close"] == 2.0
    for _ in range(2):
        gaps = api.get(BARS, params={**query, "start": FIRST - 3 * DAY})
        assert "cache" not in gaps.headers["server-timing"]


def test_without_redis_and_with_a_dead_one_everything_works(
    stored_bars: StoredBars, tmp_path: Path, servers: SimpleNamespace
) -> None:
    api = stored_bars.api(tmp_path, redis_url="redis://127.0.0.1:1/0")
    for _ in range(3):
        assert api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m"}).json()["total"] == 390


def test_a_redis_that_stops_answering_costs_one_short_wait(
    stored_bars: StoredBars, tmp_path: Path, redis_server: Redis, redis_url: str
) -> None:
    import os
    import signal

    api = stored_bars.api(tmp_path, redis_url=redis_url)
    query = {"symbol": "AAPL", "timeframe": "1m"}
    api.get(BARS, params=query)
    os.kill(redis_server.child.pid, signal.SIGSTOP)
    try:
        total = 0.0
        for _ in range(4):
            answer = api.get(BARS, params=query)
            assert answer.json()["total"] == 390
            total += answer.elapsed.total_seconds()
    finally:
        os.kill(redis_server.child.pid, signal.SIGCONT)
    assert total < 1.5


# ---- several symbols -------------------------------------------------------------------------------------------------


def test_several_symbols_come_one_after_the_other_over_pages(api: Api, stored_bars: StoredBars) -> None:
    for con_id, symbol in ((2, "MSFT"), (3, "TSLA")):
        stored_bars.instrument(stock(con_id, symbol), CALENDAR)
        stored_bars.record(stock(con_id, symbol), "1m", WEEK, settled=[(FIRST, WEEK[-1].ts + MINUTE)])
    stored_bars.rows(
        "INSERT INTO instrument_lookups (key, con_ids, ib_code, ib_text) VALUES ('STK|NOPE|USD|front', '{}', 200, 'None')"
    )
    query = {"symbols": "AAPL,NOPE,TSLA,MSFT", "timeframe": "1m", "start": FIRST, "limit": 700}
    token, seen, results = None, [], []
    while True:
        page = api.get(BARS, params={**query, **({"page_token": token} if token else {})}).json()
        assert sum(r["total"] for r in page["results"]) <= 700
        results += page["results"]
        seen += [(r["symbol"], c["ts"]) for r in page["results"] for c in r["candles"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert seen == [(symbol, b.ts) for symbol in ("AAPL", "TSLA", "MSFT") for b in WEEK]
    wrong = next(r for r in results if r["symbol"] == "NOPE")
    assert wrong["error"]["upstream"]["code"] == 200
    assert wrong["candles"] == []
    sheet = api.get(BARS, params={**query, "limit": 50_000, "format": "csv"})
    assert [tuple(line.split(",")[:2]) for line in sheet.text.splitlines()[1:]] == [(s, str(t)) for s, t in seen]
    assert json.loads(sheet.headers["x-errors"]) == ["NOPE"]
    lines = api.get(BARS, params={**query, "limit": 50_000, "format": "ndjson"}).text.splitlines()
    assert [(json.loads(line)["symbol"], json.loads(line)["ts"]) for line in lines] == seen


# ---- derived timeframes ----------------------------------------------------------------------------------------------


def test_a_coarser_timeframe_is_aggregated_from_a_complete_finer_one(api: Api, stored_bars: StoredBars) -> None:
    hours = read(api, timeframe="1h", start=FIRST, fields="+vwap,+trades,+ts_close")
    assert hours["source"] == "derived from 1m"
    assert hours["coverage"]["complete"]
    assert [c["time"][-9:] for c in hours["candles"][:7]] == [
        *("14:30:00Z", "15:00:00Z", "16:00:00Z", "17:00:00Z", "18:00:00Z", "19:00:00Z", "20:00:00Z")
    ]
    first = WEEK[:30]
    assert hours["candles"][0]["open"] == first[0].open
    assert hours["candles"][0]["close"] == first[-1].close
    assert hours["candles"][0]["high"] == max(b.high for b in first)
    assert hours["candles"][0]["volume"] == sum(b.volume or 0 for b in first)
    assert hours["candles"][0]["trades"] == sum(b.trades or 0 for b in first)
    assert hours["candles"][0]["ts_close"] == first[0].ts + 30 * MINUTE
    assert len(hours["candles"]) == 5 * 7
    assert stored_bars.rows("SELECT count(*) FROM backfill_jobs")[0][0] == 0
    # Native wins, as soon as it is complete.
    native = [
        bar(ns(f"2024-01-{d:02d} {h}", "America/New_York"), d)
        for d in (8, 9, 10, 11, 12)
        for h in ("09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00")
    ]
    stored_bars.record(stock(), "1h", native, settled=[(FIRST, WEEK[-1].ts + MINUTE)])
    assert read(api, timeframe="1h", start=FIRST)["source"] == SOURCE


def test_days_are_never_made_of_minutes_but_weeks_are_of_days(api: Api, stored_bars: StoredBars) -> None:
    assert read(api, timeframe="1d", start=FIRST)["candles"] == []
    days = [bar(ns(f"2024-01-{d:02d} 00:00"), d) for d in (8, 9, 10, 11, 12)]
    stored_bars.record(stock(), "1d", days, settled=[(ns("2024-01-08 00:00"), ns("2024-01-13 00:00"))])
    weeks = read(api, timeframe="1w", start=ns("2024-01-08 00:00"))
    assert weeks["source"] == "derived from 1d"
    assert [c["time"] for c in weeks["candles"]] == ["20240108"]
    assert weeks["candles"][0]["close"] == days[-1].close


# ---- proofs ----------------------------------------------------------------------------------------------------------


def test_coverage_says_of_every_range_why(api: Api, stored_bars: StoredBars) -> None:
    one, day = stock(), ns("2024-01-04 09:30", "America/New_York")
    stored_bars.record(
        one,
        "1m",
        noted=[Note((day, day + 390 * MINUTE), CoverageState.UNAVAILABLE, "no_permission", 354, NOW, NOW + DAY)],
    )
    stored_bars.record(one, "1m", settled=[(day + DAY, day + DAY + 390 * MINUTE)])
    body = api.get(
        "/api/v1/market-data/historical/coverage", params={"symbol": "AAPL", "timeframe": "1m", "start": day - DAY}
    ).json()
    assert [(i["state"], i["bars"], i["expected"]) for i in body["intervals"]] == [
        ("not_asked", 0, 390),
        ("unavailable", 0, 390),
        ("empty_confirmed", 0, 390),
        ("filled", 1950, 1950),
    ]
    assert body["intervals"][1]["ib_code"] == 354
    assert body["summary"]["complete_pct"] == 75.0


def covered(api: Api, **query: Any) -> Any:
    answer = api.get("/api/v1/market-data/historical/coverage", params={"symbol": "AAPL", "timeframe": "1m", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_coverage_has_no_number_for_what_nobody_knows(api: Api, stored_bars: StoredBars) -> None:
    """Before the known sessions nobody can say how many bars are missing; what lies after is counted all the same."""
    for frame, expected in (("1m", 1_950), ("1d", 5)):
        stored_bars.record(stock(), frame, settled=[(FIRST - 18 * HOUR, ns("2024-01-13 00:00"))])
        body = covered(api, timeframe=frame, start=CALENDAR.known[0] - 47 * DAY)
        summary = body["summary"]
        assert (summary["complete"], summary["complete_pct"], summary["missing_bars"]) == (False, None, None), frame
        assert summary["unknown"] == [i["expected"] for i in body["intervals"]].count(None) == 1, frame
        assert summary["expected"] == sum(i["expected"] or 0 for i in body["intervals"]) > expected, frame
        known = covered(api, timeframe=frame, start=FIRST - 15 * HOUR)["summary"]
        assert (known["complete"], known["complete_pct"], known["missing_bars"], known["unknown"]) == (True, 100, 0, 0)
    nothing = covered(api, timeframe="1h", start=CALENDAR.known[0] - 9 * DAY, end=CALENDAR.known[0] - 2 * DAY)[
        "summary"
    ]
    assert (nothing["complete"], nothing["complete_pct"], nothing["missing_bars"]) == (False, None, None)
    assert (nothing["expected"], nothing["unknown"]) == (0, 1)


@pytest.mark.parametrize("since", ["2024-01-10 12:00", "2024-01-12 12:00", "2024-01-12 16:30"])
def test_a_week_of_which_the_beginning_is_not_known_is_not_called_complete(
    dsn: str, tmp_path: Path, since: str
) -> None:
    """The week's bar closed with Friday's session, an hour ago; sessions are known since the middle of the week."""
    known = ns(since, "America/New_York")
    late = Calendar.of(
        [s for s in CALENDAR.sessions if s.close_ns > known], (known, CALENDAR.known[1]), CALENDAR.time_zone
    )
    stored_bars = StoredBars(dsn, NOW)
    stored_bars.instrument(stock(), late)
    api = stored_bars.api(tmp_path)
    for window in ({"start": ns("2024-01-08 00:00")}, {"limit": 1}):
        body = read(api, timeframe="1w", **window)
        assert not body["coverage"]["complete"], window
    stored_bars.close()


def test_what_is_not_closed_yet_is_not_missing_from_what_is_complete(api: Api) -> None:
    summary = covered(api, start=FIRST, end=ns("2024-01-17 00:00"))["summary"]
    assert (summary["complete"], summary["complete_pct"], summary["missing_bars"]) == (True, 100.0, 0)


def test_explain_says_what_became_of_a_bar_and_why_a_gap_is_one(api: Api, stored_bars: StoredBars) -> None:
    where = "/api/v1/market-data/historical/explain"
    stored_bars.record(stock(), "1m", [WEEK[5]._replace(close=7.0)])
    body = api.get(where, params={"symbol": "AAPL", "timeframe": "1m", "ts": WEEK[5].ts + 5_000_000_000}).json()
    assert (body["state"], body["bar"]["close"], body["revised"]) == ("filled", 7.0, 1)
    assert body["revisions"][0]["before"]["close"] == WEEK[5].close
    assert body["arrived"]["version"] == 1
    assert body["trading_session"]["trade_date"] == "2024-01-08"
    closed = api.get(where, params={"symbol": "AAPL", "timeframe": "1m", "ts": ns("2024-01-09 03:00")}).json()
    assert closed["state"] == "closed"
    never = api.get(where, params={"symbol": "AAPL", "timeframe": "1m", "ts": FIRST - 4 * DAY}).json()
    assert never["state"] == "not_asked"


def test_explain_names_the_requests_of_live_bars_which_have_no_chunk(api: Api, stored_bars: StoredBars) -> None:
    ts = WEEK[5].ts
    with stored_bars.db.transaction() as cursor:
        found = series.find(cursor, 1, timeframe("1m"), price="TRADES", session="rth")
    assert found is not None
    row_id = found.id

    def sent(kind: str, outcome: str) -> int:
        with stored_bars.db.transaction() as cursor:
            request = Request(kind, "1", small=False)
            number = requests.insert(cursor, "l", "b", kind=kind, request=request, sent_at=ts, series_id=row_id)
            requests.close(cursor, number, outcome, ms=5, bars=3)
        return number

    def explained(ts: int) -> dict[str, Any]:
        where = "/api/v1/market-data/historical/explain"
        return dict(api.get(where, params={"symbol": "AAPL", "timeframe": "1m", "ts": ts}).json())

    assert explained(ts)["requests"] == []
    confirm = sent("confirm", "ok")
    with stored_bars.db.transaction() as cursor:
        row = series.by_id(cursor, row_id, lock=True)
        series.apply_changes(cursor, row, bars=[WEEK[5]._replace(close=7.0)], request_id=confirm)
    body = explained(ts)
    assert body["revisions"][0]["by_request"] == body["brought_by"]["id"] == confirm
    assert [(r["id"], r["kind"], r["bars"]) for r in body["requests"]] == [(confirm, "confirm", 3)]

    sent("confirm", "empty")
    poll = sent("poll", "ok")
    sent("poll", "error")
    new = WEEK[0]._replace(ts=WEEK[0].ts - 4 * DAY)
    with stored_bars.db.transaction() as cursor:
        row = series.by_id(cursor, row_id, lock=True)
        series.apply_changes(cursor, row, bars=[new], settled=Spans.of(new.ts, new.ts + 1), request_id=poll)
    sent("poll", "ok")
    assert explained(new.ts)["brought_by"]["id"] == poll, "the last before it came"


def test_sessions_are_told_as_far_as_they_are_known(api: Api) -> None:
    body = api.get(
        "/api/v1/market-data/calendar",
        params={"symbol": "AAPL", "start": ns("2023-12-31 00:00"), "end": ns("2024-01-05 00:00")},
    ).json()
    assert [s["trade_date"] for s in body["sessions"]] == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert body["sessions"][0] == {
        "trade_date": "2024-01-02",
        "open": "2024-01-02T14:30:00Z",
        "close": "2024-01-02T21:00:00Z",
    }


# ---- instruments -----------------------------------------------------------------------------------------------------


def test_known_instruments_are_listed_and_found(api: Api, stored_bars: StoredBars) -> None:
    stored_bars.instrument(stock(2, "MSFT"), CALENDAR)
    first = api.get("/api/v1/market-data/instruments", params={"limit": 1}).json()
    assert [i["symbol"] for i in first["instruments"]] == ["AAPL"]
    rest = api.get("/api/v1/market-data/instruments", params={"limit": 5, "after": first["next_after"]}).json()
    assert [i["symbol"] for i in rest["instruments"]] == ["MSFT"]
    found = api.get("/api/v1/market-data/instruments/search", params={"q": "msft inc"}).json()
    assert [i["con_id"] for i in found["instruments"]] == [2]
    body = api.get("/api/v1/ib/instruments/search/AAP", params={"sec_type": "STK", "max_results": 100}).json()
    assert body["instruments"][0]["contract_id"] == 1
    assert body["total"] == 1
    assert api.get("/api/v1/ib/forex-pairs").json()["forex_pairs"][0] == "EUR/USD"


# ---- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_redis", [False, True])
def test_more_than_a_minutes_share_is_refused(
    stored_bars: StoredBars, tmp_path: Path, redis_url: str, with_redis: bool
) -> None:
    settings = {"reads_per_minute": 5, **({"redis_url": redis_url} if with_redis else {})}
    api = stored_bars.api(tmp_path, **settings)
    answers = [api.get(BARS, params={"symbol": "AAPL", "timeframe": "1m", "limit": 1}) for _ in range(8)]
    # A minute may end in between.
    assert [a.status_code for a in answers].count(429) in (0, 1, 2, 3)
    refused = [a for a in answers if a.status_code == 429]
    assert answers[0].headers["ratelimit-policy"] == '"reads";q=5;w=60'
    for answer in refused:
        assert answer.json()["code"] == "rate-limited"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["ratelimit"].startswith('"reads";r=0;t=')


INJECTIONS = [
    "AAPL'; DROP TABLE series; --",
    "' OR '1'='1",
    "AAPL\\'; SELECT pg_sleep(5); --",
    "'||(SELECT version())||'",
    "1; COPY series TO '/tmp/x'",
    "{1,2}'::int8[]",
    "%s %(ts)s",
    "\x00",
    "$$; DROP TABLE bars_minute; $$",
    "💥",
    "ts) FROM series; --",
    "../../etc/passwd",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_that_would_be_sql_is_only_text(api: Api, stored_bars: StoredBars, text: str) -> None:
    names = (
        "symbol",
        "instrument_id",
        "symbols",
        "asset_class",
        "exchange",
        "currency",
        "timeframe",
        "price",
        "session",
        "start",
        "end",
        "limit",
        "sort",
        "fields",
        "format",
        "page_token",
        "wait",
    )
    for name in names:
        query = {"symbol": "AAPL", "timeframe": "1m"} | {name: text}
        if name in ("instrument_id", "symbols"):
            del query["symbol"]
        answer = api.get(BARS, params=query)
        assert answer.status_code in (200, 400, 404, 406, 409, 422, 503), (name, answer.text)
        if answer.status_code == 503:
            assert answer.json()["code"] == "instrument-not-resolved"
    api.get("/api/v1/market-data/instruments/search", params={"q": text})
    api.get("/api/v1/market-data/historical/explain", params={"symbol": "AAPL", "ts": text})
    assert len(read(api)["candles"]) == 390
    assert stored_bars.rows("SELECT count(*) FROM series")[0][0] == 1


def test_what_is_on_its_way_is_found_without_reading_every_job_there_was(stored_bars: StoredBars) -> None:
    stored_bars.rows(
        "INSERT INTO backfill_jobs (owner, origin, state, request, fingerprint, created_at)"
        " SELECT 'user:1', CASE WHEN n % 3 = 0 THEN 'api' ELSE 'read' END, 'succeeded', '{}', n::text,"
        "  clock_timestamp() - make_interval(secs => n * 5) FROM generate_series(1, 20000) n"
    )
    stored_bars.rows("UPDATE backfill_jobs SET state = 'running' WHERE fingerprint = '19999'")
    stored_bars.rows(
        "INSERT INTO backfill_items (job_id, selector, timeframe, price, session, wanted_start, wanted_end)"
        """ SELECT id, '{"con_id": "1"}', '1m', 'TRADES', 'rth', 1, 2 FROM backfill_jobs"""
    )
    stored_bars.rows("ANALYZE backfill_jobs, backfill_items")
    with stored_bars.db.transaction(snapshot=True) as cursor:

        def read_whole() -> int:
            cursor.execute("SELECT sum(seq_scan) AS n FROM pg_stat_xact_user_tables WHERE relname LIKE 'backfill_%'")
            return int(cursor.fetchone().n)

        before = read_whole()
        found = requested.requested_ranges(cursor, (1, "1m", "TRADES", "rth"))
        assert read_whole() == before
    assert [body.live for body in found].count(True) == 1
    assert len(found) in (8, 9)  # the live one, and reads of the last minute: of twelve jobs, two in three
