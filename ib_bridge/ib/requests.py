"""Requests to IB and their answers: contract details, symbols, schedules, oldest bars, bars.

Each answer is what IB sent, or an error that says which of three things happened: IB refused (`IbError`), IB did not answer
in time (`NoAnswer`), or the connection went away (`NotConnected`). None of them looks like an empty answer.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from ib_bridge.ib.client import IB, BarsRequest, Contract, RequestError, forget_request, new_client, send_bars_request
from ib_bridge.ib.connection import IbConnection, NotConnected
from nautilus.settings.bridge import BridgeSettings
from nautilus.settings.gateway import CLIENT_IDS

T = TypeVar("T")
_SHORT_ANSWER_S = 20.0
"""Longest wait for answers that IB gives at once: contract details, schedules, heads."""
_IN_LOTS = 174
"""The last protocol version in which historical volumes of US stocks come in lots (ib_bridge/history/volume_units.py)."""


class IbError(Exception):
    """IB answered a request with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class NoAnswer(Exception):
    """IB did not answer in time; the request was cancelled."""


class IbRequests:
    """Sends requests over the connection to IB."""

    def __init__(self, settings: BridgeSettings, connection: IbConnection) -> None:
        self._settings = settings
        self._connection = connection
        self._short_s = min(_SHORT_ANSWER_S, settings.request_timeout_s)

    async def details(self, contract: Contract) -> list[Any]:
        """Contract details of all that fit."""
        return await self._answer(self._client().reqContractDetailsAsync(contract), self._short_s)

    async def matches(self, pattern: str) -> list[Any]:
        """Contracts whose symbol begins so, or whose name holds it, as IB describes them (at most 16)."""
        return await self._answer(self._client().reqMatchingSymbolsAsync(pattern), self._short_s) or []

    async def market_rule(self, number: int) -> list[Any]:
        """The steps of prices of a market rule, from price and step each. NoAnswer after the library's one second."""
        rule = await self._answer(self._client().reqMarketRuleAsync(number), self._short_s)
        if rule is None:
            raise NoAnswer
        return list(rule)

    async def head(self, contract: Contract, price: str, *, rth: bool) -> Any:
        """The oldest bar there is, as the client library parsed it."""
        return await self._answer(
            self._client().reqHeadTimeStampAsync(contract, price, useRTH=rth, formatDate=2), self._short_s
        )

    async def schedule(self, contract: Contract, days: int, end: str, *, rth: bool) -> Any:
        """The trading sessions of `days` days up to `end` (IB's UTC form; empty: now)."""
        return await self._answer(self._client().reqHistoricalScheduleAsync(contract, days, end, rth), self._short_s)

    async def history(self, request: BarsRequest, timeout_s: float) -> list[Any]:
        """Bars as the client library parsed them. A request that is given up, by time-out or cancellation, is cancelled at
        IB."""
        return await self._history(self._client(), request, timeout_s)

    async def daily(self, contract: Contract, end: str, duration: str) -> list[Any]:
        """Daily bars of regular hours' trades up to `end`, as the client library parsed them."""
        return await self.history(_daily(contract, end, duration), self._short_s)

    async def daily_in_lots(self, contract: Contract, end: str, duration: str) -> list[Any]:
        """The same as a client of version 174 gets them, whose volumes are in lots of a hundred: over a connection of its
        own, that lives for this one request. NotConnected when the gateway takes no such client."""
        ib = new_client()
        ib.client.MaxClientVersion = _IN_LOTS
        settings = self._settings
        try:
            await ib.client.connectAsync(
                settings.ib_host, settings.ib_port, settings.ib_client_id + CLIENT_IDS, settings.ib_timeout_s
            )
            if ib.client.serverVersion() > _IN_LOTS:
                raise NotConnected(f"the gateway speaks version {ib.client.serverVersion()} to a client of {_IN_LOTS}")
            return await self._history(ib, _daily(contract, end, duration), self._short_s)
        except (TimeoutError, OSError) as failed:
            raise NotConnected(f"no connection of version {_IN_LOTS}: {failed or type(failed).__name__}") from None
        finally:
            ib.client.disconnect()

    def _client(self) -> IB:
        return self._connection.client()

    async def _history(self, ib: IB, request: BarsRequest, timeout_s: float) -> list[Any]:
        number, future = send_bars_request(ib, request)
        try:
            return list(await self._answer(future, timeout_s))
        except (NoAnswer, asyncio.CancelledError):
            if ib.isConnected():
                ib.client.cancelHistoricalData(number)
            raise
        finally:
            forget_request(ib, number)

    async def _answer(self, request: Awaitable[T], timeout_s: float) -> T:
        """The answer to a request; IbError, NoAnswer or NotConnected otherwise."""
        answer = asyncio.ensure_future(request)
        lost = asyncio.ensure_future(self._connection.lost.wait())
        try:
            await asyncio.wait({answer, lost}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if lost.done():
                raise NotConnected(self._connection.health.reason)
            raise NoAnswer
        except RequestError as wrong:
            raise IbError(int(getattr(wrong, "code", 0)), str(getattr(wrong, "message", wrong))) from None
        except ConnectionError as gone:
            raise NotConnected(str(gone)) from None
        finally:
            answer.cancel()
            lost.cancel()


def _daily(contract: Contract, end: str, duration: str) -> BarsRequest:
    return BarsRequest(contract, end, duration, size="1 day", price="TRADES", rth=True)
