"""The simulator's sessions against known days of the exchanges, and against the rules that hold for all days."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ib_gateway_sim.market import calendars

NEW_YORK, CHICAGO = ZoneInfo("America/New_York"), ZoneInfo("America/Chicago")
names = st.sampled_from(calendars.calendar_names())
days = st.dates(calendars.FIRST, calendars.LAST)


def hours(calendar: str, day: date, *, rth: bool, zone: ZoneInfo = NEW_YORK) -> list[str]:
    """The sessions of a trade date as text in a zone: "day hh:mm-day hh:mm"."""
    return [
        f"{datetime.fromtimestamp(one.open_s, zone):%d %H:%M}-{datetime.fromtimestamp(one.close_s, zone):%d %H:%M}"
        for one in calendars.day_sessions(calendar, day, rth=rth)
    ]


@pytest.mark.parametrize(
    ("calendar", "day", "regular", "every"),
    [
        ("us_stock", date(2024, 1, 3), ["03 09:30-03 16:00"], ["03 04:00-03 20:00"]),
        ("us_stock", date(2024, 11, 29), ["29 09:30-29 13:00"], ["29 04:00-29 17:00"]),  # day after Thanksgiving
        ("us_stock", date(2024, 7, 4), [], []),
        ("us_stock", date(2025, 1, 9), [], []),  # day of mourning
        ("us_stock", date(2012, 10, 29), [], []),  # hurricane Sandy
        ("us_stock", date(2024, 1, 6), [], []),
        ("idealpro", date(2024, 1, 8), ["07 17:15-08 17:00"], ["07 17:15-08 17:00"]),  # opens on Sunday
        ("idealpro", date(2024, 12, 25), [], []),
        ("idealpro", date(2024, 7, 4), ["03 17:15-04 17:00"], ["03 17:15-04 17:00"]),
        ("us_index", date(2024, 1, 3), ["03 09:30-03 16:00"], ["03 09:30-03 16:00"]),
        ("nymex_energy", date(2024, 1, 3), ["03 09:00-03 14:30"], ["02 18:00-03 17:00"]),
        ("comex_metals", date(2024, 1, 3), ["03 08:20-03 13:30"], ["02 18:00-03 17:00"]),
        # the short days of energy and metals: the Friday after Thanksgiving and Christmas Eve
        ("nymex_energy", date(2024, 11, 29), ["29 09:00-29 13:45"], ["28 18:00-29 13:45"]),
        ("nymex_energy", date(2024, 12, 24), ["24 09:00-24 13:45"], ["23 18:00-24 13:45"]),
        ("comex_metals", date(2013, 12, 24), ["24 08:20-24 13:30"], ["23 18:00-24 13:45"]),
        ("nymex_energy", date(2024, 12, 26), ["26 09:00-26 14:30"], ["25 18:00-26 17:00"]),
    ],
)
def test_hours_in_new_york(calendar: str, day: date, regular: list[str], every: list[str]) -> None:
    assert hours(calendar, day, rth=True) == regular
    assert hours(calendar, day, rth=False) == every


@pytest.mark.parametrize(
    ("day", "regular", "every"),
    [
        (date(2024, 1, 8), ["08 08:30-08 15:00"], ["07 17:00-08 16:00"]),
        (date(2020, 3, 9), ["09 08:30-09 15:00"], ["08 17:00-09 15:15", "09 15:30-09 16:00"]),  # a break until 2021
        (date(2024, 11, 28), ["28 08:30-28 12:00"], ["27 17:00-28 12:00"]),  # Thanksgiving
        (date(2024, 12, 25), [], []),
        # the short days, a quarter of an hour after the stocks; not so on holidays
        (date(2024, 11, 29), ["29 08:30-29 12:15"], ["28 17:00-29 12:15"]),
        (date(2024, 12, 24), ["24 08:30-24 12:15"], ["23 17:00-24 12:15"]),
        (date(2025, 7, 3), ["03 08:30-03 12:15"], ["02 17:00-03 12:15"]),
        (date(2026, 11, 27), ["27 08:30-27 12:15"], ["26 17:00-27 12:15"]),
        (date(2013, 12, 24), ["24 08:30-24 12:15"], ["23 17:00-24 12:15"]),
        (date(2024, 7, 4), ["04 08:30-04 12:00"], ["03 17:00-04 12:00"]),
        (date(2024, 9, 2), ["02 08:30-02 12:00"], ["01 17:00-02 12:00"]),
    ],
)
def test_equity_futures_in_chicago(day: date, regular: list[str], every: list[str]) -> None:
    assert hours("cme_equity", day, rth=True, zone=CHICAGO) == regular
    assert hours("cme_equity", day, rth=False, zone=CHICAGO) == every


def test_who_follows_the_short_days_of_the_stocks() -> None:
    every = [calendars.FIRST + timedelta(n) for n in range((calendars.LAST - calendars.FIRST).days + 1)]
    short = [day for day in every if any(" 13:00" in one for one in hours("us_index", day, rth=True))]
    assert len(short) > 50
    for day in short:
        assert hours("us_stock", day, rth=False)[0].endswith("17:00")
        for calendar in ("cme_equity", "cboe_index"):
            assert hours(calendar, day, rth=True, zone=CHICAGO) == [f"{day:%d} 08:30-{day:%d} 12:15"], day


def test_daylight_saving_moves_the_instant_and_not_the_wall_clock() -> None:
    opens = [
        datetime.fromtimestamp(calendars.day_sessions("us_stock", day, rth=True)[0].open_s, UTC).strftime("%H:%M")
        for day in (date(2024, 3, 8), date(2024, 3, 11), date(2024, 11, 1), date(2024, 11, 4))
    ]
    assert opens == ["14:30", "13:30", "13:30", "14:30"]
    # the Sunday evening of a change is already in the new time; London changes on other Sundays
    assert hours("cme_equity", date(2024, 3, 11), rth=False, zone=CHICAGO) == ["10 17:00-11 16:00"]
    assert hours("london", date(2024, 3, 27), rth=True) == ["27 04:00-27 12:30"]
    assert hours("london", date(2024, 4, 3), rth=True) == ["03 03:00-03 11:30"]


def test_crypto_never_closes() -> None:
    found = calendars.sessions("always", 1_700_000_000, 1_700_000_000 + 10 * 86400, rth=False)
    assert all(one.close_s == following.open_s for one, following in pairwise(found))
    assert found[0].open_s <= 1_700_000_000 < found[0].close_s


@given(names, days, st.booleans())
def test_sessions_of_a_month_are_in_order_and_labelled_in_order(calendar: str, day: date, rth: bool) -> None:
    start_s = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    found = calendars.sessions(calendar, start_s, start_s + 30 * 86400, rth=rth)
    for one, following in pairwise(found):
        assert one.open_s < one.close_s <= following.open_s
        assert one.trade_date <= following.trade_date
    assert all(one.open_s < start_s + 30 * 86400 and one.close_s > start_s for one in found)


@given(names, days, st.integers(0, 86400), st.integers(1, 5 * 86400), st.booleans())
def test_an_overlap_is_found_from_any_window(calendar: str, day: date, after_s: int, length_s: int, rth: bool) -> None:
    start_s = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + after_s
    wide = [
        one
        for offset in range(-10, 17)
        if calendars.FIRST <= day + timedelta(days=offset) <= calendars.LAST
        for one in calendars.day_sessions(calendar, day + timedelta(days=offset), rth=rth)
    ]
    expected = [one for one in wide if one.open_s < start_s + length_s and one.close_s > start_s]
    assert calendars.sessions(calendar, start_s, start_s + length_s, rth=rth) == expected


@given(names, days)
def test_segments_tile_the_sessions_and_regular_ones_are_regular_hours(calendar: str, day: date) -> None:
    segments = calendars.day_segments(calendar, day)
    every = calendars.day_sessions(calendar, day, rth=False)
    regular = calendars.day_sessions(calendar, day, rth=True)
    assert sum(one.close_s - one.open_s for one in segments) == sum(one.close_s - one.open_s for one in every)
    assert {one.open_s for one in every} <= {one.open_s for one in segments}
    inside = [(one.open_s, one.close_s) for one in segments if one.regular]
    assert inside == [(one.open_s, one.close_s) for one in regular]


@given(names, days)
def test_sessions_cut_at_half_hours_of_utc_in_any_season(calendar: str, day: date) -> None:
    # bars of whole hours are aligned to the wall clock, which is only that of UTC's half hours where offsets are whole
    for one in calendars.day_sessions(calendar, day, rth=False):
        offset = datetime.fromtimestamp(one.open_s, calendars.zone(calendar)).utcoffset()
        assert offset is not None
        assert offset.total_seconds() % 3600 == 0


def test_hours_text_is_ib_s() -> None:
    def text(calendar: str, at: datetime, *, rth: bool, days: int) -> str:
        def sessions_of(day: date) -> tuple[calendars.Session, ...]:
            return calendars.known_sessions(calendar, day, rth=rth)

        return calendars.hours_text(calendars.zone(calendar), sessions_of, at.timestamp(), days)

    noon = datetime(2024, 11, 28, 12, tzinfo=NEW_YORK)
    assert text("us_stock", noon, rth=True, days=3) == "20241128:CLOSED;20241129:0930-20241129:1300;20241130:CLOSED"
    noon = datetime(2020, 3, 9, 12, tzinfo=CHICAGO)
    expected = "20200308:1700-20200309:1515;20200309:1530-20200309:1600"
    assert text("cme_equity", noon, rth=False, days=1) == expected
    assert text("us_stock", datetime(2030, 12, 31, 12, tzinfo=NEW_YORK), rth=True, days=2).endswith(";20310101:CLOSED")


def test_outside_the_table_there_is_an_error_for_a_day_and_nothing_for_a_window() -> None:
    with pytest.raises(LookupError, match="2004-01-01 to 2030-12-31"):
        calendars.day_sessions("us_stock", date(2031, 1, 2), rth=True)
    assert calendars.sessions("us_stock", 0, 86400, rth=True) == []
    assert calendars.sessions("us_stock", -1e12, 1e12, rth=True) == calendars.sessions("us_stock", 0, 2e9, rth=True)
