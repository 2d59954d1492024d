"""What a caller may have meant by words that IB does not know: other spellings, and other asset classes that have them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from nautilus.errors import NotFound
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import COINS, CONTRACT, CURRENCIES, Selector, renamed_venue

_MOST = 8
# Roots of futures and their venues at IB (contract search, read 2026-11). Other systems' names lead to IB's.
_FUTURES = {
    **dict.fromkeys(("ES", "NQ", "RTY", "MES", "MNQ", "M2K", "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "NZD"), "CME"),
    **dict.fromkeys(("MXP", "HE", "LE", "GF", "MBT", "BRR", "MET"), "CME"),
    **dict.fromkeys(("YM", "MYM", "ZN", "ZB", "ZF", "ZT", "UB", "TN", "ZC", "ZS", "ZW", "ZL", "ZM", "KE"), "CBOT"),
    **dict.fromkeys(("CL", "QM", "MCL", "NG", "RB", "HO", "PL", "PA"), "NYMEX"),
    **dict.fromkeys(("GC", "SI", "HG", "MGC", "SIL", "MHG"), "COMEX"),
    **dict.fromkeys(("DAX", "ESTX50", "GBL", "GBM", "GBS", "GBX"), "EUREX"),
    "VIX": "CFE",
}
_FUTURE_NAMES = {
    "6E": "EUR",
    "6B": "GBP",
    "6J": "JPY",
    "6A": "AUD",
    "6C": "CAD",
    "6S": "CHF",
    "6N": "NZD",
    "6M": "MXP",
    "VX": "VIX",
    "FDAX": "DAX",
    "FESX": "ESTX50",
    "FGBL": "GBL",
    "FGBM": "GBM",
    "FGBS": "GBS",
    "FGBX": "GBX",
}
_INDEXES = {
    **dict.fromkeys(("SPX", "VIX", "XSP", "OEX", "RUT", "DJX"), "CBOE"),
    "NDX": "NASDAQ",
    "COMP": "NASDAQ",
    "INDU": "CME",
    "DAX": "EUREX",
    "ESTX50": "EUREX",
    "HSI": "HKFE",
}
_INDEX_NAMES = {"GSPC": "SPX", "DJI": "INDU", "IXIC": "COMP", "GDAXI": "DAX", "STOXX50E": "ESTX50"}
_METALS = ("XAU", "XAG")
_PAIR = rf"([A-Z]{{3,5}})[./_ -]?({'|'.join(sorted(CURRENCIES))})[TC]?"
"""EUR.USD, EUR-USD, EURUSD; coins against USDT or USDC are meant against dollars."""


def suggestions(selector: Selector, known: Sequence[Instrument] = ()) -> list[dict[str, Any]]:
    """What to ask for instead, the likeliest first: symbol, asset_class, perhaps exchange and instrument_id, and why.

    known: instruments that are stored and have such a symbol; of these it is sure that IB has them.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in (*_spellings(selector), *_stored(selector, known), *_other_classes(selector)):
        key = (one["symbol"], one["asset_class"])
        if key != (_name(selector), selector.asset_class):
            found[key] = one | found.get(key, {})
    return list(found.values())[:_MOST]


def elsewhere(selector: Selector, contracts: Sequence[Instrument]) -> list[dict[str, Any]]:
    """The contracts that a name means but for its venue, under their own names; of a root that of the future first."""
    found = {}
    for one in contracts:
        venue = one.instrument_id.rpartition(".")[2]
        if selector.front:
            name = f"{selector.symbol}.{venue}"
            found[name] = _suggestion(
                selector.symbol, "FUT", f"its contracts are listed at {venue}", venue=venue, instrument_id=name
            )
        name = one.instrument_id
        found[name] = _suggestion(
            _symbol(one), one.asset_class, f"it is listed at {venue}", venue=venue, instrument_id=name
        )
    return list(found.values())[:_MOST]


def with_renamed_venue(unknown: NotFound, exchange: str | None, instrument_id: str | None) -> NotFound:
    """The error, with a suggestion more when the venue was given by a name that IB retired.

    Without words of IB the error is about the venue itself, and its suggestions are the contract's own names.
    """
    venue = renamed_venue(exchange, instrument_id)
    if venue is not None and unknown.upstream is not None:
        old, new = venue
        renamed = {"exchange": new, "why": f"{old} is called {new} now"}
        if instrument_id:
            renamed["instrument_id"] = f"{instrument_id.upper().rpartition('.')[0]}.{new}"
        unknown.extra["suggestions"] = [*unknown.extra.get("suggestions", ()), renamed]
    return unknown


def alike(selector: Selector) -> list[str]:
    """Symbols under which what is meant may be stored."""
    name = _name(selector)
    pair = _pair(selector)
    spelled = [one["symbol"] for one in _spellings(selector)]
    bare = _bare(name)
    other = [_FUTURE_NAMES.get(bare, bare), _INDEX_NAMES.get(bare, bare)]
    return list(dict.fromkeys([name, bare, *spelled, *([pair[0]] if pair else []), *other]))


def sentence(found: Sequence[dict[str, Any]]) -> str:
    """`; perhaps BRK B (STK)`, or nothing."""
    names = [f"{one['symbol']} ({one['asset_class']})" for one in found[:3]]
    return f"; perhaps {' or '.join(names)} is meant" if names else ""


def _name(selector: Selector) -> str:
    if selector.asset_class in ("CASH", "CRYPTO") and selector.currency:
        return f"{selector.symbol}/{selector.currency}"
    return selector.local_symbol or selector.symbol


_VENUES = (
    "NASDAQ|NYSE|ARCA|AMEX|BATS|IEX|ISLAND|SMART|US|CBOE|CFE|CME|CBOT|NYMEX|COMEX|GLOBEX|ECBOT|EUREX|IDEALPRO|PAXOS"
)
_BEFORE = re.compile(r"(?:[\^$/@]+|[A-Z_]{1,12}:)(?=[A-Z0-9])")
_BEHIND = re.compile(rf"(?:=[FX]|[12]!|:US|\.(?:{_VENUES}))$")


def _bare(name: str) -> str:
    """A name without what other systems write around it: ^GSPC, /ES, NASDAQ:AAPL, I:SPX, ES=F, ES1!, AAPL:US, AAPL.NASDAQ."""
    name = _BEHIND.sub("", name)
    before = _BEFORE.match(name)
    return name[before.end() :] if before else name


def _suggestion(symbol: str, asset_class: str, why: str, *, venue: str = "", instrument_id: str = "") -> dict[str, Any]:
    suggestion = {"symbol": symbol, "asset_class": asset_class, "why": why}
    more = {"exchange": venue, "instrument_id": instrument_id}
    return suggestion | {name: text for name, text in more.items() if text}


def _at(symbol: str, asset_class: str, why: str, venue: str) -> dict[str, Any]:
    """A suggestion of what has one known venue, with the name that this makes."""
    return _suggestion(symbol, asset_class, why, venue=venue, instrument_id=f"{symbol}.{venue}" if venue else "")


def _symbol(one: Instrument) -> str:
    """The symbol that means this very contract; the root of a future means its front contract, perhaps another one."""
    return one.instrument_id.rpartition(".")[0] if one.asset_class == "FUT" else one.display_symbol


def _spellings(selector: Selector) -> Iterator[dict[str, Any]]:
    """The same in IB's spelling: classes of shares have a space, in Toronto a point."""
    name = _name(selector)
    if selector.asset_class not in ("STK", ""):
        return
    bare = _bare(name)
    if bare != name and not any(_other_classes(selector)):
        yield _suggestion(bare, "STK", "a venue is no part of a symbol")
    found = re.fullmatch(r"([A-Z0-9]+)[./_-]([A-Z]{1,3})", name)
    if found and bare == name and not _pair(selector):
        why = "IB writes classes of shares with a space"
        if preferred := re.fullmatch("P([A-Z])", found[2]):
            yield _suggestion(f"{found[1]} PR{preferred[1]}", "STK", why)
        yield _suggestion(f"{found[1]} {found[2]}", "STK", why)
    if found := re.fullmatch(r"([A-Z0-9]+) ([A-Z]{1,3})", name):
        yield _suggestion(f"{found[1]}.{found[2]}", "STK", "IB writes classes of Canadian shares with a point")


def _stored(selector: Selector, known: Sequence[Instrument]) -> Iterator[dict[str, Any]]:
    for one in known:
        if one.asset_class != selector.asset_class or one.display_symbol != _name(selector):
            why = f"{one.long_name or one.instrument_id} is known here"
            venue = one.primary_exchange or one.exchange
            yield _suggestion(_symbol(one), one.asset_class, why, venue=venue, instrument_id=one.instrument_id)


def _other_classes(selector: Selector) -> Iterator[dict[str, Any]]:
    name = _bare(_name(selector))
    if pair := _pair(selector):
        yield from _pairs(selector, *pair)
    if name in COINS:
        yield _suggestion(f"{name}/USD", "CRYPTO", "a coin is a pair")
    root = _FUTURE_NAMES.get(name, name)
    if root in _FUTURES:
        yield _at(root, "FUT", "a future has this symbol", _FUTURES[root])
    elif re.fullmatch(CONTRACT, name):
        yield _at(name, "FUT", "it reads as one contract of a future", _venue_of_month(name))
    index = _INDEX_NAMES.get(name, name)
    if index in _INDEXES:
        yield _at(index, "IND", "an index has this symbol", _INDEXES[index])


def _venue_of_month(name: str) -> str:
    """Where one contract of a future is listed, by its root; empty when that is not known, or has blanks."""
    found = re.fullmatch("(.+)[A-Z][0-9]{1,2}", name)
    root = found[1] if found else ""
    return _FUTURES.get(_FUTURE_NAMES.get(root, root), "")


def _pair(selector: Selector) -> tuple[str, str] | None:
    """(base, quote) where the words read as a pair, with any mark between them or none."""
    found = re.fullmatch(_PAIR, _bare(_name(selector)))
    if found is None:
        return None
    return (found[1], found[2]) if found[1] in (*CURRENCIES, *COINS, *_METALS) else None


def _pairs(selector: Selector, base: str, quote: str) -> Iterator[dict[str, Any]]:
    if base in COINS:
        yield _suggestion(f"{base}/{quote}", "CRYPTO", "it reads as a pair of a coin")
    elif base in _METALS:
        yield _suggestion(f"{base}{quote}", "CMDTY", "a metal is a commodity at IB")
    elif selector.asset_class == "CASH":
        yield _at(f"{quote}/{base}", "CASH", "IB has each pair in one direction", "IDEALPRO")
    else:
        yield _at(f"{base}/{quote}", "CASH", "it reads as a pair of currencies", "IDEALPRO")
