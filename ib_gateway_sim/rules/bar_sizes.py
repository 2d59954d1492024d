"""Bar sizes and durations, and which of them go together.

Sources: IB's pages "Historical Data Limitations" and "Historical Bar Data" (interactivebrokers.github.io/tws-api and
the IBKR Campus), read in 2026.
"""

import re
from dataclasses import dataclass

from ib_gateway_sim.rules.errors import Violation, invalid, service_error

DAY_S = 86_400
# The gateway's own list, as its 321 text spells it, with seconds; weeks and months by the calendar.
BAR_SIZES: dict[str, int] = {
    "1 secs": 1,
    "5 secs": 5,
    "10 secs": 10,
    "15 secs": 15,
    "30 secs": 30,
    "1 min": 60,
    "2 mins": 120,
    "3 mins": 180,
    "5 mins": 300,
    "10 mins": 600,
    "15 mins": 900,
    "20 mins": 1200,
    "30 mins": 1800,
    "1 hour": 3600,
    "2 hours": 7200,
    "3 hours": 10_800,
    "4 hours": 14_400,
    "8 hours": 28_800,
    "1 day": DAY_S,
    "1W": 7 * DAY_S,
    "1M": 30 * DAY_S,
}
_SIZE_ALIASES = {"1 week": "1W", "1 month": "1M"}
SMALL_BAR_S = 30  # up to here IB counts requests and keeps six months
UNITS_S = {"S": 1, "D": DAY_S, "W": 7 * DAY_S, "M": 30 * DAY_S, "Y": 365 * DAY_S}


@dataclass(frozen=True)
class Duration:
    count: int
    unit: str  # S D W M Y

    @property
    def seconds(self) -> int:
        """Calendar seconds, a month as 30 and a year as 365 days: for rules, not for windows."""
        return self.count * UNITS_S[self.unit]


def bar_size(text: str) -> str | Violation:
    size = _SIZE_ALIASES.get(text, text)
    if size in BAR_SIZES:
        return size
    return invalid(f"Historical data bar size setting is invalid. Legal ones are: {', '.join(BAR_SIZES)}")


def duration(text: str) -> Duration | Violation:
    match = re.fullmatch(r"([0-9]{1,9}) ([SDWMY])", text)
    if match is None or int(match[1]) == 0:
        return invalid(
            "Historical data query duration string is invalid; Duration format: integer{SPACE}unit (S|D|W|M|Y)"
        )
    return Duration(int(match[1]), match[2])


# Current official tables (IBKR Campus): the smallest bar of each duration unit, and the most that a unit may count.
# The table's largest bars ("D: up to 1 hour") are not enforced: "60 D" of "1 day" is served by the real gateway.
_SMALLEST_BY_UNIT = {"S": 1, "D": 5, "W": 10, "M": 30, "Y": 60}
_MOST = {"S": DAY_S, "D": 365, "W": 52, "M": 12, "Y": 68}
_MOST_ONE_SECOND_BARS_S = 2000
# The older table: (duration up to, smallest bar, largest bar), seconds.
_OLD_STEPS = (
    (60, 1, 60),
    (120, 1, 120),
    (1800, 1, 1800),
    (3600, 5, 3600),
    (14_400, 10, 10_800),
    (28_800, 30, 28_800),
    (DAY_S, 60, DAY_S),
    (2 * DAY_S, 120, DAY_S),
    (7 * DAY_S, 180, 7 * DAY_S),
    (30 * DAY_S, 1800, 30 * DAY_S),
    (365 * DAY_S, DAY_S, 30 * DAY_S),
)


def steps(size: str, length: Duration, table: str) -> Violation | None:
    """Whether this bar size is served over this duration. `table`: current | old."""
    size_s = BAR_SIZES[size]
    if length.count > _MOST[length.unit]:
        if length.unit == "S":
            return invalid("Historical data requests for durations longer than 86400 seconds must be made in days.")
        if length.unit == "Y":
            return invalid("Historical data requests for durations longer than 68 years are not supported.")
        most = {"D": "365 days", "W": "52 weeks", "M": "12 months"}[length.unit]
        return invalid(f"Historical data requests for durations longer than {most} must be made in years.")
    if table == "old":
        return _old_steps(size, size_s, length)
    if size_s < _SMALLEST_BY_UNIT[length.unit] or (
        size_s == 1 and (length.unit != "S" or length.count > _MOST_ONE_SECOND_BARS_S)
    ):
        return _invalid_step(size, length)
    return None


def _old_steps(size: str, size_s: int, length: Duration) -> Violation | None:
    for up_to_s, smallest_s, largest_s in _OLD_STEPS:
        if length.seconds <= up_to_s:
            return None if smallest_s <= size_s <= largest_s else _invalid_step(size, length)
    return None if size_s >= DAY_S else _invalid_step(size, length)


def _invalid_step(size: str, length: Duration) -> Violation:
    return service_error(f"Time length exceed max. invalid step: {size} over {length.count} {length.unit}")
