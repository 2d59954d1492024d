"""Trades of Interactive Brokers as CSV (a Flex query of activity or of trade confirmations in that format): bytes in, rows out.

Such a file may hold several sections, each with a row of headings before it. Control rows (BOF, BOA, BOS, EOS, EOA, EOF, MSG)
may stand around them, and a mark (HEADER or DATA) with the code of the section before each row. Headings are compared without
case and signs: `Buy/Sell` and `BuySell` are one.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nautilus.portfolio.report_rows import (
    CASH_FIELDS,
    MAX_CELLS,
    MAX_ROWS,
    MAX_VALUE,
    SYNONYMS,
    TRADE_FIELDS,
    Section,
    SourceRow,
    Unreadable,
    require_size,
)

_CONTROL = frozenset({"BOF", "BOA", "BOS", "EOS", "EOA", "EOF", "MSG"})
_ACCOUNT = frozenset({"clientaccountid", "accountid"})
# Headings that are not the attribute's own name.
_HEADINGS: Mapping[str, str] = {
    "clientaccountid": "accountId",
    "currencyprimary": "currency",
    "assetclass": "assetCategory",
    "notescodes": "notes",
}


class _Table(NamedTuple):
    """The section whose rows follow. section: None for one that is not read. columns: field -> where it stands. names: field
    -> its heading in the file. width: how many cells a row has."""

    section: Section | None
    columns: Mapping[str, int]
    names: Mapping[str, str]
    width: int


def read_confirmations(raw: bytes) -> list[SourceRow]:
    """The rows of trades, and of cash transactions where there are some, in their order. Unreadable: no such file."""
    require_size(raw)
    rows: list[SourceRow] = []
    table: _Table | None = None
    trades = False
    for line, cells in _lines(_text(raw)):
        if cells[0].strip().upper() in _CONTROL:
            continue
        if _is_heading(cells):
            table = _table(line, cells)
            trades = trades or table.section == "trade"
        elif table is None:
            raise Unreadable(
                "the file does not begin with headings: a row with ClientAccountID and IBExecID among them is expected",
                line=line,
                field="heading",
                value=",".join(cells),
            )
        elif table.section is not None:
            rows.append(_row(line, cells, table, table.section))
            if len(rows) > MAX_ROWS:
                raise Unreadable(f"the file has more than {MAX_ROWS:,} rows", line=line)
    if not trades and not rows:
        raise Unreadable(
            "the file has no table of trades: one with the headings ClientAccountID, Conid, IBExecID and Quantity is expected",
            field="heading",
        )
    return rows


def _text(raw: bytes) -> str:
    if b"\x00" in raw:
        raise Unreadable("the file holds a null byte", line=raw[: raw.index(b"\x00")].count(b"\n") + 1)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise Unreadable("the file is not in UTF-8", line=raw[: wrong.start].count(b"\n") + 1) from None


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as wrong:
            raise Unreadable(f"the file is no CSV: {wrong}", line=line) from None
        if len(cells) > MAX_CELLS or any(len(cell) > MAX_VALUE for cell in cells):
            raise Unreadable(
                f"a row has more than {MAX_CELLS} cells, or a cell more than {MAX_VALUE:,} characters", line=line
            )
        if any(cell.strip() for cell in cells):
            yield line, cells


def _plain(heading: str) -> str:
    return re.sub(r"[^a-z0-9]", "", heading.lower())


_FIELDS: Mapping[str, str] = {
    **{_plain(field): field for field in (*TRADE_FIELDS, *CASH_FIELDS)},
    **{_plain(name): field for name, field in SYNONYMS.items()},
    **_HEADINGS,
}


def _is_heading(cells: Sequence[str]) -> bool:
    return any("account" in cell.lower() and _plain(cell) in _ACCOUNT for cell in cells)


def _table(line: int, cells: Sequence[str]) -> _Table:
    plain = {_plain(cell) for cell in cells}
    section: Section | None = None
    if {"conid", "quantity", "buysell"} <= plain and plain & {"tradeprice", "price"}:
        section = "trade"
        if not plain & {"ibexecid", "execid"}:
            raise Unreadable(
                "the table of trades has no column IBExecID (in trade confirmations ExecID): add it to the query",
                line=line,
                field="IBExecID",
            )
    elif {"amount", "type", "transactionid"} <= plain:
        section = "cash"
    columns: dict[str, int] = {}
    for at, cell in enumerate(cells):
        field = _FIELDS.get(_plain(cell))
        if field is None:
            continue
        if field in columns and section is not None:
            raise Unreadable(
                "a table has two columns of one meaning", line=line, field=cell, value=cells[columns[field]]
            )
        columns[field] = at
    return _Table(section, columns, {field: cells[at].strip() for field, at in columns.items()}, len(cells))


def _row(line: int, cells: Sequence[str], table: _Table, section: Section) -> SourceRow:
    """A row with too few or too many cells keeps none of them: nobody knows which is missing."""
    whole = len(cells) == table.width
    values = {field: cells[at] for field, at in table.columns.items()} if whole else {}
    return SourceRow(line, section, values, table.names)
