"""Routes of live data: who wants what and how it stands, newest quotes, tickets, and what the old front end sends."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

import functions.live.app
from nautilus.auth.api_keys import new_key
from nautilus.clock import NS_PER_S
from nautilus.coverage.states import CoverageState, Note
from nautilus.db.connection import BRIEF_S, Database
from nautilus.db.ledger import standing_jobs
from nautilus.db.live import quotes, streams, wants
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.live.streams import StreamRow
from nautilus.db.market import instruments, series
from nautilus.live import tickets
from nautilus.live.schemas import MAX_TICKS, MAX_WANTS
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.markets import MINUTE, ns, nyse
from tests.support.neighbours import relay
from tests.support.stored_bars import Api, StoredBars, stock

NOW = ns("2024-01-12 10:30", "America/New_York")
LIVE = "/api/v1/market-data/live"
QUOTES = "/api/v1/market-data/quotes"
WATCH_LIST = "/api/v1/market-data/watchlist"
TICKETS = "/api/v1/stream/tickets"
BUS = "/api/v1/messagebus/status"
SUBSCRIBE = "/api/v1/ib/market-data/subscribe"
UNSUBSCRIBE = "/api/v1/ib/market-data/unsubscribe"
MINUTES = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
APPLE: dict[str, Any] = {"instrument_id": "AAPL.NASDAQ"}
STREAM = StreamRow(
    *(1, "bars:1m", "TRADES", "rth", "kutd", "live", "", None, "live", 6, NOW - 5 * MINUTE, NOW - 2 * NS_PER_S),
    NOW - 4 * MINUTE,
    Spans([(NOW - 3 * MINUTE, NOW - 2 * MINUTE)]),
    1,
)
QUOTE_STREAM = STREAM._replace(kind="quotes", price="", session="", source="mkt", holes=Spans())


@pytest.fixture
def stored_bars(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW + 100_000)  # a market time that stands still is rounded by some hundred ns
    for one in (stock(), stock(2, "MSFT")):
        made.instrument(one, nyse(date(2023, 12, 1), 60))
    yield made
    made.close()


@pytest.fixture
def api(stored_bars: StoredBars, tmp_path: Path) -> Api:
    return stored_bars.api(tmp_path, router=functions.live.app.router)


@pytest.fixture
def ann(stored_bars: StoredBars, api: Api) -> dict[str, str]:
    return stored_bars.user(7, "bars:read", "monitoring:read")


@pytest.fixture
def bob(stored_bars: StoredBars, api: Api) -> dict[str, str]:
    return stored_bars.user(8, "bars:read")


def write(stored_bars: StoredBars, *rows: StreamRow) -> None:
    with stored_bars.db.transaction() as cursor:
        streams.put(cursor, "bridge-1", rows)


def ask(api: Api, headers: dict[str, str], *given: dict[str, Any]) -> httpx.Response:
    return api.request("POST", LIVE, json={"wants": list(given)}, headers=headers)


def channels(api: Api, headers: dict[str, str]) -> list[str]:
    return [row["channel"] for row in api.get(LIVE, headers=headers).json()["wants"]]


# ---- wants -----------------------------------------------------------------------------------------------------------


def test_what_is_wanted_is_listed_with_its_stream(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    answer = ask(api, ann, {**APPLE, "kind": "bars", "lease_s": 60}, {"symbol": "MSFT", "kind": "quotes"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["new"] == 2
    bars, quote = body["wants"]
    assert (bars["channel"], bars["timeframe"], bars["price"], bars["session"]) == (MINUTES, "1m", "TRADES", "rth")
    assert (quote["channel"], quote["timeframe"]) == ("data.quotes.NASDAQ.MSFT", "")
    assert (bars["state"], bars["reason"], bars["source"]) == ("wanted", "not_seen_yet", None)
    write(stored_bars, STREAM, QUOTE_STREAM._replace(con_id=2, state="waiting", reason="no_market_data_line_free"))
    body = api.get(LIVE, headers=ann).json()
    bars, quote = body["wants"]
    assert (bars["state"], bars["reason"], bars["source"], bars["feed"]) == ("live", None, "kutd", "live")
    assert (bars["age_s"], bars["confirmed_until"]) == (2.0, "2024-01-12T15:26:00Z")
    assert bars["holes"] == [{"start": "2024-01-12T15:27:00Z", "end": "2024-01-12T15:28:00Z"}]
    assert (quote["state"], quote["reason"]) == ("waiting", "no_market_data_line_free")
    assert body["market_time"] == "2024-01-12T15:30:00Z"
    assert [(row["instrument_id"], row["kind"]) for row in body["streams"]] == [
        ("AAPL.NASDAQ", "bars:1m"),
        ("MSFT.NASDAQ", "quotes"),
    ]


def test_streams_are_shown_to_who_may_monitor(stored_bars: StoredBars, api: Api, bob: dict[str, str]) -> None:
    write(stored_bars, STREAM)
    assert "streams" not in api.get(LIVE, headers=bob).json()


def test_longer_bars_are_served_by_the_stream_of_minutes(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    given = [{**APPLE, "kind": "bars", "timeframe": frame} for frame in ("5 mins", "1d", "5s")]
    ask(api, ann, *given, {**APPLE, "kind": "bars", "session": "all", "price": "midpoint"})
    write(stored_bars, STREAM)
    rows = {row["channel"]: row["state"] for row in api.get(LIVE, headers=ann).json()["wants"]}
    assert rows == {
        "data.bars.AAPL.NASDAQ-1-DAY-LAST-EXTERNAL": "live",
        "data.bars.AAPL.NASDAQ-1-MINUTE-MID-EXTERNAL@all": "wanted",
        "data.bars.AAPL.NASDAQ-5-MINUTE-LAST-EXTERNAL": "live",
        "data.bars.AAPL.NASDAQ-5-SECOND-LAST-EXTERNAL": "wanted",
    }


def test_asking_again_renews_and_doubles_nothing(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    wanted = {**APPLE, "kind": "quotes"}
    ask(api, ann, {**wanted, "lease_s": 60})
    first = api.get(LIVE, headers=ann).json()["wants"][0]
    answer = ask(api, ann, {"con_id": 1, "kind": "quotes", "lease_s": 86_400}, {"symbol": "AAPL", "kind": "quotes"})
    assert answer.json()["new"] == 0
    (again,) = answer.json()["wants"]
    assert again["since"] == first["since"]
    assert again["lease_until"][:10] > first["lease_until"][:10]
    stored_bars.rows("UPDATE live_wants SET lease_until = clock_timestamp() RETURNING 1")
    assert channels(api, ann) == []


def test_two_callers_have_wants_of_their_own(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], bob: dict[str, str]
) -> None:
    for headers in (ann, bob):
        assert ask(api, headers, {**APPLE, "kind": "quotes"}).json()["new"] == 1
    ask(api, bob, {**APPLE, "kind": "ticks"})
    assert channels(api, ann) == ["data.quotes.NASDAQ.AAPL"]
    dropped = api.request("DELETE", LIVE, params={"all": "true"}, headers=ann).json()
    assert dropped == {"dropped": ["data.quotes.NASDAQ.AAPL"], "not_wanted": []}
    assert channels(api, ann) == []
    assert channels(api, bob) == ["data.quotes.NASDAQ.AAPL", "data.trades.NASDAQ.AAPL"]


def test_channels_are_dropped_one_by_one(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    ask(api, ann, *({**APPLE, "kind": kind} for kind in ("bars", "quotes", "ticks")))
    names = [MINUTES, "data.quotes.NASDAQ.MSFT", "data.trades.NASDAQ.AAPL"]
    answer = api.request("DELETE", LIVE, params={"channels": ",".join(names)}, headers=ann).json()
    assert answer == {"dropped": [names[0], names[2]], "not_wanted": [names[1]]}
    assert channels(api, ann) == ["data.quotes.NASDAQ.AAPL"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "channels"),
        ({"channels": " , "}, "channels"),
        ({"channels": "data.quotes.NASDAQ.AAPL", "all": "true"}, "channels"),
        ({"channels": "AAPL"}, "channels"),
        ({"channels": "data.bars.AAPL.NASDAQ-7-MINUTE-LAST-EXTERNAL"}, "channels"),
        ({"all": "maybe"}, "all"),
        ({"channel": MINUTES}, "channel"),
    ],
)
def test_nothing_is_dropped_for_a_request_that_makes_no_sense(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], params: dict[str, str], field: str
) -> None:
    ask(api, ann, {**APPLE, "kind": "quotes"})
    answer = api.request("DELETE", LIVE, params=params, headers=ann)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert len(channels(api, ann)) == 1


def test_the_usual_session_may_be_named_and_another_one_is_another_channel(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    for session, named, other in (("rth", f"{MINUTES}@rth", f"{MINUTES}@all"), ("all", f"{MINUTES}@all", MINUTES)):
        ask(api, ann, {**APPLE, "kind": "bars", "session": session})
        answer = api.request("DELETE", LIVE, params={"channels": f"{other},{named},{named}"}, headers=ann).json()
        assert answer == {"dropped": [MINUTES if session == "rth" else named], "not_wanted": [other]}
        assert channels(api, ann) == []


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "wants.1.kind", "missing"),
    ({"kind": "bars"}, "wants.1.symbol", "instrument_id"),
    ({"kind": "candles", **APPLE}, "wants.1.kind", "ticks"),
    ({"kind": "bars", **APPLE, "symbol": "AAPL"}, "wants.1.symbol", "symbol"),
    ({"kind": "bars", "symbol": "AA,PL"}, "wants.1.symbol", "symbol"),
    ({"kind": "bars", "instrument_id": "AAPL"}, "wants.1.instrument_id", "AAPL.NASDAQ"),
    ({"kind": "bars", "con_id": 0}, "wants.1.con_id", "at least 1"),
    ({"kind": "bars", "con_id": "1"}, "wants.1.con_id", "whole number"),
    ({"kind": "bars", **APPLE, "asset_class": "SHARE"}, "wants.1.asset_class", "STK"),
    ({"kind": "bars", **APPLE, "exchange": "?"}, "wants.1.exchange", "NASDAQ"),
    ({"kind": "bars", **APPLE, "currency": "?"}, "wants.1.currency", "USD"),
    ({"kind": "bars", **APPLE, "expiry": "2024-13"}, "wants.1.expiry", "yyyymm"),
    ({"kind": "bars", **APPLE, "timeframe": "7m"}, "wants.1.timeframe", "1m"),
    ({"kind": "bars", **APPLE, "timeframe": "1s"}, "wants.1.timeframe", "5s"),
    ({"kind": "bars", **APPLE, "price": "LAST"}, "wants.1.price", "TRADES"),
    ({"kind": "bars", **APPLE, "price": "BID_ASK"}, "wants.1.price", "MIDPOINT"),
    ({"kind": "bars", **APPLE, "price": "AGGTRADES"}, "wants.1.price", "TRADES"),
    ({"kind": "bars", **APPLE, "session": "night"}, "wants.1.session", "rth"),
    ({"kind": "bars", **APPLE, "lease_s": 59}, "wants.1.lease_s", "at least 60"),
    ({"kind": "bars", **APPLE, "lease_s": 86_401}, "wants.1.lease_s", "at most 86400"),
    ({"kind": "bars", **APPLE, "lease_s": True}, "wants.1.lease_s", "whole number"),
    ({"kind": "quotes", **APPLE, "timeframe": "1m"}, "wants.1.timeframe", "quotes have none"),
    ({"kind": "ticks", **APPLE, "session": "rth"}, "wants.1.session", "ticks have none"),
    ({"kind": "ticks", **APPLE, "price": "BID"}, "wants.1.price", "no ticks of 'BID'"),
    ({"kind": "quotes", **APPLE, "price": "MIDPOINT"}, "wants.1.price", "quotes have none"),
    ({"kind": "quotes", **APPLE, "session": "rth"}, "wants.1.session", "quotes have none"),
    ({"kind": "quotes", **APPLE, "priority": 9}, "wants.1.priority", "not a field"),
]


@pytest.mark.parametrize(("given", "field", "says"), BAD)
def test_a_want_that_makes_no_sense_is_named_and_none_is_kept(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], given: dict[str, Any], field: str, says: str
) -> None:
    answer = ask(api, ann, {**APPLE, "kind": "quotes"}, given)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert says in answer.text
    assert error.get("allowed", ["whatever"]), "an error that allows nothing helps nobody"
    assert channels(api, ann) == []


def test_ticks_of_trades_of_a_pair_are_refused_with_what_there_is_in_their_place(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    pair = stock(3, "EUR/USD")._replace(asset_class="CASH", instrument_id="EUR/USD.IDEALPRO", symbol="EUR")
    with stored_bars.db.transaction() as cursor:
        instruments.store(cursor, pair, {})
    answer = ask(api, ann, {"con_id": 3, "kind": "ticks", "price": "TRADES"})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["field"], error["allowed"]) == ("wants.0.price", ["BID_ASK", "MIDPOINT"])
    assert "IB has no trades of CASH" in error["detail"]
    assert channels(api, ann) == []
    (want,) = ask(api, ann, {"con_id": 3, "kind": "ticks"}).json()["wants"]
    assert (want["price"], want["channel"]) == ("BID_ASK", "data.quote_ticks.IDEALPRO.EUR/USD")


def test_ticks_of_an_option_are_refused_whatever_they_are_of(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    option = stock(4, "AAPL")._replace(asset_class="OPT", instrument_id="AAPL C250.SMART", expiry="20301220")
    with stored_bars.db.transaction() as cursor:
        instruments.store(cursor, option, {})
    for price in (None, "TRADES", "BID_ASK", "MIDPOINT"):
        answer = ask(api, ann, {"con_id": 4, "kind": "ticks", "price": price})
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert (error["field"], error["allowed"]) == ("wants.0.kind", ["quotes", "bars"])
        assert "no ticks of options" in error["detail"]


def test_ticks_of_trades_quotes_and_midpoints_are_wants_and_channels_of_their_own(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    prices = {"TRADES": "data.trades", "BID_ASK": "data.quote_ticks", "MIDPOINT": "data.midpoint_ticks"}
    for price, channel in prices.items():
        (want,) = ask(api, ann, {**APPLE, "kind": "ticks", "price": price}).json()["wants"]
        assert (want["price"], want["channel"]) == (price, f"{channel}.NASDAQ.AAPL")
    assert ask(api, ann, {**APPLE, "kind": "ticks"}).json()["new"] == 0, "trades are the default of a stock"
    assert len(stored_bars.rows("SELECT 1 FROM live_wants WHERE kind = 'ticks'")) == 3
    names = "data.quote_ticks.NASDAQ.AAPL,data.midpoint_ticks.NASDAQ.AAPL"
    dropped = api.request("DELETE", LIVE, params={"channels": names}, headers=ann).json()
    assert dropped == {"dropped": sorted(names.split(",")), "not_wanted": []}
    assert channels(api, ann) == ["data.trades.NASDAQ.AAPL"]


def test_a_want_of_ticks_from_the_version_before_is_one_of_trades(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    ask(api, ann, {**APPLE, "kind": "ticks"})
    stored_bars.rows("UPDATE live_wants SET price = '' RETURNING 1")
    assert channels(api, ann) == ["data.trades.NASDAQ.AAPL"]
    dropped = api.request("DELETE", LIVE, params={"channels": "data.trades.NASDAQ.AAPL"}, headers=ann).json()
    assert dropped["dropped"] == ["data.trades.NASDAQ.AAPL"]


@pytest.mark.parametrize("body", [[], {}, {"wants": []}, {"wants": None}, {"wants": [APPLE] * 201}, {"wants": [3]}])
def test_a_body_that_is_no_list_of_wants_is_refused(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], body: Any
) -> None:
    answer = api.request("POST", LIVE, json=body, headers=ann)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_an_instrument_that_means_nothing_or_several_is_named(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    with stored_bars.db.transaction() as cursor:
        instruments.remember(cursor, "STK|NONE|USD|front", [], ib_code=200, ib_text="No security definition", keep_s=60)
        instruments.store(cursor, stock(3, "TWIN"), {})
        instruments.store(cursor, stock(4, "TWIN")._replace(currency="EUR"), {})
    unknown = ask(api, ann, {**APPLE, "kind": "quotes"}, {"symbol": "NONE", "kind": "quotes"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-instrument")
    assert unknown.json()["detail"].startswith("wants.1: NONE (STK)")
    several = ask(api, ann, {**APPLE, "kind": "quotes"}, {"instrument_id": "TWIN.NASDAQ", "kind": "quotes"})
    assert (several.status_code, several.json()["code"]) == (409, "ambiguous-instrument")
    assert [row["con_id"] for row in several.json()["candidates"]] == [3, 4]
    assert channels(api, ann) == []


def test_without_an_answer_of_ib_nothing_is_kept(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    answer = ask(api, ann, {**APPLE, "kind": "quotes"}, {"symbol": "NOBODYKNOWS", "kind": "quotes"})
    assert (answer.status_code, answer.json()["code"]) == (503, "instrument-not-resolved")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["detail"].startswith("wants.1: NOBODYKNOWS")
    assert channels(api, ann) == []


def test_an_expired_contract_is_refused(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    future = stock(5, "ESZ3")._replace(asset_class="FUT", instrument_id="ESZ3.CME", expiry="20231215")
    with stored_bars.db.transaction() as cursor:
        instruments.store(cursor, future, {})
    answer = ask(api, ann, {"con_id": 5, "kind": "quotes"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "wants.0.con_id"
    assert "expired on 20231215" in answer.json()["detail"]


def test_words_that_changed_hands_are_told(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    with stored_bars.db.transaction() as cursor:
        instruments.store(cursor, stock(9), {})
        instruments.remember(cursor, "STK|AAPL|USD|front", [9], keep_s=None)
    (row,) = ask(api, ann, {"symbol": "AAPL", "kind": "quotes"}).json()["wants"]
    assert row["con_id"] == 9
    assert row["instrument_changed"]["from_con_id"] == 1


def many(stored_bars: StoredBars, count: int) -> list[int]:
    with stored_bars.db.transaction() as cursor:
        instruments.store_all(cursor, [(stock(100 + n, f"S{n}"), {}) for n in range(count)])
    return [100 + n for n in range(count)]


def test_a_caller_holds_so_many_wants_and_no_more(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], bob: dict[str, str]
) -> None:
    con_ids = many(stored_bars, MAX_WANTS + 1)
    wanted = [{"con_id": con_id, "kind": "quotes"} for con_id in con_ids]
    assert ask(api, ann, *wanted[:MAX_WANTS]).json()["new"] == MAX_WANTS
    over = ask(api, ann, wanted[MAX_WANTS])
    assert (over.status_code, over.json()["code"], over.json()["limit"]) == (409, "too-many-wants", MAX_WANTS)
    assert ask(api, ann, wanted[0]).status_code == 200, "what is held may be renewed"
    assert ask(api, bob, wanted[MAX_WANTS]).status_code == 200, "another caller has a limit of his own"
    api.request("DELETE", LIVE, params={"channels": "data.quotes.NASDAQ.S0"}, headers=ann)
    assert ask(api, ann, wanted[MAX_WANTS]).status_code == 200


def test_ticks_count_apart(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    wanted = [{"con_id": con_id, "kind": "ticks"} for con_id in many(stored_bars, MAX_TICKS + 1)]
    over = ask(api, ann, *wanted)
    assert (over.status_code, over.json()["code"], over.json()["limit"]) == (409, "too-many-ticks", MAX_TICKS)
    assert channels(api, ann) == []
    assert ask(api, ann, *wanted[1:]).status_code == 200


def test_the_limit_holds_for_requests_at_once(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    wanted = [{"con_id": con_id, "kind": "ticks"} for con_id in many(stored_bars, 3 * MAX_TICKS)]
    posts = [api.client.post(LIVE, json={"wants": [one]}, headers=ann) for one in wanted]
    answers = api.all(*posts)
    assert sorted(answer.status_code for answer in answers) == [200] * MAX_TICKS + [409] * 2 * MAX_TICKS


# ---- states that the bridge cannot tell ------------------------------------------------------------------------------


def test_without_a_bridge_a_want_waits_with_the_reason(dsn: str, tmp_path: Path) -> None:
    made = StoredBars(dsn, NOW + 100_000)  # a market time that stands still is rounded by some hundred ns
    made.instrument(stock(), nyse(date(2023, 12, 1), 60))
    made.rows("DELETE FROM ib_sessions RETURNING 1")
    api = made.api(tmp_path, router=functions.live.app.router)
    (row,) = ask(api, made.user(7, "bars:read"), {**APPLE, "kind": "quotes"}).json()["wants"]
    assert (row["state"], row["reason"]) == ("wanted", "no_bridge")
    made.close()


def test_a_stream_of_a_silent_bridge_is_not_live(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    write(stored_bars, QUOTE_STREAM)
    ask(api, ann, {**APPLE, "kind": "quotes"}, {**APPLE, "kind": "bars"})
    stored_bars.rows("UPDATE ib_sessions SET heartbeat_at = heartbeat_at - interval '16 s' RETURNING 1")
    bars, quote = api.get(LIVE, headers=ann).json()["wants"]
    assert (quote["state"], quote["reason"]) == ("stale", "bridge_silent")
    assert (bars["state"], bars["reason"]) == ("wanted", "bridge_silent")


# ---- quotes ----------------------------------------------------------------------------------------------------------


def quote_of(con_id: int, **more: Any) -> QuoteRow:
    empty: dict[str, Any] = dict.fromkeys(QuoteRow._fields)
    return QuoteRow(**(empty | {"con_id": con_id, "feed": "live", "seen_at": NOW - NS_PER_S} | more))


def newest(api: Api, headers: dict[str, str], **params: str) -> list[dict[str, Any]]:
    answer = api.get(QUOTES, params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["as_of"] == "2024-01-12T15:30:00Z"
    return list(answer.json()["quotes"])


def test_the_newest_quote_with_age_and_feed(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    write(stored_bars, QUOTE_STREAM)
    with stored_bars.db.transaction() as cursor:
        quotes.put(cursor, [quote_of(1, bid=185.01, ask=185.02, bid_size=3.0, halted=False, ts=NOW - 2 * NS_PER_S)])
    (row,) = newest(api, ann, symbols="AAPL")
    nothing = dict.fromkeys(("ask_size", "last", "last_size", "volume", "open", "high", "low", "close"))
    assert row == {
        "symbol": "AAPL",
        "con_id": 1,
        "instrument_id": "AAPL.NASDAQ",
        "state": "live",
        "stale": False,
        "reason": None,
        "quote": {
            **nothing,
            "bid": 185.01,
            "ask": 185.02,
            "bid_size": 3.0,
            "halted": False,
            "feed": "live",
            "age_s": 1.0,
            "ts": "2024-01-12T15:29:58Z",
            "seen": "2024-01-12T15:29:59Z",
        },
    }


def test_a_symbol_without_a_quote_has_null_and_the_reason(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    with stored_bars.db.transaction() as cursor:
        instruments.store_all(
            cursor, [(stock(n, s), {}) for n, s in ((3, "A"), (4, "B"), (5, "C"), (6, "D"), (7, "D"))]
        )
    ask(api, ann, {"con_id": 4, "kind": "quotes"}, {"con_id": 2, "kind": "bars"})
    write(
        stored_bars,
        QUOTE_STREAM._replace(con_id=5),
        QUOTE_STREAM._replace(con_id=3, state="waiting", reason="no_market_data_line_free"),
    )
    names = ("MSFT.NASDAQ", "B.NASDAQ", "C.NASDAQ", "A.NASDAQ", "D.NASDAQ", "NEVER.NASDAQ")
    rows = newest(api, ann, instrument_ids=",".join(names))
    assert all(row["quote"] is None and row["stale"] is None for row in rows)
    assert [(row["symbol"], row["state"], row["reason"]) for row in rows] == [
        ("MSFT.NASDAQ", None, "not_wanted"),
        ("B.NASDAQ", "wanted", "not_seen_yet"),
        ("C.NASDAQ", "live", "no_word_yet"),
        ("A.NASDAQ", "waiting", "no_market_data_line_free"),
        ("D.NASDAQ", None, "ambiguous_instrument"),
        ("NEVER.NASDAQ", None, "unknown_instrument"),
    ]


def test_a_contract_is_found_by_other_words_than_it_was_looked_up_by(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    """As the watch list and channels do, by its name."""
    future = stock(5, "ES")._replace(
        asset_class="FUT", instrument_id="ESH4.CME", local_symbol="ESH4", expiry="20240315"
    )
    with stored_bars.db.transaction() as cursor:
        instruments.store_all(cursor, [(stock(4, "NVDA"), {}), (stock(6, "TWIN"), {}), (future, {})])
        instruments.store(cursor, stock(7, "TWIN")._replace(primary_exchange="NYSE", instrument_id="TWIN.NYSE"), {})
    found = {row["symbol"]: (row["con_id"], row["reason"]) for row in newest(api, ann, symbols="NVDA,TWIN")}
    assert found == {"NVDA": (4, "not_wanted"), "TWIN": (None, "ambiguous_instrument")}
    assert newest(api, ann, symbols="TWIN", exchange="NYSE")[0]["con_id"] == 7
    assert newest(api, ann, symbols="NVDA", currency="EUR")[0]["reason"] == "unknown_instrument"
    futures = newest(api, ann, symbols="ESH4,ES", asset_class="FUT")
    assert [(row["con_id"], row["reason"]) for row in futures] == [(5, "not_wanted"), (None, "unknown_instrument")]


def test_an_old_quote_is_stale_when_its_stream_is_not_live(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    with stored_bars.db.transaction() as cursor:
        quotes.put(cursor, [quote_of(1, bid=1.0), quote_of(2, bid=2.0)])
    write(stored_bars, QUOTE_STREAM._replace(state="stale", reason="farm_away:usfarm"))
    apple, msft = newest(api, ann, symbols="AAPL,MSFT")
    assert (apple["stale"], apple["state"], apple["reason"]) == (True, "stale", "farm_away:usfarm")
    assert (msft["stale"], msft["state"], msft["reason"]) == (True, None, "not_wanted")
    assert msft["quote"]["bid"] == 2.0
    write(stored_bars, QUOTE_STREAM)
    stored_bars.rows("UPDATE ib_sessions SET heartbeat_at = heartbeat_at - interval '16 s' RETURNING 1")
    (apple,) = newest(api, ann, symbols="AAPL")
    assert (apple["stale"], apple["reason"]) == (True, "bridge_silent")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "symbols"),
        ({"symbols": ""}, "symbols"),
        ({"symbols": " , "}, "symbols"),
        ({"symbols": ",".join(f"S{n}" for n in range(101))}, "symbols"),
        ({"symbols": "AAPL", "instrument_ids": "AAPL.NASDAQ"}, "symbols"),
        ({"symbols": "\N{SNOWMAN}"}, "symbols"),
        ({"instrument_ids": "AAPL"}, "instrument_ids"),
        ({"symbols": "AAPL", "asset_class": "SHARE"}, "asset_class"),
        ({"symbols": "AAPL", "exchange": "?"}, "exchange"),
        ({"symbols": "AAPL", "currency": "?"}, "currency"),
        ({"symbol": "AAPL"}, "symbol"),
    ],
)
def test_a_request_for_quotes_that_makes_no_sense_is_refused(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], params: dict[str, str], field: str
) -> None:
    answer = api.get(QUOTES, params=params, headers=ann)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


# ---- tickets ---------------------------------------------------------------------------------------------------------


def test_a_ticket_stands_for_who_asked(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    answer = api.request("POST", TICKETS, headers=ann)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["expires_in"] == 30
    (row,) = stored_bars.rows("SELECT hash, expires_at - clock_timestamp() AS left FROM stream_tickets")
    assert bytes(row.hash) == hashlib.sha256(body["ticket"].encode()).digest()
    assert row.left.total_seconds() <= 30
    with stored_bars.db.transaction() as cursor:
        found = tickets.redeem(cursor, body["ticket"])
    assert found is not None
    assert (found.id, found.scopes) == ("user:7", frozenset({"bars:read", "monitoring:read"}))
    assert found.session.endswith("07")


def test_so_many_tickets_a_minute_and_no_more(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], bob: dict[str, str]
) -> None:
    functions.live.app._data(api.services).tickets._now_s = lambda: 30.0
    got = [api.request("POST", TICKETS, headers=ann).status_code for _ in range(tickets.PER_MINUTE + 1)]
    assert got == [201] * tickets.PER_MINUTE + [429]
    assert api.request("POST", TICKETS, headers=bob).status_code == 201
    assert api.get(LIVE, headers=ann).status_code == 200, "reads are counted apart"


def test_nobody_in_particular_gets_no_ticket(api: Api) -> None:
    answer = api.request("POST", TICKETS)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_a_page_of_another_origin_changes_nothing(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    foreign = {**ann, "Origin": "https://evil.example"}
    for method, path in (
        *(("POST", LIVE), ("DELETE", f"{LIVE}?all=true"), ("POST", TICKETS), ("POST", SUBSCRIBE)),
        *(("PUT", "/api/v1/market-data/watchlist"), ("POST", UNSUBSCRIBE)),
    ):
        answer = api.request(method, path, headers=foreign, json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign-origin"), path


# ---- the old front end -----------------------------------------------------------------------------------------------


def test_the_front_end_subscribes_and_unsubscribes(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    sent = {"symbol": "AAPL", "contract_id": "", "data_type": "TRADES"}
    answer = api.request("POST", SUBSCRIBE, json=sent, headers=ann)
    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    assert (body["channel"], body["state"], body["contract_id"]) == ("data.quotes.NASDAQ.AAPL", "wanted", "1")
    for other in ({**sent, "contract_id": "1", "data_type": "BID_ASK"}, sent):
        assert api.request("POST", SUBSCRIBE, json=other, headers=ann).status_code == 200
    assert channels(api, ann) == ["data.quotes.NASDAQ.AAPL"]
    gone = api.request("POST", UNSUBSCRIBE, json=sent, headers=ann).json()
    assert (gone["success"], gone["message"]) == (True, "AAPL is wanted no longer")
    assert channels(api, ann) == []
    again = api.request("POST", UNSUBSCRIBE, json={**sent, "symbol": "NEVER"}, headers=ann).json()
    assert (again["success"], again["message"]) == (True, "NEVER was not wanted")


@pytest.mark.parametrize("path", [SUBSCRIBE, UNSUBSCRIBE])
@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "symbol"),
        ({"symbol": ""}, "symbol"),
        ({"symbol": "AA,PL"}, "symbol"),
        ({"symbol": "AAPL", "contract_id": 5}, "contract_id"),
        ({"symbol": "AAPL", "contract_id": "x"}, "contract_id"),
        ({"symbol": "AAPL", "contract_id": "0"}, "contract_id"),
        ({"symbol": "AAPL", "contract_id": "9" * 5_000}, "contract_id"),
        ({"symbol": "AAPL", "data_type": "ADJUSTED_LAST"}, "data_type"),
        ({"symbol": "AAPL", "depth": 5}, "depth"),
    ],
)
def test_what_the_front_end_never_sends_is_refused(
    stored_bars: StoredBars, api: Api, ann: dict[str, str], path: str, sent: dict[str, Any], field: str
) -> None:
    answer = api.request("POST", path, json=sent, headers=ann)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text


def test_the_bus_is_connected_while_its_bridge_is(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    write(stored_bars, STREAM, QUOTE_STREAM._replace(last_event_at=NOW - NS_PER_S))
    body = api.get(BUS, headers=ann).json()
    assert body.pop("connected_at")
    assert body == {
        "connection_state": "connected",
        "last_message_at": "2024-01-12T15:29:59Z",
        "reconnect_attempts": None,
        "error_message": None,
        "messages_received": None,
    }
    stored_bars.rows("UPDATE ib_sessions SET heartbeat_at = heartbeat_at - interval '16 s' RETURNING 1")
    body = api.get(BUS, headers=ann).json()
    assert (body["connection_state"], body["connected_at"]) == ("disconnected", None)
    assert "silent" in body["error_message"]


# ---- neighbours ------------------------------------------------------------------------------------------------------


def test_without_the_database_every_route_says_so(stored_bars: StoredBars, tmp_path: Path) -> None:
    away = "postgresql://nobody:x@127.0.0.1:9/away"
    api = stored_bars.api(tmp_path, router=functions.live.app.router, database_url=away)
    wanted = {"wants": [{**APPLE, "kind": "quotes"}]}
    front_end = {"symbol": "AAPL"}
    for method, path, body in (
        *(("GET", LIVE, None), ("POST", LIVE, wanted), ("DELETE", f"{LIVE}?all=true", None)),
        *(("GET", f"{QUOTES}?symbols=AAPL", None), ("GET", "/api/v1/market-data/watchlist", None)),
        *(("PUT", "/api/v1/market-data/watchlist", {"series": []}), ("GET", BUS, None)),
        *(("POST", SUBSCRIBE, front_end), ("POST", UNSUBSCRIBE, front_end)),
    ):
        answer = api.request(method, path, json=body)
        if path != BUS:
            assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable"), path
            assert int(answer.headers["retry-after"]) > 0


def test_a_database_that_falls_silent_is_not_waited_for_as_long_as_for_many_bars(
    stored_bars: StoredBars, tmp_path: Path
) -> None:
    """All routes at once, each over a connection that has worked. A statement may take a minute where bars are read."""
    requests: list[tuple[str, str, Any]] = [
        *(("GET", LIVE, None), ("POST", LIVE, {"wants": [{**APPLE, "kind": "quotes"}]})),
        *(("DELETE", f"{LIVE}?all=true", None), ("GET", f"{QUOTES}?symbols=AAPL", None)),
        *(("GET", WATCH_LIST, None), ("PUT", WATCH_LIST, {"series": []}), ("GET", BUS, None)),
        *(("POST", SUBSCRIBE, {"symbol": "AAPL"}), ("POST", UNSUBSCRIBE, {"symbol": "AAPL"}), ("POST", TICKETS, None)),
    ]
    with relay(stored_bars.dsn) as between:
        settings = {"database_url": between.before(stored_bars.dsn), "database_pool": 2 * len(requests)}
        api = stored_bars.api(tmp_path, router=functions.live.app.router, statement_timeout_ms=60_000, **settings)
        user = stored_bars.user(7, "bars:read", "monitoring:read", "backfill:write")
        assert api.get(LIVE, headers=user).status_code == 200  # who has ended is known for 5 s
        connect(api.services.db, len(requests))
        between.hang()
        api.client.timeout = httpx.Timeout(60)
        began = time.monotonic()
        answers = api.all(
            *(api.client.request(method, path, json=body, headers=user) for method, path, body in requests)
        )
        assert time.monotonic() - began < 2 * (BRIEF_S + 4), "a statement, as long a silence, and a busy machine"
        between.heal()
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "database-unavailable")}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)


def test_a_token_is_not_waited_for_any_longer(stored_bars: StoredBars, tmp_path: Path) -> None:
    with relay(stored_bars.dsn) as between:
        settings = {"database_url": between.before(stored_bars.dsn), "statement_timeout_ms": 60_000}
        api = stored_bars.api(tmp_path, router=functions.live.app.router, **settings)
        connect(api.services.db, 2)
        between.hang()
        api.client.timeout = httpx.Timeout(60)
        for headers in (stored_bars.user(7, "bars:read"), {"X-API-Key": new_key().text}):
            began = time.monotonic()
            answer = api.get(LIVE, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
            assert time.monotonic() - began < 2 * (BRIEF_S + 4)
        between.heal()


def connect(database: Database, number: int) -> None:
    """Have so many connections of a pool that have answered."""
    together = threading.Barrier(number)

    def answer(_: int) -> None:
        with database.transaction() as cursor:
            cursor.execute("SELECT 1")
            together.wait(20)

    with ThreadPoolExecutor(number) as threads:
        list(threads.map(answer, range(number)))


def test_one_connection_is_enough(stored_bars: StoredBars, tmp_path: Path) -> None:
    """As in Lambda."""
    api = stored_bars.api(tmp_path, router=functions.live.app.router, database_pool=1)
    user = stored_bars.user(7, "bars:read", "monitoring:read", "backfill:write")
    wanted = {"wants": [{**APPLE, "kind": "quotes"}]}
    for method, path, body in (
        *(("POST", LIVE, wanted), ("GET", LIVE, None), ("DELETE", f"{LIVE}?channels=data.quotes.NASDAQ.AAPL", None)),
        *(("GET", f"{QUOTES}?symbols=AAPL", None), ("PUT", "/api/v1/market-data/watchlist", {"series": [APPLE]})),
        *(("GET", "/api/v1/market-data/watchlist", None), ("GET", BUS, None), ("POST", TICKETS, None)),
        *(("POST", SUBSCRIBE, {"symbol": "AAPL"}), ("POST", UNSUBSCRIBE, {"symbol": "AAPL"})),
    ):
        answer = api.request(method, path, json=body, headers=user)
        assert answer.status_code in (200, 201), (path, answer.text)


def test_requests_of_one_caller_are_counted(stored_bars: StoredBars, tmp_path: Path) -> None:
    api = stored_bars.api(tmp_path, router=functions.live.app.router, reads_per_minute=2)
    user, other = stored_bars.user(7, "bars:read"), stored_bars.user(8, "bars:read")
    functions.live.app._data(api.services).limits._now_s = lambda: 30.0
    answers = [api.get(LIVE, headers=user) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[1].headers["ratelimit"] == '"reads";r=0;t=30'
    assert api.get(LIVE, headers=other).status_code == 200


def test_wants_outlive_no_lease_of_the_stream_process(stored_bars: StoredBars, api: Api, ann: dict[str, str]) -> None:
    """What a process has written for its sockets is not the caller's own, and is left alone by him."""
    with stored_bars.db.transaction() as cursor:
        wants.put(cursor, "stream:a", [wants.WantRow(1, "quotes", "", "", "", 6)], 60)
    api.request("DELETE", LIVE, params={"all": "true"}, headers=ann)
    assert len(stored_bars.rows("SELECT 1 FROM live_wants")) == 1


def test_why_history_does_not_bring_what_is_missing_is_said(
    stored_bars: StoredBars, api: Api, ann: dict[str, str]
) -> None:
    """A note on a hole, or the job of the series that was in vain."""
    write(stored_bars, STREAM)
    ask(api, ann, APPLE | {"kind": "bars", "lease_s": 3_600})

    def reasons() -> set[str | None]:
        answer = api.get(LIVE, headers=ann).json()
        return {row["history_reason"] for row in [*answer["wants"], *answer["streams"]]}

    assert reasons() == {None}
    with stored_bars.db.transaction() as cursor:
        row = series.find_or_make(cursor, 1, timeframe("1m"), price="TRADES", session="rth")
        assert standing_jobs.bring(cursor, row, STREAM.holes)
    assert reasons() == {None}
    with stored_bars.db.transaction() as cursor:
        cursor.execute("UPDATE backfill_jobs SET state = 'failed' WHERE origin = 'live'")
        cursor.execute("UPDATE backfill_items SET state = 'failed', error = '{\"code\": \"unknown-instrument\"}'")
    assert reasons() == {"unknown-instrument"}
    (hole,) = STREAM.holes
    refusal = Note(hole, CoverageState.UNAVAILABLE, "no_permission", 354, NOW, NOW + 3_600 * NS_PER_S)
    with stored_bars.db.transaction() as cursor:
        series.apply_changes(cursor, row, noted=[refusal])
    assert reasons() == {"no_permission"}


def test_a_job_that_was_in_vain_is_made_again_later_each_time(stored_bars: StoredBars) -> None:
    missing = Spans.of(NOW - 60 * MINUTE, NOW)

    def bring(spans: Spans) -> bool:
        with stored_bars.db.transaction() as cursor:
            row = series.find_or_make(cursor, 1, timeframe("1m"), price="TRADES", session="rth")
            return standing_jobs.bring(cursor, row, spans)

    def end(state: str, ago_s: int) -> None:
        with stored_bars.db.transaction() as cursor:
            cursor.execute(
                "UPDATE backfill_jobs SET state = %s, updated_at = clock_timestamp() - %s * interval '1 s'",
                (state, ago_s),
            )

    assert bring(missing)
    assert not bring(missing), "it is under way"
    for state, wait_s in (("failed", 60), ("succeeded", 120), ("partial", 240)):
        end(state, wait_s - 5)
        assert not bring(missing), f"after {wait_s - 5} s it is too early"
        end(state, wait_s + 5)
        assert bring(missing)
    end("failed", 0)
    assert bring(Spans.of(NOW, NOW + MINUTE)), "what it was for is there: this is something else"
