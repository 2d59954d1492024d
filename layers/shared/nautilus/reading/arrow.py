"""Bars as a stream of Apache Arrow: PostgreSQL has packed each column, a byte swap makes a buffer of it.

The format is https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format; docs/decisions/0052-arrow-by-hand.md says
why no library writes it. A stream is a schema, a record batch for each instrument that has bars, and an end.
"""

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import repeat
from operator import eq, ne
from typing import Any, NamedTuple

from nautilus.reading.flatbuffer import Scalar, Structs, Table, Tables, written

METADATA_KEY = "nautilus"
"""In the metadata of the schema: the answer without its candles, as the JSON form has it."""
NULLABLE = ("volume", "vwap", "trades", "ts_open", "ts_close")
NO_NUMBER = -(2**63)
"""Stands for NULL in packed columns of whole numbers; in those of floats it is NaN, which no bar has."""
_VERSION_5 = 4
_SCHEMA, _RECORD_BATCH = 1, 3
_ENDING = b"\xff\xff\xff\xff\0\0\0\0"
_BINARY = bytes(n + ord("0") if n < 2 else 0 for n in range(256))


class Kind(Enum):
    """What a column holds: its number in Arrow's union of types, the table that describes it, the code of `array`."""

    TIME = (10, Table([Scalar("h", 3), "UTC"]), "q")  # nanoseconds
    FLOAT = (3, Table([Scalar("h", 2)]), "d")  # double
    WHOLE = (2, Table([Scalar("i", 64), Scalar("B", 1)]), "q")  # signed
    BOOL = (6, Table([]), "")
    TEXT = (5, Table([]), "")

    def __init__(self, number: int, described: Table, code: str) -> None:
        self.number = number
        self.described = described
        self.code = code


_KINDS = {
    "time": Kind.TEXT,
    "symbol": Kind.TEXT,
    "provisional": Kind.BOOL,
    "trades": Kind.WHOLE,
    "ts": Kind.TIME,
    "ts_open": Kind.TIME,
    "ts_close": Kind.TIME,
}


def kind_of(name: str) -> Kind:
    """What the column of a field holds."""
    return _KINDS.get(name, Kind.FLOAT)


class Packed(NamedTuple):
    """A column as PostgreSQL packs it: numbers in network order, truth values of a byte each, texts of one length.

    nulls: how many of its values are NULL, which the marker of its kind stands for.
    """

    name: str
    data: bytes
    nulls: int = 0


def batch(columns: Sequence[Packed], size: int, symbol: str | None = None) -> bytes:
    """A record batch of `size` rows. symbol: a column in front that is the same in each row."""
    nodes: list[int] = []
    buffers: list[bytes | memoryview] = []
    if symbol is not None:
        columns = [Packed("symbol", symbol.encode() * size), *columns]
    for column in columns:
        nodes += [size, column.nulls]
        buffers += _buffers(column, size)
    places, at = [], 0
    for part in buffers:
        places += [at, len(part)]
        at += len(part) + -len(part) % 8
    header = Table([Scalar("q", size), Structs(2, nodes), Structs(2, places)])
    pieces = [piece for part in buffers for piece in (part, bytes(-len(part) % 8))]
    return b"".join([_message(_RECORD_BATCH, header, at), *pieces])


def stream(names: Iterable[str], batches: Iterable[bytes], answer: Mapping[str, Any]) -> bytes:
    """The whole stream. names: of the columns, `symbol` among them where batches have it; answer: all but the candles."""
    fields = []
    for name in names:
        kind = kind_of(name)
        nullable = Scalar("B", name in NULLABLE)
        fields.append(Table([name, nullable, Scalar("B", kind.number), kind.described, None, Tables([])]))
    about = Table([METADATA_KEY, json.dumps(answer, separators=(",", ":"), ensure_ascii=False)])
    schema = Table([Scalar("h", 0), Tables(fields), Tables([about])])
    return b"".join([_message(_SCHEMA, schema, 0), *batches, _ENDING])


def row_bytes(names: Iterable[str], symbol: str | None) -> int:
    """How many bytes a row takes at most, in this column or that."""
    widths = {Kind.BOOL: 1, Kind.TEXT: 24}
    return sum(widths.get(kind_of(name), 8) + (name in NULLABLE) for name in names) + (
        4 + len(symbol.encode()) if symbol is not None else 0
    )


def _message(number: int, header: Table, body_length: int) -> bytes:
    metadata = written(Table([Scalar("h", _VERSION_5), Scalar("B", number), header, Scalar("q", body_length)]))
    return struct.pack("<iI", -1, len(metadata)) + metadata


def _buffers(column: Packed, size: int) -> list[bytes | memoryview]:
    """Which values there are (nothing: all), and the values, before them the offsets of texts."""
    kind, data = kind_of(column.name), column.data
    if kind is Kind.TEXT:
        width = len(data) // size if size else 0
        return [b"", _little(array("i", range(0, (size + 1) * width, width) if width else [0] * (size + 1))), data]
    if kind is Kind.BOOL:
        return [b"", _bits(data)]
    values = array(kind.code, data)
    if sys.byteorder == "little":
        values.byteswap()
    present = b""
    if column.nulls == size:
        present = bytes(-(-size // 8))
    elif column.nulls:
        other = values if kind is Kind.FLOAT else repeat(NO_NUMBER)
        present = _bits(bytes(map(eq if kind is Kind.FLOAT else ne, values, other)))
    return [present, _little(values)]


def _little(values: "array[Any]") -> bytes | memoryview:
    if sys.byteorder == "big":
        values.byteswap()
    return memoryview(values).cast("B") if values else b""


def _bits(flags: bytes) -> bytes:
    """Bytes of 0 and 1 as bits, the first in the lowest."""
    return int(flags[::-1].translate(_BINARY) or b"0", 2).to_bytes(-(-len(flags) // 8), "little")
