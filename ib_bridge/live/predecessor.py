"""What the bridge before this one, whatever its name, knew of its streams: what history had confirmed, holes, and when they
spoke last.

Who wanted a stream then, and wants it still, has missed what came between:
that is a hole as after any other outage.
"""

from collections.abc import Collection
from typing import NamedTuple

from ib_bridge.live.streams import Stream
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional, streams
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.streams import StreamRow
from nautilus.live.subscriptions import StreamKey
from nautilus.market.timeframes import timeframe

RESTARTED = "bridge_restarted"


class Left(NamedTuple):
    """The rows that a bridge left."""

    streams: dict[StreamKey, StreamRow]
    newest: dict[int, ProvisionalBar]
    """Series -> its newest provisional bar."""


def read(cursor: Cursor, bridge: str) -> Left:
    """What the bridge that had the live data before has left. The rows are this one's now, and show that it begins anew."""
    rows = {row.key: row for row in streams.listed(cursor)}
    streams.restart(cursor, bridge, RESTARTED)
    return Left(rows, provisional.newest(cursor))


def hand_over(left: Left, stream: Stream, now: int) -> None:
    """Give a new stream what was known of it, if somebody wants it since then."""
    row = left.streams.pop(stream.key, None)
    if row is None or row.updated_at is None or stream.want.since_s > row.updated_at.timestamp() or not stream.is_bars:
        return
    stream.confirmed_until, stream.holes = row.confirmed_until, row.holes
    step = timeframe(stream.frame).step_ns
    bar = left.newest.get(stream.series_id or 0)
    known = [
        row.confirmed_until,
        row.last_event_at - step if row.last_event_at is not None else None,
        bar.ts + (step if bar.state == "closed" else 0) if bar is not None else None,
    ]
    lost_at = max((at for at in known if at is not None), default=now)
    if lost_at < now:
        stream.lost_at, stream.loss = lost_at, RESTARTED


def take_unwanted(left: Left, wanted: Collection[StreamKey]) -> list[StreamKey]:
    """The streams that nobody wants any more. Who wants one of them from now on has missed nothing."""
    unwanted = list(left.streams.keys() - set(wanted))
    for key in unwanted:
        del left.streams[key]
    return unwanted
