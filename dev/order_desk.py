"""A trader and an administrator before a stack with a simulated market: they place orders, and each step is a line to read."""

import secrets
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

from dev.admin import make_admin
from dev.api_client import Api, ApiError
from dev.simulator import command
from dev.stack import USERNAME, Stack
from dev.up import open_hour, say
from nautilus.clock import NS_PER_S, datetime_of, parse_rfc3339

ORDERS = "/api/v1/orders"
ADMIN = "admin"
PATIENCE_S = 120.0
_CENT = Decimal("0.01")


class OrderDesk:
    """The API as these two use it, what the simulator received, and lines with the market's time."""

    def __init__(self, stack: Stack) -> None:
        if stack.control_port is None:
            raise ValueError("orders are shown with a simulated market alone")
        self.stack = stack
        self._control = stack.control_port
        self.trader, self.chief = Api(stack.url), Api(stack.url)
        password = secrets.token_urlsafe(18)
        make_admin(stack.postgres.dsn(), ADMIN, password)
        self.trader.sign_in(USERNAME, stack.password)
        self.chief.sign_in(ADMIN, password)

    def close(self) -> None:
        self.trader.close()
        self.chief.close()

    # ---- the reader --------------------------------------------------------------------------------------------------

    def line(self, who: str, what: str) -> None:
        """What somebody did, and why, with the market's time in UTC."""
        say(f"  {self.now():%H:%M:%S}  {who:<14} {what}")

    def now(self) -> Any:
        return datetime_of(int(self.simulator("clock")["now_ns"]))

    # ---- the simulator -----------------------------------------------------------------------------------------------

    def simulator(self, words: str) -> dict[str, Any]:
        return command(self._control, words)

    def open_market(self) -> None:
        """Move the market's clock into the next hour in which New York trades."""
        self.simulator(f"set_clock {open_hour(self.now()):%Y-%m-%dT%H:%M:%SZ}")
        known = lambda: abs(self._api_clock_s() - self.now().timestamp()) < 5  # noqa: E731
        self.wait(known, "the API knows the market's time")

    def _api_clock_s(self) -> float:
        return parse_rfc3339(self.trader.get("/api/v1/ib/session")["market_time"] or "1970-01-01T00:00:00Z") / NS_PER_S

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

    @staticmethod
    def wait(true: Callable[[], Any], what: str) -> None:
        """Wait until something is so. TimeoutError says what never was."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {PATIENCE_S:g} s still not: {what}")
            time.sleep(0.05)


def refusals(checks: Sequence[dict[str, Any]]) -> str:
    """Checks that denied an order, in a line."""
    return "; ".join(f"{one['code']} (check {one['check']}): {one['detail']}" for one in checks)


def terms(order: dict[str, Any]) -> str:
    """What an order asks for, in a few words."""
    wanted = order["prices"]["wanted"]
    prices = [f"{name} {wanted[name]}" for name in ("limit", "stop") if wanted[name] is not None]
    return " ".join([order["side"], order["quantity"], order["instrument"]["symbol"], order["type"], *prices])
