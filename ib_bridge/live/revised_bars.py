"""What answers of history that nobody requested for a stream have changed of its bars.

A backfill of this bridge says what it changed. Other bridges of the database publish nothing: what theirs changed is looked for.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from ib_bridge.history import settling
from ib_bridge.history.settling import Revised
from ib_bridge.history.writer import MOST_REVISED
from ib_bridge.live.streams import Stream
from nautilus.db.bars import revisions
from nautilus.db.bridge import status
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.live import confirmation
from nautilus.live.confirmation import Report
from nautilus.live.subscriptions import StreamKey
from nautilus.process.transactions import TransactionRunner

_EACH_S = 2.0
_LATELY_S = 600.0
"""A bridge that has been silent for longer has no answer on its way."""


def report_of(key: StreamKey, series_id: int, changed: Revised) -> Report | None:
    """What changed bars mean for listeners; None: nothing."""
    outcomes = tuple(confirmation.outcomes(changed.now, changed.before, [], changed.covered))
    return Report(key, series_id, changed.version, outcomes, covered=changed.covered) if outcomes else None


class OtherBridges:
    """Looks for what the bridges beside `bridge` have changed of bars that this one streams."""

    def __init__(
        self,
        transactions: TransactionRunner,
        bridge: str,
        streams: Callable[[], Iterable[Stream]],
        report: Callable[[Report], None],
    ) -> None:
        self._transactions = transactions
        self._bridge = bridge
        self._streams = streams
        self._report = report

    async def step(self) -> None:
        """Wait a while, then report what changed since the last step, or since a stream was loaded.

        A split, which changes very many bars at once, is left out: listeners read those anew. Unavailable: the database is away.
        """
        await asyncio.sleep(_EACH_S)
        own = {stream.series_id: stream for stream in self._streams() if stream.series_id is not None}
        known = {series_id: stream.seen_version for series_id, stream in own.items()}
        found = await self._transactions.run(_revised, self._bridge, known)
        for series_id, (version, changed) in found.items():
            own[series_id].seen_version = version
            report = report_of(own[series_id].key, series_id, changed) if changed is not None else None
            if report is not None:
                self._report(report)


def _revised(cursor: Cursor, bridge: str, known: Mapping[int, int]) -> dict[int, tuple[int, Revised | None]]:
    """Of the series whose version is another than the known one: the version, and what others have changed."""
    if not known or not status.reporting(cursor, _LATELY_S) - {bridge}:
        return {}
    now = series.versions(cursor, list(known))
    return {
        number: (version, _by_others(cursor, bridge, number, since=known[number], until=version))
        for number, version in now.items()
        if version > known[number]
    }


def _by_others(cursor: Cursor, bridge: str, series_id: int, *, since: int, until: int) -> Revised | None:
    found = revisions.by_others(
        cursor, series_id, bridge, since_version=since, until_version=until, limit=MOST_REVISED + 1
    )
    return settling.revised_by(cursor, series_id, found) if 0 < len(found) <= MOST_REVISED else None
