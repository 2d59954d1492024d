"""A replayed file in memory: its bars, and the sessions that are made of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from zoneinfo import ZoneInfo

from ib_gateway_sim.market.bars import Bar, merged
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.replayed.bar_files import MINUTE_S, read_bars
from ib_gateway_sim.market.replayed.contract import ReplayFile, contract_of, future_of, tick_size

PAUSE_S = 30 * 60
REGULAR_HOURS = ("STK", "IND")
"""Classes that have regular hours; of the rest all hours are."""
# zone, hours that the day starts early
_SHIFTED_DAY = {"FUT": ("America/Chicago", 7), "CASH": ("America/New_York", 7), "CRYPTO": ("UTC", 0)}


@dataclass(frozen=True)
class Tape:
    """One file in memory: bars in order of time, and the sessions made of them."""

    contract: Contract
    kind: str
    zone: ZoneInfo
    bars: tuple[Bar, ...]
    sessions: tuple[Session, ...]
    regular: tuple[Session, ...]

    @cached_property
    def opens(self) -> list[int]:
        return [bar.t for bar in self.bars]

    @cached_property
    def by_date(self) -> dict[bool, dict[date, list[Session]]]:
        """rth -> trade date -> its sessions."""
        table: dict[bool, dict[date, list[Session]]] = {False: {}, True: {}}
        for rth in (False, True):
            for session in self.regular if rth else self.sessions:
                table[rth].setdefault(session.trade_date, []).append(session)
        return table

    def between(self, start_s: float, end_s: float, now_s: float) -> Sequence[Bar]:
        """Bars that open in [start_s, end_s) and are over at now_s."""
        last = min(bisect_left(self.opens, end_s), bisect_right(self.opens, now_s - MINUTE_S))
        return self.bars[bisect_left(self.opens, start_s) : last]

    def opening(self, day: date, rth: bool) -> int | None:
        found = self.by_date[rth].get(day)
        return found[0].open_s if found else None

    def day_bar(self, day: date, rth: bool, now_s: float) -> Bar | None:
        bars = [bar for one in self.by_date[rth].get(day, ()) for bar in self.between(one.open_s, one.close_s, now_s)]
        return merged(bars, bars[0].t, self.kind) if bars else None


def content_of(file: ReplayFile) -> bytes:
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise ValueError(f"{file.path.name} cannot be read: {error.strerror}") from None


def digest_of(file: ReplayFile, content: bytes) -> bytes:
    """The hash of a file, and of what makes other bars of its rows."""
    options = "".join([file.stamp if file.stamp != "open" else "", file.zone])
    return sha256(content + options.encode()).digest()


def tape_of(file: ReplayFile, content: bytes) -> Tape:
    contract = contract_of(file)
    positive = contract.sec_type in ("STK", "CASH", "CRYPTO")  # a future, a spread or an index may fall below zero
    bars = read_bars(file.path.name, content, stamp=file.stamp, zone=file.zone, positive=positive)
    contract = replace(contract, min_tick=tick_size(bars))
    if contract.sec_type == "FUT":
        contract = future_of(contract, bars, file.exchange)
    zone_name, early_hours = _SHIFTED_DAY.get(contract.sec_type, ("America/New_York", 0))
    zone = ZoneInfo(zone_name)
    week = contract.sec_type != "CRYPTO"
    sessions = tuple(_sessions(bars, zone, early_hours, week=week))
    regular = tuple(_regular(sessions)) if contract.sec_type in REGULAR_HOURS else sessions
    return Tape(contract, contract.kinds[0], zone, tuple(bars), sessions, regular)


def _sessions(bars: Sequence[Bar], zone: ZoneInfo, early_hours: int, *, week: bool) -> Iterator[Session]:
    opened, before = bars[0].t, bars[0].t
    day = _trade_date(opened, zone, early_hours, week)
    for bar in bars[1:]:
        # the trade date can only change on a full hour, and looking it up is slow
        today = day if bar.t // 3600 == before // 3600 else _trade_date(bar.t, zone, early_hours, week)
        if bar.t - before - MINUTE_S > PAUSE_S:
            yield Session(opened, before + MINUTE_S, day)
            opened = bar.t
        elif today != day:
            edge = bar.t // 3600 * 3600
            yield Session(opened, edge, day)
            opened = edge
        before, day = bar.t, today
    yield Session(opened, before + MINUTE_S, day)


def _trade_date(t_s: int, zone: ZoneInfo, early_hours: int, week: bool) -> date:
    """The day a time belongs to; `week`: Saturday belongs to Friday, and Sunday to Monday."""
    local = datetime.fromtimestamp(t_s, zone)
    day = (local.replace(tzinfo=None) + timedelta(hours=early_hours)).date()
    return day if not week else day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def _regular(sessions: Iterable[Session]) -> Iterator[Session]:
    """The parts of sessions inside 09:30 to 16:00 New York."""
    zone = ZoneInfo("America/New_York")
    for one in sessions:
        day = one.trade_date
        opens, closes = (
            int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp())
            for hour, minute in ((9, 30), (16, 0))
        )
        if max(one.open_s, opens) < min(one.close_s, closes):
            yield Session(max(one.open_s, opens), min(one.close_s, closes), day)
