"""The newest quote of an instrument, put together from what IB sends of it field by field."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ib_bridge.ib.live_callbacks import QuoteChange
from nautilus.clock import rfc3339
from nautilus.db.live.quotes import QuoteRow
from nautilus.market.instrument import Instrument, sent_in_lots

SIZES = frozenset({"bid_size", "ask_size", "last_size", "volume"})
_PRICES = ("bid", "ask", "last", "open", "high", "low", "close")
SHARES_SINCE = 159
"""The first protocol version that tells sizes of US stocks in shares (server_versions of IB's clients, read 2026-11)."""
_LOT = 100


def size_factor(instrument: Instrument, server_version: int, history_unit: str) -> float | None:
    """By what sizes of quotes, ticks and bars of five seconds are multiplied to be shares or contracts; None when that is not
    known. history_unit: `shares`, `lots` or `unknown`: the unit of historical volumes from version 175 on. There the
    gateway's setting for lots may hold for these sizes, too."""
    if not sent_in_lots(instrument, "TRADES"):
        return 1.0
    if server_version < SHARES_SINCE:
        return float(_LOT)
    return 1.0 if server_version < 175 or history_unit == "shares" else None


@dataclass
class QuoteState:
    """The fields as IB sent them; None: it has sent none. Times are market time in ns. channel: where it is published."""

    con_id: int
    channel: str
    fields: dict[str, Any] = field(default_factory=dict)
    feed: str = ""
    seen_at: int = 0

    def take(self, change: QuoteChange, factor: Callable[[], float | None], seen_at: int) -> bool:
        """Take a change; True when it says something new. factor: of its sizes, if it has any."""
        changed = False
        known = None if SIZES.isdisjoint(change.fields) else factor()
        for name, value in change.fields.items():
            new = scaled(value, known) if name in SIZES else value
            if self.fields.get(name, _UNSET) != new:
                self.fields[name], changed = new, True
        self.seen_at = seen_at
        return changed

    def row(self) -> QuoteRow:
        values = {name: self.fields.get(name) for name in (*_PRICES, *SIZES, "halted", "ts")}
        return QuoteRow(con_id=self.con_id, feed=self.feed, seen_at=self.seen_at, **values)

    def message(self) -> dict[str, Any]:
        """The fields of a message `quote`: all of it, each time."""
        ts = self.fields.get("ts")
        known = {name: self.fields.get(name) for name in _ORDER}
        return {**known, "feed": self.feed, "ts": rfc3339(ts) if ts else None, "seen": rfc3339(self.seen_at)}


_ORDER = ("bid", "bid_size", "ask", "ask_size", "last", "last_size", "volume", "open", "high", "low", "close", "halted")
_UNSET = object()


def scaled(value: Any, factor: float | None) -> float | None:
    """A size in shares or contracts; None where it, or the factor, is not known."""
    return None if value is None or factor is None else value * factor
