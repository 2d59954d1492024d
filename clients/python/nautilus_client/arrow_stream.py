"""Reads a stream of Apache Arrow without pyarrow: one schema, record batches of numbers, an end.

The format is https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format, its messages are flatbuffers. Only what
answers with bars hold is read; anything else, and a stream that is cut, is a BrokenAnswer.
"""

import struct
import sys
from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

from nautilus_client.columns import Column, Columns, bits, join, narrowed
from nautilus_client.errors import BrokenAnswer

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_INT, _FLOAT, _TEXT, _BOOL, _TIMESTAMP = 2, 3, 5, 6, 10
_KINDS = {_INT: "q", _FLOAT: "d", _TIMESTAMP: "q", _BOOL: "B", _TEXT: ""}
_CONTINUES = 0xFFFFFFFF


class Stream(NamedTuple):
    """What a stream holds. metadata: of its schema."""

    columns: Columns
    metadata: Mapping[str, str]


def read(data: bytes) -> Stream:
    """The columns of all batches, and the metadata. BrokenAnswer when the stream is cut, or has another form."""
    try:
        return _read(memoryview(data))
    except (struct.error, IndexError, ValueError, StopIteration) as wrong:
        raise BrokenAnswer(f"the Arrow stream cannot be read: {wrong}") from None


def _read(data: memoryview) -> Stream:
    at = 0
    fields: list[tuple[str, str]] | None = None
    metadata: dict[str, str] = {}
    parts: dict[str, list[Column]] = {}
    while True:
        if at + 8 > len(data):
            raise BrokenAnswer("the Arrow stream is cut: it has no end")
        mark, length = struct.unpack_from("<Ii", data, at)
        if mark != _CONTINUES:
            raise BrokenAnswer("this is no Arrow stream")
        at += 8
        if length == 0:
            break
        message = _root(data[at : at + length])
        at += length
        kind, header, size = message.number(1, "<B"), message.table(2), message.number(3, "<q")
        body = data[at : at + size]
        if len(body) != size or header is None:
            raise BrokenAnswer("the Arrow stream is cut: a batch is not whole")
        at += size
        if kind == _SCHEMA:
            fields, metadata = _schema(header)
            parts = {name: [] for name, code in fields if code}
        elif kind == _BATCH and fields is not None:
            _take_batch(header, body, fields, parts)
        else:
            raise BrokenAnswer(f"the Arrow stream has a message of kind {kind}, which answers with bars do not have")
    if fields is None:
        raise BrokenAnswer("the Arrow stream has no schema")
    columns = {n: join(found) if found else Column(array(dict(fields)[n])) for n, found in parts.items()}
    return Stream(Columns(columns), metadata)


class _Table(NamedTuple):
    """A table of a flatbuffer: where it begins, and where its list of field offsets does."""

    data: memoryview
    start: int

    def _field(self, number: int) -> int:
        """Where a field lies; 0: it was left out."""
        vtable = self.start - struct.unpack_from("<i", self.data, self.start)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", self.data, vtable)[0]:
            return 0
        offset: int = struct.unpack_from("<H", self.data, vtable + 4 + 2 * number)[0]
        return self.start + offset if offset else 0

    def number(self, field: int, code: str) -> int:
        at = self._field(field)
        return int(struct.unpack_from(code, self.data, at)[0]) if at else 0

    def _target(self, field: int) -> int:
        at = self._field(field)
        return at + int(struct.unpack_from("<I", self.data, at)[0]) if at else 0

    def table(self, field: int) -> "_Table | None":
        at = self._target(field)
        return _Table(self.data, at) if at else None

    def text(self, field: int) -> str:
        at = self._target(field)
        if not at:
            return ""
        (size,) = struct.unpack_from("<I", self.data, at)
        return bytes(self.data[at + 4 : at + 4 + size]).decode()

    def tables(self, field: int) -> list["_Table"]:
        at = self._target(field)
        if not at:
            return []
        (count,) = struct.unpack_from("<I", self.data, at)
        items = [at + 4 + 4 * n for n in range(count)]
        return [_Table(self.data, one + struct.unpack_from("<I", self.data, one)[0]) for one in items]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two longs."""
        at = self._target(field)
        if not at:
            return []
        (count,) = struct.unpack_from("<I", self.data, at)
        flat = struct.unpack_from(f"<{2 * count}q", self.data, at + 4)
        return list(zip(flat[::2], flat[1::2], strict=True))


def _root(message: memoryview) -> _Table:
    return _Table(message, struct.unpack_from("<I", message, 0)[0])


def _schema(header: _Table) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The fields with the typecode of their arrays (nothing: text, which is left out), and the metadata."""
    fields = [(one.text(0), _code(one)) for one in header.tables(1)]
    return fields, {one.text(0): one.text(1) for one in header.tables(2)}


def _code(field: _Table) -> str:
    kind, described = field.number(2, "<B"), field.table(3)
    wide = described is not None and {
        _INT: described.number(0, "<i") == 64,
        _FLOAT: described.number(0, "<h") == 2,
        _TIMESTAMP: described.number(0, "<h") == 3,
    }.get(kind, True)
    if kind not in _KINDS or not wide or field.table(4) is not None:
        raise BrokenAnswer(f"the column {field.text(0)!r} of the Arrow stream has a type that bars do not have")
    return _KINDS[kind]


def _take_batch(
    header: _Table, body: memoryview, fields: list[tuple[str, str]], parts: dict[str, list[Column]]
) -> None:
    if header.table(3) is not None:
        raise BrokenAnswer("the Arrow stream is packed in a way that needs pyarrow")
    size, nodes, buffers = header.number(0, "<q"), header.pairs(1), iter(header.pairs(2))
    for (name, code), (rows, unknown) in zip(fields, nodes, strict=True):
        present, values = _cut(body, next(buffers)), _cut(body, next(buffers))
        if not code:
            next(buffers)
            continue
        if rows != size:
            raise BrokenAnswer(f"the column {name!r} has {rows} of {size} rows")
        mask = narrowed(int.from_bytes(present, "little") & ((1 << size) - 1), size) if unknown else None
        parts[name].append(Column(_array(code, values, size), mask))


def _cut(body: memoryview, where: tuple[int, int]) -> memoryview:
    start, length = where
    found = body[start : start + length]
    if start < 0 or len(found) != length:
        raise BrokenAnswer("the Arrow stream is cut: a buffer is not whole")
    return found


def _array(code: str, values: memoryview, size: int) -> "array[Any]":
    if code == "B":
        return array("B", bits(int.from_bytes(values, "little") & ((1 << size) - 1), size))
    found: array[Any] = array(code)
    found.frombytes(values[: 8 * size])
    if len(found) != size:
        raise BrokenAnswer(f"a column of the Arrow stream has {len(found)} of {size} values")
    if sys.byteorder == "big":
        found.byteswap()
    return found
