"""What waits for the next beat: messages in order, of quotes and forming bars the newest alone, and rows by their keys."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ib_bridge.live.quote_state import QuoteState
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.live.streams import StreamRow
from nautilus.infra.bus.publishing import Message
from nautilus.live.subscriptions import StreamKey

MOST_BARS = 20_000
"""Rows of bars that wait for a database that is away. Then forming ones, and the oldest, are let go: history has them."""


@dataclass
class Rows:
    """Rows of one beat, each by its key. settled: (series, start, end) of what history has answered for. gone: streams that
    are no more."""

    bars: dict[tuple[int, int], ProvisionalBar] = field(default_factory=dict)
    quotes: dict[int, QuoteRow] = field(default_factory=dict)
    streams: dict[StreamKey, StreamRow] = field(default_factory=dict)
    gone: set[StreamKey] = field(default_factory=set)
    settled: list[tuple[int, int, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.bars or self.quotes or self.streams or self.gone or self.settled)


class Outbox:
    """Collects. urgent: there is something that should not wait for the beat."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._newest: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._changed_quotes: dict[int, QuoteState] = {}
        """con_id -> the same, whose row is to be written."""
        self._quotes: dict[str, QuoteState] = {}
        """Channel -> the quote that has changed. Its message is made once a beat, however often it changes."""
        self._rows = Rows()
        self.urgent = False

    # ---- messages ----------------------------------------------------------------------------------------------------

    def tell(self, kind: str, channel: str, fields: Mapping[str, Any], *, urgent: bool = False) -> None:
        """A message that is published in its turn. The forming bar of its channel that waits goes out before it."""
        forming = self._newest.pop(("bar", channel), None)
        if forming is not None and not (kind == "bar" and fields.get("ts") == forming["ts"]):
            self._messages.append(Message("bar", channel, forming))
        self._messages.append(Message(kind, channel, fields))
        self.urgent = self.urgent or urgent

    def tell_newest(self, kind: str, channel: str, fields: Mapping[str, Any]) -> None:
        """A message of which only the newest of a beat is published: a quote, or a bar that forms."""
        self._newest[kind, channel] = fields

    def tell_quote(self, quote: QuoteState) -> None:
        """A quote has changed: it is published with the beat, as it is then, and its row is written."""
        self._quotes[quote.channel] = self._changed_quotes[quote.con_id] = quote

    # ---- rows --------------------------------------------------------------------------------------------------------

    def put_bar(self, bar: ProvisionalBar) -> None:
        self._rows.bars[bar.series_id, bar.ts] = bar

    def put_stream(self, row: StreamRow) -> None:
        self._rows.streams[row.key] = row
        self._rows.gone.discard(row.key)

    def remove_stream(self, key: StreamKey) -> None:
        self._rows.streams.pop(key, None)
        self._rows.gone.add(key)

    def settle(self, series_id: int, start: int, end: int) -> None:
        """History has answered for these bars: they are provisional no longer."""
        for key in [key for key in self._rows.bars if key[0] == series_id and start <= key[1] < end]:
            del self._rows.bars[key]
        self._rows.settled.append((series_id, start, end))

    # ---- a beat ------------------------------------------------------------------------------------------------------

    def take_rows(self) -> Rows:
        """All rows that wait."""
        rows, self._rows = self._rows, Rows()
        rows.quotes |= {con_id: quote.row() for con_id, quote in self._changed_quotes.items()}
        self._changed_quotes.clear()
        return rows

    def take_messages(self) -> list[Message]:
        """All messages that wait, in order."""
        newest = [Message(kind, channel, fields) for (kind, channel), fields in self._newest.items()]
        quotes = [Message("quote", channel, quote.message()) for channel, quote in self._quotes.items()]
        messages = [*self._messages, *newest, *quotes]
        self._quotes.clear()
        self._messages, self._newest, self.urgent = [], {}, False
        return messages

    def put_back(self, rows: Rows) -> None:
        """Rows that could not be written; those that came meanwhile are newer."""
        newer = self._rows
        rows.bars |= newer.bars
        rows.quotes |= newer.quotes
        rows.gone = {key for key in rows.gone | newer.gone if key not in newer.streams}
        rows.streams = {key: row for key, row in (rows.streams | newer.streams).items() if key not in newer.gone}
        rows.settled += newer.settled
        rows.bars = _bounded(rows.bars.values())
        self._rows = rows


def _bounded(bars: Iterable[ProvisionalBar]) -> dict[tuple[int, int], ProvisionalBar]:
    found = list(bars)
    if len(found) > MOST_BARS:
        found = sorted((bar for bar in found if bar.state == "closed"), key=lambda bar: bar.ts)[-MOST_BARS:]
    return {(bar.series_id, bar.ts): bar for bar in found}
