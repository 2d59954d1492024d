import itertools

import pytest

from nautilus.strategies.states import (
    MOVES,
    OPEN,
    OVER,
    WANTED_MOVES,
    ImpossibleMove,
    Mode,
    RunState,
    Wanted,
    before,
    check,
    may_want,
)


def test_the_tables_name_every_state():
    assert set(MOVES) == set(RunState)
    assert set(WANTED_MOVES) == set(Wanted)
    assert set(OPEN) | set(OVER) == {state.value for state in RunState}
    assert set(OVER) == {"stopped", "completed", "failed", "error", "cancelled"}


def reached(start: RunState) -> set[RunState]:
    found, new = set(), {start}
    while new:
        found |= new
        new = {after for state in new for after in MOVES[state]} - found
    return found


def test_every_state_is_reached_and_every_open_one_comes_to_an_end():
    assert reached(RunState.QUEUED) == set(RunState)
    for state in RunState:
        assert state.value in OVER or {s for s in reached(state) if s.value in OVER}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(RunState, RunState)))
def test_a_move_that_is_not_in_the_table_raises(old, new):
    if new in MOVES[old]:
        check(old, new)
        assert old.value in before(new)
    else:
        with pytest.raises(ImpossibleMove, match=f"from {old} to {new}"):
            check(old, new)
        assert old.value not in before(new)


@pytest.mark.parametrize(
    "state", [state for state in RunState if state.value in OPEN and state is not RunState.STOPPING]
)
def test_whatever_has_a_child_can_fail_for_good(state):
    assert RunState.ERROR in MOVES[state]
    assert RunState.STOPPED in MOVES[state]


@pytest.mark.parametrize("state", RunState)
def test_nothing_is_wanted_of_a_run_that_is_over(state):
    wanted = [may_want(Mode.LIVE, state, Wanted.RUNNING, new) for new in Wanted]
    assert wanted == [state.value in OPEN] * 4


def test_what_is_wanted_goes_from_running_to_flat_and_never_back():
    allowed = {(old, new) for old in Wanted for new in Wanted if may_want(Mode.PAPER, RunState.RUNNING, old, new)}
    assert allowed == {(same, same) for same in Wanted} | {
        (Wanted.RUNNING, Wanted.PAUSED),
        (Wanted.RUNNING, Wanted.STOPPED),
        (Wanted.RUNNING, Wanted.FLAT),
        (Wanted.PAUSED, Wanted.RUNNING),
        (Wanted.PAUSED, Wanted.STOPPED),
        (Wanted.PAUSED, Wanted.FLAT),
        (Wanted.STOPPED, Wanted.FLAT),
    }


@pytest.mark.parametrize("new", Wanted)
def test_a_back_test_can_be_cancelled_and_nothing_else(new):
    assert may_want(Mode.BACKTEST, RunState.RUNNING, Wanted.RUNNING, new) is (new in (Wanted.RUNNING, Wanted.STOPPED))
