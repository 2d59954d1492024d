"""One request to history about a silent stream: bars of the last minutes, booked as every request is."""

import time

from ib_bridge.history.booking import NotYet
from ib_bridge.ib import translate
from ib_bridge.ib.client import BarsRequest
from ib_bridge.ib.connection import NotConnected
from ib_bridge.ib.requests import IbError, NoAnswer
from ib_bridge.live.streams import Stream
from ib_bridge.parts import BridgeParts
from nautilus.backfill.pacing import Request
from nautilus.clock import NS_PER_S
from nautilus.live.bars import LiveBar
from nautilus.market.bar import Bar
from nautilus.market.instrument import QUOTE_KINDS, price_kind
from nautilus.market.timeframes import timeframe

_MINUTE = timeframe("1m")
_LONGEST_S = 3_600


class Probing:
    """Asks for the minutes in which a stream was silent."""

    def __init__(self, parts: BridgeParts, timeout_s: float) -> None:
        self._connection = parts.connection
        self._requests = parts.requests
        self._booking = parts.booking
        self._clock = parts.clock
        self._timeout_s = timeout_s

    async def has_more(self, stream: Stream, since: int, newest: LiveBar | None) -> bool | None:
        """True when history has what the stream has not sent since a market time (ns); None when nobody can know."""
        price = stream.key.price if stream.is_bars else price_kind(stream.instrument.asset_class, None)
        session = stream.key.session or "all"
        seconds = min(_LONGEST_S, max(120, (self._clock.now_ns() - since) // NS_PER_S + 120))
        contract = translate.contract(stream.instrument)
        rules = Request(
            identity=f"probe|{stream.key}|{self._clock.now_ns()}",
            contract=f"{stream.instrument.con_id}|{stream.instrument.exchange}|{price}",
            small=False,
        )
        try:
            booked = await self._booking.book(self._connection.login, "live-probe", rules)
        except NotYet:
            return None
        began = time.monotonic()
        request = BarsRequest(contract, "", f"{seconds} S", _MINUTE.ib, price, session == "rth")
        try:
            rows = await self._requests.history(request, self._timeout_s)
        except IbError as refused:
            await self._booking.close(booked, "error", began, ib_code=refused.code, ib_text=refused.text)
            empty = "no data" in refused.text.lower() and self._connection.serves(stream.instrument)
            return False if empty else None
        except (NoAnswer, NotConnected):
            await self._booking.close(booked, "lost", began)
            return None
        await self._booking.close(booked, "ok" if rows else "empty", began)
        return lacks(
            translate.bars(rows, _MINUTE, price),
            since,
            newest,
            sent_from=stream.sent_at if stream.is_bars else None,
            with_volume=price not in QUOTE_KINDS,
        )


def lacks(
    bars: list[Bar], since: int, newest: LiveBar | None, *, sent_from: int | None, with_volume: bool
) -> bool | None:
    """True when history has what a stream that is silent since `since` has not sent, False when it has not, None when its
    minutes cannot show that: what is in the minute of the last event may have come before that.

    newest: the newest bar that it sent, with volume in IB's unit. sent_from: it should have sent each bar since then; None: it
    sends no bars. A bar without volume is none, where there are volumes.
    """
    real = {bar.ts: bar for bar in bars if not with_volume or bar.volume is None or bar.volume > 0}
    minute = since - since % _MINUTE.step_ns
    if any(ts > minute for ts in real):
        return True
    same = _beyond(real.get(newest.ts), newest) if newest is not None and not newest.partial else None
    if same or minute not in real:
        return bool(same)
    if sent_from is not None and sent_from <= minute and (newest is None or newest.ts < minute):
        return True
    return same if newest is not None and newest.ts == minute else None


def _beyond(bar: Bar | None, sent: LiveBar) -> bool | None:
    """True when history's minute goes beyond what was sent of it, False when it is the same, None when that is not known."""
    if bar is None:
        return None
    if (bar.high, bar.low, bar.close) != (sent.high, sent.low, sent.close):
        return True
    if bar.volume is None or sent.volume is None:
        return None
    if bar.volume == sent.volume:
        return False
    return True if bar.volume > sent.volume else None
