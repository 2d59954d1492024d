"""What a stream needs besides its key: its instrument, its series, and when its market trades."""

import time
from collections.abc import Iterable
from typing import Any

from ib_bridge.ib.clock import MarketClock
from ib_bridge.live.ledger import move
from ib_bridge.live.streams import Stream, StreamState, StreamWant, market_s
from ib_bridge.reference.directory import Directory
from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import requests
from nautilus.db.live import provisional
from nautilus.db.market import instruments, series
from nautilus.db.market.series import ALL_TIME
from nautilus.errors import Unavailable
from nautilus.live.subscriptions import REAL_TIME_BAR_PERIOD_S, Source, StreamKey
from nautilus.market.timeframes import timeframe
from nautilus.process.transactions import TransactionRunner

_AGAIN_S = 30.0
"""Seconds, of machine time or of market time, before a calendar is requested again."""
_BEFORE_NS, _MONTH_NS = 7 * NS_PER_DAY, 32 * NS_PER_DAY
"""Before now, for what is made of the sessions of a week or a month."""


class Loading:
    """Loads from the database, and from IB what is not known yet."""

    def __init__(self, transactions: TransactionRunner, directory: Directory, clock: MarketClock, log: Any) -> None:
        self._transactions = transactions
        self._directory = directory
        self._clock = clock
        self._log = log
        self._restored = False

    async def load(self, key: StreamKey, want: StreamWant) -> Stream | None:
        """A new stream; None where its instrument is not known, or is not to be had now."""
        try:
            return await self._transactions.run(_load, key, want)
        except Unavailable as gone:
            self._log.info("stream-not-loaded", extra={"stream": str(key), "reason": gone.detail})
            return None

    async def real_time_bars(self, login: str) -> list[float] | None:
        """When bars of five seconds were requested by this login in the ten minutes before this process began; given once."""
        if self._restored:
            return None
        since = self._clock.now_ns() - int(REAL_TIME_BAR_PERIOD_S * 1e9)
        found = await self._transactions.run(requests.sent_since, login, "live-rtb", since)
        self._restored = True
        return [market_s(at) for at in found]

    async def calendar(self, stream: Stream) -> bool:
        """Load the calendar of a stream up to now; False when it is not to be had now."""
        now = self._clock.now_ns()
        if not self._has_rested(stream, now):
            return False
        stream.calendar_requested = time.monotonic(), now
        session = stream.key.session or "all"
        since = now - (_MONTH_NS if "1M" in stream.want.timeframes else _BEFORE_NS)
        try:
            stream.calendar = await self._directory.calendars.calendar(stream.instrument, session, (since, now))
        except Unavailable as gone:
            stream.not_before = now + 1
            move(stream, StreamState.WANTED, "calendar_unknown", now)
            self._log.info("calendar-not-loaded", extra={"stream": str(stream.key), "reason": gone.detail})
            return False
        return True

    def _has_rested(self, stream: Stream, now: int) -> bool:
        machine_s, market_ns = stream.calendar_requested or (float("-inf"), now)
        return time.monotonic() - machine_s >= _AGAIN_S or now - market_ns >= _AGAIN_S * NS_PER_S

    async def keep_calendars(self, streams: Iterable[Stream]) -> None:
        """Extend the calendars whose end has come: one a second."""
        now = self._clock.now_ns()
        for stream in list(streams):
            ends = stream.calendar is None or now >= stream.calendar.known[1]
            if (stream.request is not None or stream.source is Source.POLL) and ends and self._has_rested(stream, now):
                await self.calendar(stream)
                return


def _load(cursor: Cursor, key: StreamKey, want: StreamWant) -> Stream | None:
    instrument = instruments.by_id(cursor, key.con_id)
    if instrument is None:
        return None
    stream = Stream(key, instrument, want)
    if stream.is_bars:
        frame = timeframe(stream.frame)
        row = series.find_or_make(cursor, key.con_id, frame, price=key.price, session=key.session)
        stream.series_id, stream.seen_version = row.id, row.data_version
        lives = provisional.within(cursor, stream.series_id, *ALL_TIME)
        stream.unanswered = tuple(one for one in lives if one.state == "closed")
    return stream
