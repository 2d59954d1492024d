"""Rows of a report of the broker, as its file has them: texts by the names of a Flex query, each with its line.

Two kinds of files have these rows: Flex queries (`flex`) and CSV files of trades (`confirmations`). What the texts mean is
decided in `reported`, in one way for both.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

MAX_FILE_BYTES = 20_000_000
"""Of a whole file. IB's widest row of a trade has some 1,500 bytes as XML and 600 as CSV: 13,000 trades, or 33,000."""
MAX_ROWS = 60_000
MAX_CELLS = 400
"""Attributes of an element, or columns of a table; IB's widest section has about 120."""
MAX_VALUE = 5_000
"""Characters of one value."""
_SHOWN = 80

Section = Literal["trade", "cash"]


class SourceRow(NamedTuple):
    """A row of one section. line: of the file, from 1. values: name in a Flex query -> text. names: the same name -> the
    name that the file itself uses, where that is another."""

    line: int
    section: Section
    values: Mapping[str, str]
    names: Mapping[str, str]

    def get(self, name: str) -> str:
        """The text of a field, without blanks around it; empty where the file does not have it."""
        return self.values.get(name, "").strip()

    def name_of(self, name: str) -> str:
        """What the file calls a field."""
        return self.names.get(name, name)


class Problem(NamedTuple):
    """Why something of a file is not taken, or not as it stands there. line: 0 for the file as a whole. value: the text that
    stands there, cut to some characters."""

    line: int
    field: str
    value: str
    text: str


class Unreadable(Exception):
    """The file as a whole is refused; nothing of it may be used."""

    def __init__(self, text: str, *, line: int = 0, field: str = "file", value: str = "") -> None:
        super().__init__(text)
        self.problem = problem(line, field, value, text)


def problem(line: int, field: str, value: str, text: str) -> Problem:
    """A problem whose value is short enough to be shown."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in value[: _SHOWN + 1])
    return Problem(line, field, shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "...", text)


def require_size(raw: bytes) -> None:
    """Unreadable for a file that is empty or larger than allowed."""
    if not raw.strip():
        raise Unreadable("the file is empty")
    if len(raw) > MAX_FILE_BYTES:
        raise Unreadable(f"the file has {len(raw):,} bytes; at most {MAX_FILE_BYTES:,} are allowed")


# Names that trade confirmations use for what a Flex query of activity calls otherwise.
SYNONYMS: Mapping[str, str] = {
    "execID": "ibExecID",
    "price": "tradePrice",
    "commission": "ibCommission",
    "commissionCurrency": "ibCommissionCurrency",
    "orderID": "ibOrderID",
    "tax": "taxes",
    "code": "notes",
}
TRADE_FIELDS = (
    *("accountId", "conid", "currency", "assetCategory", "symbol", "description", "multiplier", "exchange"),
    *(
        "ibExecID",
        "dateTime",
        "tradeDate",
        "tradeTime",
        "buySell",
        "quantity",
        "tradePrice",
        "transactionType",
        "notes",
    ),
    *(
        "ibCommission",
        "ibCommissionCurrency",
        "taxes",
        "fifoPnlRealized",
        "levelOfDetail",
        "ibOrderID",
        "orderReference",
    ),
    *("tradeID", "transactionID", "origTradeID", "origTransactionID"),
)
CASH_FIELDS = (
    *("accountId", "currency", "type", "amount", "dateTime", "reportDate", "settleDate", "description"),
    *("transactionID", "levelOfDetail", "symbol", "conid"),
)
"""The fields that are read; files may have others."""
