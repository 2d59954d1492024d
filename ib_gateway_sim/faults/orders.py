"""What can go wrong with orders, as state that the control port sets and the handlers of orders ask.

Counts go down with each order, message or event that they hit. Times are seconds of the market clock.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

NEXT = "next"  # in place of an order's reference: the order that comes next


class Rejection(NamedTuple):
    """How one order is refused. `how`: error (words alone), inactive or cancelled (the status too)."""

    code: int
    text: str
    how: str


class LateFill(NamedTuple):
    """A fill that crosses a cancel. `how`: late (after Cancelled, by so many seconds) or overtakes (10148)."""

    how: str
    seconds: float


@dataclass
class OrderFaults:
    """Nothing set: every order is worked, and every word about it comes once, at once, in order."""

    # ---- words about orders
    delay_s: float = 0.0  # words come so much later
    mute: int = 0  # so many orders are placed without a word
    duplicate: int = 0  # so many orderStatus messages come twice
    duplicate_s: float = 0.0  # the second time so much later
    skip: int = 0  # so many orderStatus messages never come
    shuffle: int = 0  # the messages of so many events come in another order
    shuffled: int = 0  # so many events were shuffled: what the next order of messages is drawn from
    fee_delay_s: float = 0.0  # commissions come so much later than their executions; inf: never
    fee_first: int = 0  # so many commissions come before their executions
    # ---- what becomes of orders
    eat: int = 0  # so many are read and forgotten
    rejections: list[Rejection] = field(default_factory=list)  # one an order
    silent_what_ifs: int = 0  # so many what-if orders get no answer
    what_if_refusals: list[Rejection] = field(default_factory=list)  # one a what-if order
    precautions: int = 0  # so many wait for a click, without a word
    locates: list[float] = field(default_factory=list)  # seconds until shares are found, one an order
    presets: dict[str, str] = field(default_factory=dict)  # field -> the value that every order gets
    margin_factor: float = 1.0  # orders need so many times the margin
    halts: dict[str, tuple[float, float]] = field(default_factory=dict)  # symbol -> halted from, until
    plans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # reference -> (quantity, seconds)
    late_fills: dict[str, LateFill] = field(default_factory=dict)  # reference -> what its cancel meets
    # ---- while the line to IB is gone
    outage: str = "hold"  # messages about orders: hold (worked when it is back), lose, work (as if it were there)
    outage_fills: str = "late"  # orders at the exchange: late (they fill, messages when it is back), none
    outage_from_s: float = 0.0

    def take(self, name: str) -> bool:
        """Uses one of the counts up; False when none is left."""
        left: int = getattr(self, name)
        if left <= 0:
            return False
        setattr(self, name, left - 1)
        return True

    def take_plan(self, reference: str) -> list[tuple[float, float]] | None:
        """The plan for an order, by its reference or because it is the next."""
        return self.plans.pop(reference, None) or self.plans.pop(NEXT, None)

    def take_late_fill(self, reference: str) -> LateFill | None:
        return self.late_fills.pop(reference, None) or self.late_fills.pop(NEXT, None)

    def halted(self, symbol: str, at_s: float) -> bool:
        from_s, until_s = self.halts.get(symbol, (0.0, 0.0))
        return from_s <= at_s < until_s

    def left(self) -> Counter[str]:
        """The counts that are set, for those who ask what is set."""
        names = ("mute", "duplicate", "skip", "shuffle", "eat", "precautions", "fee_first", "silent_what_ifs")
        return +Counter({name: getattr(self, name) for name in names})
