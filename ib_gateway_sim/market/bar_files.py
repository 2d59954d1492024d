"""Files of one-minute bars: bytes in, bars out, or one line that says which row, column and value is wrong.

CSV (comma, semicolon, tab or | between the fields; UTF-8, UTF-16 or Latin-1; plain or gzip) or Parquet where pyarrow is
installed. Columns, in any order and case: timestamp_utc or timestamp, open, high, low, close and perhaps volume.

Nothing is guessed: what can be read in two ways is refused, and so is what cannot be a bar of one minute.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import chain, pairwise
from math import gcd, isfinite
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ib_gateway_sim.market.bars import Bar

MINUTE_S = 60
STAMPS = ("open", "close")
TIME_COLUMNS = ("timestamp_utc", "timestamp")
PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS_WANTED = f"{' or '.join(TIME_COLUMNS)}, {', '.join(PRICE_COLUMNS)} and perhaps volume"
TIME_WANTED = "2026-03-03 15:00:00 (UTC), 2026-03-03T15:00:00Z or with an offset"
NUMBER_WANTED = "a number such as 100.25"
_SEPARATORS = ",;\t|"
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # nanoseconds fit into 64 bits
_MOST_PRICE, _MOST_VOLUME = 1e12, 1e15  # beyond these a float no longer tells one cent, or one share, from the next
_PAUSE_S = 30 * 60
_TIME = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[ T][0-9]{2}:?[0-9]{2}(:?[0-9]{2}([.,][0-9]+)?)?(?P<zone>Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MARKED = re.compile(r"[+-]?[0-9.,]*[0-9][0-9.,]*")
# Thousands in groups, and the other mark, if any, before the fraction.
_GROUPED = {
    ".": re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?"),
    ",": re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?:,[0-9]*)?"),
}
# What is no text, by its first bytes.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": "Parquet: its name must end in .parquet",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}


class BadFile(ValueError):
    """A file that cannot be read as one-minute bars; the text is one line for its owner."""


class Row(NamedTuple):
    """One row as it is written: `line` counts from 1 at the header; cells are stripped text, "" where there is none."""

    line: int
    time: str
    prices: tuple[str, ...]  # open, high, low, close
    volume: str


class _Table(NamedTuple):
    """Rows of one file, and what their columns are called there."""

    name: str
    time_column: str
    rows: Sequence[Row]

    def refusal(self, row: Row, column: str, value: str, problem: str, wanted: str) -> BadFile:
        return BadFile(f"{self.name}, row {row.line}, column {column}: {_short(value)} {problem}; wanted is {wanted}")


def read_bars(name: str, content: bytes, *, stamp: str = "open", zone: str = "", positive: bool = False) -> list[Bar]:
    """The bars of a file, oldest first, `t` the open in epoch seconds; wap and count are -1, volume where there is none.

    name: the file's name, whose ending (.csv, .csv.gz, .parquet) says how to read it. stamp: whether its times are the
    bars' open or close. zone: of times without one (IANA name; empty: UTC). positive: refuse prices of zero and less.
    BadFile with one line that names file, row, column, value and what is wanted.
    """
    table = _parquet_table(name, content) if name.lower().endswith(".parquet") else _csv_table(name, content)
    if not table.rows:
        raise BadFile(f"{name} holds no bars: there is no row below the header")
    mark = _decimal_mark(table)
    back_s = MINUTE_S if stamp == "close" else 0
    times = _times(table, zone)
    bars = [_bar(table, row, at - back_s, mark, positive) for row, at in zip(table.rows, times, strict=True)]
    row_of = _distinct(table, bars)
    bars.sort()
    _check_step(table, bars, row_of)
    return bars


# ---- bytes to rows ---------------------------------------------------------------------------------------------------


def _csv_table(name: str, content: bytes) -> _Table:
    text = _text(name, _unpacked(name, content))
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise BadFile(f"{name} is empty: wanted is a header with the columns {COLUMNS_WANTED}, and a row for each bar")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(first), skipinitialspace=True, strict=True)
    lines = _lines(name, reader)
    header_line, header = next(lines)
    columns = _columns(f"{name}, row {header_line}", header)
    return _Table(name, _time_column(columns), [_row(name, header, columns, *line) for line in lines])


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


def _parquet_table(name: str, content: bytes) -> _Table:
    try:
        import pyarrow.parquet  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise BadFile(f"{name}: Parquet needs pyarrow; install it, or give the bars as CSV") from error
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise BadFile(f"{name} is not Parquet ({_short(str(error))})") from None
    header = [str(column) for column in table.column_names]
    columns = _columns(name, header)
    values = [[_parquet_text(value) for value in column.to_pylist()] for column in table.columns]
    rows = [_row(name, header, columns, n, list(cells)) for n, cells in enumerate(zip(*values, strict=True), 1)]
    return _Table(name, _time_column(columns), rows)


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
        raise BadFile(f"{name} is damaged gzip ({_short(str(error))}); wanted is the whole file") from None
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
    listed = _short(", ".join(header), quoted=False)
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
            f"{name}, row {line}, column {absent[0]}: the row ends before it, after {_short(cells[-1])}; "
            f"wanted are {len(header)} fields as in the header, here are {len(cells)}"
        )
    beyond = next((n for n, cell in enumerate(cells) if n >= len(header) and cell), None)
    if beyond is not None:
        raise BadFile(
            f"{name}, row {line}, column {beyond + 1}: {_short(cells[beyond])} has no name in the header; wanted are "
            f"{len(header)} fields, here are {len(cells)} (a number that holds the separator needs quotes)"
        )
    prices = tuple(cells[columns[column]] for column in PRICE_COLUMNS)
    volume = cells[columns["volume"]] if "volume" in columns else ""
    return Row(line, cells[columns[_time_column(columns)]], prices, volume)


# ---- times -----------------------------------------------------------------------------------------------------------


def _times(table: _Table, zone: str) -> list[int]:
    """Epoch seconds of the rows' times."""
    moments = [_moment(table, row) for row in table.rows]
    zoned = moments[0].tzinfo is not None
    for row, when in zip(table.rows, moments, strict=True):
        if (when.tzinfo is not None) != zoned:
            problem = f"has {'no' if zoned else 'a'} time zone, the time in row {table.rows[0].line} has "
            problem += "one" if zoned else "none"
            raise table.refusal(row, table.time_column, row.time, problem, "a zone in every row or in none")
    if zoned:
        return [int(when.timestamp()) for when in moments]
    if table.time_column == "timestamp_utc" and zone not in ("", "UTC"):
        raise BadFile(
            f"{table.name}: the times of column timestamp_utc are UTC, not {zone}; wanted is no zone, or the name timestamp"
        )
    if zone in ("", "UTC"):
        return [int(when.replace(tzinfo=UTC).timestamp()) for when in moments]
    return _local_times(table, moments, ZoneInfo(zone))


def _moment(table: _Table, row: Row) -> datetime:
    """The time of a row as written, with a zone or without."""
    text = row.time
    found = _TIME.fullmatch(text)
    try:
        when = datetime.fromisoformat(text) if found else None
    except ValueError:
        when = None
    if when is None:
        raise table.refusal(row, table.time_column, text, _not_a_time(text), f"a time such as {TIME_WANTED}")
    if when.second or when.microsecond:
        raise table.refusal(row, table.time_column, text, "is no whole minute", "the open or close of a one-minute bar")
    if not _EARLIEST <= (when if when.tzinfo else when.replace(tzinfo=UTC)) < _LATEST:
        raise table.refusal(row, table.time_column, text, "is out of range", "a time from 1970-01-02 to 2199-12-31")
    return when


def _not_a_time(text: str) -> str:
    """Why it is none: a count since 1970, which has no unit of its own, is told apart by its length."""
    if re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", text):
        digits = len(text.lstrip("-").partition(".")[0])
        units = {10: "seconds", 13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}
        return f"is a number ({units[digits]} since 1970?)" if digits in units else "is a number"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return "is a date without a time of day"
    return "is no time" if text else "is empty"


def _local_times(table: _Table, moments: Sequence[datetime], zone: tzinfo) -> list[int]:
    """Times of a place that changes its clocks. The hour that it repeats is told apart by the order of the rows."""
    newest_first = moments[0] > moments[-1]
    result: list[int] = []
    before: int | None = None
    for row, when in zip(table.rows, moments, strict=True):
        early, late = (int(when.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
        if datetime.fromtimestamp(early, zone).replace(tzinfo=None) != when:
            problem = f"does not exist in {zone}: the clocks jump over it"
            raise table.refusal(row, table.time_column, row.time, problem, "a time that its clocks show")
        if early != late and before is not None:
            at = (late if late < before else early) if newest_first else (early if early > before else late)
        else:
            at = late if newest_first else early
        result.append(at)
        before = at
    return result


def _distinct(table: _Table, bars: Sequence[Bar]) -> dict[int, Row]:
    """Open of each bar -> its row. BadFile when two bars have one open."""
    row_of: dict[int, Row] = {}
    for row, bar in zip(table.rows, bars, strict=True):
        if bar.t in row_of:
            problem = f"is the time of row {row_of[bar.t].line} too"
            raise table.refusal(row, table.time_column, row.time, problem, "one bar for each minute")
        row_of[bar.t] = row
    return row_of


def _check_step(table: _Table, bars: Sequence[Bar], row_of: dict[int, Row]) -> None:
    """Refuse bars of more than a minute, which would be served as minutes: all lie a multiple of more than a minute apart,
    and that multiple occurs twice; or most lie equally far apart, and none a minute; or no two lie within half an hour."""
    if len(bars) < 3:
        return
    steps = Counter(following.t - one.t for one, following in pairwise(bars))
    step_s, least_s, (_, most) = gcd(*steps), min(steps), steps.most_common(1)[0]
    usual = most > 2 and 2 * most > steps.total()
    if steps[step_s] < 2 and least_s <= _PAUSE_S and not usual:
        return
    if least_s > MINUTE_S:
        second = next(following for one, following in pairwise(bars) if following.t - one.t == least_s)
        row = row_of[second.t]
        problem = f"opens {timedelta(seconds=least_s)} h after the bar before, and no two bars of the file lie closer"
        raise table.refusal(row, table.time_column, row.time, problem, "bars of one minute")


# ---- numbers ---------------------------------------------------------------------------------------------------------


def _decimal_mark(table: _Table) -> str:
    """What stands before the fraction, "." or ",": numbers show it that can be read in one way only."""
    with_comma = False
    shown: dict[str, tuple[Row, str, str]] = {}
    for row in table.rows:
        for column, text in _numbers(row):
            if not _MARKED.fullmatch(text):
                continue
            with_comma = with_comma or "," in text
            for mark, other in ((".", ","), (",", ".")):
                if mark not in shown and mark in text and not _GROUPED[other].fullmatch(text):
                    shown[mark] = (row, column, text)
    if not with_comma:
        return "."
    if len(shown) == 1:
        return next(iter(shown))
    if shown:
        row, column, text = shown[","]
        dotted = shown["."]
        problem = f"has a decimal comma, and {_short(dotted[2])} in row {dotted[0].line} a decimal point"
        raise table.refusal(row, column, text, problem, NUMBER_WANTED)
    cells = ((row, *cell) for row in table.rows for cell in _numbers(row))
    row, column, text = next(cell for cell in cells if "," in cell[2] and _MARKED.fullmatch(cell[2]))
    raise table.refusal(row, column, text, "may mean thousands or a fraction", f"{NUMBER_WANTED}, without a comma")


def _numbers(row: Row) -> Iterator[tuple[str, str]]:
    return chain(zip(PRICE_COLUMNS, row.prices, strict=True), (("volume", row.volume),))


def _bar(table: _Table, row: Row, at_s: int, mark: str, positive: bool) -> Bar:
    prices = [
        _number(table, row, column, text, mark, _MOST_PRICE)
        for column, text in zip(PRICE_COLUMNS, row.prices, strict=True)
    ]
    for column, price, text in zip(PRICE_COLUMNS, prices, row.prices, strict=True):
        if positive and price <= 0:
            raise table.refusal(row, column, text, "is no price of such an instrument", "a number above 0")
    _check_range(table, row, prices)
    volume = _number(table, row, "volume", row.volume, mark, _MOST_VOLUME) if row.volume else -1.0
    if row.volume and volume < 0:
        raise table.refusal(row, "volume", row.volume, "is below 0", "0 or more, or nothing where it is not known")
    opened, high, low, close = prices
    return Bar(at_s, opened, high, low, close, int(volume) if volume.is_integer() else volume, -1, -1)


def _check_range(table: _Table, row: Row, prices: Sequence[float]) -> None:
    """Refuse a high below the low, and an open or close outside of both."""
    opened, high, low, close = prices
    texts = dict(zip(PRICE_COLUMNS, row.prices, strict=True))
    if high < low:
        problem = f"is below the low, {_short(texts['low'])}"
        raise table.refusal(row, "high", texts["high"], problem, "a high that is not below the low")
    for column, price in (("open", opened), ("close", close)):
        if not low <= price <= high:
            edge = "high" if price > high else "low"
            problem = f"is {'above' if price > high else 'below'} the {edge}, {_short(texts[edge])}"
            raise table.refusal(row, column, texts[column], problem, "a price from low to high")


def _number(table: _Table, row: Row, column: str, text: str, mark: str, most: float) -> float:
    other = "," if mark == "." else "."
    plain = text.replace(other, "") if other in text and _GROUPED[mark].fullmatch(text) else text
    plain = plain.replace(",", ".") if mark == "," and "." not in plain else plain
    if not _NUMBER.fullmatch(plain):
        raise table.refusal(row, column, text, "is no number" if text else "is empty", NUMBER_WANTED)
    number = float(plain)
    if not isfinite(number) or abs(number) > most:
        raise table.refusal(row, column, text, "is too large", f"a number of at most {most:g}")
    return number


def _short(text: str, *, quoted: bool = True) -> str:
    """As much of a value as fits into a line."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    return repr(cut) if quoted else cut
