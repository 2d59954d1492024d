"""An opponent of the simulator's orders: random steps of a client (ib_insync), a person in TWS and the control port, and what
has to be true whatever they do."""

import asyncio
import pickle
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ib_insync

from ib_gateway_sim.account.portfolio import START_CASH
from ib_gateway_sim.control.port import Control
from ib_gateway_sim.orders.order import DONE, LOCATE, Execution, Order
from ib_gateway_sim.session.gateway import Gateway

AAPL = ib_insync.Stock("AAPL", "SMART", "USD")
ACCOUNTS = ("SIM7", "SIM7001")
FAULTS = (
    *["bust_execution last silent; fill_now last 1", "fill_now last 1; bust_execution last silent; fill_now last 1"]
    * 2,
    *("fill_now last", "fill_now last 3", "fill_now last 1 250", "fill_plan next 5@0,7@3", "fill_plan next 10@40"),
    *("fill_after_cancel next late 2", "fill_after_cancel next overtakes", "locate 20", "precaution", "click"),
    *("bust_execution last", "bust_execution last silent", "correct last 250", "correct last 251 2"),
    *("commission_delay 10", "commission_delay 0", "commission_first", "eat_order", "reject_order 201 no inactive"),
    *("reject_order 201 no cancelled", "reject_order 201 no", "margin 5", "margin 1", "halt AAPL 10", "preset tif GTC"),
    *("preset tif off", "manual_order BUY 20 AAPL", "manual_order SELL 20 AAPL 100", "manual_order BUY 9 AAPL 100"),
    *("manual_fill last 2", "manual_cancel last", "twin last", "latency 2000", "latency none", "ack_lose", "clear"),
    *("lost", "lost work", "lost work none", "lost lose", "restored", "restored lost", "restored", "restored"),
    *(
        "lost hold none",
        "ack_delay 3",
        "ack_delay 0",
        "commission_delay never",
        "reset_window 5",
        "ids_reset",
        "fill_now last",
    ),
    *("halt AAPL 0", "manual_fill last", "click last", "latency measured", "slow 3", "twin last", "correct last 240 1"),
    *("status_duplicate", "status_skip", "shuffle", "ids_rollback 1", "deposit 50", "reject_next placeOrder 201 no"),
)


class Opponent:
    def __init__(self, sim: Gateway, control: Control, seed: int, folder: Path) -> None:
        self.sim, self.control, self.random, self.folder = sim, control, random.Random(seed), folder
        self.ib = ib_insync.IB()
        self.orders: list[ib_insync.Order] = []
        self.steps: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.paid: Counter[str] = Counter()

    # ---- steps -------------------------------------------------------------------------------------------------------
    async def play(self, count: int) -> None:
        await self.connect()
        for _ in range(count):
            step = self.random.choices(*zip(*self.moves(), strict=True))[0]
            self.steps.append(step.__name__)
            await step()
            await self.settle()
            check(self)
        await self.command("clear")
        await self.command("advance 30")
        await self.settle()
        check(self)
        await self.check_answers()

    def moves(self) -> list[tuple[Callable[[], Any], int]]:
        return [
            *(
                (self.place, 12),
                (self.bracket, 2),
                (self.change, 6),
                (self.cancel, 5),
                (self.cancel_all, 1),
                (self.cancel_late, 1),
            ),
            *((self.fault, 16), (self.wait, 8), (self.reconnect, 1), (self.restart, 1), (self.save_and_load, 1)),
        ]

    @property
    def corrected(self) -> bool:
        return any(step.startswith(("bust_execution", "correct")) for step in self.steps)

    async def command(self, line: str) -> dict[str, Any]:
        self.steps.append(line)
        answer = await self.control.run(line)
        if answer["ok"] and line.startswith("deposit"):
            self.paid["SIM7"] += 50
        return answer

    async def connect(self) -> None:
        self.ib = ib_insync.IB()
        await self.ib.connectAsync("127.0.0.1", self.sim.port, clientId=1, timeout=10)
        self.orders = [trade.order for trade in self.ib.openTrades() if trade.order.orderId > 0]

    async def settle(self) -> None:
        """Until all that was sent is worked, as far as it can be."""
        for _ in range(2):
            await asyncio.wait_for(self.ib.reqCurrentTimeAsync(), 20)
        self.sent += [entry for entry in self.sim.sent.entries() if entry["kind"] in ("orderStatus", "execDetails")]
        self.sim.sent.kinds.clear()

    def send(self, order: ib_insync.Order) -> None:
        """ib_insync does not believe that an order can be placed that it takes for over."""
        try:
            self.ib.placeOrder(AAPL, order)
        except AssertionError:
            return

    def new(self, **fields: Any) -> ib_insync.Order:
        draw = self.random
        kind = draw.choice(["MKT", "LMT", "LMT", "LMT", "STP", "TRAIL", "MIT"])
        made = ib_insync.Order(
            orderId=self.ib.client.getReqId(),
            action=draw.choice(["BUY", "BUY", "SELL"]),
            totalQuantity=draw.choice([1, 5, 10, 100, 700]),
            orderType=kind,
            tif=draw.choice(["DAY", "GTC", "DAY", "IOC"]) if kind in ("LMT", "MKT") else "GTC",
            account=draw.choice(ACCOUNTS),
            transmit=draw.random() < 0.9,
        )
        if kind == "LMT":
            made.lmtPrice = draw.choice([100.0, 280.0, 300.0, 500.0])
        elif kind != "MKT":
            made.auxPrice = draw.choice([1.0, 100.0, 290.0, 300.0, 500.0])
        if draw.random() < 0.5:
            made.ocaGroup, made.ocaType = draw.choice("ab"), draw.choice([1, 2, 3])
        for name, value in fields.items():
            setattr(made, name, value)
        self.orders.append(made)
        return made

    async def place(self) -> None:
        self.send(self.new())

    async def bracket(self) -> None:
        parent = self.new(
            transmit=False, ocaGroup="", orderType="LMT", lmtPrice=self.random.choice([100.0, 500.0]), tif="GTC"
        )
        other = {"BUY": "SELL", "SELL": "BUY"}[parent.action]
        for order in (
            parent,
            self.new(parentId=parent.orderId, action=other, transmit=False, ocaGroup=""),
            self.new(parentId=parent.orderId, action=other, transmit=True, ocaGroup=""),
        ):
            order.account, order.totalQuantity = parent.account, parent.totalQuantity
            self.send(order)

    async def change(self) -> None:
        if self.orders:
            order = self.random.choice(self.orders[-6:])
            order.totalQuantity = self.random.choice([1, 3, 10, 200])
            order.transmit = True
            if order.orderType == "LMT":
                order.lmtPrice = self.random.choice([100.0, 300.0, 500.0])
            self.send(order)

    async def cancel(self) -> None:
        if self.orders:
            self.ib.cancelOrder(self.random.choice(self.orders[-6:]))

    async def cancel_all(self) -> None:
        self.ib.reqGlobalCancel()

    async def cancel_late(self) -> None:
        """The end of an order comes while the words of its beginning are on their way."""
        await self.command("ack_delay 3")
        await self.place()
        await self.settle()
        await self.command("ack_delay 0")
        await self.cancel_all()
        await self.settle()
        await self.command("advance 4")

    async def fault(self) -> None:
        """One, or several in one moment."""
        for line in self.random.choice(FAULTS).split("; "):
            await self.command(line)

    async def wait(self) -> None:
        await self.command(f"advance {self.random.choice([0.5, 1, 1, 5, 30])}")

    async def reconnect(self) -> None:
        """The client goes with its messages still on the way."""
        await self.place()
        self.ib.disconnect()
        while self.sim.clients:
            await asyncio.sleep(0)
        await self.connect()

    async def restart(self) -> None:
        await self.place()
        await self.command("restart 1")
        self.ib.disconnect()
        while self.sim.clients:
            await asyncio.sleep(0)
        await self.command("advance 2")
        await self.connect()

    async def save_and_load(self) -> None:
        path = self.folder / "state"
        await self.command("latency none")
        await self.settle()
        before = pickle.loads(pickle.dumps((known(self.sim), self.sim.portfolios)))
        assert (await self.command(f"orders_save {path}"))["ok"]
        assert (await self.command(f"orders_load {path}"))["ok"]
        assert (known(self.sim), self.sim.portfolios) == before, "saved and loaded state are equal"

    # ---- at the end --------------------------------------------------------------------------------------------------
    async def check_answers(self) -> None:
        """What a client finds out by asking is what the accounts own."""
        fills = await self.ib.reqExecutionsAsync()
        shares: defaultdict[str, float] = defaultdict(float)
        newest = {each.execution.execId.rpartition(".")[0]: each.execution for each in sorted(fills, key=_revision)}
        for each in newest.values():
            shares[each.acctNumber] += each.shares if each.side == "BOT" else -each.shares
        held = {each.account: each.position for each in await self.ib.reqPositionsAsync()}
        assert {name: amount for name, amount in shares.items() if amount} == held


def _revision(fill: ib_insync.Fill) -> str:
    return fill.execution.execId


def known(sim: Gateway) -> dict[int, Order]:
    """permId -> order, of those that IB has."""
    return {each.perm_id: each for each in sim.orders.every() if each.transmitted}


# ---- what has to be true ---------------------------------------------------------------------------------------------
def check(opponent: Opponent) -> None:
    sim = opponent.sim
    for law in (
        orders_are_whole,
        accounts_are_the_sum_of_executions,
        ids_are_given_once,
        words_end_with_the_end,
        nothing_failed,
    ):
        problem = law(sim, opponent)
        assert not problem, f"{law.__name__}: {problem}, after {opponent.steps[-12:]}"


def newest(sim: Gateway) -> list[Execution]:
    return list({made.key: made for made in sim.orders.executions}.values())


def orders_are_whole(sim: Gateway, opponent: Opponent) -> Any:
    filled: defaultdict[int, float] = defaultdict(float)
    for made in newest(sim):
        filled[made.order.perm_id] += made.shares
    for each in sim.orders.every():
        if each.filled != filled[each.perm_id] or each.filled > each.quantity:
            return each.perm_id, each.filled, filled[each.perm_id], each.quantity
        if each.open and not each.remaining:
            return "open with nothing left", each
        if each.why_held and each.status != "Inactive":
            return "held and not Inactive", each
        if each.status == "Filled" and each.remaining and not opponent.corrected:
            return "Filled with something left", each
        if any(made.at_s < each.placed_s for made in sim.orders.executions if made.order is each):
            return "filled before it was placed", each
    return None


def accounts_are_the_sum_of_executions(sim: Gateway, opponent: Opponent) -> Any:
    held: defaultdict[tuple[str, int], float] = defaultdict(float)
    cash = {name: START_CASH + opponent.paid[name] for name in sim.portfolios}
    for made in newest(sim):
        signed = made.shares if made.order.buys else -made.shares
        held[made.owner, made.order.contract.con_id] += signed
        cash[made.owner] -= signed * made.price + made.fee
    for name, owned in sim.portfolios.items():
        found = {(name, con_id): each.quantity for con_id, each in owned.positions.items() if each.quantity}
        if found != {key: amount for key, amount in held.items() if key[0] == name and amount}:
            return name, found, held
        if abs(owned.cash - cash[name]) > 0.01:
            return name, owned.cash, cash[name]
    return None


def ids_are_given_once(sim: Gateway, opponent: Opponent) -> Any:
    perm_ids = Counter(each.perm_id for each in sim.orders.every())
    made = Counter(each.exec_id for each in sim.orders.executions)
    sent = Counter(
        entry["fields"][14] for entry in opponent.sent if entry["kind"] == "execDetails" and entry["fields"][1] == "-1"
    )
    return [(name, count) for ids in (perm_ids, made, sent) for name, count in ids.items() if count > 1]


def words_end_with_the_end(sim: Gateway, opponent: Opponent) -> Any:
    """No status follows a final one."""
    ended: dict[str, str] = {}
    for entry in opponent.sent:
        fields = entry["fields"]
        if entry["kind"] != "orderStatus":
            continue
        status, perm_id, held = fields[2], fields[6], fields[10]
        if ended.get(perm_id, status) != status:
            return perm_id, ended[perm_id], status
        if status in DONE and held != LOCATE:
            ended[perm_id] = status
    return None


def nothing_failed(sim: Gateway, _: Opponent) -> Any:
    return [each["fields"] for each in sim.received if "simulator failed" in str(each["fields"].get("text"))]
