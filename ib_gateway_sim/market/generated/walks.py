"""The walk of each instrument's price through all sessions of all years: where it begins and ends each segment, how
far it strays, how often it trades. What happens inside a segment is for paths.py."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import date
from hashlib import blake2b, shake_128
from math import exp
from typing import NamedTuple

from ib_gateway_sim.market import calendars
from ib_gateway_sim.market.calendars import Segment
from ib_gateway_sim.market.generated.paths import LEVELS_S, Node, PathTick, children, expand, from_ticks, honest, joined
from ib_gateway_sim.market.instruments.instrument import Instrument, expiry


class Piece(NamedTuple):
    """One segment of a trade date: its node, and how far bid and ask lie from the price, in ticks."""

    segment: Segment
    node: Node
    below: int
    above: int


class Noise:
    """The wandering of a log price about its trend, in standard deviations of a day: a sum of hashed octaves.

    Each octave is a random value per cell, joined by straight lines; cells from three hours to 256 days, so that the
    level never strays more than about eight daily deviations from its trend, at any date.
    """

    OCTAVES = tuple((86400.0 * 2.0**k, 2.0 ** (k / 2) / 2.4 * 3**0.5) for k in range(-3, 9))
    CACHED_CELLS = 50_000

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cells: dict[int, float] = {}  # cell number * 16 + octave

    def at(self, t_s: float) -> float:
        total = 0.0
        cells = self._cells
        for k, (cell_s, height) in enumerate(self.OCTAVES):
            place = t_s / cell_s
            cell = int(place)
            part = place - cell
            where = cell * 16 + k
            left = cells.get(where)
            if left is None:
                left = self._made(where)
            right = cells.get(where + 16)
            if right is None:
                right = self._made(where + 16)
            total += height * (left + part * (right - left))
        return total

    def _made(self, where: int) -> float:
        digest = blake2b(self._key + struct.pack("<bq", where & 15, where >> 4), digest_size=8).digest()
        value = int.from_bytes(digest, "little") / 2.0**63 - 1.0
        if len(self._cells) >= self.CACHED_CELLS:
            self._cells.clear()
        self._cells[where] = value
        return value


class Walk:
    """The path of one instrument through all its sessions, in the ticks and shares of each day (before any split)."""

    CACHED_LISTS = 3000
    CACHED_PIECES = 20_000

    def __init__(self, seed: int, instrument: Instrument, level: Callable[[float], float]) -> None:
        self.instrument = instrument
        self.level = level  # the price in today's shares
        self._key = f"{seed}/{instrument.contract.con_id}/".encode()
        self._pieces: dict[int, Piece] = {}  # by opening
        self._children: dict[tuple[int, int], list[Node]] = {}
        self.splits = list(instrument.splits)  # (first trade date, ratio)
        self._known_splits = len(self.splits)
        self._first = max(instrument.head, calendars.FIRST)
        self._last = min(expiry(instrument.contract) or calendars.LAST, calendars.LAST)

    def pieces(self, day: date, *, rth: bool) -> list[Piece]:
        """The segments of a trade date; empty when closed, halted, not listed yet or expired."""
        if not self.trades_on(day):
            return []
        segments = calendars.day_segments(self.instrument.contract.calendar, day)
        return [self._piece(segment, day) for segment in segments if segment.regular or not rth]

    def leaves(self, node: Node, level: int, start_s: float, end_s: float) -> list[Node]:
        """The parts of a segment's node of LEVELS_S[level] that overlap [start_s, end_s)."""
        nodes = [node]
        for step in range(level + 1):
            nodes = [child for one in nodes if one.t1 > start_s and one.t0 < end_s for child in self._cut(one, step)]
        return [one for one in nodes if one.t1 > start_s and one.t0 < end_s]

    def until(self, node: Node, now_s: float, level: int = 0) -> Node:
        """What is known of a node at now_s; `level`: the first one below it."""
        if now_s >= node.t1:
            return node
        if node.ticks is not None or level == len(LEVELS_S):
            ticks = expand(node, self._key)
            known = ticks[: bisect_left(ticks, (now_s * 1000,))]
            return from_ticks(node.t0, int(now_s) + 1, node.b, known)
        parts = [one for one in self._cut(node, level) if one.t0 < now_s]
        parts[-1] = self.until(parts[-1], now_s, level + 1)
        return joined(parts)

    def ticks(self, node: Node, start_ms: float, end_ms: float, *, reverse: bool, level: int = 0) -> Iterator[PathTick]:
        """The ticks of a segment's node in [start_ms, end_ms), in order or from the end."""
        if node.n == 0 or node.t1 * 1000 <= start_ms or node.t0 * 1000 >= end_ms:
            return
        if node.ticks is not None or level == len(LEVELS_S):
            every = expand(node, self._key)
            within = every[bisect_left(every, (start_ms,)) : bisect_left(every, (end_ms,))]
            yield from reversed(within) if reverse else within
            return
        parts = self._cut(node, level)
        for part in reversed(parts) if reverse else parts:
            yield from self.ticks(part, start_ms, end_ms, reverse=reverse, level=level + 1)

    def leaves_at(
        self, node: Node, inside: Callable[[int], bool], start_ms: int, end_ms: int, level: int = 0
    ) -> int | None:
        """Time (ms) of the first tick of a segment's node in [start_ms, end_ms) that is not inside; None without one.

        `inside` tells of prices between two others, so a node whose low and high are inside has no such tick.
        """
        if node.n == 0 or node.t1 * 1000 <= start_ms or node.t0 * 1000 >= end_ms or (inside(node.l) and inside(node.h)):
            return None
        if node.ticks is not None or level == len(LEVELS_S):
            ticks = expand(node, self._key)
            return next((t.t_ms for t in ticks if start_ms <= t.t_ms < end_ms and not inside(t.price)), None)
        parts = (self.leaves_at(part, inside, start_ms, end_ms, level + 1) for part in self._cut(node, level))
        return next((at_ms for at_ms in parts if at_ms is not None), None)

    def raw_factor(self, day: date) -> float:
        """Price of that day's share in today's shares, as the list of instruments counts them."""
        factor = 1.0
        for number, (at, ratio) in enumerate(self.splits):
            if number < self._known_splits and day < at:
                factor *= ratio
            elif number >= self._known_splits and day >= at:
                factor /= ratio
        return factor

    def split(self, at: date, ratio: int) -> None:
        """From that trade date on one share is `ratio` shares."""
        self.splits.append((at, ratio))
        self._pieces.clear()
        self._children.clear()

    def trades_on(self, day: date) -> bool:
        """Whether it is listed, not expired and not halted on a trade date of the calendars."""
        return self._first <= day <= self._last and day not in self.instrument.halted

    def _piece(self, segment: Segment, day: date) -> Piece:
        found = self._pieces.get(segment.open_s)
        if found is None:
            if len(self._pieces) >= self.CACHED_PIECES:
                self._pieces.clear()
            found = self._pieces[segment.open_s] = self._made(segment, day)
        return found

    def _made(self, segment: Segment, day: date) -> Piece:
        one = self.instrument
        noise = struct.unpack("<7H", shake_128(self._key + struct.pack("<cq", b"s", segment.open_s)).digest(14))
        scale = one.per_unit * self.raw_factor(day)
        spread = one.spread_regular if segment.regular else one.spread_extended
        lowest = spread + 2
        opened = max(int(self.level(segment.open_s) * scale + 0.5), lowest)
        closed = max(int(self.level(segment.close_s) * scale + 0.5), lowest)
        swing = one.vol_day * ((segment.close_s - segment.open_s) / 86400) ** 0.5 * opened
        high = max(opened, closed) + int(swing * (noise[0] * noise[0] >> 16) / 65536)
        low = max(min(opened, closed) - int(swing * (noise[1] * noise[1] >> 16) / 65536), lowest)
        count = self._count(segment, day, noise[2:5])
        volume = int(count * one.trade_size * (0.7 + noise[5] / 110_000))
        span = segment.open_s, segment.close_s
        node = honest(Node(*span, opened, opened, high, low, closed, count, max(volume, count), None))
        below = 0 if "TRADES" not in one.contract.kinds else spread * noise[6] >> 16
        return Piece(segment, node, below, spread - below)

    def _count(self, segment: Segment, day: date, noise: tuple[int, ...]) -> int:
        one = self.instrument
        rate = one.rate_regular if segment.regular else one.rate_extended
        end = expiry(one.contract)
        if end and one.front_days:
            rate *= max(exp(-max((end - day).days - one.front_days, 0) / 25), 0.0005)
        mean = rate * (segment.close_s - segment.open_s) / 60 * (0.6 + noise[0] / 65536)
        if one.contract.sec_type == "IND":
            mean = rate * (segment.close_s - segment.open_s) / 60
        if mean > 30:
            return int(mean)
        chance = term = exp(-mean)  # Poisson: some days of a thin market have no trade at all
        draw = (noise[1] * 65536 + noise[2]) / 2**32
        count = 0
        while draw > chance and count < 1000:
            count += 1
            term *= mean / count
            chance += term
        return count

    def _cut(self, node: Node, level: int) -> list[Node]:
        found = self._children.get((level, node.t0))
        if found is None:
            weights = self._weights(node) if level == 0 else None
            found = children(node, LEVELS_S[level], self._key, weights)
            if len(self._children) >= self.CACHED_LISTS:
                self._children.clear()
            self._children[level, node.t0] = found
        return found

    def _weights(self, node: Node) -> tuple[float, ...]:
        """How busy each half hour of a segment is: stocks at open and close, the rest when Europe and America wake."""
        starts = [node.t0, *range((node.t0 // 1800 + 1) * 1800, node.t1, 1800)]
        if self.instrument.contract.sec_type in ("STK", "CFD", "OPT") or node.t1 - node.t0 < 8 * 3600:
            middle, half = (node.t0 + node.t1) / 2, (node.t1 - node.t0) / 2
            return tuple(0.5 + 1.2 * ((start + 900 - middle) / half) ** 2 for start in starts)
        return tuple((0.4, 1.0, 1.6)[(start % 86400 >= 21600) + (43200 <= start % 86400 < 61200)] for start in starts)
