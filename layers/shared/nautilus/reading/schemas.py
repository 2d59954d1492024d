"""Answers about market data. Times are RFC 3339 text in UTC unless they are called ts: those are ns since the epoch."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_NUMBER = {"type": "number"}
_MAYBE = {"type": ["number", "null"]}
_STAMP = {"type": ["integer", "null"]}
_TEXT = {"type": ["string", "null"]}
_GAP = {
    "type": "object",
    "required": ["start", "end", "state"],
    "properties": {
        "start": {"type": "string"},
        "end": {"type": "string"},
        "state": {"type": "string"},
        "reason": {"type": "string"},
        "ib_code": {"type": "integer"},
    },
}
_CANDLE = {
    "type": "object",
    "properties": {
        "time": {"type": "string", "description": "IB's notation: `20240105  14:30:00Z`, or `20240105` for days"},
        "ts": {"type": "integer", "description": "open of the bar in ns since the epoch, or the label of a day"},
        "open": _NUMBER,
        "high": _NUMBER,
        "low": _NUMBER,
        "close": _NUMBER,
        "volume": _MAYBE,
        "vwap": _MAYBE,
        "trades": _MAYBE,
        "ts_open": _STAMP,
        "ts_close": _STAMP,
        "provisional": {"type": "boolean", "description": "true, with live=1, where history has not confirmed it"},
    },
}
_INSTRUMENT = {
    "type": "object",
    "required": ["con_id", "checked_at"],
    "properties": {
        "con_id": {"type": "integer"},
        "checked_at": {**_TEXT, "description": "machine time when IB was last asked what the words mean"},
        "upstream": {"type": "object", "description": "IB's refusal, when it no longer knows the words"},
    },
}
_CHANGED = {
    "type": "object",
    "description": "the words mean another contract than before",
    "properties": {
        "from_con_id": {"type": "integer"},
        "from_instrument_id": {"type": "string"},
        "to_con_id": {"type": "integer"},
        "to_instrument_id": {"type": "string"},
        "seen_at": _TEXT,
    },
}
_ONE = {
    "type": "object",
    "required": ["symbol", "candles", "total"],
    "properties": {
        "symbol": {"type": "string"},
        "timeframe": {"type": "string"},
        "candles": {"type": "array", "items": _CANDLE},
        "total": {"type": "integer", "description": "candles in this answer"},
        "start_date": _TEXT,
        "end_date": _TEXT,
        "source": {"type": "string", "description": "where the bars come from, or `derived from 1m`"},
        "store": {"type": "string"},
        "instrument_id": {"type": "string"},
        "price": {"type": "string"},
        "session": {"type": "string"},
        "data_version": {"type": "integer"},
        "window": {"type": "object"},
        "coverage": {
            "type": ["object", "null"],
            "description": "null with as_of, as coverage has no versions",
            "required": ["complete", "missing"],
            "properties": {
                "complete": {"type": "boolean"},
                "missing": {"type": "array", "items": _GAP},
                "newer_version": {"type": "integer"},
            },
        },
        "coverage_reason": {"type": "string", "description": "why coverage is null"},
        "instrument": _INSTRUMENT,
        "instrument_changed": _CHANGED,
        "error": {"type": "object"},
        "job_id": _TEXT,
        "next_page_token": _TEXT,
        "backfill": {"type": "object", "description": "what to post to have the rest fetched"},
    },
}
BARS: dict[str, Any] = {
    "oneOf": [
        _ONE,
        {
            "type": "object",
            "required": ["results", "next_page_token"],
            "properties": {"results": {"type": "array", "items": _ONE}, "next_page_token": _TEXT},
        },
    ]
}
"""PostgreSQL writes the candles; the shape is described here alone. One instrument, or several below `results`."""


class _Answer(BaseModel):
    # Most processes never give most of these answers: their checks are built with the first one.
    model_config = ConfigDict(extra="allow", defer_build=True)


class Stretch(_Answer):
    start: str
    end: str


class Interval(Stretch):
    state: str
    bars: int
    expected: int | None = Field(description="slots in it; null where no sessions are known")
    reason: str | None = None
    ib_code: int | None = None


class CoverageSummary(_Answer):
    complete: bool
    complete_pct: float | None = Field(description="settled slots of `expected`; null while `unknown` is not 0")
    bars: int
    expected: int = Field(description="slots that have closed, where the sessions are known")
    missing_bars: int | None = Field(description="slots that are not settled; null while `unknown` is not 0")
    unknown: int = Field(description="intervals that have closed and of which the sessions are not known")


class Coverage(_Answer):
    instrument_id: str
    timeframe: str
    price: str
    session: str
    source: str
    data_version: int
    window: Stretch
    intervals: list[Interval]
    summary: CoverageSummary
    volume_unit: str | None = Field(
        description="what volumes count: shares, contracts, coins; unknown: as IB sent them, in shares or in lots; null: none"
    )
    job_id: str | None


class Explanation(_Answer):
    instrument_id: str
    timeframe: str
    price: str
    session: str
    ts: int
    slot: Stretch
    state: str
    data_version: int


class CoveredRange(_Answer):
    start: str
    end: str
    ranges: int = Field(description="how many ranges that touch nowhere; 1: all in between is settled")


class SeriesRow(_Answer):
    series_id: int
    con_id: int
    instrument_id: str
    symbol: str
    asset_class: str
    timeframe: str
    price: str
    session: str
    data_version: int = Field(description="rises with every change of its bars or of its coverage")
    head: str | None = Field(description="the oldest bar that IB says it has; null: it was not asked")
    covered: CoveredRange | None = Field(
        description="from the first settled range to the last; null: nothing is settled"
    )
    first_bar: str | None
    last_bar: str | None
    changed_at: str | None = Field(description="machine time when bars came or went last")


class SeriesList(_Answer):
    series: list[SeriesRow]
    next_after: int | None = Field(description="`after` of the next page")


class CoverageRun(_Answer):
    from_: str = Field(alias="from", description="the first trade date")
    to: str = Field(description="the last trade date")
    days: int
    state: str = Field(description="settled, the worst state of what is missing, or unknown: nobody knows the sessions")
    expected: int | None = Field(description="slots; null where the sessions are not known")
    settled: int = Field(description="how many of them are settled")


class MappedSeries(_Answer):
    series_id: int
    con_id: int
    instrument_id: str
    timeframe: str
    price: str
    session: str
    data_version: int
    runs: list[CoverageRun]


class CoverageMap(_Answer):
    window: Stretch
    series: list[MappedSeries]
    next_after: int | None = Field(description="`after` of the next page")


class Prices(_Answer):
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    vwap: float | None
    trades: int | None


class RevisionRow(_Answer):
    ts: int
    until_version: int = Field(description="the first version that no longer has this value")
    before: Prices | None = Field(description="the value; null: there was no bar")
    by_request: int | None = Field(description="the request to IB whose answer changed it")
    changed_at: str


class Revisions(_Answer):
    instrument_id: str
    timeframe: str
    price: str
    session: str
    data_version: int
    revisions: list[RevisionRow]
    next_start: str | None = Field(description="`start` of the next page, in ns")


class SessionRow(_Answer):
    trade_date: str
    open: str
    close: str


class CalendarAnswer(_Answer):
    instrument_id: str
    session: str
    time_zone: str
    known: Stretch | None = Field(description="for which time IB told the sessions; null: it was not asked yet")
    sessions: list[SessionRow]


class InstrumentRow(_Answer):
    con_id: int
    instrument_id: str
    symbol: str
    asset_class: str
    exchange: str
    primary_exchange: str
    currency: str
    long_name: str = ""
    known: bool = Field(True, description="false: IB's search told of it, its details were not asked for yet")


class Instruments(_Answer):
    instruments: list[InstrumentRow]
    next_after: int | None = Field(description="`after` of the next page")


class FrontEndInstrument(_Answer):
    contract_id: int
    symbol: str
    sec_type: str
    exchange: str
    currency: str


class FrontEndSearch(_Answer):
    instruments: list[FrontEndInstrument]
    total: int
    query: str
    timestamp: str

    @classmethod
    def of(cls, query: str, rows: Sequence[Mapping[str, Any]]) -> "FrontEndSearch":
        """The rows of a search in the front end's words."""
        return cls(
            instruments=[FrontEndInstrument.model_validate(_front_end(row)) for row in rows],
            total=len(rows),
            query=query,
            timestamp=datetime.now(UTC).isoformat(),
        )


def _front_end(row: Mapping[str, Any]) -> Mapping[str, Any]:
    details = row.get("details") or {}
    return {
        "contract_id": row["con_id"],
        "symbol": row["symbol"],
        "sec_type": row["asset_class"],
        "exchange": row["exchange"],
        "currency": row["currency"],
        "name": row["long_name"],
        "description": row["long_name"],
        "local_symbol": row.get("local_symbol", ""),
        "trading_class": row.get("trading_class", ""),
        "multiplier": row.get("multiplier", ""),
        "expiry": row.get("expiry", ""),
        "primary_exchange": row["primary_exchange"],
        "min_tick": row.get("min_tick"),
        "price_magnifier": details.get("price_magnifier"),
        "order_types": _list(details.get("order_types")),
        "valid_exchanges": _list(details.get("valid_exchanges")),
        "market_hours": details.get("trading_hours", ""),
        "liquid_hours": details.get("liquid_hours", ""),
        "timezone": row.get("time_zone", ""),
        "instrument_id": row["instrument_id"],
    }


def _list(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part]


class ForexPairs(_Answer):
    forex_pairs: list[str]
