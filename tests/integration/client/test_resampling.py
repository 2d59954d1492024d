"""Bars that the client resamples are the server's aggregated bars, bar for bar; and measures agree with a second way."""

import math
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar as ServerCalendar
from nautilus.market.calendar import Session
from nautilus_client import analysis
from nautilus_client.client import Client
from nautilus_client.errors import BadTime
from tests.support.client_server import served
from tests.support.markets import DAY, MINUTE, ns, nyse
from tests.support.stored_bars import StoredBars, stock

NOW = ns("2024-03-22 17:00", "America/New_York")
FIRST, LAST = date(2024, 3, 7), date(2024, 3, 13)  # New York's clocks change on the 10th
LONGER = ("2m", "5m", "15m", "20m", "30m", "1h", "2h", "3h", "4h", "8h")
DAY_AND_NIGHT = "STK:NIGHT:America/New_York"


def day_and_night() -> ServerCalendar:
    """Sessions from 18:00 to 17:00 of the next day, as a future's."""
    days = [FIRST + timedelta(days=n) for n in range(-2, 12)]
    opens = [ns(f"{day - timedelta(days=1)} 18:00", "America/New_York") for day in days]
    closes = [ns(f"{day} 17:00", "America/New_York") for day in days]
    sessions = [Session(low, high, day) for low, high, day in zip(opens, closes, days, strict=True)]
    return ServerCalendar.of(sessions, (opens[0], closes[-1]), "America/New_York")


@pytest.fixture(params=["rth", "day and night"])
def client(request: pytest.FixtureRequest, dsn: str, tmp_path: Path) -> Iterator[Client]:
    stored_bars = StoredBars(dsn, NOW)
    night = request.param != "rth"
    calendar = day_and_night() if night else nyse(FIRST - timedelta(days=20), 60)
    one = stored_bars.instrument(stock(calendar=DAY_AND_NIGHT) if night else stock(), calendar)
    chance = np.random.default_rng(7)
    rows = []
    for session in calendar.sessions:
        if FIRST <= session.trade_date <= LAST:
            for ts in range(session.open_ns, session.close_ns, MINUTE):
                if chance.random() < 0.1:  # a minute without a trade
                    continue
                close, volume = round(100 + chance.normal(), 2), float(chance.integers(0, 900)) / 8
                empty = chance.random() < 0.002
                rows.append(
                    Bar(
                        ts,
                        close - 0.11,
                        close + 0.4,
                        close - 0.37,
                        close,
                        None if empty else volume,
                        None if empty else close - 0.013,
                        int(volume),
                    )
                )
    stored_bars.record(one, "1m", rows, settled=[calendar.known])
    with served(stored_bars.app(tmp_path)) as url, Client(url) as made:
        yield made
    stored_bars.close()


def test_resampled_bars_equal_the_servers_bar_for_bar(client: Client) -> None:
    window = {"start": "2024-03-07", "end": "2024-03-14"}
    minutes = client.bars("AAPL", "1m", **window).pandas()
    calendar = client.calendar("AAPL", start="2024-03-01", end="2024-03-20")
    for timeframe in LONGER:
        theirs = client.bars("AAPL", timeframe, **window)
        assert theirs.source == "derived from 1m"
        ours = analysis.resample(minutes, timeframe, calendar)
        pd.testing.assert_frame_equal(ours, theirs.pandas(), check_exact=True, check_freq=False)


def test_the_comparison_finds_slots_of_a_clock_without_sessions(client: Client) -> None:
    """Mutants: pandas' own resampling, by UTC and by the exchange's clock."""
    window = {"start": "2024-03-07", "end": "2024-03-14"}
    minutes = client.bars("AAPL", "1m", **window).pandas()
    theirs = client.bars("AAPL", "4h", **window).pandas()
    for frame in (minutes, minutes.tz_convert("America/New_York")):
        plain = frame["close"].resample("4h").last().dropna().tz_convert("UTC")
        assert list(plain.index) != list(theirs.index)


def test_weeks_and_months_are_made_of_days(client: Client, dsn: str) -> None:
    stored_bars = StoredBars(dsn, NOW)
    labels = [
        ns(f"{FIRST + timedelta(days=n)} 00:00", "UTC") for n in range(12) if (FIRST + timedelta(days=n)).weekday() < 5
    ]
    rows = [Bar(label, 10.0 + n, 20.0 + n, 5.0 - n, 15.0 + n, 100.0 * n, 11.0 + n, n) for n, label in enumerate(labels)]
    stored_bars.record(stock(), "1d", rows, settled=[(labels[0], labels[-1] + DAY)])
    stored_bars.close()
    days = client.bars("AAPL", "1d", start="2024-03-01", end="2024-04-01").pandas()
    weeks = client.bars("AAPL", "1w", start="2024-03-04", end="2024-03-18")
    if weeks.source == "derived from 1d":
        pd.testing.assert_frame_equal(analysis.resample(days, "1w")[:2], weeks.pandas(), check_freq=False)
    assert list(analysis.resample(days, "1M").index) == [pd.Timestamp("2024-03-01", tz="UTC")]
    with pytest.raises(BadTime, match="auction"):
        analysis.resample(days, "1d")


def test_measures_agree_with_loops(client: Client) -> None:
    frame = client.bars("AAPL", "1m", start="2024-03-07", end="2024-03-14").pandas()
    calendar = client.calendar("AAPL", start="2024-03-01", end="2024-03-20")
    rows = list(frame.itertuples())
    squares: dict[str, float] = {}
    value: dict[str, float] = {}
    volume: dict[str, float] = {}
    before: dict[str, float] = {}
    for row in rows:
        date_of = next(one.trade_date for one in calendar.sessions if one.open <= row.Index.to_pydatetime() < one.close)
        move = math.log(row.close / before.get(date_of, row.open))
        before[date_of] = row.close
        squares[date_of] = squares.get(date_of, 0.0) + move * move
        if row.volume == row.volume:
            price = row.vwap if row.vwap == row.vwap else (row.high + row.low + row.close) / 3
            value[date_of] = value.get(date_of, 0.0) + (price * row.volume)
            volume[date_of] = volume.get(date_of, 0.0) + row.volume
    found = analysis.realised_volatility(frame, calendar)
    assert found.to_dict() == pytest.approx({one: math.sqrt(252 * total) for one, total in squares.items()}, rel=1e-9)
    prices = analysis.vwap(frame, calendar)
    assert prices.to_dict() == pytest.approx({one: value[one] / volume[one] for one in value}, rel=1e-9)
    last = (
        analysis.vwap(frame, calendar, cumulative=True)
        .groupby(lambda when: when.tz_convert("America/New_York").date())
        .last()
    )
    assert len(last) >= len(prices)


def test_returns_leave_out_the_time_between_sessions_where_that_is_wanted(client: Client) -> None:
    frame = client.bars("AAPL", "1m", start="2024-03-07", end="2024-03-14").pandas()
    calendar = client.calendar("AAPL", start="2024-03-01", end="2024-03-20")
    plain, inside = analysis.returns(frame), analysis.returns(frame, calendar=calendar)
    differ = [n for n in range(1, len(frame)) if not math.isclose(plain.iloc[n], inside.iloc[n], abs_tol=1e-15)]
    opens = {one.open for one in calendar.sessions}
    firsts = [n for n in range(1, len(frame)) if any(frame.index[n - 1] < one <= frame.index[n] for one in opens)]
    assert set(differ) <= set(firsts)
    for n in firsts:
        assert inside.iloc[n] == pytest.approx(math.log(frame["close"].iloc[n] / frame["open"].iloc[n]))
    simple = analysis.returns(frame, kind="simple")
    assert simple.iloc[5] == pytest.approx(frame["close"].iloc[5] / frame["close"].iloc[4] - 1)


def test_correlation_compares_returns_over_the_same_time_alone() -> None:
    """Two series with one source, of which one market has a pause. Against numpy on the common stamps, by a loop."""
    chance = np.random.default_rng(3)
    index = pd.date_range("2024-03-07 14:30", periods=400, freq="1min", tz="UTC").as_unit("ns")
    walk = 100 * np.exp(np.cumsum(chance.normal(0, 0.001, 400)))
    one = pd.DataFrame({"close": walk}, index=index)
    other = pd.DataFrame({"close": walk * 2}, index=index)
    pause = other[(np.arange(400) < 100) | (np.arange(400) >= 250)]
    assert analysis.correlation({"a": one, "b": pause}).loc["a", "b"] == pytest.approx(1.0)
    noise = pd.DataFrame({"close": 50 * np.exp(np.cumsum(chance.normal(0, 0.001, 400)))}, index=index).iloc[::3]
    common = [when for when in index if when in set(noise.index)]
    pairs = [
        (math.log(one["close"][b] / one["close"][a]), math.log(noise["close"][b] / noise["close"][a]))
        for a, b in pairwise(common)
    ]
    expected = float(np.corrcoef(np.array(pairs).T)[0, 1])
    assert analysis.correlation({"a": one, "b": noise}).loc["b", "a"] == pytest.approx(expected)


def test_a_gap_report_counts_the_slots_of_trading(client: Client) -> None:
    bars = client.bars("AAPL", "1m", start="2024-03-07", end="2024-03-14")
    assert analysis.gap_report(bars).empty
    later = client.bars("AAPL", "5s", start="2024-03-07", end="2024-03-09")
    calendar = client.calendar("AAPL", start="2024-03-01", end="2024-03-20")
    report = analysis.gap_report(later, calendar)
    assert list(report.columns) == ["start", "end", "state", "reason", "slots"]
    inside = [(max(one.open, report["start"][0]), min(one.close, report["end"].iloc[-1])) for one in calendar.sessions]
    seconds = sum((high - low).total_seconds() for low, high in inside if low < high)
    assert report["slots"].sum() == seconds / 5
    assert analysis.gap_report(later)["slots"].isna().all()
