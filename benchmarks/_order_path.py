"""Orders on their way from a caller to a simulated gateway, timed by one clock: the machine's monotonic one."""

import itertools
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx

from dev.api_client import Api, ApiError
from dev.order_desk import ORDERS, OrderDesk
from nautilus.clock import NS_PER_MS, NS_PER_S, parse_rfc3339

STOCKS = ("AAPL", "MSFT", "GOOGL", "AMZN", "TSLA", "NVDA", "QQQ", "TLT", "SPY", "IWM")
RAISED = {
    "quantity_shares": 100_000,
    "notional": None,
    "position": None,
    "gross_exposure": None,
    "gross_exposure_percent": None,
    "short": 1,
    "orders_per_second": None,
    "orders_per_minute": None,
    "orders_per_day": None,
    "account_orders_per_second": None,
    "order_ratio": None,
    "duplicate_window": None,
    "open_orders": None,
}
"""Limits of the account that would stop a caller of many orders."""
_ROUND_TRIPS = 30
_MOST_RESTING = 15
"""Orders of one contract that rest at once: IB, and the simulator, take 20."""


class Times(NamedTuple):
    """Of one order, in ms from the caller's POST. answered: the API's answer was read; wire: its bytes reached the gateway;
    acknowledged: IB's first message about it was committed."""

    answered: float
    wire: float
    acknowledged: float


class Placed(NamedTuple):
    """An order that was accepted, and when its POST began and was answered (monotonic, ns)."""

    id: str
    began: int
    answered: int


class OrderPath:
    """A trader with raised limits before a whole stack."""

    def __init__(self, desk: OrderDesk) -> None:
        self.desk = desk
        self.account = str(desk.trader.get(f"{ORDERS}/risk")["accounts"][0]["account"])
        self.limits(**RAISED)
        self.prices = {symbol: desk.price(symbol, "0.6") for symbol in STOCKS}
        self._symbols = itertools.cycle(STOCKS)
        self._market_ns, self._wall_ns = self._offsets()

    def limits(self, **values: int | None) -> None:
        for name, value in values.items():
            self.desk.chief.put(f"{ORDERS}/risk/limits", {"account": self.account, "name": name, "value": value})

    def _offsets(self) -> tuple[int, int]:
        """What to take from market time and from wall time to have monotonic time, ns: of the shortest of many round trips."""
        best, market = NS_PER_S, 0
        for _ in range(_ROUND_TRIPS):
            sent = time.monotonic_ns()
            now = int(self.desk.simulator("clock")["now_ns"])
            back = time.monotonic_ns()
            if back - sent < best:
                best, market = back - sent, now - (sent + back) // 2
        return market, time.time_ns() - time.monotonic_ns()

    # ---- placing -----------------------------------------------------------------------------------------------------

    def body(self, symbol: str, **changes: Any) -> dict[str, Any]:
        """An order that rests far below the market."""
        given = {"symbol": symbol, "side": "BUY", "type": "LMT", "quantity": 1, "limit_price": self.prices[symbol]}
        return {**given, **changes}

    def place(self, api: Api, body: dict[str, Any]) -> Placed:
        began = time.monotonic_ns()
        order = api.post(ORDERS, body, headers={"Idempotency-Key": str(uuid4())})
        return Placed(order["id"], began, time.monotonic_ns())

    def one_by_one(self, count: int) -> list[Times]:
        """Orders each of which is placed when IB has named the one before."""
        since, placed = int(self.desk.simulator("clock")["now_ns"]), list[Placed]()
        acknowledged: dict[str, int] = {}
        for number in range(count):
            if number % (_MOST_RESTING * len(STOCKS)) == 0:
                self.cancel_all()
            one = self.place(self.desk.trader, self.body(next(self._symbols)))
            placed.append(one)
            order = self.desk.trader.get(f"{ORDERS}/{one.id}", wait=10)
            acknowledged[one.id] = parse_rfc3339(order["times"]["acknowledged"]) - self._wall_ns
        wire = self.received(since)
        self.cancel_all()
        return [
            Times(*((at - one.began) / NS_PER_MS for at in (one.answered, wire[one.id][0], acknowledged[one.id])))
            for one in placed
        ]

    def until_received(self, count: int) -> None:
        """Orders each of which is placed when the gateway has the one before: nobody asks the API meanwhile."""
        since = int(self.desk.simulator("clock")["now_ns"])
        for _ in range(count):
            one = self.place(self.desk.trader, self.body(next(self._symbols)))
            self.desk.wait(lambda: one.id in self.received(since), "the gateway has it")  # noqa: B023

    def at_once(self, bodies: Sequence[dict[str, Any]], callers: int) -> Iterator[tuple[Placed | None, float, str]]:
        """Bodies placed by so many callers at the same time: (what was placed, seconds that the answer took, code of a
        refusal)."""
        ready = threading.Barrier(callers)
        apis = [self.desk.trader.another() for _ in range(callers)]

        def work(number: int) -> list[tuple[Placed | None, float, str]]:
            ready.wait()
            return [self.tried(apis[number], body) for body in bodies[number::callers]]

        with ThreadPoolExecutor(callers) as pool:
            for found in list(pool.map(work, range(callers))):
                yield from found
        for api in apis:
            api.close()

    def tried(self, api: Api, body: dict[str, Any]) -> tuple[Placed | None, float, str]:
        began = time.monotonic()
        try:
            return self.place(api, body), time.monotonic() - began, ""
        except ApiError as error:
            codes = [one["code"] for one in error.answer.get("checks", ())] or [error.answer.get("code", str(error))]
            return None, time.monotonic() - began, "+".join(map(str, codes))
        except httpx.HTTPError as error:
            return None, time.monotonic() - began, type(error).__name__

    def cancel_all(self) -> None:
        """Take everything back, and wait until IB has nothing."""
        self.desk.trader.delete(f"{ORDERS}?account={self.account}")
        self.desk.wait(lambda: not self.desk.trader.get(ORDERS, open="true")["orders"], "every order is over")

    # ---- what the gateway received -----------------------------------------------------------------------------------

    def received(self, since_ns: int) -> dict[str, list[int]]:
        """Order -> when the gateway received it (monotonic, ns), changes of it too."""
        found: dict[str, list[int]] = {}
        for one in self.desk.simulator(f"received placeOrder 50000 {since_ns}")["received"]:
            found.setdefault(str(one["fields"]["orderRef"]), []).append(int(one["time_ns"]) - self._market_ns)
        return found

    def rate_errors(self, since_ns: int) -> int:
        """How often the gateway answered that messages come too fast (100)."""
        log = self.desk.simulator(f"received error 50000 {since_ns}")["received"]
        return sum(int(one["fields"].get("code", 0)) == 100 for one in log)


def cpu_ms(pid: int) -> float:
    """Time of the processor that a process and its children have taken."""
    fields = {name: text.rpartition(")")[2].split() for name, text in _stats()}
    mine = [one for name, one in fields.items() if str(pid) in (name, one[1])]
    return sum(int(one[11]) + int(one[12]) for one in mine) * 1000 / os.sysconf("SC_CLK_TCK")


def _stats() -> Iterator[tuple[str, str]]:
    """Process id and what the kernel says of it, of each process that still runs."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            yield path.parent.name, path.read_text()


def most_in_a_second(times: Sequence[int]) -> int:
    """The most of these times (ns) that lie within one second."""
    ordered = sorted(times)
    return max((sum(at <= one < at + NS_PER_S for one in ordered) for at in ordered), default=0)


def share_of(values: Sequence[float], share: float) -> float:
    """The value below which such a share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
