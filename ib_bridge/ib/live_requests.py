"""Requests for live data, and their ends. Each returns the request's id; what comes for it is in `LiveCallbacks`.

None of these streams is registered with the client library, so it asks for none of them again by itself.
"""

from collections.abc import Callable
from typing import Any

from ib_bridge.ib import translate
from ib_bridge.ib.connection import IbConnection
from nautilus.market.instrument import Instrument

MARKET_DATA_TYPES = {"live": 1, "frozen": 2, "delayed": 3, "delayed_frozen": 4}
_FIVE_SECONDS = 5
_TICKS = {"TRADES": "Last", "BID_ASK": "BidAsk", "MIDPOINT": "MidPoint"}
"""Of what the ticks are -> IB's word."""


class LiveRequests:
    """Sends over the present connection. NotConnected when there is none."""

    def __init__(self, connection: IbConnection) -> None:
        self._connection = connection

    def market_data_type(self, feed: str) -> None:
        """Which market data is wanted where there is no live one. A gateway forgets it with the connection."""
        self._connection.client().client.reqMarketDataType(MARKET_DATA_TYPES[feed])

    def keep_up_to_date(self, instrument: Instrument, price: str, session: str, duration: str) -> int:
        """Bars of a minute: history of `duration` up to now, then the bar that forms."""
        contract = translate.contract(instrument)
        return self._send(
            lambda client, number: client.reqHistoricalData(
                *(number, contract, "", duration, "1 min", price, session == "rth", 2, True, [])
            )
        )

    def real_time_bars(self, instrument: Instrument, price: str, session: str) -> int:
        """Bars of five seconds."""
        contract = translate.contract(instrument)
        return self._send(
            lambda client, number: client.reqRealTimeBars(
                *(number, contract, _FIVE_SECONDS, price, session == "rth", [])
            )
        )

    def market_data(self, instrument: Instrument) -> int:
        """Quotes."""
        contract = translate.contract(instrument)
        return self._send(lambda client, number: client.reqMktData(number, contract, "", False, False, []))

    def tick_by_tick(self, instrument: Instrument, price: str) -> int:
        """Every trade (TRADES), quote (BID_ASK) or midpoint (MIDPOINT)."""
        contract, kind = translate.contract(instrument), _TICKS[price]
        return self._send(lambda client, number: client.reqTickByTickData(number, contract, kind, 0, False))

    def cancel_bars(self, request: int) -> None:
        """End a bar that is kept up to date. IB answers with 162 (cancelled) or 366 (there is none): nobody's any more."""
        self._cancel(request, "cancelHistoricalData")

    def cancel_real_time_bars(self, request: int) -> None:
        self._cancel(request, "cancelRealTimeBars")

    def cancel_market_data(self, request: int) -> None:
        self._cancel(request, "cancelMktData")

    def cancel_tick_by_tick(self, request: int) -> None:
        self._cancel(request, "cancelTickByTickData")

    def _send(self, send: Callable[[Any, int], None]) -> int:
        client = self._connection.client().client
        number: int = client.getReqId()
        self._connection.callbacks.expect(number)
        send(client, number)
        return number

    def _cancel(self, request: int, name: str) -> None:
        self._connection.callbacks.forget(request)
        getattr(self._connection.client().client, name)(request)
