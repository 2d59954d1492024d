"""A trader and an administrator before a stack with a simulated market: they place orders, and each step is a line to read."""

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

from dev.admin import make_admin
from dev.api_client import Api, ApiError
from dev.market_desk import MarketDesk
from dev.stack import Stack

ORDERS = "/api/v1/orders"
ADMIN = "admin"
_CENT = Decimal("0.01")


class OrderDesk(MarketDesk):
    """The API as these two use it, and what the simulator received."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.chief = Api(stack.url)
        password = secrets.token_urlsafe(18)
        make_admin(stack.postgres.dsn(), ADMIN, password)
        self.chief.sign_in(ADMIN, password)

    def close(self) -> None:
        super().close()
        self.chief.close()

    def received(self, *orders: str) -> int:
        """How often IB received one of these orders, changes of it included."""
        log = self.simulator("received placeOrder 50000 0 5")["received"]
        return sum(str(one["fields"]["orderRef"]) in orders for one in log)

    # ---- orders ------------------------------------------------------------------------------------------------------

    def price(self, symbol: str, share: str = "1") -> str:
        """So much of the newest price (`1.02`: two percent above), in cents, as a body wants it."""
        self.trader.post("/api/v1/market-data/live", {"wants": [{"symbol": symbol, "kind": "quotes", "lease_s": 600}]})
        self.wait(lambda: self._last(symbol) is not None, f"{symbol} has a quote")
        return str((Decimal(str(self._last(symbol))) * Decimal(share)).quantize(_CENT))

    def _last(self, symbol: str) -> float | None:
        (found,) = self.trader.get("/api/v1/market-data/quotes", symbols=symbol)["quotes"]
        last: float | None = (found["quote"] or {}).get("last")
        return last

    def place(self, **body: Any) -> dict[str, Any]:
        """Place an order. ApiError, with the checks in its `answer`, when it is denied."""
        return self.trader.post(ORDERS, body, headers={"Idempotency-Key": str(uuid4())})

    def order(self, order_id: str) -> dict[str, Any]:
        return self.trader.get(f"{ORDERS}/{order_id}")

    def until(self, order_id: str, *states: str) -> dict[str, Any]:
        """The order when it has come to one of these states."""
        self.wait(lambda: self.order(order_id)["state"] in states, f"the order is {' or '.join(states)}")
        return self.order(order_id)

    def refusal(self, **body: Any) -> str:
        """Why an order is denied: each check by its code and number, and what it says. AssertionError when it is not."""
        try:
            self.place(**body)
        except ApiError as error:
            return refusals(error.answer["checks"])
        raise AssertionError("the order was not denied")

    def until_ready(self) -> None:
        """Wait until the order process sends orders."""
        self.wait(lambda: self.process()["state"] == "ready", "the order process is ready")

    def process(self) -> dict[str, Any]:
        """How the order process stands."""
        found: dict[str, Any] = self.trader.get(f"{ORDERS}/risk")["order_process"] or {"state": ""}
        return found


def refusals(checks: Sequence[dict[str, Any]]) -> str:
    """Checks that denied an order, in a line."""
    return "; ".join(f"{one['code']} (check {one['check']}): {one['detail']}" for one in checks)


def terms(order: dict[str, Any]) -> str:
    """What an order asks for, in a few words."""
    wanted = order["prices"]["wanted"]
    prices = [f"{name} {wanted[name]}" for name in ("limit", "stop") if wanted[name] is not None]
    return " ".join([order["side"], order["quantity"], order["instrument"]["symbol"], order["type"], *prices])
