"""The holes of a stream of bars that are open when a snapshot is read: who subscribes then does not know them."""

from typing import Any, NamedTuple

from nautilus.clock import rfc3339
from nautilus.db.cursor import Cursor
from nautilus.db.live import streams
from nautilus.db.market import series
from nautilus.live.envelope import NOT_FILLED
from nautilus.live.subscriptions import StreamKey
from nautilus.market.timeframes import timeframe
from nautilus.spans import Span, Spans


class Hole(NamedTuple):
    """What a stream missed and history has not brought as a whole, in market time (ns), and why."""

    span: Span
    reason: str

    def fields(self, channel: str) -> dict[str, Any]:
        """As a message `gap`."""
        return {"c": channel, "start": rfc3339(self.span[0]), "end": rfc3339(self.span[1]), "reason": self.reason}


def open_holes(cursor: Cursor, key: StreamKey, *, market_ns: int) -> tuple[Hole, ...]:
    """The holes of a stream that coverage does not close. The reason is history's, where it refuses all that is missing."""
    holes = streams.holes(cursor, key)
    if not holes:
        return ()
    row = series.find(cursor, key.con_id, timeframe(key.kind.partition(":")[2]), price=key.price, session=key.session)
    covered = row.covered if row is not None else Spans()
    notes = series.notes(cursor, row.id, (min(holes)[0], max(holes)[1])) if row is not None else []
    refused = [note for note in notes if note.refuses(market_ns)]
    found = []
    for hole in holes:
        missing = Spans.of(*hole) - covered
        met = [note for note in refused if missing & Spans.of(*note.span)]
        known = met and not missing - Spans(note.span for note in met)
        if missing:
            found.append(Hole(hole, met[-1].reason if known else NOT_FILLED))
    return tuple(found)
