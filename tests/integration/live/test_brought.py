"""What longer bars learn of a hole that coverage closes."""

import asyncio
from contextlib import closing

from ib_bridge.live.brought import with_brought
from ib_bridge.live.followed import Followed
from nautilus.live.confirmation import Report
from nautilus.live.subscriptions import StreamKey
from nautilus.process.transactions import TransactionRunner
from nautilus.spans import Spans
from tests.support.stored_bars import StoredBars, stock
from tests.support.stream_server import MINUTE, OPEN, calendar, minute


def test_of_a_hole_longer_bars_learn_also_what_was_covered_before_it_was_known(dsn: str) -> None:
    """A stream that speaks seldom is missed since its last bar, of which history may have confirmed a part already."""
    span, before = (OPEN + 2 * MINUTE, OPEN + 8 * MINUTE), Spans.of(OPEN, OPEN + 5 * MINUTE)
    with closing(StoredBars(dsn, OPEN + 20 * MINUTE)) as stored:
        made = stored.instrument(stock(), calendar())
        stored.record(made, "1m", [minute(n) for n in (3, 6)], settled=[(OPEN, span[1])])
        key = StreamKey(made.con_id, "bars:1m", "TRADES", "rth")
        ((number,),) = stored.rows("SELECT id FROM series WHERE timeframe = '1m'")
        one = Followed(key, OPEN, calendar=calendar(), series_id=number, holes=Spans.of(*span), covered=before)
        report = Report(key, number, 1)
        found = asyncio.run(with_brought(TransactionRunner(stored.db, 1), one, report, Spans.of(OPEN, span[1])))
    assert found.filled == found.answered == Spans.of(*span)
    assert [outcome.bar.ts for outcome in found.outcomes] == [OPEN + 6 * MINUTE], "the other was published before"
    assert [bar.ts for bar in found.brought] == [OPEN + 3 * MINUTE]
