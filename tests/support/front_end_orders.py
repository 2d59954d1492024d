"""The routes of orders that the old front end calls, over a real database, with an account that may trade."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

import functions.orders.app
from nautilus.db.market import instruments
from nautilus.db.orders import orders
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.market.symbols import Selector
from nautilus.orders.prices import PRICE_STEPS, RULE
from tests.support.front_end_page import LIMIT
from tests.support.order_ledger import ACCOUNT, NOW, STOCK, furnish
from tests.support.stored_bars import Api, StoredBars

PAGE = "/api/v1/ib/orders"
SHARE = STOCK._replace(instrument_id="A.NASDAQ", primary_exchange="NASDAQ")
_DETAILS = {
    RULE: 26,
    PRICE_STEPS: {RULE: 26, "steps": [["0", "0.01"]]},
    "trading_hours": "20240108:0930-20240108:1600",
    "liquid_hours": "20240108:0930-20240108:1600",
}


class Page:
    """The API as the page sees it, behind a proxy that signs a trader in."""

    def __init__(self, stored: StoredBars, folder: Path, *, account: str = ACCOUNT, **settings: Any) -> None:
        self.stored = stored
        self.api: Api = stored.api(folder, router=functions.orders.app.router, **settings)
        self.trader = stored.user(7, "orders:read", "orders:write", accounts=[account])
        self.reader = stored.user(8, "orders:read", accounts=[account])
        self.stranger = stored.user(9, "orders:read", "orders:write", accounts=["SIM99"])
        self.chief = stored.user(1, "admin")

    def send(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        return self.api.request(method, f"{PAGE}{path}", headers=headers or self.trader, **options)

    def click(
        self, form: dict[str, Any] = LIMIT, headers: dict[str, str] | None = None, **changes: Any
    ) -> httpx.Response:
        """Place Order."""
        return self.send("POST", "/place", headers, json={**form, **changes})

    def clicks(self, count: int, form: dict[str, Any] = LIMIT) -> list[httpx.Response]:
        """Place Order, so many times at once."""
        post = self.api.client.post
        return self.api.all(*(post(f"{PAGE}/place", json=form, headers=self.trader) for _ in range(count)))

    def placed(self, form: dict[str, Any] = LIMIT, **changes: Any) -> str:
        answer = self.click(form, **changes)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["order_id"])

    def listed(self, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
        answer = self.send("GET", "", headers)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["orders"])

    def order(self, order_id: str) -> dict[str, Any]:
        """The order as our own routes have it."""
        return dict(self.api.get(f"/api/v1/orders/{order_id}", headers=self.trader).json())

    def shown(self, order_id: str) -> str:
        """How an order stands in the page's list."""
        return str(next(order["status"] for order in self.listed() if order["order_id"] == order_id))

    def moved(self, order_id: str, state: str, **changes: object) -> OrderRow:
        """The order after the order process, or IB, brought it to another state."""
        with self.stored.db.transaction() as cursor:
            row = orders.lock_with_book(cursor, UUID(order_id))
            assert row is not None
            return orders.update(cursor, row, {"state": state, **changes}, Event(state, "process", NOW))

    def count(self) -> int:
        return int(self.stored.rows("SELECT count(*) AS n FROM orders")[0].n)

    def later(self, seconds: float) -> None:
        """All orders came so much earlier."""
        self.stored.rows("UPDATE orders SET accepted_at = accepted_at - %s * interval '1 s'", seconds)


@contextmanager
def tradable(dsn: str) -> Iterator[StoredBars]:
    """A store in which the stock A may be traded by its symbol, with generous limits."""
    made = StoredBars(dsn, NOW)
    with made.db.transaction() as cursor:
        furnish(cursor)
        cursor.execute("DELETE FROM risk_limits WHERE name IN ('quantity_shares', 'short')")
        instruments.store(cursor, SHARE, _DETAILS)
        instruments.remember(cursor, Selector("STK", "A", "USD").key, [SHARE.con_id], keep_s=None)
    try:
        yield made
    finally:
        made.close()
