"""Trades from flat to flat: how often, how much, and how well.

A round trip begins where a position leaves zero and ends where it is zero again; a trade that turns a position ends one and
begins the next. What is still open is no round trip. Amounts are in the contract's currency, net of commissions.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.portfolio.lots import ZERO, Match


class Closed(NamedTuple):
    """A match with the commissions of its two sides; None while IB has not sent one."""

    match: Match
    opening_fee: Decimal | None
    closing_fee: Decimal | None

    @property
    def net(self) -> Decimal | None:
        """Profit after commissions; None while a price or a commission is not known."""
        gross = self.match.gross
        if gross is None or self.opening_fee is None or self.closing_fee is None:
            return None
        return gross - self.opening_fee - self.closing_fee


class RoundTrip(NamedTuple):
    """From flat to flat. side: 1 long, -1 short. quantity: what was closed, positive. net: None where a part is not known."""

    began: int
    ended: int
    side: int
    quantity: Decimal
    net: Decimal | None


class TripStatistics(NamedTuple):
    """Over round trips whose result is known. won, lost, even: how many; an even one counts for no rate.

    win_rate: won of won and lost, 0 to 1. profit_factor: what was won by what was lost. expectancy: mean result. Each is None
    where it would divide by nothing. unknown: round trips whose result is not known, counted nowhere else.
    """

    won: int
    lost: int
    even: int
    unknown: int
    gained: Decimal
    given: Decimal
    win_rate: Decimal | None
    profit_factor: Decimal | None
    expectancy: Decimal | None


def round_trips(closed: Iterable[Closed]) -> list[RoundTrip]:
    """The round trips of one account and contract, from all its matches in the order in which they were booked.

    Matches after the last one that left the position flat belong to a round trip that has not ended: they are left out.
    """
    found: list[RoundTrip] = []
    current: list[Closed] = []
    for one in closed:
        current.append(one)
        if one.match.flat:
            found.append(_trip(current))
            current = []
    return found


def _trip(parts: Sequence[Closed]) -> RoundTrip:
    net: Decimal | None = ZERO
    for part in parts:
        net = None if net is None or part.net is None else net + part.net
    first, last = parts[0].match, parts[-1].match
    side = 1 if first.quantity > ZERO else -1
    quantity = sum((abs(part.match.quantity) for part in parts), ZERO)
    return RoundTrip(first.opened_ts, last.closed_ts, side, quantity, net)


def statistics(trips: Iterable[RoundTrip]) -> TripStatistics:
    """Counts and rates of round trips; amounts must be of one currency."""
    every = list(trips)
    results = [trip.net for trip in every if trip.net is not None]
    gained = sum((net for net in results if net > ZERO), ZERO)
    given = -sum((net for net in results if net < ZERO), ZERO)
    won, lost = sum(net > ZERO for net in results), sum(net < ZERO for net in results)
    return TripStatistics(
        won=won,
        lost=lost,
        even=len(results) - won - lost,
        unknown=len(every) - len(results),
        gained=gained,
        given=given,
        win_rate=Decimal(won) / (won + lost) if won + lost else None,
        profit_factor=gained / given if given else None,
        expectancy=(gained - given) / len(results) if results else None,
    )
