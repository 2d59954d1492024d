"""Follows live bars over server-sent events, and goes on by itself where the connection ends."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from nautilus_client import routes, timeframes
from nautilus_client.columns import USUAL
from nautilus_client.connection import Connection
from nautilus_client.errors import ApiError, NotSignedIn, TransportError
from nautilus_client.live_bars import Event, Events, LiveBar, LiveBook
from nautilus_client.market import named
from nautilus_client.reading import Query, Reader
from nautilus_client.retry import RetryPolicy, wait_s
from nautilus_client.times import to_ns
from nautilus_client.transport import pieces, plain_answer

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

SILENCE_S = 35.0
"""A heartbeat comes every 15 s: who receives nothing for so long connects anew (docs/live.md)."""
STATES = ("closed", "confirmed", "revised", "withdrawn")
REMEMBERED = 300
"""Bars from before it began that are known, so that what history changes in them while the connection is away is news."""
_FOREVER = RetryPolicy(tries=10**9)


def open_bars(
    connection: Connection,
    symbol: str | None,
    timeframe: str = "1m",
    *,
    states: Sequence[str] = STATES,
    history: int = 0,
    give_up_s: float | None = None,
    **series: Any,
) -> "LiveBars":
    """Live bars of an instrument.

    states: which changes are given; add `forming` for each change of the bar that forms. history: so many bars of before come
    first. give_up_s: TransportError after so many seconds without a connection; None: it tries for ever. series: as of `bars`.
    """
    where = named(symbol, series) | {"timeframe": timeframes.checked(timeframe)}
    answer = connection.call("want", body={"wants": [{**where, "kind": "bars"}]})
    channel = str(answer["wants"][0]["channel"])
    name = symbol or str(series.get("instrument_id") or series.get("con_id"))
    return LiveBars(connection, channel, name, states=states, history=history, give_up_s=give_up_s)


class LiveBars:
    """An iterator of `LiveBar` that ends when it is closed. It is for one thread.

    A connection that ends, or is silent, is made anew with the id of the last event; what was missed comes first, and
    nothing comes twice. `connections` counts them. An error of the sign-in ends it.
    """

    def __init__(
        self,
        connection: Connection,
        channel: str,
        name: str,
        *,
        states: Sequence[str] = STATES,
        history: int = 0,
        give_up_s: float | None = None,
    ) -> None:
        self.channel = channel
        self.connections = 0
        self.stream_state: dict[str, Any] = {}
        self._connection = connection
        self._book = LiveBook(name)
        self._states = frozenset(states)
        self._history = history
        self._give_up_s = give_up_s
        self._last_id = ""
        self._begun = False
        self._response: BaseHTTPResponse | None = None
        self._closed = False

    def __iter__(self) -> Iterator[LiveBar]:
        for event in self._events():
            if event.kind == "stream":
                self.stream_state = dict(event.data)
            left_out = event.kind == "gap" and event.data.get("rest")
            found = self._left_out(str(left_out)) if left_out else self._book.take(event)
            if event.kind == "snapshot" and not self._begun:
                found = self._begin(event, found)
            for bar in found:
                if bar.state in self._states:
                    yield bar

    def _begin(self, event: Event, found: Sequence[LiveBar]) -> Sequence[LiveBar]:
        """Which bars of the first snapshot are given; the book knows them all."""
        self._begun = True
        if event.data.get("confirmed_until"):
            self._book.skip_before(to_ns(event.data["confirmed_until"]))
        if not self._history:
            return [bar for bar in found if bar.state == "forming"]
        settled = [bar for bar in found if bar.settled]
        return [*settled[-self._history :], *(bar for bar in found if not bar.settled)]

    def _left_out(self, address: str) -> Sequence[LiveBar]:
        """What a snapshot left out, as more changed than it holds: it is read from the address that the server names."""
        where = dict(parse_qsl(urlsplit(address).query))
        window = {name: to_ns(where.pop(name)) for name in ("start", "end")}
        reader = Reader(self._connection.send, Query({**where, **window, "backfill": "never"}, USUAL))
        info, columns = reader.all(reader.first())
        return self._book.settle(columns.rows(), info.version)

    def _events(self) -> Iterator[Event]:
        failures, since = 0, time.monotonic()
        while not self._closed:
            try:
                for event in self._one_connection():
                    failures, since = 0, time.monotonic()
                    if event.kind == "bye":
                        break
                    yield event
            except TransportError as wrong:
                if self._give_up_s is not None and time.monotonic() - since > self._give_up_s:
                    raise TransportError(f"no live data for {self._give_up_s:g} s: {wrong}", tries=failures) from wrong
            except ApiError as wrong:
                if isinstance(wrong, NotSignedIn) or wrong.status not in (429, 502, 503, 504):
                    raise
            except Exception:
                # A response that is closed while another thread reads it fails in many ways.
                if not self._closed:
                    raise
            if self._closed:
                return
            failures += 1
            time.sleep(wait_s(_FOREVER, min(failures, 8), None, random.random) or 0.0)

    def _one_connection(self) -> Iterator[Event]:
        request = routes.request(
            "events",
            channels=self.channel,
            bars=max(self._history, REMEMBERED),
            forming="forming" in self._states,
            headers={"Last-Event-ID": self._last_id} if self._last_id else {},
        )
        request = request._replace(
            headers={**request.headers, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        )
        response = self._connection.transport.stream(request, read_s=SILENCE_S)
        self._response = response
        try:
            if response.status != 200:
                raise plain_answer(response).error()
            self.connections += 1
            events = Events()
            for piece in pieces(response, size=None):
                for event in events.feed(piece):
                    self._last_id = event.id or self._last_id
                    yield event
        finally:
            self._response = None
            response.close()

    def close(self) -> None:
        """End it, from another thread, too."""
        self._closed = True
        response = self._response
        if response is not None:
            with suppress(Exception):
                response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
