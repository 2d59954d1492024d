"""The rows that a ticket becomes: one order, or a bracket of two or three, as `groups.legs` lists them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

from nautilus.clock import NS_PER_S
from nautilus.db.orders.orders import NewOrder
from nautilus.orders.check_case import Case
from nautilus.orders.checks import Refusal
from nautilus.orders.facts import Facts
from nautilus.orders.groups import legs, oca_group_id
from nautilus.orders.states import OrderState
from nautilus.orders.ticket import Ticket


class Caller(NamedTuple):
    """Who places an order or asks for a change. key: the idempotency key, if there is one; fingerprint: hash of the body that
    came with it."""

    principal: str
    key: str | None = None
    fingerprint: str = ""


def rows_of(ticket: Ticket, caller: Caller, facts: Facts, refusals: Sequence[Refusal]) -> Iterator[NewOrder]:
    """The rows of a ticket, the one that is sent first in front; it alone has the key. With refusals all are denied."""
    state = OrderState.DENIED if refusals else OrderState.ACCEPTED
    first_id, group_id = uuid4(), _group_id(ticket)
    for number, leg in enumerate(legs(ticket)):
        case = Case(ticket, leg, facts)
        first = number == 0
        yield NewOrder(
            id=first_id if first else uuid4(),
            principal=caller.principal,
            idempotency_key=caller.key if first else None,
            fingerprint=caller.fingerprint,
            account=ticket.account,
            con_id=ticket.con_id,
            symbol=ticket.instrument.symbol,
            instrument_id=ticket.instrument.instrument_id,
            side=leg.side.value,
            type=leg.type.value,
            tif=leg.tif.value,
            quantity=leg.quantity,
            limit_price=leg.prices.limit,
            stop_price=leg.prices.stop,
            trail_amount=leg.prices.trail_amount,
            trail_percent=leg.prices.trail_percent,
            good_till=leg.good_till,
            outside_rth=ticket.outside_rth,
            group_id=group_id,
            group_kind="" if group_id is None else "bracket" if ticket.is_bracket else "oca",
            group_role=leg.role,
            oca_group=ticket.oca.group if ticket.oca else "",
            oca_type=ticket.oca.type if ticket.oca else None,
            parent_id=None if first else first_id,
            tags=ticket.tags,
            origin=ticket.origin.value,
            state=state,
            market_at=facts.now,
            valid_until=facts.now + ticket.valid_for_s * NS_PER_S,
            unit_value=case.reserved_unit_value,
            reducing=case.reducing,
            why=_why(refusals),
            checks=[one.as_dict() for one in refusals],
        )


def _group_id(ticket: Ticket) -> UUID | None:
    if ticket.oca is not None:
        return oca_group_id(ticket.account, ticket.oca.group)
    return uuid4() if ticket.is_bracket else None


def _why(refusals: Sequence[Refusal]) -> str:
    return "; ".join(dict.fromkeys(one.sentence for one in refusals))
