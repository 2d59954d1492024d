"""Which timeframes there are, and what their stamps mean."""

from nautilus_client.errors import NautilusError

INTRADAY_S: dict[str, int] = {
    "1s": 1,
    "5s": 5,
    "10s": 10,
    "15s": 15,
    "30s": 30,
    **{f"{n}m": 60 * n for n in (1, 2, 3, 5, 10, 15, 20, 30)},
    **{f"{n}h": 3_600 * n for n in (1, 2, 3, 4, 8)},
}
"""Length in seconds. A stamp is the time at which the bar opens."""
LABELLED = ("1d", "1w", "1M")
"""A stamp is midnight UTC of a date: the trade date, the Monday, the first of the month."""
NAMES = (*INTRADAY_S, *LABELLED)


class NoTimeframe(NautilusError, ValueError):
    """A name of no timeframe."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is not a timeframe; there is {', '.join(NAMES)}")


def checked(name: str) -> str:
    """The name. NoTimeframe when there is none of that name."""
    if name not in NAMES:
        raise NoTimeframe(name)
    return name


def intraday(name: str) -> bool:
    return name in INTRADAY_S
