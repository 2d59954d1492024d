"""Whose history a broken farm takes away, and when farms rest."""

import pytest

from nautilus.market import farms
from nautilus.market.instrument import Instrument
from tests.support.markets import ns

STOCK = Instrument(1, "A.X", "A", "STK", "SMART", "X", "USD", "A", "A", "", "", 0.01, "A", "US/Eastern", "X")
PAIR = STOCK._replace(asset_class="CASH", time_zone="UTC")
COIN = STOCK._replace(asset_class="CRYPTO", time_zone="UTC")


def farms_of(**states: str) -> dict[str, dict[str, str]]:
    """History farms with their states."""
    return {name: {"kind": "history", "state": state} for name, state in states.items()}


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("US/Eastern", "us"),
        ("America/Chicago", "us"),
        ("EST5EDT", "us"),
        ("Europe/London", "eu"),
        ("GB-Eire", "eu"),
        ("MET", "eu"),
        ("Asia/Jerusalem", "eu"),
        ("Israel", "eu"),
        ("Africa/Johannesburg", "eu"),
        ("Asia/Hong_Kong", "asia"),
        ("Hongkong", "asia"),
        ("Japan", "asia"),
        ("Australia/NSW", "asia"),
        ("UTC", "us"),
    ],
)
def test_an_instrument_belongs_to_a_region(zone, region):
    assert farms.region(STOCK._replace(time_zone=zone)) == region


@pytest.mark.parametrize(
    ("farm", "serves"),
    [
        ("ushmds", "us"),
        ("euhmds", "eu"),
        ("cashhmds", "cash"),
        ("fundfarm", "fund"),
        ("hkhmds", "asia"),
        ("jhmds", "asia"),
        ("newhmds", None),
    ],
)
def test_a_farm_is_known_by_its_name(farm, serves):
    assert farms.served_by(farm) == serves


def test_a_broken_farm_takes_away_what_it_serves_and_nothing_else():
    german, japanese = (STOCK._replace(time_zone=zone) for zone in ("MET", "Japan"))
    known = {"ushmds": "ok", "euhmds": "ok", "cashhmds": "ok", "fundhmds": "ok"}
    for broken, lost in (
        ("ushmds", {STOCK, COIN, japanese}),
        ("euhmds", {german, japanese}),  # none is known to serve Japan: it may be this one
        ("cashhmds", {PAIR}),
        ("fundhmds", set()),
    ):
        there = farms_of(**known | {broken: "broken"})
        assert {one for one in (STOCK, COIN, german, japanese, PAIR) if farms.away(there, one)} == lost, broken
    with_asia = farms_of(**known | {"ushmds": "broken", "hkhmds": "ok"})
    assert farms.away(with_asia, japanese) == []
    assert farms.away(farms_of(ushmds="inactive"), STOCK) == [], "it sleeps until it is asked"
    assert farms.away({"usfarm": {"kind": "market", "state": "broken"}}, STOCK) == [], "not history"
    assert farms.away({}, STOCK) == []


@pytest.mark.parametrize(
    ("when", "zone", "regions"),
    [
        ("2026-03-04 00:14", "America/New_York", ""),
        ("2026-03-04 00:15", "America/New_York", "us"),
        ("2026-03-04 01:44", "America/New_York", "us eu"),  # 06:44 in Berlin
        ("2026-03-04 07:44", "Europe/Berlin", "us eu"),
        ("2026-03-10 06:30", "Europe/Berlin", "us eu"),  # 01:30 in New York, which is on summer time already
        ("2026-03-10 07:00", "Europe/Berlin", "eu"),
        ("2026-03-04 07:45", "Europe/Berlin", ""),
        ("2026-03-04 04:45", "Asia/Hong_Kong", "asia"),
        ("2026-03-04 20:30", "Asia/Hong_Kong", "asia"),
        ("2026-03-06 23:00", "America/New_York", "us eu asia"),
        ("2026-03-07 02:59", "America/New_York", "us eu asia"),
        ("2026-03-07 03:00", "America/New_York", ""),
    ],
)
def test_farms_rest_at_night_by_region_and_all_of_them_at_the_weekend(when, zone, regions):
    at = ns(when, zone)
    found = {region for region in ("us", "eu", "asia") if farms.resting(at, [region])}
    assert found == set(regions.split())
    assert farms.resting(at, ["cash"]) == farms.resting(at, [None]) == farms.resting(at, ["us"])
