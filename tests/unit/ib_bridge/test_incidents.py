"""What of the connection to IB is an incident: only what has lasted."""

from typing import Any

import pytest

from ib_bridge.ib.health import ConnectionState, Health
from ib_bridge.incidents import DEGRADED_AFTER_S, LOST_AFTER_S, ConnectionIncidents
from nautilus.monitoring.incidents import CODES, Condition


class Watch:
    """A bridge's incidents on a clock in hand; nothing is stored."""

    def __init__(self) -> None:
        self.now = 0.0
        nothing: Any = None
        self.incidents = ConnectionIncidents("bridge-1", nothing, nothing, lambda: self.now)

    def codes(self, state: ConnectionState, after_s: float = 0.0, **about: Any) -> list[str]:
        self.now += after_s
        language, unknown = about.get("language"), about.get("unknown", 0)
        return [c.code for c in self.incidents.conditions(Health(state, "why"), language, unknown)]


LASTING = [
    (ConnectionState.DOWN, LOST_AFTER_S, "ib-connection-lost"),
    (ConnectionState.DISPLACED, LOST_AFTER_S, "ib-connection-lost"),
    (ConnectionState.STARTING, LOST_AFTER_S, "ib-connection-lost"),
    (ConnectionState.NEEDS_LOGIN, LOST_AFTER_S, "ib-login-needed"),
    (ConnectionState.DEGRADED, DEGRADED_AFTER_S, "ib-degraded"),
]


@pytest.mark.parametrize(("state", "after_s", "code"), LASTING)
def test_a_state_becomes_an_incident_when_it_has_lasted_and_ends_with_it(
    state: ConnectionState, after_s: float, code: str
) -> None:
    watch = Watch()
    assert watch.codes(ConnectionState.CONNECTED, 1_000) == []
    assert watch.codes(state) == []
    assert watch.codes(state, after_s - 0.1) == []
    assert watch.codes(state, 0.1) == [code]
    assert watch.codes(ConnectionState.CONNECTED) == []
    assert watch.codes(state, 1_000) == [], "another time, from the beginning"


def test_every_state_has_been_judged() -> None:
    harmless = {ConnectionState.CONNECTED, ConnectionState.RESET_WINDOW}
    assert {row[0] for row in LASTING} | harmless == set(ConnectionState)
    assert {row[2] for row in LASTING} <= set(CODES)


def test_a_loss_that_changes_its_name_is_one_loss() -> None:
    watch = Watch()
    watch.codes(ConnectionState.DISPLACED)
    assert watch.codes(ConnectionState.DOWN, LOST_AFTER_S) == ["ib-connection-lost"]


def test_a_gateway_that_restarts_for_ever_is_one_loss() -> None:
    watch = Watch()
    found = []
    for _ in range(5):
        found += watch.codes(ConnectionState.NEEDS_LOGIN, 30) + watch.codes(ConnectionState.DOWN, 30)
    assert found[:2] == ["ib-login-needed", "ib-connection-lost"]
    assert len(found) == 8


def test_a_new_process_takes_over_what_the_one_before_it_had_open() -> None:
    watch = Watch()
    down = Health(ConnectionState.STARTING, "connecting")
    had = frozenset({"ib-connection-lost", "ib-other-language"})
    found = watch.incidents.conditions(down, None, 0, already_open=had)
    assert [one.code for one in found] == ["ib-connection-lost", "ib-other-language"]
    assert watch.incidents.conditions(down, None, 0) == [], "without them it would wait"
    well = Health(ConnectionState.CONNECTED, "")
    assert watch.incidents.conditions(well, "english", 0, already_open=had) == []


def test_flapping_is_no_incident() -> None:
    watch = Watch()
    for _ in range(20):
        assert watch.codes(ConnectionState.DOWN, 50) == []
        assert watch.codes(ConnectionState.CONNECTED, 5) == []


def test_language_and_unknown_codes_are_told_at_once() -> None:
    watch = Watch()
    found = watch.incidents.conditions(Health(ConnectionState.CONNECTED, ""), "other", 3)
    assert found == [
        Condition("ib-other-language", "bridge-1", {}),
        Condition("ib-unknown-code", "bridge-1", {"messages": 3}),
    ]
    assert watch.codes(ConnectionState.CONNECTED, language="english") == []
