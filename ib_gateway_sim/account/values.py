"""The values of the account by tag and currency, as IB lists them."""

from ib_gateway_sim.account.portfolio import CURRENCY, START_CASH, Totals
from ib_gateway_sim.session.gateway import Client

BASE = "BASE"  # what all currencies come to, in the account's own
Values = dict[tuple[str, str], str]  # (tag, currency) -> value, as IB lists them: by tag, then by currency
# Money that this account never has, in the account's currency and by currency.
_NOTHING = (
    *("AccruedDividend", "Billable", "Guarantee", "IndianStockHaircut", "NetLiquidationUncertainty", "PASharesValue"),
    *("PhysicalCertificateValue", "PostExpirationExcess", "PostExpirationMargin", "TotalDebitCardPendingCharges"),
)
_NOTHING_BY_CURRENCY = (
    *("AccruedCash", "CorporateBondValue", "FundValue", "FutureOptionValue", "IssuerOptionValue"),
    *("MoneyMarketFundValue", "MutualFundValue", "NetDividend", "TBillValue", "TBondValue", "WarrantValue"),
)
_MARKET_VALUES = {  # tag of the ledger -> security types whose positions it sums
    "StockMarketValue": ("STK",),
    "OptionMarketValue": ("OPT",),
    "FxCashBalance": ("CASH",),
    "Cryptocurrency": ("CRYPTO",),
}


def values(client: Client) -> Values:
    """All account values, as account updates tell them."""
    totals = client.gateway.totals()
    words = {
        "AccountCode": client.gateway.market.account,
        "AccountReady": "true",
        "AccountType": "INDIVIDUAL",
        "Cushion": f"{totals.available / totals.net if totals.net else 0.0:.6f}",
        "DayTradesRemaining": "-1",  # no pattern day trading rule for accounts of this size
        "HighestSeverity": "0",
        "Leverage": _leverage(totals),
        "Leverage-S": _leverage(totals),
        "LookAheadNextChange": "0",
        "NLVAndMarginInReview": "false",
        "SegmentTitle-S": "US Securities",
        "TradingType-S": "STKNOPT",
    }
    money = {**dict.fromkeys(_NOTHING, 0.0), **_money(totals)}
    found = {(tag, ""): text for tag, text in words.items()}
    found |= {(tag, CURRENCY): f"{amount:.2f}" for tag, amount in money.items()}
    return dict(sorted((found | ledger(client)).items()))


def _money(totals: Totals) -> dict[str, float]:
    available = dict.fromkeys(
        ("AvailableFunds", "ExcessLiquidity", "FullAvailableFunds", "FullExcessLiquidity", "LookAheadAvailableFunds"),
        totals.available,
    )
    margins = ("InitMarginReq", "MaintMarginReq", "FullInitMarginReq", "FullMaintMarginReq", "LookAheadInitMarginReq")
    return {
        **available,
        **dict.fromkeys((*margins, "LookAheadMaintMarginReq", "RegTMargin"), totals.margin),
        "LookAheadExcessLiquidity": totals.available,
        "NetLiquidation": totals.net,
        "EquityWithLoanValue": totals.net,
        "PreviousDayEquityWithLoanValue": START_CASH,
        "RegTEquity": totals.net,
        "SMA": totals.available,
        "TotalCashValue": totals.cash,
        "SettledCash": totals.cash,
        "BuyingPower": max(0.0, totals.available * 4),
        "GrossPositionValue": totals.positions,
    }


def _leverage(totals: Totals) -> str:
    return f"{abs(totals.positions) / totals.net if totals.net else 0.0:.2f}"


def ledger(client: Client) -> Values:
    """What is kept by currency: each row once for the account's one currency and once as the sum of all."""
    totals = client.gateway.totals()
    money = {
        **dict.fromkeys(_NOTHING_BY_CURRENCY, 0.0),
        **_market_values(client),
        "CashBalance": totals.cash,
        "TotalCashBalance": totals.cash,
        "NetLiquidationByCurrency": totals.net,
        "UnrealizedPnL": totals.unrealized,
        "RealizedPnL": totals.realized,
    }
    found: Values = {}
    for currency in (BASE, CURRENCY):
        found |= {(tag, currency): f"{amount:.2f}" for tag, amount in money.items()}
        found |= {
            ("AccountOrGroup", currency): client.gateway.market.account,
            ("Currency", currency): currency,
            ("ExchangeRate", currency): "1.00",
            ("RealCurrency", currency): CURRENCY,
        }
    return dict(sorted(found.items()))


def _market_values(client: Client) -> dict[str, float]:
    """The market values of positions by kind, in the account's currency, and the profit of open futures."""
    gateway = client.gateway
    found = {**dict.fromkeys(_MARKET_VALUES, 0.0), "FuturesPNL": 0.0}
    for position in gateway.portfolio.open_positions():
        mark, rate = gateway.mark(position.contract), gateway.dollars(position.contract.currency)
        kind = position.contract.sec_type
        for tag, kinds in _MARKET_VALUES.items():
            if kind in kinds:
                found[tag] += position.value(mark) * rate
        if kind == "FUT":
            found["FuturesPNL"] += position.unrealized(mark) * rate
    return found
