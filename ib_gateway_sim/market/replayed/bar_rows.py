"""Bytes to rows: CSV in several encodings, plain or packed, and Parquet."""

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from ib_gateway_sim.market.replayed.bar_table import (
    COLUMNS_WANTED,
    PRICE_COLUMNS,
    TIME_COLUMNS,
    BadFile,
    Row,
    Table,
    short,
)

_SEPARATORS = ",;\t|"
# What is no text, by its first bytes.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": "Parquet: its name must end in .parquet",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}


def csv_table(name: str, content: bytes) -> Table:
    text = _text(name, _unpacked(name, content))
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise BadFile(f"{name} is empty: wanted is a header with the columns {COLUMNS_WANTED}, and a row for each bar")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(first), skipinitialspace=True, strict=True)
    lines = _lines(name, reader)
    header_line, header = next(lines)
    columns = _columns(f"{name}, row {header_line}", header)
    return Table(name, _time_column(columns), [_row(name, header, columns, *line) for line in lines])


def _lines(name: str, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Number and stripped cells of each line that is not blank."""
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped  # type: ignore[attr-defined]
    except csv.Error as error:
        line = reader.line_num  # type: ignore[attr-defined]
        raise BadFile(f"{name}, row {line}: this is not CSV ({error}); wanted is a quote that is closed") from None


def parquet_table(name: str, content: bytes) -> Table:
    try:
        import pyarrow.parquet  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise BadFile(f"{name}: Parquet needs pyarrow; install it, or give the bars as CSV") from error
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise BadFile(f"{name} is not Parquet ({short(str(error))})") from None
    header = [str(column) for column in table.column_names]
    columns = _columns(name, header)
    values = [[_parquet_text(value) for value in column.to_pylist()] for column in table.columns]
    rows = [_row(name, header, columns, n, list(cells)) for n, cells in enumerate(zip(*values, strict=True), 1)]
    return Table(name, _time_column(columns), rows)


def _parquet_text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat(" ") if isinstance(value, datetime) else str(value).strip()


def _unpacked(name: str, content: bytes) -> bytes:
    packed = content.startswith(b"\x1f\x8b")
    if name.lower().endswith(".gz") and content and not packed:
        raise BadFile(f"{name} is named .gz and is not gzip (it begins with {content[:8]!r}); wanted is gzip, or .csv")
    try:
        content = gzip.decompress(content) if packed else content
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{name} is damaged gzip ({short(str(error))}); wanted is the whole file") from None
    for magic, what in _OTHER_FORMATS.items():
        if content.startswith(magic):
            raise BadFile(f"{name} is {what}; wanted is CSV, CSV packed with gzip, or Parquet")
    return content


def _text(name: str, content: bytes) -> str:
    codec = _encoding(content)
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        raise BadFile(f"{name} is damaged {codec} text ({error.reason} at byte {error.start})") from None
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise BadFile(f"{name}, row {line} holds a NUL character; wanted is text, a row for each bar")
    return text


def _encoding(content: bytes) -> str:
    """By the byte order mark; without one UTF-16 shows by its zero bytes, and what is not UTF-8 is Latin-1."""
    marks = (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    )
    for mark, codec in marks:
        if content.startswith(mark):
            return codec
    head = content[:400]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) // 4:
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _separator(header: str) -> str:
    """What stands between the fields: whatever makes most of the header's names."""
    return max(_SEPARATORS, key=lambda mark: len(_known(header.split(mark))) * 1000 + header.count(mark))


def _known(header: Iterable[str]) -> list[str]:
    names = (_column_name(cell) for cell in header)
    return [name for name in names if name in (*TIME_COLUMNS, *PRICE_COLUMNS, "volume")]


def _column_name(cell: str) -> str:
    return cell.strip().strip("\"'").strip().lower()


def _columns(where: str, header: Sequence[str]) -> dict[str, int]:
    """Name -> position of the columns that are read. BadFile when one is missing or there twice."""
    known = _known(header)
    names = [_column_name(cell) for cell in header]
    listed = short(", ".join(header), quoted=False)
    missing = [name for name in PRICE_COLUMNS if name not in known]
    if not any(name in known for name in TIME_COLUMNS):
        missing.insert(0, " or ".join(TIME_COLUMNS))
    if missing:
        raise BadFile(f"{where}: column {missing[0]} is missing, the header is {listed!r}; wanted are {COLUMNS_WANTED}")
    twice = next((name for name, count in Counter(known).items() if count > 1), "")
    if twice:
        raise BadFile(f"{where}: column {twice} is there twice, the header is {listed!r}; wanted is one of each")
    return {name: names.index(name) for name in known}


def _time_column(columns: dict[str, int]) -> str:
    return next(name for name in TIME_COLUMNS if name in columns)


def _row(name: str, header: Sequence[str], columns: dict[str, int], line: int, cells: list[str]) -> Row:
    absent = [column for column, n in sorted(columns.items(), key=lambda item: item[1]) if n >= len(cells)]
    if absent:
        raise BadFile(
            f"{name}, row {line}, column {absent[0]}: the row ends before it, after {short(cells[-1])}; "
            f"wanted are {len(header)} fields as in the header, here are {len(cells)}"
        )
    beyond = next((n for n, cell in enumerate(cells) if n >= len(header) and cell), None)
    if beyond is not None:
        raise BadFile(
            f"{name}, row {line}, column {beyond + 1}: {short(cells[beyond])} has no name in the header; wanted are "
            f"{len(header)} fields, here are {len(cells)} (a number that holds the separator needs quotes)"
        )
    prices = tuple(cells[columns[column]] for column in PRICE_COLUMNS)
    volume = cells[columns["volume"]] if "volume" in columns else ""
    return Row(line, cells[columns[_time_column(columns)]], prices, volume)
