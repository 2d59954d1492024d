"""What was closed: profit before and after commissions, match by match, and round trips from flat to flat.

Amounts are in the contract's currency. A commission in another currency is a line of its own and in no net amount.
"""

from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.portfolio import holdings
from nautilus.db.portfolio.holdings import ClosedRow, FillFilter
from nautilus.portfolio.contracts import Contract, contracts
from nautilus.portfolio.lots import ZERO, Match, fee_share
from nautilus.portfolio.round_trips import Closed, RoundTrip, round_trips

MOST = 100_000
"""Matches that one answer is made of; `complete` says whether there were more."""


class Part(NamedTuple):
    """A match with its value. row: as it is stored. closed: in money of the contract's currency."""

    row: ClosedRow
    contract: Contract
    closed: Closed

    @property
    def gross(self) -> Decimal | None:
        return self.closed.match.gross


class Parts(NamedTuple):
    """complete: False when there were more than MOST, and the oldest are left out."""

    parts: list[Part]
    complete: bool


def parts_of(cursor: Cursor, which: FillFilter) -> Parts:
    """What was closed in a time, by account and contract, in the order in which it was booked."""
    rows = holdings.closed(cursor, which, most=MOST + 1)
    known = contracts(cursor, (row.con_id for row in rows))
    complete = len(rows) <= MOST
    if not complete:
        rows.remove(min(rows, key=lambda row: row.closed_ts))
    return Parts([_part(row, known[row.con_id]) for row in rows], complete)


class Closings(NamedTuple):
    """What was closed in a time, and the round trips that ended in it."""

    parts: list[Part]
    trips: "list[Trip]"
    complete: bool


def closings_of(cursor: Cursor, which: FillFilter) -> Closings:
    """What was closed in a time; with a tag: by orders that have it. A round trip belongs to the order that ended it, and is
    made of all its parts, whoever closed them and when."""
    found = parts_of(cursor, which._replace(since=0, tag=None))
    trips = [trip for trip in trips_of(found.parts, which.since) if which.tag is None or which.tag in trip.tags]
    parts = [part for part in found.parts if part.row.closed_ts >= which.since]
    own = [part for part in parts if which.tag is None or which.tag in (part.row.tags or ())]
    return Closings(own, trips, found.complete)


def _part(row: ClosedRow, contract: Contract) -> Part:
    unit = contract.unit
    cost = row.cost if row.opened_key == "opening" or row.cost is None else _times(row.cost, unit)
    match = Match(
        row.opened_key,
        row.closed_key,
        row.opened_ts,
        row.closed_ts,
        row.quantity,
        row.opened,
        cost,
        None if row.proceeds is None else _times(row.proceeds, unit),
        row.flat,
    )
    return Part(row, contract, Closed(match, _opening_fee(row, contract), _closing_fee(row, contract)))


def _times(value: Decimal, unit: Decimal | None) -> Decimal | None:
    return None if unit is None else value * unit


def _opening_fee(row: ClosedRow, contract: Contract) -> Decimal | None:
    return _fee(row.opening_whole, row.opening_fee, row.opening_fee_currency, part=row.opened, contract=contract)


def _closing_fee(row: ClosedRow, contract: Contract) -> Decimal | None:
    return _fee(row.closing_whole, row.closing_fee, row.closing_fee_currency, part=row.quantity, contract=contract)


def fees_of(part: Part) -> list[tuple[str, Decimal]] | None:
    """The commissions of a match, each with its currency; None while one has not come."""
    row, found = part.row, []
    sides = (
        (row.opening_whole, row.opening_fee, row.opening_fee_currency, row.opened),
        (row.closing_whole, row.closing_fee, row.closing_fee_currency, row.quantity),
    )
    for whole, fee, currency, size in sides:
        if whole is None:
            continue
        share = fee_share(fee, size, whole)
        if share is None:
            return None
        found.append((currency or "", share))
    return found


def _fee(
    whole: Decimal | None, fee: Decimal | None, currency: str | None, *, part: Decimal, contract: Contract
) -> Decimal | None:
    """The share of a commission; 0 of what has none (an opening has it inside); None while it has not come, or where it is money
    of another currency."""
    if whole is None:
        return ZERO
    if fee is None or currency != contract.currency:
        return None
    return fee_share(fee, part, whole)


class CurrencyProfit(NamedTuple):
    """What was closed in one currency. gross, fees, net: None where a part is not known; unknown: how many matches that are."""

    currency: str
    matches: int
    unknown: int
    gross: Decimal | None
    fees: Decimal | None
    net: Decimal | None


def profits(parts: Iterable[Part]) -> list[CurrencyProfit]:
    """Realized profit by currency; contracts that nobody looked up stand under an empty one."""
    ordered = sorted(parts, key=lambda part: part.contract.currency or "")
    return [
        _profit(currency, list(group))
        for currency, group in groupby(ordered, key=lambda part: part.contract.currency or "")
    ]


def _profit(currency: str, parts: list[Part]) -> CurrencyProfit:
    fees = _sum(_both(part.closed) for part in parts)
    gross, net = _sum(part.gross for part in parts), _sum(part.closed.net for part in parts)
    unknown = sum(part.closed.net is None for part in parts)
    return CurrencyProfit(currency, len(parts), unknown, gross, fees, net)


def _both(closed: Closed) -> Decimal | None:
    if closed.opening_fee is None or closed.closing_fee is None:
        return None
    return closed.opening_fee + closed.closing_fee


def _sum(values: Iterable[Decimal | None]) -> Decimal | None:
    total = ZERO
    for value in values:
        if value is None:
            return None
        total += value
    return total


class Trip(NamedTuple):
    """A round trip of an account and contract."""

    account: str
    contract: Contract
    trip: RoundTrip
    tags: tuple[str, ...]


def trips_of(parts: Iterable[Part], since: int = 0) -> list[Trip]:
    """Round trips that ended at or after a market time (ns), the oldest first. The parts go back far enough to hold their
    beginnings: whoever asks for a time gives all parts before it, too."""
    found = []
    for (account, _), group in groupby(parts, key=lambda part: (part.row.account, part.row.con_id)):
        own = list(group)
        ends = [part for part in own if part.closed.match.flat]
        trips = zip(round_trips(part.closed for part in own), ends, strict=True)
        found += [
            Trip(account, own[0].contract, trip, tuple(end.row.tags or ()))
            for trip, end in trips
            if trip.ended >= since
        ]
    return sorted(found, key=lambda one: (one.trip.ended, one.account, one.contract.con_id))
