"""What listeners have of days of live data equals history that is asked for anew, whatever broke meanwhile.

`make test` plays an hour and a half with every fault; `make live-week` plays a week. The mutants are found wrong by the same
comparison.
"""

import os
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ib_bridge.live import recording
from ib_bridge.live.bar_folds import BarFolds
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional
from nautilus.db.market import series
from nautilus.db.market.series import ALL_TIME
from nautilus.live.bars import LiveBar
from nautilus.live.folding import Folding, Part
from nautilus.market.bar import Bar
from nautilus.spans import Spans
from stream.subscriber import Subscriber
from tests.support.live_faults import HOURS, HOURS_S, QUIET_S, faults_of_days, starts_and_end
from tests.support.live_stack import LiveStack, live_stack
from tests.support.live_week import LAG_S, MINUTE_NS, Fault, week
from tests.support.stack import service_stack

DAYS = int(os.environ.get("LIVE_WEEK_DAYS", "0"))
SEED = int(os.environ.get("LIVE_WEEK_SEED", "7"))
STEPPED = ("--clock", "stepped", "--latency", "none", "--start")
START = "2026-03-05T14:25:00Z"
"""Five minutes before New York opens. THIN trades ten minutes after the open."""


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str, redis_url: str) -> Iterator[LiveStack]:
    start = starts_and_end(DAYS)[0] if DAYS else START
    with (
        service_stack(servers.group, servers.folder, dsn, *STEPPED, start) as stack,
        live_stack(stack, redis_url) as made,
    ):
        yield made


def wrong(
    live: LiveStack,
    faults: Sequence[Fault],
    until_s: float,
    *,
    quiet_s: float,
    lag_s: int = LAG_S,
    in_thread: bool = False,
) -> list[str]:
    """What is wrong after these faults."""
    with week(live, live.stack.folder, in_thread=in_thread) as played:
        played.play(faults, until_s)
        found = played.conclude(quiet_s, lag_s)
        print("\n" + played.table() + f"\nlongest wait of a step: {played.longest_wait_s:.1f} s")
    return found


@pytest.mark.skipif(DAYS > 0, reason="a week is played")
def test_hours_with_every_fault_equal_history(live: LiveStack) -> None:
    assert wrong(live, HOURS, HOURS_S + LAG_S, quiet_s=QUIET_S) == []


@pytest.mark.timeout(4 * 3600)
@pytest.mark.skipif(DAYS == 0, reason="make live-week")
def test_a_week_with_every_fault_equals_history(live: LiveStack) -> None:
    faults = faults_of_days(DAYS, SEED)
    print(f"{DAYS} days, seed {SEED}:", *(f"{one.at_s:>9,.0f} s {one.command}" for one in faults), sep="\n")
    assert wrong(live, faults, starts_and_end(DAYS)[1], quiet_s=0) == []


# ---- mutants ---------------------------------------------------------------------------------------------------------


def swap(self: Folding, part: Part, add: Any = Folding.add) -> list[LiveBar]:
    """High and low change places."""
    return list(add(self, part._replace(high=part.low, low=part.high)))


def drop_last(self: Folding, part: Part, add: Any = Folding.add) -> list[LiveBar]:
    """The last that is said of a minute is not heard."""
    known = self._current.parts.get(part.ts) if self._current is not None else None
    if known is not None and known.volume is not None and not known.complete:
        return []
    return list(add(self, part))


def take_fillers(self: Folding, slot_of: Any, *, init: Any = Folding.__init__, **more: Any) -> None:
    """What stands for no trade is taken for one."""
    init(self, slot_of, **{**more, "with_fillers": False})


def credit(cursor: Cursor, key: Any, series_id: int, *, inspect: Any = recording.inspect, **more: Any) -> Any:
    """Live bars are taken for history."""
    closed = [one for one in provisional.within(cursor, series_id, *ALL_TIME) if one.state == "closed"]
    bars = [Bar(one.ts, one.open, one.high, one.low, one.close, one.volume, None, one.trades) for one in closed]
    row = series.by_id(cursor, series_id, lock=True)
    new = [bar for bar in bars if bar.ts not in row.covered]
    if new:
        series.apply_changes(cursor, row, bars=new, settled=Spans((bar.ts, bar.ts + MINUTE_NS) for bar in new))
    return inspect(cursor, key, series_id, **more)


def keep_longer_bars(self: BarFolds, parts: Any, withdrawn: Any, *, answer: Any = BarFolds.answer, **more: Any) -> Any:
    """What history has otherwise of a minute changes no longer bar."""
    return answer(self, (), (), **more)


@pytest.mark.skipif(DAYS > 0, reason="a week is played")
@pytest.mark.parametrize(
    ("where", "name", "mutant", "faults"),
    [
        (Folding, "add", swap, ()),
        (Folding, "add", drop_last, ()),
        (Folding, "__init__", take_fillers, ()),
        (recording, "inspect", credit, (Fault(400, "late AAPL 0.3"), Fault(900, "clear"))),
        (BarFolds, "answer", keep_longer_bars, (Fault(400, "late AAPL 0.3"), Fault(900, "clear"))),
        (Subscriber, "heal", lambda self, channel: None, (Fault(700, "redis flush"),)),
    ],
    ids=[
        *("high-and-low-swapped", "last-part-dropped", "fillers-taken", "coverage-credited", "longer-bars-kept"),
        *("nothing-healed",),
    ],
)
def test_a_mutant_is_found_wrong(
    live: LiveStack, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, mutant: Any, faults: tuple[Fault, ...]
) -> None:
    monkeypatch.setattr(where, name, mutant)
    found = wrong(live, faults, 2_300, quiet_s=400 if faults else QUIET_S, lag_s=600, in_thread=True)
    differs = [line for line in found if "history" in line]
    assert differs, found
    if mutant is keep_longer_bars:
        assert not [line for line in differs if " 1m " in line], "the minutes are as they have to be"
