"""The watch list by its routes: what is set, how current each series is, and when it counts as stale."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

import functions.live.app
import functions.monitoring.app
from nautilus.clock import NS_PER_S
from nautilus.db.connection import readable
from nautilus.db.live import streams, wants
from nautilus.db.market import instruments
from nautilus.http.services import Services
from nautilus.live import watching
from nautilus.live.freshness import LATE_AFTER_S
from nautilus.live.watch_series import MAX_WATCHED, parse_list
from nautilus.settings.api import ApiSettings
from tests.integration.live.test_wants import STREAM
from tests.support.markets import HOUR, MINUTE, ns, nyse
from tests.support.stored_bars import Api, StoredBars, stock

OPEN = ns("2024-01-12 09:30", "America/New_York")
CLOSE = ns("2024-01-12 16:00", "America/New_York")
NOON = ns("2024-01-12 12:00", "America/New_York")
WATCH = "/api/v1/market-data/watchlist"
APPLE: dict[str, Any] = {"instrument_id": "AAPL.NASDAQ"}
EARLIER = "UPDATE live_wants SET created_at = created_at - interval '60 days' RETURNING 1"


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOON + 100_000)
    for one in (stock(), stock(2, "MSFT")):
        made.instrument(one, nyse(date(2023, 12, 1), 60))
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path, router=functions.live.app.router, live_watch="MSFT.NASDAQ:5m,NEVER.NYSE:1m")


def put(api: Api, series: Any, **headers: str) -> httpx.Response:
    return api.request("PUT", WATCH, json={"series": series}, headers=headers)


def listed(api: Api) -> list[dict[str, Any]]:
    answer = api.get(WATCH)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return list(answer.json()["series"])


def names(api: Api) -> list[str]:
    return [row["series"] for row in listed(api)]


def sweep(stored_bars: StoredBars, setting: str = "") -> None:
    """What the bridge does each second."""
    with stored_bars.db.transaction() as cursor:
        watching.keep(cursor, parse_list([word for word in setting.split(",") if word]))


def stale(stored_bars: StoredBars, api: Api) -> dict[str, float]:
    """The metrics that the monitoring function emits."""
    return {
        one.name: one.value
        for one in functions.monitoring.app.measure(api.services)
        if one.name in ("WatchedSeries", "StaleSeries")
    }


# ---- which list holds ------------------------------------------------------------------------------------------------


def test_without_a_list_the_setting_holds(api: Api) -> None:
    body = api.get(WATCH).json()
    assert (body["source"], body["set_by"], body["set_at"]) == ("setting", None, None)
    known, unknown = body["series"]
    assert (known["series"], known["con_id"]) == ("MSFT.NASDAQ:5m:TRADES:rth", 2)
    assert (unknown["series"], unknown["state"], unknown["reason"]) == (
        "NEVER.NYSE:1m",
        "waiting",
        "unknown_instrument",
    )


def test_a_list_that_is_set_wins_also_when_it_is_empty(stored_bars: StoredBars, api: Api) -> None:
    given = [{"symbol": "MSFT", "timeframe": "1 min"}, {**APPLE, "timeframe": "5s", "session": "all", "price": "bid"}]
    answer = put(api, given, **stored_bars.user(7, "bars:read", "backfill:write"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["source"], answer.json()["set_by"]) == ("request", "user:7")
    assert answer.json()["set_at"]
    assert names(api) == ["MSFT.NASDAQ:1m:TRADES:rth", "AAPL.NASDAQ:5s:BID:all"]
    assert put(api, []).json()["series"] == []
    assert names(api) == []
    assert put(api, None).json()["source"] == "setting"
    assert names(api)[0] == "MSFT.NASDAQ:5m:TRADES:rth"


def test_the_bridge_is_told_of_a_new_list_and_wants_its_series(stored_bars: StoredBars, api: Api) -> None:
    with closing(stored_bars.db.listen(wants.CHANNEL)) as hearing:
        put(api, [APPLE])
        assert readable(hearing, 10)
        hearing.poll()
        assert [note.channel for note in hearing.notifies] == [wants.CHANNEL]
    assert listed(api)[0]["reason"] == "not_seen_yet"
    sweep(stored_bars)
    (row,) = stored_bars.rows("SELECT owner, con_id, timeframe, priority, lease_until FROM live_wants")
    assert tuple(row) == ("watch", 1, "1m", 3, None)


BAD: list[tuple[Any, str, str]] = [
    ({}, "series.1.symbol", "instrument_id"),
    ({**APPLE, "timeframe": "1d"}, "series.1.timeframe", "8h"),
    ({**APPLE, "timeframe": "1s"}, "series.1.timeframe", "5s"),
    ({**APPLE, "timeframe": "7m"}, "series.1.timeframe", "1m"),
    ({**APPLE, "price": "BID_ASK"}, "series.1.price", "MIDPOINT"),
    ({**APPLE, "price": "AGGTRADES"}, "series.1.price", "TRADES"),
    ({**APPLE, "session": "night"}, "series.1.session", "rth"),
    ({**APPLE, "kind": "bars"}, "series.1.kind", "not a field"),
    ({"con_id": 1.5}, "series.1.con_id", "whole number"),
    ({"con_id": 2**53}, "series.1.con_id", "at most"),
    ({"symbol": "AA,PL"}, "series.1.symbol", "symbol"),
    ({"symbol": "MSFT"}, "series.1", "the same as series.0"),
    ("AAPL.NASDAQ:1m", "series.1", "JSON object"),
]


@pytest.mark.parametrize(("given", "field", "says"), BAD)
def test_a_list_with_a_series_that_makes_no_sense_changes_nothing(
    stored_bars: StoredBars, api: Api, given: Any, field: str, says: str
) -> None:
    put(api, [APPLE])
    answer = put(api, [{"symbol": "MSFT"}, given])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text
    assert says in answer.text
    assert names(api) == ["AAPL.NASDAQ:1m:TRADES:rth"]


@pytest.mark.parametrize("body", [{}, [], {"series": "AAPL"}, {"series": [], "by": "me"}, {"series": [APPLE] * 101}])
def test_a_body_that_is_no_list_changes_nothing(stored_bars: StoredBars, api: Api, body: Any) -> None:
    put(api, [APPLE])
    assert api.request("PUT", WATCH, json=body).status_code == 422
    assert len(listed(api)) == 1


def test_a_list_may_be_as_long_as_it_says(stored_bars: StoredBars, api: Api) -> None:
    with stored_bars.db.transaction() as cursor:
        instruments.store_all(cursor, [(stock(100 + n, f"S{n}"), {}) for n in range(MAX_WATCHED)])
    assert put(api, [{"con_id": 100 + n} for n in range(MAX_WATCHED)]).status_code == 200
    assert len(listed(api)) == MAX_WATCHED


def test_an_unknown_instrument_changes_nothing(stored_bars: StoredBars, api: Api) -> None:
    with stored_bars.db.transaction() as cursor:
        instruments.remember(cursor, "STK|NONE|USD|front", [], ib_code=200, ib_text="No security definition", keep_s=60)
    put(api, [APPLE])
    answer = put(api, [{"symbol": "NONE"}])
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-instrument")
    assert answer.json()["detail"].startswith("series.0: NONE")
    assert names(api) == ["AAPL.NASDAQ:1m:TRADES:rth"]


def test_setting_the_list_needs_more_than_reading(stored_bars: StoredBars, api: Api) -> None:
    answer = put(api, [], **stored_bars.user(8, "bars:read"))
    assert (answer.status_code, answer.json()["scope"]) == (403, "backfill:write")
    assert api.get(WATCH, headers=stored_bars.user(8, "bars:read")).status_code == 200


def test_a_name_that_changes_hands_is_told_and_the_list_keeps_its_contract(stored_bars: StoredBars, api: Api) -> None:
    put(api, [APPLE, {"symbol": "MSFT"}])
    assert not any("instrument_changed" in row for row in listed(api))
    with stored_bars.db.transaction() as cursor:
        instruments.store(cursor, stock(9), {})
        instruments.remember(cursor, "STK|AAPL||front", [1], keep_s=None)
        instruments.remember(cursor, "STK|AAPL||front", [9], keep_s=None)
        instruments.store(cursor, stock(2, "MSFTX"), {})
    apple, msft = listed(api)
    assert apple["con_id"] == 1
    assert apple["instrument_changed"] == {
        "from_con_id": 1,
        "from_instrument_id": "AAPL.NASDAQ",
        "to_con_id": 9,
        "to_instrument_id": "AAPL.NASDAQ",
    }
    assert msft["instrument_changed"]["to_instrument_id"] == "MSFTX.NASDAQ"
    assert msft["instrument_changed"]["to_con_id"] == 2


# ---- how current it is -----------------------------------------------------------------------------------------------


def watched(stored_bars: StoredBars, api: Api, until: int | None, *, stream: bool = True) -> dict[str, Any]:
    """The series, wanted long since, when history has confirmed it up to a time."""
    put(api, [APPLE])
    sweep(stored_bars)
    stored_bars.rows(EARLIER)
    if until is not None:
        stored_bars.record(stock(), "1m", settled=[(OPEN, until)])
    if stream:
        with stored_bars.db.transaction() as cursor:
            streams.put(cursor, "bridge-1", [STREAM._replace(last_event_at=NOON - NS_PER_S)])
    return listed(api)[0]


def test_a_series_shows_its_stream_and_until_where_it_is_confirmed(stored_bars: StoredBars, api: Api) -> None:
    row = watched(stored_bars, api, NOON - 2 * MINUTE)
    assert (row["state"], row["source"], row["reason"]) == ("live", "kutd", None)
    assert (row["confirmed_until"], row["age_s"]) == ("2024-01-12T16:58:00Z", 120.0)
    assert row["due_until"] == "2024-01-12T16:49:00Z", "ten minutes and the delay of a close ago, the last full minute"
    assert (row["stale"], row["expired"]) == (False, False)
    assert stale(stored_bars, api) == {"WatchedSeries": 1, "StaleSeries": 0}


@pytest.mark.parametrize("until", [None, NOON - 12 * MINUTE, OPEN])
def test_a_series_that_is_not_confirmed_in_time_is_stale(stored_bars: StoredBars, api: Api, until: int | None) -> None:
    row = watched(stored_bars, api, until)
    assert row["stale"] is True, "whatever its stream says"
    assert stale(stored_bars, api) == {"WatchedSeries": 1, "StaleSeries": 1}


def test_over_the_night_the_last_bar_of_the_session_is_due(stored_bars: StoredBars, api: Api) -> None:
    stored_bars.set_time(CLOSE + 5 * HOUR)
    assert watched(stored_bars, api, CLOSE)["stale"] is False
    assert listed(api)[0]["due_until"] == "2024-01-12T21:00:00Z"
    put(api, [{"symbol": "MSFT"}])
    sweep(stored_bars)
    stored_bars.rows(EARLIER)
    stored_bars.record(stock(2, "MSFT"), "1m", settled=[(OPEN, CLOSE - MINUTE)])
    assert listed(api)[0]["stale"] is True, "its last minute is missing"


def test_what_nobody_wanted_yet_is_not_late(stored_bars: StoredBars, api: Api) -> None:
    put(api, [APPLE])
    sweep(stored_bars)
    row = listed(api)[0]
    assert (row["stale"], row["due_until"], row["confirmed_until"]) == (False, None, None)
    stored_bars.rows("UPDATE live_wants SET created_at = created_at - interval '599 s' RETURNING 1")
    assert listed(api)[0]["stale"] is False
    stored_bars.rows("UPDATE live_wants SET created_at = created_at - interval '2 s' RETURNING 1")
    assert listed(api)[0]["stale"] is True, "history had ten minutes"


def test_where_market_time_runs_fast_a_bar_is_late_sooner(stored_bars: StoredBars, api: Api) -> None:
    put(api, [APPLE])
    sweep(stored_bars)
    stored_bars.rows("UPDATE live_wants SET created_at = created_at - interval '60 s' RETURNING 1")
    now = "(extract(epoch FROM clock_timestamp()) * 1e9)::bigint"
    stored_bars.rows(f"UPDATE ib_sessions SET clock_machine_ns = {now}, clock_rate = 20 RETURNING 1")
    assert listed(api)[0]["stale"] is True, "twenty minutes of market time have passed"


def test_five_minute_bars_are_as_current_as_their_minutes(stored_bars: StoredBars, api: Api) -> None:
    put(api, [{**APPLE, "timeframe": "5m"}])
    sweep(stored_bars)
    stored_bars.record(stock(), "1m", settled=[(OPEN, NOON - 3 * MINUTE)])
    assert listed(api)[0]["confirmed_until"] == "2024-01-12T16:57:00Z"


def test_a_contract_that_trades_no_more_is_told_and_not_late(stored_bars: StoredBars, api: Api) -> None:
    watched(stored_bars, api, None)
    stored_bars.rows("UPDATE instruments SET expiry = '20240111' WHERE con_id = 1 RETURNING 1")
    row = listed(api)[0]
    assert (row["expired"], row["stale"]) == (True, False)


def test_without_a_bridge_nothing_looks_current(stored_bars: StoredBars, api: Api) -> None:
    watched(stored_bars, api, NOON - 2 * MINUTE)
    stored_bars.rows("UPDATE ib_sessions SET heartbeat_at = heartbeat_at - interval '16 s' RETURNING 1")
    row = listed(api)[0]
    assert (row["state"], row["reason"]) == ("stale", "bridge_silent")


def test_series_that_cannot_be_kept_count_as_stale(stored_bars: StoredBars, api: Api) -> None:
    sweep(stored_bars, "MSFT.NASDAQ:5m,NEVER.NYSE:1m")
    assert stale(stored_bars, api) == {"WatchedSeries": 2, "StaleSeries": 1}


def test_late_is_later_than_the_slowest_confirmation() -> None:
    slowest_s = -(-MAX_WATCHED // 20) * 60
    assert 2 * slowest_s <= LATE_AFTER_S


def test_a_setting_that_is_wrong_starts_no_process(tmp_path: Path, stored_bars: StoredBars) -> None:
    with pytest.raises(ValueError, match="AAPL:1m"):
        stored_bars.app(tmp_path, live_watch="AAPL:1m")
    assert isinstance(stored_bars.app(tmp_path).state.services, Services)
    assert ApiSettings.model_fields["live_watch"].default == ()
