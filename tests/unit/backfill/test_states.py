from typing import Any

import pytest

from nautilus.backfill.states import (
    ACTIVE_JOBS,
    CHUNK_MOVES,
    JOB_MOVES,
    LIVE_CHUNKS,
    LIVE_JOBS,
    ChunkState,
    ImpossibleMove,
    JobState,
    check_chunk,
    check_job,
    chunks_before,
    ending,
    jobs_before,
)


def test_every_state_has_a_row_and_an_end_can_be_reached_from_each():
    assert set(JOB_MOVES) == set(JobState)
    assert set(CHUNK_MOVES) == set(ChunkState)
    tables: list[Any] = [JOB_MOVES, CHUNK_MOVES]
    for moves in tables:
        for state in moves:
            seen: set[Any] = set()
            todo = [state]
            while todo:
                at = todo.pop()
                seen.add(at)
                todo += [after for after in moves[at] if after not in seen]
            assert any(not moves[at] for at in seen)


@pytest.mark.parametrize("old", list(JobState))
@pytest.mark.parametrize("new", list(JobState))
def test_a_job_moves_only_as_the_table_says(old, new):
    if new in JOB_MOVES[old]:
        check_job(old, new)
        assert old.value in jobs_before(new)
    else:
        with pytest.raises(ImpossibleMove, match=f"from {old} to {new}"):
            check_job(old, new)


def test_a_chunk_moves_only_as_the_table_says():
    for old in ChunkState:
        for new in ChunkState:
            if new in CHUNK_MOVES[old]:
                check_chunk(old, new)
                assert old.value in chunks_before(new)
            else:
                with pytest.raises(ImpossibleMove):
                    check_chunk(old, new)


def test_what_is_live():
    assert set(LIVE_JOBS) == {"queued", "planning", "running", "stopping"}
    assert set(ACTIVE_JOBS) == set(LIVE_JOBS) - {"stopping"}
    assert set(LIVE_CHUNKS) == {"pending", "leased"}


@pytest.mark.parametrize(
    ("good", "total", "bars", "failed", "shortfall", "state"),
    [
        (3, 3, 100, 0, False, JobState.SUCCEEDED),
        (0, 0, 0, 0, False, JobState.SUCCEEDED),  # nothing was missing
        (3, 3, 100, 0, True, JobState.PARTIAL),
        (2, 3, 100, 0, False, JobState.PARTIAL),
        (0, 1, 100, 0, False, JobState.PARTIAL),  # bars came, one session is in doubt
        (3, 3, 100, 1, False, JobState.PARTIAL),
        (0, 3, 0, 0, False, JobState.FAILED),
        (0, 0, 0, 1, False, JobState.FAILED),
        (0, 0, 0, 0, True, JobState.PARTIAL),
    ],
)
def test_how_a_job_ends(good, total, bars, failed, shortfall, state):
    assert ending(good=good, total=total, bars=bars, items_failed=failed, shortfall=shortfall) is state
