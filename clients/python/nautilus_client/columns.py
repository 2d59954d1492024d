"""Bars column by column in arrays of the standard library: no numpy, no pandas.

A column has an `array` of numbers, and a mask of those that are there: bit n of a whole number is 1 where value n is known.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nautilus_client.errors import BrokenAnswer

FLOATS = ("open", "high", "low", "close", "volume", "vwap")
WHOLES = ("ts", "trades", "ts_open", "ts_close")
FLAGS = ("provisional",)
USUAL = ("ts", "open", "high", "low", "close", "volume", "vwap", "trades")
"""What is read where the caller names no fields."""
NULLABLE = frozenset({"volume", "vwap", "trades", "ts_open", "ts_close"})


class Column(NamedTuple):
    """One column. data: `q` (int64), `d` (float64) or `B` (0 and 1). mask: None where all values are known; an unknown value
    is NaN or 0 in `data`."""

    data: "array[Any]"
    mask: int | None = None

    def __len__(self) -> int:
        return len(self.data)

    def values(self) -> list[Any]:
        """The values, None where they are not known."""
        if self.mask is None:
            return [bool(one) for one in self.data] if self.data.typecode == "B" else self.data.tolist()
        there = bits(self.mask, len(self.data))
        return [one if known else None for one, known in zip(self.data, there, strict=True)]

    def slice(self, start: int, end: int) -> "Column":
        if self.mask is None:
            return Column(self.data[start:end])
        return Column(self.data[start:end], narrowed((self.mask >> start) & ((1 << (end - start)) - 1), end - start))


def narrowed(mask: int, size: int) -> int | None:
    return None if mask == (1 << size) - 1 else mask


_BITS = [bytes((n >> k) & 1 for k in range(8)) for n in range(256)]


def bits(mask: int, size: int) -> bytes:
    """A byte of 0 or 1 for each of `size` values."""
    packed = mask.to_bytes(-(-size // 8), "little")
    return b"".join(map(_BITS.__getitem__, packed))[:size]


def typecode(name: str) -> str:
    return "B" if name in FLAGS else "q" if name in WHOLES else "d"


class Columns(Mapping[str, Column]):
    """Columns of the same length, in the order of the fields."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        lengths = {len(each.data) for each in self._columns.values()}
        if len(lengths) > 1:
            raise BrokenAnswer(f"the columns of an answer have different lengths: {sorted(lengths)}")
        self.size = lengths.pop() if lengths else 0

    @classmethod
    def empty(cls, fields: Iterable[str]) -> "Columns":
        return cls({name: Column(array(typecode(name))) for name in fields})

    @classmethod
    def of_lists(cls, lists: Mapping[str, Sequence[Any]], fields: Iterable[str]) -> "Columns":
        """The columns of a column-wise JSON answer; an answer without bars has none of them."""
        if not lists:
            return cls.empty(fields)
        try:
            return cls({name: _column(name, lists[name]) for name in fields})
        except (KeyError, TypeError, OverflowError) as wrong:
            raise BrokenAnswer(f"the columns of an answer cannot be read: {wrong!r}") from None

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def slice(self, start: int, end: int) -> "Columns":
        return Columns({name: each.slice(start, end) for name, each in self._columns.items()})

    def rows(self) -> Iterator[tuple[Any, ...]]:
        return zip(*(each.values() for each in self._columns.values()), strict=True)


def _column(name: str, values: Sequence[Any]) -> Column:
    code = typecode(name)
    if name not in NULLABLE or None not in values:
        return Column(array(code, values))
    mask = int("".join("0" if one is None else "1" for one in reversed(values)), 2)
    unknown = 0 if code == "q" else math.nan
    return Column(array(code, [unknown if one is None else one for one in values]), mask)


def join_columns(parts: Sequence[Columns], fields: Iterable[str]) -> Columns:
    """The parts one behind the other."""
    if not parts:
        return Columns.empty(fields)
    if len(parts) == 1:
        return parts[0]
    return Columns({name: join([part[name] for part in parts]) for name in parts[0]})


def join(parts: Sequence[Column]) -> Column:
    data = array(parts[0].data.typecode)
    some_unknown = any(part.mask is not None for part in parts)
    mask = 0
    for part in parts:
        if some_unknown:
            known = part.mask if part.mask is not None else (1 << len(part.data)) - 1
            mask |= known << len(data)
        data.extend(part.data)
    return Column(data, mask if some_unknown else None)
