"""The stamps of bars as texts: nanoseconds, and the times that the front end's chart reads.

Mostly bars follow each other without a gap. Then both texts are those of every instrument of the exchange in that session:
they are made once and kept, and of a stretch with gaps they are cut out.
"""

import struct
import sys
from array import array
from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S, day_of

_DAY_S = NS_PER_DAY // NS_PER_S
_KEPT = 256
"""Sessions whose texts are kept: 20 kB each of regular hours, 70 of a whole day."""
_GAPS = 20
"""Where more than one place in so many is empty, each stamp is written by itself: to cut around every gap takes longer."""
_DAY = "\x01"
"""Stands in a text for a date."""


class Texts(NamedTuple):
    """Stamps in order, with commas between: `1704465000000000000,...` and `"20240105  14:30:00Z",...`."""

    stamps: bytes
    times: bytes


class _Positions(NamedTuple):
    """Bars without a gap: their stamps as PostgreSQL sends them, and the texts."""

    packed: bytes
    texts: Texts


def ends(packed: bytes) -> tuple[int, int]:
    """The first and the last of stamps as PostgreSQL sends them, int8 after int8."""
    return int.from_bytes(packed[:8], "big", signed=True), int.from_bytes(packed[-8:], "big", signed=True)


def texts(packed: bytes, step_ns: int) -> Texts:
    """The texts of one or more stamps, ascending or descending, of bars that are `step_ns` long."""
    first, last = ends(packed)
    step = step_ns if first <= last else -step_ns
    positions = (last - first) // step + 1
    alike = (
        first % NS_PER_S == 0 and step % NS_PER_S == 0 and len(str(first)) == len(str(last)) and min(first, last) > 0
    )
    if not alike or (positions - len(packed) // 8) * _GAPS > positions:
        return _one_by_one(packed)
    even = _without_gap(first, positions, step)
    if packed == even.packed:
        return even.texts
    return _cut(packed, even, first, step) or _one_by_one(packed)


@lru_cache(_KEPT)
def _without_gap(first: int, count: int, step: int) -> _Positions:
    stamps = range(first, first + count * step, step)
    seconds = range(first // NS_PER_S, (first + count * step) // NS_PER_S, step // NS_PER_S)
    return _Positions(
        struct.pack(f"!{count}q", *stamps),
        Texts(("000000000,".join(map(str, seconds)) + "000000000").encode(), _times(seconds)),
    )


def _times(seconds: range) -> bytes:
    """The times of bars without a gap."""
    found = []
    while seconds:
        first_s, step_s = seconds[0] % _DAY_S, seconds.step
        inside = -(-(_DAY_S - first_s) // step_s) if step_s > 0 else first_s // -step_s + 1
        found.append(_of_a_day(first_s, len(seconds[:inside]), step_s).replace(_DAY, _date(seconds[0] // _DAY_S)))
        seconds = seconds[inside:]
    return ",".join(found).encode()


@lru_cache(_KEPT)
def _of_a_day(first_s: int, count: int, step_s: int) -> str:
    """The times of bars without a gap from a second of the day on; any day."""
    return ",".join(_time(_DAY, second) for second in range(first_s, first_s + count * step_s, step_s))


def _cut(packed: bytes, even: _Positions, first: int, step: int) -> Texts | None:
    """The texts, cut out of those without a gap; None when a bar lies beside its place."""
    found = array("q", packed)
    if sys.byteorder == "little":
        found.byteswap()
    wide_stamp, wide_time = len(str(first)) + 1, len(_time(_DAY * 8, 0)) + 1
    stamps, times = [], []
    at, number = 0, len(found)
    while at < number:
        begin, position = found[at], (found[at] - first) // step
        # All bars up to the next gap. What this takes for granted is proven below: stamps on their places, in order.
        over = bisect_right(range(number), 0, at + 1, key=lambda n: (found[n] - begin) // step - (n - at))
        end = position + over - at
        if packed[8 * at : 8 * over] != even.packed[8 * position : 8 * end]:
            return None
        stamps.append(even.texts.stamps[wide_stamp * position : wide_stamp * end - 1])
        times.append(even.texts.times[wide_time * position : wide_time * end - 1])
        at = over
    return Texts(b",".join(stamps), b",".join(times))


def _one_by_one(packed: bytes) -> Texts:
    stamps = struct.unpack(f"!{len(packed) // 8}q", packed)
    seconds = [stamp // NS_PER_S for stamp in stamps]
    return Texts(
        ",".join(map(str, stamps)).encode(),
        ",".join(_time(_date(second // _DAY_S), second % _DAY_S) for second in seconds).encode(),
    )


def _time(date: str, second: int) -> str:
    return f'"{date}  {_clock(second)}"'


@lru_cache(4096)
def _clock(second: int) -> str:
    """A second of the day, `14:30:00Z`."""
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


@lru_cache(10_000)
def _date(day: int) -> str:
    """A day after 1970-01-01, `20240105`."""
    return day_of(day * NS_PER_DAY).strftime("%Y%m%d")
