"""Bars as a stream of Arrow over HTTP: the same bars as in JSON, value by value, and the same answer around them."""

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dev.credentials import token_settings
from dev.lambda_events import http_event
from nautilus.clock import label_of
from nautilus.db.bars import packed
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.reading import pages
from tests.support.arrow_stream import Stream, read
from tests.support.markets import DAY, HOUR, MINUTE, market, ns, nyse
from tests.support.stored_bars import BARS, Api, StoredBars, stock

NOW = ns("2024-01-12 17:00", "America/New_York")
OPEN = ns("2024-01-08 09:30", "America/New_York")
ALL = "time,ts,open,high,low,close,volume,vwap,trades,ts_open,ts_close"
MEDIA_TYPE = "application/vnd.apache.arrow.stream"


def bar(n: int) -> Bar:
    """A price below zero, a volume that is zero, and each kind of NULL, in turn."""
    volume = (None, 0.0, 1_234.5)[n % 3]
    return Bar(
        OPEN + n * MINUTE, -37.63 + n, 1000.25 + n, -40.0 - n, 0.1 + n, volume, (None, 0.3)[n % 2], (None, n)[n % 5 > 0]
    )


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.instrument(stock(2, "MSFT"), nyse(date(2023, 12, 1), 60))
    made.record(stock(), "1m", [bar(n) for n in range(390)], settled=[(OPEN, OPEN + 390 * MINUTE)])
    made.record(stock(2, "MSFT"), "1m", [bar(n) for n in range(0, 390, 3)], settled=[(OPEN, OPEN + 200 * MINUTE)])
    days = [Bar(label_of(date(2024, 1, day)), 1.0, 2.0, 0.5, 1.5, None, None, None) for day in (8, 9, 10)]
    made.record(stock(), "1d", days, settled=[(days[0].ts, days[-1].ts + DAY)])
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))


def both(api: Api, **query: Any) -> tuple[Any, Stream]:
    """The same question answered as JSON and as Arrow."""
    params = {"timeframe": "1m", "fields": ALL, "wait": 0, "limit": 50_000, **query}
    text, binary = (api.get(BARS, params={**params, "format": form}) for form in ("json", "arrow"))
    assert (text.status_code, binary.status_code) == (200, 200), binary.text
    assert binary.headers["content-type"] == MEDIA_TYPE
    return text.json(), read(binary.content)


def rows(stream: Stream) -> list[dict[str, Any]]:
    return [dict(zip(stream.values, row, strict=True)) for row in zip(*stream.values.values(), strict=True)]


WINDOW = {"symbol": "AAPL", "start": OPEN, "end": OPEN + 7 * HOUR}
QUESTIONS = [
    WINDOW,
    {**WINDOW, "sort": "desc"},
    {**WINDOW, "limit": 7},
    {**WINDOW, "timeframe": "10m"},
    {**WINDOW, "fields": "close,ts"},
    {**WINDOW, "start": OPEN + 90_000, "end": OPEN + 60 * HOUR},
    {"symbol": "AAPL", "timeframe": "1d", "limit": 3},
    {"symbol": "AAPL", "end": OPEN + 7 * HOUR, "limit": 5},
]


def check(api: Api, question: dict[str, Any]) -> int:
    text, stream = both(api, **question)
    assert rows(stream) == text["candles"]
    about = json.loads(stream.metadata["nautilus"])
    del text["candles"]
    assert about == text
    return len(rows(stream))


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_arrow_page_is_the_json_page(api: Api, question: dict[str, Any]) -> None:
    assert check(api, question) > 0


def test_a_column_that_leaves_nulls_out_is_found_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The opponent of the test above: `string_agg` skips NULLs, and what comes behind them moves up."""
    plain = packed._value

    def wrong(name: str, time: str) -> str:
        return f"float8send({name})" if name == "volume" else plain(name, time)

    monkeypatch.setattr(packed, "_value", wrong)
    with pytest.raises(Exception):  # noqa: B017  the reader, or the comparison
        check(api, WINDOW)


def test_several_symbols_stand_one_behind_the_other_with_all_their_names(api: Api) -> None:
    text, stream = both(api, symbols="MSFT,NOPE,AAPL", start=OPEN, end=OPEN + 390 * MINUTE)
    expected = [{"symbol": part["symbol"], **candle} for part in text["results"] for candle in part["candles"]]
    assert rows(stream) == expected
    assert len(stream.batches) == 2
    about = json.loads(stream.metadata["nautilus"])
    assert [part["symbol"] for part in about["results"]] == ["MSFT", "NOPE", "AAPL"]
    assert about["results"][1]["error"]["code"]
    assert about["results"][0]["coverage"]["complete"] is False
    assert about["results"][2]["data_version"] == text["results"][2]["data_version"]


def test_nothing_there_has_all_columns(api: Api) -> None:
    _, stream = both(api, symbol="AAPL", start=OPEN - 40 * DAY, end=OPEN - 39 * DAY)
    assert (rows(stream), stream.batches) == ([], [])
    assert [column.name for column in stream.columns] == ALL.split(",")


def test_pages_walk_on_by_the_header(api: Api) -> None:
    params = {**WINDOW, "timeframe": "1m", "format": "arrow", "limit": 100}
    stamps, answer = [], api.get(BARS, params=params)
    while True:
        stamps += read(answer.content).values["ts"]
        token = answer.headers.get("x-next-page-token")
        assert json.loads(read(answer.content).metadata["nautilus"])["next_page_token"] == token
        if token is None:
            break
        answer = api.get(BARS, params={**params, "page_token": token})
    assert stamps == [OPEN + n * MINUTE for n in range(390)]


def test_accept_asks_for_it_and_gzip_packs_it(api: Api) -> None:
    params = {**WINDOW, "timeframe": "1m", "limit": 1_000}
    packed_answer = api.get(BARS, params=params, headers={"Accept": MEDIA_TYPE, "Accept-Encoding": "gzip"})
    plain = api.get(BARS, params={**params, "format": "arrow"}, headers={"Accept-Encoding": "identity"})
    assert packed_answer.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed_answer.content == plain.content  # the client has unpacked one
    assert int(packed_answer.headers["content-length"]) < len(plain.content) // 3
    tag = plain.headers["etag"]
    again = api.get(
        BARS, params={**params, "format": "arrow"}, headers={"Accept-Encoding": "identity", "If-None-Match": tag}
    )
    assert again.status_code == 304


def test_parquet_is_refused_and_the_ways_to_many_bars_are_named(api: Api) -> None:
    refused = api.get(BARS, params={**WINDOW, "format": "parquet"})
    assert refused.status_code == 406
    assert "arrow" in refused.json()["detail"]
    assert "/api/v1/market-data/exports" in refused.json()["detail"]


# ---- large pages -----------------------------------------------------------------------------------------------------


def always_open() -> Calendar:
    return market("UTC", date(2023, 9, 1), 140, [(0, 1_440)], weekdays=range(7))


@pytest.fixture
def many(dsn: str) -> Iterator[StoredBars]:
    """51,000 minutes without a pause."""
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), always_open())
    start = ns("2023-10-01 00:00")
    bars = [Bar(start + n * MINUTE, 1.25, 2.5, 0.5, 1.5 + n % 9, float(n), 1.0, n) for n in range(51_000)]
    made.record(stock(), "1m", bars, settled=[(start, start + 51_000 * MINUTE)])
    yield made
    made.close()


def test_fifty_thousand_bars_arrive_in_one_page(many: StoredBars, tmp_path: Path) -> None:
    api = many.api(tmp_path, anonymous_scopes=("bars:read",))
    start = ns("2023-10-01 00:00")
    params = {"symbol": "AAPL", "timeframe": "1m", "start": start, "limit": 50_000, "format": "arrow"}
    answer = api.get(BARS, params={**params, "fields": "+vwap,+trades"})
    assert read(answer.content).values["ts"] == [start + n * MINUTE for n in range(50_000)]
    assert answer.headers["x-total"] == "50000"
    # JSON is cut by what Lambda carries.
    assert int(api.get(BARS, params={**params, "format": "ndjson"}).headers["x-total"]) < 50_000


def test_what_lambda_could_not_carry_goes_into_another_page(
    many: StoredBars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_BYTES", 1_000_000)
    api = many.api(tmp_path, anonymous_scopes=("bars:read",))
    start = ns("2023-10-01 00:00")
    params = {"symbol": "AAPL", "timeframe": "1m", "start": start, "limit": 50_000, "format": "arrow"}
    answer = api.get(BARS, params=params)
    assert 0.9 < -(-len(answer.content) // 3) * 4 / 1_000_000 < 1.01
    stamps = read(answer.content).values["ts"]
    rest = api.get(BARS, params={**params, "page_token": answer.headers["x-next-page-token"]})
    assert read(rest.content).values["ts"][0] == stamps[-1] + MINUTE


# ---- what it takes ---------------------------------------------------------------------------------------------------

_PROGRAM = """
import json, sys
import functions.bars.app as app
answer = app.handler(json.loads(sys.stdin.read()), None)
loaded = [name for name in ("numpy", "pyarrow", "pandas", "nanoarrow") if name in sys.modules]
print(json.dumps({"answer": answer, "loaded": loaded}))
"""


def test_the_function_that_answers_it_loads_no_library_of_numbers(stored_bars: StoredBars, tmp_path: Path) -> None:
    stored_bars.api(tmp_path)  # has made the keys
    event = http_event("GET", BARS, query=f"symbol=AAPL&timeframe=1m&format=arrow&start={OPEN}&limit=1000",
                       headers={"accept-encoding": "gzip", **stored_bars.user(1, "bars:read")})  # fmt: skip
    environment = {
        **token_settings(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "NAUTILUS_DATABASE_URL": stored_bars.dsn,
        "NAUTILUS_LOG_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(event),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["loaded"] == []
    assert found["answer"]["statusCode"] == 200, found["answer"]
    assert found["answer"]["isBase64Encoded"] is True
    assert len(read(gzip.decompress(base64.b64decode(found["answer"]["body"]))).values["ts"]) == 390
