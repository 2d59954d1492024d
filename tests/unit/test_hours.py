"""The hours that contract details tell of: when a market opens next, and how far they reach."""

from ib_bridge.translate import last_day, opens
from tests.unit.markets import ns

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
