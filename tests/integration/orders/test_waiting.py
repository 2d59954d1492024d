"""Calls that wait for an order: when they answer, how many may wait, and that nothing else is behind them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

import functions.orders.app
from functions.orders.app import OrderServices
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.orders import orders
from nautilus.db.orders.events import Event
from nautilus.infra.cache import Cache
from nautilus.orders.waiting import MOST, OrderWaits
from tests.integration.orders.test_api import APPLE, BUY, DETAILS, ORDERS
from tests.support.order_ledger import ACCOUNT, NOW, furnish
from tests.support.stored_bars import Api, StoredBars


class Calls:
    """The API, a trader, and an order that nobody sends."""

    def __init__(self, stored: StoredBars, folder: Path, **settings: Any) -> None:
        self.db = stored.db
        self.api: Api = stored.api(folder, router=functions.orders.app.router, **settings)
        self.trader = stored.user(7, "orders:read", "orders:write", accounts=[ACCOUNT])
        self.order_id = self.api.request("POST", ORDERS, json=BUY, headers=self._key()).json()["id"]

    def _key(self) -> dict[str, str]:
        return {**self.trader, "Idempotency-Key": str(uuid4())}

    async def get(self, wait: float) -> httpx.Response:
        path = f"{ORDERS}/{self.order_id}?wait={wait}"
        return await self.api.client.get(path, headers=self.trader)

    async def place(self, wait: float) -> httpx.Response:
        return await self.api.client.post(f"{ORDERS}?wait={wait}", json={**BUY, "quantity": 3}, headers=self._key())

    async def kill(self) -> httpx.Response:
        return await self.api.client.post(f"{ORDERS}/kill", json={"reason": "a test"}, headers=self.trader)

    def move(self, state: str) -> None:
        with self.db.transaction() as cursor:
            row = orders.lock_with_book(cursor, UUID(self.order_id))
            assert row is not None
            orders.update(cursor, row, {"state": state}, Event(state, "process", NOW))


@pytest.fixture
def stored(dsn: str) -> Iterator[StoredBars]:
    made = StoredBars(dsn, NOW)
    with made.db.transaction() as cursor:
        furnish(cursor)
        instruments.store(cursor, APPLE, DETAILS)
    yield made
    made.close()


@pytest.fixture
def calls(stored: StoredBars, tmp_path: Path) -> Calls:
    return Calls(stored, tmp_path)


def test_ten_calls_that_wait_do_not_delay_a_kill(calls: Calls) -> None:
    async def together() -> tuple[list[httpx.Response], httpx.Response, int]:
        waiting = [asyncio.create_task(calls.get(10)) for _ in range(10)]
        while sum(one.done() for one in waiting) < 10 - MOST:
            await asyncio.sleep(0.01)
        killed = await calls.kill()
        left = sum(not one.done() for one in waiting)
        return await asyncio.gather(*waiting), killed, left

    answers, killed, left = calls.api.all(together())[0]
    assert killed.json()["denied"] == [calls.order_id], killed.text
    assert left == MOST, "the kill was answered while as many as may were waiting"
    states = [(one.json()["waited"], one.json()["state"]) for one in answers]
    assert sorted(states) == [(False, "accepted")] * (10 - MOST) + [(True, "denied")] * MOST


def test_a_call_waits_over_the_states_that_say_nothing(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = calls.api.services.kept(OrderServices, lambda: OrderServices(calls.api.services)).waits
    seen: list[bool] = []
    check = waits._waits

    def checked(waits_for: Callable[[Cursor, UUID], bool], subject: UUID) -> bool:
        seen.append(check(waits_for, subject))
        return seen[-1]

    monkeypatch.setattr(waits, "_waits", checked)

    async def seen_twice(waiting: "asyncio.Task[httpx.Response]") -> None:
        """A look at the order that began after now is over, and the call waits still."""
        before = len(seen)
        while len(seen) < before + 2:
            assert not waiting.done()
            await asyncio.sleep(0.01)

    async def together() -> httpx.Response:
        waiting = asyncio.create_task(calls.get(10))
        for state in ("reserved", "sending"):
            await seen_twice(waiting)
            await asyncio.to_thread(calls.move, state)
        await seen_twice(waiting)
        await asyncio.to_thread(calls.move, "unknown")
        return await waiting

    answer = calls.api.all(together())[0]
    assert (answer.json()["waited"], answer.json()["state"]) == (True, "unknown")
    assert answer.headers["ETag"] == '"4"'


def test_when_the_time_is_over_the_order_is_told_as_it_is(calls: Calls) -> None:
    answers = calls.api.all(calls.get(0.2), calls.place(0.2))
    assert [(one.status_code, one.json()["waited"], one.json()["state"]) for one in answers] == [
        (200, True, "accepted"),
        (202, True, "accepted"),
    ]


def test_who_does_not_wait_is_told_nothing_of_it_and_an_order_that_is_over_is_told_at_once(calls: Calls) -> None:
    assert "waited" not in calls.api.get(f"{ORDERS}/{calls.order_id}", headers=calls.trader).json()
    calls.move("denied")
    answer = calls.api.all(calls.get(10))[0]
    assert (answer.json()["waited"], answer.json()["state"]) == (True, "denied")


@pytest.mark.parametrize("wait", ["-1", "10.1", "nan", "soon"])
def test_a_wait_that_makes_no_sense_is_named(calls: Calls, wait: str) -> None:
    answer = calls.api.get(f"{ORDERS}/{calls.order_id}?wait={wait}", headers=calls.trader)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "wait")


def test_all_instances_together_let_half_wait_and_without_redis_none(calls: Calls, redis_url: str) -> None:
    number = UUID(calls.order_id)

    async def waited(*caches: Cache) -> list[bool]:
        made = [OrderWaits(calls.db, cache, shared=True) for cache in caches]
        return list(await asyncio.gather(*(one.until_on_its_way(number, 0.5) for one in made)))

    caches = [Cache(redis_url) for _ in range(10)]
    try:
        for _ in range(2):  # the places are free again afterwards
            assert sorted(calls.api.all(waited(*caches))[0]) == [False] * (10 - MOST) + [True] * MOST
        assert calls.api.all(waited(Cache("")))[0] == [False]
    finally:
        for cache in caches:
            cache.close()
