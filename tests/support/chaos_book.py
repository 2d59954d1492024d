"""The simulator's own book and log, as evidence: what IB has, whatever anybody here believes.

The book is read from the file of `orders_save`, the frames from the log of what the gateway received.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.orders.saving import read
from tests.support.sim_process import Simulator

CLIENT = 5


class Frame(NamedTuple):
    """A message that the gateway read. at_ns: market time. number: in the order of all."""

    number: int
    at_ns: int
    order_id: int
    ref: str
    transmit: bool


class Book:
    """What IB has. received: the whole log, oldest first."""

    def __init__(self, state: Mapping[str, Any], received: Sequence[Mapping[str, Any]]) -> None:
        self.orders: list[Order] = state["orders"].every()
        self.executions: list[Execution] = state["orders"].executions
        self.positions: dict[tuple[str, int], float] = {
            (account, con_id): held.quantity
            for account, portfolio in state["portfolios"].items()
            for con_id, held in portfolio.positions.items()
            if held.quantity
        }
        self.placed: list[Frame] = []
        self.cancelled: list[Frame] = []
        self.errors: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
        """Order id -> (at_ns, code, text) of what clients were sent."""
        self.faults: dict[int, list[tuple[int, str]]] = defaultdict(list)
        """Order id -> (at_ns, fault that the order met)."""
        for number, entry in enumerate(received):
            if entry["client_id"] == CLIENT:
                self._take(number, entry["kind"], entry["time_ns"], entry["fields"])
        self._by_ref: dict[str, list[Order]] = defaultdict(list)
        for order in self.orders:
            self._by_ref[order.reference].append(order)
        self._frames: dict[str, list[Frame]] = defaultdict(list)
        for frame in self.placed:
            self._frames[frame.ref].append(frame)

    def _take(self, number: int, kind: str, at_ns: int, fields: Mapping[str, Any]) -> None:
        if kind == "placeOrder" and not fields.get("whatIf"):
            ref, transmit = str(fields.get("orderRef") or ""), bool(fields.get("transmit"))
            self.placed.append(Frame(number, at_ns, int(fields["orderId"]), ref, transmit))
        elif kind == "cancelOrder":
            self.cancelled.append(Frame(number, at_ns, int(fields["orderId"]), "", True))
        elif kind == "error":
            self.errors[int(fields["reqId"])].append((at_ns, int(fields["code"]), str(fields["text"])))
        elif kind == "fault":
            self.faults[int(fields["orderId"])].append((at_ns, str(fields["fault"])))

    def of(self, ref: str) -> list[Order]:
        """The orders of a reference; one, unless something is wrong."""
        return self._by_ref.get(ref, [])

    def frames(self, ref: str) -> list[Frame]:
        """The placeOrder messages with a reference, in their order: the order, and changes of it."""
        return self._frames.get(ref, [])

    def newest_executions(self) -> dict[tuple[str, str], Execution]:
        """(account, execution without its revision) -> its newest revision."""
        found: dict[tuple[str, str], Execution] = {}
        for made in self.executions:
            known = found.get((made.owner, made.key))
            if known is None or made.exec_id > known.exec_id:
                found[made.owner, made.key] = made
        return found


def executions_of(sim: Simulator, folder: Path) -> list[Execution]:
    """Every revision of every execution that IB has, in the order in which they came."""
    path = folder / "executions-now"
    sim.command(f"orders_save {path}")
    found: list[Execution] = read(path, str(sim.ready["account"]))["orders"].executions
    return found


def orders_of(sim: Simulator, folder: Path) -> list[Order]:
    """All orders that the simulator has now."""
    path = folder / "orders-now"
    sim.command(f"orders_save {path}")
    found: list[Order] = read(path, str(sim.ready["account"]))["orders"].every()
    return found


def book_of(sim: Simulator, folder: Path) -> Book:
    """What the simulator has now."""
    path = folder / "book"
    sim.command(f"orders_save {path}")
    received = sim.command("received all 50000")
    assert received["count"] < 50_000, "the log is full: its oldest entries are gone"
    return Book(read(path, str(sim.ready["account"])), received["received"])
