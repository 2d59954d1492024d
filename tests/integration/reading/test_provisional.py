"""With live=1 provisional bars stand beside those of history, marked, in every form; without it nobody sees them."""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nautilus.db.bars import bar_source
from nautilus.db.live import provisional
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.market import series
from nautilus.market.bar import Bar
from nautilus.market.timeframes import timeframe
from tests.support.markets import HOUR, MINUTE, S, ns, nyse
from tests.support.stored_bars import BARS, Api, StoredBars, stock

OPEN = ns("2024-01-08 09:30", "America/New_York")
NOW = OPEN + 70 * MINUTE + 5 * S
"""10:40:05: the minute 10:38 is closed by the bar-close delay of 15 s, 10:39 is over, 10:40 forms."""
LIVE = {"symbol": "AAPL", "timeframe": "1m", "start": OPEN, "wait": 0, "live": 1}


def bar(minute: int, price: float = 100.0) -> Bar:
    return Bar(OPEN + minute * MINUTE, price, price + 1, price - 1, price + 0.5, 10.0, price + 0.2, 3)


def live_bar(series_id: int, minute: int, price: float = 200.0, **more: Any) -> ProvisionalBar:
    state = "forming" if minute == 70 else "closed"
    values = (price, price + 1, price - 1, price + 0.5, 7.0, 2, state, False, "kutd", NOW)
    return ProvisionalBar(series_id, OPEN + minute * MINUTE, *values)._replace(**more)


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.record(stock(), "1m", [bar(n) for n in range(68)], settled=[(OPEN - HOUR, OPEN + 68 * MINUTE)])
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path)


def stream(stored_bars: StoredBars, bars: Iterable[ProvisionalBar] = (), *, begin: bool = True) -> int:
    """Bars as the bridge writes them; returns the series."""
    with stored_bars.db.transaction() as cursor:
        if begin:
            provisional.begin_generation(cursor)
        row = series.find_or_make(cursor, stock().con_id, timeframe("1m"), price="TRADES", session="rth")
        provisional.put(cursor, [one._replace(series_id=row.id) for one in bars])
    return row.id


def get(api: Api, **query: Any) -> Any:
    answer = api.get(BARS, params=LIVE | query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    return answer


def minutes(answer: Any) -> list[tuple[int, float, bool]]:
    """Minute, close, and whether it is provisional."""
    return [((c["ts"] - OPEN) // MINUTE, c["close"], c.get("provisional", False)) for c in answer.json()["candles"]]


HISTORY = [(n, 100.5, False) for n in range(68)]
PREVIEW = [live_bar(0, 68), live_bar(0, 69), live_bar(0, 70)]


def test_provisional_bars_follow_those_of_history_and_say_what_they_are(stored_bars: StoredBars, api: Api) -> None:
    stream(stored_bars, PREVIEW)
    answer = get(api)
    assert minutes(answer) == [*HISTORY, (68, 200.5, True), (69, 200.5, True), (70, 200.5, True)]
    newest = answer.json()["candles"][-1]
    assert newest == {
        "time": "20240108  15:40:00Z",
        "ts": OPEN + 70 * MINUTE,
        "open": 200,
        "high": 201,
        "low": 199,
        "close": 200.5,
        "volume": 7,
        "provisional": True,
    }
    assert answer.json()["coverage"] == {
        "complete": False,
        "missing": [{"start": "2024-01-08T15:38:00Z", "end": "2024-01-08T15:41:00Z", "state": "provisional"}],
    }
    assert answer.json()["window"]["end"] == "2024-01-08T15:41:00Z"
    assert answer.json()["job_id"] is None, "the bridge confirms them by itself"


def test_without_live_nobody_sees_them(stored_bars: StoredBars, api: Api) -> None:
    stream(stored_bars, PREVIEW)
    for query in ({}, {"live": 0}, {"end": NOW}, {"timeframe": "5m"}):
        plain = {name: value for name, value in LIVE.items() if name != "live"}
        answer = api.get(BARS, params=plain | query)
        assert b"provisional" not in answer.content
        assert max(c["ts"] for c in answer.json()["candles"]) < OPEN + 68 * MINUTE


def test_tables_have_a_column_and_lines_a_field(stored_bars: StoredBars, api: Api) -> None:
    stream(stored_bars, PREVIEW[:1])
    ends = {"start": OPEN + 66 * MINUTE, "fields": "ts,close"}
    lines = get(api, format="csv", **ends).text.splitlines()
    assert lines == ["ts,close,provisional"] + [
        f"{OPEN + n * MINUTE},{close},{mark}"
        for n, close, mark in ((66, "100.5", "false"), (67, "100.5", "false"), (68, "200.5", "true"))
    ]
    columns = get(api, format="columns", **ends).json()["candles"]
    assert (columns["close"], columns["provisional"]) == ([100.5, 100.5, 200.5], [False, False, True])
    rows = [json.loads(line) for line in get(api, format="ndjson", **ends).text.splitlines()]
    assert [row.get("provisional") for row in rows] == [None, None, True]
    coverage = json.loads(get(api, format="ndjson", **ends).headers["x-coverage"])
    assert [gap["state"] for gap in coverage["missing"]] == ["provisional", "not_closed_yet"]
    hours = get(api, fields="ts,ts_open,ts_close", start=OPEN + 68 * MINUTE).json()["candles"]
    assert hours[0]["ts_close"] - hours[0]["ts_open"] == MINUTE


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_hold_them_at_their_place(stored_bars: StoredBars, api: Api, sort: str) -> None:
    stream(stored_bars, PREVIEW)
    found, token = [], None
    while True:
        page = get(api, limit=20, sort=sort, **({"page_token": token} if token else {}))
        found += minutes(page)
        token = page.json()["next_page_token"]
        if token is None:
            break
    expected = [*HISTORY, *((n, 200.5, True) for n in (68, 69, 70))]
    assert found == (expected if sort == "asc" else expected[::-1])


def test_a_bar_that_is_confirmed_between_two_pages_is_not_lost(stored_bars: StoredBars, api: Api) -> None:
    """Its provisional row is gone and its real one is of a later version than the first page's."""
    number = stream(stored_bars, PREVIEW)
    first = get(api, limit=66)
    stored_bars.record(stock(), "1m", [bar(68, 300.0)], settled=[(OPEN + 68 * MINUTE, OPEN + 69 * MINUTE)])
    with stored_bars.db.transaction() as cursor:
        assert provisional.remove(cursor, number, OPEN + 68 * MINUTE, OPEN + 69 * MINUTE) == 1
    second = get(api, limit=66, page_token=first.json()["next_page_token"])
    assert minutes(second)[2:] == [(68, 300.5, False), (69, 200.5, True), (70, 200.5, True)]
    assert second.json()["data_version"] == 2


def test_the_newest_bars_end_with_the_one_that_forms(stored_bars: StoredBars, api: Api) -> None:
    stream(stored_bars, PREVIEW)
    query = {name: value for name, value in LIVE.items() if name != "start"}
    answer = api.get(BARS, params=query | {"limit": 5})
    assert minutes(answer) == [(66, 100.5, False), (67, 100.5, False), *((n, 200.5, True) for n in (68, 69, 70))]


def test_history_wins_over_what_a_stream_told_of_the_same_slot(stored_bars: StoredBars, api: Api) -> None:
    """A row that somebody forgot to delete, and one of a slot of which history says that nothing was traded."""
    stored_bars.record(stock(), "1m", settled=[(OPEN + 68 * MINUTE, OPEN + 69 * MINUTE)])
    stream(stored_bars, [live_bar(0, 67, 222.0), live_bar(0, 68, 222.0), live_bar(0, 69)])
    assert minutes(get(api)) == [*HISTORY, (69, 200.5, True)]


def test_a_hole_before_confirmed_bars_shows_its_provisional_bar_in_order(stored_bars: StoredBars, api: Api) -> None:
    stream(stored_bars, [live_bar(0, 69)])
    at = OPEN + 70 * MINUTE
    stored_bars.set_time(NOW + 2 * MINUTE)
    stored_bars.record(stock(), "1m", [bar(70)], settled=[(at, at + MINUTE)])
    answer = get(api)
    assert minutes(answer) == [*HISTORY, (69, 200.5, True), (70, 100.5, False)]
    states = [(gap["start"][11:16], gap["end"][11:16], gap["state"]) for gap in answer.json()["coverage"]["missing"]]
    assert states == [
        ("15:38", "15:39", "queued"),
        ("15:39", "15:40", "provisional"),
        ("15:41", "15:43", "not_closed_yet"),
    ]


# ---- longer bars -----------------------------------------------------------------------------------------------------


def test_longer_bars_are_folded_from_minutes_of_both_kinds(stored_bars: StoredBars, api: Api) -> None:
    """10:30 to 11:00 in New York has begun with confirmed minutes 60 to 67 and goes on with provisional ones."""
    stream(stored_bars, [live_bar(0, 68), live_bar(0, 70, 300.0)])
    answer = get(api, timeframe="30m", fields="ts,open,high,low,close,volume,vwap,trades")
    *before, newest = answer.json()["candles"]
    assert [c["ts"] for c in before] == [OPEN, OPEN + 30 * MINUTE]
    assert not any("provisional" in c for c in before)
    values = {"open": 100, "high": 301, "low": 99, "close": 300.5, "volume": 94, "vwap": None, "trades": 28}
    assert newest == {"ts": OPEN + 60 * MINUTE, **values, "provisional": True}
    assert answer.json()["source"] == "derived from 1m"
    (gap,) = answer.json()["coverage"]["missing"]
    assert gap == {"start": "2024-01-08T15:30:00Z", "end": "2024-01-08T16:00:00Z", "state": "provisional"}


def test_a_bar_that_forms_is_provisional_though_its_minutes_are_confirmed(stored_bars: StoredBars, api: Api) -> None:
    stream(stored_bars)
    newest = get(api, timeframe="30m").json()["candles"][-1]
    assert (newest["ts"], newest["provisional"]) == (OPEN + 60 * MINUTE, True)


def test_stored_longer_bars_come_from_their_own_series_and_the_rest_from_minutes(
    stored_bars: StoredBars, api: Api
) -> None:
    whole = [Bar(OPEN + n * 10 * MINUTE, 50.0, 51.0, 49.0, 50.5, 1.0, 50.1, 1) for n in range(6)]
    stored_bars.record(stock(), "10m", whole, settled=[(OPEN - HOUR, OPEN + HOUR)])
    stream(stored_bars, PREVIEW)
    answer = get(api, timeframe="10m")
    assert [(c["close"], c.get("provisional", False)) for c in answer.json()["candles"]] == [
        *[(50.5, False)] * 6,
        (200.5, True),  # over, and not confirmed
        (200.5, True),  # forms
    ]
    assert answer.json()["source"] != "derived from 1m"


def test_a_stream_without_any_history_is_shown(stored_bars: StoredBars, api: Api) -> None:
    stored_bars.rows("DELETE FROM series_changes; DELETE FROM bars_minute; UPDATE series SET covered = '{}'")
    stream(stored_bars, PREVIEW)
    assert [m[2] for m in minutes(get(api))] == [True] * 3
    assert [c["close"] for c in get(api, timeframe="10m").json()["candles"]] == [200.5, 200.5]


def preview_of_history(stored_bars: StoredBars, api: Api) -> tuple[Any, Any]:
    """The bar of 10:40 to 10:50 in New York as it is provisionally, and as it is once history has told the same minutes."""
    stored_bars.set_time(OPEN + 80 * MINUTE + 5 * S)
    prices = [100.0, 103.5, 98.25, 101.0, 107.75, 95.5, 99.0, 100.25, 102.0, 104.5]
    minutes = [Bar(OPEN + (70 + n) * MINUTE, p, p + 1, p - 1, p + 0.5, 7.5 * n, None, n) for n, p in enumerate(prices)]
    rest = [bar(68), bar(69)]
    stored_bars.record(stock(), "1m", rest, settled=[(OPEN + 68 * MINUTE, OPEN + 70 * MINUTE)])
    number = stream(stored_bars, [ProvisionalBar(0, *b[:6], b.trades, "closed", False, "kutd", NOW) for b in minutes])
    query = {"timeframe": "10m", "start": OPEN + 70 * MINUTE, "fields": "ts,open,high,low,close,volume,trades"}
    before = get(api, **query).json()["candles"]
    stored_bars.record(stock(), "1m", minutes, settled=[(OPEN + 70 * MINUTE, OPEN + 80 * MINUTE)])
    with stored_bars.db.transaction() as cursor:
        provisional.remove(cursor, number, OPEN, OPEN + HOUR * 2)
    stored_bars.set_time(OPEN + 81 * MINUTE)
    return before, get(api, **query).json()["candles"]


def test_a_longer_bar_is_what_history_makes_of_the_same_minutes(stored_bars: StoredBars, api: Api) -> None:
    before, after = preview_of_history(stored_bars, api)
    assert before == [{**after[0], "provisional": True}]


@pytest.mark.parametrize(
    ("right", "wrong"), [("l.high, l.low", "l.low AS high, l.high AS low"), ("l.volume", "0::float8 AS volume")]
)
def test_a_mistake_in_what_is_read_of_a_stream_is_found(
    stored_bars: StoredBars, api: Api, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    plain = bar_source._of_stream
    monkeypatch.setattr(bar_source, "_of_stream", lambda *given: plain(*given).replace(right, wrong, 1))
    before, after = preview_of_history(stored_bars, api)
    assert before != [{**after[0], "provisional": True}]


def test_without_a_stream_the_bar_that_forms_is_not_closed_yet(stored_bars: StoredBars, api: Api) -> None:
    stream(stored_bars)
    answer = get(api)
    assert minutes(answer) == HISTORY
    assert answer.json()["coverage"]["missing"][-1] == {
        "start": "2024-01-08T15:39:00Z",
        "end": "2024-01-08T15:41:00Z",
        "state": "not_closed_yet",
    }


def test_a_closed_market_lacks_no_provisional_bar(stored_bars: StoredBars, api: Api) -> None:
    stored_bars.set_time(OPEN + 8 * HOUR)
    stored_bars.record(stock(), "1m", settled=[(OPEN, OPEN + 8 * HOUR)])
    for begin in (False, True):
        if begin:
            stream(stored_bars)
        assert get(api).json()["coverage"] == {"complete": True, "missing": []}


# ---- what cannot be told ---------------------------------------------------------------------------------------------


def test_after_a_crash_nobody_claims_that_there_are_none(stored_bars: StoredBars, api: Api) -> None:
    """PostgreSQL empties both tables; the generation is left."""
    number = stream(stored_bars, PREVIEW)
    stored_bars.rows("TRUNCATE live_bars, live_bars_marker")
    gap = {"start": "2024-01-08T15:39:00Z", "end": "2024-01-08T15:41:00Z"}
    lost = {**gap, "state": "provisional", "reason": "live_bars_lost"}
    answer = get(api)
    assert minutes(answer) == HISTORY
    assert answer.json()["coverage"]["missing"][-1] == lost
    # What a bridge of the time before writes still is not all there is.
    stream(stored_bars, [live_bar(number, 70)], begin=False)
    assert minutes(get(api)) == HISTORY
    stream(stored_bars, [live_bar(number, 70)])
    answer = get(api)
    assert minutes(answer) == [*HISTORY, (70, 200.5, True)]
    assert "reason" not in answer.json()["coverage"]["missing"][-1]


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ({"timeframe": "1d"}, "timeframe", "1m"),
        ({"timeframe": "30s"}, "timeframe", "5s"),
        ({"as_of": 1}, "live", "0"),
        ({"live": 2}, "live", None),
        ({"live": "yes"}, "live", None),
    ],
)
def test_what_cannot_be_is_refused_by_name(api: Api, query: dict[str, Any], field: str, allowed: str | None) -> None:
    refused = api.get(BARS, params=LIVE | query)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["field"].removeprefix("query.")) == (422, field)
    assert allowed is None or allowed in error["allowed"]


def test_several_symbols_are_refused_by_name(api: Api) -> None:
    query = {name: value for name, value in LIVE.items() if name != "symbol"}
    refused = api.get(BARS, params=query | {"symbols": "AAPL,MSFT"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "symbols")
