"""IB's limits as rules: values in, a violation or nothing out."""

import datetime as dt

import pytest

from ib_gateway_sim.rules import dates
from ib_gateway_sim.rules.bar_sizes import Duration, bar_size, duration, steps
from ib_gateway_sim.rules.dates import Moment
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.rules.kinds import what_to_show
from ib_gateway_sim.rules.latency import Latency
from ib_gateway_sim.rules.pacing import MessageRate, PacingBook


def code_of(answer):
    return answer.code if isinstance(answer, Violation) else None


def test_bar_sizes_are_spelled_as_the_gateway_lists_them():
    assert bar_size("1 min") == "1 min"
    assert bar_size("1 week") == "1W"
    refused = bar_size("1 sec")
    assert isinstance(refused, Violation)
    assert refused.code == 321
    assert "1 secs, 5 secs" in refused.text


@pytest.mark.parametrize("text", ["", "1", "D", "1D", "0 D", "-1 D", "1 H", "1  D", "1.5 D", "99999999999 D"])
def test_a_duration_is_a_number_a_space_and_a_unit(text):
    assert code_of(duration(text)) == 321
    assert duration("3 D") == Duration(3, "D")


@pytest.mark.parametrize(
    ("size", "length", "table", "code"),
    [
        ("1 secs", "2000 S", "current", None),
        ("1 secs", "2001 S", "current", 162),
        ("1 secs", "1 D", "current", 162),
        ("5 secs", "1 D", "current", None),
        ("5 secs", "1 W", "current", 162),
        ("30 secs", "1 M", "current", None),
        ("30 secs", "1 Y", "current", 162),
        ("1 min", "1 W", "current", None),
        ("1 day", "68 Y", "current", None),
        ("1 day", "69 Y", "current", 321),
        ("1 min", "86401 S", "current", 321),
        ("1 min", "366 D", "current", 321),
        ("1 min", "1 D", "old", None),
        ("1 min", "2 D", "old", 162),
        ("3 mins", "1 W", "old", None),
        ("1 secs", "1800 S", "old", None),
        ("1 secs", "1801 S", "old", 162),
        ("1 day", "20 Y", "old", None),
        ("30 mins", "1 Y", "old", 162),
    ],
)
def test_legal_steps(size, length, table, code):
    wanted = duration(length)
    assert isinstance(wanted, Duration)
    assert code_of(steps(size, wanted, table)) == code


@pytest.mark.parametrize(
    ("what", "sec_type", "code"),
    [
        ("TRADES", "STK", None),
        ("TRADES", "CASH", 162),
        ("MIDPOINT", "IND", 162),
        ("TRADES", "CRYPTO", 10299),
        ("AGGTRADES", "CRYPTO", None),
        ("AGGTRADES", "STK", 10299),
        ("ADJUSTED_LAST", "FUT", 162),
        ("LAST", "STK", 321),
    ],
)
def test_what_is_offered_for_which_product(what, sec_type, code):
    problem = what_to_show(what, sec_type, "X", "SMART")
    assert code_of(problem) == code


NOON_UTC_S = int(dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260302 12:00:00 UTC", Moment(NOON_UTC_S)),
        ("20260302-12:00:00", Moment(NOON_UTC_S)),
        ("20260302 07:00:00 US/Eastern", Moment(NOON_UTC_S)),
        ("20260302 07:00:00 America/New_York", Moment(NOON_UTC_S)),
        ("20260302  07:00:00", Moment(NOON_UTC_S, zone_missing=True)),
        ("20260302 12:00:00 GB-Eire", Moment(NOON_UTC_S)),
        # without a date: today, which in New York is the day before until five in the morning UTC
        ("12:00:00 UTC", Moment(NOON_UTC_S)),
        ("07:00:00 US/Eastern", Moment(NOON_UTC_S)),
        ("07:00:00", Moment(NOON_UTC_S, zone_missing=True)),
        ("23:00:00 Asia/Tokyo", Moment(NOON_UTC_S + 2 * 3600)),
    ],
)
def test_date_forms(text, expected):
    assert moment(text) == expected


def moment(text, now_s=NOON_UTC_S):
    return dates.moment(text, field_name="End Date/Time", login_zone="US/Eastern", now_s=now_s)


def test_today_is_that_of_the_zone():
    night = NOON_UTC_S - 10 * 3600  # two in the morning of 2 March UTC, nine in the evening of the 1st in New York
    assert moment("21:00:00 US/Eastern", night) == Moment(night)
    assert moment("02:00:00 UTC", night) == Moment(night)


@pytest.mark.parametrize(
    "text",
    [
        "20260302",
        "2026-03-02 12:00:00",
        "20260302 12:00",
        "20261302 12:00:00 UTC",
        "20260302 12:00:00 Mars/Base",
        "20260302 12:00:00 ../../etc/passwd",
        "20260302 12:00:00 GMT",
        "20260302 12:00:00 Z",
        "20260302 12:00:00 EST",
        "20260302 12:00:00 EDT",
        "20260302 12:00:00 EST5EDT",
        "20260302 12:00:00 GMT+1",
        "12:00:00 GMT",
        "-12:00:00",
        "12:00",
        "20260302-12:00:00 UTC",
        "99991231 23:59:59 Asia/Tokyo",
        "x",
    ],
)
def test_every_other_date_names_its_field_in_10314(text):
    refused = moment(text)
    assert isinstance(refused, Violation)
    assert refused.code == 10314
    assert refused.text.startswith("End Date/Time: ")


def test_sixty_requests_in_ten_minutes_and_bid_ask_counts_twice():
    book = PacingBook()
    assert all(book.ask(at * 3.0, f"s{at}", f"w{at}") for at in range(60))
    assert not book.ask(180.0, "new", "new")
    assert not book.ask(599.9, "new", "new")
    assert not book.ask(600.0, "both", "both", weight=2)
    assert book.ask(600.0, "new", "new")
    assert book.ask(606.0, "both", "both", weight=2)


def test_the_sixth_for_one_series_within_two_seconds_and_the_same_within_fifteen():
    book = PacingBook()
    assert [book.ask(1000 + at * 0.3, "AAPL", f"w{at}") for at in range(6)] == [True] * 5 + [False]
    assert book.ask(1001.5, "MSFT", "w")
    assert book.ask(1002.1, "AAPL", "w6")
    assert not book.ask(1017.0, "AAPL", "w6")
    assert book.ask(1017.2, "AAPL", "w6")


def test_the_message_rate_queues_or_strikes():
    queueing = MessageRate(50)
    assert [queueing.wait_s(10.0) for _ in range(51)] == [0.0] * 50 + [1.0]
    rejecting = MessageRate(50)
    assert [rejecting.allowed(10.0) for _ in range(51)] == [True] * 50 + [False]
    assert rejecting.allowed(11.1)
    assert rejecting.violations == 1


def test_measured_latency_passes_through_the_published_numbers():
    measured = Latency("measured")
    week = 7 * 86_400
    seconds = [measured.of_history(60, span) for span in (week, 2 * week, 30 * 86_400, 60 * 86_400)]
    assert seconds == pytest.approx([0.21, 5.98, 24, 60])
    assert measured.of_history(86_400, 3650 * 86_400) == pytest.approx(0.32, abs=0.01)
    assert Latency.parse("250").of_history(60, week) == 0.25
    with pytest.raises(ValueError, match="allowed: none, measured"):
        Latency.parse("slow")


def test_what_was_booked_before_the_clock_was_set_back_is_forgotten():
    later_s, now_s = 1_000_000.0, 10.0
    queueing, rejecting, book = MessageRate(50), MessageRate(50), PacingBook()
    for n in range(60):
        queueing.wait_s(later_s)
        rejecting.allowed(later_s)
        book.ask(later_s + 20 * n, f"series {n}", f"request {n}")
    assert queueing.wait_s(now_s) == 0
    assert rejecting.allowed(now_s)
    assert book.ask(now_s, "series", "request")
    assert book.count(now_s) == 1
