"""Values of commands: read, checked, and refused with what is allowed."""

import datetime as dt
import re
from typing import Any

from ib_gateway_sim.wire.layouts import REQUESTS

Answer = dict[str, Any]
KINDS = sorted(kind for kind, _ in REQUESTS.values())


class Wrong(Exception):
    """The command cannot be carried out; the text says what is allowed."""


def parse_time_ns(value: Any) -> int:
    """Nanoseconds since the epoch, from an integer or RFC 3339 text with an offset."""
    text = str(value)
    if re.fullmatch("[0-9]+", text):
        return int(text)
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        at = dt.datetime.min
    if at.tzinfo is None:
        raise Wrong(f"time {text!r}; allowed: RFC 3339 with offset (2026-03-02T15:00:00Z) or nanoseconds since 1970")
    return int((at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1)) * 1000


def number(name: str, value: Any, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise Wrong(f"{name} {value!r}; allowed: a number from {low:g} to {high:g}")
    return number


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A number without a fraction; as text it keeps all its digits."""
    try:
        number = int(value) if isinstance(value, str) else int(value) if value == int(value) else low - 1
    except (TypeError, ValueError, OverflowError):
        number = low - 1
    if not low <= number <= high:
        raise Wrong(f"{name} {value!r}; allowed: a whole number from {low} to {high}")
    return number


def count(name: str, value: Any) -> int:
    return whole(name, value, 0, 1_000_000)


def choice(name: str, value: Any, allowed: list[str]) -> str:
    if value not in allowed:
        raise Wrong(f"{name} {value!r}; allowed: {', '.join(allowed)}")
    return str(value)
