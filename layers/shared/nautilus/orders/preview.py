"""What the checks, and IB by a what-if order, say about an order that nobody has placed. No order is written or sent."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders import risk_book, what_ifs
from nautilus.db.orders.what_ifs import WhatIfRow
from nautilus.orders import checks
from nautilus.orders.account_facts import with_account
from nautilus.orders.checks import CheckState, Refusal
from nautilus.orders.facts import Facts
from nautilus.orders.margin_facts import MOST_OPEN, answer_of, want
from nautilus.orders.report import number as text_of
from nautilus.orders.ticket import Ticket
from nautilus.orders.what_if import ANSWER_S, number, with_answer

WAIT_S = ANSWER_S + 1.0
"""So long a preview waits for IB: the order process gives up a little earlier, and says why."""
_SENT_NOTHING = frozenset({2, 3, 4, 5, 6, 16})
"""Checks after whose refusal no question goes to IB: nobody may ask for this account, or so often, or IB would refuse."""
_MARGINS = {
    "initial_margin": "initMargin",
    "maintenance_margin": "maintMargin",
    "equity_with_loan": "equityWithLoan",
}
"""Name in the answer -> what IB's three names begin with."""


class Preview(NamedTuple):
    """What is known now. notices: what the answer adds to an order that passes. states: of all checks. what_if: the what-if
    order; None: there was no question to IB, for the reason why_not."""

    refusals: tuple[Refusal, ...]
    notices: tuple[str, ...]
    states: tuple[CheckState, ...]
    what_if: WhatIfRow | None
    why_not: str = ""

    @property
    def waits_for(self) -> UUID | None:
        """The what-if order whose answer is still to come."""
        return self.what_if.id if self.what_if is not None and self.what_if.state in ("wanted", "sent") else None

    @property
    def passes(self) -> bool:
        refused = self.what_if is not None and self.what_if.state == "refused"
        return not self.refusals and not refused


def preview(cursor: Cursor, ticket: Ticket, facts: Facts, principal: str, *, what_if_id: UUID | None) -> Preview:
    """Run every check. what_if_id: the one whose answer counts now; None: want one, where a question to IB is allowed."""
    account, exposure = risk_book.lock_book(cursor, ticket.account, ticket.con_id)
    facts = with_account(cursor, facts, account, exposure, principal=principal)
    why_not = "" if what_if_id is not None else _why_not(facts, checks.run(ticket, facts, "all"))
    row = None
    if what_if_id is not None:
        row = what_ifs.read(cursor, what_if_id)
    elif not why_not:
        row = want(cursor, ticket, facts, principal=principal)
        why_not = (
            "" if row is not None else f"more than {MOST_OPEN} what-if orders wait, or IB has just failed to answer"
        )
    facts = with_answer(facts, answer_of(row))
    risk_book.forget_unused(cursor, ticket.account)
    return Preview(
        tuple(checks.run(ticket, facts, "all")),
        tuple(checks.notices(facts)),
        tuple(checks.states(ticket, facts)),
        row,
        why_not,
    )


def _why_not(facts: Facts, refusals: Sequence[Refusal]) -> str:
    """Why no question goes to IB; empty: one goes."""
    refused = next((one for one in refusals if one.check in _SENT_NOTHING), None)
    if refused is not None:
        return f"check {refused.check} refuses the order: {refused.text}"
    if not facts.ready:
        return facts.not_ready_because or "the order process is not ready"
    return ""


# ---- as the API shows it ---------------------------------------------------------------------------------------------


def preview_json(seen: Preview) -> dict[str, Any]:
    """passes, the refusals, the state of each check, and the what-if order."""
    return {
        "passes": seen.passes,
        "checks": [{**one.as_dict(), "temporary": one.temporary} for one in seen.refusals],
        "all_checks": [
            {"check": one.number, "codes": list(one.codes), "state": one.state, "text": one.text} for one in seen.states
        ],
        "what_if": what_if_json(seen.what_if, seen.why_not),
        "notices": list(seen.notices),
    }


def what_if_json(row: WhatIfRow | None, why_not: str) -> dict[str, Any]:
    """state: `answered`, `refused` (IB would refuse the order), `no_answer` or `not_asked`; reason: why. Amounts are texts in the
    account's base currency, and null where IB names none."""
    if row is None:
        return {"state": "not_asked", "reason": why_not}
    if row.state == "answered":
        return {
            "state": "answered",
            "reason": None,
            "age_s": round(row.age_s or 0, 3),
            **_amounts(row.margins, row.text),
        }
    if row.state == "refused":
        return {"state": "refused", "reason": row.text, "code": row.code}
    reason = row.text or why_not or f"IB did not answer the what-if order within {WAIT_S:.0f} s"
    return {"state": "no_answer", "reason": reason}


def _amounts(margins: Mapping[str, Any], warning: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: {
            "before": text_of(number(margins, f"{word}Before")),
            "change": text_of(number(margins, f"{word}Change")),
            "after": text_of(number(margins, f"{word}After")),
        }
        for name, word in _MARGINS.items()
    }
    found["commission"] = {
        "estimate": text_of(number(margins, "commission")),
        "least": text_of(number(margins, "minCommission")),
        "most": text_of(number(margins, "maxCommission")),
        "currency": margins.get("currency") or None,
    }
    return {**found, "warning": warning or None}
