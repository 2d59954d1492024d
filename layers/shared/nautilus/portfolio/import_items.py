"""What a file of fills holds, in the order in which it is written, and in pieces that are each one transaction.

A piece is the fills of whole contracts, so that a position never stands between two halves of a file; only a contract with very
many fills is divided. Then come trades that were taken back, and movements of cash.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from nautilus.portfolio.confirmations import read_confirmations
from nautilus.portfolio.flex import read_flex
from nautilus.portfolio.report_rows import Problem
from nautilus.portfolio.reported import ReportedCash, ReportedFill, understood
from nautilus.portfolio.standing import standing, standing_cash

PIECE, LARGEST_PIECE = 100, 500
"""Items of a transaction that holds the account: orders and cancels of the account wait for it, so it ends within a second."""
READERS = {"flex": read_flex, "csv": read_confirmations}
"""Kind of a file -> what reads it."""


class Item(NamedTuple):
    """One thing that a file says. Exactly one of the three is given. taken_back: a fill that the file itself takes back."""

    fill: ReportedFill | None = None
    taken_back: ReportedFill | None = None
    cash: ReportedCash | None = None


class Contents(NamedTuple):
    """All that a file says about one account. problems: what of it is refused, whatever the ledger knows."""

    items: list[Item]
    problems: list[Problem]
    repeated: int
    skipped: int

    @property
    def fills(self) -> list[ReportedFill]:
        return [item.fill for item in self.items if item.fill is not None]


def contents(raw: bytes, kind: str, account: str, zone: ZoneInfo | None) -> Contents:
    """Read a file. Unreadable: it is none of its kind."""
    found = understood(READERS[kind](raw), account, zone)
    fills, moved = standing(found.fills), standing_cash(found.cash)
    items = [Item(fill=one) for one in fills.fills]
    items += [Item(taken_back=one) for one in fills.taken_back]
    items += [Item(cash=one) for one in moved.cash]
    return Contents(
        items,
        sorted(found.problems + fills.problems + moved.problems),
        fills.repeated + moved.repeated,
        found.skipped,
    )


def piece(items: Sequence[Item], start: int) -> Sequence[Item]:
    """The items that are written together, from one on; empty when none is left."""
    end = start
    for size in _contract_sizes(items, start):
        if end > start and end - start + size > PIECE:
            break
        end += size
    return items[start : min(end, start + LARGEST_PIECE)]


def _contract_sizes(items: Sequence[Item], start: int) -> Iterator[int]:
    """How many items follow each other that belong together."""
    rest = (items[at] for at in range(start, len(items)))
    for contract, together in groupby(rest, key=lambda item: item.fill.con_id if item.fill else None):
        count = sum(1 for _ in together)
        if contract is not None:
            yield count
        else:
            yield from (1 for _ in range(count))
