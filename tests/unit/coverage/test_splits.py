from hypothesis import given
from hypothesis import strategies as st

from nautilus.coverage.splits import compare
from nautilus.market.bar import Bar


def bar(ts: int, price: float, volume: float = 100.0) -> Bar:
    return Bar(ts, price, price + 0.02, price - 0.02, price, volume, price, 7)


def test_equal_bars_say_nothing():
    old = {ts: bar(ts, 100 + ts) for ts in range(12)}
    assert compare(list(old.values()), old) == compare([], old)


def test_five_bars_that_differ_by_one_ratio_are_a_split():
    old = {ts: bar(ts, 400.0 + ts) for ts in range(5)}
    new = [bar(ts, round((400.0 + ts) / 4, 2), 400.0) for ts in range(5)]
    check = compare(new, old)
    assert check.ratio is not None
    assert abs(check.ratio - 0.25) < 0.0005
    assert check.revised == ()


def test_prices_that_change_their_sign_are_revised_and_never_a_split():
    old = {ts: bar(ts, 2.0) for ts in range(8)}
    check = compare([bar(ts, -37.63) for ts in range(8)], old)
    assert check.ratio is None
    assert len(check.revised) == 8


def test_prices_that_become_nothing_are_revised_and_never_a_split():
    old = {ts: bar(ts, 2.0) for ts in range(8)}
    for nothing in (0.0, -0.0):
        check = compare([bar(ts, nothing) for ts in range(8)], old)
        assert check.ratio is None
        assert len(check.revised) == 8
    assert compare([bar(ts, 2.0) for ts in range(8)], {ts: bar(ts, 0.0) for ts in range(8)}).ratio is None


def test_a_ratio_of_two_negative_prices_is_told_as_that_of_positive_ones():
    old = {ts: bar(ts, -40.0) for ts in range(8)}
    assert compare([bar(ts, -10.0) for ts in range(8)], old).ratio == 0.25


def test_four_are_not_enough_and_are_revisions():
    old = {ts: bar(ts, 400.0) for ts in range(4)}
    check = compare([bar(ts, 100.0) for ts in range(4)], old)
    assert check.ratio is None
    assert len(check.revised) == 4


def test_single_differing_bars_among_equal_ones_are_revisions():
    old = {ts: bar(ts, 100.0) for ts in range(12)}
    new = [bar(ts, 100.0 if ts != 3 else 101.5) for ts in range(12)]
    check = compare(new, old)
    assert (check.ratio, [b.ts for b in check.revised]) == (None, [3])
    changed = compare([bar(ts, 100.0, 101.0) for ts in range(12)], old)
    assert (changed.ratio, len(changed.revised)) == (None, 12)


@given(
    prices=st.lists(st.floats(20, 2_000).map(lambda p: round(p, 2)), min_size=5, max_size=30),
    factor=st.sampled_from([2, 3, 4, 5, 7, 10, 20, 1.5, 0.1, 0.5]),
)
def test_every_usual_split_is_seen_through_rounding_to_the_tick(prices, factor):
    old = {ts: bar(ts, price) for ts, price in enumerate(prices)}
    new = [bar(ts, round(price / factor, 2)) for ts, price in enumerate(prices)]
    ratio = compare(new, old).ratio
    assert ratio is not None
    assert abs(ratio * factor - 1) < 0.01
