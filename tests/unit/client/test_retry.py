"""When the client sends a request again: numbers in, numbers out."""

import pytest

from nautilus_client.retry import RetryPolicy, may_try_again, pause_s, retry_after_s, wait_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value, seconds):
    now = 1_792_567_680.0  # 2026-10-21 07:28:00
    assert retry_after_s(value, now) == seconds


def test_waits_double_up_to_the_longest_and_are_drawn_between_half_and_all():
    policy = RetryPolicy(tries=9, first_wait_s=0.25, longest_wait_s=3)
    assert [wait_s(policy, n, None, lambda: 1.0) for n in range(1, 10)] == [0.25, 0.5, 1, 2, 3, 3, 3, 3, None]
    assert [wait_s(policy, n, None, lambda: 0.0) for n in range(1, 4)] == [0.125, 0.25, 0.5]


def test_the_servers_word_counts_more_than_the_doubling():
    assert wait_s(RetryPolicy(), 1, 41.0, lambda: 1.0) == 41.0
    assert wait_s(RetryPolicy(tries=1), 1, 41.0, lambda: 1.0) is None


@pytest.mark.parametrize(
    ("status", "repeatable", "again"),
    [
        (429, False, True),  # refused, so nothing was done
        (503, False, False),
        (503, True, True),
        (502, True, True),
        (504, True, True),
        (500, True, False),
        (404, True, False),
        (200, True, False),
    ],
)
def test_a_request_that_may_have_been_done_is_sent_again_only_where_that_changes_nothing(status, repeatable, again):
    assert may_try_again(status, repeatable=repeatable) is again


def test_a_tenth_of_the_rate_limit_is_kept_free():
    policy = '"reads";q=3000;w=60'
    assert pause_s({"ratelimit-policy": policy, "ratelimit": '"reads";r=300;t=41'}) == 0
    assert pause_s({"ratelimit-policy": policy, "ratelimit": '"reads";r=299;t=30'}) == pytest.approx(0.1)
    assert pause_s({"ratelimit-policy": policy, "ratelimit": '"reads";r=0;t=30'}) == 30
    assert pause_s({}) == 0
