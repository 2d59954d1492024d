"""How a run is carried out, beside its strategy's own parameters: capital, fill model, warm-up, what to do after a crash."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from nautilus.errors import InvalidInput

FILLS: tuple[str, ...] = ("next_open", "close")
"""When a market order fills in a back-test and in paper: at the next bar's open, or at the close it was decided on."""
ON_CRASH: tuple[str, ...] = ("keep", "cancel")
"""What becomes of the open orders of a run in paper or live whose child, or whose host, is lost."""
MOST_WARM_UP, MOST_POINTS = 10_000, 1_500
_LARGEST = Decimal(10) ** 12


class RunOptions(NamedTuple):
    """capital: what the simulated account begins with, in `currency`; an empty currency is that of the first instrument.

    adaptive_ordering: within a bar the nearer extreme comes first; else always the high. warm_up_bars: bars from before the
    run that indicators are fed. equity_points: the most that are kept of the equity curve. on_crash: see ON_CRASH.
    restart_on_fault: whether a paper or live run starts again after an error in the strategy's code.
    """

    capital: Decimal = Decimal(100_000)
    currency: str = ""
    fill: str = "next_open"
    adaptive_ordering: bool = True
    seed: int = 1
    warm_up_bars: int = 200
    equity_points: int = MOST_POINTS
    on_crash: str = "keep"
    restart_on_fault: bool = False


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """The options of a run, with defaults for what is left out. InvalidInput names what is wrong."""
    unknown = sorted(set(given) - set(RunOptions._fields))
    if unknown:
        raise InvalidInput.field(f"options.{unknown[0]}", "is not an option", RunOptions._fields)
    return RunOptions(**{name: _CHECKS[name](f"options.{name}", value) for name, value in given.items()})


def _capital(field: str, value: Any) -> Decimal:
    try:
        capital = Decimal(str(value)) if isinstance(value, (str, int)) and not isinstance(value, bool) else Decimal(-1)
    except InvalidOperation:
        capital = Decimal(-1)
    if not (capital.is_finite() and 0 < capital <= _LARGEST):
        raise InvalidInput.field(field, "must be a positive decimal number as text", [f"up to {_LARGEST:f}"])
    return capital


def _currency(field: str, value: Any) -> str:
    if not (isinstance(value, str) and (value == "" or (len(value) == 3 and value.isascii() and value.isupper()))):
        raise InvalidInput.field(field, "must be a currency of three capital letters, or empty")
    return value


def _one_of(*words: str) -> Callable[[str, Any], str]:
    def check(field: str, value: Any) -> str:
        if value not in words:
            raise InvalidInput.field(field, f"{value!r} is not one of them", words)
        return str(value)

    return check


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput.field(field, "must be true or false", ["true", "false"])
    return value


def _number(least: int, most: int) -> Callable[[str, Any], int]:
    def check(field: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidInput.field(field, "must be a whole number", [f"{least} to {most}"])
        return value

    return check


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "capital": _capital,
    "currency": _currency,
    "fill": _one_of(*FILLS),
    "adaptive_ordering": _flag,
    "seed": _number(0, 2**31 - 1),
    "warm_up_bars": _number(0, MOST_WARM_UP),
    "equity_points": _number(2, MOST_POINTS),
    "on_crash": _one_of(*ON_CRASH),
    "restart_on_fault": _flag,
}
