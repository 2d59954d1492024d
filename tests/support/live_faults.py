"""When which fault of live data comes: in an hour and a half, and in a week."""

import random
from datetime import UTC, date, datetime, timedelta

from tests.support.live_week import Fault

QUIET_S = 1_200
"""Before this nothing breaks in the hour and a half: live bars close as history has them."""
HOURS_S = 5_600
HOURS = (
    Fault(1_210, "late all 0.05 15"),
    Fault(1_211, "odd_lots ES 0.1"),
    Fault(1_212, "missing_bars all 0.02"),
    Fault(1_213, "live_delay 300 900"),
    Fault(1_390, "clear"),
    Fault(1_400, "step_volume AAPL"),
    Fault(1_520, "clear"),
    Fault(1_600, "farm_flap ushmds 3"),
    Fault(1_800, "farm_flap usfarm 3 dead"),
    Fault(2_000, "bust AAPL"),
    Fault(2_200, "revise AAPL 2"),
    Fault(2_205, "revise ES 2"),
    Fault(2_400, "mute AAPL keep_up_to_date"),
    Fault(2_600, "lost"),
    Fault(2_630, "restored maintained mute"),
    Fault(2_800, "lost"),
    Fault(2_830, "restored lost"),
    Fault(3_000, "competing on"),
    Fault(3_060, "competing off"),
    Fault(3_300, "half_open"),
    Fault(3_320, "drop"),
    Fault(3_500, "reset_window 60 maintained mute"),
    Fault(3_800, "restart 30"),
    Fault(4_000, "lost"),
    Fault(4_030, "restored maintained"),
    Fault(4_250, "bridge kill"),
    Fault(4_430, "bridge start"),
    Fault(4_650, "redis flush"),
    Fault(4_900, "listener leave"),
    Fault(5_080, "listener resume"),
    Fault(5_250, "late all 0.05 15"),
    Fault(5_260, "revise AAPL 2"),
    Fault(5_300, "bust AAPL"),
    Fault(5_330, "live_lost"),
    Fault(5_360, "half_open"),
    Fault(5_380, "drop"),
    Fault(5_500, "clear"),
)
"""From 5,250 s on one fault comes before the one before it is over."""

SUNDAY = date(2026, 3, 1)
_OPEN_S = 23 * 3600
"""18:00 in New York, when futures open; currency pairs have opened an hour before."""
_DAY_S = 86_400
_FIRST_S, _LAST_S = 16 * 3600, int(20.5 * 3600)
"""Of a day of faults: New York is open from 14:30 to 21:00 UTC, and is left some quiet at both ends."""
_NIGHT_S = int(4.75 * 3600)
_DAILY: tuple[tuple[tuple[int, str], ...], ...] = (
    ((0, "farm_flap ushmds 3"),),
    ((0, "farm_flap usfarm 3 dead"),),
    ((0, "bust"),),
    ((0, "mute AAPL bars"),),
    ((0, "mute ES keep_up_to_date"),),
    ((0, "lost"), (30, "restored maintained")),
    ((0, "lost"), (30, "restored maintained mute")),
    ((0, "lost"), (30, "restored lost")),
    ((0, "competing on"), (60, "competing off")),
    ((0, "half_open"), (20, "drop")),
    ((0, "restart 120"),),
    ((0, "revise AAPL 2"), (1, "revise ES 2")),
    ((0, "late all 0.05 15"), (300, "clear")),
    ((0, "odd_lots ES 0.1"), (1, "missing_bars all 0.02"), (2, "live_delay 300 900"), (300, "clear")),
    ((0, "step_volume AAPL"), (300, "clear")),
    ((0, "live_lost"),),
    ((0, "bridge kill"), (180, "bridge start")),
    ((0, "redis flush"),),
    ((0, "listener leave"), (180, "listener resume")),
    (
        *((0, "late all 0.05 15"), (20, "revise AAPL 2"), (50, "bust AAPL"), (80, "live_lost"), (120, "half_open")),
        *((140, "drop"), (300, "clear")),
    ),
    (
        *((0, "odd_lots AAPL 0.1"), (30, "farm_flap usfarm 3 dead"), (60, "bridge kill"), (120, "revise ES 2")),
        *((180, "bridge start"), (200, "redis flush"), (330, "clear")),
    ),
)
"""The last two are faults that come before the one before is over."""


def starts_and_end(days: int) -> tuple[str, float]:
    """When a week of so many trading days (1 to 5) begins, and after how many seconds it is over: an hour after the close."""
    start = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, tzinfo=UTC) + timedelta(seconds=_OPEN_S)
    return start.strftime("%Y-%m-%dT%H:%M:%SZ"), days * _DAY_S


def faults_of_days(days: int, seed: int) -> list[Fault]:
    """Each fault once a trading day while New York is open, in an order and at instants of the seed; a reset each night."""
    dice, found = random.Random(seed), []
    for day in range(1, days + 1):
        midnight = day * _DAY_S - _OPEN_S
        room = (_LAST_S - _FIRST_S) / len(_DAILY)
        order = dice.sample(_DAILY, len(_DAILY))
        found.append(Fault(midnight + _NIGHT_S + dice.randrange(600), "reset_window 90 " + dice.choice(_RESETS)))
        for n, commands in enumerate(order):
            at = midnight + _FIRST_S + n * room + dice.randrange(int(room - 400))
            found += [Fault(at + after, command) for after, command in commands]
    return sorted(found)


_RESETS = ("maintained", "maintained mute", "lost")
