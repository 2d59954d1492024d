"""What a replayed file is of: the contract that its name, its options and its bars tell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import gcd
from pathlib import Path
from zoneinfo import ZoneInfo

from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.instruments import listing
from ib_gateway_sim.market.instruments.futures import MONTH_CODES, last_trade_date, root_of
from ib_gateway_sim.market.instruments.instrument import con_id
from ib_gateway_sim.market.replayed.bar_files import STAMPS
from ib_gateway_sim.market.source import FILE_CLASSES
from ib_gateway_sim.rules.kinds import bar_kinds

KINDS = ("TRADES", "MIDPOINT", "BID", "ASK", "AGGTRADES")
_CURRENCY_FUTURES = {  # root -> IB's symbol and multiplier
    "6E": ("EUR", "125000"),
    "6B": ("GBP", "62500"),
    "6A": ("AUD", "100000"),
    "6C": ("CAD", "100000"),
    "6J": ("JPY", "12500000"),
    "6S": ("CHF", "125000"),
}
_CURRENCIES = ("USD", "EUR", "GBP", "AUD", "JPY", "CHF", "CAD", "NZD", "SEK", "NOK", "DKK", "HKD", "SGD", "CNH", "MXN")
_COINS = ("BTC", "ETH", "LTC", "BCH", "SOL", "ADA", "XRP", "DOGE")
_TIME_ZONES = {"FUT": "US/Central", "CRYPTO": "UTC"}  # as IB spells them; US/Eastern for the rest
_EXCHANGES = {"CASH": "IDEALPRO", "FUT": "CME", "IND": "CBOE", "CRYPTO": "PAXOS"}  # SMART for the rest
_USUAL_KIND = {"CASH": "MIDPOINT", "CRYPTO": "AGGTRADES"}  # TRADES for the rest


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """One file of one-minute bars (bar_files.py) and what it is."""

    path: Path
    symbol: str  # ES, 6EH4, EURUSD, EUR/USD, AAPL; a future's local symbol names its expiry
    stamp: str = "open"  # what the time of a row is: the bar's "open" or its "close"
    kind: str = ""  # whatToShow of the file; default MIDPOINT for CASH, TRADES otherwise
    sec_type: str = ""  # one of FILE_CLASSES; guessed from the symbol when empty
    zone: str = ""  # IANA name of the zone of times without one; empty: UTC
    exchange: str = ""
    currency: str = ""


def contract_of(file: ReplayFile) -> Contract:
    """The instrument, as far as its bars do not say more. ValueError names the option that makes no sense."""
    name = file.symbol.strip().upper()
    sec_type = file.sec_type.upper() or _guessed_type(name)
    kind = file.kind.upper() or _USUAL_KIND.get(sec_type, "TRADES")
    _check_options(file, sec_type, kind)
    exchange = file.exchange or _EXCHANGES.get(sec_type, "SMART")
    contract = Contract(
        con_id=con_id("replay", sec_type, name),
        symbol=name,
        sec_type=sec_type,
        exchange=exchange,
        currency=file.currency or "USD",
        local_symbol=name,
        long_name=f"Replay of {file.path.name}",
        calendar="",
        time_zone=_TIME_ZONES.get(sec_type, "US/Eastern"),
        min_tick=0.01,
        kinds=(kind,),
        trading_class=name,
        market_name=name,
        stock_type="COMMON" if sec_type == "STK" else "",
    )
    if sec_type in ("CASH", "CRYPTO"):
        contract = _paired(contract, name)
    primary = "NASDAQ" if sec_type == "STK" and exchange == "SMART" else ""
    valid = tuple(dict.fromkeys(one for one in (exchange, primary) if one))
    return replace(contract, valid_exchanges=valid, primary_exchange=primary, market_rule_ids=(9000,) * len(valid))


def _check_options(file: ReplayFile, sec_type: str, kind: str) -> None:
    name = file.path.name
    if not file.symbol.strip():
        raise ValueError(f"the symbol of {name} is empty; wanted is AAPL, EUR/USD or ESZ6")
    if file.stamp not in STAMPS:
        raise ValueError(f"stamp {file.stamp!r} of {name} is not one of {', '.join(STAMPS)}")
    if sec_type not in FILE_CLASSES:
        raise ValueError(f"class {file.sec_type!r} of {name} is not one of {', '.join(FILE_CLASSES)}")
    offered = [one for one in KINDS if one in bar_kinds(sec_type)]
    if kind not in offered:
        raise ValueError(f"price {file.kind!r} of {name} is not one of {', '.join(offered)}, those of class {sec_type}")
    try:
        ZoneInfo(file.zone or "UTC")
    except (LookupError, ValueError, OSError):
        raise ValueError(
            f"zone {file.zone!r} of {name} is unknown; wanted is UTC, America/New_York or the like"
        ) from None


def _paired(contract: Contract, name: str) -> Contract:
    """The same as a pair of currencies, or of a coin and a currency, as IB spells it."""
    base, quote = _pair(name, _COINS if contract.sec_type == "CRYPTO" else ()) or (name, contract.currency)
    if base == name and contract.sec_type == "CASH":
        raise ValueError(f"a currency pair is replayed under two names, such as EUR/USD, not {name}")
    local = f"{base}.{quote}"
    known_as = base if contract.sec_type == "CRYPTO" else local
    return replace(
        contract,
        symbol=base,
        currency=quote,
        local_symbol=local,
        trading_class=known_as,
        market_name=known_as,
        con_id=con_id("replay", contract.sec_type, local),
    )


def future_of(contract: Contract, bars: Sequence[Bar], exchange: str) -> Contract:
    """Root, month and year of a local symbol such as 6EH4; the year is the first that is not before the file."""
    found = re.fullmatch(rf"([A-Z0-9]+?)([{MONTH_CODES}])([0-9][0-9]?)", contract.local_symbol)
    if not found:
        raise ValueError(f"a future is replayed under its local symbol, such as ESH4 or 6EH4, not {contract.symbol}")
    name, month, digits = found[1], MONTH_CODES.index(found[2]) + 1, found[3]
    year = datetime.fromtimestamp(bars[0].t, UTC).year
    while not str(year).endswith(digits):
        year += 1
    root = root_of(name)
    symbol, multiplier = (name, root.multiplier) if root else _CURRENCY_FUTURES.get(name, (name, "1"))
    end = last_trade_date(root, year, month) if root else _third_wednesday_less_two(year, month)
    return replace(
        contract,
        symbol=symbol,
        trading_class=name,
        market_name=name,
        multiplier=multiplier,
        exchange=exchange or (root.exchange if root else "CME"),
        last_trade_date=f"{end:%Y%m%d}",
        real_expiration_date=f"{end:%Y%m%d}",
        contract_month=f"{year}{month:02}",
    )


def _third_wednesday_less_two(year: int, month: int) -> date:
    """Currency futures end on the second business day before the third Wednesday: a Monday."""
    first = date(year, month, 1)
    return first + timedelta(days=(2 - first.weekday()) % 7 + 12)


def _guessed_type(name: str) -> str:
    if _pair(name, _COINS):
        return "CRYPTO"
    if _pair(name):
        return "CASH"
    listed = {one.contract.symbol: one.contract.sec_type for one in reversed(listing.listed())}
    if listed.get(name) == "IND":
        return "IND"
    found = re.fullmatch(rf"([A-Z0-9]+?)[{MONTH_CODES}][0-9][0-9]?", name)
    return "FUT" if found and (root_of(found[1]) or found[1] in _CURRENCY_FUTURES) else "STK"


def _pair(name: str, bases: Sequence[str] = ()) -> tuple[str, str] | None:
    """The two halves of EUR/USD, EUR.USD or EURUSD, where the first is one of `bases` (none: a currency)."""
    marked = re.fullmatch(r"([A-Z]+)[/.]([A-Z]{3})", name)
    base, quote = (marked[1], marked[2]) if marked else (name[:-3], name[-3:])
    if marked and "/" in name and not bases and base not in _COINS:
        return base, quote  # any other name with a slash is a pair too: XAU/USD
    return (base, quote) if base in (bases or _CURRENCIES) and quote in _CURRENCIES else None


def tick_size(bars: Sequence[Bar]) -> float:
    """The largest step that all prices of the file are multiples of."""
    prices = {Decimal(repr(price)) for bar in bars for price in bar[1:5]}
    decimals = max(max(-int(price.as_tuple().exponent), 0) for price in prices)
    return (gcd(*(int(price.scaleb(decimals)) for price in prices)) or 1) / 10.0**decimals
