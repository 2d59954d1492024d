"""Columns of bars as PostgreSQL packs them: one value of bytes for each column of a time slice.

`string_agg` leaves out what is NULL, and every later value would move up: NULL is sent as a marker that no bar has
(`nautilus.reading.arrow`), and counted.
"""

import io
import struct
from collections.abc import Iterator, Sequence

from nautilus.db.cursor import Cursor
from nautilus.reading.arrow import NO_NUMBER, NULLABLE, Kind, kind_of

_HEADER_BYTES = 11 + 4 + 4
"""Of COPY in binary: signature, flags, and the length of what else there is, which is none."""
_END = -1


def aggregates(fields: Sequence[str], time: str, order: str) -> list[str]:
    """SQL of each field's column, then of the number of NULLs of each that can have some.

    time: SQL of the text of field `time`; order: of the bars.
    """
    packed = [f"string_agg({_value(name, time)}, ''::bytea ORDER BY {order})" for name in fields]
    return packed + [f"count(*) - count({name})" for name in fields if name in NULLABLE]


def _value(name: str, time: str) -> str:
    kind = kind_of(name)
    if kind is Kind.TEXT:
        return f"convert_to({time}, 'UTF8')"
    if kind is Kind.BOOL:
        return rf"CASE WHEN {name} THEN '\x01'::bytea ELSE '\x00'::bytea END"
    if kind is Kind.FLOAT:
        return f"float8send(coalesce({name}, 'NaN'))" if name in NULLABLE else f"float8send({name})"
    return f"int8send(coalesce({name}::int8, '{NO_NUMBER}'))" if name in NULLABLE else f"int8send({name}::int8)"


def read(cursor: Cursor, statement: str, fields: Sequence[str]) -> list[tuple[int, int, int, list[bytes], list[int]]]:
    """The rows of a statement whose columns are size, first and last stamp, and `aggregates`: these three, the columns, and
    the number of NULLs in each. COPY sends bytes as they are; a plain answer would send two letters for each."""
    out = io.BytesIO()
    cursor.copy_expert(f"COPY ({statement}) TO STDOUT (FORMAT binary)", out, 1 << 16)
    found = []
    for size, first, last, *rest in _rows(out.getbuffer()):
        counts = iter(rest[len(fields) :])
        nulls = [_number(next(counts)) if name in NULLABLE else 0 for name in fields]
        found.append((_number(size), _number(first), _number(last), rest[: len(fields)], nulls))
    return found


def _rows(answer: memoryview) -> Iterator[list[bytes]]:
    """The values of each row of COPY in binary; none of them is NULL."""
    at = _HEADER_BYTES
    while True:
        (count,) = struct.unpack_from("!h", answer, at)
        if count == _END:
            return
        at, row = at + 2, []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", answer, at)
            row.append(bytes(answer[at + 4 : at + 4 + length]))
            at += 4 + length
        yield row


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)
