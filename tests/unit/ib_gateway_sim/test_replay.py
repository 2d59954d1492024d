"""Replayed files: every bar comes back as it was, and longer bars and sessions are made of them."""

import gzip
import itertools
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.replayed.contract import ReplayFile
from ib_gateway_sim.market.replayed.market import Replay

CHICAGO, NEW_YORK = ZoneInfo("America/Chicago"), ZoneInfo("America/New_York")
HEADER = "timestamp_utc,open,high,low,close,volume"
# Tuesday evening to Wednesday and over the daily break; the time is that of the bar's close
ROWS = [
    "2024-01-02 21:58:00,1.1076,1.10785,1.1076,1.1078,205",
    "2024-01-02 22:00:00,1.10775,1.1078,1.1077,1.10775,86",
    "2024-01-02 23:01:00,1.10775,1.1078,1.10765,1.10765,47",
    "2024-01-02 23:02:00,1.10765,1.1077,1.10765,1.1077,3",
    "2024-01-02 23:07:00,1.10755,1.1076,1.1075,1.1076,11",
]


def written(folder: Path, rows: list[str], header: str = HEADER, name: str = "bars.csv") -> Path:
    path = folder / name
    text = "\n".join([header, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def only(replay: Replay) -> Contract:
    (found,) = replay.find(ContractQuery(), replay.end_s + 1)
    return found


def bars(replay: Replay, size: str, *, rth: bool = False, now_s: float | None = None) -> list[Bar]:
    one = only(replay)
    now_s = replay.end_s + 1 if now_s is None else now_s
    return replay.bars(one, size, one.kinds[0], rth=rth, start_s=0, end_s=now_s, now_s=now_s)


@pytest.fixture
def euro(tmp_path: Path) -> Replay:
    return Replay([ReplayFile(written(tmp_path, ROWS, name="bars.csv.gz"), "6EH4", stamp="close")])


def test_minutes_come_back_digit_for_digit_at_their_open(euro: Replay) -> None:
    assert [
        ",".join([datetime.fromtimestamp(bar.t + 60, UTC).strftime("%F %T"), *map(repr, bar[1:6])])
        for bar in bars(euro, "1m")
    ] == ROWS
    assert bars(euro, "1m")[0][5:] == (205, -1, -1)
    assert euro.end_s == at("2024-01-02 23:07:00")


def test_a_future_is_named_by_its_local_symbol(euro: Replay) -> None:
    one = only(euro)
    assert (one.symbol, one.local_symbol, one.trading_class, one.sec_type) == ("EUR", "6EH4", "6E", "FUT")
    assert (one.last_trade_date, one.multiplier, one.exchange, one.min_tick) == ("20240318", "125000", "CME", 0.00005)
    for words in ({"symbol": "EUR"}, {"symbol": "6E"}, {"symbol": "6EH4"}, {"local_symbol": "6EH4"}):
        assert euro.find(ContractQuery(sec_type="FUT", **words), 0) == [one]  # type: ignore[arg-type]
    assert euro.find(ContractQuery(symbol="ES", sec_type="FUT"), 0) == []
    assert euro.find(ContractQuery(symbol="EUR", sec_type="CASH"), 0) == []
    assert euro.search("6e", 0) == [one]


def test_sessions_are_cut_where_the_file_pauses_and_labelled_by_the_evening_rule(euro: Replay) -> None:
    sessions = euro.sessions(only(euro), 0, 2e9, rth=False)
    assert sessions == [
        (at("2024-01-02 21:57:00"), at("2024-01-02 22:00:00"), date(2024, 1, 2)),
        (at("2024-01-02 23:00:00"), at("2024-01-02 23:07:00"), date(2024, 1, 3)),
    ]
    hours = "20240102:1557-20240102:1600;20240102:1700-20240102:1707;20240104:CLOSED"
    assert euro.trading_hours(only(euro), at("2024-01-02 20:00:00"), liquid=True, days=3) == hours


def test_longer_bars_are_made_of_the_minutes(euro: Replay) -> None:
    assert [tuple(bar)[:6] for bar in bars(euro, "5m")] == [
        (at("2024-01-02 21:57:00"), 1.1076, 1.10785, 1.1076, 1.10775, 291),
        (at("2024-01-02 23:00:00"), 1.10775, 1.1078, 1.10765, 1.1077, 50),
        (at("2024-01-02 23:05:00"), 1.10755, 1.1076, 1.1075, 1.1076, 11),
    ]
    assert [tuple(bar)[:6] for bar in bars(euro, "1d")] == [
        (at("2024-01-02"), 1.1076, 1.10785, 1.1076, 1.10775, 291),
        (at("2024-01-03"), 1.10775, 1.1078, 1.1075, 1.1076, 61),
    ]
    assert [tuple(bar)[:6] for bar in bars(euro, "1w")] == [(at("2024-01-03"), 1.1076, 1.10785, 1.1075, 1.1076, 352)]
    assert bars(euro, "30s") == []


def test_a_minute_is_told_when_it_is_over(euro: Replay) -> None:
    over_s = at("2024-01-02 23:02:00")
    assert [bar.volume for bar in bars(euro, "1m", now_s=over_s)] == [205, 86, 47, 3]
    assert [bar.volume for bar in bars(euro, "1m", now_s=over_s - 0.001)] == [205, 86, 47]
    assert [bar.volume for bar in bars(euro, "1d", now_s=over_s - 0.001)] == [291, 47]


def test_the_market_is_closed_after_the_file(euro: Replay) -> None:
    one = only(euro)
    assert euro.sessions(one, euro.end_s, euro.end_s + 10**7, rth=False) == []
    quote = euro.quote(one, euro.end_s + 3600)
    assert (quote.last, quote.bid, quote.ask, quote.is_open) == (1.1076, 1.1076, 1.10765, False)
    assert (quote.open, quote.close, quote.volume) == (1.10775, 1.10775, 61)
    assert euro.head_s(one, "TRADES", rth=False) == at("2024-01-02 21:57:00")


def test_other_kinds_have_no_data(euro: Replay) -> None:
    one = only(euro)
    assert euro.bars(one, "1m", "MIDPOINT", rth=False, start_s=0, end_s=2e9, now_s=2e9) == []
    assert euro.head_s(one, "MIDPOINT", rth=False) is None
    assert euro.ticks(one, "TRADES", 0, 2e9, 10) == []


def test_the_account_names_the_file(euro: Replay, tmp_path: Path) -> None:
    file = tmp_path / "bars.csv.gz"
    assert Replay([ReplayFile(file, "6EH4")]).account == "SIMR" + sha256(file.read_bytes()).hexdigest()[:8]
    other = Replay([ReplayFile(written(tmp_path, ROWS[:-1]), "6EH4", stamp="close")])
    accounts = {one.account for one in (euro, other, Replay([ReplayFile(file, "6EH4")]))}
    assert len(accounts) == 3, "other rows and another reading of the same rows are other sources"


def test_a_pair_stamped_at_the_open_with_offsets_and_without_volume(tmp_path: Path) -> None:
    rows = [
        "2012-02-02 21:58:00+00:00,1.57597,1.57606,1.57576,1.57576",
        "2012-02-02T22:05:00Z,1.57576,1.57583,1.57543,1.57543",  # New York's 17:05, when IDEALPRO is shut
        "2012-02-03 23:10:00+01:00,1.57543,1.57551,1.57542,1.57548",
    ]
    path = written(tmp_path, rows, "timestamp,open,high,low,close")
    replay = Replay([ReplayFile(path, "GBP/USD", kind="BID")])
    one = only(replay)
    assert (one.symbol, one.currency, one.local_symbol, one.kinds) == ("GBP", "USD", "GBP.USD", ("BID",))
    assert [bar[5:] for bar in bars(replay, "1m")] == [(-1, -1, -1)] * 3
    sessions = replay.sessions(one, 0, 2e9, rth=False)
    assert sessions == [
        (at("2012-02-02 21:58:00"), at("2012-02-02 22:00:00"), date(2012, 2, 2)),
        (at("2012-02-02 22:00:00"), at("2012-02-02 22:06:00"), date(2012, 2, 3)),
        (at("2012-02-03 22:10:00"), at("2012-02-03 22:11:00"), date(2012, 2, 3)),  # Friday evening is no Saturday
    ]
    assert Replay([ReplayFile(path, "GBPUSD")]).find(ContractQuery(symbol="GBP", sec_type="CASH"), 0)[0].kinds == (
        "MIDPOINT",
    )


def test_a_stock_has_regular_hours(tmp_path: Path) -> None:
    rows = [f"2024-01-03 {hour}:{minute:02}:00,10,11,9,10.5,100" for hour in (14, 15, 21) for minute in range(60)]
    replay = Replay([ReplayFile(written(tmp_path, rows), "XYZ")])
    one = only(replay)
    assert (one.sec_type, one.exchange, one.primary_exchange) == ("STK", "SMART", "NASDAQ")
    assert len(bars(replay, "1m")) == 180
    regular = bars(replay, "1m", rth=True)
    assert len(regular) == 90
    assert regular[0].t == at("2024-01-03 14:30:00")
    assert [bar.volume for bar in bars(replay, "1d", rth=True)] == [9000]
    assert replay.find(ContractQuery(symbol="XYZ", sec_type="STK", exchange="SMART"), 0) == [one]


def test_a_coin_is_traded_at_its_venue_around_the_clock(tmp_path: Path) -> None:
    friday = datetime(2026, 3, 6, 22, 0, tzinfo=UTC)
    rows = [f"{friday + timedelta(minutes=n):%F %T},90000.25,90001,89999.5,90000,0.125" for n in range(3 * 24 * 60)]
    path = written(tmp_path, rows)
    for symbol, words in (("BTC/USD", ""), ("BTC", "CRYPTO"), ("btcusd", "crypto"), ("BTC.USD", "")):
        replay = Replay([ReplayFile(path, symbol, sec_type=words)])
        one = only(replay)
        assert (one.symbol, one.currency, one.sec_type, one.exchange) == ("BTC", "USD", "CRYPTO", "PAXOS")
        assert (one.kinds, one.time_zone, one.valid_exchanges) == (("AGGTRADES",), "UTC", ("PAXOS",))
        assert replay.find(ContractQuery(symbol="BTC", sec_type="CRYPTO", currency="USD", exchange="PAXOS"), 0) == [one]
    assert len(bars(replay, "1m", rth=True)) == len(rows)
    assert [session.trade_date.day for session in replay.sessions(one, 0, 2e9, rth=False)] == [6, 7, 8, 9]
    assert replay.description()["symbol"] == "BTC/USD"


@pytest.mark.parametrize(("symbol", "pair"), [("XAU/USD", "XAU.USD"), ("EURUSD", "EUR.USD"), ("eur.usd", "EUR.USD")])
def test_a_pair_may_be_written_in_any_way(tmp_path: Path, symbol: str, pair: str) -> None:
    one = only(Replay([ReplayFile(written(tmp_path, ROWS), symbol)]))
    assert (one.sec_type, one.local_symbol, one.exchange, one.kinds) == ("CASH", pair, "IDEALPRO", ("MIDPOINT",))


def test_the_description_says_what_can_be_had(euro: Replay, tmp_path: Path) -> None:
    described = euro.description()
    assert (described["symbol"], described["asset_class"], described["price"]) == ("6EH4", "FUT", "TRADES")
    assert (described["start"], described["end"]) == ("2024-01-02T21:57:00Z", "2024-01-02T23:07:00Z")
    assert (described["bars"], described["regular_bars"]) == (5, 5)
    night = Replay([ReplayFile(tmp_path / "bars.csv.gz", "XYZ")])  # 16:58 in New York and later
    assert (night.description()["bars"], night.description()["regular_bars"]) == (5, 0)
    local = written(tmp_path, ROWS, HEADER.replace("_utc", ""))
    day = Replay([ReplayFile(local, "XYZ", zone="Asia/Tokyo")])  # 07:58 in New York and later
    assert day.description()["start"] == "2024-01-02T12:58:00Z"
    assert day.description()["regular_bars"] == 0
    assert Replay([ReplayFile(local, "XYZ", zone="Africa/Tunis")]).description()["regular_bars"] == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 7 * 24 * 60), min_size=1, max_size=60, unique=True), st.sampled_from(["6EH4", "XYZ"]))
def test_no_bar_of_any_file_is_lost(tmp_path_factory: pytest.TempPathFactory, minutes: list[int], symbol: str) -> None:
    minutes = sorted({*minutes, minutes[0] + 1})  # two bars a minute apart: else the file may be one of longer bars
    begin = datetime(2024, 3, 7, 20, 30, tzinfo=UTC)  # over a weekend with a change to daylight saving
    rows = [f"{begin + timedelta(minutes=n)},10,11,9,10,{n + 1}" for n in sorted(minutes)]
    replay = Replay([ReplayFile(written(tmp_path_factory.mktemp("replay"), rows), symbol)])
    sessions = replay.sessions(only(replay), 0, 2e9, rth=False)
    assert all(one.close_s <= following.open_s for one, following in itertools.pairwise(sessions))
    assert [one.trade_date for one in sessions] == sorted(one.trade_date for one in sessions)
    assert all(one.trade_date.weekday() < 5 for one in sessions)
    for size in ("1m", "2m", "30m", "1h", "8h", "1d", "1w", "1M"):
        assert sum(bar.volume for bar in bars(replay, size)) == sum(n + 1 for n in minutes)
    for bar in bars(replay, "1m"):
        assert any(one.open_s <= bar.t < one.close_s for one in sessions)


@pytest.mark.parametrize(
    ("file", "rows", "header", "described"),
    [
        ({"symbol": "6EH4", "stamp": "middle"}, ROWS, HEADER, "'middle' of bars.csv is not one of open, close"),
        ({"symbol": "XYZ", "kind": "LAST"}, ROWS, HEADER, "'LAST' of bars.csv is not one of TRADES"),
        ({"symbol": "XYZ"}, [], HEADER, "holds no bars"),
        ({"symbol": "XYZ"}, ROWS, "when,open,high,low,close,volume", "column timestamp_utc or timestamp is missing"),
        ({"symbol": "XYZ"}, [ROWS[0], ROWS[0]], HEADER, "row 3, column timestamp_utc: .* is the time of row 2 too"),
        ({"symbol": "ES", "sec_type": "FUT"}, ROWS, HEADER, "under its local symbol, such as ESH4"),
        ({"symbol": "XYZ", "sec_type": "BOND"}, ROWS, HEADER, "'BOND' of bars.csv is not one of STK, CASH, FUT, IND"),
        (
            {"symbol": "GBP/USD", "kind": "TRADES"},
            ROWS,
            HEADER,
            "'TRADES' of bars.csv is not one of MIDPOINT, BID, ASK",
        ),
        (
            {"symbol": "BTC", "sec_type": "CRYPTO", "kind": "TRADES"},
            ROWS,
            HEADER,
            "is not one of MIDPOINT, BID, ASK, AGG",
        ),
        ({"symbol": "XYZ", "zone": "Mars/Olympus"}, ROWS, HEADER, "zone 'Mars/Olympus' of bars.csv is unknown"),
        ({"symbol": "XYZ", "zone": "/etc/passwd"}, ROWS, HEADER, "zone '/etc/passwd' of bars.csv is unknown"),
        ({"symbol": "XAU", "sec_type": "CASH"}, ROWS, HEADER, "under two names, such as EUR/USD, not XAU"),
        ({"symbol": " "}, ROWS, HEADER, "the symbol of bars.csv is empty"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused_with_the_reason(
    tmp_path: Path, file: dict[str, str], rows: list[str], header: str, described: str
) -> None:
    with pytest.raises(ValueError, match=described):
        Replay([ReplayFile(written(tmp_path, rows, header), **file)])
