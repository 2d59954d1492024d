"""Columns in arrays: what is not known stays so, through slices and joins."""

from hypothesis import given
from hypothesis import strategies as st

from nautilus_client.columns import Columns, join_columns

LISTS = st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), max_size=40)


def of(values):
    return Columns.of_lists({"ts": list(range(len(values))), "trades": values}, ("ts", "trades"))


@given(LISTS)
def test_values_come_back(values):
    assert of(values)["trades"].values() == values


@given(st.lists(LISTS, min_size=1, max_size=4))
def test_parts_are_joined_with_what_is_not_known(lists):
    joined = join_columns([of(one) for one in lists], ("ts", "trades"))
    assert joined["trades"].values() == [value for one in lists for value in one]


@given(LISTS, st.integers(0, 40), st.integers(0, 40))
def test_a_slice_is_that_of_the_list(values, start, end):
    start, end = sorted((min(start, len(values)), min(end, len(values))))
    assert of(values).slice(start, end)["trades"].values() == values[start:end]
