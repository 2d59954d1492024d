"""Messages of Arrow as flatbuffers: tables, vectors and texts, written from front to back.

Only what the messages of a stream of bars need. The layout is that of https://flatbuffers.dev/internals: a table begins
with the distance back to its list of field offsets, and what is no number lies behind it at a distance forward.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple


class Scalar(NamedTuple):
    """A number in a table: how `struct` writes it, and its value."""

    code: str
    value: int


class Structs(NamedTuple):
    """A vector of structs, which are written side by side. The number of longs of each, and all longs in order."""

    width: int
    longs: Sequence[int]


class Tables(NamedTuple):
    """A vector of tables."""

    items: Sequence["Table"]


class Table(NamedTuple):
    """A table: its fields in the order of their numbers; None: left out."""

    fields: Sequence["Scalar | Structs | Tables | Table | str | None"]


def written(root: Table) -> bytes:
    """The buffer of a root table. Its length is a multiple of eight."""
    out = bytearray(4)
    struct.pack_into("<I", out, 0, _table(out, root))
    return bytes(out) + bytes(-len(out) % 8)


def _table(out: bytearray, table: Table) -> int:
    """Write a table with all that belongs to it; returns where it begins."""
    count = len(table.fields)
    _pad(out, 8, 4 + 2 * count)  # so that the table, behind its offsets, begins in front of a multiple of eight
    offsets_at = len(out)
    out += bytes(4 + 2 * count)
    start = len(out)
    out += struct.pack("<i", start - offsets_at)
    offsets, later = [0] * count, []
    # The wide ones first: then each is aligned by itself.
    for n in sorted(range(count), key=lambda n: -_width(table.fields[n])):
        field = table.fields[n]
        if field is None:
            continue
        offsets[n] = len(out) - start
        if isinstance(field, Scalar):
            out += struct.pack("<" + field.code, field.value)
        else:
            later.append((len(out), field))
            out += bytes(4)
    struct.pack_into(f"<HH{count}H", out, offsets_at, 4 + 2 * count, len(out) - start, *offsets)
    for at, field in later:
        struct.pack_into("<I", out, at, _referenced(out, field) - at)
    return start


def _width(field: object) -> int:
    return struct.calcsize("<" + field.code) if isinstance(field, Scalar) else 4


def _pad(out: bytearray, to: int, more: int) -> None:
    """Pad so that, four bytes behind what comes next, of length `more`, the position is a multiple of `to`."""
    out += bytes(-(len(out) + more + 4) % to)


def _referenced(out: bytearray, field: "Structs | Tables | Table | str") -> int:
    """Write what a table refers to; returns where it begins."""
    if isinstance(field, Table):
        return _table(out, field)
    _pad(out, 8, 0)
    start = len(out)
    if isinstance(field, str):
        text = field.encode()
        out += struct.pack("<I", len(text)) + text + b"\0"
    elif isinstance(field, Structs):
        longs = field.longs
        out += struct.pack(f"<I{len(longs)}q", len(longs) // field.width, *longs)
    else:
        out += struct.pack("<I", len(field.items)) + bytes(4 * len(field.items))
        for n, item in enumerate(field.items):
            at = start + 4 + 4 * n
            struct.pack_into("<I", out, at, _table(out, item) - at)
    return start
