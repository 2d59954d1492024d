"""Reports of the broker for tests, written as IB writes them: Flex queries in XML, and trades in CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

ACCOUNT = "U1234567"
_TRADE: Mapping[str, str] = {
    "accountId": ACCOUNT,
    "currency": "USD",
    "assetCategory": "STK",
    "symbol": "A",
    "description": "A INC",
    "conid": "1",
    "multiplier": "1",
    "tradeID": "",
    "dateTime": "20240108;100000",
    "tradeDate": "20240108",
    "transactionType": "ExchTrade",
    "exchange": "ISLAND",
    "quantity": "100",
    "tradePrice": "10",
    "taxes": "0",
    "ibCommission": "-1",
    "ibCommissionCurrency": "USD",
    "fifoPnlRealized": "0",
    "notes": "P",
    "buySell": "BUY",
    "ibOrderID": "726326436",
    "transactionID": "",
    "ibExecID": "0000e0d5.65a1.01.01",
    "orderReference": "",
    "origTradeID": "",
    "origTransactionID": "0",
    "levelOfDetail": "EXECUTION",
}
_CASH: Mapping[str, str] = {
    "accountId": ACCOUNT,
    "currency": "USD",
    "type": "Dividends",
    "amount": "12.5",
    "dateTime": "20240109;202000",
    "description": "A CASH DIVIDEND",
    "transactionID": "90001",
    "levelOfDetail": "DETAIL",
}
_HEADINGS: Mapping[str, str] = {
    "accountId": "ClientAccountID",
    "currency": "CurrencyPrimary",
    "assetCategory": "AssetClass",
    "conid": "Conid",
    "dateTime": "DateTime",
    "buySell": "Buy/Sell",
    "notes": "Notes/Codes",
    "ibExecID": "IBExecID",
    "ibCommission": "IBCommission",
    "ibCommissionCurrency": "IBCommissionCurrency",
    "ibOrderID": "IBOrderID",
}
"""Of a Flex query in CSV, where the heading is not the attribute with a capital letter."""


def trade(exec_id: str = "0000e0d5.65a1.01.01", **changes: Any) -> dict[str, str]:
    """A purchase of 100 at 10 for 1 of commission, or what `changes` make of it."""
    return {**_TRADE, "ibExecID": exec_id, **{name: str(value) for name, value in changes.items()}}


def sale(exec_id: str, quantity: int, **changes: Any) -> dict[str, str]:
    """A sale, with the sign that IB writes."""
    return trade(exec_id, buySell="SELL", quantity=-quantity, **changes)


def cancel(of: Mapping[str, str], **changes: Any) -> dict[str, str]:
    """The row by which IB takes a trade back: no execution id, the other sign, and the trade's id."""
    quantity = of["quantity"].removeprefix("-") if of["quantity"].startswith("-") else f"-{of['quantity']}"
    given = {
        "transactionType": "TradeCancel",
        "buySell": f"{of['buySell']} (Ca.)",
        "quantity": quantity,
        "ibExecID": "",
        "tradeID": "",
        "transactionID": "",
        "origTradeID": of["tradeID"],
        "ibCommission": "0",
        "notes": "Ca",
    }
    return {**of, **given, **{name: str(value) for name, value in changes.items()}}


def cash(transaction_id: str = "90001", **changes: Any) -> dict[str, str]:
    return {**_CASH, "transactionID": transaction_id, **{name: str(value) for name, value in changes.items()}}


def flex(
    trades: Sequence[Mapping[str, str]] = (),
    cash: Sequence[Mapping[str, str]] = (),
    *,
    account: str = ACCOUNT,
    element: str = "Trade",
    before: str = "",
    count: int = 1,
) -> bytes:
    """A Flex query. before: what stands before its root element."""
    lines = [
        f'<?xml version="1.0" encoding="UTF-8"?>{before}',
        '<FlexQueryResponse queryName="test" type="AF">',
        f'<FlexStatements count="{count}">',
        f'<FlexStatement accountId="{account}" fromDate="20240101" toDate="20240131" period="" whenGenerated="20240201;041910">',
        "<Trades>",
        *(_element(element, values) for values in trades),
        "</Trades>",
        "<CashTransactions>",
        *(_element("CashTransaction", values) for values in cash),
        "</CashTransactions>",
        "</FlexStatement>",
        "</FlexStatements>",
        "</FlexQueryResponse>",
    ]
    return "\n".join(lines).encode()


FIRST_LINE = 6
"""Of the first trade in such a query."""


def _element(name: str, values: Mapping[str, str]) -> str:
    return f"<{name} {' '.join(f'{key}={quoteattr(value)}' for key, value in values.items())} />"


def sheet(
    trades: Sequence[Mapping[str, str]], *, end: str = "\r\n", headings: Mapping[str, str] | None = None
) -> bytes:
    """Trades as CSV, headings first. headings: attribute -> heading, for those of trade confirmations."""
    fields = list(trades[0]) if trades else list(_TRADE)
    names = {**_HEADINGS, **(headings or {})}
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=end)
    writer.writerow([names.get(field, field[0].upper() + field[1:]) for field in fields])
    for values in trades:
        writer.writerow([values[field] for field in fields])
    return out.getvalue().encode()
