"""The hours that contract details tell of, and the zones they are in."""

import pytest

from ib_bridge.ib.translate import UnknownZone, last_day, opens, time_zone
from tests.support.markets import ns

NEW_YORK = "America/New_York"
WEEKEND = "20240105:0930-20240105:1600;20240106:CLOSED;20240107:CLOSED;20240108:0930-20240108:1600"


def test_the_opens_of_the_days_ahead():
    assert opens(WEEKEND, NEW_YORK) == [ns("2024-01-05 09:30", NEW_YORK), ns("2024-01-08 09:30", NEW_YORK)]
    assert last_day(WEEKEND, NEW_YORK) == ns("2024-01-09 00:00", NEW_YORK)


def test_overnight_sessions_breaks_and_older_forms():
    chicago = "20240107:1700-20240108:1600;20240108:1700-20240109:1600"
    assert opens(chicago, "America/Chicago")[0] == ns("2024-01-07 17:00", "America/Chicago")
    lunch = "20240108:0930-20240108:1200,20240108:1300-20240108:1600"
    assert len(opens(lunch, "Asia/Hong_Kong")) == 2
    assert opens("20090507:0700-1830,1830-2330;20090508:CLOSED", "UTC") == [ns("2009-05-07 07:00")]


def test_when_nothing_is_told():
    for nothing in ("", ";", "CLOSED", "rubbish;20240:1"):
        assert opens(nothing, NEW_YORK) == []
        assert last_day(nothing, NEW_YORK) == 0


@pytest.mark.parametrize(
    ("found", "zone"),
    [
        ("US/Eastern", "US/Eastern"),
        ("EST", "America/New_York"),  # in the zone database EST has no summer time
        ("EST (Eastern Standard Time)", "America/New_York"),
        ("CST (Central Standard Time)", "America/Chicago"),
        ("MET", "MET"),
        ("MET (Middle Europe Time)", "MET"),
        ("JST (Japan Standard Time)", "Asia/Tokyo"),
        ("British Summer Time", "Europe/London"),
        ("Hongkong", "Hongkong"),
    ],
)
def test_the_zones_that_ib_names(found, zone):
    assert time_zone(found) == zone


def test_a_zone_that_nobody_knows_is_never_taken_for_another():
    with pytest.raises(UnknownZone, match="Mars Standard Time"):
        time_zone("Mars Standard Time")
