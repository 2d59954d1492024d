"""What the state of the connection follows from: the socket's news and IB's messages, without either."""

import pytest

from ib_bridge.ib.health import ConnectionHealth, ConnectionState, Health
from nautilus.clock import NS_PER_S, parse_rfc3339
from tests.support.stored_bars import stock

NOON = parse_rfc3339("2026-03-04T17:00:00Z")
"""In New York, on a Wednesday: no reset."""
RESET = parse_rfc3339("2026-03-04T06:00:00Z")
"""One o'clock in New York: the nightly reset."""
SECOND = NS_PER_S


def connected() -> ConnectionHealth:
    health = ConnectionHealth()
    health.connecting()
    health.up = True
    health.connected(NOON)
    return health


def test_before_the_first_connection_it_is_starting() -> None:
    assert ConnectionHealth().at(NOON) == Health(ConnectionState.STARTING, "connecting")


@pytest.mark.parametrize(
    ("messages", "at", "state", "reason"),
    [
        ([], NOON, "connected", ""),
        ([(1100, "")], NOON, "degraded", "IB's servers cannot be reached from the gateway (1100)"),
        ([(2110, "")], NOON, "degraded", "IB's servers cannot be reached from the gateway (1100)"),
        ([(1100, "")], RESET, "reset_window", "IB's servers cannot be reached from the gateway (1100)"),
        ([(1100, ""), (1102, "")], NOON, "connected", ""),
        ([(1100, ""), (1101, "")], NOON, "connected", ""),
        ([(2105, "broken:ushmds")], NOON, "degraded", "data farms are away: ushmds"),
        ([(2105, "broken:ushmds")], RESET, "reset_window", "data farms are away: ushmds"),
        ([(2105, "broken:ushmds"), (2106, "OK:ushmds")], NOON, "connected", ""),
        ([(2157, "broken:secdefnj")], NOON, "degraded", "data farms are away: secdefnj"),
        ([(2103, "broken:usfarm")], NOON, "connected", ""),
        ([(10197, "")], NOON, "displaced", "another session uses this login"),
        ([(1100, ""), (10197, "")], NOON, "displaced", "another session uses this login"),
    ],
)
def test_the_state_follows_from_what_ib_says(messages: list[tuple[int, str]], at: int, state: str, reason: str) -> None:
    health = connected()
    for code, text in messages:
        assert health.note(code, text, at)
    assert health.at(at) == Health(ConnectionState(state), reason)


def test_a_failure_is_the_state_while_the_socket_is_down_and_no_longer() -> None:
    health = connected()
    health.up = False
    assert health.failed(ConnectionState.NEEDS_LOGIN, "it waits")
    assert not health.failed(ConnectionState.NEEDS_LOGIN, "it waits"), "the same again is no news"
    assert health.at(NOON) == Health(ConnectionState.NEEDS_LOGIN, "it waits")
    health.up = True
    assert health.at(NOON).state is ConnectionState.CONNECTED


def test_another_session_has_the_login_for_five_minutes_after_ib_said_so() -> None:
    health = connected()
    health.note(10197, "", NOON)
    assert not health.serves(stock(), NOON + 299 * SECOND)
    assert health.reaches(stock()), "whoever uses the login, the farm is there"
    assert health.serves(stock(), NOON + 300 * SECOND)
    assert health.at(NOON + 300 * SECOND).state is ConnectionState.CONNECTED


def test_a_broken_farm_takes_away_its_own_instruments_alone() -> None:
    health = connected()
    health.note(2105, "broken:ushmds", NOON)
    assert not health.serves(stock(), NOON)
    health.note(2106, "OK:ushmds", NOON)
    health.note(2105, "broken:euhmds", NOON)
    assert health.serves(stock(), NOON)
    assert health.can_resolve


@pytest.mark.parametrize("code", [1100, 2157])
def test_lookups_are_not_trusted_while_ibs_contract_database_is_away(code: int) -> None:
    health = connected()
    assert health.can_resolve
    health.note(code, "broken:secdefnj", NOON)
    assert not health.can_resolve


def test_an_outage_without_a_word_for_ten_minutes_is_stale() -> None:
    health = connected()
    assert not health.is_stale(NOON + 3_600 * SECOND), "nothing is away"
    health.note(1100, "", NOON)
    assert not health.is_stale(NOON + 600 * SECOND)
    assert health.is_stale(NOON + 601 * SECOND)
    health.note(2106, "OK:ushmds", NOON + 500 * SECOND)
    assert not health.is_stale(NOON + 601 * SECOND), "IB spoke since"


def test_a_new_connection_forgets_farms_servers_and_language() -> None:
    health = connected()
    health.note(1100, "", NOON)
    health.note(2105, "broken:ushmds", NOON)
    health.learn_language(2104, "La conexión con los datos de mercado no está disponible")
    assert health.language == "other"
    health.connecting()
    assert not health.up
    health.up = True
    assert health.at(NOON) == Health(ConnectionState.CONNECTED, "")
    assert health.language is None


def test_one_text_in_another_language_outweighs_english_ones() -> None:
    health = connected()
    english, spanish = "Market data farm connection is OK", "La conexión con los datos de mercado no está disponible"
    assert health.learn_language(2104, english)
    assert not health.learn_language(2104, english)
    assert health.learn_language(2104, spanish)
    assert not health.learn_language(2104, english)
    assert health.at(NOON).state is ConnectionState.CONNECTED
    assert "English" in health.at(NOON).reason


def test_an_unmapped_code_is_counted_and_an_answer_to_a_request_is_not_kept() -> None:
    health = connected()
    assert not health.note(200, "No security definition has been found", NOON)
    assert health.unmapped == 0
    assert health.note(77_777, "a new message", NOON)
    assert health.unmapped == 1
