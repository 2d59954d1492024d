"""The parameters of requests for bars: what they are called, and what they mean together."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from nautilus.clock import time_in_address
from nautilus.coverage.availability import Window
from nautilus.errors import InvalidInput
from nautilus.http.json_values import MAX_NUMBER
from nautilus.live.offered import KEPT_TIMEFRAMES
from nautilus.market.symbols import InstrumentName, Selector, name_of, select
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.reading import as_of
from nautilus.reading.as_of import AsOf
from nautilus.reading.coverage_map import DEFAULT_DAYS, DEFAULT_SERIES, MAX_SERIES, numbers_of
from nautilus.reading.formats import FIELDS, PROVISIONAL, choose, fields_of
from nautilus.reading.query import DEFAULT_LIMIT, MAX_LIMIT, MAX_SYMBOLS, MAX_WAIT_S, BarsQuery

TIME = "RFC 3339 with offset, or epoch nanoseconds"
_WAYS = ["symbol", "symbols", "instrument_id", "con_id"]


class NamedSeries(NamedTuple):
    """Which series of which instrument."""

    symbol: str | None
    instrument_id: str | None
    asset_class: str | None
    exchange: str | None
    currency: str | None
    timeframe: Timeframe
    price: str | None
    session: str | None
    con_id: int | None = None

    def selector(self, symbol: str | None = None) -> Selector:
        """The lookup of the named instrument, or of another symbol with the same hints."""
        return select(
            symbol=symbol or self.symbol,
            instrument_id=self.instrument_id,
            asset_class=self.asset_class,
            exchange=self.exchange,
            currency=self.currency,
            con_id=self.con_id,
        )

    @property
    def name(self) -> InstrumentName | None:
        """The instrument_id, where that names the instrument."""
        if self.instrument_id is None:
            return None
        return name_of(self.instrument_id, self.asset_class, self.currency)


class SeriesParameters(BaseModel):
    """The parameters that name an instrument and one of its series."""

    symbol: str | None = Field(None, description="such as AAPL, EURUSD or EUR/USD")
    instrument_id: str | None = Field(None, description="such as AAPL.NASDAQ, instead of symbol")
    asset_class: str | None = Field(None, description="STK, CASH, FUT, IND, ...; default from the symbol")
    exchange: str | None = Field(None, description="a hint between candidates")
    currency: str | None = Field(None, description="STK: default USD")
    timeframe: str = Field("1h", description="1m, 5m, 1h, 1d, ...")
    price: str | None = Field(None, description="TRADES, MIDPOINT, BID, ASK, BID_ASK, AGGTRADES")
    session: str | None = Field(None, description="rth or all")
    con_id: int | None = Field(None, ge=1, le=MAX_NUMBER, description="IB's number of the contract, instead of symbol")

    def named(self) -> NamedSeries:
        return NamedSeries(
            symbol=self.symbol,
            instrument_id=self.instrument_id,
            asset_class=self.asset_class,
            exchange=self.exchange,
            currency=self.currency,
            timeframe=timeframe(self.timeframe),
            price=self.price,
            session=self.session,
            con_id=self.con_id,
        )


class WindowParameters(BaseModel):
    """The parameters that say from when to when, and how many."""

    start: str | None = Field(None, description=f"{TIME}; included")
    end: str | None = Field(None, description=f"{TIME}; excluded")
    limit: int | None = Field(None, ge=1, le=MAX_LIMIT, description=f"default {DEFAULT_LIMIT}")

    def window(self) -> Window:
        window = Window(time_of("start", self.start), time_of("end", self.end), self.limit)
        if window.start is not None and window.end is not None and window.start >= window.end:
            raise InvalidInput.field("start", "must be before end")
        return window


class BarsParameters(WindowParameters, SeriesParameters):
    """The parameters of the busiest route."""

    symbols: str | None = Field(
        None, description=f"instead of symbol: up to {MAX_SYMBOLS}, comma-separated; symbol first, then time"
    )
    sort: Literal["asc", "desc"] = Field("asc", description="by time")
    page_token: str | None = Field(None, description="next_page_token of the answer before")
    fields: str | None = Field(None, description=f"comma-separated, of {', '.join(FIELDS)}; or changes: +vwap,-volume")
    format: str | None = Field(None, description="json, csv, ndjson, columns, arrow; wins over Accept")
    wait: float | None = Field(None, ge=0, le=MAX_WAIT_S, description="seconds to wait for missing bars")
    backfill: Literal["auto", "never"] = Field(
        "auto", description="never: nothing that is missing is requested from IB"
    )
    live: int = Field(0, ge=0, le=1, description="1: with the provisional bars of live data")
    as_of: str | None = Field(
        None, description=f"the bars as they were at a version of the series, or at a moment of machine time: {TIME}"
    )

    def query(self, headers: Mapping[str, str]) -> BarsQuery:
        """The query that parameters and headers mean together; headers: by names in small letters."""
        chosen = choose(self.format, headers.get("accept"))
        named = self.named()
        window = self.window()
        names, selectors = _names(named, self.symbols)
        live = self._live(named.timeframe)
        if self.as_of is not None and self.symbols is not None:
            raise InvalidInput.field(
                "symbols",
                "each has versions of its own, so as_of needs one instrument",
                ["symbol", "instrument_id", "con_id"],
            )
        return BarsQuery(
            selectors=selectors,
            names=names,
            several=self.symbols is not None,
            timeframe=named.timeframe,
            price=named.price,
            session=named.session,
            window=window,
            descending=self.sort == "desc",
            form=chosen,
            fields=fields_of(self.fields, chosen) + ((PROVISIONAL,) if live and chosen.table else ()),
            page_token=self.page_token or None,
            gzip=_takes_gzip(headers.get("accept-encoding", "")),
            if_none_match=headers.get("if-none-match", ""),
            wait_s=_wait(headers, self.wait),
            instrument_name=named.name,
            as_of=_as_of(self.as_of),
            backfill=self.backfill == "auto",
            live=live,
        )

    def _live(self, frame: Timeframe) -> bool:
        """Whether provisional bars are wanted. InvalidInput where there are none."""
        if not self.live:
            return False
        if self.symbols is not None:
            raise InvalidInput.field("symbols", "live=1 reads one instrument", ["symbol", "instrument_id", "con_id"])
        if self.as_of is not None:
            raise InvalidInput.field("live", "a version (as_of) has no provisional bars", ["0"])
        if frame.name not in KEPT_TIMEFRAMES:
            raise InvalidInput.field("timeframe", f"live=1 has no provisional bars of {frame.name}", KEPT_TIMEFRAMES)
        return True


class MapParameters(BaseModel):
    """The parameters of the coverage map: which series, and from when to when."""

    series: str | None = Field(None, description=f"series_id of up to {MAX_SERIES} series, comma-separated")
    instrument_id: str | None = Field(None, description="instead: those of an instrument, such as AAPL.NASDAQ")
    timeframe: str | None = Field(None, description="instead: those of a timeframe, such as 1m")
    start: str | None = Field(None, description=f"{TIME}; included; default {DEFAULT_DAYS} days before the end")
    end: str | None = Field(None, description=f"{TIME}; excluded; default the end of today")
    limit: int = Field(DEFAULT_SERIES, ge=1, le=MAX_SERIES, description="series in a page")
    after: int = Field(0, ge=0, le=2**31 - 1, description="series_id of the last one of the page before")

    def window(self) -> Window:
        return Window(time_of("start", self.start), time_of("end", self.end))

    def numbers(self) -> list[int] | None:
        """The series that are named; None: others are meant. InvalidInput when both are."""
        if self.series is None:
            return None
        if self.instrument_id is not None or self.timeframe is not None or self.after:
            raise InvalidInput.field("series", "names the series; instrument_id, timeframe and after choose others")
        return numbers_of(self.series)

    @property
    def frame(self) -> str | None:
        return timeframe(self.timeframe).name if self.timeframe is not None else None


def _as_of(text: str | None) -> AsOf | None:
    """A version, or a time. InvalidInput names the field when it is neither."""
    if text is None:
        return None
    if re.fullmatch(r"(?a)\s*\d{1,17}\s*", text):
        return as_of.parsed(int(text))
    try:
        return AsOf(by_ns=time_of("as_of", text))
    except InvalidInput:
        allowed = ["a data_version such as 12", "2024-01-05T14:30:00Z", "1704465000000000000"]
        raise InvalidInput.field("as_of", f"{text[:64]!r} is neither a version nor a time", allowed) from None


def time_of(field: str, text: str | None) -> int | None:
    """A time in ns. InvalidInput names the field when it is none."""
    try:
        value = time_in_address(text)
    except ValueError as wrong:
        raise InvalidInput.field(field, str(wrong), ["2024-01-05T14:30:00Z", "1704465000000000000"]) from None
    if value is not None and not 0 <= value < 2**63:
        raise InvalidInput.field(field, "lies before 1970 or after 2262")
    return value


def _names(named: NamedSeries, symbols: str | None) -> tuple[tuple[str | None, ...], tuple[Selector, ...]]:
    one_is_named = bool(named.symbol or named.instrument_id or named.con_id)
    if symbols is None and not one_is_named:
        raise InvalidInput.field("symbol", f"give one of {', '.join(_WAYS)}", _WAYS)
    if symbols is None:
        return (named.symbol,), (named.selector(),)
    if one_is_named:
        raise InvalidInput.field("symbols", f"give only one of {', '.join(_WAYS)}", _WAYS)
    names = list(dict.fromkeys(part.strip() for part in symbols.split(",") if part.strip()))
    if not 1 <= len(names) <= MAX_SYMBOLS:
        raise InvalidInput.field("symbols", f"must be 1 to {MAX_SYMBOLS} symbols, comma-separated")
    return tuple(names), tuple(named.selector(name) for name in names)


def _wait(headers: Mapping[str, str], given: float | None) -> float | None:
    """Seconds to wait: the parameter, else `Prefer: wait=N` (RFC 7240)."""
    if given is not None:
        return given
    found = re.search(r"(?a)\bwait=(\d+(?:\.\d+)?)", headers.get("prefer", ""))
    return min(float(found[1]), MAX_WAIT_S) if found else None


def _takes_gzip(header: str) -> bool:
    """True when Accept-Encoding names gzip and does not refuse it."""
    for part in header.split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
