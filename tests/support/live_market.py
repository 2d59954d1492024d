"""What the simulator's market streams and what its history says of the same time, without a socket.

Times are seconds since the epoch, UTC, as in the simulator; parts and bars have nanoseconds.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import NamedTuple

from ib_bridge.ib import translate
from ib_gateway_sim.faults.live import LiveFaults
from ib_gateway_sim.faults.live_bars import LiveBars
from ib_gateway_sim.history.families import DAY_S
from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated.market import Market
from ib_gateway_sim.times import text_date
from nautilus.clock import NS_PER_S
from nautilus.live.bars import LiveBar
from nautilus.live.folding import Part
from nautilus.market.calendar import Calendar

PART_S, MINUTE_S = 5, 60
MARKET = Market(7)
Prices = tuple[int, float, float, float, float, float | None, int | None]
Arrival = tuple[int, list[Part]]
"""A market time, and what comes then."""


def seconds(text: str) -> int:
    """Of a text such as `2026-03-08 21:15`, which is UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def utc(ns: int) -> str:
    """The reverse of `seconds`."""
    return datetime.fromtimestamp(ns / NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M")


class Watched(NamedTuple):
    """One kind of bars of one contract over a range of market time, and the faults of its streams."""

    contract: Contract
    what: str
    rth: bool
    start_s: int
    end_s: int
    faults: LiveFaults

    @classmethod
    def of(cls, query: ContractQuery, what: str, start_s: int, end_s: int, *, rth: bool = False) -> "Watched":
        (contract,) = MARKET.find(query, start_s)
        return cls(contract, what, rth, start_s, end_s, LiveFaults())

    @property
    def live(self) -> LiveBars:
        return LiveBars(MARKET, self.faults, self.contract, self.what, self.rth)

    def history(self, size: str) -> list[Prices]:
        """What a historical answer tells at the end of the range."""
        found = MARKET.bars(
            self.contract, size, self.what, rth=self.rth, start_s=self.start_s, end_s=self.end_s, now_s=self.end_s
        )
        return [(bar.t * NS_PER_S, *_values(bar)) for bar in found]

    def calendar(self) -> Calendar:
        """The sessions as the bridge reads them of an answer with texts of the exchange's clock."""
        zone, known = self.contract.time_zone, (self.start_s - 7 * DAY_S, self.end_s + 7 * DAY_S)

        def local(at_s: int) -> str:
            return text_date(at_s, zone).strftime("%Y%m%d-%H:%M:%S")

        schedule = [
            SimpleNamespace(
                startDateTime=local(each.open_s), endDateTime=local(each.close_s), refDate=f"{each.trade_date:%Y%m%d}"
            )
            for each in MARKET.sessions(self.contract, *known, rth=self.rth)
        ]
        sessions = translate.sessions(SimpleNamespace(timeZone=zone, sessions=schedule))
        return Calendar.of(sessions, (known[0] * NS_PER_S, known[1] * NS_PER_S), translate.time_zone(zone))

    def open_times(self, step_s: int) -> Iterator[int]:
        """Market times from `step_s` after each open, and a little longer than to the close."""
        for session in MARKET.sessions(self.contract, self.start_s, self.end_s, rth=self.rth):
            first = max(session.open_s, self.start_s)
            yield from range(first + step_s, min(session.close_s, self.end_s) + MINUTE_S, step_s)

    def five_seconds(self) -> list[Arrival]:
        """As reqRealTimeBars: each part when it is over; where nothing is traded, the last price with volume 0."""
        by_start = {bar.t: bar for bar in self.live.bars("5s", self.start_s, self.end_s, self.end_s)}
        before, found = None, list[Arrival]()
        for at_s in self.open_times(PART_S):
            start_s = at_s - PART_S
            bar = by_start.get(start_s)
            is_open = start_s < self.end_s and MARKET.sessions(self.contract, start_s, at_s, rth=self.rth)
            if bar is None and before is not None and is_open:
                flat = before.close
                bar = Bar(start_s, flat, flat, flat, flat, min(before.volume, 0), flat, min(before.count, 0))
            found.append((at_s, [_part(bar, PART_S)] if bar is not None else []))
            before = bar or before
        return found

    def updates(self, step_s: int) -> list[Arrival]:
        """As keepUpToDate: the newest state of a minute, and its last state when the next one begins."""
        live, sent, found = self.live, dict[int, Bar](), list[Arrival]()
        for at_s in self.open_times(step_s):
            first = at_s // MINUTE_S * MINUTE_S - MINUTE_S
            bars = live.bars("1m", max(first, self.start_s), min(at_s + 1, self.end_s), at_s)
            found.append((at_s, [_part(bar, MINUTE_S, complete=False) for bar in bars if sent.get(bar.t) != bar]))
            sent = {bar.t: bar for bar in bars}
        return found


def prices(bar: LiveBar) -> Prices:
    return bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades


def _part(bar: Bar, span_s: int, *, complete: bool = True) -> Part:
    return Part(bar.t * NS_PER_S, span_s * NS_PER_S, *_values(bar), complete=complete)


def _values(bar: Bar) -> tuple[float, float, float, float, float | None, int | None]:
    volume, count = (None if each == -1 else each for each in (bar.volume, bar.count))
    return bar.open, bar.high, bar.low, bar.close, volume, count  # type: ignore[return-value]
