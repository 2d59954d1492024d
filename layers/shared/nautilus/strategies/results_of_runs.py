"""What came of a run, whatever its mode: fills of the simulated account, or of the ledger in a live run; round trips."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.strategies import live_fills, results
from nautilus.db.strategies.results import FillRow
from nautilus.db.strategies.runs import RunRow
from nautilus.portfolio.contracts import contracts
from nautilus.portfolio.round_trips import RoundTrip, round_trips
from nautilus.strategies.figures import Book, RunFill
from nautilus.strategies.states import Mode

MOST_FILLS = 50_000
"""Fills of one file, of one report, and of one count of round trips."""


def fills(cursor: Cursor, row: RunRow, *, after: int = 0, limit: int = MOST_FILLS) -> Sequence[FillRow]:
    """Fills of a run in their order."""
    if row.mode == Mode.LIVE:
        return live_fills.fills(cursor, row.id, after=after, limit=limit)
    return results.fills(cursor, row.id, after=after, limit=limit)


class RunTrip(NamedTuple):
    con_id: int
    trip: RoundTrip


def trips(cursor: Cursor, rows: Iterable[FillRow]) -> list[RunTrip]:
    """Round trips of fills, which are all that there are, by the time at which they ended."""
    by_contract: dict[int, list[FillRow]] = {}
    for row in rows:
        by_contract.setdefault(row.con_id, []).append(row)
    known = contracts(cursor, by_contract)
    found = []
    for con_id, own in by_contract.items():
        book = Book()
        for row in own:
            book.add(_fill(row, known[con_id].unit or Decimal(1)))
        found += [RunTrip(con_id, trip) for closed in book.trips() for trip in round_trips(closed)]
    return sorted(found, key=lambda one: (one.trip.ended, one.con_id))


def _fill(row: FillRow, unit: Decimal) -> RunFill:
    return RunFill(str(row.n), row.con_id, row.market_ns, row.side, row.quantity, row.price, row.commission, unit)


def positions(rows: Iterable[FillRow]) -> dict[int, Decimal]:
    """What is held after some fills, by contract; none that is flat."""
    held: dict[int, Decimal] = {}
    for row in rows:
        held[row.con_id] = held.get(row.con_id, Decimal(0)) + (row.quantity if row.side == "BUY" else -row.quantity)
    return {con_id: quantity for con_id, quantity in held.items() if quantity}
