"""What IB would want for an order, without the order: which orders it is for, what IB is asked, and when an answer counts.

An answer counts for the very order that it is about: same terms, same position, a few seconds old, and no other order of the
account sent since. Everything else is as good as no answer, and an order that needs one does not pass without.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from nautilus.orders.check_case import Case, plain
from nautilus.orders.facts import Facts, Margin

MOST_AGE_S = 10.0
"""An older answer counts for nothing: the account goes on. Machine time, as between a question and its answer."""
ANSWER_S = 3.0
"""IB answers a what-if at once or, with a silent gateway, never; a longer wait would only keep the order back."""
_PRICES = ("limit_price", "stop_price", "trail_amount", "trail_percent")


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfAnswer:
    """How one stands, as the checks look at it. state: wanted, sent, answered, refused, failed. margins: IB's names -> numbers
    as texts. age_s: since it was over. position: of the account in the contract when it was wanted."""

    state: str
    text: str
    margins: Mapping[str, Any]
    age_s: float | None
    position: Decimal | None
    overtaken: bool


def terms_of(case: Case) -> dict[str, object]:
    """What IB is asked: the order as it would be sent, of a change the quantity that can still fill. Numbers are texts."""
    leg, prices = case.leg, case.leg.prices
    numbers = zip(_PRICES, (prices.limit, prices.stop, prices.trail_amount, prices.trail_percent), strict=True)
    return {
        "side": leg.side.value,
        "type": leg.type.value,
        "tif": leg.tif.value,
        "quantity": plain(case.quantity),
        **{name: plain(value) for name, value in numbers if value is not None},
        "good_till": leg.good_till,
        "outside_rth": case.ticket.outside_rth,
    }


def fingerprint(case: Case) -> str:
    """The same for two orders of which one answer of IB says the same: account, contract, side, quantity, prices, time."""
    whole = {"account": case.ticket.account, "con_id": case.ticket.con_id, **terms_of(case)}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def is_fresh(answer: WhatIfAnswer, position: Decimal | None) -> bool:
    """Whether an answer, or a refusal, still says how the account stands."""
    is_new = answer.age_s is not None and answer.age_s <= MOST_AGE_S
    return is_new and not answer.overtaken and answer.position == position and position is not None


def with_answer(facts: Facts, answer: WhatIfAnswer | None) -> Facts:
    """The facts of check 20 with what IB answered: a margin, a refusal, or why neither is known."""
    if answer is None or answer.state in ("wanted", "sent"):
        return facts
    if answer.state == "failed":
        return replace(facts, margin_unknown=answer.text)
    if not is_fresh(answer, facts.position):
        return replace(facts, margin_unknown="IB's answer to the what-if order is too old; the broker is asked again")
    if answer.state == "refused":
        return replace(facts, margin_refusal=answer.text)
    margin = margin_of(answer.margins)
    if margin is None:
        return replace(facts, margin_unknown="IB's answer to the what-if order names no margin")
    return replace(facts, margin=margin)


def margin_of(margins: Mapping[str, Any]) -> Margin | None:
    """The two numbers that decide; None where IB left one out."""
    initial, equity = number(margins, "initMarginAfter"), number(margins, "equityWithLoanAfter")
    return None if initial is None or equity is None else Margin(initial, equity)


def number(margins: Mapping[str, Any], name: str) -> Decimal | None:
    """A number of IB's answer; None where it has none."""
    try:
        found = Decimal(str(margins[name]))
    except (KeyError, InvalidOperation):
        return None
    return found if found.is_finite() else None
