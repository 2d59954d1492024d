"""A live bar: a preview of what history will say, and how far it has come; and how bars look in messages."""

from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from nautilus.clock import rfc3339


class LiveState(StrEnum):
    """How far a live bar has come. What is above `closed` is history's answer."""

    FORMING = "forming"
    CLOSED = "closed"
    CONFIRMED = "confirmed"
    REVISED = "revised"
    WITHDRAWN = "withdrawn"


class LiveBar(NamedTuple):
    """One bar as the stream tells it.

    ts: ns since the epoch, UTC, the open of its slot. volume in shares, contracts or units of the base currency; volume and
    trades are None where IB sends -1. A volume-weighted price is never made from parts: IB's own is no mean of them.
    partial: parts of the slot are missing, so that prices and volume may be those of a piece of it.
    """

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    trades: int | None
    state: LiveState
    partial: bool


class BarValues(Protocol):
    """What live bars, bars of history and rows of both have. ts: ns since the epoch, UTC."""

    @property
    def ts(self) -> int: ...
    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...
    @property
    def volume(self) -> float | None: ...
    @property
    def trades(self) -> int | None: ...


def bar_fields(bar: BarValues) -> dict[str, Any]:
    """A bar in a message: its stamp as RFC 3339 text, prices, volume and trades."""
    return {
        "ts": rfc3339(bar.ts),
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        "volume": bar.volume,
        "trades": bar.trades,
    }


def live_fields(bar: BarValues, state: str, *, partial: bool, source: str, seen_at: int) -> dict[str, Any]:
    """A bar that history has not answered for, in a message. seen_at: market time at which the bridge had it, ns."""
    more = {"partial": True} if partial else {}
    return {**bar_fields(bar), "state": state, **more, "source": source, "seen": rfc3339(seen_at)}
