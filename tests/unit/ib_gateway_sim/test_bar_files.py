"""Files of one-minute bars: every way to write the same bars is read alike; every other file is refused in one line."""

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.replayed.bar_files import read_bars
from ib_gateway_sim.market.replayed.bar_table import BadFile

CASES = Path(__file__).parents[4] / "shared" / "cases"
HEADER = ("timestamp", "open", "high", "low", "close", "volume")
ROWS = [
    (
        f"2026-03-03 15:0{n}:00",
        f"{100 + n / 10:.2f}",
        f"{100.2 + n / 10:.2f}",
        f"{99.9 + n / 10:.2f}",
        "100.15",
        f"{1000 + n}",
    )
    for n in range(3)
]


def text_of(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER, separator: str = ",") -> str:
    return "\n".join(separator.join(row) for row in (header, *rows)) + "\n"


def read(text: str | bytes, name: str = "bars.csv", **options: str | bool) -> list[Bar]:
    content = text if isinstance(text, bytes) else text.encode()
    return read_bars(name, content, **options)  # type: ignore[arg-type]


def changed(row: int, column: str, value: str) -> str:
    """The file with one cell changed; `row` as people count, 1 is the header."""
    rows = [list(one) for one in ROWS]
    rows[row - 2][HEADER.index(column)] = value
    return text_of(rows)


TEXT = text_of(ROWS)
BARS = read(TEXT)


def test_the_bars_are_those_of_the_file() -> None:
    three = int(datetime(2026, 3, 3, 15, tzinfo=UTC).timestamp())
    assert [tuple(bar) for bar in BARS] == [
        (three, 100.0, 100.2, 99.9, 100.15, 1000, -1, -1),
        (three + 60, 100.1, 100.3, 100.0, 100.15, 1001, -1, -1),
        (three + 120, 100.2, 100.4, 100.1, 100.15, 1002, -1, -1),
    ]


@pytest.mark.parametrize(
    "content",
    [
        text_of(ROWS[::-1]),
        text_of([ROWS[1], ROWS[2], ROWS[0]]),
        text_of([row[::-1] for row in ROWS], HEADER[::-1]),
        text_of(ROWS, [name.upper() for name in HEADER]),
        text_of(ROWS, [f'"{name.title()}"' for name in HEADER]),
        text_of(ROWS, [f" {name} " for name in HEADER]),
        text_of([(*row, "x") for row in ROWS], (*HEADER, "note")),
        text_of([("2026-03-03 10:00:00", *row) for row in ROWS], ("timestamp", "timestamp_utc", *HEADER[1:])),
        text_of(ROWS, separator=";"),
        text_of(ROWS, separator="\t"),
        text_of(ROWS, separator="|"),
        text_of(ROWS, separator=", "),
        text_of([[f'"{cell}"' for cell in row] for row in ROWS]),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.replace("\n", "\n\n") + ",,,,,\n",
        TEXT.replace("\n", ",\n"),
        TEXT.replace(" 15", "T15").replace(":00,", ":00Z,"),
        TEXT.replace(":00,", ":00+00:00,"),
        TEXT.replace(" 15:", "T16:").replace(":00,", ":00+0100,"),
        TEXT.replace(":00,", ":00.000,"),
        TEXT.replace(":00,", ","),
        TEXT.replace("1000", "1e3").replace("100.15", "1.0015e2"),
        text_of([(*row[:5], f'"1,{row[5][1:]}"') for row in ROWS]),
        text_of([(*row[:5], f'"1,{row[5][1:]}.0"') for row in ROWS]),
        text_of([[cell.replace(".", ",") for cell in row] for row in ROWS], separator=";"),
        text_of([(*(cell.replace(".", ",") for cell in row[:5]), f"1.{row[5][1:]}") for row in ROWS], separator=";"),
        text_of([[f'"{cell.replace(".", ",")}"' for cell in row] for row in ROWS]),
    ],
)
def test_the_same_bars_may_be_written_in_many_ways(content: str) -> None:
    assert read(content) == BARS


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (TEXT.encode("utf-8-sig"), "bars.csv"),
        (TEXT.encode("utf-16"), "bars.csv"),
        (TEXT.encode("utf-16-le"), "bars.csv"),
        (TEXT.encode("utf-16-be"), "bars.csv"),
        (TEXT.encode("utf-32"), "bars.csv"),
        (text_of([(*row, "Börse") for row in ROWS], (*HEADER, "Währung")).encode("latin-1"), "bars.csv"),
        (gzip.compress(TEXT.encode(), mtime=0), "bars.csv.gz"),
        (gzip.compress(TEXT.encode("utf-16"), mtime=0), "BARS.CSV.GZ"),
        (gzip.compress(TEXT.encode(), mtime=0), "bars.csv"),
    ],
)
def test_the_same_bars_may_be_packed_in_many_ways(content: bytes, name: str) -> None:
    assert read(content, name) == BARS


def test_the_stamp_of_a_close_is_a_minute_after_the_open() -> None:
    assert [bar.t for bar in read(TEXT, stamp="close")] == [bar.t - 60 for bar in BARS]


def test_a_volume_may_be_unknown_and_a_price_negative() -> None:
    assert [bar.volume for bar in read(changed(3, "volume", ""))] == [1000, -1, 1002]
    negative = text_of([(row[0], "-37.5", "-37", "-38.63", "-37.5", "0.25") for row in ROWS])
    assert read(negative)[0][1:6] == (-37.5, -37.0, -38.63, -37.5, 0.25)


# ---- times of a place ------------------------------------------------------------------------------------------------


def at(rows: Sequence[str], **options: str) -> list[str]:
    lines = [(row, "10", "11", "9", "10", "1") for row in rows]
    return [f"{datetime.fromtimestamp(bar.t, UTC):%d %H:%M}" for bar in read(text_of(lines), **options)]


def test_times_without_a_zone_are_of_the_zone_that_is_named() -> None:
    assert at(["2026-03-03 10:00", "2026-03-03 10:01"], zone="America/New_York") == ["03 15:00", "03 15:01"]
    assert at(["2026-03-09 10:00", "2026-03-09 10:01"], zone="America/New_York") == ["09 14:00", "09 14:01"]
    assert at(["2026-03-03 10:00Z", "2026-03-03 10:01Z"], zone="America/New_York") == ["03 10:00", "03 10:01"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_hour_that_clocks_repeat_is_there_twice(order: int) -> None:
    rows = [f"2026-11-01 {hour}" for hour in ("00:59", "01:00", "01:59", "01:00", "01:01", "01:59", "02:00")]
    there = ["01 04:59", "01 05:00", "01 05:59", "01 06:00", "01 06:01", "01 06:59", "01 07:00"]
    assert at(rows[::order], zone="America/New_York") == there


def test_a_time_that_clocks_jump_over_is_refused() -> None:
    with pytest.raises(
        BadFile, match=r"row 3, column timestamp: '2026-03-08 02:30' does not exist in America/New_York"
    ):
        at(["2026-03-08 01:59", "2026-03-08 02:30"], zone="America/New_York")


def test_a_column_named_utc_is_utc() -> None:
    utc = text_of(ROWS, ("timestamp_utc", *HEADER[1:]))
    assert read(utc, zone="UTC") == BARS
    with pytest.raises(BadFile, match=r"column timestamp_utc are UTC, not Asia/Tokyo"):
        read(utc, zone="Asia/Tokyo")


# ---- refusals --------------------------------------------------------------------------------------------------------


def refusal(content: str | bytes, name: str = "bars.csv", **options: str | bool) -> str:
    with pytest.raises(BadFile) as refused:
        read(content, name, **options)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("row", "column", "value", "problem"),
    [
        (3, "open", "NaN", "is no number"),
        (2, "open", "", "is empty"),
        (3, "high", "inf", "is no number"),
        (3, "high", "1_000", "is no number"),
        (3, "high", "١٠١", "is no number"),
        (3, "high", "$101", "is no number"),
        (3, "high", "1e400", "is too large"),
        (3, "high", "1e13", "is too large"),
        (4, "low", "-inf", "is no number"),
        (4, "low", "n/a", "is no number"),
        (4, "low", "0x10", "is no number"),
        (4, "close", "100.1.5", "is no number"),
        (3, "high", "99", "is below the low, '100.00'"),
        (3, "open", "99", "is below the low, '100.00'"),
        (3, "open", "101", "is above the high, '100.30'"),
        (4, "close", "0", "is below the low, '100.10'"),
        (4, "close", "1e3", "is above the high, '100.40'"),
        (4, "volume", "-5", "is below 0"),
        (4, "volume", "-1", "is below 0"),
        (4, "volume", "NaN", "is no number"),
        (4, "volume", "1e16", "is too large"),
        (3, "timestamp", "1772550000", "is a number (seconds since 1970?)"),
        (3, "timestamp", "1772550000000", "is a number (milliseconds since 1970?)"),
        (3, "timestamp", "1772550000000000", "is a number (microseconds since 1970?)"),
        (3, "timestamp", "1772550000000000000", "is a number (nanoseconds since 1970?)"),
        (3, "timestamp", "1711120512", "is a number (seconds since 1970?)"),
        (3, "timestamp", "1772550000.5", "is a number (seconds since 1970?)"),
        (3, "timestamp", "1.77255e9", "is a number"),
        (3, "timestamp", "20260303", "is a number"),
        (3, "timestamp", "2026-03-03", "is a date without a time of day"),
        (3, "timestamp", "03/03/2026 15:01", "is no time"),
        (3, "timestamp", "2026-02-30 15:01:00", "is no time"),
        (3, "timestamp", "2026-03-03 25:01:00", "is no time"),
        (3, "timestamp", "", "is empty"),
        (3, "timestamp", "NaT", "is no time"),
        (3, "timestamp", "2026-03-03 15:01:30", "is no whole minute"),
        (3, "timestamp", "2026-03-03 15:01:00.5", "is no whole minute"),
        (3, "timestamp", "1966-03-03 15:01:00", "is out of range"),
        (3, "timestamp", "9999-03-03 15:01:00", "is out of range"),
        (3, "timestamp", "2026-03-03 15:00:00", "is the time of row 2 too"),
        (3, "timestamp", "2026-03-03 15:01:00Z", "has a time zone, the time in row 2 has none"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_row_and_column(row: int, column: str, value: str, problem: str) -> None:
    message = refusal(changed(row, column, value))
    assert message.startswith(f"bars.csv, row {row}, column {column}: {value!r} {problem}")
    assert "; wanted is " in message


@pytest.mark.parametrize("price", ["0", "-0.01"])
def test_a_price_that_is_not_above_zero_is_refused_where_there_is_none(price: str) -> None:
    assert f"row 3, column low: {price!r} is no price" in refusal(changed(3, "low", price), positive=True)
    assert len(read(changed(3, "low", price))) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "bars.csv is empty"),
        (" \n\n", "bars.csv is empty"),
        (text_of([]), "bars.csv holds no bars"),
        (text_of([], separator=";").strip(), "bars.csv holds no bars"),
        (
            text_of(ROWS, ("when", *HEADER[1:])),
            "row 1: column timestamp_utc or timestamp is missing, the header is 'when",
        ),
        (text_of([row[:4] for row in ROWS], HEADER[:4]), "row 1: column close is missing"),
        ("\n".join(TEXT.splitlines()[1:]), "row 1: column timestamp_utc or timestamp is missing"),
        (text_of([(*row, "1") for row in ROWS], (*HEADER, "Close")), "row 1: column close is there twice"),
        (text_of([ROWS[0], ROWS[1][:3]]), "row 3, column low: the row ends before it, after '100.30'"),
        (text_of([ROWS[0], ROWS[1][:5]]), "row 3, column volume: the row ends before it"),
        (text_of([ROWS[0], (*ROWS[1][:5], "1,001.5")]), "row 3, column 7: '001.5' has no name in the header"),
        (text_of([ROWS[0], ("", "", *ROWS[1][2:])]), "row 3, column timestamp: '' is empty"),
        (text_of([(*row[:5], '"1,001"') for row in [("2026-03-03 15:00", "5", "5", "5", "5")]]), "may mean thousands"),
        (text_of([(row[0], '"100,15"', *row[2:]) for row in ROWS]), "has a decimal comma, and '100.20' in row 2 a"),
        (text_of([ROWS[0], ("2026-03-03 15:01", '"100.1', *ROWS[1][2:])]), "this is not CSV"),
        (TEXT.replace("100.30", "100\0.30"), "row 3 holds a NUL character"),
        (
            text_of([(f"2026-03-03 {hour}:00", *ROWS[0][1:]) for hour in (13, 14, 15)]),
            "column timestamp: '2026-03-03 14:00' opens",
        ),
        (
            text_of([(f"2026-03-03 15:{n:02}", *ROWS[0][1:]) for n in (0, 5, 10)]),
            "column timestamp: '2026-03-03 15:05' opens",
        ),
        (text_of([(f"2026-03-0{n} 00:00", *ROWS[0][1:]) for n in (2, 3, 6)]), "opens 1 day, 0:00:00 h after"),
        (  # IB's hours of a day of stocks: the first is half as long
            text_of(
                [(f"2026-03-03 {at}", *ROWS[0][1:]) for at in ("14:30", *(f"{hour}:00" for hour in range(15, 21)))]
            ),
            "column timestamp: '2026-03-03 15:00' opens",
        ),
        (
            text_of([(f"2026-03-03 {at}", *ROWS[0][1:]) for at in ("15:00", "15:05", "15:10", "15:15", "15:21")]),
            "column timestamp: '2026-03-03 15:05' opens",
        ),
    ],
)
def test_a_file_that_is_no_table_of_minutes_is_refused(content: str, problem: str) -> None:
    assert problem in refusal(content)


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (TEXT.encode(), "bars.csv.gz", "is named .gz and is not gzip"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "bars.csv.gz", "is damaged gzip"),
        (gzip.compress(TEXT.encode(), mtime=0)[:40], "bars.csv.gz", "is damaged gzip"),
        (gzip.compress(TEXT.encode(), mtime=0) + b"tail", "bars.csv.gz", "is damaged gzip"),
        (gzip.compress(b"", mtime=0), "bars.csv.gz", "is empty"),
        (b"", "bars.csv.gz", "is empty"),
        (b"PK\x03\x04" + bytes(50), "bars.csv", "is a ZIP archive or an Excel workbook"),
        (b"PAR1" + bytes(50), "bars.csv", "is Parquet"),
        (b"\xff\xfe\x41", "bars.csv", "is damaged utf-16 text"),
        (bytes(range(1, 256)), "bars.csv", "column timestamp_utc or timestamp is missing"),
    ],
)
def test_a_file_that_is_no_text_is_refused(content: bytes, name: str, problem: str) -> None:
    assert problem in refusal(content, name)


_JUNK = (
    "",
    ",",
    ";",
    "\t",
    '"',
    "\n",
    "\r",
    "\0",
    "NaN",
    "1e400",
    "-",
    ".",
    "1,2",
    "é",
    "\ufeff",
    "\u2028",
    "9" * 30,
    "+99:99",
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 6), st.sampled_from(_JUNK)), min_size=1, max_size=4),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
    st.sampled_from(["", "America/New_York"]),
)
def test_a_damaged_file_is_read_in_order_or_refused_in_one_line(
    damages: list[tuple[int, int, str]], encoding: str, zone: str
) -> None:
    text = TEXT
    for at, length, junk in damages:
        text = text[:at] + junk + text[at + length :]
    bars, sentence = [], ""
    try:
        bars = read(text.encode(encoding, "replace"), zone=zone)
    except BadFile as refused:
        sentence = str(refused)
    assert bool(bars) != bool(sentence)
    assert sentence == "" or (sentence.startswith("bars.csv") and sentence.isprintable())
    assert [bar.t for bar in bars] == sorted({bar.t for bar in bars})
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)


# ---- the files beside this checkout ----------------------------------------------------------------------------------


def case(name: str) -> bytes:
    if not (CASES / name).exists():
        pytest.skip(f"the small file {name} is not beside this checkout")
    return (CASES / name).read_bytes()


@pytest.mark.parametrize("name", ["newest-first.csv", "time-column-last.csv", "two-times.csv", "bom.csv"])
def test_files_of_the_same_bars_are_read_alike(name: str) -> None:
    assert read(case(name), name) == read(case("good.csv"), "good.csv")


def test_a_file_of_new_york_times_is_read_with_its_zone() -> None:
    name = "new-york-local.csv"
    assert read(case(name), name, zone="America/New_York") == read(case("good.csv"), "good.csv")


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("nan.csv", "nan.csv, row 5, column open: 'NaN'"),
        ("short-row.csv", "short-row.csv, row 5, column low: "),
        ("epoch-ms.csv", "epoch-ms.csv, row 2, column timestamp: '1772550000000'"),
        ("high-below-low.csv", "high-below-low.csv, row 5, column high: '100.20' is below the low, '100.50'"),
        (
            "hourly-as-minutes.csv",
            "hourly-as-minutes.csv, row 3, column timestamp: '2026-03-03 15:00:00' opens 1:00:00 h",
        ),
    ],
)
def test_bad_files_are_refused_by_row_column_and_value(name: str, begin: str) -> None:
    assert refusal(case(name), name).startswith(begin)
