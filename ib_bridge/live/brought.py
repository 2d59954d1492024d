"""What others' answers have brought of a live series: a job of the ledger, a backfill, a stream's first answer."""

from ib_bridge.live import recording
from ib_bridge.live.followed import Followed
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import Outcome, Report
from nautilus.process.transactions import TransactionRunner
from nautilus.spans import Spans

_MOST_PUBLISHED = 2_400
"""Bars of one hole that are published one by one; of more, `filled` shows that they are there."""


async def with_brought(transactions: TransactionRunner, one: Followed, report: Report, covered: Spans) -> Report:
    """A report with the holes that coverage closes now, their bars, and the bars that longer bars still had to learn.

    Unavailable: the database does not say now; the holes stay.
    """
    filled, needed = one.take_filled(covered), one.take_needed(covered)
    unpublished, learned = filled - one.covered, filled | needed
    if not learned:
        return report
    try:
        bars = await transactions.run(recording.stored, one.series_id, one.frame, learned)
    except BaseException:
        one.holes, one.needs = one.holes | filled, one.needs | needed
        raise
    known = {outcome.bar.ts for outcome in report.outcomes}
    new = [bar for bar in bars if bar.ts not in known]
    published = [bar for bar in new if bar.ts in unpublished][-_MOST_PUBLISHED:]
    outcomes = [*report.outcomes, *(Outcome(bar, LiveState.CONFIRMED) for bar in published)]
    return report._replace(
        outcomes=tuple(sorted(outcomes, key=lambda each: each.bar.ts)),
        filled=filled,
        answered=report.answered | learned,
        brought=tuple(sorted(set(new) - set(published))),
    )
