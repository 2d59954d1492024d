"""Rows of a file of bars as they are written, and how a file is refused."""

from collections.abc import Sequence
from typing import NamedTuple

TIME_COLUMNS = ("timestamp_utc", "timestamp")
PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS_WANTED = f"{' or '.join(TIME_COLUMNS)}, {', '.join(PRICE_COLUMNS)} and perhaps volume"
TIME_WANTED = "2026-03-03 15:00:00 (UTC), 2026-03-03T15:00:00Z or with an offset"
NUMBER_WANTED = "a number such as 100.25"


class BadFile(ValueError):
    """A file that cannot be read as one-minute bars; the text is one line for its owner."""


class Row(NamedTuple):
    """One row as it is written: `line` counts from 1 at the header; cells are stripped text, "" where there is none."""

    line: int
    time: str
    prices: tuple[str, ...]  # open, high, low, close
    volume: str


class Table(NamedTuple):
    """Rows of one file, and what their columns are called there."""

    name: str
    time_column: str
    rows: Sequence[Row]

    def refusal(self, row: Row, column: str, value: str, problem: str, wanted: str) -> BadFile:
        return BadFile(f"{self.name}, row {row.line}, column {column}: {short(value)} {problem}; wanted is {wanted}")


def short(text: str, *, quoted: bool = True) -> str:
    """As much of a value as fits into a line."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    return repr(cut) if quoted else cut
