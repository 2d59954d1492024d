"""When bars count as closed, for the bridge and for readers."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.closing import BarCloseDelay, BarClosing
from nautilus.market.timeframes import ALL, timeframe
from tests.support.markets import (
    DAY,
    MARKETS,
    MINUTE,
    S,
    closing,
    cme,
    few,
    forex,
    known_from,
    known_to,
    label,
    many,
    next_open,
    ns,
    nyse,
)
from tests.unit.market.test_farms import STOCK

FUTURE = STOCK._replace(asset_class="FUT")
NY, CHICAGO = "America/New_York", "America/Chicago"
COARSE = [t for t in ALL if t.intraday and t.step_ns >= 5 * MINUTE]
LABELLED = [t for t in ALL if not t.intraday]
moments = st.integers(ns("2023-12-10 00:00"), ns("2024-12-10 00:00"))
markets = st.sampled_from(sorted(MARKETS))


@pytest.mark.parametrize(
    ("delay", "first"),
    [(BarCloseDelay(), "10:31:15"), (BarCloseDelay(120, 0), "10:33:00"), (BarCloseDelay(0, 9), "10:31:00")],
)
def test_an_intraday_bar_is_closed_so_long_after_its_minute(delay, first):
    bar, at = ns("2024-03-05 10:30", NY), ns(f"2024-03-05 {first}", NY)
    for now, closed in ((at - S, False), (at, True)):
        rule = BarClosing.of(nyse(), timeframe("1m"), STOCK, delay=delay, now=now)
        assert rule.is_closed(bar, now) is closed
        assert (rule.closed_until(now) >= bar + MINUTE) is closed


@pytest.mark.parametrize(
    ("delay", "instrument", "calendar", "first"),
    [
        (BarCloseDelay(), STOCK, nyse(), ns("2024-03-05 16:15", NY)),
        (BarCloseDelay(0, 3_600), STOCK, nyse(), ns("2024-03-05 17:00", NY)),
        # A future's settlement price comes later: not before the next session opens.
        (BarCloseDelay(), FUTURE, cme(), ns("2024-03-05 17:15", CHICAGO)),
    ],
)
def test_a_day_is_closed_so_long_after_its_session(delay, instrument, calendar, first):
    day = label("2024-03-05")
    for now, closed in ((first - S, False), (first, True)):
        rule = BarClosing.of(calendar, timeframe("1d"), instrument, delay=delay, now=now)
        assert rule.is_closed(day, now) is closed
        assert (rule.closed_until(now) > day) is closed


# ---- one rule for the bridge and for readers -------------------------------------------------------------------------


def stamps(rule: BarClosing, start: int, end: int) -> list[int]:
    """The stamps of the bars from `start` to `end`, on the series' axis."""
    found = []
    for unit in rule.calendar.units(rule.timeframe, (start, end)):
        at = unit[0]
        while at < unit[1]:
            found.append(at)
            at = rule.calendar.slot(rule.timeframe, at)[1]
    return found


def around_closes(calendar: Calendar) -> Iterator[int]:
    """Times just before and after what may close a bar: a slot's end, a session's end, the next session's open."""
    for session in calendar.sessions[22:27]:
        for at in (session.open_ns, session.open_ns + 5 * MINUTE, session.close_ns):
            yield from (at + seconds * S for seconds in (-1, 0, 14, 15, 899, 900))


def disagreements(kind: type[BarClosing]) -> int:
    """How often what the bridge stores and what readers count as closed differ, over markets, timeframes and times."""
    count = 0
    for name in ("nyse", "cme", "forex"):
        for frame in (timeframe(text) for text in ("5m", "1h", "8h", "1d", "1w", "1M")):
            late, delay_s = name == "cme", 15 if frame.intraday else 900
            rule = kind(MARKETS[name], frame, delay_s * S, late)
            for now in around_closes(MARKETS[name]):
                window = (now - (4 if frame.intraday else 65) * DAY, now + 2 * DAY)
                bars = [Bar(ts, 1, 1, 1, 1, None, None, None) for ts in stamps(rule, *window)]
                until = rule.closed_until(now)
                count += rule.without_forming(bars, now) != [bar for bar in bars if bar.ts < until]
    return count


def test_the_bridge_stores_what_readers_count_as_closed():
    assert disagreements(BarClosing) == 0


class WithoutDelay(BarClosing):
    def is_closed(self, ts: int, now: int) -> bool:
        return self.over_at(ts) <= now


class ASecondEarly(BarClosing):
    def is_closed(self, ts: int, now: int) -> bool:
        return self.over_at(ts) + self.delay_ns <= now + S


class ASlotLate(BarClosing):
    def closed_until(self, now: int) -> int:
        return BarClosing.closed_until(self, now - self.timeframe.step_ns)


class WithoutSettlement(BarClosing):
    def is_closed(self, ts: int, now: int) -> bool:
        return BarClosing(self.calendar, self.timeframe, self.delay_ns, late_settlement=False).is_closed(ts, now)


class ThroughTheBreak(BarClosing):
    """Slots that a session's end does not cut."""

    def over_at(self, ts: int) -> int:
        return self.calendar.slot(self.timeframe, ts)[1]


@pytest.mark.parametrize("mutant", [WithoutDelay, ASecondEarly, ASlotLate, WithoutSettlement, ThroughTheBreak])
def test_a_second_opinion_about_closed_bars_is_found(mutant: type[BarClosing]) -> None:
    assert disagreements(mutant) > 0


def test_without_a_calendar_weekdays_stand_in_and_nothing_is_undecided():
    now = ns("2024-03-08 10:30:20", NY)
    for frame in ALL:
        bounds = BarClosing.of(None, frame, STOCK, delay=BarCloseDelay(), now=now).bounds(now)
        assert bounds.closed == bounds.undecided
    minute = BarClosing.of(None, timeframe("1m"), STOCK, delay=BarCloseDelay(), now=now)
    assert minute.closed_until(now) == ns("2024-03-08 10:30", NY)


def test_beyond_the_end_of_what_is_known_bars_may_be_closed():
    calendar, now = known_to(nyse(), ns("2024-03-08 09:30", NY)), ns("2024-03-08 10:30:20", NY)
    rule = BarClosing.of(calendar, timeframe("1h"), STOCK, delay=BarCloseDelay(), now=now)
    assert rule.bounds(now) == (ns("2024-03-08 10:00", NY), ns("2024-03-08 11:00", NY))
    assert BarClosing.of(nyse(), timeframe("1h"), STOCK, delay=BarCloseDelay(), now=now).bounds(now) == (
        ns("2024-03-08 10:00", NY),
        ns("2024-03-08 10:00", NY),
    )


# ---- sessions that are known -----------------------------------------------------------------------------------------


def until(calendar, name, now, *, delay_s=15, late=False, zone=NY):
    return closing(calendar, timeframe(name), delay_s=delay_s, late=late).closed_until(ns(now, zone))


@pytest.mark.parametrize(
    ("name", "now", "expected"),
    [
        ("1m", "2024-01-05 10:00:14", "2024-01-05 09:59"),
        ("1m", "2024-01-05 10:00:15", "2024-01-05 10:00"),
        ("5m", "2024-01-05 10:04:59", "2024-01-05 10:00"),
        ("1h", "2024-01-05 09:45", "2024-01-05 09:30"),
        ("1h", "2024-01-05 10:00:15", "2024-01-05 10:00"),
        ("4h", "2024-01-05 11:59", "2024-01-05 09:30"),
        ("8h", "2024-01-05 16:00:14", "2024-01-05 09:30"),
        ("8h", "2024-01-05 16:00:15", "2024-01-05 16:00"),
        ("8h", "2024-07-03 13:00:14", "2024-07-03 09:30"),
        ("8h", "2024-07-03 13:00:15", "2024-07-03 13:00"),
        ("1m", "2024-01-06 12:00:15.7", "2024-01-06 12:00"),
    ],
)
def test_intraday_bars_are_over_with_their_slot_or_session(name, now, expected):
    assert until(nyse(), name, now) == ns(expected, NY)


def test_the_bar_after_a_break_within_a_slot_still_forms():
    """3h bars of Chicago: 15:00 to 16:00, the break, then 17:00 to 18:00, all in one slot of the grid."""
    calendar = cme()
    assert until(calendar, "3h", "2024-01-09 16:30", zone=CHICAGO) == ns("2024-01-09 16:29:45", CHICAGO)
    assert until(calendar, "3h", "2024-01-09 17:30", zone=CHICAGO) == ns("2024-01-09 17:00", CHICAGO)
    assert until(calendar, "3h", "2024-01-09 18:00:15", zone=CHICAGO) == ns("2024-01-09 18:00", CHICAGO)


def test_beyond_what_is_known_only_the_known_and_whole_slots_are_over():
    """A schedule that was fetched at ten in the morning tells today's session and nothing after."""
    whole = nyse(date(2024, 6, 3), 31)  # to the early close of 3 July
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-07-03 10:00", NY)), NY)
    assert until(calendar, "8h", "2024-07-03 12:00") == ns("2024-07-03 09:30", NY)
    assert until(calendar, "8h", "2024-07-03 14:00") == ns("2024-07-03 13:00", NY)
    assert until(calendar, "8h", "2024-07-04 11:00") == ns("2024-07-04 08:00", NY), "a session there would be cut so"
    assert until(Calendar.of([], (0, 1), NY), "1h", "2024-07-04 11:30") == ns("2024-07-04 11:00", NY)


@many
@given(markets, st.sampled_from(COARSE), moments, st.integers(0, 1_000))
def test_no_forming_bar_passes_and_none_waits_needlessly(name, t, now, delay_s):
    calendar, at = MARKETS[name], now - delay_s * S
    end = closing(calendar, t, delay_s=delay_s, late=False).closed_until(now)
    assert end <= at
    for start, over in bars_near(calendar, t, at):
        assert (start < end) == (over <= at), (start, over, at)


def bars_near(calendar, t, at):
    """Every bar of the grid within two days of `at`: (stamp, when it is over), slot by slot from midnight."""
    zone = ZoneInfo(calendar.time_zone)
    day = datetime.fromtimestamp(at / S, zone).date() - timedelta(days=2)
    marks = []
    for _ in range(5):
        minutes = range(0, 1440, max(1, t.step_ns // MINUTE))
        marks += [ns(f"{day} {m // 60:02d}:{m % 60:02d}", calendar.time_zone) for m in minutes]
        day += timedelta(days=1)
    for s in calendar.between(marks[0], marks[-1]):
        for a, b in pairwise(marks):
            if max(a, s.open_ns) < min(b, s.close_ns):
                yield max(a, s.open_ns), min(b, s.close_ns)


def test_a_stocks_day_is_over_with_its_close():
    calendar = nyse()
    day = {"delay_s": 900}
    assert until(calendar, "1d", "2024-01-05 16:14:59", **day) == label("2024-01-05")
    assert until(calendar, "1d", "2024-01-05 16:15", **day) == label("2024-01-06")
    assert until(calendar, "1d", "2024-07-03 13:15", **day) == label("2024-07-04"), "early close"
    assert until(calendar, "1d", "2024-01-07 12:00", **day) == label("2024-01-08"), "a Sunday: all before it is over"
    assert until(calendar, "1d", "2024-01-08 09:00", **day) == label("2024-01-08")
    extended = MARKETS["nyse-extended"]
    assert until(extended, "1d", "2024-01-05 20:14", **day) == label("2024-01-05"), "00:59Z of the 6th, and not over"
    assert until(extended, "1d", "2024-01-05 20:15", **day) == label("2024-01-06")


def test_a_futures_day_is_over_when_the_next_session_opens():
    calendar = cme()
    chicago = {"delay_s": 15, "late": True, "zone": CHICAGO}
    assert until(calendar, "1d", "2024-01-05 16:30", **chicago) == label("2024-01-05"), "the settlement may come yet"
    assert until(calendar, "1d", "2024-01-07 17:00:14", **chicago) == label("2024-01-05")
    assert until(calendar, "1d", "2024-01-07 17:00:15", **chicago) == label("2024-01-08")
    assert until(calendar, "1d", "2024-01-08 17:00:15", **chicago) == label("2024-01-09")
    assert until(calendar, "1d", "2024-01-05 16:00:15", zone=CHICAGO) == label("2024-01-06"), "without settlement"


def test_a_futures_day_whose_next_session_is_not_known_waits_three_days():
    whole = cme(date(2024, 1, 2), 4)
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-01-05 16:00", CHICAGO)), CHICAGO)
    friday = label("2024-01-05")
    assert closing(calendar, timeframe("1d"), late=True).over_at(friday) == ns("2024-01-08 16:00", CHICAGO)
    assert closing(calendar, timeframe("1d"), late=False).over_at(friday) == ns("2024-01-05 16:00", CHICAGO)


def test_an_unknown_day_is_over_at_its_midnight():
    calendar = Calendar.of([], (0, 1), NY)
    friday = label("2024-01-05")
    assert closing(calendar, timeframe("1d"), late=False).over_at(friday) == ns("2024-01-06 00:00", NY)
    assert until(calendar, "1d", "2024-01-05 23:59", delay_s=0) == friday
    assert until(calendar, "1d", "2024-01-06 00:00", delay_s=0) == friday + DAY


def test_weeks_and_months_are_over_with_their_last_trade_date():
    calendar = nyse()
    assert until(calendar, "1w", "2024-01-05 16:14", delay_s=900) == label("2024-01-01")
    assert until(calendar, "1w", "2024-01-05 16:15", delay_s=900) == label("2024-01-08")
    assert until(calendar, "1M", "2024-03-28 16:14", delay_s=900) == label("2024-03-01"), "the 29th was Good Friday"
    assert until(calendar, "1M", "2024-03-28 16:15", delay_s=900) == label("2024-04-01")
    future = {"delay_s": 15, "late": True, "zone": CHICAGO}
    assert until(cme(), "1w", "2024-01-06 12:00", **future) == label("2024-01-01")
    assert until(cme(), "1w", "2024-01-07 17:00:15", **future) == label("2024-01-08")
    # May ends on a Friday: on Saturday, 1 June, its last settlement may still be missing.
    assert until(cme(), "1M", "2024-06-01 12:00", **future) == label("2024-05-01")
    assert until(cme(), "1M", "2024-06-02 17:00:15", **future) == label("2024-06-01")


def test_a_week_of_which_the_end_is_not_known_is_over_with_the_week():
    whole = nyse(date(2024, 1, 2), 3)  # Tuesday to Thursday
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-01-04 18:00", NY)), NY)
    assert until(calendar, "1w", "2024-01-05 18:00") == label("2024-01-01")
    assert until(calendar, "1w", "2024-01-08 00:00:15") == label("2024-01-08")


@many
@given(markets, st.sampled_from(LABELLED), moments, st.booleans())
def test_no_forming_day_week_or_month_passes_and_none_waits_needlessly(name, t, now, late):
    calendar = MARKETS[name]
    end = closing(calendar, t, delay_s=0, late=late).closed_until(now)
    assert t.floor(end) == end
    closes: dict[int, int] = {}
    for session, following in pairwise(calendar.sessions):
        over = following.open_ns if late else session.close_ns
        unit = t.floor(label(session.trade_date.isoformat()))
        closes[unit] = max(over, closes.get(unit, 0))
    for unit, over in closes.items():
        if abs(unit - now) < 60 * DAY:
            assert (unit < end) == (over <= now), (unit, over, now)


@few
@given(markets, st.sampled_from(ALL), moments, st.integers(0, 3 * DAY), st.booleans())
def test_what_is_over_stays_over(name, t, now, later, late):
    calendar = MARKETS[name]
    first = closing(calendar, t, delay_s=15, late=late).closed_until(now)
    assert first <= closing(calendar, t, delay_s=15, late=late).closed_until(now + later)


def test_a_futures_day_is_over_where_the_next_session_is_known_to_open():
    """The bridge keeps what is known up to the next open, which is no session of the calendar yet."""
    thursday, opens = label("2024-01-04"), ns("2024-01-04 17:00", CHICAGO)
    calendar = known_to(cme(), opens)
    assert closing(calendar, timeframe("1d"), late=True).over_at(thursday) == opens
    assert until(calendar, "1d", "2024-01-05 06:00", delay_s=900, late=True, zone=CHICAGO) == label("2024-01-05")
    later = known_to(cme(), ns("2024-01-04 20:00", CHICAGO))
    assert closing(later, timeframe("1d"), late=True).over_at(thursday) == opens, "what is known to open, opens"


def test_a_contract_that_trades_no_more_is_over_after_three_days():
    whole = cme(date(2024, 1, 2), 4)
    calendar = Calendar(whole.sessions, (whole.known[0], ns("2024-02-05 16:00", CHICAGO)), CHICAGO)
    friday = label("2024-01-05")
    assert closing(calendar, timeframe("1d"), late=True).over_at(friday) == ns("2024-01-08 16:00", CHICAGO)


def test_a_friday_nobody_knows_of_is_not_settled_on_saturday():
    calendar = known_to(cme(), ns("2024-01-04 17:00", CHICAGO))
    friday = label("2024-01-05")
    assert closing(calendar, timeframe("1d"), late=True).over_at(friday) == ns("2024-01-08 00:00", CHICAGO)
    assert closing(calendar, timeframe("1d"), late=False).over_at(friday) == ns("2024-01-06 00:00", CHICAGO)


@pytest.mark.parametrize(
    ("calendar", "opens", "zone"), [(cme(), "2024-01-07 17:00", CHICAGO), (forex(), "2024-01-07 17:15", NY)]
)
@pytest.mark.parametrize("late", [False, True])
def test_a_week_is_over_on_the_weekend_though_the_next_session_opens_before_monday(calendar, opens, zone, late):
    """Sunday's open is Monday's session: the week before is known whole."""
    short = known_to(calendar, ns(opens, zone))
    over = (
        ns(opens, zone) if late else calendar.real_time(timeframe("1w"), (label("2024-01-01"), label("2024-01-08")))[1]
    )
    assert closing(short, timeframe("1w"), late=late).over_at(label("2024-01-01")) == over


@many
@given(markets, st.sampled_from([*COARSE, *LABELLED]), moments, st.integers(0, 20 * DAY), st.booleans())
def test_at_the_edge_of_what_is_known_no_closed_bar_is_left_out_in_silence(name, t, end, later, late):
    """The bridge keeps what is known up to an open. Where a closed bar may be left out, it is said that nobody knows."""
    whole = MARKETS[name]
    end = next_open(whole, end)
    now = end + later
    short = known_to(whole, end)
    rule: dict[str, Any] = {"delay_s": 15, "late": late and not t.intraday}
    truth, found = closing(whole, t, **rule).closed_until(now), closing(short, t, **rule).closed_until(now)
    edge = closing(short, t, delay_s=15).undecided_until(now) or found
    assert not whole.units(t, (max(found, edge), max(truth, found, edge)))


@many
@given(markets, st.sampled_from(LABELLED), moments, st.integers(0, 20 * DAY), st.booleans())
def test_where_the_beginning_is_not_known_no_closed_bar_is_left_out_in_silence(name, t, start, later, late):
    whole = MARKETS[name]
    short, now = known_from(whole, start), start + later
    rule: dict[str, Any] = {"delay_s": 15, "late": late}
    truth, found = closing(whole, t, **rule).closed_until(now), closing(short, t, **rule).closed_until(now)
    edge = closing(short, t, delay_s=15).undecided_until(now) or found
    assert not whole.units(t, (max(found, edge), max(truth, found, edge)))


@pytest.mark.parametrize("since", ["2024-01-10 12:00", "2024-01-12 12:00", "2024-01-12 20:00"])
def test_a_week_is_over_on_friday_though_its_monday_is_not_known(since):
    short, friday = known_from(nyse(), ns(since, NY)), ns("2024-01-12 21:00", NY)
    found = closing(short, timeframe("1w"), delay_s=15, late=False).closed_until(friday)
    edge = closing(short, timeframe("1w"), delay_s=15).undecided_until(friday)
    assert label("2024-01-15") == (edge or found)


@many
@given(markets, st.sampled_from(ALL), moments, st.integers(0, 5 * DAY))
def test_before_the_end_of_what_is_known_the_same_is_closed_as_with_all_of_it(name, t, now, before):
    whole = MARKETS[name]
    short = known_to(whole, next_open(whole, now + before))
    rule: dict[str, Any] = {"delay_s": 15, "late": False}
    truth, found = closing(whole, t, **rule).closed_until(now), closing(short, t, **rule).closed_until(now)
    assert not whole.units(t, (min(truth, found), max(truth, found)))


@many
@given(markets, st.sampled_from(LABELLED), moments, st.integers(0, 20 * DAY), st.booleans())
def test_at_the_edge_of_what_is_known_no_forming_bar_counts_as_closed(name, t, end, later, at_open):
    whole = MARKETS[name]
    end = next_open(whole, end) if at_open else end
    now = end + later
    short = known_to(whole, end)
    rule: dict[str, Any] = {"delay_s": 15, "late": False}
    truth, found = closing(whole, t, **rule).closed_until(now), closing(short, t, **rule).closed_until(now)
    known = [s for s, _ in whole.units(t, (truth, max(truth, found))) if short.known_axis(t).covers((s, t.next(s)))]
    assert not known
