"""A Flex query of Interactive Brokers (XML): bytes in, rows out.

The rows are attributes of elements `Trade` (activity), `TradeConfirm` (trade confirmations) and `CashTransaction`; each may
lack any attribute, as who makes the query selects them. Element and attribute names: IB's reporting guide, sections Trades,
Trade Confirmations and Cash Transactions. Orders, lots and summaries are elements of other names, and are left out.

A document with a DTD is refused, and with it every entity of its own: neither a nested nor an external one is ever read.
"""

from collections.abc import Mapping
from typing import NoReturn
from xml.parsers import expat

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

_ROOT, _STATEMENTS, _STATEMENT = "FlexQueryResponse", "FlexStatements", "FlexStatement"
_TRADES = frozenset({"Trade", "TradeConfirm"})
_CASH = "CashTransaction"
_DEEPEST = 12
_ENCODINGS = ("utf-8", "us-ascii", "iso-8859-1", "utf-16")
"""Those that expat knows by itself."""
_MOST_ELEMENTS = 1_000_000


def read_flex(raw: bytes) -> list[SourceRow]:
    """The rows of all statements of a Flex query, in their order. Unreadable: no such document, or none that may be read."""
    require_size(raw)
    return _Reader().read(raw)


class _Reader:
    """One pass over one document."""

    def __init__(self) -> None:
        self._rows: list[SourceRow] = []
        self._open: list[str] = []
        self._elements = self._statements = 0
        self._expected: int | None = None
        self._account = ""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse_dtd
        parser.EntityDeclHandler = self._refuse_dtd
        parser.ExternalEntityRefHandler = self._refuse_dtd
        parser.XmlDeclHandler = self._declared
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.buffer_text = True
        self._parser = parser

    def read(self, raw: bytes) -> list[SourceRow]:
        try:
            self._parser.Parse(raw, True)
        except expat.ExpatError as wrong:
            raise Unreadable(
                f"the file is no whole XML document: {expat.ErrorString(wrong.code)}", line=wrong.lineno
            ) from None
        except (LookupError, ValueError) as wrong:  # an encoding that Python does not have, or that is no text
            raise Unreadable(f"the file is in an encoding that cannot be read: {wrong}") from None
        if self._expected is not None and self._expected != self._statements:
            raise Unreadable(
                f"the file announces {self._expected} statements and holds {self._statements}: it is not whole",
                field=f"{_STATEMENTS} count",
                value=str(self._expected),
            )
        return self._rows

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            self._refuse(
                f"the document is in an encoding that is not read: {', '.join(_ENCODINGS)} are", value=encoding
            )

    def _begin(self, name: str, values: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > _MOST_ELEMENTS or len(self._open) >= _DEEPEST:
            self._refuse(
                f"the document has more than {_MOST_ELEMENTS:,} elements, or more than {_DEEPEST} in each other"
            )
        if not self._open and name != _ROOT:
            self._refuse(f"the root of a Flex query is {_ROOT}; this document begins with another element", value=name)
        self._open.append(name)
        if name == _STATEMENTS:
            self._expected = _count(values.get("count", ""))
        elif name == _STATEMENT:
            self._statements += 1
            self._account = values.get("accountId", "")
        elif name in _TRADES:
            self._add("trade", values, TRADE_FIELDS)
        elif name == _CASH:
            self._add("cash", values, CASH_FIELDS)

    def _end(self, name: str) -> None:
        self._open.pop()
        if name == _STATEMENT:
            self._account = ""

    def _add(self, section: Section, given: Mapping[str, str], fields: tuple[str, ...]) -> None:
        if len(given) > MAX_CELLS or len(self._rows) >= MAX_ROWS:
            self._refuse(f"the document has more than {MAX_ROWS:,} rows, or a row more than {MAX_CELLS} attributes")
        names = (
            {SYNONYMS.get(name, name): name for name in given} if section == "trade" else {name: name for name in given}
        )
        values = {}
        for field in fields:
            name = field if field in given else names.get(field, field)
            text = given.get(name, "")
            if len(text) > MAX_VALUE:
                self._refuse(f"a value has more than {MAX_VALUE:,} characters", field=name, value=text)
            values[field] = text
        values["accountId"] = values["accountId"] or self._account
        other = {field: name for field, name in names.items() if field != name and field not in given}

        self._rows.append(SourceRow(self._parser.CurrentLineNumber, section, values, other))

    def _refuse_dtd(self, *_: object) -> NoReturn:
        self._refuse("the document has a DTD or an entity of its own; a Flex query has none", value="<!DOCTYPE")

    def _refuse(self, text: str, *, field: str = "file", value: str = "") -> NoReturn:
        raise Unreadable(text, line=self._parser.CurrentLineNumber, field=field, value=value)


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
