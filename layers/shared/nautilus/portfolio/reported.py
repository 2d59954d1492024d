"""What the rows of a report mean: fills and movements of cash as typed values, and each problem with its line and field.

Plain values in, plain values out. Signs are those of our rows: a commission is positive where it was paid, though IB's reports
have it negative. A fill is known by IB's execution id, the same as over the API; a row without one is refused.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from nautilus.orders.identity import execution_key
from nautilus.portfolio.report_rows import Problem, SourceRow, problem
from nautilus.portfolio.report_times import day_start_of, time_of

MAX_EXEC_ID, MAX_WHOLE, MAX_DECIMALS, MAX_DIGITS = 80, 15, 20, 28
"""Characters of an execution id; digits of a number before and after the point, and in all: Decimal rounds no fewer."""
_NUMBER = re.compile(
    rf"(?a)[+-]?(\d{{1,{MAX_WHOLE}}}|\d{{1,3}}(,\d{{3}}){{1,4}})?(\.\d{{1,{MAX_DECIMALS}}})?([eE][+-]?\d{{1,2}})?"
)
_EXEC_ID = re.compile(rf"(?a)[A-Za-z0-9][A-Za-z0-9._:+-]{{0,{MAX_EXEC_ID - 1}}}")
_CURRENCY = re.compile(r"(?a)[A-Z]{3}")
_CASH_ID = re.compile(r"(?a)[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_MOST, _LEAST = Decimal(10) ** MAX_WHOLE, Decimal(10) ** -MAX_DECIMALS
_MAX_CON_ID = 2**63 - 1
EXECUTION = "EXECUTION"
_NO_EXECUTION = {"Ep": "an expiry", "A": "an assignment", "Ex": "an exercise", "T": "a transfer"}
"""Codes of rows that book something that was never traded: an adjustment of the position says that."""

CashKind = Literal["interest", "dividend", "fee", "tax", "deposit", "withdrawal", "other"]
_CASH_KINDS: dict[str, CashKind] = {
    "broker interest paid": "interest",
    "broker interest received": "interest",
    "bond interest paid": "interest",
    "bond interest received": "interest",
    "dividends": "dividend",
    "payment in lieu of dividends": "dividend",
    "withholding tax": "tax",
    "871(m) withholding": "tax",
    "other fees": "fee",
    "advisor fees": "fee",
    "commission adjustments": "fee",
}


class ReportedFill(NamedTuple):
    """An execution of a report, and where it stands (row). ts: market time in ns, whole seconds. base, revision: of exec_id.

    quantity: not negative. cancels: this row takes another one back; then exec_id may be empty, and original_trade or
    original_transaction names the trade. commission: None where the report does not say it. taxes: paid beside it, positive;
    0 where the report has none.
    """

    row: SourceRow
    account: str
    exec_id: str
    base: str
    revision: int
    con_id: int
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    price: Decimal
    ts: int
    currency: str
    commission: Decimal | None
    commission_currency: str
    realized: Decimal | None
    taxes: Decimal
    order_ref: str
    exchange: str
    cancels: bool
    trade_id: str
    transaction_id: str
    original_trade: str
    original_transaction: str

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == "BUY" else self.quantity.copy_negate()


class ReportedCash(NamedTuple):
    """A movement of cash that no trade explains. amount: signed, positive for what was received. external_id: IB's transaction
    id. ts: market time in ns."""

    row: SourceRow
    account: str
    currency: str
    amount: Decimal
    kind: CashKind
    ts: int
    text: str
    external_id: str


class Reported(NamedTuple):
    """What a file says about one account. skipped: rows that are no executions, such as orders and totals."""

    fills: list[ReportedFill]
    cash: list[ReportedCash]
    problems: list[Problem]
    skipped: int


class _Wrong(Exception):
    """A field of a row cannot be taken."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def understood(rows: Iterable[SourceRow], account: str, zone: ZoneInfo | None) -> Reported:
    """The fills and movements of one account; a row that is wrong, or of another account, becomes a problem.

    zone: of times that name none; None: such times are refused.
    """
    found = Reported([], [], [], 0)
    skipped = 0
    for row in rows:
        if _left_out(row):
            skipped += 1
            continue
        try:
            if row.section == "trade":
                found.fills.append(_fill(row, account, zone))
            else:
                found.cash.append(_cash(row, account, zone))
        except _Wrong as wrong:
            found.problems.append(problem(row.line, row.name_of(wrong.field), row.get(wrong.field), str(wrong)))
    return found._replace(skipped=skipped)


def _left_out(row: SourceRow) -> bool:
    """Whether a row is a total, not a booking: of an order, of a symbol, of a currency."""
    level = row.get("levelOfDetail").upper()
    if row.section == "trade":
        return level not in ("", EXECUTION)
    return level not in ("", "DETAIL") or row.get("currency") == "BASE_SUMMARY"


# ---- fills -----------------------------------------------------------------------------------------------------------


def _fill(row: SourceRow, account: str, zone: ZoneInfo | None) -> ReportedFill:
    _require_account(row, account)
    side, cancels = _side(row)
    exec_id = _exec_id(row, cancels)
    key = execution_key(exec_id)
    quantity = _number(row, "quantity")
    if quantity and (quantity > 0) != ((side == "BUY") != cancels):
        raise _Wrong(
            "quantity",
            f"has the sign of the other side: {row.get('buySell')} is expected to be {_expected(side, cancels)}",
        )
    commission = _optional(row, "ibCommission")
    taxes = _optional(row, "taxes")
    return ReportedFill(
        row=row,
        account=account,
        exec_id=exec_id,
        base=key.base,
        revision=key.revision,
        con_id=_con_id(row),
        side=side,
        quantity=quantity.copy_abs(),
        price=_number(row, "tradePrice"),
        ts=_time(row, zone),
        currency=_currency(row, "currency"),
        commission=None if commission is None else commission.copy_negate(),
        commission_currency=_commission_currency(row, commission),
        realized=_optional(row, "fifoPnlRealized"),
        taxes=taxes.copy_negate() if taxes else Decimal(0),
        order_ref=row.get("orderReference")[:200],
        exchange=row.get("exchange")[:40],
        cancels=cancels,
        trade_id=row.get("tradeID"),
        transaction_id=row.get("transactionID"),
        original_trade=_reference(row, "origTradeID"),
        original_transaction=_reference(row, "origTransactionID"),
    )


def _side(row: SourceRow) -> tuple[Literal["BUY", "SELL"], bool]:
    """The side, and whether the row takes a trade back."""
    text = row.get("buySell").upper()
    cancels = text.endswith("(CA.)") or row.get("transactionType").endswith("Cancel")
    plain = text.removesuffix("(CA.)").strip()
    if plain in ("BUY", "BOT"):
        return "BUY", cancels
    if plain in ("SELL", "SLD"):
        return "SELL", cancels
    raise _Wrong("buySell", "must be BUY, SELL, BUY (Ca.) or SELL (Ca.)")


def _expected(side: str, cancels: bool) -> str:
    return "positive" if (side == "BUY") != cancels else "negative"


def _exec_id(row: SourceRow, cancels: bool) -> str:
    text = row.get("ibExecID")
    if not text and cancels and (_reference(row, "origTradeID") or _reference(row, "origTransactionID")):
        return ""
    if not text:
        codes = set(re.split(r"[;, ]+", row.get("notes")))
        booked = next((what for code, what in _NO_EXECUTION.items() if code in codes), "")
        hint = f"; this row books {booked}, which an adjustment of the position says" if booked else ""
        raise _Wrong(
            "ibExecID", f"is missing: without IB's execution id nobody knows whether the fill is there already{hint}"
        )
    if not _EXEC_ID.fullmatch(text):
        raise _Wrong("ibExecID", f"is no execution id: 1 to {MAX_EXEC_ID} letters, digits and dots")
    return text


def _con_id(row: SourceRow) -> int:
    text = row.get("conid")
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= _MAX_CON_ID):
        raise _Wrong("conid", "must be IB's number of the contract")
    return int(text)


def _time(row: SourceRow, zone: ZoneInfo | None) -> int:
    day, time = row.get("tradeDate"), row.get("tradeTime")
    if row.get("dateTime") or not time:
        return _read("dateTime", lambda: time_of(row.get("dateTime"), zone))
    return _read("tradeTime", lambda: time_of(f"{day};{time}", zone))


def _commission_currency(row: SourceRow, commission: Decimal | None) -> str:
    if commission is None:
        return ""
    return _currency(row, "ibCommissionCurrency" if row.get("ibCommissionCurrency") else "currency")


def _reference(row: SourceRow, field: str) -> str:
    """The id of another row; IB writes 0 for none."""
    text = row.get(field)
    return "" if text == "0" else text


# ---- cash ------------------------------------------------------------------------------------------------------------


def _cash(row: SourceRow, account: str, zone: ZoneInfo | None) -> ReportedCash:
    _require_account(row, account)
    external_id = row.get("transactionID")
    if not _CASH_ID.fullmatch(external_id):
        raise _Wrong(
            "transactionID", "is missing, or is no id: without it nobody knows whether the movement is there already"
        )
    amount = _number(row, "amount")
    moment = "dateTime" if row.get("dateTime") else "reportDate"
    return ReportedCash(
        row=row,
        account=account,
        currency=_currency(row, "currency"),
        amount=amount,
        kind=cash_kind(row.get("type"), amount),
        ts=_read(moment, lambda: day_start_of(row.get(moment), zone)),
        text=row.get("description")[:500] or row.get("type")[:500],
        external_id=external_id,
    )


def cash_kind(text: str, amount: Decimal) -> CashKind:
    """The kind of a movement by IB's word for it; `other` for a word that is not known here."""
    plain = text.strip().lower()
    if plain in ("deposits & withdrawals", "deposits/withdrawals", "deposits", "withdrawals"):
        return "deposit" if amount >= 0 else "withdrawal"
    return _CASH_KINDS.get(plain, "other")


# ---- fields ----------------------------------------------------------------------------------------------------------


def _require_account(row: SourceRow, account: str) -> None:
    if not row.values:
        raise _Wrong("row", "does not have as many cells as its headings")
    if row.get("accountId") != account:
        raise _Wrong("accountId", f"is another account: this import is about {account}")


def _read(field: str, read: Callable[[], int]) -> int:
    try:
        return read()
    except ValueError as wrong:
        raise _Wrong(field, str(wrong)) from None


def _currency(row: SourceRow, field: str) -> str:
    text = row.get(field)
    if not _CURRENCY.fullmatch(text):
        raise _Wrong(field, "must be a currency, such as USD")
    return text


def _number(row: SourceRow, field: str) -> Decimal:
    text = row.get(field)
    digits = text.lstrip("+-")
    if not digits or digits[0] in "eE" or not _NUMBER.fullmatch(text):
        raise _Wrong(field, _NUMBERS)
    value = Decimal(text.replace(",", ""))
    if (value and not _LEAST <= abs(value) < _MOST) or len(value.as_tuple().digits) > MAX_DIGITS:
        raise _Wrong(field, _NUMBERS)
    return value


_NUMBERS = f"must be a number with at most {MAX_WHOLE} digits before the point, {MAX_DECIMALS} after it and {MAX_DIGITS} in all"


def _optional(row: SourceRow, field: str) -> Decimal | None:
    return _number(row, field) if row.get(field) not in ("", "--", "N/A") else None
