"""Which messages of the bus a snapshot makes needless."""

import pytest

from nautilus.clock import rfc3339
from nautilus.db.live.delta import BarRow
from stream.frames import BusMessage
from stream.series_snapshot import Provisional, SeriesSnapshot
from stream.snapshot_messages import is_held_by
from tests.support.markets import MINUTE, S, ns

NOON = ns("2026-03-02 17:00")
CLOSED_AT = NOON + MINUTE
CHANNEL = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"


def snapshot(state: str) -> SeriesSnapshot:
    bar = Provisional(BarRow(NOON, 1.0, 3.0, 0.5, 2.0, 10.0, 4), state, False, "kutd", CLOSED_AT)
    return SeriesSnapshot(1, 7, NOON, known=frozenset({rfc3339(NOON - MINUTE)}), seen={rfc3339(NOON): bar})


def message(state: str, close: float, seen_at: int, **more: object) -> BusMessage:
    fields = {"ts": rfc3339(NOON), "open": 1.0, "high": 3.0, "low": 0.5, "close": close, "volume": 10.0}
    return BusMessage("bar", CHANNEL, 1, "", {**fields, "state": state, "seen": rfc3339(seen_at), **more})


@pytest.mark.parametrize(
    ("held", "state", "close", "seen_at"),
    [
        (True, "forming", 1.5, CLOSED_AT - S),
        (True, "closed", 1.5, CLOSED_AT - S),
        (True, "closed", 2.0, CLOSED_AT),
        (False, "closed", 2.5, CLOSED_AT),
        (False, "closed", 2.0, CLOSED_AT + S),
    ],
    ids=["formed-before", "closed-before", "the-same", "changed-at-that-time", "closed-anew"],
)
def test_a_closed_bar_of_a_snapshot_makes_older_messages_needless(
    held: bool, state: str, close: float, seen_at: int
) -> None:
    assert is_held_by(snapshot("closed"), message(state, close, seen_at)) is held


def test_a_bar_that_forms_in_a_snapshot_does_not_say_that_it_has_closed() -> None:
    assert not is_held_by(snapshot("forming"), message("closed", 2.0, CLOSED_AT))
    assert is_held_by(snapshot("forming"), message("forming", 2.0, CLOSED_AT))


def test_historys_word_is_held_up_to_the_version_of_a_snapshot() -> None:
    assert is_held_by(snapshot("closed"), message("revised", 9.0, CLOSED_AT, version=7))
    assert not is_held_by(snapshot("closed"), message("revised", 9.0, CLOSED_AT, version=8))
    assert is_held_by(snapshot("closed"), message("closed", 9.0, CLOSED_AT + S, ts=rfc3339(NOON - MINUTE)))
