"""Round trips: from flat to flat."""

from decimal import Decimal

from nautilus.portfolio.lots import Trade, book_all, fee_share
from nautilus.portfolio.round_trips import Closed, RoundTrip, round_trips, statistics

D = Decimal


def closed(*trades: tuple[int, str], fee: str | None = "1") -> list[Closed]:
    """Trades (quantity, price) one after the other, each with the same commission."""
    sizes = {f"e{n}": quantity for n, (quantity, _) in enumerate(trades)}
    booked = book_all(Trade(f"e{n}", n, D(quantity), D(price)) for n, (quantity, price) in enumerate(trades))
    fees = None if fee is None else D(fee)
    return [
        Closed(
            match,
            fee_share(fees, match.opened, D(sizes[match.opened_key])),
            fee_share(fees, match.quantity, D(sizes[match.closed_key])),
        )
        for match in booked.matches
    ]


def test_purchases_and_sales_until_flat_are_one_round_trip():
    found = round_trips(closed((10, "100"), (10, "110"), (-5, "120"), (-15, "120")))
    assert found == [RoundTrip(0, 3, 1, D(20), D(300) - 4)]


def test_a_trade_that_turns_a_position_ends_a_trip_and_begins_the_next():
    # Half of the middle commission belongs to each of both trips.
    found = round_trips(closed((10, "100"), (-20, "90"), (10, "95")))
    assert found == [RoundTrip(0, 1, 1, D(10), D("-101.5")), RoundTrip(1, 2, -1, D(10), D("-51.5"))]


def test_what_is_open_is_no_round_trip():
    assert round_trips(closed((10, "100"), (-9, "110"))) == []


def test_a_trip_whose_commission_has_not_come_is_counted_as_unknown():
    trips = round_trips(closed((1, "10"), (-1, "11"), fee=None))
    assert [trip.net for trip in trips] == [None]
    counted = statistics(trips)
    assert counted.unknown == 1
    assert counted.win_rate is None
    assert counted.expectancy is None


def test_break_even_counts_for_no_rate():
    trips = [RoundTrip(0, 1, 1, D(1), D(net)) for net in ("30", "-10", "0", "10", "-10")]
    counted = statistics(trips)
    assert (counted.won, counted.lost, counted.even) == (2, 2, 1)
    assert counted.win_rate == D("0.5")
    assert counted.profit_factor == 2
    assert counted.expectancy == 4


def test_without_a_loss_there_is_no_profit_factor():
    assert statistics([RoundTrip(0, 1, 1, D(1), D(5))]).profit_factor is None
