"""The routes of orders before the order process of an `OrderStack`, with their callers: one database, one market time."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

import functions.orders.app
from nautilus.auth import api_keys
from nautilus.db.auth import api_keys as keys
from nautilus.db.auth import users
from nautilus.market.instrument import Instrument
from tests.support.order_ledger import GENEROUS
from tests.support.order_process import OrderStack
from tests.support.stored_bars import Api, StoredBars

ORDERS = "/api/v1/orders"


class OrderApi:
    """One function, or `another()` beside it; a trader of the stack's account, a reader and an administrator."""

    def __init__(self, stack: OrderStack, stored: StoredBars, folder: Path, **settings: Any) -> None:
        self.stack = stack
        self._stored = stored
        self._folder = folder
        self._settings = settings
        self.api = self.another()
        self.trader = self.user(7, "orders:read", "orders:write")
        self.chief = stored.user(1, "admin")

    def another(self, **settings: Any) -> Api:
        """The same function once more: an app with connections of its own."""
        return self._stored.api(self._folder, router=functions.orders.app.router, **{**self._settings, **settings})

    def user(self, number: int, *scopes: str, accounts: tuple[str, ...] = ()) -> dict[str, str]:
        """Headers of a user who may use these accounts; none: the stack's."""
        return self._stored.user(number, *scopes, accounts=accounts or (self.stack.account,))

    def injected_key(self, *scopes: str) -> dict[str, str]:
        """The header that a proxy before the API adds to each request, whoever sends it."""
        made = api_keys.new_key()
        with self.stack.db.transaction() as cursor:
            user = users.put(cursor, "proxy", "no password", scopes, accounts=[self.stack.account])
            keys.create(
                cursor,
                user_id=user,
                name="proxy",
                prefix=made.prefix,
                secret_hash=made.hash,
                scopes=scopes,
                expires_at=None,
            )
        return {"X-API-Key": made.text}

    def keep_time(self) -> None:
        """The functions' market time is the simulator's now, as a bridge would tell it."""
        self._stored.set_time(self.stack.market_ns())

    def limits(self, **values: Decimal | int | str | None) -> None:
        """Limits that an administrator sets for all accounts; the others let everything pass."""
        with self.stack.db.transaction() as cursor:
            for name, value in {**GENEROUS, **values}.items():
                cursor.execute(
                    "INSERT INTO risk_limits (account, name, value, set_by) VALUES ('*', %s, %s, 'test')"
                    " ON CONFLICT (account, name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )

    # ---- requests ----------------------------------------------------------------------------------------------------

    @staticmethod
    def body(instrument: Instrument, **changes: Any) -> dict[str, Any]:
        """An order to buy ten at 280, valid for an hour, unless told otherwise."""
        given = {"con_id": instrument.con_id, "side": "BUY", "type": "LMT", "quantity": 10, "limit_price": "280.00"}
        return {**given, "valid_for_s": 3600, **changes}

    def keyed(self, key: str | None = None, headers: dict[str, str] | None = None) -> dict[str, str]:
        return {"Idempotency-Key": key or str(uuid4()), **(headers or self.trader)}

    def place(
        self, key: str | None = None, headers: dict[str, str] | None = None, wait: float = 0, **changes: Any
    ) -> httpx.Response:
        self.keep_time()
        body = self.body(self.stack.instrument, **changes)
        path = f"{ORDERS}?wait={wait}" if wait else ORDERS
        return self.api.request("POST", path, json=body, headers=self.keyed(key, headers))

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.api.get(f"{ORDERS}{path}", headers=self.trader, params=query)

    def cancel(self, order_id: object) -> httpx.Response:
        return self.api.request("DELETE", f"{ORDERS}/{order_id}", headers=self.trader)

    def kill(self, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        given = {"reason": "a test", **body}
        return self.api.request("POST", f"{ORDERS}/kill", headers=headers or self.trader, json=given)

    def resume(self) -> httpx.Response:
        given = {"reason": "the test goes on", "accounts": [self.stack.account]}
        return self.api.request("POST", f"{ORDERS}/resume", headers=self.chief, json=given)

    def risk(self) -> dict[str, Any]:
        """What the API says about the account, and the uses of the kill switch."""
        report = self.get("/risk").json()
        (account,) = [one for one in report["accounts"] if one["account"] == self.stack.account]
        return {**account, "kills": report["kills"]}


@contextmanager
def order_api(stack: OrderStack, folder: Path, **settings: Any) -> Iterator[OrderApi]:
    """The routes over the database of a stack whose order process has connected."""
    stored = StoredBars(stack.dsn, stack.market_ns())
    try:
        made = OrderApi(stack, stored, folder, **settings)
        made.limits()
        yield made
    finally:
        stored.close()
