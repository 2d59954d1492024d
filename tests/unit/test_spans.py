"""Spans against the plainest thing that does the same: sets of integers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nautilus.spans import Span, Spans
from tests.support.markets import few, many

edges = st.integers(-20, 60)
span = st.tuples(edges, edges)
ranges = st.lists(span, max_size=8)


def members(found: list[Span] | Spans) -> set[int]:
    return {i for start, end in found for i in range(start, end)}


def assert_tidy(spans: Spans) -> None:
    found = list(spans)
    assert all(start < end for start, end in found)
    assert all(a[1] < b[0] for a, b in pairwise(found)), "sorted, disjoint, and merged where they touch"


@many
@given(ranges)
def test_any_ranges_become_a_tidy_set(found):
    spans = Spans(found)
    assert members(spans) == members(found)
    assert_tidy(spans)
    assert spans.total == len(members(found))
    assert bool(spans) == bool(members(found))
    assert len(spans) == len(list(spans))


@many
@given(ranges, ranges)
def test_operators_are_those_of_sets(a, b):
    left, right = Spans(a), Spans(b)
    for found, expected in (
        (left | right, members(a) | members(b)),
        (left & right, members(a) & members(b)),
        (left - right, members(a) - members(b)),
    ):
        assert members(found) == expected
        assert_tidy(found)


@few
@given(ranges, ranges)
def test_equal_sets_are_equal_and_hash_alike(a, b):
    assert (Spans(a) == Spans(b)) == (members(a) == members(b))
    assert hash(Spans(a)) == hash(Spans(reversed(a)))
    assert Spans(a) != members(a)


@few
@given(ranges, span)
def test_covers_means_every_point(found, requested):
    assert Spans(found).covers(requested) == (members([requested]) <= members(found))


@few
@given(ranges, edges)
def test_contains_a_point(found, point):
    assert (point in Spans(found)) == (point in members(found))


def test_values():
    spans = Spans([(5, 7), (0, 3), (3, 4), (9, 9), (8, 2)])
    assert list(spans) == [(0, 4), (5, 7)]
    assert repr(spans) == "Spans([(0, 4), (5, 7)])"
    assert list(Spans.of(0, 10) - spans) == [(4, 5), (7, 10)]
    assert list(Spans.of(0, 10) & Spans([(2, 6), (8, 12)])) == [(2, 6), (8, 10)]
    assert not Spans.of(3, 3)
    assert "3" not in spans
    assert spans.covers((9, 9)), "nothing is always covered"
