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
        """True when history has what the stream has not sent since a market time (ns); None when IB did not say."""
        price = stream.key.price or price_kind(stream.instrument.asset_class, None)
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
            return False if "no data" in refused.text.lower() else None
        except (NoAnswer, NotConnected):
            await self._booking.close(booked, "lost", began)
            return None
        await self._booking.close(booked, "ok" if rows else "empty", began)
        return lacks(translate.bars(rows, _MINUTE, price), since, newest, with_volume=price not in QUOTE_KINDS)


def lacks(bars: list[Bar], since: int, newest: LiveBar | None, *, with_volume: bool) -> bool:
    """True when there are minutes that a stream which is silent since `since` has not sent.

    newest: the newest minute that it sent, with volume in IB's unit. A bar without volume is none, where there are volumes.
    """
    real = [bar for bar in bars if not with_volume or bar.volume is None or bar.volume > 0]
    minute = since - since % _MINUTE.step_ns
    if any(bar.ts > minute for bar in real):
        return True
    same = next((bar for bar in real if newest is not None and bar.ts == newest.ts), None)
    if same is None or newest is None or newest.partial:
        return False
    if (same.high, same.low, same.close) != (newest.high, newest.low, newest.close):
        return True
    return same.volume is not None and newest.volume is not None and same.volume > newest.volume
