"""The texts of stamps are those that a plain loop writes, for gaps, stray bars, midnights, either order and any year."""

import struct
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from nautilus import stamps

_S = 1_000_000_000
_LATE = 1_704_465_000 * _S  # 2024-01-05T14:30:00Z
_DIGITS = 1_000_000_000 * _S  # 2001-09-09T01:46:40Z, where stamps get a digit more


def plainly(found: list[int]) -> stamps.Texts:
    times = [f'"{datetime.fromtimestamp(stamp // _S, UTC):%Y%m%d  %H:%M:%SZ}"' for stamp in found]
    return stamps.Texts(",".join(map(str, found)).encode(), ",".join(times).encode())


def packed(found: list[int]) -> bytes:
    return struct.pack(f"!{len(found)}q", *found)


@st.composite
def series(draw: st.DrawFn) -> tuple[list[int], int]:
    step = draw(st.sampled_from([1, 5, 30, 60, 300, 1800, 3600])) * _S
    first = draw(st.sampled_from([_LATE, _DIGITS - 90 * 60 * _S, 0, 86_400 * _S - step])) + draw(st.integers(0, 3)) * _S
    positions = draw(st.lists(st.integers(0, 400), min_size=1, unique=True))
    if draw(st.booleans()):
        begin = draw(st.integers(0, 20))
        positions = [n for n in range(begin, begin + draw(st.integers(1, 400))) if n not in positions[:3]] or [0]
    found = {first + position * step for position in positions}
    if draw(st.integers(0, 3)) == 0:
        found |= {first + position * step + draw(st.integers(1, step - 1)) for position in positions[:2]}
    return sorted(found, reverse=draw(st.booleans())), step


@given(series())
@example(([_LATE], 60 * _S))
@example(([0], 60 * _S))
@example(([_LATE, _LATE + 7 * _S, _LATE + 120 * _S], 60 * _S))  # as many as there is room for, one beside its place
@example(([_LATE + n * 1800 * _S for n in range(100)], 1800 * _S))  # over two midnights
@example(([_LATE - n * 1800 * _S for n in range(100)], 1800 * _S))
def test_texts_are_those_of_each_stamp(made: tuple[list[int], int]) -> None:
    found, step = made
    assert stamps.ends(packed(found)) == (found[0], found[-1])
    assert stamps.texts(packed(found), step) == plainly(found)
