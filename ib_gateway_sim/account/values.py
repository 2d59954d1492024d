"""The values of the account by tag and currency, as IB lists them."""

from ib_gateway_sim.account.portfolio import CURRENCY, SETTLED_BY_PROFIT, START_CASH, Totals
from ib_gateway_sim.session.gateway import Gateway

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
    "Cryptocurrency": ("CRYPTO",),
}
_ROWS = (
    *(*_NOTHING_BY_CURRENCY, *_MARKET_VALUES, "FxCashBalance", "FuturesPNL", "CashBalance", "TotalCashBalance"),
    *("NetLiquidationByCurrency", "UnrealizedPnL", "RealizedPnL"),
)


def values(gateway: Gateway, account: str) -> Values:
    """All values of an account, as account updates tell them."""
    totals = gateway.totals(account)
    advisor = gateway.settings.fa and account == gateway.market.account
    words = {
        "AccountCode": account,
        "AccountReady": "true",
        "AccountType": "FA" if advisor else "INDIVIDUAL",
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
    return dict(sorted((found | ledger(gateway, account)).items()))


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


def ledger(gateway: Gateway, account: str) -> Values:
    """What is kept by currency: each row for every currency in it, and as BASE the sum of all in the account's own.

    A currency pair moves the cash of two currencies, and so it is no market value of its own.
    """
    portfolio, found = gateway.portfolios[account], Values()
    every = dict.fromkeys(_ROWS, 0.0)
    for currency in portfolio.currencies():
        rate = gateway.dollars(currency)
        money = _money_in(gateway, account, currency)
        every = {tag: every[tag] + amount * rate for tag, amount in money.items()}
        found |= _ledger_rows(account, currency, currency, rate, money)
    return dict(sorted((found | _ledger_rows(account, BASE, CURRENCY, 1.0, every)).items()))


def _ledger_rows(account: str, currency: str, real: str, rate: float, money: dict[str, float]) -> Values:
    words = {"AccountOrGroup": account, "Currency": currency, "RealCurrency": real}
    words["ExchangeRate"] = f"{rate:.2f}" if rate == 1 else f"{rate:.7f}"
    texts = words | {tag: f"{amount:.2f}" for tag, amount in money.items()}
    return {(tag, currency): text for tag, text in texts.items()}


def _money_in(gateway: Gateway, account: str, currency: str) -> dict[str, float]:
    """Cash, and the positions in one currency by kind, with the profit of futures; in that currency."""
    portfolio, found = gateway.portfolios[account], dict.fromkeys(_ROWS, 0.0)
    cash = portfolio.ledgers.get(currency, 0.0)
    found |= {"CashBalance": cash, "TotalCashBalance": cash, "NetLiquidationByCurrency": cash}
    for position in portfolio.positions.values():
        if position.contract.currency != currency:
            continue
        mark, kind = gateway.mark(position.contract) if position.quantity else 0.0, position.contract.sec_type
        value, gain = position.value(mark), position.unrealized(mark)
        found["UnrealizedPnL"] += gain
        found["RealizedPnL"] += position.realized
        for tag, kinds in _MARKET_VALUES.items():
            found[tag] += value if kind in kinds else 0.0
        found["FuturesPNL"] += gain if kind == "FUT" else 0.0
        found["NetLiquidationByCurrency"] += gain if kind in SETTLED_BY_PROFIT else 0.0 if kind == "CASH" else value
    return found
