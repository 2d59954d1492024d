"""Reads a stream of Arrow, by the format's own description: the opponent of what writes it. No library and nothing of ours."""

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

_TYPES = {2: "int64", 3: "double", 5: "utf8", 6: "bool", 10: "timestamp"}
_CODES = {"int64": "q", "double": "d", "timestamp": "q"}


class Column(NamedTuple):
    """A column of the schema."""

    name: str
    type: str
    nullable: bool


class Stream(NamedTuple):
    """What a stream holds: columns, metadata of the schema, and the values of all its record batches by column.

    batches: the rows of each record batch. schema_bytes: how long the message of the schema is.
    """

    columns: Sequence[Column]
    metadata: dict[str, str]
    values: dict[str, list[Any]]
    batches: list[int]
    schema_bytes: int


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, buffer: bytes, at: int) -> None:
        self.buffer = buffer
        self.at = at
        self._offsets = at - struct.unpack_from("<i", buffer, at)[0]

    def place(self, n: int) -> int | None:
        (length,) = struct.unpack_from("<H", self.buffer, self._offsets)
        if 4 + 2 * n >= length:
            return None
        (offset,) = struct.unpack_from("<H", self.buffer, self._offsets + 4 + 2 * n)
        return self.at + offset if offset else None

    def number(self, n: int, code: str) -> int:
        at = self.place(n)
        if at is None:
            return 0
        assert at % struct.calcsize(code) == 0, f"field {n} is not aligned"
        return int(struct.unpack_from("<" + code, self.buffer, at)[0])

    def reference(self, n: int) -> int:
        at = self.place(n)
        assert at is not None, f"field {n} is missing"
        return at + int(struct.unpack_from("<I", self.buffer, at)[0])

    def table(self, n: int) -> "_Table":
        return _Table(self.buffer, self.reference(n))

    def text(self, n: int) -> str:
        at = self.reference(n)
        (length,) = struct.unpack_from("<I", self.buffer, at)
        assert self.buffer[at + 4 + length] == 0
        return self.buffer[at + 4 : at + 4 + length].decode()

    def tables(self, n: int) -> list["_Table"]:
        if self.place(n) is None:
            return []
        at = self.reference(n)
        (count,) = struct.unpack_from("<I", self.buffer, at)
        places = [at + 4 + 4 * k for k in range(count)]
        return [_Table(self.buffer, p + struct.unpack_from("<I", self.buffer, p)[0]) for p in places]

    def pairs(self, n: int) -> list[tuple[int, int]]:
        """A vector of structs of two longs."""
        at = self.reference(n)
        (count,) = struct.unpack_from("<I", self.buffer, at)
        assert (at + 4) % 8 == 0, "structs of longs are aligned"
        longs = struct.unpack_from(f"<{2 * count}q", self.buffer, at + 4)
        return list(zip(longs[::2], longs[1::2], strict=True))


def read(stream: bytes) -> Stream:
    """What a stream holds; AssertionError when it is not whole."""
    columns: list[Column] = []
    metadata: dict[str, str] = {}
    values: dict[str, list[Any]] = {}
    batches: list[int] = []
    at = schema_bytes = 0
    while True:
        mark, length = struct.unpack_from("<iI", stream, at)
        assert mark == -1
        at += 8
        if length == 0:
            break
        assert at % 8 == 0
        assert length % 8 == 0
        buffer = stream[at : at + length]
        message = _Table(buffer, struct.unpack_from("<I", buffer)[0])
        assert message.number(0, "h") == 4, "version 5 of the format"
        kind, header, body_length = message.number(1, "B"), message.table(2), message.number(3, "q")
        body = stream[at + length : at + length + body_length]
        assert len(body) == body_length
        at += length + body_length
        if kind == 1:
            columns = [_column(field) for field in header.tables(1)]
            metadata = {pair.text(0): pair.text(1) for pair in header.tables(2)}
            values = {column.name: [] for column in columns}
            schema_bytes = at
        else:
            assert kind == 3
            batches.append(_batch(columns, values, header, body))
    assert at == len(stream), "nothing comes behind the end"
    return Stream(columns, metadata, values, batches, schema_bytes)


def _column(field: _Table) -> Column:
    kind = _TYPES[field.number(2, "B")]
    about = field.table(3)
    if kind == "timestamp":
        assert (about.number(0, "h"), about.text(1)) == (3, "UTC"), "nanoseconds, UTC"
    elif kind == "double":
        assert about.number(0, "h") == 2
    elif kind == "int64":
        assert (about.number(0, "i"), about.number(1, "B")) == (64, 1)
    assert field.tables(5) == []
    return Column(field.text(0), kind, bool(field.number(1, "B")))


def _batch(columns: Sequence[Column], values: dict[str, list[Any]], header: _Table, body: bytes) -> int:
    size, nodes, places = header.number(0, "q"), header.pairs(1), iter(header.pairs(2))

    def buffer() -> bytes:
        start, length = next(places)
        assert start % 8 == 0
        return body[start : start + length]

    for column, (length, nulls) in zip(columns, nodes, strict=True):
        assert length == size
        present = buffer()
        if column.type == "utf8":
            ends, text = struct.unpack(f"<{size + 1}i", buffer()), buffer()
            found: list[Any] = [text[a:b].decode() for a, b in pairwise(ends)]
        elif column.type == "bool":
            found = _bits(buffer(), size)
        else:
            found = list(struct.unpack(f"<{size}{_CODES[column.type]}", buffer()))
        there = _bits(present, size) if present else [True] * size
        assert there.count(False) == nulls
        assert column.nullable or not nulls
        values[column.name] += [value if shown else None for value, shown in zip(found, there, strict=True)]
    assert next(places, None) is None
    return size


def _bits(buffer: bytes, size: int) -> list[bool]:
    assert len(buffer) == -(-size // 8)
    return [bool(buffer[n // 8] >> n % 8 & 1) for n in range(size)]
