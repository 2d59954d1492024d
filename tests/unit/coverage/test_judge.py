"""What one answer of IB settles, and what it leaves in doubt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.coverage.gaps import Missing, missing
from nautilus.coverage.judge import judge
from nautilus.coverage.states import NOTED, SETTLED, CoverageState, Note
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import QUOTE_KINDS
from nautilus.market.timeframes import ALL, timeframe
from nautilus.spans import Spans
from tests.support.markets import DAY, MARKETS, MINUTE, cme, hong_kong, label, many, ns, nyse

NY = "America/New_York"
NONE = Spans()


def ny(start: str, end: str) -> tuple[int, int]:
    return ns(start, NY), ns(end, NY)


def every(start: str, end: str, step: int = MINUTE, zone: str = NY) -> list[int]:
    return list(range(ns(start, zone), ns(end, zone), step))


WEEK = ny("2024-01-08 00:00", "2024-01-13 00:00")
MONDAY, TUESDAY = ny("2024-01-08 09:30", "2024-01-08 16:00"), ny("2024-01-09 09:30", "2024-01-09 16:00")


def test_states_are_settled_noted_or_computed():
    assert not SETTLED & NOTED
    assert set(CoverageState) - SETTLED - NOTED == {
        CoverageState.NOT_ASKED,
        CoverageState.QUEUED,
        CoverageState.NOT_CLOSED_YET,
        CoverageState.PROVISIONAL,
    }


def test_a_full_answer_settles_the_chunk_and_the_closed_time_around():
    stamps = [x for d in range(8, 13) for x in every(f"2024-01-{d:02d} 09:30", f"2024-01-{d:02d} 16:00")]
    verdict = judge(WEEK, timeframe("1m"), "TRADES", calendar=nyse(), stamps=stamps, unconfirmed=NONE)
    assert list(verdict.settled) == [WEEK]
    assert not verdict.doubtful
    assert verdict.filled
    assert not verdict.confirmed_empty


def test_one_bar_settles_its_session_and_no_other():
    tuesday = ns("2024-01-09 12:00", NY)
    span = ny("2024-01-08 00:00", "2024-01-10 00:00")
    verdict = judge(span, timeframe("1m"), "TRADES", calendar=nyse(), stamps=[tuesday], unconfirmed=NONE)
    assert list(verdict.doubtful) == [MONDAY]
    assert verdict.settled == Spans.of(*span) - Spans.of(*MONDAY)
    assert verdict.filled


def test_an_empty_answer_is_unconfirmed_and_a_second_one_believed():
    span = ny("2024-01-08 00:00", "2024-01-09 00:00")
    first = judge(span, timeframe("5m"), "TRADES", calendar=nyse(), stamps=[], unconfirmed=NONE)
    assert list(first.doubtful) == [MONDAY]
    assert not first.filled
    second = judge(MONDAY, timeframe("5m"), "TRADES", calendar=nyse(), stamps=[], unconfirmed=first.doubtful)
    assert list(second.settled) == [MONDAY] == list(second.confirmed_empty)
    assert not second.doubtful


def test_an_unconfirmed_part_confirms_only_that_part():
    morning = Spans.of(*ny("2024-01-08 09:30", "2024-01-08 12:00"))
    verdict = judge(MONDAY, timeframe("5m"), "TRADES", calendar=nyse(), stamps=[], unconfirmed=morning)
    assert list(verdict.doubtful) == [MONDAY], "of the afternoon nothing was known: the whole stays in doubt"
    assert not verdict.confirmed_empty


def test_bars_outside_the_chunk_credit_nothing():
    morning = ny("2024-01-08 09:30", "2024-01-08 12:00")
    afternoon = every("2024-01-08 12:00", "2024-01-08 16:00")
    verdict = judge(morning, timeframe("1m"), "TRADES", calendar=nyse(), stamps=afternoon, unconfirmed=NONE)
    assert list(verdict.doubtful) == [morning]
    assert not verdict.filled


def test_a_closed_chunk_is_settled_without_a_bar():
    weekend = ny("2024-01-05 16:00", "2024-01-08 09:30")
    verdict = judge(weekend, timeframe("1m"), "TRADES", calendar=nyse(), stamps=[], unconfirmed=NONE)
    assert list(verdict.settled) == [weekend]
    assert not verdict.filled


def test_each_session_of_a_day_is_judged_alone():
    zone = "Asia/Hong_Kong"
    span = ns("2024-01-08 00:00", zone), ns("2024-01-09 00:00", zone)
    morning = every("2024-01-08 09:30", "2024-01-08 12:00", zone=zone)
    verdict = judge(span, timeframe("1m"), "TRADES", calendar=hong_kong(), stamps=morning, unconfirmed=NONE)
    assert list(verdict.doubtful) == [(ns("2024-01-08 13:00", zone), ns("2024-01-08 16:00", zone))]


@pytest.mark.parametrize(
    ("first", "last", "doubtful"),
    [
        ("09:30", "16:00", []),
        ("09:35", "16:00", [("09:30", "09:35")]),
        ("09:30", "15:55", [("15:55", "16:00")]),
        ("11:00", "12:00", [("09:30", "11:00"), ("12:00", "16:00")]),
    ],
)
def test_quotes_have_a_bar_for_every_slot(first, last, doubtful):
    stamps = every(f"2024-01-08 {first}", f"2024-01-08 {last}", 5 * MINUTE)
    expected = [ny(f"2024-01-08 {a}", f"2024-01-08 {b}") for a, b in doubtful]
    for price in ("MIDPOINT", "BID", "ASK", "BID_ASK"):
        assert (
            list(judge(MONDAY, timeframe("5m"), price, calendar=nyse(), stamps=stamps, unconfirmed=NONE).doubtful)
            == expected
        )
    assert not judge(MONDAY, timeframe("5m"), "TRADES", calendar=nyse(), stamps=stamps, unconfirmed=NONE).doubtful


def test_a_bar_anywhere_in_the_first_slot_is_the_first():
    stamps = [ns("2024-01-08 09:31", NY), *every("2024-01-08 10:00", "2024-01-08 16:00", 60 * MINUTE)]
    assert not judge(MONDAY, timeframe("1h"), "BID", calendar=nyse(), stamps=stamps, unconfirmed=NONE).doubtful


def test_holes_within_quotes_are_believed():
    stamps = [MONDAY[0], MONDAY[1] - 5 * MINUTE]
    assert not judge(MONDAY, timeframe("5m"), "BID", calendar=nyse(), stamps=stamps, unconfirmed=NONE).doubtful


def test_the_short_first_and_last_slots_of_a_session_count():
    stamps = [ns("2024-07-03 09:30", NY), ns("2024-07-03 12:00", NY)]  # 4h bars; early close at 13:00
    day = ny("2024-07-03 09:30", "2024-07-03 13:00")
    assert not judge(day, timeframe("4h"), "MIDPOINT", calendar=nyse(), stamps=stamps, unconfirmed=NONE).doubtful
    assert list(
        judge(day, timeframe("4h"), "MIDPOINT", calendar=nyse(), stamps=stamps[:1], unconfirmed=NONE).doubtful
    ) == [(stamps[1], day[1])]
    assert list(
        judge(day, timeframe("4h"), "MIDPOINT", calendar=nyse(), stamps=stamps[1:], unconfirmed=NONE).doubtful
    ) == [(day[0], stamps[1])]


def test_a_missing_end_of_quotes_is_confirmed_by_its_own_second_answer():
    head = ny("2024-01-08 09:30", "2024-01-08 11:00")
    verdict = judge(head, timeframe("5m"), "BID", calendar=nyse(), stamps=[], unconfirmed=Spans.of(*head))
    assert list(verdict.confirmed_empty) == [head]


def test_days_weeks_and_months_are_judged_by_label():
    calendar = nyse()
    span = label("2024-01-05"), label("2024-01-11")
    stamps = [label(f"2024-01-{d:02d}") for d in (5, 8, 10)]
    verdict = judge(span, timeframe("1d"), "TRADES", calendar=calendar, stamps=stamps, unconfirmed=NONE)
    assert list(verdict.doubtful) == [(label("2024-01-09"), label("2024-01-10"))]
    months = label("2024-01-01"), label("2024-04-01")
    verdict = judge(
        months,
        timeframe("1M"),
        "MIDPOINT",
        calendar=calendar,
        stamps=[label("2024-01-01"), label("2024-03-01")],
        unconfirmed=NONE,
    )
    assert list(verdict.doubtful) == [(label("2024-02-01"), label("2024-03-01"))]


def test_an_evening_session_belongs_to_its_own_chunk_part():
    """A chunk that ends at midnight judges only the evening part of the future's session."""
    span = ns("2024-01-07 00:00", "America/Chicago"), ns("2024-01-08 00:00", "America/Chicago")
    verdict = judge(
        span,
        timeframe("1h"),
        "TRADES",
        calendar=cme(),
        stamps=[ns("2024-01-08 01:00", "America/Chicago")],
        unconfirmed=NONE,
    )
    assert list(verdict.doubtful) == [(ns("2024-01-07 17:00", "America/Chicago"), span[1])]


@many
@given(st.data())
def test_settled_and_doubtful_partition_the_chunk(data):
    calendar = MARKETS[data.draw(st.sampled_from(sorted(MARKETS)))]
    t = data.draw(st.sampled_from([t for t in ALL if t.step_ns >= 5 * MINUTE]))
    price = data.draw(st.sampled_from(["TRADES", *sorted(QUOTE_KINDS)]))
    at = data.draw(st.integers(ns("2023-12-10 00:00"), ns("2024-11-01 00:00")))
    start = calendar.slot(t, at)[0]
    end = calendar.slot(t, start + data.draw(st.integers(0, 20 * DAY)))[1]
    parts = Spans([(start, end)])
    possible = [
        x for a, b in calendar.units(t, (start, end)) for x in range(a, b, t.step_ns) if calendar.slot(t, x)[0] >= a
    ]
    stamps = sorted(data.draw(st.sets(st.sampled_from(possible), max_size=30))) if possible else []
    if stamps and data.draw(st.booleans()):
        stamps = [start - t.step_ns, *stamps, end]  # outside: no credit
    unconfirmed = Spans(
        data.draw(st.lists(st.sampled_from(calendar.units(t, (start, end))), max_size=4)) if possible else []
    )

    verdict = judge((start, end), t, price, calendar=calendar, stamps=stamps, unconfirmed=unconfirmed)
    assert verdict.settled | verdict.doubtful == parts
    assert not verdict.settled & verdict.doubtful
    assert not verdict.confirmed_empty - verdict.settled
    assert not verdict.confirmed_empty - unconfirmed
    inside = {x for x in stamps if start <= x < end}
    assert verdict.filled == bool(inside)
    assert not any(x in verdict.doubtful for x in inside), "where a bar is, there is no doubt"
    assert not verdict.doubtful - calendar.open_time(t, (start, end)), "closed time is never in doubt"
    for a, b in calendar.units(t, (start, end)):
        if not any(a <= x < b for x in inside):
            assert (verdict.settled if unconfirmed.covers((a, b)) else verdict.doubtful).covers((a, b))
        elif price not in QUOTE_KINDS or not t.intraday:
            assert verdict.settled.covers((a, b))


# ---- what callers are told -------------------------------------------------------------------------------------------


def label_missing(window, *, calendar, name="1m", covered=NONE, notes=(), live=NONE, until=None, impossible=()):
    return missing(
        window,
        timeframe(name),
        calendar,
        covered=covered,
        notes=notes,
        live=live,
        until=window[1] if until is None else until,
        impossible=impossible,
    )


def test_closed_time_is_not_missing():
    assert label_missing(WEEK, calendar=nyse()) == [
        Missing(ny("2024-01-08 09:30", "2024-01-12 16:00"), CoverageState.NOT_ASKED),
    ]
    assert label_missing(ny("2024-01-05 16:00", "2024-01-08 09:30"), calendar=nyse()) == []
    assert label_missing(WEEK, calendar=None) == [Missing(WEEK, CoverageState.NOT_ASKED)], (
        "without a calendar all is open"
    )


def test_nothing_is_missing_of_what_is_settled():
    assert label_missing(WEEK, calendar=nyse(), covered=Spans.of(*WEEK)) == []
    assert label_missing((5, 5), calendar=nyse()) == []


def test_each_reason_is_told_in_order_of_time():
    day = "2024-01-08"
    found = label_missing(
        ny(f"{day} 00:00", f"{day} 23:00"),
        calendar=nyse(),
        covered=Spans.of(*ny(f"{day} 10:00", f"{day} 11:00")),
        notes=[
            Note(ny(f"{day} 11:00", f"{day} 12:00"), CoverageState.FAILED, "HMDS", 162),
            Note(ny(f"{day} 14:00", f"{day} 15:00"), CoverageState.EMPTY_UNCONFIRMED, "no data"),
        ],
        live=Spans.of(*ny(f"{day} 12:00", f"{day} 13:00")),
        until=ns(f"{day} 15:30", NY),
        impossible=[(ny(f"{day} 00:00", f"{day} 09:45"), "before_head")],
    )
    assert found == [
        Missing(ny(f"{day} 09:30", f"{day} 09:45"), CoverageState.UNAVAILABLE, "before_head"),
        Missing(ny(f"{day} 09:45", f"{day} 10:00"), CoverageState.NOT_ASKED),
        Missing(ny(f"{day} 11:00", f"{day} 12:00"), CoverageState.FAILED, "HMDS", 162),
        Missing(ny(f"{day} 12:00", f"{day} 13:00"), CoverageState.QUEUED),
        Missing(ny(f"{day} 13:00", f"{day} 14:00"), CoverageState.NOT_ASKED),
        Missing(ny(f"{day} 14:00", f"{day} 15:00"), CoverageState.EMPTY_UNCONFIRMED, "no data"),
        Missing(ny(f"{day} 15:00", f"{day} 15:30"), CoverageState.NOT_ASKED),
        Missing(ny(f"{day} 15:30", f"{day} 16:00"), CoverageState.NOT_CLOSED_YET),
    ]


@pytest.mark.parametrize("name", ["1m", "1d", "1w"])
def test_what_the_calendar_does_not_know_is_missing_not_closed(name):
    whole = nyse()
    known = whole.known[0], label("2024-01-15")
    unknown = label("2024-02-05"), label("2024-02-12")
    calendar = Calendar.of((s for s in whole.sessions if s.close_ns < known[1]), known, NY)
    assert label_missing(unknown, calendar=calendar, name=name) == [Missing(unknown, CoverageState.NOT_ASKED)]


@many
@given(st.data())
def test_every_open_range_is_settled_or_reported_once(data):
    calendar = MARKETS[data.draw(st.sampled_from(sorted(MARKETS)))]
    t = data.draw(st.sampled_from([t for t in ALL if t.step_ns >= 5 * MINUTE]))
    start = calendar.slot(t, data.draw(st.integers(ns("2023-12-10 00:00"), ns("2024-10-01 00:00"))))[0]
    end = calendar.slot(t, start + data.draw(st.integers(0, 40 * DAY)))[1]

    def some():
        pairs = data.draw(st.lists(st.tuples(st.integers(-DAY, 40 * DAY), st.integers(1, 9 * DAY)), max_size=3))
        return [(calendar.slot(t, start + a)[0], calendar.slot(t, start + a + b)[1]) for a, b in pairs]

    covered, live = Spans(some()), Spans(some())
    notes = [Note(span, CoverageState.FAILED, "why") for span in Spans(some())]
    until = calendar.slot(t, data.draw(st.integers(start, end)))[0]
    impossible = [(span, "before_head") for span in Spans(some())]
    found = missing(
        (start, end), t, calendar, covered=covered, notes=notes, live=live, until=until, impossible=impossible
    )
    result = Spans(m.span for m in found)
    assert result.total == sum(b - a for a, b in (m.span for m in found)), "nothing is told twice"
    assert found == sorted(found, key=lambda m: m.span)
    assert not result & covered
    assert not result - Spans.of(start, end)
    assert not calendar.open_time(t, (start, end)) - covered - result
    for m in found:
        assert (m.state is CoverageState.NOT_CLOSED_YET) == (m.span[0] >= until)
        if m.state is CoverageState.NOT_ASKED:
            assert not Spans.of(*m.span) & (live | Spans(n.span for n in notes) | Spans(s for s, _ in impossible))
