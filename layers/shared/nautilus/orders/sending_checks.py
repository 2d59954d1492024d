"""The checks just before an order is sent: those that need the market and the broker, and the others once more, as they may
have changed since it was accepted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.live.wants import WantRow
from nautilus.db.orders import risk_book, trading_state
from nautilus.db.orders.orders import OrderRow
from nautilus.lookup.identity import trade_day
from nautilus.market.account_kind import account_kind
from nautilus.market.instrument import Instrument
from nautilus.orders import checks
from nautilus.orders.account_facts import state_of, with_account
from nautilus.orders.checks import Refusal
from nautilus.orders.market_facts import market_facts
from nautilus.orders.row_tickets import ticket_of
from nautilus.orders.ticket import Origin
from nautilus.settings.orders import OrderModeSettings

_WANTS = "orders"
"""Who wants the quotes that checks need."""
_LEASE_S = 120.0
_PRIORITY = 9
_NEW_S = 2
"""A quote that is older, in market time, may have nobody who wants it."""


class Verdict(NamedTuple):
    """refusals: why an order is denied, or why it waits. wait: they may pass soon, and until then it stays accepted."""

    refusals: tuple[Refusal, ...] = ()
    wait: bool = False

    @property
    def why(self) -> str:
        return "; ".join(dict.fromkeys(f"{one.code}: {one.text}" for one in self.refusals))

    @property
    def as_rows(self) -> list[dict[str, str | int | None]]:
        """As the column `checks` holds them."""
        return [one.as_dict() for one in self.refusals]


def check(
    cursor: Cursor, rows: Sequence[OrderRow], instrument: Instrument, *, now_ns: int, settings: OrderModeSettings
) -> Verdict:
    """Check the orders of a group, all of one account and contract that are held; the first refusal of any denies all.

    An order whose quote is not known, or is not new, wants it, so that the next time it may be there.
    """
    first = rows[0]
    account = risk_book.lock_account(cursor, first.account)
    exposure = risk_book.lock_exposure(cursor, first.account, first.con_id)
    market = market_facts(cursor, instrument, first.account, now=now_ns, settings=settings)
    if market.quote is None or market.quote.age > _NEW_S:
        wants.put(cursor, _WANTS, [WantRow(first.con_id, "quotes", "", "", "", _PRIORITY)], _LEASE_S)
    found: list[Refusal] = []
    for row in rows:
        facts = with_account(cursor, market, account, exposure, principal=row.principal, changes=row)
        # Who sends knows better than the row of its last heartbeat that it may.
        facts = replace(facts, ready=True, not_ready_because="", order_ratio=None)
        found += checks.run(ticket_of(row, instrument), facts, "process")
    refusals = tuple(dict.fromkeys(found))
    return Verdict(refusals, wait=bool(refusals) and checks.only_temporary(refusals))


def is_halted(cursor: Cursor, row: OrderRow, now_ns: int) -> bool:
    """Whether trading was halted since the checks; what flattens after a kill is sent nevertheless. The account is held."""
    rows = trading_state.read(cursor, [row.account])
    halted = state_of(rows, account_kind([row.account]), trade_day(now_ns)) == "halted"
    return halted and row.origin != Origin.KILL
