"""Every code that a data backend can meet is mapped, and the texts behind 162 are told apart."""

import pytest

from ib_bridge.ib_codes import CODES, FARM_CODES, Reaction, Scope, farm_of, meaning

# TWS API "message codes" and IBKR Campus "error handling" (read 2026-11), written down here on its own.
KNOWN = """
100 101 102 103 104 105 106 107 110 135 161 162 165 166 200 201 202 203 300 302 309 310 316 317 319 320 321 322 326 327
354 355 357 365 366 385 386 387 388 399 404 414 420 430 431 434 438 501 502 503 504 505 506 507 508 509 510 579 585 588
593 1100 1101 1102 1300 2100 2101 2102 2103 2104 2105 2106 2107 2108 2109 2110 2119 2130 2137 2150 2152 2157 2158 2168
2169 2174 2176 10015 10089 10090 10091 10092 10147 10148 10167 10168 10182 10186 10187 10189 10190 10197 10225 10230
10285 10295 10299 10314 10328 10330 10337 10338 10339 10346
"""
HISTORY = "Historical Market Data Service error message:"


@pytest.mark.parametrize("code", [int(code) for code in KNOWN.split()])
def test_no_code_is_unmapped(code):
    text = HISTORY + "HMDS query returned no data: AAPL@SMART Trades" if code == 162 else "some text"
    assert meaning(code, text).reaction is not Reaction.ALARM


def test_no_mapped_code_is_unknown_to_the_lists():
    assert set(CODES) | set(FARM_CODES) <= {int(code) for code in KNOWN.split()}


def test_what_nobody_knows_is_an_alarm_never_a_retry():
    assert meaning(12345, "surprise").reaction is Reaction.ALARM
    assert meaning(162, HISTORY + "something new").reaction is Reaction.ALARM


@pytest.mark.parametrize(
    ("tail", "reaction", "reason"),
    [
        ("HMDS query returned no data: AAPL@SMART Trades", Reaction.EMPTY, "no_data"),
        ("Historical data request pacing violation", Reaction.WAIT, "pacing"),
        ("No market data permissions for NASDAQ STK", Reaction.PERMANENT, "no_permission"),
        ("API historical data query cancelled: 17", Reaction.RETRY, "cancelled_by_ib"),
        ("No historical market data for EUR/CASH@IDEALPRO Last 1m", Reaction.PERMANENT, "kind_not_offered"),
        ("No data of type EODChart is available for the exchange 'CBOE'", Reaction.PERMANENT, "kind_not_offered"),
        ("Unknown contract", Reaction.PERMANENT, "unknown_contract"),
        ("invalid step: 1 secs over 1 D", Reaction.PERMANENT, "invalid_request"),
        ("Starting time must occur before ending time", Reaction.PERMANENT, "invalid_request"),
        ("Query failed", Reaction.RETRY, "query_failed"),
        ("TWS exited during processing of HMDS query", Reaction.RETRY, "query_failed"),
        ("HMDS Expired Contract Violation:contract can not expire", Reaction.PERMANENT, "expired_contract"),
        ("Trading TWS session is connected from a different IP address", Reaction.WAIT, "competing_session"),
    ],
)
def test_162_is_told_apart_by_its_text(tail, reaction, reason):
    found = meaning(162, HISTORY + tail)
    assert (found.reaction, found.reason, found.scope) == (reaction, reason, Scope.REQUEST)


def test_notices_are_a_range_and_farms_have_names():
    assert meaning(2199, "new notice").reaction is Reaction.INFO
    assert farm_of("HMDS data farm connection is OK:ushmds") == "ushmds"
    assert farm_of("Market data farm connection is OK:usfarm.nj") == "usfarm.nj"
    asleep = "HMDS data farm connection is inactive but should be available upon demand."
    assert farm_of(asleep + "ushmds") == farm_of(asleep + ":ushmds") == "ushmds"
    assert farm_of("nothing behind the colon:") == "unnamed"
