"""What to show: the kinds of data, and which products have them."""

from ib_gateway_sim.rules.errors import Violation, invalid, service_error

_QUOTES = frozenset({"MIDPOINT", "BID", "ASK", "BID_ASK"})
_VOLATILITY = frozenset({"HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY"})
KINDS = (
    _QUOTES
    | _VOLATILITY
    | {"TRADES", "ADJUSTED_LAST", "AGGTRADES", "SCHEDULE", "FEE_RATE"}
    | {"YIELD_BID", "YIELD_ASK", "YIELD_BID_ASK", "YIELD_LAST"}
)
# IB's matrix "available data per product". Volatility and fee rates exist there too; the simulator has none and
# answers "no data" for them.
_OFFERED: dict[str, frozenset[str]] = {
    "STK": _QUOTES | {"TRADES", "ADJUSTED_LAST", "SCHEDULE"},
    "IND": frozenset({"TRADES", "SCHEDULE"}),
    "FUT": _QUOTES | {"TRADES", "SCHEDULE"},
    "CONTFUT": _QUOTES | {"TRADES", "SCHEDULE"},
    "OPT": _QUOTES | {"TRADES"},
    "FOP": _QUOTES | {"TRADES"},
    "CASH": _QUOTES | {"SCHEDULE"},
    "CFD": _QUOTES | {"SCHEDULE"},
    "CMDTY": _QUOTES | {"SCHEDULE"},
    "CRYPTO": _QUOTES | {"AGGTRADES", "SCHEDULE"},
}
LIVE_KINDS = frozenset({"TRADES", "MIDPOINT", "BID", "ASK"})  # keepUpToDate and real-time bars
_WORDS = {"TRADES": "Trades", "MIDPOINT": "Midpoint", "BID": "Bid", "ASK": "Ask", "BID_ASK": "Bid_Ask"}


def no_data(symbol: str, exchange: str, what: str) -> Violation:
    """The window holds no bar. IB appends what was requested: `AAPL@SMART Trades`."""
    word = _WORDS.get(what, what.title())
    return service_error(f"HMDS query returned no data: {symbol}@{exchange} {word}")


def bar_kinds(sec_type: str) -> frozenset[str]:
    """The whatToShow values that IB has bars of for such a product."""
    return _OFFERED.get(sec_type, frozenset()) - {"SCHEDULE"}


def what_to_show(what: str, sec_type: str, symbol: str, exchange: str) -> Violation | None:
    if what not in KINDS:
        return invalid(f"What to show field is missing or incorrect. Legal ones are: {', '.join(sorted(KINDS))}")
    if what in _OFFERED.get(sec_type, frozenset()):
        return None
    if sec_type == "CRYPTO" and what == "TRADES":
        return Violation(10299, "Expected what to show is AGGTRADES, please use that instead of TRADES.")
    if what == "AGGTRADES":
        return Violation(10299, "Expected what to show is TRADES, please use that instead of AGGTRADES.")
    if sec_type == "IND" and what in _QUOTES:
        return service_error(f"No historical market data for {symbol}/{sec_type}@{exchange} {_WORDS[what]}")
    return no_data(symbol, exchange, what)
