"""When an account as a whole gives reason for a stricter trading state. Rules alone; `tightening` applies them.

A trigger never cancels an order and never loosens a state: a person does. Those of single words of IB (an overfill, two
permIds, an unknown code) stand with the words, in nautilus/orders/draft.py, and are applied with each word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

_HUNDRED = Decimal(100)
REJECTS_WINDOW_S = 60
MOST_REJECTS = 3
"""Orders that IB may reject within the window; with one more something is wrong with what we send."""


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What the triggers look at. daily_pnl: of the day by IB's count, net_liquidation: now, in base currency; None: not
    known. limits: `limits.merged` of the account. rejects: orders that IB rejected within the last `REJECTS_WINDOW_S` of machine
    time. breaks: contracts whose position at IB is not ours."""

    daily_pnl: Decimal | None
    net_liquidation: Decimal | None
    limits: Mapping[str, Decimal | None]
    rejects: int = 0
    breaks: int = 0


class Tightening(NamedTuple):
    """A stricter trading state. for_trade_date: it ends with this trade date; else a person ends it."""

    state: Literal["reducing", "halted"]
    reason: str
    for_trade_date: bool = False


def tightenings(facts: AccountFacts) -> list[Tightening]:
    """All that the account gives reason for, the strictest first."""
    found = [*_daily_loss(facts)]
    if facts.rejects > MOST_REJECTS:
        text = f"IB rejected {facts.rejects} orders within {REJECTS_WINDOW_S} s"
        found.append(Tightening("reducing", text))
    if facts.breaks:
        text = f"IB's position of {facts.breaks} contracts is not ours"
        found.append(Tightening("reducing", text))
    return sorted(found, key=lambda one: one.state != "halted")


def loss_percent(daily_pnl: Decimal, net_liquidation: Decimal) -> Decimal:
    """The loss of a day in percent of what the account had when it began; 0 for a profit."""
    if daily_pnl >= 0:
        return Decimal(0)
    before = net_liquidation - daily_pnl
    return -daily_pnl / before * _HUNDRED if before > 0 else _HUNDRED


def _daily_loss(facts: AccountFacts) -> list[Tightening]:
    if facts.daily_pnl is None or facts.net_liquidation is None:
        return []
    lost = loss_percent(facts.daily_pnl, facts.net_liquidation)
    for state, name in (("halted", "daily_loss_halted"), ("reducing", "daily_loss_reducing")):
        most = facts.limits.get(name)
        if most is not None and lost > 0 and lost >= most:
            text = f"the loss of the day by IB's count is {lost:.2f} % of the account; the limit {name} is {most:f} %"
            return [Tightening("halted" if state == "halted" else "reducing", text, for_trade_date=True)]
    return []
