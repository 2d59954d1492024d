"""The questions by which we know what IB has: open orders, completed orders, executions; and positions.

One at a time, in this order: an order that fills between two questions is then named by a later one. An answer counts once its
last word is committed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ib_bridge.ib.client import library
from ib_bridge.orders.gateway import OrderGateway
from ib_bridge.orders.pacer import Pacer
from ib_bridge.orders.word_writer import Arrival, Committed
from nautilus.errors import Unavailable
from nautilus.orders.outcome import Question
from nautilus.orders.words import (
    CompletedOrder,
    CompletedOrdersEnd,
    Execution,
    ExecutionsEnd,
    OpenOrder,
    OpenOrdersEnd,
    OrderStatus,
    PositionsEnd,
    Word,
)

_ANSWER_S = 30.0
"""Longest wait for one answer, in machine time: IB gives these at once."""
Ending = type[OpenOrdersEnd] | type[CompletedOrdersEnd] | type[ExecutionsEnd] | type[PositionsEnd]


class NoAnswer(Unavailable):
    """IB did not answer a question in time, or the connection went away over it."""


class Refused(NoAnswer):
    """The gateway is read-only: it answers no question for orders."""


@dataclass
class Answers:
    """What the questions of one round named: order -> the questions that did. epoch: of the connection over which they went."""

    epoch: int
    named: defaultdict[UUID, set[Question]] = field(default_factory=lambda: defaultdict(set))


class Questions:
    """Asks over the present connection. `answer_of` and `committed` get what comes."""

    def __init__(self, gateway: OrderGateway, pacer: Pacer) -> None:
        self._gateway = gateway
        self._pacer = pacer
        self._lock = asyncio.Lock()
        self._question: Question | None = None
        self._ending: tuple[Ending, asyncio.Event] | None = None
        self._answers: Answers | None = None
        self._executions_request = -1

    # ---- asking ------------------------------------------------------------------------------------------------------

    async def ask_all(self) -> Answers:
        """All three, then the positions. NoAnswer when one is not answered."""
        async with self._lock:
            self._answers = found = Answers(self._gateway.epoch)
            try:
                await self._ask_open()
                await self._ask_completed()
                await self._ask_executions()
                await self._ask_positions()
            finally:
                self._answers = None
            return found

    async def ask_open(self) -> Answers:
        """Open orders alone."""
        async with self._lock:
            self._answers = found = Answers(self._gateway.epoch)
            try:
                await self._ask_open()
            finally:
                self._answers = None
            return found

    async def ask_executions(self) -> None:
        """Executions since midnight, and with them the commissions."""
        async with self._lock:
            await self._ask_executions()

    async def ask_positions(self) -> None:
        """Positions, also where orders are switched off."""
        async with self._lock:
            await self._ask_positions()

    async def _ask_open(self) -> None:
        await self._answered("open", OpenOrdersEnd, lambda: self._gateway.client.reqAllOpenOrders())

    async def _ask_completed(self) -> None:
        await self._answered("completed", CompletedOrdersEnd, lambda: self._gateway.client.reqCompletedOrders(False))

    async def _ask_executions(self) -> None:
        def send() -> None:
            self._executions_request = self._gateway.request_id()
            self._gateway.client.reqExecutions(self._executions_request, library.ExecutionFilter())

        await self._answered("executions", ExecutionsEnd, send)

    async def _ask_positions(self) -> None:
        """The gateway answers once and then sends changes; to a second request meanwhile it answers again."""
        await self._answered(None, PositionsEnd, lambda: self._gateway.client.reqPositions())

    async def _answered(self, question: Question | None, ending: Ending, send: Callable[[], Any]) -> None:
        await self._pacer.passed(urgent=True)
        ended = asyncio.Event()
        self._question, self._ending = question, (ending, ended)
        self._gateway.refused.clear()
        waits = [asyncio.ensure_future(one.wait()) for one in (ended, self._gateway.lost, self._gateway.refused)]
        try:
            send()
            await asyncio.wait(waits, timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            if not ended.is_set() and self._gateway.refused.is_set():
                raise Refused("the gateway is read-only", code="ib-no-answer")
            if not ended.is_set():
                what = question or "positions"
                raise NoAnswer(f"IB did not answer the question for {what}", code="ib-no-answer")
        except ConnectionError as gone:
            raise NoAnswer(f"no connection: {gone}", code="ib-no-answer") from None
        finally:
            self._question, self._ending = None, None
            for wait in waits:
                wait.cancel()

    # ---- hearing -----------------------------------------------------------------------------------------------------

    def answer_of(self, word: Word) -> Question | None:
        """Which question a word that comes now answers; None: IB says it by itself."""
        if isinstance(word, Execution):
            return "executions" if word.request_id >= 0 else None
        if isinstance(word, CompletedOrder):
            return "completed"
        if isinstance(word, OpenOrder | OrderStatus) and self._question == "open":
            return "open"
        return None

    def committed(self, one: Committed) -> None:
        """A word was committed: note whom it names, and end the wait for an answer with its last word."""
        arrival, recorded = one
        if self._answers is not None and arrival.answer is not None and recorded is not None and recorded.order_id:
            self._answers.named[recorded.order_id].add(arrival.answer)
        if self._ending is not None and isinstance(arrival.word, self._ending[0]) and self._is_ours(arrival):
            self._ending[1].set()

    def _is_ours(self, arrival: Arrival) -> bool:
        if arrival.connection != self._gateway.number:
            return False  # the end of an answer over a connection that is gone
        return not isinstance(arrival.word, ExecutionsEnd) or arrival.word.request_id == self._executions_request
