"""The margin of an order, as IB would want it: the stored answer to a what-if order, and the request for one that is missing."""

from dataclasses import replace

from nautilus.db.cursor import Cursor
from nautilus.db.orders import notifications, what_ifs
from nautilus.db.orders.what_ifs import WhatIfRow
from nautilus.orders.check_case import Case
from nautilus.orders.exposure_checks import needs_margin
from nautilus.orders.facts import Facts
from nautilus.orders.groups import legs
from nautilus.orders.ticket import Ticket
from nautilus.orders.what_if import WhatIfAnswer, fingerprint, is_fresh, terms_of, with_answer

MOST_OPEN = 10
"""What-if orders of an account that wait for IB at once; each is a message of the 40 in a second that orders have."""
_PAUSE_S = 1.0
"""So long after a failure the same question does not go out again."""


def with_margin(cursor: Cursor, ticket: Ticket, facts: Facts) -> Facts:
    """The facts with what is known of the margin, where check 20 needs it."""
    case = first_case(ticket, facts)
    if not needs_margin(case):
        return facts
    row = what_ifs.newest(cursor, ticket.account, fingerprint(case))
    return with_answer(facts, answer_of(row))


def want(cursor: Cursor, ticket: Ticket, facts: Facts, *, principal: str) -> WhatIfRow | None:
    """The what-if order of a ticket that is under way or answered freshly, else a new one; None while too many are under way,
    or one has just failed. The account is held."""
    case = first_case(ticket, facts)
    row = what_ifs.newest(cursor, ticket.account, fingerprint(case))
    answer = answer_of(row)
    if row is not None and answer is not None:
        if row.state in ("wanted", "sent") or (row.state != "failed" and is_fresh(answer, facts.position)):
            return row
        if row.state == "failed" and (row.age_s or 0) < _PAUSE_S:
            return None
    if what_ifs.count_open(cursor, ticket.account) >= MOST_OPEN:
        return None
    made = what_ifs.put(
        cursor,
        principal=principal,
        account=ticket.account,
        con_id=ticket.con_id,
        terms=terms_of(case),
        fingerprint=fingerprint(case),
        position=facts.position,
    )
    notifications.notify(cursor, notifications.WHAT_IFS)
    return made


def first_case(ticket: Ticket, facts: Facts) -> Case:
    """The order of a ticket that is sent first: of it alone IB is asked. It is the whole ticket, but for exits."""
    return Case(ticket, legs(ticket)[0], replace(facts, margin=None))


def answer_of(row: WhatIfRow | None) -> WhatIfAnswer | None:
    """A row as the rules look at it."""
    if row is None:
        return None
    return WhatIfAnswer(
        state=row.state,
        text=row.text,
        margins=row.margins,
        age_s=row.age_s,
        position=row.position,
        overtaken=row.overtaken,
    )
