"""Orders that belong together: a bracket of an entry with its exits, and groups of which one order cancels the others.

All orders of a bracket are checked before the first of them is stored, and stored before the first byte is sent: IB goes on
with the others when it refuses one.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple
from uuid import UUID, uuid5

from nautilus.orders.ticket import Exit, OrderType, Prices, Side, Ticket, Tif

Role = Literal["", "parent", "take_profit", "stop_loss", "member"]
EXITS = frozenset({"take_profit", "stop_loss"})
MAX_GROUP = 64
"""Characters of the name of an OCA group."""
_OCA_NAMES = UUID("7d3c5c1e-5d3c-4a55-9a43-0c5d6f1b8f2a")
_TAKE_PROFIT = frozenset({OrderType.LMT, OrderType.LIT})
_STOP_LOSS = frozenset({OrderType.STP, OrderType.STP_LMT, OrderType.TRAIL, OrderType.TRAIL_LIMIT})
_EXIT_TIFS = frozenset({Tif.DAY, Tif.GTC})


class Leg(NamedTuple):
    """One order of a ticket, as its row will say it. good_till: ns, of GTD alone."""

    role: Role
    side: Side
    type: OrderType
    quantity: Decimal
    tif: Tif
    prices: Prices
    good_till: int | None = None

    @property
    def is_exit(self) -> bool:
        return self.role in EXITS


class GroupProblem(NamedTuple):
    """What is wrong with a group: the field of the request, its value, and what is allowed."""

    field: str
    value: str
    allowed: str


def legs(ticket: Ticket) -> list[Leg]:
    """The orders of a ticket, the one that is sent first in front.

    Exits have the other side and the whole quantity; they end each other. An order of an OCA group is a member of it.
    """
    role: Role = "parent" if ticket.is_bracket else "member" if ticket.oca else ""
    first = Leg(role, ticket.side, ticket.type, ticket.quantity, ticket.tif, ticket.prices, ticket.good_till)
    return [first, *_exits(ticket)]


def _exits(ticket: Ticket) -> Iterator[Leg]:
    if ticket.take_profit is not None:
        yield _exit("take_profit", ticket, ticket.take_profit)
    if ticket.stop_loss is not None:
        yield _exit("stop_loss", ticket, ticket.stop_loss)


def _exit(role: Role, ticket: Ticket, given: Exit) -> Leg:
    return Leg(role, ticket.side.opposite, given.type, ticket.quantity, given.tif, given.prices)


def oca_group_id(account: str, name: str) -> UUID:
    """The group's id: the same for every order of an account that names it."""
    return uuid5(_OCA_NAMES, f"{account}\n{name}")


def check(ticket: Ticket) -> Iterator[GroupProblem]:
    """What is wrong with the orders of a ticket taken together; nothing for an order alone."""
    if ticket.oca is not None:
        yield from _oca(ticket)
    yield from _kinds(ticket)
    yield from _order_of_prices(ticket)


def _oca(ticket: Ticket) -> Iterator[GroupProblem]:
    assert ticket.oca is not None  # noqa: S101  for the type checker
    if ticket.is_bracket:
        yield GroupProblem("oca", ticket.oca.group, "a bracket or an OCA group, not both")
    if not 0 < len(ticket.oca.group) <= MAX_GROUP:
        yield GroupProblem("oca.group", ticket.oca.group[:MAX_GROUP], f"1 to {MAX_GROUP} characters")
    if ticket.oca.type not in (1, 2, 3):
        yield GroupProblem("oca.type", str(ticket.oca.type), "1, 2 or 3")


def _kinds(ticket: Ticket) -> Iterator[GroupProblem]:
    pairs = (("take_profit", ticket.take_profit, _TAKE_PROFIT), ("stop_loss", ticket.stop_loss, _STOP_LOSS))
    for name, given, types in pairs:
        if given is None:
            continue
        if given.type not in types:
            yield GroupProblem(f"{name}.type", given.type, ", ".join(sorted(types)))
        if given.tif not in _EXIT_TIFS:
            yield GroupProblem(f"{name}.tif", given.tif, ", ".join(sorted(_EXIT_TIFS)))


def _order_of_prices(ticket: Ticket) -> Iterator[GroupProblem]:
    """A take-profit lies beyond the entry on the side of the profit, a stop-loss on the other; they never swap."""
    sign, (name, entry) = ticket.side.sign, _entry(ticket)
    profit = ticket.take_profit.prices.limit if ticket.take_profit else None
    loss = ticket.stop_loss.prices.stop if ticket.stop_loss else None
    better, worse = ("above", "below") if ticket.side is Side.BUY else ("below", "above")
    if profit is not None and entry is not None and (profit - entry) * sign <= 0:
        yield GroupProblem(
            "take_profit.limit_price", f"{profit:f}", f"{better} the {name} price of the entry, {entry:f}"
        )
    if loss is not None and entry is not None and (entry - loss) * sign <= 0:
        yield GroupProblem("stop_loss.stop_price", f"{loss:f}", f"{worse} the {name} price of the entry, {entry:f}")
    if profit is not None and loss is not None and (profit - loss) * sign <= 0:
        yield GroupProblem(
            "stop_loss.stop_price", f"{loss:f}", f"{worse} the limit price of the take-profit, {profit:f}"
        )


def _entry(ticket: Ticket) -> tuple[str, Decimal | None]:
    """The price at which the entry is expected to fill, by its name: its limit, else the stop at which it goes live. None of
    a market order, and of a trailing one, whose stop moves."""
    if ticket.prices.limit is not None:
        return "limit", ticket.prices.limit
    return "stop", ticket.prices.stop if ticket.type in (OrderType.STP, OrderType.MIT) else None
