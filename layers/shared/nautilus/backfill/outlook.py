"""When the requests that jobs still wait for will be sent: the pacing book, and all that waits, played forward."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from nautilus.backfill.estimate import GUESSED_MS, Estimate, estimate
from nautilus.backfill.pacing import Request
from nautilus.backfill.plan_rules import PlanRules
from nautilus.backfill.send_times import Line, SendTimes, send_times
from nautilus.clock import NS_PER_MS, NS_PER_S
from nautilus.db.bars import read
from nautilus.db.bridge.status import BridgeStatus
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import job_waits, requests
from nautilus.db.ledger.job_waits import WaitingChunks
from nautilus.db.ledger.jobs import Item
from nautilus.errors import NautilusError
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import timeframe

_MOST_ITEMS = 20
"""So many unplanned items are estimated; of a job that has more, each counts for several."""
_MOST_COUNTED = 20_000
"""So many chunks of a job and a series are counted: more than two days of IB's hard limits."""
_AWAY = ("down", "starting", "needs_login", "displaced")


class Outlook(NamedTuple):
    """What is to be expected of the jobs that wait.

    times: job -> when its first and last request is sent, market ns. paced: jobs that IB's hard limits hold back.
    answer_ns: how long an answer takes, market ns. rate: market time by machine time; 1 while a clock stands still.
    """

    now: int
    times: Mapping[Hashable, SendTimes]
    paced: frozenset[Hashable]
    answer_ns: int
    rate: float

    def seconds_left(self, job_id: UUID) -> float:
        """Machine time until the last answer of a job; of one whose requests are all sent, until an answer."""
        times = self.times.get(job_id)
        last = times.last if times else self.now
        return max(0, last + self.answer_ns - self.now) / NS_PER_S / self.rate


def outlook(cursor: Cursor, session: BridgeStatus | None) -> Outlook | None:
    """Of all live jobs; None while there is no session that could send anything."""
    if session is None or session.state in _AWAY:
        return None
    context = read.snapshot_context(cursor)
    now, rate = session.market_ns, session.clock.rate or 1.0
    lines = [*_planned(cursor), *_unplanned(cursor, context)]
    answer_ns = round((requests.typical_ms(cursor) or GUESSED_MS) * NS_PER_MS * rate)
    activity = session.activity
    paced = frozenset(job for line in lines if line.head or line.request.small for job in line.jobs)
    times = send_times(
        lines,
        requests.book(cursor, session.login, now),
        now,
        open_requests=int(activity.get("allowed_requests") or context.rules.open_requests),
        answer_ns=answer_ns,
        quiet_until=int(activity.get("quiet_until") or 0),
    )
    return Outlook(now, times, paced, answer_ns, rate)


def _planned(cursor: Cursor) -> list[Line]:
    """A line per series; where jobs share a series, what the smaller one waits for is what both wait for."""
    rows = job_waits.waiting_chunks(cursor, most=_MOST_COUNTED)
    order = {series_id: n for n, series_id in reversed(list(enumerate(row.series_id for row in rows)))}
    lines = []
    by_series = sorted(rows, key=lambda row: (order[row.series_id], row.pending))
    for _, group in groupby(by_series, key=lambda row: row.series_id):
        lines += list(_shared(list(group)))
    return lines


def _shared(rows: Sequence[WaitingChunks]) -> Iterable[Line]:
    before = 0
    for n, row in enumerate(rows):
        if row.pending > before:
            frame = timeframe(row.timeframe)
            who = rows[n:]
            request = _request(
                row.con_id, row.exchange, row.price, small=frame.small, interactive=any(one.interactive for one in who)
            )
            jobs_ = tuple(one.job_id for one in who)
            yield Line(request, row.pending - before, jobs_, max(one.priority for one in who), row.not_before or 0)
        before = max(before, row.pending)


def _request(con_id: int, exchange: str, price: str, *, small: bool, interactive: bool) -> Request:
    """A request of a series as the pacer sees it; what makes one differ from the next does not matter here."""
    return Request("", f"{con_id}|{exchange}|{price}", small, 2 if price == "BID_ASK" else 1, interactive)


def _unplanned(cursor: Cursor, context: read.SnapshotContext) -> list[Line]:
    """A line per item that the bridge has not planned yet, as an estimate; none where it makes no sense."""
    rows = job_waits.unplanned_items(cursor, _MOST_ITEMS)
    lines, heads = [], set()
    for row in rows:
        selector = Selector.of(row.selector)
        item = Item(selector, row.timeframe, row.price, row.session, row.wanted_start, row.wanted_end, row.wanted_back)
        try:
            found = estimate(cursor, item, context, row.mode)
        except NautilusError:
            continue
        about = found.series
        head = None if found.head_key in heads else _head(found, context.rules, row.interactive)
        if head is not None:
            heads.add(found.head_key)
        shown = sum(other.job_id == row.job_id for other in rows)
        small, who = about.timeframe.small, about.instrument
        request = _request(who.con_id, who.exchange, about.price, small=small, interactive=row.interactive)
        count = -(-len(found.plan.chunks) * row.open_items // shown)
        lines.append(Line(request, count, (row.job_id,), row.priority, 0, head))
    return lines


def _head(found: Estimate, rules: PlanRules, interactive: bool) -> Request | None:
    """The request for the oldest bar, where planning waits for it."""
    if not found.asks_head or rules.is_small(found.length, found.series.timeframe.name):
        return None
    who = found.series.instrument
    return _request(who.con_id, who.exchange, found.series.price, small=True, interactive=interactive)._replace(
        weight=1
    )
