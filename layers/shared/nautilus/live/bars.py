"""A live bar: a preview of what history will say, and how far it has come."""

from enum import StrEnum
from typing import NamedTuple


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
