"""From a wish to requests: exactly what is missing, nothing twice, as few as possible, legal at IB."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nautilus.backfill.ib_durations import duration, end_text
from nautilus.backfill.planner import SIX_MONTHS_NS, Chunk, PlanInput, by_rules, halves, plan
from nautilus.market.calendar import Calendar
from nautilus.market.timeframes import ALL, REQUEST_SPANS_S, timeframe
from nautilus.spans import Spans
from tests.support.markets import DAY, HOUR, MARKETS, MINUTE, S, closing, cme, few, label, many, ns, nyse

NY = "America/New_York"
NONE = Spans()
NOW = ns("2024-12-10 12:00")
markets = st.sampled_from(sorted(MARKETS))
timeframes = st.sampled_from(ALL)


def plan_of(wanted, frame, calendar, **more):
    return plan(PlanInput(wanted=wanted, timeframe=frame, calendar=calendar, **more))


def ask(span, name, calendar=None, *, now=NOW, until=None, head=None, covered=NONE, noted=NONE, live=NONE, span_s=None):
    return plan_of(
        span,
        timeframe(name),
        calendar or nyse(),
        now=now,
        until=now if until is None else until,
        head=head,
        covered=covered,
        noted=noted,
        live=live,
        span_s=span_s or REQUEST_SPANS_S[name],
    )


def ny(start: str, end: str) -> tuple[int, int]:
    return ns(start, NY), ns(end, NY)


# ---- by rules --------------------------------------------------------------------------------------------------------


def test_a_request_is_widened_to_whole_slots():
    wanted = ns("2024-07-05 09:47"), ns("2024-07-05 12:01")
    span, cut = by_rules(wanted, timeframe("4h"), now=NOW, until=NOW, head=None)
    assert span == (ns("2024-07-05 08:00"), ns("2024-07-05 16:00")), "the grid of UTC while nothing else is known"
    assert (cut.impossible, list(cut.not_closed_yet)) == ((), [])
    span, _ = by_rules(wanted, timeframe("4h"), now=NOW, until=NOW, head=None, calendar=nyse())
    assert span == ny("2024-07-05 04:00", "2024-07-05 12:00"), "that of New York"


def test_what_cannot_be_is_named():
    head, now = ns("2024-03-01 14:30"), ns("2024-12-10 12:00")
    wanted = label("2024-01-01"), label("2025-01-01")
    span, cut = by_rules(wanted, timeframe("1h"), now=now, until=now, head=head)
    assert span == (ns("2024-03-01 14:00"), now)
    assert cut.impossible == (((wanted[0], ns("2024-03-01 14:00")), "before_head"),)
    assert list(cut.not_closed_yet) == [(now, wanted[1])]


def test_small_bars_are_kept_for_six_months():
    wanted = label("2024-01-01"), label("2024-12-01")
    oldest = NOW - SIX_MONTHS_NS
    assert label("2023-07-01") - label("2023-01-01") == SIX_MONTHS_NS, "the shortest six months there are"
    assert oldest % (30 * S) == 0
    span, cut = by_rules(wanted, timeframe("30s"), now=NOW, until=NOW, head=None)
    assert span == (oldest, wanted[1])
    assert cut.impossible == (((wanted[0], oldest), "older_than_six_months"),)
    assert by_rules(wanted, timeframe("1m"), now=NOW, until=NOW, head=None)[0] == wanted
    _, cut = by_rules(wanted, timeframe("30s"), now=NOW, until=NOW, head=label("2024-03-01"))
    assert cut.impossible == (
        ((wanted[0], label("2024-03-01")), "before_head"),
        ((label("2024-03-01"), oldest), "older_than_six_months"),
    )


@few
@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_no_small_bar_is_asked_for_that_six_calendar_months_exclude(now):
    """By whichever of IB's possible months: six back on the calendar is never later than ours is early."""
    back = now.month - 6
    six = (now.replace(day=1, month=(back - 1) % 12 + 1, year=now.year - (back < 1)), now.day)
    last = (six[0].replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    earliest = six[0].replace(day=min(six[1], last.day))
    at = ns(now.replace(microsecond=0).isoformat(sep=" "))
    span, _ = by_rules((0, at), timeframe("30s"), now=at, until=at, head=None)
    assert span[0] >= ns(earliest.replace(microsecond=0).isoformat(sep=" "))


def test_a_request_for_the_future_or_for_nothing():
    span, cut = by_rules((NOW, NOW + DAY), timeframe("1m"), now=NOW, until=NOW, head=None)
    assert span[0] == span[1]
    assert list(cut.not_closed_yet) == [(NOW, NOW + DAY)]
    span, cut = by_rules((NOW, NOW), timeframe("1h"), now=NOW, until=NOW, head=None)
    assert span[0] == span[1]
    assert not cut.not_closed_yet
    assert cut.impossible == ()


@many
@given(
    timeframes,
    markets,
    st.integers(ns("2023-12-10 00:00"), NOW),
    st.integers(0, 300 * DAY),
    st.none() | st.integers(-400 * DAY, 400 * DAY),
    st.integers(-100 * DAY, 400 * DAY),
)
def test_what_is_cut_and_what_is_left_partition_the_request(t, name, start, length, head, now):
    calendar, wanted = MARKETS[name], (start, start + length)
    head = None if head is None else start + head
    until = closing(calendar, t, delay_s=15, late=False).closed_until(start + now)
    span, cut = by_rules(wanted, t, now=NOW, until=until, head=head, calendar=calendar)
    parts = [s for s in (span, *(s for s, _ in cut.impossible), *cut.not_closed_yet) if s[0] < s[1]]
    assert parts == [] or length > 0
    whole = Spans(parts)
    assert whole.total == sum(b - a for a, b in parts), "no two overlap"
    if length:
        end = calendar.slot(t, wanted[1] - 1)[1]
        assert list(whole) == [(calendar.slot(t, wanted[0])[0], end if wanted[1] > until else min(end, until))]
    assert span[1] <= max(until, span[0])


# ---- plans by value --------------------------------------------------------------------------------------------------


def test_a_week_of_minutes_is_one_request():
    found = ask(ny("2024-01-08 00:00", "2024-01-13 00:00"), "1m")
    assert found.chunks == (
        Chunk(ny("2024-01-08 00:00", "2024-01-13 00:00"), ny("2024-01-08 09:30", "2024-01-12 16:00")),
    )


def test_a_day_of_seconds_is_cut_by_half_hours():
    found = ask(ny("2024-11-05 00:00", "2024-11-06 00:00"), "1s")
    assert [c.window for c in found.chunks] == [
        (ns("2024-11-05 09:30", NY) + n * 30 * MINUTE, ns("2024-11-05 10:00", NY) + n * 30 * MINUTE) for n in range(13)
    ]
    assert found.chunks[0].span == ny("2024-11-05 00:00", "2024-11-05 10:00")
    assert found.chunks[-1].span == ny("2024-11-05 15:30", "2024-11-06 00:00")


def test_a_request_may_end_one_session_and_begin_the_next():
    found = ask(ny("2024-11-05 00:00", "2024-11-07 00:00"), "1h", span_s=24 * 3_600)
    assert [c.window for c in found.chunks] == [
        ny("2024-11-05 09:30", "2024-11-05 16:00"),
        ny("2024-11-06 09:30", "2024-11-06 16:00"),
    ]
    found = ask(ny("2024-11-05 00:00", "2024-11-07 00:00"), "1h", span_s=26 * 3_600)
    assert [c.window for c in found.chunks] == [
        ny("2024-11-05 09:30", "2024-11-06 11:00"),
        ny("2024-11-06 11:00", "2024-11-06 16:00"),
    ]


def test_weekends_and_holidays_are_never_asked_for():
    for span in (ny("2024-01-13 00:00", "2024-01-16 09:30"), ny("2024-01-05 16:00", "2024-01-08 09:30")):
        found = ask(span, "5m")
        assert found.chunks == ()
        assert list(found.closed) == [span]


def test_only_the_gaps_are_asked_for():
    day = ny("2024-01-09 00:00", "2024-01-10 00:00")
    found = ask(
        day,
        "1m",
        covered=Spans([ny("2024-01-09 00:00", "2024-01-09 10:00")]),
        noted=Spans([ny("2024-01-09 11:00", "2024-01-09 12:00")]),
        live=Spans([ny("2024-01-09 15:00", "2024-01-10 00:00")]),
    )
    assert [c.span for c in found.chunks] == [
        ny("2024-01-09 10:00", "2024-01-09 11:00"),
        ny("2024-01-09 12:00", "2024-01-09 15:00"),
    ]
    assert list(found.already) == [
        ny("2024-01-09 00:00", "2024-01-09 10:00"),
        ny("2024-01-09 11:00", "2024-01-09 12:00"),
    ]
    assert list(found.under_way) == [ny("2024-01-09 15:00", "2024-01-10 00:00")]


def test_a_request_never_ends_within_a_bar():
    """Four-hour bars of New York in summer begin at 8, 12 and 16 o'clock there, not on the grid of UTC."""
    found = ask(ny("2024-07-01 00:00", "2024-07-09 00:00"), "4h", span_s=26 * 3_600)
    for chunk in found.chunks:
        hour = datetime.fromtimestamp(chunk.window[1] / S, UTC).hour - 4
        assert hour in (8, 12, 16, 13)  # 13: the early close of 3 July
    found = ask(ny("2024-07-02 09:30", "2024-07-02 11:00"), "4h")
    assert [c.window for c in found.chunks] == [ny("2024-07-02 09:30", "2024-07-02 12:00")]


def test_what_the_calendar_does_not_know_is_not_called_closed():
    calendar = nyse()
    short = Calendar(calendar.sessions, (calendar.known[0], ns("2024-01-09 12:00", NY)), NY)
    found = ask(ny("2024-01-09 00:00", "2024-01-11 00:00"), "1m", short)
    assert list(found.unknown) == [ny("2024-01-09 12:00", "2024-01-11 00:00")]
    assert [c.span for c in found.chunks] == [ny("2024-01-09 00:00", "2024-01-09 12:00")]
    assert not found.closed
    days = ask((label("2024-01-09"), label("2024-01-11")), "1d", short)
    assert list(days.unknown) == [(label("2024-01-10"), label("2024-01-11"))]


# ---- plans by property -----------------------------------------------------------------------------------------------


@st.composite
def plan_inputs(draw):
    """Any wish at any state of a series: what is known about it lies on the slots of its grid, as everything stored does."""
    name, t = draw(markets), draw(timeframes)
    calendar = MARKETS[name]
    span_ns = 3 * DAY if t.small else 40 * DAY if t.intraday else 250 * DAY
    start = draw(st.integers(ns("2023-12-10 00:00"), ns("2024-11-30 00:00") - span_ns))
    end = start + draw(st.integers(1, span_ns))

    def slot(ns_):
        return calendar.slot(t, ns_)[0]

    def some(most):
        pairs = draw(st.lists(st.tuples(st.integers(-DAY, span_ns), st.integers(0, span_ns)), max_size=most))
        return Spans((slot(start + a), slot(start + a + b // 4)) for a, b in pairs)

    state = {"covered": some(3), "noted": some(2), "live": some(2)}
    now = draw(st.sampled_from([end + DAY, start + (end - start) // 2]))
    late = name == "cme"
    state["until"] = closing(calendar, t, delay_s=15, late=late).closed_until(now)
    state["head"] = draw(st.none() | st.integers(start - DAY, end))
    state["span_s"] = draw(st.sampled_from([REQUEST_SPANS_S[t.name], REQUEST_SPANS_S[t.name] // 7, 5_000]))
    return calendar, t, (start, end), now, state


@many
@given(plan_inputs())
def test_chunks_are_exactly_what_is_missing_and_open(body):
    calendar, t, wanted, now, state = body
    found = plan_of(wanted, t, calendar, now=now, **state)
    spans = [c.span for c in found.chunks]
    requested = Spans(spans)

    whole = calendar.slot(t, wanted[0])[0], calendar.slot(t, wanted[1] - 1)[1]
    never = Spans([span for span, _ in found.impossible]) | found.not_closed_yet
    missing = Spans.of(*whole) - never - state["covered"] - state["noted"] - state["live"]
    assert requested | found.closed == missing, "each missing part is asked for or closed"
    assert not requested & found.closed
    assert not found.unknown
    assert requested.total == sum(b - a for a, b in spans), "no two chunks overlap"
    assert found.closed | requested | never | found.already | found.under_way == Spans.of(*whole)

    open_time = real_open_time(calendar, t, missing)
    windows = Spans([c.window for c in found.chunks])
    assert not open_time - windows, "windows hold all open time"
    assert not found.closed & open_time
    for chunk in found.chunks:
        assert Spans.of(*chunk.span).covers(chunk.window)
        assert open_time & Spans.of(*chunk.window), "nothing closed is asked for"
        assert chunk.window[0] in open_time
        assert chunk.window[1] - 1 in open_time, "no closed time at either end"
        assert not (open_time & Spans.of(*chunk.span)) - Spans.of(*chunk.window)
        length = chunk.window[1] - chunk.window[0]
        one = calendar.slot(t, chunk.window[0])
        assert length <= state["span_s"] * S or chunk.window[1] <= one[1], "never longer than the span, or one slot"


def real_open_time(calendar, t, missing):
    if t.intraday:
        return Spans((s.open_ns, s.close_ns) for s in calendar.sessions) & missing
    labels = {t.floor(label(s.trade_date.isoformat())) for s in calendar.sessions}
    return Spans((x, t.next(x)) for x in labels) & missing


@many
@given(plan_inputs())
def test_no_fewer_requests_would_do(body):
    """Laying windows end to end from the first bar that is missing is the least there can be.

    Spans of whole weeks are laid along the trading weeks: one request more at most.
    """
    calendar, t, wanted, now, state = body
    found = plan_of(wanted, t, calendar, now=now, **state)
    requested = Spans([c.span for c in found.chunks])
    for gap in requested:
        mine = [c for c in found.chunks if gap[0] <= c.span[0] < gap[1]]
        bars = starts_and_ends(calendar, t, Spans.of(*gap))
        least, next_from = 0, None
        for start, over in bars:
            if next_from is None or over > next_from:
                least += 1
                next_from = max(over, start + state["span_s"] * S)
        assert least <= len(mine) <= least + (state["span_s"] % (7 * 86_400) == 0)


def starts_and_ends(calendar, t, gap):
    for start, end in calendar.units(t, next(iter(gap))):
        at = start
        while at < end:
            stop = min(end, calendar.slot(t, at)[1])
            yield at, stop
            at = stop


@few
@given(plan_inputs())
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(body):
    calendar, t, wanted, now, state = body
    first = plan_of(wanted, t, calendar, now=now, **state)
    done = Spans([c.span for c in first.chunks]) | first.closed
    again = plan_of(wanted, t, calendar, now=now, **{**state, "covered": state["covered"] | done})
    assert again.chunks == ()
    assert not again.closed
    under_way = plan_of(wanted, t, calendar, now=now, **{**state, "live": state["live"] | done})
    assert under_way.chunks == ()


@few
@given(plan_inputs())
def test_every_request_ends_at_a_slot_or_a_close(body):
    calendar, t, wanted, now, state = body
    closes = {s.close_ns for s in calendar.sessions}
    for chunk in plan_of(wanted, t, calendar, now=now, **state).chunks:
        assert calendar.slot(t, chunk.window[1])[0] == chunk.window[1] or chunk.window[1] in closes


# ---- after a time-out ------------------------------------------------------------------------------------------------


@many
@given(plan_inputs())
def test_halves_are_two_shorter_requests_for_the_same(body):
    calendar, t, wanted, now, state = body
    for chunk in plan_of(wanted, t, calendar, now=now, **state).chunks[:5]:
        parts = halves(chunk.span, t, calendar)
        assert len(parts) in (0, 2)
        if not parts:
            length = chunk.window[1] - chunk.window[0]
            # As small as it gets: an hour (of small bars less), or two slots; a few days of labels are few bars.
            assert length < 2 * max(HOUR, t.step_ns) or bars_in(calendar, t, chunk.window) <= 3
            continue
        a, b = parts
        assert (a.span[0], b.span[1]) == chunk.span
        assert a.span[1] == b.span[0]
        assert not calendar.open_time(t, chunk.span) - Spans([a.window, b.window])
        for part in parts:
            assert part.window[1] - part.window[0] < chunk.window[1] - chunk.window[0]


def bars_in(calendar, t, window):
    return sum(1 for _ in starts_and_ends(calendar, t, Spans.of(*window)))


def test_a_session_that_ends_within_a_slot_and_the_request_is_not_cut():
    """8h bars, the early close at 13:00 within the slot from 8 to 16: the request reaches the close, not the slot."""
    found = ask(ny("2024-07-02 00:00", "2024-07-04 00:00"), "8h", span_s=28 * 3_600)
    assert [c.window for c in found.chunks] == [ny("2024-07-02 09:30", "2024-07-03 13:00")]


def test_halving_ends():
    calendar, minute = cme(), timeframe("1m")
    todo, sizes = [ny("2024-01-07 00:00", "2024-01-14 00:00")], []
    while todo:
        parts = halves(todo.pop(), minute, calendar)
        sizes += [part.window[1] - part.window[0] for part in parts]
        todo += [part.span for part in parts]
        assert len(sizes) < 1_000
    assert min(sizes) >= HOUR // 2
    assert min(sizes) < 3 * HOUR
    assert halves(ny("2024-01-06 00:00", "2024-01-07 00:00"), minute, calendar) == [], "closed"


# ---- IB's words ------------------------------------------------------------------------------------------------------

# facts of the TWS API's current tables: seconds of the smallest and the largest bar for a unit, and most of a unit.
# The table stops at 1 day; weekly and monthly bars are served by years, as the older table has it.
CURRENT = {
    "S": (1, 60, 86_400),
    "D": (5, 3_600, 365),
    "W": (10, 14_400, 52),
    "M": (30, 28_800, 12),
    "Y": (60, 30 * 86_400, 68),
}
# The older table: (duration up to, largest bar), seconds. Its smallest bars are exceeded knowingly: what the larger
# requests cost was measured (see REQUEST_SPANS_S), and the current table allows them.
OLDER = [
    (60, 60),
    (120, 120),
    (1_800, 1_800),
    (3_600, 3_600),
    (14_400, 10_800),
    (28_800, 28_800),
    (2 * 86_400, 86_400),
    (7 * 86_400, 7 * 86_400),
    (365 * 86_400, 30 * 86_400),
]
LENGTH_S = {"S": 1, "D": 86_400, "W": 7 * 86_400, "M": 28 * 86_400, "Y": 365 * 86_400}


def bar_s(t):
    return {"1w": 7 * 86_400, "1M": 30 * 86_400}.get(t.name, t.step_ns // S)


def assert_legal(text, t):
    match = re.fullmatch(r"([1-9]\d*) ([SDWMY])", text)
    assert match, text
    count, unit = match.groups()
    smallest, largest, most = CURRENT[unit]
    assert smallest <= bar_s(t) <= largest, text
    assert int(count) <= most, text
    if t.name == "1s":
        assert unit == "S"
        assert int(count) <= 2_000, text
    seconds = int(count) * LENGTH_S[unit]
    for up_to, largest in OLDER:
        if seconds <= up_to:
            assert bar_s(t) <= largest, text
            break


@pytest.mark.parametrize(
    ("name", "window", "text", "end"),
    [
        ("1s", ny("2024-11-05 09:30", "2024-11-05 10:00"), "1800 S", "20241105-15:00:00"),
        ("1s", ny("2024-11-05 09:30", "2024-11-05 09:30:01"), "30 S", "20241105-14:30:01"),
        ("30s", ny("2024-11-05 09:30", "2024-11-05 16:00"), "23400 S", "20241105-21:00:00"),
        ("1m", ny("2024-01-08 09:30", "2024-01-08 16:00"), "23400 S", "20240108-21:00:00"),
        ("1m", ny("2024-01-08 09:30", "2024-01-09 16:00"), "2 D", "20240109-21:00:00"),
        ("1m", ny("2024-01-08 09:30", "2024-01-12 16:00"), "1 W", "20240112-21:00:00"),
        # From Monday afternoon to the next: five trade dates back from Tuesday's noon would begin on Wednesday.
        ("1m", ny("2024-01-08 14:00", "2024-01-09 12:00"), "79200 S", "20240109-17:00:00"),
        ("5m", ny("2024-01-08 14:00", "2024-01-09 12:00"), "2 D", "20240109-17:00:00"),
        ("5m", ny("2024-01-22 14:00", "2024-01-29 12:00"), "7 D", "20240129-17:00:00"),
        ("5m", ny("2024-01-08 09:30", "2024-02-02 16:00"), "4 W", "20240202-21:00:00"),
        ("1h", ny("2024-01-08 09:30", "2024-06-28 16:00"), "25 W", "20240628-20:00:00"),
        ("4h", ny("2024-01-08 09:30", "2024-01-08 16:00"), "1 W", "20240108-21:00:00"),
        ("8h", ny("2024-01-08 09:30", "2024-01-08 16:00"), "1 M", "20240108-21:00:00"),
        ("1d", (label("2024-01-08"), label("2024-01-09")), "1 Y", "20240108-21:00:00"),
        ("1d", (label("2024-01-08"), label("2024-07-04")), "1 Y", "20240703-17:00:00"),
        ("1w", (label("2024-01-08"), label("2024-01-15")), "1 Y", "20240112-21:00:00"),
        ("1M", (label("2024-02-01"), label("2024-03-01")), "1 Y", "20240229-21:00:00"),
    ],
)
def test_durations_and_ends(name, window, text, end):
    t, calendar = timeframe(name), nyse()
    assert duration(window, t, calendar) == text
    assert end_text(window, t, calendar) == end
    assert_legal(text, t)


def test_daily_bars_of_a_future_end_before_the_next_day_begins():
    day = label("2024-01-08"), label("2024-01-09")
    assert end_text(day, timeframe("1d"), cme()) == "20240108-22:00:00", "at 23:00Z Tuesday's session has begun"
    assert end_text(day, timeframe("1d"), MARKETS["nyse-extended"]) == "20240109-01:00:00", "8 in the evening there"


@many
@given(plan_inputs())
def test_durations_hold_their_window_in_every_reading(body):
    calendar, t, wanted, now, state = body
    assume(state["span_s"] <= REQUEST_SPANS_S[t.name])
    for chunk in plan_of(wanted, t, calendar, now=now, **state).chunks[:6]:
        text = duration(chunk.window, t, calendar)
        assert_legal(text, t)
        assert_holds(text, chunk.window, t, calendar)


@many
@given(markets, timeframes, st.integers(ns("2023-12-10 00:00"), ns("2024-01-20 00:00")), st.floats(0.001, 1.0))
def test_windows_of_any_length_up_to_the_longest_are_legal(name, t, start, part):
    calendar = MARKETS[name]
    start = calendar.slot(t, start)[0]
    end = calendar.slot(t, start + min(round(part * REQUEST_SPANS_S[t.name] * S), 320 * DAY))[0]
    assume(end > start)
    for window in [(u[0][0], u[-1][1]) for u in [calendar.units(t, (start, end))] if u]:
        text = duration(window, t, calendar)
        assert_legal(text, t)
        assert_holds(text, window, t, calendar)


def assert_holds(text, window, t, calendar):
    count, unit = int(text.split()[0]), text.split()[1]
    end = datetime.strptime(end_text(window, t, calendar), "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    end_ns = round(end.timestamp()) * S
    needed = [s for s in calendar.sessions if s.open_ns < end_ns and s.close_ns > window[0]]
    if not t.intraday:
        needed = [s for s in needed if window[0] <= label(s.trade_date.isoformat()) < window[1]]
        last = max(s.close_ns for s in needed)
        assert end_ns == last, "the last bar is whole and the next has not begun"
    first = window[0] if t.intraday else min(s.open_ns for s in needed)
    # Read as calendar time: S, D and W are fixed, months and years by the calendar, at least 28 and 365 days.
    assert end_ns - count * LENGTH_S[unit] * S <= first, text
    # Read as trade dates back from the one in progress: a day is one, a week five, a month 20. Years are years.
    if unit in "DWM":
        begun = sorted({s.trade_date for s in calendar.sessions if s.open_ns < end_ns})
        reached = begun[-count * {"D": 1, "W": 5, "M": 20}[unit] :][0]
        assert reached <= min(s.trade_date for s in needed), text


def test_the_default_spans_cover_every_timeframe_and_fit_their_own_limits():
    assert list(REQUEST_SPANS_S) == [t.name for t in ALL]
    for a, b in pairwise(ALL[:-3]):
        assert REQUEST_SPANS_S[a.name] <= REQUEST_SPANS_S[b.name], "longer bars, longer requests"
    for t in ALL:
        assert REQUEST_SPANS_S[t.name] * S >= 2 * t.step_ns
        assert REQUEST_SPANS_S[t.name] // bar_s(t) <= 10_080, "IB advises a few thousand bars"
