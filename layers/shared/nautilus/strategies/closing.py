"""How much of what a run holds may be closed, so that no order turns the account's position round; and when to try again."""

from decimal import Decimal
from typing import NamedTuple

from nautilus.orders.exposure import ZERO, Exposure
from nautilus.orders.ticket import Side

MOST_FRUITLESS = 10
"""Closing orders in a row of which none fills: then a person has to close the position."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0


class Closing(NamedTuple):
    """What there is to do about a contract of a run. side: of the order that closes.

    quantity: of that order; zero: none may be sent. promised: what open orders of others would close already. gone: what the
    account does not hold any more, as somebody else has closed it.
    """

    side: Side
    quantity: Decimal
    promised: Decimal
    gone: Decimal


def closing(held: Decimal, exposure: Exposure) -> Closing:
    """What closes `held` (negative: short) of an account that stands like this. All that is open on the closing side counts as
    filled, so that no order of ours and no other one can open a position in the other direction together."""
    side = Side.SELL if held > ZERO else Side.BUY
    there = max(-side.sign * exposure.position, ZERO)
    most = min(abs(held), there)
    quantity = min(most, max(there - exposure.reserved(side), ZERO))
    return Closing(side, quantity, most - quantity, abs(held) - most)


def pause_s(tries: int) -> float:
    """Seconds until the next try, after so many that closed nothing."""
    return min(_FIRST_PAUSE_S * 2.0 ** min(tries, 10), _LONGEST_PAUSE_S)


class Tries:
    """How often the same position was not closed, and when it is tried again. Times: seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._held: object = None
        self._tries = 0
        self._next_s = 0.0

    def due(self, now_s: float) -> bool:
        return now_s >= self._next_s

    def tried(self, held: object, now_s: float) -> None:
        """An order that closes `held` was placed or refused just now."""
        self._tries = self._tries + 1 if held == self._held else 0
        self._held = held
        self._next_s = now_s + pause_s(self._tries)
