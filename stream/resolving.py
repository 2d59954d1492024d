"""Which instrument a channel is about, whether it can have such a channel, and how the stream behind it stands."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.live import quotes, streams
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.live.streams import StreamRow
from nautilus.db.market import instruments, series
from nautilus.db.orders import account_state
from nautilus.errors import InvalidInput, NautilusError, NotFound
from nautilus.infra.executors import Executor
from nautilus.live import channels
from nautilus.live.channels import Channel
from nautilus.live.offered import lacks_ticks, live_prices, stream_of, tick_prices
from nautilus.live.subscriptions import StreamKey
from nautilus.lookup.resolve import known_identity
from nautilus.market.instrument import Instrument, session_kind
from nautilus.market.symbols import InstrumentName, Selector
from stream.wants import key_of

_KNOWN_S = 30.0
_MOST_KNOWN = 10_000


class Resolved(NamedTuple):
    """A channel under its usual name, its instrument (None: of an event), and the row of its stream, if there is one.

    quote: the newest that the database has, of a channel of quotes. requested: the name in the request.
    """

    channel: Channel
    instrument: Instrument | None
    stream: StreamRow | None = None
    quote: QuoteRow | None = None
    requested: str = ""


class Resolving:
    """Asks the database, for all sockets of a process."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._threads = Executor("resolving", 1)
        self._known: dict[str, tuple[float, Instrument]] = {}
        """Name -> when it was read, and the instrument. Used by one thread alone."""

    async def channels(self, wanted: Sequence[Channel]) -> list[Resolved | NautilusError]:
        """For each channel its instrument, or what is wrong with it. Unavailable: the database is away."""
        return await self._threads.run(self._channels, wanted)

    async def instrument(self, selector: Selector, name: InstrumentName | None = None) -> Instrument | None:
        """The instrument of a name, else of a selector, of what is known. Raises what is wrong with it."""
        return await self._threads.run(self._instrument, selector, name)

    async def several(self, con_ids: Collection[int]) -> list[Instrument]:
        """The instruments of these numbers."""
        return await self._threads.run(self._several, con_ids) if con_ids else []

    def _several(self, con_ids: Collection[int]) -> list[Instrument]:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            return list(instruments.several(cursor, con_ids).values())

    def _channels(self, wanted: Sequence[Channel]) -> list[Resolved | NautilusError]:
        found: list[Resolved | NautilusError] = []
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            rows = {row.key: row for row in streams.listed(cursor)}
            for channel in wanted:
                try:
                    found.append(self._resolved(cursor, channel, rows))
                except NautilusError as wrong:
                    found.append(wrong)
            return _with_quotes(cursor, found)

    def _resolved(self, cursor: Cursor, channel: Channel, rows: Mapping[StreamKey, StreamRow]) -> Resolved:
        if channel.subject:
            _check_subject(cursor, channel)
            return Resolved(channel, None, requested=channel.name)
        instrument = self._named(cursor, channel)
        usual = usual_name(channel, instrument)
        return Resolved(usual, instrument, rows.get(stream_key(usual, instrument)), requested=channel.name)

    def _named(self, cursor: Cursor, channel: Channel) -> Instrument:
        """The instrument of a channel; a thousand sockets that come back together cost one question for each name."""
        name, now = channel.instrument_id, time.monotonic()
        held = self._known.get(name)
        if held is not None and now - held[0] < _KNOWN_S:
            return held[1]
        instrument = instruments.by_name(cursor, name)
        if instrument is None:
            raise NotFound(
                f"{channel.name}: no instrument {name} is known here; ask for its bars first:"
                " GET /api/v1/market-data/historical/bars",
                code="unknown-instrument",
            )
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[name] = (now, instrument)
        return instrument

    def _instrument(self, selector: Selector, name: InstrumentName | None) -> Instrument | None:
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            found = known_identity(cursor, selector, name)
        return found.instrument if found is not None else None

    def close(self) -> None:
        self._threads.close()


def _check_subject(cursor: Cursor, channel: Channel) -> None:
    """NotFound, InvalidInput: an event of what is not here, which would never come."""
    subject = channel.subject
    if channel.kind == "events.series" and not series.exists(cursor, int(subject)):
        raise NotFound(
            f"{channel.name}: there is no series {subject}; GET /api/v1/market-data/series lists them",
            code="unknown-series",
        )
    if channel.kind == "events.session" and subject not in (known := status.names(cursor)):
        allowed = tuple(f"{channel.kind}.{name}" for name in known)
        raise InvalidInput.field("channel", f"{channel.name}: no bridge of that name was ever heard of", allowed)
    if channel.account and account_state.known(cursor, channel.account) is None:
        raise NotFound(f"{channel.name}: no gateway ever named the account {subject}", code="unknown-account")


def _with_quotes(cursor: Cursor, found: Sequence[Resolved | NautilusError]) -> list[Resolved | NautilusError]:
    """The same with the newest quotes of channels of quotes."""
    con_ids = [
        one.instrument.con_id
        for one in found
        if isinstance(one, Resolved) and one.instrument is not None and one.channel.kind == "data.quotes"
    ]
    newest = {row.con_id: row for row in quotes.newest(cursor, con_ids)} if con_ids else {}
    return [
        one._replace(quote=newest.get(one.instrument.con_id))
        if isinstance(one, Resolved) and one.instrument is not None and one.channel.kind == "data.quotes"
        else one
        for one in found
    ]


def usual_name(channel: Channel, instrument: Instrument) -> Channel:
    """The channel as the bridge names it: without the session that is the usual one of its class. InvalidInput where IB has no
    such price, or no ticks."""
    kind = instrument.asset_class
    if channel.tick_price and channel.tick_price not in tick_prices(instrument):
        raise InvalidInput.field(
            "channel", lacks_ticks(instrument, channel.tick_price), _channels_instead_of_ticks(instrument)
        )
    if channel.kind != "data.bars":
        return channel
    words = tuple(dict.fromkeys(map(channels.price_word, live_prices(kind))))
    if channel.price not in words:
        raise InvalidInput.field("channel", f"{channel.name}: {channel.price} does not exist for {kind}", words)
    if channel.session == session_kind(kind, None):
        return channel._replace(session="")
    return channel


def _channels_instead_of_ticks(instrument: Instrument) -> tuple[str, ...]:
    """The names of the channels of ticks that it has, and that of its quotes."""
    name = instrument.instrument_id
    return (*(channels.ticks(name, price).name for price in tick_prices(instrument)), channels.quotes(name).name)


def stream_key(channel: Channel, instrument: Instrument) -> StreamKey:
    """The stream of the bridge that a channel comes from."""
    want = key_of(channel, instrument)
    return stream_of(want.con_id, want.kind, want.timeframe, price=want.price, session=want.session)
