"""A signed-in caller before a stack with a simulated market, who says what he does, a line for each step."""

import time
from collections.abc import Callable
from typing import Any

from dev.api_client import Api
from dev.simulator import command
from dev.stack import USERNAME, Stack
from dev.up import open_hour, say
from nautilus.clock import NS_PER_S, datetime_of, parse_rfc3339

PATIENCE_S = 120.0


class MarketDesk:
    """The API as the user of a stack uses it, the simulator's clock, and lines with the market's time."""

    def __init__(self, stack: Stack) -> None:
        if stack.control_port is None:
            raise ValueError("a show needs a simulated market")
        self.stack = stack
        self._control = stack.control_port
        self.trader = Api(stack.url)
        self.trader.sign_in(USERNAME, stack.password)

    def close(self) -> None:
        self.trader.close()

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

    @staticmethod
    def wait(true: Callable[[], Any], what: str) -> None:
        """Wait until something is so. TimeoutError says what never was."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {PATIENCE_S:g} s still not: {what}")
            time.sleep(0.05)
