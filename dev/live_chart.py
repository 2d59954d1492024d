"""The bars of one channel as a careful client keeps them, by the rule of docs/live.md, and how they differ from history's."""

from collections.abc import Mapping, Sequence
from typing import Any

VALUES = ("open", "high", "low", "close", "volume")
_RANK = {"forming": 0, "closed": 1, "confirmed": 2, "revised": 2}
Bars = Mapping[str, Mapping[str, Any]]
"""Time of its open as RFC 3339 text -> a bar."""


class LiveChart:
    """bars: as in `Bars`, each with its state and version."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.bars: dict[str, dict[str, Any]] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        """A message of the stream; those of other channels change nothing."""
        if message.get("c") != self.channel:
            return
        kind = message["t"]
        if kind == "snapshot":
            self._snapshot(message)
        elif kind == "bar":
            self._bar(message, message.get("version", 0))
        elif kind == "confirmed":
            for ts, bar in self.bars.items():
                if message["start"] <= ts < message["end"]:
                    bar.update(state="confirmed", version=message["version"])

    def _snapshot(self, message: Mapping[str, Any]) -> None:
        for start, end in message.get("removed", ()):
            self.bars = {ts: bar for ts, bar in self.bars.items() if not start <= ts < end}
        if message.get("reason") != "live_bars_lost":
            self.bars = {ts: bar for ts, bar in self.bars.items() if _RANK[bar["state"]] == 2}
        forming = [message["forming"]] if message["forming"] else []
        for bar in (*message["bars"], *message["provisional"], *forming):
            self._bar(bar, message["version"] if bar["state"] == "confirmed" else 0)

    def _bar(self, bar: Mapping[str, Any], version: int) -> None:
        ts, known = bar["ts"], self.bars.get(bar["ts"])
        if bar["state"] == "withdrawn":
            self.bars.pop(ts, None)
        elif known is None or (_RANK[bar["state"]], version) >= (_RANK[known["state"]], known["version"]):
            self.bars[ts] = {**bar, "version": version}

    def between(self, start: str, end: str) -> dict[str, dict[str, Any]]:
        """The bars of start <= time < end."""
        return {ts: bar for ts, bar in sorted(self.bars.items()) if start <= ts < end}

    def is_confirmed(self, start: str, end: str, count: int) -> bool:
        """True once so many bars are there, and history has answered for each bar of that time."""
        bars = self.between(start, end)
        return len(bars) >= count and all(_RANK[bar["state"]] == 2 for bar in bars.values())


def differences(live: Bars, history: Bars) -> Sequence[str]:
    """Where two sets of bars differ, a line each: bars that one alone has, and values."""
    found = [f"{ts} live, not history" for ts in sorted(live.keys() - history.keys())]
    found += [f"{ts} history, not live" for ts in sorted(history.keys() - live.keys())]
    for ts in sorted(live.keys() & history.keys()):
        wrong = [name for name in VALUES if live[ts][name] != history[ts][name]]
        found += [f"{ts} {name}: live {live[ts][name]}, history {history[ts][name]}" for name in wrong]
    return found
