"""One order in front of the checks, with what follows from the facts: its exposure, whether it reduces, its prices."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_UP, Context, Decimal
from functools import cached_property
from typing import Literal, NamedTuple

from nautilus.orders.exposure import Exposure, PendingOrder, added, exposure_of, is_reducing, unit_value
from nautilus.orders.facts import DELAYED, Facts, Quote
from nautilus.orders.groups import Leg, legs, oca_group_id
from nautilus.orders.ticket import OrderType, Origin, Side, Ticket, Tif

Where = Literal["function", "process", "all"]
_CENT = Decimal("0.01")
_ROUND_UP = Context(prec=28, rounding=ROUND_UP)


class Problem(NamedTuple):
    """Why an order does not pass a check. limit and value as texts of the API.

    temporary: the same order may pass a little later, so the process keeps it until its `valid_for` is over. unknown: nobody
    knows what the check needs, which is temporary, too.
    """

    code: str
    limit: str | None
    value: str | None
    text: str
    temporary: bool = False
    unknown: bool = False


Problems = Iterator[Problem]


def unknown(code: str, text: str, limit: Decimal | str | None = None) -> Problem:
    """The problem that something is not known."""
    return Problem(
        code, plain(limit) if isinstance(limit, Decimal) else limit, None, text, temporary=True, unknown=True
    )


def plain(value: Decimal) -> str:
    """A number as the API writes it: no exponent, no zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(value: Decimal) -> str:
    """An amount, to the cent."""
    return plain(value.quantize(_CENT, ROUND_HALF_EVEN))


class Reference(NamedTuple):
    """The price that others are compared with. is_close: it is the last close, as no quote is new enough."""

    price: Decimal
    is_close: bool


@dataclass(frozen=True)
class Case:
    """One order of a ticket, and the facts. The orders that count are those beside it: a change leaves its own out."""

    ticket: Ticket
    leg: Leg
    facts: Facts

    def limit(self, name: str) -> Decimal | None:
        return self.facts.limits[name]

    def switch(self, name: str) -> bool:
        """Whether a limit that is a switch is on; a switch without a value is off."""
        return self.facts.limits[name] == 1

    @property
    def asset_class(self) -> str:
        return self.ticket.instrument.asset_class

    @property
    def side(self) -> Side:
        return self.leg.side

    @property
    def is_kill(self) -> bool:
        """An order that flattens after a kill, or an exit that protects what its entry left: a halt does not keep it back."""
        return self.ticket.origin is Origin.KILL or self.facts.protects

    @property
    def at_once(self) -> bool:
        """It trades at any price as soon as it is sent: a market order that waits for no opening."""
        return self.leg.type is OrderType.MKT and self.leg.tif is not Tif.OPG

    @cached_property
    def others(self) -> tuple[PendingOrder, ...]:
        """The open orders of the account and instrument but for the one that is to change."""
        changes = self.facts.changes
        return tuple(one for one in self.facts.orders if not changes or one.order_id != changes)

    @cached_property
    def group(self) -> str:
        """The group that the order is in, as `PendingOrder.group` names it; empty for none, and for a new bracket."""
        if self.ticket.oca is not None:
            return str(oca_group_id(self.ticket.account, self.ticket.oca.group))
        return next((one.group for one in self.facts.orders if one.order_id == self.facts.changes), "")

    @cached_property
    def excepted(self) -> frozenset[str]:
        """The groups with whose orders it may trade: its own, and of a bracket's first order that of its exits."""
        own = (one.entry_of for one in self.facts.orders if one.order_id == self.facts.changes)
        return frozenset((self.group, *own)) - {""}

    @cached_property
    def quantity(self) -> Decimal:
        """What the order can still fill."""
        return max(self.leg.quantity - self.facts.filled, Decimal(0))

    @property
    def own_orders(self) -> int:
        """How many orders of the ticket are on this one's side."""
        return sum(leg.side is self.side for leg in legs(self.ticket))

    @cached_property
    def exposure(self) -> Exposure | None:
        """Position and open orders without this one; None while the position is not known."""
        return None if self.facts.position is None else exposure_of(self.facts.position, self.others)

    @cached_property
    def added(self) -> Decimal:
        """What the order adds to the open orders of its side."""
        together = self.ticket.oca is not None and self.ticket.oca.type == 3
        return added(self.others, self.side, self.quantity, group="" if together else self.group)

    @cached_property
    def reducing(self) -> bool:
        """It can only bring the position toward zero. An exit of a bracket can, whatever the position is before its entry."""
        if self.leg.is_exit or self.facts.is_exit:
            return True
        return self.exposure is not None and is_reducing(self.exposure, self.side, self.added)

    @cached_property
    def quote(self) -> Quote | None:
        """The quote, if it is of a feed that may be used for this order."""
        quote = self.facts.quote
        if quote is None or (quote.feed in DELAYED and not self.facts.delayed_allowed):
            return None
        return quote

    @cached_property
    def reference(self) -> Reference | None:
        """The newest price that is new enough, else the last close; None where there is neither."""
        oldest = self.limit("reference_age")
        quote = self.quote
        if quote is not None and quote.price and (oldest is None or quote.age <= oldest):
            return Reference(quote.price, False)
        return Reference(self.facts.close, True) if self.facts.close else None

    @cached_property
    def worst_price(self) -> Decimal | None:
        """The price at which a fill would cost most: a buy's limit; else the highest of its prices and the reference."""
        prices = self.leg.prices
        if self.side is Side.BUY and prices.limit is not None:
            return prices.limit
        known = [abs(one) for one in (prices.limit, prices.stop) if one is not None]
        known += [abs(self.reference.price)] if self.reference is not None else []
        return max(known, default=None)

    @cached_property
    def unit_value(self) -> Decimal | None:
        """The value of one unit in the account's base currency; None while price or rate is not known."""
        if self.worst_price is None or self.facts.rate is None:
            return None
        return unit_value(
            self.worst_price,
            multiplier=self.facts.multiplier,
            magnifier=self.facts.magnifier,
            rate=self.facts.rate,
        )

    @cached_property
    def reserved_unit_value(self) -> Decimal | None:
        """At which value one unit is reserved. While its value is not known: as if the order had the largest value that check 8
        lets pass, so that it holds no less than it may turn out to be worth. None where no limit `notional` says so.
        """
        most = self.limit("notional")
        if self.unit_value is not None or most is None or self.quantity <= 0:
            return self.unit_value
        return _ROUND_UP.divide(most, self.quantity)
