"""Live data as a whole: wants become streams, what IB sends becomes bars, quotes and trades, and all of it is published.

Loops, in one bridge of a database (`live_lock`): `consume` takes what IB sent, `beat` publishes it, `sweep` compares wants and
streams each second, `pump` asks IB for one stream after the other; others confirm. All state is touched in the event loop alone.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ib_bridge.history.settling import Revised
from ib_bridge.ib.connection import NotConnected
from ib_bridge.ib.live_callbacks import Value
from ib_bridge.live import predecessor, watch_list
from ib_bridge.live.bar_streams import BarStreams
from ib_bridge.live.confirming import Confirming
from ib_bridge.live.incidents import LiveIncidents
from ib_bridge.live.ledger import Change, Ledger, Step, move
from ib_bridge.live.live_lock import LiveLock
from ib_bridge.live.loading import Loading
from ib_bridge.live.predecessor import Left
from ib_bridge.live.probing import Probing
from ib_bridge.live.publishing import Publishing
from ib_bridge.live.reception import Reception
from ib_bridge.live.recovery import Recovery
from ib_bridge.live.revised_bars import OtherBridges, report_of
from ib_bridge.live.session_events import SessionEvents
from ib_bridge.live.streams import Stream, StreamState, StreamWant, wanted_streams
from ib_bridge.live.subscribing import Subscribing
from ib_bridge.live.telling import Telling
from ib_bridge.live.watch_list import WatchList
from ib_bridge.parts import BridgeParts
from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.market.series import Series
from nautilus.errors import Unavailable
from nautilus.infra.loops import Backoff, repeat
from nautilus.live.confirmation import Report
from nautilus.live.subscriptions import Limits, Source, StreamKey
from nautilus.settings.bridge import BridgeSettings

BEAT_S = 0.25
_SWEEP_S = 1.0
_MOST_EARLY = 100
_PUMP_S = 0.25
_BACKOFF = Backoff(first_s=0.25, longest_s=1.0)


class LiveData:
    """The live part of the bridge."""

    def __init__(self, settings: BridgeSettings, parts: BridgeParts, confirming: Confirming) -> None:
        self._confirming = confirming
        confirming.report = self.reported
        self._transactions = parts.transactions
        self._connection = parts.connection
        self._clock = parts.clock
        self._log = parts.log
        self._ready = parts.ready
        self._swept, self._urgent, self._arrived = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._stopped = False
        self._wants: Mapping[StreamKey, StreamWant] = {}
        self._early: dict[StreamKey, list[Report]] = {}
        """Answers of history for series whose streams are not loaded yet: published as soon as they are."""
        self._connection.callbacks.arrived = self._arrived.set
        self.ledger = Ledger(_limits(settings), settings.live_linger_s)
        parts.open_requests.live = self.ledger.open_requests
        self.publishing = Publishing(
            settings.bridge_id,
            transactions=self._transactions,
            redis_url=settings.redis_url.get_secret_value(),
            kept=lambda: self.bars.kept(),
            lost=lambda: self.bars.lost_table(self.ledger.streams.values()),
            log=self._log,
        )
        self.telling = Telling(self.publishing.outbox)
        self.bars = BarStreams(
            self.publishing.outbox,
            self.telling,
            confirming,
            clock=self._clock,
            connection=self._connection,
            volumes=parts.volumes,
        )
        self.subscribing = Subscribing(settings, parts, self.ledger, book=confirming.begin, changed=self._changed)
        self.recovery = Recovery(
            parts,
            self.subscribing,
            self.bars,
            probing=Probing(parts, settings.request_timeout_s),
            changed=self._changed,
            wake=self.wake,
        )
        self.reception = Reception(
            parts,
            self.subscribing,
            self.bars,
            telling=self.telling,
            recovery=self.recovery,
            confirming=confirming,
            changed=self._changed,
        )
        self._loading = Loading(self._transactions, parts.directory, self._clock, self._log)
        self._session = SessionEvents(settings.bridge_id, self.publishing.outbox, self._connection, self._clock)
        self._bridge = settings.bridge_id
        self._left: Left | None = None
        self._others = OtherBridges(parts.transactions, self._bridge, self.ledger.streams.values, self.reported)
        self.lock = LiveLock(self._transactions.database, self._log)
        self._watch_list = WatchList(settings.watched, parts)
        self._incidents = LiveIncidents(settings.bridge_id, self._transactions, self._log)

    # ---- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until it is cancelled, from when no other bridge has the live data of this database."""
        await self.lock.wait()
        self._swept.set()
        await asyncio.gather(
            self._confirming.run(),
            repeat("live-consume", self._consume, self._log, backoff=_BACKOFF),
            repeat("live-beat", self._beat, self._log, backoff=_BACKOFF),
            repeat("live-sweep", self._sweep, self._log, backoff=_BACKOFF),
            repeat("live-pump", self._pump, self._log, backoff=_BACKOFF),
            repeat("live-others", self._others.step, self._log, backoff=_BACKOFF),
            repeat("watch-list", self._watch_list.step, self._log, backoff=watch_list.BACKOFF),
        )

    def wake(self) -> None:
        """Wants have changed, or the connection has: look now."""
        self._swept.set()

    def end_streams(self) -> None:
        """End all streams at IB, while there is a connection; nothing is requested any more."""
        self._stopped = True
        for stream in self.ledger.streams.values():
            if stream.source is not None:
                self.subscribing.cancel(stream, stream.source)
            self.telling.bridge_stopped(stream)
        self.subscribing.send_cancellations(all_of_them=True)

    async def close(self) -> None:
        """Publish what is left. The loops have ended."""
        if self.lock.held:
            await self.publishing.close(time.monotonic())
        self.lock.close()

    def activity(self) -> dict[str, Any]:
        """For the status of the bridge."""
        states: dict[str, int] = {}
        for stream in self.ledger.streams.values():
            states[stream.state.value] = states.get(stream.state.value, 0) + 1
        return {
            "live_here": self.lock.held,
            "live_streams": states,
            "live_lines": {"limit": self.ledger.lines, "used": self.ledger.lines_in_use()},
            "live_keep_up_to_date": {"limit": self.ledger.limits.keep_up_to_date, "used": self.ledger.open_requests()},
            "live_real_time_bars": {
                "limit": self.ledger.limits.real_time_bars,
                "used": len(self.ledger.real_time_bars_begun),
            },
            "live_tick_by_tick": {
                "limit": self.ledger.limits.tick_by_tick,
                "used": self.ledger.had_by(Source.TICK_BY_TICK),
            },
            **self.publishing.activity(),
        }

    def reported(self, report: Report) -> None:
        """History has answered for bars of a series: publish what it says."""
        stream = self.ledger.streams.get(report.key)
        if stream is None:
            self.telling.series(report)
            early = self._early.setdefault(report.key, [])
            early.append(report)
            del early[:-_MOST_EARLY]
        else:
            self.bars.reported(stream, report)
        self._publish_soon()

    def revised(self, row: Series, changed: Revised) -> None:
        """Another answer of history has changed bars of a series. The bridge that has the live data publishes what this means."""
        if self.lock.held:
            key = StreamKey(row.con_id, f"bars:{row.timeframe.name}", row.price, row.session)
            report = report_of(key, row.id, changed)
            if report is not None:
                self.reported(report)

    # ---- loops -------------------------------------------------------------------------------------------------------

    async def _consume(self) -> None:
        """Take what IB sent. One value that nobody foresaw costs itself alone."""
        await self._arrived.wait()
        self._arrived.clear()
        for value in self._connection.callbacks.take():
            self._receive(value)
        self._publish_soon()
        await self.reception.close_bookings()
        await self.reception.store_answers()

    def _receive(self, value: Value) -> None:
        try:
            self.reception.take(value)
        except Exception:
            self._log.exception("live-value-broke", extra={"value": str(value)[:500]})

    async def _beat(self) -> None:
        """Publish each beat, and at once what is urgent."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._urgent.wait(), BEAT_S)
        self._urgent.clear()
        now = self._clock.now_ns()
        for stream in self.ledger.streams.values():
            if stream.is_bars:
                self.bars.pass_time(stream, now)
        self._session.check()
        await self.publishing.beat(time.monotonic())

    async def _sweep(self) -> None:
        """Compare what is wanted with what there is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._swept.wait(), _SWEEP_S)
        self._swept.clear()
        self.recovery.check_connection()
        if self._left is None:
            self._left = await self._transactions.run(predecessor.read, self._bridge)
        if self._stopped or not self._ready():
            return
        early = tuple(self._early)
        try:
            self._wants = wanted_streams(await self._transactions.run(_current))
        except Unavailable as gone:
            self._log.info("wants-not-read", extra={"reason": gone.detail})  # what is known goes on
        else:
            self._forget_early(early)
        await self._follow(self._left)
        self.recovery.check()
        await self._loading.keep_calendars(self.ledger.streams.values())
        await self._incidents.keep(self.ledger.streams.values(), self.publishing.failing_since)

    def _forget_early(self, early: Iterable[StreamKey]) -> None:
        """Forget what history answered for series that nobody wants. early: those it had answered for when the wants were read.
        What has come since may be of a want that is newer than the read."""
        for key in early:
            if key not in self._wants:
                self._early.pop(key, None)

    async def _follow(self, left: Left) -> None:
        """Make the streams those that are wanted, as far as IB's limits go."""
        for key in self.ledger.missing(self._wants):
            stream = await self._loading.load(key, self._wants[key])
            if stream is not None:
                predecessor.hand_over(left, stream, self._clock.now_ns())
                self.ledger.streams[key] = stream
                self.bars.keep(stream)
                for report in self._early.pop(key, ()):
                    self.bars.reported(stream, report)
        for key in predecessor.take_unwanted(left, self._wants):
            self.publishing.outbox.remove_stream(key)
        self.ledger.update_wants(self._wants, time.monotonic())
        self._restore_real_time_bars(await self._loading.real_time_bars(self._connection.login))
        before = {stream.key: stream.source for stream in self.ledger.streams.values()}
        for change in self.ledger.decide(self._clock.now_ns(), time.monotonic()):
            self._apply(change, before.get(change.stream.key))
        for stream in self.ledger.streams.values():
            if stream.source is Source.POLL and stream.calendar is not None:
                self.bars.begin(stream)
            self.bars.want(stream)
            self._changed(stream)
        self.subscribing.send_cancellations()

    def _restore_real_time_bars(self, begun: list[float] | None) -> None:
        if begun is not None:
            self.ledger.real_time_bars_begun += begun

    def _apply(self, change: Change, source: Source | None) -> None:
        stream = change.stream
        match change.step:
            case Step.STOP | Step.FORGET if source is not None or stream.request is not None:
                self.subscribing.cancel(stream, source or Source.POLL)
        if change.step is Step.START and stream.is_bars:
            since, polled = self.bars.unconfirmed_since(stream), stream.source is Source.POLL
            self._confirming.follow(stream.key, since=since, poll=polled)
            for hole in stream.holes:
                self._confirming.hole(stream.key, hole)
        if change.step is Step.START and stream.source is Source.POLL:
            move(stream, StreamState.LIVE, self._why_polled(stream), self._clock.now_ns())
        if change.step is Step.FORGET:
            if stream.is_bars:
                self._confirming.leave(stream.key)
            self.bars.forget(stream)
            self.reception.forget(stream)
            self.telling.ended(stream)

    def _why_polled(self, stream: Stream) -> str:
        """Why a stream has nothing better than history once a minute: what it could not have first."""
        blocks = [stream.blocks[way] for way in stream.blocked(self._clock.now_ns()) if way in stream.blocks]
        if blocks:
            return blocks[-1].reason
        return "no_market_data_line_free" if self.ledger.lines_in_use() >= self.ledger.lines else "real_time_query"

    async def _pump(self) -> None:
        """Ask IB for the next stream, if one may be requested now."""
        self.recovery.check_connection()
        self.subscribing.send_cancellations()
        stream = self.subscribing.next(self.recovery.quiet_until) if self._may_ask() else None
        if stream is None:
            await asyncio.sleep(_PUMP_S)
            return
        try:
            if stream.is_bars and stream.calendar is None and not await self._loading.calendar(stream):
                return
            if stream.is_bars:
                self.bars.begin(stream)
            await self.subscribing.request(stream)
        except NotConnected:
            await asyncio.sleep(_PUMP_S)

    def _may_ask(self) -> bool:
        return self._ready() and not self._stopped

    def _changed(self, stream: Stream) -> None:
        if self._stopped:
            return
        self.telling.stream(stream, self.ledger.streams)
        self._publish_soon()

    def _publish_soon(self) -> None:
        if self.publishing.outbox.urgent:
            self._urgent.set()


def _current(cursor: Cursor) -> list[wants.CurrentWant]:
    wants.expire(cursor)
    return wants.current(cursor)


def _limits(settings: BridgeSettings) -> Limits:
    return Limits(
        settings.live_lines,
        settings.live_keep_up_to_date,
        settings.live_real_time_bars,
        settings.live_reserved,
        settings.live_tick_by_tick,
    )
