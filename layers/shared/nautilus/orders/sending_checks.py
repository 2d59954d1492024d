"""The checks just before an order is sent: those that need the market and the broker, and the others once more, as they may
have changed since it was accepted."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.live.wants import WantRow
from nautilus.db.orders import trading_state
from nautilus.db.orders.orders import Held, OrderRow
from nautilus.market.account_kind import account_kind
from nautilus.market.instrument import Instrument
from nautilus.orders import checks
from nautilus.orders.account_facts import state_of, with_change, with_ledger
from nautilus.orders.checks import Refusal
from nautilus.orders.exposure_checks import MARGIN
from nautilus.orders.facts import Facts
from nautilus.orders.margin_facts import first_case, want, with_margin
from nautilus.orders.market_facts import market_facts
from nautilus.orders.outcome import Terms
from nautilus.orders.row_tickets import protects, ticket_of
from nautilus.orders.ticket import Origin, Ticket
from nautilus.portfolio.trade_dates import trade_date
from nautilus.settings.orders import OrderModeSettings

_WANTS = "orders"
"""Who wants the quotes that checks need."""
_LEASE_S = 120.0
_PRIORITY = 9
_AS_THEY_ARE = Terms()
_NEW_S = 2
"""A quote that is older, in market time, may have nobody who wants it."""


class Verdict(NamedTuple):
    """refusals: why an order is denied, or why it waits. wait: they may pass soon, and until then it stays accepted.
    unit_values: the value of one unit of each order now, in base currency; None where nobody knows it."""

    refusals: tuple[Refusal, ...] = ()
    wait: bool = False
    unit_values: tuple[Decimal | None, ...] = ()

    @property
    def why(self) -> str:
        return "; ".join(dict.fromkeys(one.sentence for one in self.refusals))

    @property
    def as_rows(self) -> list[dict[str, str | int | None]]:
        """As the column `checks` holds them."""
        return [one.as_dict() for one in self.refusals]


class _Checked(NamedTuple):
    """An order with what is known for its checks, and what they say."""

    row: OrderRow
    ticket: Ticket
    facts: Facts
    refusals: list[Refusal]


def check(
    cursor: Cursor,
    held: Held,
    rows: Sequence[OrderRow],
    instrument: Instrument,
    *,
    now_ns: int,
    settings: OrderModeSettings,
    accounts: Sequence[str],
) -> Verdict:
    """Check the orders of a group, all of one account and contract that are held; the first refusal of any denies all.

    An order whose quote is not known, or is not new, wants it, so that the next time it may be there; so does one that waits
    for IB's answer to a what-if order. accounts: those of the login, as the gateway named them.
    """
    known = _known(cursor, held, instrument, now_ns=now_ns, settings=settings, accounts=accounts)
    return _wanting_margin(cursor, _checked(cursor, rows, instrument, known))


def check_modify(
    cursor: Cursor,
    held: Held,
    terms: Terms,
    instrument: Instrument,
    *,
    now_ns: int,
    settings: OrderModeSettings,
    accounts: Sequence[str],
) -> Verdict:
    """The same for an order that IB has, with the terms that it is to have. A modify that only makes the quantity smaller
    passes: it is a cancel of a part, and no check stands before a cancel."""
    if terms.quantity is not None and terms == Terms(quantity=terms.quantity) and terms.quantity < held.order.quantity:
        return Verdict()
    known = _known(cursor, held, instrument, now_ns=now_ns, settings=settings, accounts=accounts)
    return _wanting_margin(cursor, _checked(cursor, [held.order], instrument, known, terms=terms))


def _known(
    cursor: Cursor,
    held: Held,
    instrument: Instrument,
    *,
    now_ns: int,
    settings: OrderModeSettings,
    accounts: Sequence[str],
) -> Facts:
    """What holds for all orders of the account and contract. A quote that is not new is wanted."""
    market = market_facts(cursor, instrument, held.order.account, now=now_ns, settings=settings)
    if market.quote is None or market.quote.age > _NEW_S:
        wants.put(cursor, _WANTS, [WantRow(held.order.con_id, "quotes", "", "", "", _PRIORITY)], _LEASE_S)
    known = with_ledger(cursor, market, held.account, held.exposure)
    # Who sends knows better than the row of its last heartbeat that it may, and for which accounts.
    return replace(known, accounts=frozenset(accounts), ready=True, not_ready_because="")


def _wanting_margin(cursor: Cursor, checked: Sequence[_Checked]) -> Verdict:
    """The verdict; what it waits for of IB is wanted."""
    verdict = _verdict(checked)
    if verdict.wait:
        for one in checked:
            if any(refusal.code == MARGIN for refusal in one.refusals):
                want(cursor, one.ticket, one.facts, principal=one.row.principal)
    return verdict


def why_not_sent(
    cursor: Cursor,
    held: Held,
    rows: Sequence[OrderRow],
    instrument: Instrument,
    *,
    now_ns: int,
    settings: OrderModeSettings,
    is_open: bool,
) -> Verdict:
    """What kept orders back until their time was over. is_open: whether orders may be sent at all now. They are held."""
    market = market_facts(cursor, instrument, held.order.account, now=now_ns, settings=settings)
    known = with_ledger(cursor, market, held.account, held.exposure)
    known = replace(known, ready=is_open, not_ready_because="" if is_open else known.not_ready_because)
    return _verdict(_checked(cursor, rows, instrument, known))


def _checked(
    cursor: Cursor, rows: Sequence[OrderRow], instrument: Instrument, known: Facts, *, terms: Terms = _AS_THEY_ARE
) -> list[_Checked]:
    """known: what holds for all of the group. terms: what they are to have instead."""
    found = []
    for row in rows:
        ticket = ticket_of(row, instrument, terms)
        facts = with_margin(cursor, ticket, with_change(known, row))
        found.append(_Checked(row, ticket, facts, checks.run(ticket, facts, "process")))
    return found


def _verdict(checked: Sequence[_Checked]) -> Verdict:
    refusals = tuple(dict.fromkeys(refusal for one in checked for refusal in one.refusals))
    values = tuple(first_case(one.ticket, one.facts).unit_value for one in checked)
    return Verdict(refusals, bool(refusals) and checks.only_temporary(refusals), values)


def is_halted(cursor: Cursor, row: OrderRow, now_ns: int) -> bool:
    """Whether trading was halted since the checks; what flattens after a kill, and an exit that protects what its entry left, is
    sent nevertheless. The account is held."""
    rows = trading_state.read(cursor, [row.account])
    halted = state_of(rows, account_kind([row.account]), trade_date(now_ns)) == "halted"
    return halted and row.origin != Origin.KILL and not protects(row)
