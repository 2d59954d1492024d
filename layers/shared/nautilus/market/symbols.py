"""How instruments are named, and how a person's words become one lookup.

A name is NautilusTrader-style `SYMBOL.VENUE`: `AAPL.NASDAQ`, `EUR/USD.IDEALPRO`, `ESZ6.CME`. An exchange or a currency that
a caller gives is a hint to choose between candidates, never part of a key: front ends send venues that IB renamed years
ago. The venue of an instrument_id is a part of the name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from nautilus.errors import Conflict, InvalidInput
from nautilus.market.instrument import ASSET_CLASSES, Instrument, upper_ascii

CURRENCIES = frozenset(
    ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "HKD", "SGD", "CNH", "MXN", "ZAR")
) | frozenset(("PLN", "CZK", "HUF", "ILS", "KRW", "INR", "TRY"))
# Venues by which an instrument id tells its asset class.
_VENUE_CLASS = {
    "IDEALPRO": "CASH",
    "PAXOS": "CRYPTO",
    "ZEROHASH": "CRYPTO",
    "CME": "FUT",
    "CBOT": "FUT",
    "NYMEX": "FUT",
    "COMEX": "FUT",
    "GLOBEX": "FUT",
    "ECBOT": "FUT",
    "CFE": "FUT",
    "EUREX": "FUT",
    "CBOE": "IND",
}
# Names that IB retired in favour of another (GLOBEX became CME in 2022).
_RENAMED = {"GLOBEX": "CME", "ECBOT": "CBOT", "ISLAND": "NASDAQ", "DTB": "EUREX", "IPE": "ICEEU", "CMECRYPTO": "CME"}
_MONTH_CODES = "FGHJKMNQUVXZ"
# One contract of a future (ESZ6, M2KH27, or a local symbol in words: ZN DEC 26), not a root such as N225 or ESTX50.
CONTRACT = rf"[A-Z0-9]+[{_MONTH_CODES}]([0-9]|[23][0-9])|.* .*[0-9].*"
_EXPIRING = frozenset(("FUT", "OPT", "FOP"))
"""The classes of which a symbol has a contract for each month."""
COINS = frozenset(("BTC", "ETH", "LTC", "BCH", "SOL", "ADA", "XRP", "DOGE"))
"""What a pair without an asset class is taken for: these for CRYPTO, all else for CASH."""


class Selector(NamedTuple):
    """What a caller asks for, normalized: the part before the hints is the key of the lookup."""

    asset_class: str
    symbol: str
    currency: str = ""
    expiry: str = ""
    local_symbol: str = ""
    con_id: int = 0
    exchange_hint: str = ""
    venue: str = ""
    """The venue of an instrument_id, by its present name: unlike a hint it must be the contract's own."""

    @property
    def key(self) -> str:
        """One text per question, the same for every way to ask it."""
        if self.con_id:
            return f"conId={self.con_id}"
        if self.local_symbol:
            return f"{self.asset_class}|local={self.local_symbol}"
        return f"{self.asset_class}|{self.symbol}|{self.currency}|{self.expiry or 'front'}"

    @property
    def front(self) -> bool:
        """True when the front contract of a future is meant, which changes by itself."""
        return self.asset_class == "FUT" and not (self.expiry or self.local_symbol or self.con_id)

    @classmethod
    def of_key(cls, key: str) -> "Selector":
        """A selector that has this key. Hints are no part of a key and are not known."""
        if key.startswith("conId="):
            return cls("", "", con_id=int(key.removeprefix("conId=")))
        asset_class, _, rest = key.partition("|")
        if rest.startswith("local="):
            return cls(asset_class, "", local_symbol=rest.removeprefix("local="))
        symbol, currency, expiry = rest.split("|")
        return cls(asset_class, symbol, currency, "" if expiry == "front" else expiry)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Selector":
        """The selector that `as_dict` made."""
        known = {name: value for name, value in row.items() if name in cls._fields}
        return cls(**({"asset_class": "", "symbol": ""} | known))

    def as_dict(self) -> dict[str, str | int]:
        return {name: value for name, value in self._asdict().items() if value}

    @property
    def words(self) -> str:
        """For a sentence: `AAPL (STK)`."""
        name = self.local_symbol or self.symbol or f"con_id {self.con_id}"
        return f"{name} ({self.asset_class})" if self.asset_class else name


class InstrumentName(NamedTuple):
    """An instrument_id as a caller gave it, and the hints that choose between contracts of that name."""

    text: str
    asset_class: str = ""
    currency: str = ""


def instrument_id(
    *,
    symbol: str,
    asset_class: str,
    currency: str,
    exchange: str,
    primary_exchange: str,
    local_symbol: str,
    trading_class: str,
    expiry: str,
) -> str:
    """The NautilusTrader-style name. Futures whose local symbol has spaces get root, month code and year digit."""
    symbol, local_symbol, trading_class = symbol.upper(), local_symbol.upper(), trading_class.upper()
    venue = primary_exchange if primary_exchange and exchange in ("SMART", "") else exchange or primary_exchange
    venue = _RENAMED.get(venue, venue)
    if asset_class in ("CASH", "CRYPTO"):
        return f"{symbol}/{currency}.{venue}"
    if asset_class == "FUT":
        name = local_symbol
        if not name or " " in name:
            name = f"{trading_class or symbol}{_MONTH_CODES[int(expiry[4:6]) - 1]}{expiry[3]}" if expiry else symbol
        return f"{name}.{venue}"
    if asset_class in ("OPT", "FOP"):
        return f"{' '.join(local_symbol.split())}.{venue}"
    return f"{symbol}.{venue}"


def select(
    *,
    symbol: str | None = None,
    instrument_id: str | None = None,
    asset_class: str | None = None,
    exchange: str | None = None,
    currency: str | None = None,
    expiry: str | None = None,
    con_id: int | None = None,
) -> Selector:
    """The lookup that a caller's words mean. InvalidInput names the field that makes no sense."""
    if con_id and (symbol or instrument_id):
        raise InvalidInput.field("con_id", "give only one of symbol, instrument_id, con_id")
    if expiry and not _is_contract_month(expiry):
        raise InvalidInput.field("expiry", f"{expiry!r} is not a contract month", ["yyyymm", "yyyymmdd"])
    # Looked at beside any name: an unknown word is reported, though other words decide.
    given_class = _clean_class(asset_class)
    hint = _clean_hint("exchange", exchange, ["NASDAQ", "SMART", "CME"])
    hint = _RENAMED.get(hint, hint)
    money = _clean_hint("currency", currency, ["USD", "EUR"])
    if con_id:
        _refuse_unused(expiry, str(con_id))
        return Selector("", "", con_id=con_id)
    if bool(symbol) == bool(instrument_id):
        ways = ["symbol", "instrument_id", "con_id"]
        raise InvalidInput.field("symbol", f"give either {' or '.join(ways)}", ways)
    if instrument_id:
        return _from_id(instrument_id, given_class, expiry or "")
    assert symbol is not None  # noqa: S101  for the type checker: exactly one of the two is there
    name = _clean_name("symbol", symbol)
    base, quote = _split_pair(name, given_class)
    if quote or (given_class or "STK") not in _EXPIRING:
        _refuse_unused(expiry, name)
    if quote:
        return Selector(given_class or ("CRYPTO" if base in COINS else "CASH"), base, quote, exchange_hint=hint)
    if given_class in ("CASH", "CRYPTO"):
        if given_class == "CASH" and not money:
            raise InvalidInput.field("symbol", f"{name!r} is not a currency pair", ["EUR/USD", "EURUSD"])
        return Selector(given_class, name, money or "USD", exchange_hint=hint)
    if given_class == "FUT" and not expiry and re.fullmatch(CONTRACT, name):
        return Selector("FUT", "", local_symbol=name, exchange_hint=hint)
    kind = given_class or "STK"
    default = "USD" if kind in ("STK", "CFD") else ""  # of other contracts the symbol is enough
    return Selector(kind, name, money or default, expiry=expiry or "", exchange_hint=hint)


def name_of(text: str, asset_class: str | None = None, currency: str | None = None) -> InstrumentName:
    """An instrument_id in its one spelling. InvalidInput names the field that makes no sense."""
    name, venue = _split_id(text)
    return InstrumentName(f"{name}.{venue}", _clean_class(asset_class), _clean_hint("currency", currency, ["USD"]))


def renamed_venue(exchange: str | None, instrument_id: str | None) -> tuple[str, str] | None:
    """The old and the new name of a venue that was given by the old one."""
    venue = upper_ascii(exchange or (instrument_id or "").rpartition(".")[2])
    return (venue, _RENAMED[venue]) if venue in _RENAMED else None


def leads_back(name: str, asset_class: str, symbol: str) -> bool:
    """True when an instrument_id, looked up by its words, means an instrument of this class and symbol."""
    try:
        meant = select(instrument_id=name)
    except InvalidInput:
        return False
    return meant.asset_class == asset_class and (meant.symbol == symbol.upper() or bool(meant.local_symbol))


def is_name(name: str) -> bool:
    """True when an instrument_id is one that callers may give."""
    try:
        name_of(name)
    except InvalidInput:
        return False
    return True


def _split_id(text: str) -> tuple[str, str]:
    name, dot, venue = upper_ascii(text).rpartition(".")
    if not dot or not name or not re.fullmatch(f"[A-Z0-9_-]{{1,{MAX_VENUE}}}", venue):
        raise InvalidInput.field("instrument_id", f"{text!r} is not of the form SYMBOL.VENUE", ["AAPL.NASDAQ"])
    return _clean_name("instrument_id", name), _RENAMED.get(venue, venue)


def _refuse_unused(expiry: str | None, name: str) -> None:
    """InvalidInput for a contract month beside words that mean one contract already, which may be another one."""
    if expiry:
        raise InvalidInput.field(
            "expiry", f"{name} has no contract month to choose; give one with the root of a future"
        )


def _from_id(text: str, given_class: str, expiry: str = "") -> Selector:
    name, venue = _split_id(text)
    kind = given_class or _pair_class(name) or _VENUE_CLASS.get(venue, "STK")
    base, quote = _split_pair(name, kind)
    one_contract = bool(quote) or (kind == "FUT" and re.fullmatch(CONTRACT, name) is not None)
    if one_contract or kind not in _EXPIRING:
        _refuse_unused(expiry, text)
    if quote:
        return Selector(kind, base, quote, venue=venue)
    if one_contract:
        return Selector("FUT", "", local_symbol=name, venue=venue)
    return Selector(kind, name, "", expiry=expiry, venue=venue)


def _pair_class(name: str) -> str:
    """The asset class of a pair that is written as one, of known coins and currencies, whatever its venue; else empty."""
    base, mark, quote = name.partition("/")
    if not mark or quote not in CURRENCIES:
        return ""
    return "CRYPTO" if base in COINS else "CASH" if base in CURRENCIES else ""


def _is_contract_month(text: str) -> bool:
    """True for a month or a day that exists, in ASCII digits: yyyymm or yyyymmdd, from 1970 to 2199."""
    if not re.fullmatch(r"(19[7-9]|20[0-9]|21[0-9])[0-9](0[1-9]|1[0-2])([0-9]{2})?", text):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:] or 1))
    except ValueError:
        return False
    return True


def _clean_class(text: str | None) -> str:
    if not text:
        return ""
    name = upper_ascii(text)
    name = {"CONTFUT": "FUT", "FOREX": "CASH", "FX": "CASH", "STOCK": "STK", "ETF": "STK"}.get(name, name)
    if name not in ASSET_CLASSES:
        raise InvalidInput.field("asset_class", f"{text!r} is not an asset class", ASSET_CLASSES)
    return name


MAX_SYMBOL = 40
"""Characters of a symbol."""
MAX_VENUE = 20
"""Characters of an exchange, and of any other word that chooses between contracts."""
_MARKS = "./-_ ^&+*#!@$'():="
"""What stands in IB's symbols besides letters and digits, and in those of other systems."""


def _clean_name(field: str, text: str) -> str:
    name = upper_ascii(" ".join(text.split()))
    if not name or len(name) > MAX_SYMBOL or not all(c.isalnum() or c in _MARKS for c in name) or not name.isascii():
        wanted = f"letters, digits, blanks and {_MARKS.replace(' ', '')} only, at most {MAX_SYMBOL}"
        several = "; a comma stands between several, which some routes take as symbols" if "," in text else ""
        raise InvalidInput.field(field, f"{text!r} is not a symbol: {wanted}{several}")
    return name


def _clean_hint(field: str, text: str | None, examples: Sequence[str]) -> str:
    name = upper_ascii(text or "")
    if len(name) > MAX_VENUE or not name.isascii() or not all(c.isalnum() or c in ".-_" for c in name):
        raise InvalidInput.field(field, f"{text!r} is not a name of that kind", examples)
    return name


def _split_pair(name: str, asset_class: str) -> tuple[str, str]:
    """("EUR", "USD") of EUR/USD, EUR.USD or EURUSD; (name, "") when it is no pair."""
    if asset_class not in ("", "CASH", "CRYPTO"):
        return name, ""
    for mark in ("/", "."):
        base, found, quote = name.partition(mark)
        if found and base and len(quote) == 3 and (mark == "/" or asset_class):
            return base, quote
    if len(name) == 6 and (asset_class == "CASH" or {name[:3], name[3:]} <= CURRENCIES):
        return name[:3], name[3:]
    if asset_class == "CRYPTO" and len(name) > 3 and name[-3:] in CURRENCIES:
        return name[:-3], name[-3:]
    return name, ""


def choose(selector: Selector, candidates: Iterable[Instrument]) -> Instrument | None:
    """The one instrument a selector means among IB's candidates; None when there is none, Conflict when several."""
    found: Sequence[Instrument] = at_venue(selector, candidates)
    if len(found) > 1 and selector.exchange_hint:
        found = [i for i in found if _is_at(selector.exchange_hint, i)] or found
    if len(found) > 1:
        raise ambiguous(selector.words, found)
    return found[0] if found else None


def at_venue(selector: Selector, candidates: Iterable[Instrument]) -> list[Instrument]:
    """Those at the venue that an instrument_id names; all where none is named."""
    return [one for one in candidates if not selector.venue or _is_at(selector.venue, one)]


def _is_at(venue: str, one: Instrument) -> bool:
    """True for the exchange that a contract is listed at, or is sent to (SMART), under its old name or the present one."""
    return venue in {_RENAMED.get(name, name) for name in (one.primary_exchange, one.exchange)}


def ambiguous(words: str, found: Sequence[Instrument]) -> Conflict:
    """Several instruments fit the words. The error lists them; con_id names one even where they share a name."""
    names, way = [f"{i.instrument_id} ({i.currency})" for i in found], "instrument_id or con_id"
    if len(set(names)) < len(names):
        way = "con_id"
        names = [f"{i.instrument_id} ({i.currency}, con_id={i.con_id})" for i in found]
    shown = ("con_id", "instrument_id", "asset_class", "currency", "expiry", "long_name")
    return Conflict(
        f"{words} means several instruments; name one by {way}: {', '.join(names)}",
        code="ambiguous-instrument",
        extra={"candidates": [{name: getattr(one, name) for name in shown} for one in found]},
    )
