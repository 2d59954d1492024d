"""Streams of Arrow: packed columns become what a reader of the format finds in them."""

import json
import struct
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.reading import arrow
from nautilus.reading.arrow import NO_NUMBER, Kind, Packed, kind_of
from tests.support.arrow_stream import Column, read
from tests.support.markets import few

NAMES = ("time", "ts", "open", "high", "low", "close", "volume", "vwap", "trades", "ts_open", "ts_close", "provisional")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)


def packed(name: str, values: list[Any]) -> Packed:
    """A column as PostgreSQL packs it."""
    kind, nulls = kind_of(name), values.count(None)
    if kind is Kind.TEXT:
        return Packed(name, "".join(values).encode())
    if kind is Kind.BOOL:
        return Packed(name, bytes(values))
    missing: float | int = nan if kind is Kind.FLOAT else NO_NUMBER
    code = "d" if kind is Kind.FLOAT else "q"
    return Packed(name, struct.pack(f"!{len(values)}{code}", *[missing if v is None else v for v in values]), nulls)


def values_of(name: str) -> st.SearchStrategy[Any]:
    kind = kind_of(name)
    if kind is Kind.TEXT:
        return st.text("0123456789 :Z", min_size=19, max_size=19)
    one = {Kind.BOOL: st.booleans(), Kind.FLOAT: NUMBERS}.get(kind, WHOLE)
    return one | st.none() if name in arrow.NULLABLE else one


ROWS = st.lists(st.tuples(*(values_of(name) for name in NAMES)), min_size=1, max_size=40)
PARTS = st.lists(st.tuples(ROWS, st.text(min_size=1, max_size=6)), max_size=3)


def written(parts: list[tuple[list[Any], str]], *, named: bool) -> bytes:
    batches = []
    for rows, symbol in parts:
        columns = [packed(name, [row[n] for row in rows]) for n, name in enumerate(NAMES)]
        batches.append(arrow.batch(columns, len(rows), symbol if named else None))
    return arrow.stream((["symbol"] if named else []) + list(NAMES), batches, {"coverage": "é"})


@few
@given(parts=PARTS, named=st.booleans())
def test_what_was_packed_is_read(parts: list[tuple[list[Any], str]], named: bool) -> None:
    found = read(written(parts, named=named))
    assert found.batches == [len(rows) for rows, _ in parts]
    for n, name in enumerate(NAMES):
        assert found.values[name] == [row[n] for rows, _ in parts for row in rows]
    if named:
        assert found.values["symbol"] == [symbol for rows, symbol in parts for _ in rows]


def test_the_schema_says_what_the_columns_hold_and_the_metadata_what_is_missing() -> None:
    found = read(arrow.stream(NAMES, [], {"symbol": "Ä", "coverage": {"complete": False}}))
    assert found.columns == [
        Column("time", "utf8", False),
        Column("ts", "timestamp", False),
        *(Column(name, "double", False) for name in ("open", "high", "low", "close")),
        Column("volume", "double", True),
        Column("vwap", "double", True),
        Column("trades", "int64", True),
        Column("ts_open", "timestamp", True),
        Column("ts_close", "timestamp", True),
        Column("provisional", "bool", False),
    ]
    assert json.loads(found.metadata["nautilus"]) == {"symbol": "Ä", "coverage": {"complete": False}}
    assert found.batches == []


def test_a_null_in_the_middle_moves_no_other_value() -> None:
    columns = [packed("ts", [1, 2, 3]), packed("volume", [5.0, None, 7.0]), packed("trades", [None, None, None])]
    found = read(arrow.stream([c.name for c in columns], [arrow.batch(columns, 3)], {}))
    assert found.values == {"ts": [1, 2, 3], "volume": [5.0, None, 7.0], "trades": [None] * 3}


def test_nulls_that_nobody_counted_are_found_out() -> None:
    """The reader notices a writer that forgets them: the opponent of the test above."""
    columns = [packed("volume", [5.0, None])._replace(nulls=0)]
    found = read(arrow.stream(["volume"], [arrow.batch(columns, 2)], {}))
    assert found.values["volume"] != [5.0, None]


@pytest.mark.parametrize("cut", [1, 8, 40])
def test_a_stream_that_is_cut_is_no_stream(cut: int) -> None:
    whole = written([([(*("x" * 19,), 1, *[1.0] * 6, 1, 1, 1, True)], "A")], named=False)
    read(whole)
    with pytest.raises((AssertionError, struct.error)):
        read(whole[:-cut])


def test_a_row_takes_no_more_than_is_reckoned() -> None:
    rows = [("x" * 19, 1, *[1.0] * 4, None, 1.0, None, 1, 1, True)] * 1000
    columns = [packed(name, [row[n] for row in rows]) for n, name in enumerate(NAMES)]
    body = arrow.batch(columns, len(rows), "BRK B")
    assert 0.7 < len(body) / 1000 / arrow.row_bytes(NAMES, "BRK B") < 1.02
