"""Live bars as a client keeps them. No socket: events in, changes out.

History's word ranks above `closed`, and `closed` above `forming`; of two of history's words the higher version counts. What
was missed while the connection was away comes with the next snapshot, so that each change is given once.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nautilus_client.times import to_ns

OF_HISTORY = ("confirmed", "revised", "withdrawn")
_RANKS = {"forming": 1, "closed": 2, **dict.fromkeys(OF_HISTORY, 3)}
_VALUES = ("open", "high", "low", "close", "volume", "trades")
KEPT = 5_000
"""Bars of one channel that are remembered, to know what is new."""


class LiveBar(NamedTuple):
    """A bar as it is by now. state: `forming` and `closed` are provisional; `confirmed`, `revised` and `withdrawn` are history's
    word and have a `version`. partial: parts of it were missed. was: of `revised`, the bar before that."""

    instrument: str
    ts: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    trades: int | None
    state: str
    version: int = 0
    partial: bool = False
    was: Mapping[str, Any] | None = None

    @property
    def settled(self) -> bool:
        return self.state in OF_HISTORY


class Event(NamedTuple):
    """A server-sent event."""

    id: str
    kind: str
    data: Mapping[str, Any]


class Events:
    """Makes events of the bytes of a stream, however these are cut (WHATWG, server-sent events)."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = self._kind = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            found = self._line(line.rstrip(b"\r").decode("utf-8", "replace"))
            if found is not None:
                yield found

    def _line(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self._id = value
            elif name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            return None
        if not self._data:
            return None
        found = Event(self._id, self._kind, json.loads("\n".join(self._data)))
        self._id, self._kind, self._data = "", "", []
        return found


class LiveBook:
    """The bars of one channel. instrument: as the caller named it."""

    def __init__(self, instrument: str) -> None:
        self._instrument = instrument
        self._known: dict[int, LiveBar] = {}
        self._settled_to = 0
        self.confirmed_until: str | None = None

    def skip_before(self, ns: int) -> None:
        """Bars that opened before are no news, unless history changes them from now on."""
        self._settled_to = max(self._settled_to, ns - 1)

    def take(self, event: Event) -> Sequence[LiveBar]:
        """What an event changes, in order of time; nothing where it says the same again."""
        match event.kind:
            case "snapshot":
                return self._snapshot(event.data)
            case "bar":
                return self._changes([self._bar(event.data, str(event.data.get("state", "closed")))])
            case "confirmed":
                return self._confirmed(event.data)
            case _:
                return ()

    def settle(self, rows: Iterable[tuple[Any, ...]], version: int) -> Sequence[LiveBar]:
        """What bars of history change that were read beside the events. rows: ts and values in the order of `USUAL`."""
        bars = []
        for ts, open_, high, low, close, volume, _, trades in rows:
            bars.append(LiveBar(self._instrument, ts, open_, high, low, close, volume, trades, "confirmed", version))
        return self._changes(bars)

    def _snapshot(self, data: Mapping[str, Any]) -> Sequence[LiveBar]:
        self.confirmed_until = data.get("confirmed_until") or self.confirmed_until
        self._drop(data)
        version = int(data.get("version") or 0)
        found = [self._bar(row, "confirmed", version) for row in data.get("bars") or ()]
        found += [self._bar(row, "closed") for row in data.get("provisional") or ()]
        if data.get("forming"):
            found.append(self._bar(data["forming"], "forming"))
        return self._changes(found)

    def _drop(self, data: Mapping[str, Any]) -> None:
        """Forget what a snapshot takes back: the ranges that it names, and provisional bars, unless the server has lost them."""
        gone = [(to_ns(start), to_ns(end)) for start, end in data.get("removed") or ()]
        keep_provisional = data.get("reason") == "live_bars_lost"
        self._known = {
            ts: bar
            for ts, bar in self._known.items()
            if not any(start <= ts < end for start, end in gone) and (bar.settled or keep_provisional)
        }

    def _confirmed(self, data: Mapping[str, Any]) -> Sequence[LiveBar]:
        """The bars of a range are as they were published."""
        start, end, version = to_ns(data["start"]), to_ns(data["end"]), int(data.get("version") or 0)
        self.confirmed_until = data["end"]
        inside = [bar for ts, bar in sorted(self._known.items()) if start <= ts < end]
        return self._changes(
            [bar._replace(state="confirmed", version=version) for bar in inside if bar.state == "closed"]
        )

    def _changes(self, bars: Sequence[LiveBar]) -> Sequence[LiveBar]:
        found = [bar for bar in sorted(bars, key=lambda one: one.ts) if self._is_news(bar)]
        for bar in found:
            self._known[bar.ts] = bar
        for ts in sorted(self._known)[:-KEPT]:
            self._settled_to = max(self._settled_to, ts)
            del self._known[ts]
        return found

    def _is_news(self, bar: LiveBar) -> bool:
        known = self._known.get(bar.ts)
        if known is None:
            return bar.ts > self._settled_to or bar.state in ("revised", "withdrawn")
        rank, before = _RANKS[bar.state], _RANKS[known.state]
        if rank != before:
            return rank > before
        if rank == 3:
            return bar.version > known.version and bar[2:8] != known[2:8]
        return bar[2:8] != known[2:8]

    def _bar(self, row: Mapping[str, Any], state: str, version: int = 0) -> LiveBar:
        state = state if state in _RANKS else "closed"
        return LiveBar(
            self._instrument,
            _stamp(row["ts"]),
            **{name: row.get(name) for name in _VALUES},
            state=state,
            version=int(row.get("version") or version),
            partial=bool(row.get("partial")),
            was=row.get("was"),
        )


def _stamp(value: Any) -> int:
    return value if isinstance(value, int) else int(value) if str(value).isdigit() else to_ns(str(value))
