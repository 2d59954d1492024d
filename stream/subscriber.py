"""Subscribing, resuming and leaving: what sockets of `/ws/v1/stream` and event streams share."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from nautilus.auth.principal import Principal
from nautilus.clock import rfc3339
from nautilus.db.live.quotes import QuoteRow
from nautilus.errors import FieldError, InvalidInput, NautilusError, Unavailable
from nautilus.live.channels import TICKS, Channel
from nautilus.market.instrument import session_kind
from stream import messages, order_channels
from stream.frames import Begin
from stream.limits import TooMany
from stream.listener import SocketListener, Subscription, Write
from stream.order_messages import first
from stream.protocol import DEFAULT_BARS, MOST_BARS_AT_ONCE, MOST_EVENTS_AT_ONCE, Known
from stream.resolving import Resolved
from stream.rights import refusal
from stream.series_snapshot import SeriesSnapshot, SnapshotQuery
from stream.snapshot_messages import gap_text, is_held_by, snapshot_text
from stream.wants import key_of

if TYPE_CHECKING:
    from stream.service import Stream

_QUOTES = ("data.quotes", *TICKS.values())
_MOST_STATES = 1_000


class Subscriber(SocketListener):
    """A listener that subscribes to channels of the bus, with a snapshot of each."""

    def __init__(self, stream: "Stream", caller: Principal, write: Write) -> None:
        super().__init__(stream.hub, stream.limits, caller, write)
        self.stream = stream
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- what clients ask for ------------------------------------------------------------------------------------------

    async def join(
        self, channels: Sequence[Channel], *, forming: bool = True, chart: bool = False
    ) -> tuple[list[Resolved], list[NautilusError]]:
        """Have channels from now on; their messages are held until `read` has their snapshots. Returns those that this socket has
        now, and what is wrong with the others. TooMany: they are. Unavailable: the database is away."""
        refused = {one: no for one in channels if (no := refusal(self.caller, one))}
        allowed = [one for one in channels if one not in refused]
        wrong: list[NautilusError] = [*refused.values()]
        by_name: dict[str, Resolved] = {}
        for found in await self.stream.resolving.channels(allowed):
            if isinstance(found, NautilusError):
                wrong.append(found)
            else:
                by_name[found.channel.name] = found
        joined = list(by_name.values())
        self._check_room(joined)
        for found in joined:
            self._join(found, forming=forming, chart=chart)
        return joined, wrong

    def _check_room(self, joined: Iterable[Resolved]) -> None:
        new = {one.channel.name: one.channel for one in joined if one.channel.name not in self.subscriptions}
        total, most = len(self.subscriptions) + len(new), self.limits.stream_channels_per_socket
        if total > most:
            raise TooMany.field(
                "channels",
                f"{total} channels are more than a socket may have",
                (f"at most {most} (NAUTILUS_STREAM_CHANNELS_PER_SOCKET)",),
            )
        self.stream.shares.take_quotes(self.caller.id, sum(1 for one in new.values() if one.kind in _QUOTES))

    def _join(self, found: Resolved, *, forming: bool, chart: bool) -> None:
        name = found.channel.name
        before = self.subscriptions.get(name)
        subscription = Subscription(found.channel, found.instrument, forming=forming, stream=_state_of(found))
        if before is not None:
            subscription.version = before.version
        self.add_channel(subscription)
        if found.instrument is not None:
            self.stream.wants.add(key_of(found.channel, found.instrument), self, chart=chart)

    def leave(self, names: Iterable[str]) -> None:
        """Have these channels no longer; names that it has not are passed over."""
        for name in [self._own_name(name) for name in names]:
            subscription = self.remove_channel(name)
            if subscription is None:
                continue
            if subscription.instrument is not None:
                self.stream.wants.remove(key_of(subscription.channel, subscription.instrument), self)
            if subscription.channel.kind in _QUOTES:
                self.stream.shares.give_quotes(self.caller.id, 1)

    def _own_name(self, name: str) -> str:
        """The name under which this socket has a channel: without the usual session, which the client may name."""
        bare, _, session = name.rpartition("@")
        subscription = self.subscriptions.get(bare)
        if subscription is None or subscription.instrument is None:
            return name
        return bare if session == session_kind(subscription.instrument.asset_class, None) else name

    def become(self, caller: Principal) -> None:
        """Go on as this caller, without the channels that it may not have; a message names these. RateLimited, TooMany: it has
        too many sockets or quotes already; then nothing changes."""
        quotes = sum(1 for one in self.subscriptions.values() if one.channel.kind in _QUOTES)
        self.stream.shares.hand_over(self.caller.id, caller.id, quotes)
        super().become(caller)
        refused = {name: no for name, one in self.subscriptions.items() if (no := refusal(caller, one.channel))}
        self.leave(refused)
        for no in refused.values():
            self.say(messages.error(no))

    def read(
        self, found: Sequence[Resolved], *, bars: int, known: "dict[str, Known] | None" = None, epoch: str = ""
    ) -> None:
        """Read the snapshots of channels that were joined, and send them; what was held follows.

        bars: of each channel of which the client has nothing. known: how far it has followed the others, by the
        names that it gave. epoch: in which its numbers count.
        """
        changes = min(self.limits.stream_snapshot_bars, MOST_BARS_AT_ONCE // max(1, len(found)))
        events = self._most_events(found)
        for one in found:
            subscription = self.subscriptions.get(one.channel.name)
            if subscription is None or subscription.held is None:
                continue
            place = (known or {}).get(one.requested)
            since = place.version if place and place.version else None
            if one.channel.account:
                self._begin_orders(subscription, since or 0, events)
            elif one.channel.timeframe:
                subscription.version = since or 0
                whole = place is not None and self._has_all(one.channel.name, place, epoch)
                self._start(self._send_bars(subscription, bars=changes if since else bars, since=since, whole=whole))
            else:
                self._release_newest(subscription, one)

    def _has_all(self, name: str, place: Known, epoch: str) -> bool:
        """True when a client shows by its numbers that it has each message of a channel: then it has all of its version."""
        return bool(epoch) and epoch == self.hub.epoch and 0 < place.number == self.hub.number(name)

    def _begin_orders(self, subscription: Subscription, since: int, most: int) -> None:
        channel = subscription.channel
        read = partial(first, channel=channel, since=since, most=most)

        def tell(away: Unavailable) -> None:
            away.extra = {"channel": channel.name}
            self.say(messages.error(away))

        self._start(order_channels.begin(self, self.stream.orders, subscription, read, away=tell))

    def _most_events(self, found: Sequence[Resolved]) -> int:
        """How many missed events each of these channels may bring, so that a socket that takes them is not too slow by that."""
        channels = sum(1 for one in found if one.channel.account)
        return min(MOST_EVENTS_AT_ONCE, self.limits.stream_queue // 2) // max(1, channels)

    def begin_epoch(self, epoch: str) -> None:
        super().begin_epoch(epoch)
        for name in self.subscriptions:
            self.heal(name)

    def heal(self, channel: str) -> None:
        """Read what changed since the version that was sent last; what comes meanwhile follows it."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.held is not None or not subscription.channel.timeframe:
            return
        subscription.held = []
        since, most = subscription.version or None, self.limits.stream_snapshot_bars
        self._start(self._send_bars(subscription, bars=most if since else min(DEFAULT_BARS, most), since=since))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.leave(list(self.subscriptions))
        super().close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._with_errors(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _with_errors(self, work: Coroutine[Any, Any, None]) -> None:
        """Work in the background. The client gets a message for each error."""
        try:
            await work
        except Exception:
            self.stream.log.exception("snapshot-broke")
            self.say(messages.error(NautilusError("a snapshot broke here; subscribe again", code="internal-error")))

    def stream_state(self, name: str) -> Mapping[str, str]:
        """How the stream behind a channel stands, by the last message; of orders and fills, whether they can be read."""
        if self.subscriptions[name].channel.account:
            return self.stream.orders.state
        known = self.hub.state(name)
        return known.stream if known is not None and known.stream else self.subscriptions[name].stream

    def heartbeat(self) -> str:
        """Times, and of each channel the newest number, how old the newest message is (ms), and the state of its stream."""
        now, channels = self.hub.clock(), {}
        for name, subscription in self.subscriptions.items():
            number, at_s = self._newest(name, subscription.channel.account)
            age = round((now - at_s) * 1000) if at_s is not None else None
            channels[name] = [number, age, self.stream_state(name).get("state", "")]
        times = {
            "server_time": messages.time_of(self.hub.machine_ns()),
            "market_time": messages.time_of(self.hub.market_ns()),
        }
        return messages.text("heartbeat", {**times, "e": self.hub.epoch, "channels": channels})

    def _newest(self, name: str, account: str) -> tuple[int, float | None]:
        """Number and time of a channel's newest message; of an account the id of its last event, and when it was looked for."""
        if account:
            return self.stream.orders.cursor(account), self.stream.orders.read_at
        known = self.hub.state(name)
        return (known.number, known.at_s) if known else (0, None)

    # ---- snapshots -------------------------------------------------------------------------------------------------------

    async def _send_bars(
        self, subscription: Subscription, *, bars: int, since: int | None, whole: bool = False
    ) -> None:
        """Send the snapshot of a channel of bars, as soon as the database gives it. whole: as in `SnapshotQuery`."""
        name, pause_s = subscription.channel.name, 0.0
        while self.subscriptions.get(name) is subscription:
            epoch, number = self.hub.epoch, self.hub.number(name)
            try:
                query = self._query(subscription, bars, since)._replace(whole=whole)
                snapshot = await self.stream.snapshots.read(query)
            except Unavailable as away:
                if not pause_s:
                    away.extra = {"channel": name}
                    self.say(messages.error(away))
                self._let_pass(subscription)
                pause_s = order_channels.BACKOFF.after(pause_s)
                await asyncio.sleep(pause_s)
                subscription.held = []
                continue
            if epoch and epoch != self.hub.epoch:
                whole = False
                continue  # what was published between this read and the new epoch may be lost
            if self.subscriptions.get(name) is subscription:
                self._release(subscription, snapshot, number=number, since=since)
            return

    def _query(self, subscription: Subscription, bars: int, since: int | None) -> SnapshotQuery:
        channel, instrument = subscription.channel, subscription.instrument
        assert instrument is not None  # noqa: S101  for the type checker: channels of bars have one
        kind = instrument.asset_class
        return SnapshotQuery(
            channel.name,
            instrument,
            channel.timeframe,
            channel.price_kind(kind),
            session_kind(kind, channel.session or None),
            bars,
            since,
        )

    def _release(self, subscription: Subscription, snapshot: SeriesSnapshot, *, number: int, since: int | None) -> None:
        """Send a snapshot and what was held. number: of the newest message that the snapshot surely holds."""
        name, held = subscription.channel.name, subscription.held or []
        subscription.held = None
        subscription.version = snapshot.version  # below what a client claims that this store has not reached
        while held and is_held_by(snapshot, held[0]):
            number = held.pop(0).number
        place = Begin(name, number, snapshot.version)
        if since is not None and snapshot.empty and snapshot.version == since and not snapshot.lost:
            fields = {"c": name, "from_seq": number, "count": 0, "version": snapshot.version}
            self.outbox.put(messages.text("resumed", fields), begin=place)
        else:
            self.outbox.put(snapshot_text(name, snapshot, number, since), begin=place)
        if snapshot.more is not None:
            self.outbox.put(gap_text(self._query(subscription, 0, None), snapshot))
        for hole in snapshot.holes:
            self.outbox.put(messages.text("gap", hole.fields(name)))
        self.wake()
        for message in held:
            self.deliver(subscription, message)

    def _release_newest(self, subscription: Subscription, found: Resolved) -> None:
        """Send what is known of a channel that has no bars: the newest quote, or the newest state."""
        name, held = found.channel.name, subscription.held or []
        subscription.held = None
        newest, number = self.hub.newest(name), self.hub.number(name)
        fields: dict[str, Any] = {"c": name, "seq": number}
        if found.channel.kind == "data.quotes":
            quote: dict[str, Any] | None
            if newest is not None:
                quote = {key: value for key, value in newest.fields.items() if key not in ("v", "t", "c", "e", "seq")}
            else:
                quote = quote_fields(found.quote) if found.quote is not None else None
            fields["quote"] = quote
        elif newest is not None:
            fields["newest"] = newest.fields
        self.outbox.put(messages.text("snapshot", fields), begin=Begin(name, number))
        self.wake()
        for message in held:
            if message.number > number:
                self.deliver(subscription, message)

    def _let_pass(self, subscription: Subscription) -> None:
        """No snapshot for now: messages pass without one."""
        held, subscription.held = subscription.held or [], None
        for message in held:
            self.deliver(subscription, message)


def _state_of(found: Resolved) -> Mapping[str, str]:
    """How the stream behind a channel stands."""
    row = found.stream
    if row is not None:
        return _state(str(row.state), str(row.reason), str(row.source), str(row.feed))
    return _state("wanted" if found.instrument is not None else "", "", "", "")


@lru_cache(maxsize=_MOST_STATES)
def _state(state: str, reason: str, source: str, feed: str) -> Mapping[str, str]:
    """One object for all sockets, which hold it for each of their channels."""
    return {"state": state, "reason": reason, "source": source, "feed": feed}


def quote_fields(row: QuoteRow) -> dict[str, Any]:
    """A stored quote as a message has it."""
    fields = {name: value for name, value in row._asdict().items() if name not in ("con_id", "seen_at", "updated_at")}
    return fields | {"ts": rfc3339(row.ts) if row.ts is not None else None, "seen": rfc3339(row.seen_at)}


def in_one(wrong: Sequence[FieldError]) -> InvalidInput:
    """One error of several fields."""
    return InvalidInput("; ".join(f"{one.field}: {one.detail}" for one in wrong), errors=wrong)
