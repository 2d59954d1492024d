"""Every command and every option of the simulator has a test whose client does not reckon with it, or a reason."""

import pytest

from ib_gateway_sim.__main__ import parser
from ib_gateway_sim.control.table import COMMANDS
from tests.integration.ib_gateway_sim.fault_table import ELSEWHERE, NO_CHOICE, NO_FAULT, OPTIONS, table, words_of
from tests.integration.ib_gateway_sim.victims import VICTIMS

ACTIONS = {name: action for action in parser()._actions for name in action.option_strings if name.startswith("--")}


def test_every_command_has_a_victim_or_a_reason():
    joined = {command for each in VICTIMS for command in each.commands}
    known = joined | set(ELSEWHERE) | set(NO_FAULT)
    assert set(COMMANDS) - known == set(), "give each a case in victims.py, or name its test in ELSEWHERE"
    assert known - set(COMMANDS) == set(), "there is no such command"
    assert [name for name in known if (name in joined) + (name in ELSEWHERE) + (name in NO_FAULT) > 1] == []


def test_every_option_has_a_victim_or_a_reason():
    assert set(ACTIONS) == set(OPTIONS) | set(NO_CHOICE)
    assert not set(OPTIONS) & set(NO_CHOICE)


@pytest.mark.parametrize(("command", "place"), ELSEWHERE.items())
def test_the_test_of_a_command_says_it(command, place):
    assert command in {word for text in words_of(place) for word in text.split()[:1]}


@pytest.mark.parametrize(("option", "place"), OPTIONS.items())
def test_the_test_of_an_option_sets_it_to_every_value(option, place):
    words, action = words_of(place), ACTIONS[option]
    key = option.removeprefix("--").replace("-", "_")
    assert {option, key} & words
    assert [value for value in action.choices or () if value != action.default and value not in words] == []


@pytest.mark.parametrize(
    ("place", "present", "missing"),
    [
        ("tests/contract/test_faults.py::test_the_test_of_a_command_says_it", {"command"}, {"halt", "option"}),
        (OPTIONS["--halted"], {"halted", "hold"}, {"children", "late"}),
    ],
)
def test_what_a_test_does_not_say_is_missed(place, present, missing):
    assert present <= words_of(place)
    assert not missing & words_of(place)


def test_a_test_that_is_not_there_is_missed():
    with pytest.raises(KeyError):
        words_of("tests/contract/test_faults.py::test_of_nothing")


def test_the_table_can_be_printed():
    rows = dict(table())
    assert set(rows) == set(COMMANDS) | set(ACTIONS)
    assert rows["halt"].startswith("tests/")
