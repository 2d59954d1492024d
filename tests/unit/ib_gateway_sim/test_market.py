"""The generated market: all bar sizes, kinds, quotes and ticks tell of one and the same walk."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ib_gateway_sim.market.bars import INTRADAY_S, SIZES, Bar, period_start
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated.bars import GeneratedBars
from ib_gateway_sim.market.generated.market import Market
from ib_gateway_sim.market.generated.prices import Prices
from ib_gateway_sim.market.instruments.listing import listed

DAY_S = 86400
NOW_S = int(datetime(2026, 1, 14, 18, 20, 33, tzinfo=UTC).timestamp())  # a Wednesday, all markets open
MARKET = Market(7)


def contract(symbol: str, sec_type: str, market: Market = MARKET, **options: str | bool) -> Contract:
    """The one contract that answers."""
    query = ContractQuery(symbol=symbol, sec_type=sec_type, **options)  # type: ignore[arg-type]
    (found,) = market.find(query, NOW_S)
    return found


AAPL = contract("AAPL", "STK", exchange="SMART", currency="USD")
EURUSD = contract("EUR", "CASH", currency="USD", exchange="IDEALPRO")
ES = contract("ES", "FUT", last_trade_date="202603", exchange="CME")
SPX = contract("SPX", "IND", exchange="CBOE")
BTC = contract("BTC", "CRYPTO")
THIN = contract("THIN", "STK")
CL_FAR = contract("CL", "FUT", last_trade_date="202609")
ALL = (AAPL, EURUSD, ES, SPX, BTC, THIN, CL_FAR)

sampled = st.sampled_from(ALL)
within_s = st.integers(NOW_S - 300 * DAY_S, NOW_S - DAY_S)


def bars(one: Contract, size: str, what: str, start_s: float, end_s: float, **options: float | bool) -> list[Bar]:
    """Bars of the shared market, all hours and known today unless said otherwise; without those filled in."""
    rth, now_s = bool(options.get("rth", False)), options.get("now_s", NOW_S)
    return with_trades(MARKET.bars(one, size, what, rth=rth, start_s=start_s, end_s=end_s, now_s=now_s))


def with_trades(found: list[Bar]) -> list[Bar]:
    return [bar for bar in found if bar.count != 0]


def first_kind(one: Contract) -> str:
    return one.kinds[0]


def joined(parts: list[Bar]) -> tuple[float, float, float, float, float, int]:
    """Open, high, low, close, volume, count of bars that follow each other."""
    known = parts[0].volume >= 0
    return (
        parts[0].open,
        max(bar.high for bar in parts),
        min(bar.low for bar in parts),
        parts[-1].close,
        round(sum(bar.volume for bar in parts), 4) if known else -1,
        sum(bar.count for bar in parts) if known else -1,
    )


def ohlcv(bar: Bar) -> tuple[float, float, float, float, float, int]:
    return bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count


def assert_agree(fine: list[Bar], coarse: list[Bar], ends_s: Iterable[float]) -> None:
    """Every coarse bar is the sum of the fine ones between its start and its end, and no fine bar is left over."""
    left = list(fine)
    for bar, end_s in zip(coarse, ends_s, strict=True):
        inside = [one for one in left if bar.t <= one.t < end_s]
        assert inside, bar
        assert ohlcv(bar) == joined(inside)
        left = [one for one in left if not bar.t <= one.t < end_s]
    assert left == []


@settings(max_examples=60, deadline=None)
@given(sampled, within_s, st.data())
def test_a_bar_is_the_sum_of_its_shorter_bars(one: Contract, at_s: int, data: st.DataObject) -> None:
    what = data.draw(st.sampled_from([kind for kind in one.kinds if kind not in ("ADJUSTED_LAST", "BID_ASK")]))
    coarse, fine = data.draw(
        st.sampled_from(
            [
                (a, b)
                for a, a_s in INTRADAY_S.items()
                for b, b_s in INTRADAY_S.items()
                if a_s > b_s and a_s % b_s == 0 and a_s <= 1000 * b_s
            ]
        )
    )
    whole_s = DAY_S if INTRADAY_S[fine] >= 60 else INTRADAY_S[coarse]
    start_s = at_s // whole_s * whole_s
    rth = data.draw(st.booleans())
    extent_s = DAY_S if INTRADAY_S[fine] >= 60 else 2 * INTRADAY_S[coarse]
    large = bars(one, coarse, what, start_s, start_s + extent_s, rth=rth)
    if not large:
        return
    starts = [bar.t for bar in large]
    size_s = INTRADAY_S[coarse]
    # the last bar may reach beyond the window; its own end is where its slot of the wall clock ends, at most a size on
    small = bars(one, fine, what, starts[0], starts[-1] + size_s, rth=rth)
    following = bars(one, coarse, what, starts[-1] + 1, starts[-1] + size_s + 1, rth=rth)
    small = [bar for bar in small if not following or bar.t < following[0].t]
    assert_agree(small, large, [*starts[1:], starts[-1] + size_s])


@settings(max_examples=40, deadline=None)
@given(sampled, st.dates(date(2025, 3, 1), date(2026, 1, 8)), st.booleans(), st.data())
def test_a_day_is_the_sum_of_its_sessions_bars(one: Contract, day: date, rth: bool, data: st.DataObject) -> None:
    what = data.draw(st.sampled_from([kind for kind in one.kinds if kind not in ("ADJUSTED_LAST", "BID_ASK")]))
    size = data.draw(st.sampled_from(["1m", "5m", "15m", "20m", "30m", "1h", "3h", "4h", "8h"]))
    noon_s = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    sessions = [
        each for each in MARKET.sessions(one, noon_s - DAY_S, noon_s + DAY_S, rth=rth) if each.trade_date == day
    ]
    if not sessions:
        return
    start_s, end_s = sessions[0].open_s, sessions[-1].close_s
    daily = bars(one, "1d", what, start_s, end_s, rth=rth)
    parts = bars(one, size, what, start_s, end_s, rth=rth)
    if not daily:
        assert parts == []
        return
    assert daily[0].t == int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    assert ohlcv(daily[0]) == joined(parts)


@settings(max_examples=30, deadline=None)
@given(sampled, st.dates(date(2025, 3, 1), date(2025, 12, 1)), st.booleans(), st.sampled_from(["1w", "1M"]))
def test_weeks_and_months_are_the_sum_of_their_days(one: Contract, day: date, rth: bool, size: str) -> None:
    first = day - timedelta(days=day.weekday()) if size == "1w" else day.replace(day=1)
    last = first + timedelta(days=6) if size == "1w" else (first + timedelta(days=32)).replace(day=1) - timedelta(1)
    start_s = datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()
    end_s = start_s + (last - first).days * DAY_S + DAY_S
    # a Sunday evening opens the week although it is not in it
    days = bars(one, "1d", first_kind(one), start_s - DAY_S, end_s + DAY_S, rth=rth)
    days = [bar for bar in days if start_s <= bar.t < end_s]
    periods = bars(one, size, first_kind(one), start_s - DAY_S, start_s + 4 * DAY_S, rth=rth)
    labelled = [bar for bar in periods if start_s <= bar.t < end_s]
    assert len(labelled) == (1 if days else 0)
    if days:
        assert ohlcv(labelled[0]) == joined(days)
        sessions = MARKET.sessions(one, start_s - DAY_S, end_s + DAY_S, rth=rth)
        trade_dates = [each.trade_date for each in sessions if first <= each.trade_date <= last]
        assert datetime.fromtimestamp(labelled[0].t, UTC).date() == trade_dates[-1]


@settings(max_examples=60, deadline=None)
@given(sampled, within_s, st.sampled_from(["1s", "5s", "1m", "15m", "1h", "1d"]), st.integers(1, 5000), st.booleans())
def test_any_window_is_a_piece_of_the_whole(one: Contract, at_s: int, size: str, extent: int, rth: bool) -> None:
    step_s = INTRADAY_S.get(size, DAY_S)
    what = first_kind(one)
    whole = bars(one, size, what, at_s - 600 * step_s, at_s + 600 * step_s, rth=rth)
    start_s, end_s = at_s - extent % 500 * step_s, at_s + extent % 300 * step_s
    fresh = Market(7)  # nothing cached, and asked in another order
    piece = with_trades(fresh.bars(one, size, what, rth=rth, start_s=start_s, end_s=end_s, now_s=NOW_S))
    if size == "1d":
        assert piece == whole[whole.index(piece[0]) :][: len(piece)] if piece else True
    else:
        assert piece == [bar for bar in whole if start_s <= bar.t < end_s]


def test_seeds_are_different_markets() -> None:
    start_s = NOW_S - 3 * DAY_S
    other = Market(8).bars(AAPL, "1h", "TRADES", rth=False, start_s=start_s, end_s=NOW_S, now_s=NOW_S)
    assert [bar.t for bar in other] == [bar.t for bar in bars(AAPL, "1h", "TRADES", start_s, NOW_S)]
    assert other != bars(AAPL, "1h", "TRADES", start_s, NOW_S)
    assert (Market(8).account, MARKET.account) == ("SIM8", "SIM7")


@settings(max_examples=60, deadline=None)
@given(sampled, within_s, st.sampled_from(SIZES), st.booleans())
def test_every_bar_is_possible(one: Contract, at_s: int, size: str, rth: bool) -> None:
    step_s = INTRADAY_S.get(size, DAY_S)
    what = first_kind(one)
    found = bars(one, size, what, at_s - 300 * step_s, at_s, rth=rth)
    sessions = MARKET.sessions(one, at_s - 330 * step_s - 7 * DAY_S, at_s + DAY_S, rth=rth)
    assert [bar.t for bar in found] == sorted({bar.t for bar in found})
    for bar in found:
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        if size in INTRADAY_S:
            assert any(each.open_s <= bar.t < each.close_s for each in sessions)
            assert all(_on_grid(price, one.min_tick / (2 if what == "MIDPOINT" else 1)) for price in bar[1:5])
        if one.sec_type in ("STK", "FUT"):
            assert type(bar.volume) is int
            assert bar.volume >= bar.count >= 1
            assert bar.low <= bar.wap <= bar.high
        if one.sec_type == "IND":
            assert (bar.volume, bar.wap) == (0, 0)
        if one.sec_type == "CASH":
            assert bar[5:] == (-1, -1, -1)


def _on_grid(price: float, step: float) -> bool:
    return Decimal(repr(price)) % Decimal(repr(step)) == 0


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([one for one in ALL if "BID" in one.kinds]),
    within_s,
    st.sampled_from(["1s", "1m", "15m", "1h", "1d"]),
)
def test_quotes_exist_in_every_slot_and_enclose_the_trades(one: Contract, at_s: int, size: str) -> None:
    step_s = INTRADAY_S.get(size, DAY_S)
    found = {kind: bars(one, size, kind, at_s - 200 * step_s, at_s) for kind in ("BID", "MIDPOINT", "ASK", "BID_ASK")}
    assert len({tuple(bar.t for bar in kind) for kind in found.values()}) == 1
    for bid, middle, ask, both in zip(*found.values(), strict=True):
        for field in ("open", "high", "low", "close"):
            assert getattr(bid, field) <= getattr(middle, field) <= getattr(ask, field)
            assert getattr(bid, field) < getattr(ask, field)
        assert (both.low, both.high) == (bid.low, ask.high)
        assert both.low <= both.open <= both.close <= both.high
    if size in ("1s", "1m"):
        sessions = MARKET.sessions(one, at_s - 200 * step_s, at_s, rth=False)
        slots = {
            t for each in sessions for t in range(each.open_s, each.close_s, step_s) if at_s - 200 * step_s <= t < at_s
        }
        assert {bar.t for bar in found["BID"]} == slots
    if "TRADES" in one.kinds:
        quotes = {bar.t: bar for bar in found["BID_ASK"]}
        for bar in bars(one, size, "TRADES", at_s - 200 * step_s, at_s):
            assert quotes[bar.t].low <= bar.low
            assert bar.high <= quotes[bar.t].high


# ---- the forming bar, quotes and ticks ------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from((AAPL, ES, SPX, THIN)),
    within_s,
    st.floats(0, 1),
    st.sampled_from(["1s", "5s", "30s", "1m", "5m", "1h", "4h", "1d", "1w", "1M"]),
)
def test_a_forming_bar_holds_exactly_the_ticks_until_now(one: Contract, at_s: int, part: float, size: str) -> None:
    now_s = at_s + part
    back_s = {"1d": 5 * DAY_S, "1w": 8 * DAY_S, "1M": 35 * DAY_S}.get(size, 2 * INTRADAY_S.get(size, 0))
    found = bars(one, size, "TRADES", now_s - back_s, now_s + 60, now_s=now_s)
    later = bars(one, size, "TRADES", now_s - back_s, now_s + 60)
    if found and size in INTRADAY_S:
        assert found[:-1] == later[: len(found) - 1]  # what is over stays as it was
    if found and (INTRADAY_S.get(size, DAY_S) <= 60 or (one is THIN and size in INTRADAY_S)):
        last = found[-1]
        ticks = MARKET.ticks(one, "TRADES", last.t, now_s, 10**9)
        assert ticks, last
        prices = [tick.price for tick in ticks]
        assert ohlcv(last) == (
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            sum(tick.size for tick in ticks),
            len(ticks),
        )
    if found and size not in INTRADAY_S:
        label = datetime.fromtimestamp(found[-1].t, UTC).date()
        begun = [each for each in MARKET.sessions(one, now_s - 40 * DAY_S, now_s, rth=False) if each.open_s < now_s]
        days = bars(one, "1d", "TRADES", now_s - 40 * DAY_S, now_s, now_s=now_s)
        if size == "1d":
            assert label <= begun[-1].trade_date
        else:
            assert found[-1].close == days[-1].close
            traded = datetime.fromtimestamp(days[-1].t, UTC).date()
            if period_start(traded, size) == period_start(begun[-1].trade_date, size):
                assert label == begun[-1].trade_date  # today, while it forms
            else:
                assert label < begun[-1].trade_date  # it has not begun to form


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([one for one in ALL if one is not SPX]), within_s, st.floats(0.001, 0.999))
def test_a_quote_is_where_the_bars_and_ticks_are(one: Contract, at_s: int, part: float) -> None:
    t_s = at_s + part
    quote = MARKET.quote(one, t_s)
    assert quote.bid < quote.ask
    minute = bars(one, "1m", "BID", at_s // 60 * 60, t_s, now_s=t_s)
    assert quote.is_open == bool(minute)
    if minute:
        assert minute[-1].close == quote.bid
        assert bars(one, "1m", "ASK", at_s // 60 * 60, t_s, now_s=t_s)[-1].close == quote.ask
    if "TRADES" in one.kinds and quote.last_s:
        (last, *_) = reversed(MARKET.ticks(one, "TRADES", quote.last_s - 1, t_s, 1, from_end=True))
        assert (last.price, last.size, last.t_s) == (quote.last, quote.last_size, quote.last_s)
        if minute and quote.last_s >= minute[-1].t:
            assert quote.bid <= quote.last <= quote.ask


def test_the_quote_of_a_closed_market_stays_and_names_both_closes() -> None:
    saturday = datetime(2026, 1, 10, 15, tzinfo=UTC).timestamp()
    quote = MARKET.quote(AAPL, saturday)
    days = bars(AAPL, "1d", "TRADES", saturday - 5 * DAY_S, saturday, rth=True)
    assert not quote.is_open
    assert quote == MARKET.quote(AAPL, saturday + 3600)._replace(t_s=saturday)
    assert (quote.open, quote.high, quote.low, quote.close) == (*days[-1][1:4], days[-2].close)
    assert quote.volume == days[-1].volume
    index = MARKET.quote(SPX, saturday)
    assert (index.bid, index.ask) == (-1, -1)
    assert index.last > 0
    pair = MARKET.quote(EURUSD, NOW_S)
    assert (pair.last, pair.is_open) == (-1, True)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from((AAPL, ES, EURUSD)), within_s, st.integers(1, 400), st.sampled_from(["TRADES", "BID_ASK"]))
def test_ticks_are_the_same_from_either_end(one: Contract, at_s: int, limit: int, kind: str) -> None:
    kind = kind if kind in one.kinds else "BID_ASK"
    every = MARKET.ticks(one, kind, at_s, at_s + 600, 10**9)
    first = MARKET.ticks(one, kind, at_s, at_s + 600, limit)
    last = MARKET.ticks(one, kind, at_s, at_s + 600, limit, from_end=True)
    assert [tick.t_s for tick in every] == sorted(tick.t_s for tick in every)
    assert first == every[: len(first)]
    assert last == every[len(every) - len(last) :]
    if len(every) > len(first):  # enough, and the second of the last one is complete
        assert len(first) >= limit
        assert int(every[len(first)].t_s) > int(first[-1].t_s)
    if len(every) > len(last):
        assert int(every[-len(last) - 1].t_s) < int(last[0].t_s)


# ---- particular instruments -----------------------------------------------------------------------------------------


def test_the_last_trade_of_a_thin_stock_may_be_of_another_day() -> None:
    sunday = datetime(2026, 1, 11, 15, tzinfo=UTC).timestamp()
    quote = MARKET.quote(THIN, sunday)
    (tick,) = MARKET.ticks(THIN, "TRADES", sunday - 9 * DAY_S, sunday, 1, from_end=True)
    assert (quote.last, quote.last_s, quote.last_size) == (tick.price, tick.t_s, tick.size)
    for hours in range(0, 72, 5):
        assert MARKET.quote(THIN, NOW_S - hours * 3600).last > 0


def test_minutes_without_a_trade_have_no_bar_but_quotes() -> None:
    start_s, end_s = NOW_S - 20 * DAY_S, NOW_S - DAY_S
    quoted = bars(CL_FAR, "1m", "BID", start_s, end_s)
    traded = bars(CL_FAR, "1m", "TRADES", start_s, end_s)
    assert 0 < len(traded) < len(quoted) / 2
    assert len(bars(ES, "1m", "TRADES", start_s, end_s)) > 0.98 * len(bars(ES, "1m", "BID", start_s, end_s))


def test_the_thin_stock_has_sessions_without_a_trade() -> None:
    start_s = (NOW_S - 300 * DAY_S) // DAY_S * DAY_S
    sessions = MARKET.sessions(THIN, start_s, NOW_S - DAY_S, rth=True)
    days = bars(THIN, "1d", "TRADES", start_s, NOW_S - DAY_S, rth=True)
    assert len(sessions) * 0.7 < len(days) < len(sessions)
    assert len(bars(THIN, "1d", "BID", start_s, NOW_S - DAY_S, rth=True)) == len(sessions)


def test_a_halted_day_has_sessions_and_no_bars() -> None:
    halt = contract("HALT", "STK")
    start_s = datetime(2025, 9, 8, tzinfo=UTC).timestamp()
    labels = [
        datetime.fromtimestamp(bar.t, UTC).day
        for bar in bars(halt, "1d", "BID", start_s, start_s + 5 * DAY_S, rth=True)
    ]
    assert labels == [8, 9, 11, 12]
    assert len(MARKET.sessions(halt, start_s, start_s + 5 * DAY_S, rth=True)) == 5
    during_s = datetime(2025, 9, 10, 15, tzinfo=UTC).timestamp()
    assert MARKET.quote(halt, during_s).halted
    assert not MARKET.quote(halt, during_s + DAY_S).halted


def test_a_new_listing_begins_at_its_head() -> None:
    newco = contract("NEWCO", "STK")
    head_s = MARKET.head_s(newco, "TRADES", rth=True)
    assert head_s == int(datetime(2025, 9, 15, 13, 30, tzinfo=UTC).timestamp())
    assert bars(newco, "1d", "TRADES", 0, NOW_S, rth=True)[0].t == head_s // DAY_S * DAY_S
    assert bars(newco, "1m", "BID", 0, head_s, rth=True) == []
    assert MARKET.find(ContractQuery(symbol="NEWCO", sec_type="STK"), head_s - 30 * DAY_S) == []
    assert MARKET.head_s(newco, "AGGTRADES", rth=True) is None
    assert MARKET.head_s(EURUSD, "TRADES", rth=False) is None


def test_a_past_split_is_seen_from_after_it_only() -> None:
    split_s = int(datetime(2024, 6, 10, 8, tzinfo=UTC).timestamp())  # NVDA 10 for 1, opening at 04:00 New York
    nvda = contract("NVDA", "STK")
    window = {"start_s": split_s - 10 * DAY_S, "end_s": split_s}
    before = MARKET.bars(nvda, "1m", "TRADES", rth=False, now_s=split_s - 1, **window)
    after = MARKET.bars(nvda, "1m", "TRADES", rth=False, now_s=split_s, **window)
    assert len(before) == len(after) > 2000
    assert {round(old.close / new.close, 6) for old, new in zip(before, after, strict=True)} == {10}
    assert [old.volume * 10 for old in before] == [new.volume for new in after]
    assert [old.count for old in before] == [new.count for new in after]
    across = MARKET.bars(
        nvda, "1d", "TRADES", rth=True, start_s=split_s - 5 * DAY_S, end_s=split_s + 5 * DAY_S, now_s=NOW_S
    )
    assert max(bar.high for bar in across) < 1.5 * min(bar.low for bar in across)


@pytest.mark.parametrize("ratio", [2, 3, 7])
def test_a_split_made_now_divides_the_past_and_the_future(ratio: int) -> None:
    market = Market(7)
    midnight_s = datetime(2026, 1, 14, 3, tzinfo=UTC).timestamp()
    window = {"start_s": NOW_S - 3 * DAY_S, "end_s": NOW_S}
    before = market.bars(AAPL, "5m", "TRADES", rth=True, now_s=NOW_S, **window)
    opening_s = market.split(AAPL, ratio, midnight_s)
    assert opening_s == int(datetime(2026, 1, 14, 4, tzinfo=ZoneInfo("America/New_York")).timestamp())
    unaware = market.bars(AAPL, "5m", "TRADES", rth=True, now_s=opening_s - 1, **window)
    assert unaware == [bar for bar in before if bar.t < opening_s]
    after = market.bars(AAPL, "5m", "TRADES", rth=True, now_s=NOW_S, **window)
    for old, new in zip(unaware, after, strict=False):
        assert abs(new.close - old.close / ratio) <= 0.0001
        assert new.volume == old.volume * ratio
        assert new.low <= new.wap <= new.high
    assert [bar.t for bar in after] == [bar.t for bar in before]
    assert abs(after[-1].close - before[-1].close / ratio) < 0.02 * before[-1].close / ratio
    with pytest.raises(ValueError, match="only a stock splits"):
        market.split(ES, 2, midnight_s)


def test_adjusted_last_is_trades_less_dividends() -> None:
    start_s = NOW_S - 3 * 365 * DAY_S
    plain = bars(AAPL, "1d", "TRADES", start_s, NOW_S, rth=True)
    adjusted = bars(AAPL, "1d", "ADJUSTED_LAST", start_s, NOW_S, rth=True)
    assert [bar.t for bar in plain] == [bar.t for bar in adjusted]
    assert plain[-1] == adjusted[-1]
    ratios = [one.close / other.close for one, other in zip(adjusted, plain, strict=True)]
    assert ratios == sorted(ratios) or max(abs(a - b) for a, b in zip(ratios, sorted(ratios), strict=True)) < 1e-5
    assert 0.98 < ratios[0] < 0.99
    with pytest.raises(ValueError, match="1d, 1w and 1M"):
        bars(AAPL, "1h", "ADJUSTED_LAST", start_s, NOW_S)


def test_a_continuous_future_is_its_front_months_in_a_row() -> None:
    continuous = contract("ES", "CONTFUT", exchange="CME")
    assert continuous.local_symbol == "ESH6"
    start_s = datetime(2025, 12, 22, tzinfo=UTC).timestamp()
    assert bars(continuous, "1h", "TRADES", start_s, NOW_S) == bars(ES, "1h", "TRADES", start_s, NOW_S)
    days = bars(continuous, "1d", "TRADES", NOW_S - 900 * DAY_S, NOW_S)
    moves = [abs(after.open / before.close - 1) for before, after in pairwise(days)]
    assert max(moves) < 0.05  # no jump at a roll
    roll_s = datetime(2025, 6, 2, tzinfo=UTC).timestamp()
    june = contract("ES", "FUT", last_trade_date="202506", include_expired=True)
    old = bars(june, "1d", "TRADES", roll_s, roll_s + 5 * DAY_S)
    adjusted = bars(continuous, "1d", "TRADES", roll_s, roll_s + 5 * DAY_S)
    ratios = [one.close / other.close for one, other in zip(adjusted, old, strict=True)]
    assert 1.01 < min(ratios) <= max(ratios) < min(ratios) + 0.0002
    assert [bar.volume for bar in old] == [bar.volume for bar in adjusted]


def test_an_expired_future_ends_with_its_last_trade_date() -> None:
    june = contract("ES", "FUT", last_trade_date="20250620", include_expired=True)
    start_s = datetime(2025, 6, 16, tzinfo=UTC).timestamp()
    days = bars(june, "1d", "TRADES", start_s, start_s + 30 * DAY_S)
    assert datetime.fromtimestamp(days[-1].t, UTC).date() == date(2025, 6, 20)
    assert bars(june, "1m", "TRADES", NOW_S - 5 * DAY_S, NOW_S) == []


def test_hours_are_cut_at_the_wall_clock_of_the_exchange() -> None:
    day_s = datetime(2025, 7, 15, tzinfo=UTC).timestamp()
    new_york = ZoneInfo("America/New_York")

    def starts(one: Contract, size: str, *, rth: bool) -> list[str]:
        found = bars(one, size, first_kind(one), day_s + 2 * 3600, day_s + DAY_S, rth=rth)
        return [datetime.fromtimestamp(bar.t, new_york).strftime("%H:%M") for bar in found]

    assert starts(AAPL, "1h", rth=True) == ["09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]
    assert starts(AAPL, "4h", rth=False) == ["04:00", "08:00", "12:00", "16:00"]
    assert starts(EURUSD, "8h", rth=False)[-2:] == ["16:00", "17:15"]


def test_prices_are_plausible_whenever_one_looks() -> None:
    for one in listed():
        if one.contract.sec_type in ("STK", "CASH", "IND") and one.head < date(2006, 1, 1) and not one.splits:
            level = [
                bar.close for bar in bars(one.contract, "1M", first_kind(one.contract), NOW_S - 400 * DAY_S, NOW_S)
            ]
            assert one.price_2025 / 3 < min(level) <= max(level) < 3 * one.price_2025, one.contract.symbol


def test_days_are_known_without_making_their_minutes() -> None:
    prices = Prices(3)
    ends = {"start_s": NOW_S - 365 * DAY_S, "end_s": NOW_S - DAY_S}
    found = GeneratedBars(prices).bars(AAPL, "1d", "TRADES", rth=True, **ends, now_s=NOW_S)
    assert len(found) > 240
    assert not prices.walk(prices.instrument(AAPL))._children


def test_a_size_or_kind_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="'7m' is not one of 1s, 5s"):
        bars(AAPL, "7m", "TRADES", 0, 1)
    with pytest.raises(ValueError, match="CASH EUR has no TRADES, only MIDPOINT"):
        bars(EURUSD, "1m", "TRADES", 0, 1)


# ---- minutes without a trade -----------------------------------------------------------------------------------------

EVENING_S = int(datetime(2026, 1, 13, 21, tzinfo=UTC).timestamp())  # regular hours end


@pytest.mark.parametrize("size", ["1m", "5m", "1h"])
def test_outside_regular_hours_a_stock_has_flat_bars_of_no_volume(size: str) -> None:
    """From the first trade of the date to the end; inside regular hours nothing is filled in."""
    step_s = INTRADAY_S[size]
    filled_in = 0
    for back in range(12):
        closed_s = EVENING_S - back * DAY_S
        day = {"start_s": closed_s - 12 * 3600, "end_s": closed_s + 4 * 3600, "now_s": NOW_S}
        every = MARKET.bars(THIN, size, "TRADES", rth=False, **day)
        regular = {bar.t for bar in MARKET.bars(THIN, size, "BID", rth=True, **day)}
        evening = [bar.t for bar in every if bar.t >= closed_s]
        assert evening == (list(range(closed_s, closed_s + 4 * 3600, step_s)) if every[:1] != [] else [])
        for before, bar in pairwise(every):
            if bar.count == 0:
                assert bar.t not in regular
                assert bar[1:] == (*[before.close] * 4, 0, before.close, 0)
                filled_in += 1
        assert all(bar.count > 0 for bar in every[:1])
    assert filled_in > 20


def test_a_window_that_begins_between_two_trades_fills_in_the_same_bars() -> None:
    start_s, end_s = EVENING_S - 12 * 3600, EVENING_S + 4 * 3600
    whole = MARKET.bars(THIN, "1m", "TRADES", rth=False, start_s=start_s, end_s=end_s, now_s=NOW_S)
    parts: list[Bar] = []
    for low_s in range(start_s, end_s, 1740):
        high_s = min(low_s + 1740, end_s)
        parts += MARKET.bars(THIN, "1m", "TRADES", rth=False, start_s=low_s, end_s=high_s, now_s=NOW_S)
    assert whole != with_trades(whole)
    assert parts == whole


@pytest.mark.parametrize(
    ("one", "size", "what"),
    [(THIN, "30s", "TRADES"), (THIN, "1m", "MIDPOINT"), (THIN, "1d", "TRADES"), (CL_FAR, "1m", "TRADES")],
)
def test_no_other_bars_are_filled_in(one: Contract, size: str, what: str) -> None:
    found = MARKET.bars(one, size, what, rth=False, start_s=EVENING_S - DAY_S, end_s=NOW_S, now_s=NOW_S)
    assert found
    assert with_trades(found) == found
