"""When what waits is sent, held against the rules as the bridge asks them one request after the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.backfill.pacing import BURST_NS, MARGIN_NS, PERIOD_NS, PacingLimits, Request, next_allowed
from nautilus.backfill.send_times import Line, send_times
from tests.support.markets import S, few

NOW = 1_800_000_000 * S
SMALL = Request("", "1|SMART|TRADES", small=True)
LARGE = Request("", "2|SMART|TRADES", small=False)
FREE = PacingLimits().period_weight - PacingLimits().reserve


def sent(count: int, ago_s: float, weight: int = 1) -> list[Request]:
    return [Request(f"{ago_s}|{n}", f"{n}", True, weight, at=NOW - round(ago_s * S)) for n in range(count)]


def test_what_the_budget_does_not_hold_waits_for_the_window() -> None:
    """38 of 96 requests are left and the ten minutes are full: not a mean rate, but when the book lets them out."""
    found = send_times([Line(SMALL, 38, ("job",))], sent(FREE, 60), NOW)["job"]
    assert found.first == NOW - 60 * S + PERIOD_NS + MARGIN_NS
    assert found.last == found.first + 7 * (BURST_NS + MARGIN_NS), "five of a contract in two seconds"


def test_a_second_window_is_waited_for_as_well() -> None:
    found = send_times([Line(SMALL, FREE + 1, ("job",))], (), NOW)["job"]
    assert found == (NOW, NOW + PERIOD_NS + MARGIN_NS)


def test_jobs_of_higher_priority_go_first_and_equal_ones_take_turns() -> None:
    lines = [Line(SMALL, 29, ("high",), priority=8), Line(SMALL._replace(contract="3"), 58, ("low",), priority=1)]
    found = send_times(lines, (), NOW)
    assert found["high"].last < NOW + PERIOD_NS < found["low"].last
    equal = [Line(SMALL._replace(contract=str(n)), 30, (n,)) for n in range(2)]
    turns = send_times(equal, (), NOW)
    assert turns[0].last >= NOW + PERIOD_NS
    assert turns[1].last >= NOW + PERIOD_NS


def test_a_head_goes_before_its_bars_and_has_the_next_place() -> None:
    head = Request("", "2|SMART|TRADES", small=True)
    lines = [Line(SMALL, 3, ("small",), priority=9), Line(LARGE, 2, ("long",), head=head)]
    found = send_times(lines, sent(FREE, 100), NOW, answer_ns=2 * S, open_requests=6)
    free = NOW - 100 * S + PERIOD_NS + MARGIN_NS
    assert found["long"].first == free
    assert found["long"].last >= free + 2 * S, "planned when the head has come"
    alone = send_times([Line(LARGE, 2, ("long",))], sent(FREE, 100), NOW)
    assert alone["long"].last == NOW, "bars of a minute and more are not held back"


def test_an_interactive_request_has_the_reserve() -> None:
    found = send_times([Line(SMALL._replace(interactive=True), 3, ("job",))], sent(FREE, 100), NOW)["job"]
    assert found == (NOW, NOW - 100 * S + PERIOD_NS + MARGIN_NS)


def test_no_more_are_open_than_may_be() -> None:
    found = send_times([Line(LARGE._replace(contract=""), 4, ("job",))], (), NOW, open_requests=2, answer_ns=10 * S)
    assert found["job"] == (NOW, NOW + 10 * S)


def test_rest_after_a_violation_and_deferred_chunks() -> None:
    assert send_times([Line(SMALL, 1, ("job",))], (), NOW, quiet_until=NOW + 9 * S)["job"].first == NOW + 9 * S
    assert send_times([Line(LARGE, 1, ("job",), not_before=NOW + 9 * S)], (), NOW)["job"].first == NOW + 9 * S


def test_what_is_too_much_to_be_played_follows_at_the_rate_of_the_window() -> None:
    found = send_times([Line(SMALL, 58_000, ("job",))], (), NOW)["job"]
    assert found.last - NOW == pytest.approx(1_000 * PERIOD_NS, rel=0.02)


@few
@given(
    st.lists(st.tuples(st.integers(0, 650), st.sampled_from([1, 2])), max_size=29),
    st.integers(1, 90),
    st.sampled_from([1, 2]),
    st.booleans(),
)
def test_one_line_is_sent_when_the_bridge_would_send_it(before, count, weight, interactive) -> None:
    """The bridge asks the rules anew for each request."""
    book = [r for ago, w in before for r in sent(1, ago, w)]
    request = Request("", "1|SMART|BID_ASK", True, weight, interactive)
    found = send_times([Line(request, count, ("job",))], book, NOW)["job"]
    now, first = NOW, None
    for number in range(count):
        one = request._replace(identity=f"new {number}")
        now = next_allowed(one, book, now)
        first = first or now
        book.append(one._replace(at=now))
    assert found == (first, now)
