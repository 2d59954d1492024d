"""Requests that learn about contracts: each waits for its turn in the pacing book, is sent, and its end is written down."""

import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from ib_bridge.history.booking import Booking
from ib_bridge.ib import translate
from ib_bridge.ib.connection import IbConnection, NotConnected
from ib_bridge.ib.requests import IbError, IbRequests, NoAnswer
from nautilus.backfill.pacing import Request
from nautilus.db.market.series import Series
from nautilus.errors import Unavailable
from nautilus.market.instrument import Instrument

T = TypeVar("T")


class BookedRequests:
    """IB's answers about contracts, in its own objects. IbError when it refuses, Unavailable when it does not answer.

    NotYet when IB's limits allow a request only later.
    """

    def __init__(self, connection: IbConnection, requests: IbRequests, booking: Booking) -> None:
        self.connection = connection
        self._requests = requests
        self._booking = booking

    async def details(self, query: Any, key: str, correlation_id: str) -> list[Any]:
        """The contracts that fit a query; key: of the request, as the pacing book has it."""
        request = Request(f"details|{key}", f"details|{key}", small=False, historical=False)
        number = await self._book("details", request, correlation_id)
        return await self._answer(number, self._requests.details(query))

    async def matches(self, pattern: str, correlation_id: str) -> list[Any]:
        """What IB's symbol search finds."""
        request = Request(f"matches|{pattern}", f"matches|{pattern}", small=False, historical=False)
        number = await self._book("matches", request, correlation_id)
        return await self._answer(number, self._requests.matches(pattern))

    async def market_rule(self, number: int, correlation_id: str) -> list[Any]:
        """The price steps of a market rule."""
        request = Request(f"market-rule|{number}", f"market-rule|{number}", small=False, historical=False)
        booked = await self._book("market_rule", request, correlation_id)
        return await self._answer(booked, self._requests.market_rule(number))

    async def schedule(self, instrument: Instrument, session: str, days: int, *, end: str, correlation_id: str) -> Any:
        """The trading sessions of some days up to `end`."""
        key = f"{instrument.con_id}|SCHEDULE|{session}|{days}|{end}"
        request = Request(key, f"{instrument.con_id}|SCHEDULE", small=False)
        number = await self._book("schedule", request, correlation_id)
        query = self._requests.schedule(translate.contract(instrument), days, end, rth=session == "rth")
        return await self._answer(number, query)

    async def head(self, instrument: Instrument, row: Series, correlation_id: str, *, interactive: bool) -> Any:
        """The time of the oldest bar that IB has of a series."""
        request = Request(
            f"{instrument.con_id}|HEAD|{row.price}|{row.session}",
            f"{instrument.con_id}|{instrument.exchange}|{row.price}",
            small=True,
            interactive=interactive,
        )
        number = await self._book("head", request, correlation_id)
        query = self._requests.head(translate.contract(instrument), row.price, rth=row.session == "rth")
        return await self._answer(number, query)

    async def _book(self, kind: str, request: Request, correlation_id: str) -> int:
        return await self._booking.book(self.connection.login, kind, request, correlation_id=correlation_id)

    async def _answer(self, number: int, answer: Awaitable[T]) -> T:
        """Await an answer and write down how its request ended. NoAnswer and NotConnected become Unavailable."""
        began = time.monotonic()
        try:
            result = await answer
        except IbError as refused:
            await self._booking.close(number, "error", began, ib_code=refused.code, ib_text=refused.text)
            raise
        except (NoAnswer, NotConnected) as gone:
            await self._booking.close(number, "timeout" if isinstance(gone, NoAnswer) else "lost", began)
            raise Unavailable("IB did not answer in time", code="ib-unavailable") from None
        await self._booking.close(number, "ok", began)
        return result
