"""The API before an order process and a simulator: callers, contracts of other kinds than stocks, and limits."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

import functions.orders.app
from dev.process import Group
from ib_bridge.ib import translate
from ib_bridge.ib.client import Contract, new_client
from nautilus.db.market import instruments
from nautilus.market.instrument import Instrument
from tests.support.order_process import OrderStack, order_stack
from tests.support.stored_bars import Api, StoredBars

ORDERS = "/api/v1/orders"
ES = {"secType": "FUT", "symbol": "ES", "exchange": "CME", "currency": "USD", "lastTradeDateOrContractMonth": "202606"}
ES_PRICE = 6250.0
"""Near what the simulator has at the time at which these tests begin."""
_CLIENT = 98


async def _describe(port: int, words: dict[str, str]) -> tuple[Instrument, dict[str, Any]]:
    ib = new_client()
    await ib.client.connectAsync("127.0.0.1", port, _CLIENT, 10)
    try:
        (details,) = await asyncio.wait_for(ib.reqContractDetailsAsync(Contract(**words)), 10)
        return translate.instrument(details)
    finally:
        ib.client.disconnect()


class OrderDeskStack:
    """What callers do by HTTP, with a process and a gateway behind it."""

    def __init__(self, stack: OrderStack, stored: StoredBars, folder: Path) -> None:
        self.stack = stack
        self.stored = stored
        stack.instrument = stack.learn("AAPL")  # described on this day of market time
        self.api: Api = stored.api(folder, router=functions.orders.app.router)
        self.trader = stored.user(7, "orders:read", "orders:write", accounts=[stack.account])
        self.chief = stored.user(1, "admin")

    def learn(self, words: dict[str, str], price: float) -> Instrument:
        """Store a contract as the bridge would, and a quote of it."""
        instrument, details = asyncio.run(_describe(self.stack.sim.port, words))
        with self.stack.db.transaction() as cursor:
            instruments.store(cursor, instrument, details)
        self.stack.quote(instrument, price)
        return instrument

    def wait_for_values(self) -> None:
        """Until the account's values and positions are known, which checks need."""
        known = (
            "SELECT 1 FROM account_values v JOIN accounts a USING (account) WHERE v.tag = 'GrossPositionValue'"
            " AND a.opened_at IS NOT NULL AND a.net_liquidation IS NOT NULL AND EXISTS"
            " (SELECT 1 FROM account_values WHERE tag = 'DailyPnL')"
        )
        self.stack.wait(lambda: self.stack.rows(known), "the account's values are known", tell=self.stack.log)

    def limit(self, name: str, value: int | None) -> None:
        body = {"name": name, "value": value}
        answer = self.api.request("PUT", f"{ORDERS}/risk/limits", json=body, headers=self.chief)
        assert answer.status_code == 200, answer.text

    def post(self, path: str = "", **body: Any) -> httpx.Response:
        given = {"side": "BUY", "type": "LMT", "quantity": 1, "valid_for_s": 3600, **body}
        headers = {**self.trader, "Idempotency-Key": str(uuid4())}
        return self.api.request("POST", f"{ORDERS}{path}", json=given, headers=headers)

    def placed(self, **body: Any) -> UUID:
        answer = self.post(**body)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])

    def preview(self, **body: Any) -> dict[str, Any]:
        answer = self.post("/preview", **body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def questions(self) -> list[bool]:
        """Of each placeOrder that reached the gateway, in order: whether it was a what-if order."""
        return [bool(one["fields"]["whatIf"]) for one in self.stack.received("placeOrder")]


@contextmanager
def order_desk(
    group: Group, folder: Path, dsn: str, *options: str, settings: dict[str, str] | None = None
) -> Iterator[OrderDeskStack]:
    """A stack whose process is ready unless `settings` is None."""
    with order_stack(group, folder, dsn, *options, settings=settings) as stack:
        stored = StoredBars(dsn, stack.market_ns())
        try:
            made = OrderDeskStack(stack, stored, folder)
            if settings is not None:
                made.wait_for_values()
            yield made
        finally:
            stored.close()
