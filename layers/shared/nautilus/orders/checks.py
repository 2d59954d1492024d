"""The 23 checks that an order passes before it is sent: one table, in the order of their numbers.

The function runs those that need the database alone; the process that sends runs those that need the market and the
broker, and most of the others again, as they may have changed. No check stands before a cancel or the kill switch.

What a check needs and nobody knows: the function leaves it to the process, where that checks it too; else the order is
refused. The process keeps such an order, and one with a problem that passes by itself, until its `valid_for` is over.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Literal, NamedTuple

from nautilus.orders import account_checks, exposure_checks, order_checks, price_checks
from nautilus.orders.check_case import Case, Problems, Where
from nautilus.orders.facts import DELAYED, Facts
from nautilus.orders.groups import legs
from nautilus.orders.ticket import Ticket

__all__ = ["CHECKS", "Check", "CheckState", "Facts", "Place", "Refusal", "notices", "only_temporary", "run", "states"]


class Place(StrEnum):
    """Who runs a check."""

    FUNCTION = "function"
    PROCESS = "process"
    BOTH = "both"


class Check(NamedTuple):
    """A row of the table. codes: what its refusals are called in the API.

    reducing, kill: whether it is for reducing orders and for those that flatten after a kill; exits: whether for the exits of
    a bracket, too, else for the first order of a ticket alone.
    """

    number: int
    codes: tuple[str, ...]
    where: Place
    run: Callable[[Case], Problems]
    text: str
    reducing: bool = True
    kill: bool = True
    exits: bool = False


class Refusal(NamedTuple):
    """Why an order is denied. limit and value are texts as the API shows them. temporary: it may pass a little later."""

    code: str
    check: int
    limit: str | None
    value: str | None
    text: str
    temporary: bool = False

    @property
    def sentence(self) -> str:
        """Code, text, and value and limit where both are numbers, as a person reads them."""
        value, limit = self.value or "", self.limit or ""
        numbers = value[:1].isdigit() and limit[:1].isdigit()
        return f"{self.code}: {self.text}{f' ({value}; limit {limit})' if numbers else ''}"

    def as_dict(self) -> dict[str, str | int | None]:
        return {"code": self.code, "check": self.check, "limit": self.limit, "value": self.value, "detail": self.text}


class CheckState(NamedTuple):
    """How a check stands of an order: `passed`, `refused`, `waits` (refused, and it may pass a little later), `not_known` (nobody
    knows what it needs yet) or `not_for_this_order`."""

    number: int
    codes: tuple[str, ...]
    state: Literal["passed", "refused", "waits", "not_known", "not_for_this_order"]
    text: str


_F, _P, _B = Place.FUNCTION, Place.PROCESS, Place.BOTH
_account, _exposure, _order, _price = account_checks, exposure_checks, order_checks, price_checks
CHECKS: tuple[Check, ...] = (
    Check(1, ("trading_halted", "reducing_only"), _B, _account.trading_state, "the trading state of the account"),
    Check(2, ("orders_off", "unknown_account", "live_not_enabled"), _B, _account.account, "the account, and the mode"),
    Check(3, ("forbidden",), _F, _account.rights, "scope and account of the caller", kill=False),
    Check(4, ("instrument_not_allowed",), _F, _order.instrument, "what may be traded"),
    Check(5, ("invalid_order",), _F, _order.makes_sense, "type, prices, time in force, group", exits=True),
    Check(6, ("price_step", "quantity_step"), _B, _order.steps, "steps of prices and quantities", exits=True),
    Check(7, ("quantity_limit",), _F, _order.quantity, "a quantity by mistake", kill=False),
    Check(8, ("notional_limit",), _B, _price.notional, "the value of the order", reducing=False, kill=False),
    Check(9, ("price_collar",), _P, _price.collar, "distance of the prices from the market", kill=False, exits=True),
    Check(10, ("market_order_not_allowed",), _P, _price.market_order, "what a market order needs", kill=False),
    Check(11, ("session_closed",), _B, _order.session, "whether the market is open"),
    Check(12, ("position_limit",), _B, _exposure.position, "the position", reducing=False, kill=False),
    Check(13, ("exposure_limit",), _B, _exposure.gross_exposure, "gross exposure", reducing=False, kill=False),
    Check(14, ("short_not_allowed",), _B, _exposure.short_sale, "short sales", kill=False),
    Check(
        15, ("daily_loss",), _P, _account.daily_loss, "the loss of the day by IB's count", reducing=False, kill=False
    ),
    Check(16, ("rate_limit",), _F, _account.rate, "how often", kill=False),
    Check(17, ("duplicate_order",), _F, _account.duplicate, "the same order twice", kill=False),
    Check(18, ("too_many_orders",), _B, _account.open_orders, "open orders of a side", kill=False, exits=True),
    Check(19, ("self_match",), _B, _account.self_match, "trading with oneself", kill=False, exits=True),
    Check(20, ("margin",), _P, _exposure.margin, "margin, as the broker tells it", kill=False),
    Check(21, ("unresolved_order", "position_break"), _B, _account.unresolved, "what is unresolved", kill=False),
    Check(22, ("cool_down",), _F, _account.cool_down, "a pause after losses", kill=False),
    Check(23, ("broker_not_ready",), _P, _account.broker, "whether the broker can be reached"),
)


def run(ticket: Ticket, facts: Facts, where: Where) -> list[Refusal]:
    """Why a ticket does not pass, of all checks that belong to `where`; empty when it passes.

    where: `all` is for a preview. Nothing is stored and nothing reserved here.
    """
    cases = [Case(ticket, leg, facts) for leg in legs(ticket)]
    found = (
        refusal
        for check in CHECKS
        if where == "all" or check.where in (where, Place.BOTH)
        for case in cases
        if _applies(check, case)
        for refusal in _refusals(check, case, where)
    )
    return list(dict.fromkeys(found))


def states(ticket: Ticket, facts: Facts) -> list[CheckState]:
    """How each of the 23 checks stands now, in the order of their numbers."""
    cases = [Case(ticket, leg, facts) for leg in legs(ticket)]
    return [_state(check, [case for case in cases if _applies(check, case)]) for check in CHECKS]


def _state(check: Check, cases: list[Case]) -> CheckState:
    if not cases:
        return CheckState(check.number, check.codes, "not_for_this_order", check.text)
    problems = [problem for case in cases for problem in check.run(case)]
    if any(not one.temporary for one in problems):
        return CheckState(check.number, check.codes, "refused", check.text)
    if any(one.unknown for one in problems):
        return CheckState(check.number, check.codes, "not_known", check.text)
    return CheckState(check.number, check.codes, "waits" if problems else "passed", check.text)


def _applies(check: Check, case: Case) -> bool:
    return (
        (check.exits or not case.leg.is_exit)
        and (check.kill or not case.is_kill)
        and (check.reducing or not case.reducing)
    )


def _refusals(check: Check, case: Case, where: Where) -> Iterator[Refusal]:
    for one in check.run(case):
        left_to_process = one.unknown and where == "function" and check.where is Place.BOTH
        if not left_to_process:
            yield Refusal(one.code, check.number, one.limit, one.value, one.text, one.temporary)


def only_temporary(refusals: Iterable[Refusal]) -> bool:
    """Whether an order may wait for its refusals to pass. True when there is none."""
    return all(one.temporary for one in refusals)


def notices(facts: Facts) -> list[str]:
    """What an answer says beside an order that passes: `delayed_data`, where the quotes are delayed and may be used."""
    delayed = facts.quote is not None and facts.quote.feed in DELAYED and facts.delayed_allowed
    return ["delayed_data"] if delayed else []
