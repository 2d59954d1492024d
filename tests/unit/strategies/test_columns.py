from datetime import date

import pytest

from nautilus.clock import label_of, parse_rfc3339
from nautilus.market.calendar import Calendar, Session
from nautilus.market.timeframes import timeframe
from nautilus.strategies.columns import Axis, FedBar, StoredBar, chunks, in_order, message_series

MINUTE = 60 * 10**9
DAYS = [date(2026, 10, day) for day in (5, 6, 7, 8, 9, 12)]


def session(day: date, opens: str = "13:30", closes: str = "20:00") -> Session:
    return Session(parse_rfc3339(f"{day}T{opens}:00Z"), parse_rfc3339(f"{day}T{closes}:00Z"), day)


CALENDAR = Calendar.of(
    [session(day) for day in DAYS], (label_of(DAYS[0]), label_of(date(2026, 10, 13))), "America/New_York"
)


def axis(frame: str, series: int = 0, calendar: Calendar = CALENDAR) -> Axis:
    return Axis(series, timeframe(frame), calendar)


def at(text: str) -> int:
    return parse_rfc3339(f"2026-10-{text}:00Z")


def row(ts: int) -> StoredBar:
    return StoredBar(ts, 1.0, 2.0, 0.5, 1.5, 10.0)


@pytest.mark.parametrize(
    ("frame", "ts", "opened", "closed"),
    [
        ("1m", at("05T13:30"), at("05T13:30"), at("05T13:31")),
        ("1h", at("05T19:00"), at("05T19:00"), at("05T20:00")),
        ("4h", at("05T16:00"), at("05T16:00"), at("05T20:00")),
        ("1d", label_of(DAYS[1]), at("06T13:30"), at("06T20:00")),
        ("1w", label_of(DAYS[0]), at("05T13:30"), at("09T20:00")),
    ],
)
def test_a_bar_is_over_with_its_slot_or_with_the_last_session_of_its_dates(frame, ts, opened, closed):
    found = axis(frame).bar(row(ts))
    assert (found.opened_ns, found.closed_ns) == (opened, closed)


def test_a_bar_that_a_close_cuts_short_is_over_at_the_close():
    short = Calendar.of([session(DAYS[0], closes="18:15")], CALENDAR.known, "America/New_York")
    assert axis("1h", calendar=short).bar(row(at("05T18:00"))).closed_ns == at("05T18:15")


def test_a_time_has_the_trade_date_of_its_session_and_a_close_that_of_the_one_it_ends():
    one = axis("1m")
    assert [one.trade_date(ns) for ns in (at("05T13:31"), at("05T20:00"), at("06T03:00"))] == [DAYS[0]] * 3
    assert one.trade_date(at("06T13:31")) == DAYS[1]


def test_an_evening_session_belongs_to_its_trade_date():
    sunday = Session(at("04T22:00"), at("05T21:00"), DAYS[0])
    future = Calendar.of([sunday], CALENDAR.known, "America/Chicago")
    assert axis("1m", calendar=future).trade_date(at("04T22:01")) == DAYS[0]


def test_a_range_is_cut_at_the_opens_of_sessions():
    one = axis("1m")
    span = (at("05T13:30"), at("08T20:00"))
    assert one.cuts(span, 390) == [at("05T13:30"), at("06T13:30"), at("07T13:30"), at("08T13:30"), at("08T20:00")]
    assert one.cuts(span, 700) == [at("05T13:30"), at("07T13:30"), at("08T20:00")]
    assert one.cuts(span, 10**6) == list(span)
    daily = (label_of(DAYS[0]), label_of(date(2026, 10, 13)))
    assert axis("1d").cuts(daily, 3)[1] == at("08T13:30")


def bars(*closes: int, series: int = 0) -> list[FedBar]:
    return [FedBar(series, ns - MINUTE, ns, 1.0, 1.0, 1.0, 1.0, None) for ns in closes]


def test_chunks_are_trade_dates_and_parts_of_them_that_end_between_two_times():
    first = [at("05T14:00") + n * MINUTE for n in range(5)]
    both = in_order([*bars(*first), *bars(*first, series=1), *bars(at("06T14:00"))])
    found = list(chunks(both, axis("1m").trade_date, most=3))
    assert [(chunk.trade_date, chunk.last, len(chunk.bars)) for chunk in found] == [
        *((DAYS[0], False, 4), (DAYS[0], False, 4), (DAYS[0], True, 2)),
        (DAYS[1], True, 1),
    ]
    assert [bar for chunk in found for bar in chunk.bars] == both


def test_columns_of_a_series_without_volumes_have_none():
    with_volume = FedBar(1, 0, MINUTE, 1.0, 2.0, 0.5, 1.5, 7.0)
    found = message_series([*bars(MINUTE, 2 * MINUTE), with_volume, with_volume._replace(volume=None)])
    assert [one["index"] for one in found] == [0, 1]
    assert found[0]["volume"] is None
    assert found[0]["closed_ns"] == [MINUTE, 2 * MINUTE]
    assert found[1] == {
        "index": 1,
        "opened_ns": [0, 0],
        "closed_ns": [MINUTE, MINUTE],
        "open": [1.0, 1.0],
        "high": [2.0, 2.0],
        "low": [0.5, 0.5],
        "close": [1.5, 1.5],
        "volume": [7.0, None],
    }
