"""An opponent of live data: random requests, cancels, faults and steps of the clock, and a book of what may come.

Two clients keep their book by what they asked for and what they were told, never by a look into the simulator. After each
step the book is compared with what came and with what the simulator holds. AssertionError tells the seed and the last steps.
"""

import asyncio
import random
from typing import Any

from ib_gateway_sim.control.port import Control
from ib_gateway_sim.history.families import open_requests
from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.streams.families import no_line
from tests.support.sim_client import AAPL, EURUSD, MONDAY_NOON_NS, RawClient, gateway

CONTRACTS = {
    "AAPL": AAPL,
    "MSFT": ("0", "MSFT", *AAPL[2:]),
    "ES": ("0", "ES", "FUT", "202603", "0.0", "", "", "CME", "", "USD", "", ""),
    "EUR/USD": EURUSD,
    "SPX": ("0", "SPX", "IND", "", "0.0", "", "", "CBOE", "", "USD", "", ""),
    "NOPERM": ("0", "NOPERM", *AAPL[2:]),
}
UNUSED = ("0", "QQQ", *AAPL[2:])
FIRST_ID = {"quotes": 0, "bars": 100, "keep": 200, "ticks": 300, "depth": 400}
IDS_OF_A_KIND = 4
PLACE_OF_ID = {  # message of a stream -> where its request id stands
    **dict.fromkeys(("1", "2", "12", "13", "45", "46", "50", "58"), 2),
    **dict.fromkeys(("21", "81", "90", "99"), 1),
}
DUPLICATES = {(102, "Duplicate"), (386, "Duplicate"), (322, "uplicate")}
NOTICES = {10090, 10091, 10167}  # the stream lives
SECONDS = {"5 secs": 5, "1 min": 60, "1 hour": 3600}
QUIET_ROUNDS = 4  # so that an answer which is being made has come
NOON_NS = MONDAY_NOON_NS
MINUTE_NS = 60 * 10**9
STARTS = (NOON_NS, NOON_NS + 239 * MINUTE_NS, NOON_NS + 299 * MINUTE_NS, NOON_NS + (4 * 1440 + 239) * MINUTE_NS)
"""Monday noon in New York; a minute before the close, before the futures' break, and before Friday's close."""

Step = tuple[Any, ...]


def command(dice: random.Random) -> str:
    """One line for the control port."""
    name = dice.choice([*CONTRACTS, "ESH6", "all"])
    alive = dice.choice(["alive", "dead"])
    return dice.choice(
        [
            f"late {name} {dice.choice([0, 0.2, 1])} {dice.choice([0, 3, 70])} {dice.choice(['forming', 'own'])}",
            *(f"odd_lots {name} {dice.choice([0, 0.1, 2])}", f"step_volume {name} {dice.choice(['on', 'off'])}"),
            *(f"missing_bars {name} {dice.choice([0, 0.3, 1])}", f"bust {name}", "live_lost"),
            f"mute {name} {dice.choice(['quotes', 'bars', 'keep_up_to_date', 'ticks', 'depth', 'all'])}",
            f"live_delay {dice.choice([0, 300, 7000])} {dice.choice([0, 200, 9000])}",
            f"permission {name} {dice.choice(['full', 'full', 'none', 'api', 'no_delayed', 'part', 'part_api'])}",
            f"farm_flap {dice.choice(['ushmds', 'usfarm', 'hmds', 'all', 'usfuture'])} {dice.choice([1, 30])} {alive}",
            *(f"farm_down {dice.choice(['ushmds', 'usfarm', 'cashfarm'])}", "farm_up all", "lost"),
            f"restored {dice.choice(['maintained', 'lost'])} {dice.choice(['alive', 'mute'])}",
            *("competing on", "competing off", "competing off", "clear", f"take_lines {dice.choice([0, 1, 5])}"),
            f"silent 1 {dice.choice(['reqHistoricalData', 'reqMktData', 'reqRealTimeBars', 'reqMktDepth'])}",
            f"reset_window {dice.choice([5, 90])} {dice.choice(['maintained', 'lost'])}",
            *("history_error pacing", "duplicate 1", f"latency {dice.choice(['none', '250', 'measured'])}"),
        ]
    )


def steps(dice: random.Random, count: int) -> list[Step]:
    made: list[Step] = []
    for _ in range(count):
        kind = dice.choice(list(FIRST_ID))
        client, request_id = dice.choice([1, 2]), FIRST_ID[kind] + dice.randrange(IDS_OF_A_KIND)
        what = dice.choice(["TRADES", "MIDPOINT", "BID", "ASK"])
        contract, size = dice.choice(list(CONTRACTS)), dice.choice([*SECONDS, "1 day"])
        step = dice.choices(
            ["ask", "cancel", "type", "reconnect", "history", "command", "advance"], [6, 3, 1, 1, 1, 4, 4]
        )[0]
        made.append(
            {
                "ask": ("ask", client, kind, request_id, contract, what, size, dice.randrange(2)),
                "cancel": ("cancel", client, kind, request_id),
                "type": ("type", client, dice.choice([1, 2, 3, 4])),
                "reconnect": ("reconnect", client),
                "history": ("history", client, contract),
                "command": ("command", command(dice)),
                "advance": ("command", f"advance {dice.choice([0.05, 1, 2.6, 5, 10, 31, 60, 61, 120])}"),
            }[step]
        )
    return made


class Opponent:
    def __init__(self, sim: Gateway, control: Control) -> None:
        self.sim, self.control = sim, control
        self.clients: dict[int, RawClient] = {}
        self.open: dict[int, dict[int, Step]] = {1: {}, 2: {}}  # client -> request id -> the step that asked for it
        self.answered: set[tuple[int, int]] = set()  # keepUpToDate whose bars have come
        self.history: dict[str, list[str]] = {}
        self.newest = 0, 0  # client and request id that the book had not before
        self.received: list[tuple[int, list[str]]] = []

    async def connect(self, number: int) -> None:
        self.clients[number] = client = await RawClient.open(self.sim.port)
        self.open[number] = {}
        client.send(71, 2, number, "")
        await self.read(number)

    async def read(self, number: int) -> list[list[str]]:
        """All messages up to the answer to reqCurrentTime, each checked by the book."""
        client, came = self.clients[number], []
        client.send(49, 1)
        while (fields := await client.read(60))[0] != "49":
            came.append(fields)
            self.received.append((number, fields))
            self.check(number, fields)
        return came

    def check(self, number: int, fields: list[str]) -> None:
        if fields[0] in PLACE_OF_ID:
            request_id = int(fields[PLACE_OF_ID[fields[0]]])
            assert request_id in self.open[number], f"{number} hears of {request_id}, which is not open: {fields}"
            if fields[0] in ("50", "90"):
                self.check_bar(self.open[number][request_id], fields)
        elif fields[0] == "17":
            self.answered.add((number, int(fields[1])))
        elif fields[0] == "4":
            self.hear(number, int(fields[2]), int(fields[3]), fields[4])

    def hear(self, number: int, request_id: int, code: int, text: str) -> None:
        """An error ends its stream, but for notices and duplicates; 1101 ends all that have been answered."""
        assert "simulator failed" not in text
        if code == 1101:
            waiting = [one for one in self.open[number] if self.waits(number, one)]
            self.open[number] = {one: self.open[number][one] for one in waiting}
        elif code in NOTICES or (self.newest != (number, request_id) and is_duplicate(code, text)):
            return
        else:
            self.open[number].pop(request_id, None)

    def waits(self, number: int, request_id: int) -> bool:
        """Whether it is a keepUpToDate that has not been answered."""
        return self.open[number][request_id][2] == "keep" and (number, request_id) not in self.answered

    def check_bar(self, request: Step, fields: list[str]) -> None:
        """A live bar lies in a session, has begun, and its open and close lie in its range."""
        _, _, kind, _, name, _, size, rth = request
        if kind == "keep" and size not in SECONDS:
            return
        t, length = int(fields[3]), 5 if kind == "bars" else SECONDS[size]
        sessions = self.sim.market.sessions(self.contract(name), t, t + length, rth=bool(rth))
        assert any(one.open_s <= t < one.close_s for one in sessions), f"{name}: a bar outside a session: {fields}"
        assert t + (5 if kind == "bars" else 0) <= self.sim.clock.now_s(), f"{name}: a bar of the future: {fields}"
        first, second, third, fourth = map(float, fields[4:8])  # open high low close; of 90: open close high low
        opened, high, low, close = (first, second, third, fourth) if kind == "bars" else (first, third, fourth, second)
        assert low <= min(opened, close) <= max(opened, close) <= high, f"{name}: a crooked bar: {fields}"

    def contract(self, name: str) -> Contract:
        fields = CONTRACTS.get(name, UNUSED)
        query = ContractQuery(
            symbol=fields[1], sec_type=fields[2], last_trade_date=fields[3], exchange=fields[7], currency=fields[9]
        )
        return self.sim.market.find(query, self.sim.clock.now_s())[0]

    # ---- steps -----------------------------------------------------------------------------------------------------
    async def take(self, step: Step) -> None:
        await {
            "command": self.command,
            "ask": self.ask,
            "cancel": self.cancel,
            "type": self.data_type,
            "reconnect": self.reconnect,
            "history": self.ask_history,
        }[step[0]](step)
        quiet = 0
        while quiet < QUIET_ROUNDS:
            came = [await self.read(number) for number in self.clients]
            quiet = 0 if any(came) else quiet + 1
        self.compare()

    async def command(self, step: Step) -> None:
        answer = await self.control.run(step[1])
        assert answer["ok"], answer

    async def ask(self, step: Step) -> None:
        _, number, kind, request_id, name, what, size, rth = step
        self.newest = 0, 0
        client, contract = self.clients[number], CONTRACTS[name]
        if request_id not in self.open[number]:
            self.answered.discard((number, request_id))
            self.open[number][request_id] = step
            self.newest = number, request_id
        if kind == "quotes":
            client.send(1, 11, request_id, *contract, 0, "233" if rth else "", 0, 0, "")
        elif kind == "bars":
            client.send(50, 3, request_id, *contract, 5, what, rth, "")
        elif kind == "ticks":
            client.send(97, request_id, *contract, {"TRADES": "Last", "MIDPOINT": "MidPoint"}.get(what, "BidAsk"), 0, 0)
        elif kind == "depth":
            client.send(10, 5, request_id, *contract, 5, rth, "")
        else:
            duration = "1800 S" if size in SECONDS else "5 D"
            client.ask_bars(request_id, contract, end="", live=1, what=what, rth=rth, size=size, duration=duration)

    async def cancel(self, step: Step) -> None:
        _, number, kind, request_id = step
        head, rest = {"quotes": ((2, 1), ()), "bars": ((51, 1), ()), "keep": ((25, 1), ()), "ticks": ((98,), ())}.get(
            kind, ((11, 1), (1,))
        )
        self.clients[number].send(*head, request_id, *rest)
        await self.read(number)
        self.open[number].pop(request_id, None)

    async def data_type(self, step: Step) -> None:
        self.clients[step[1]].send(59, 1, step[2])

    async def reconnect(self, step: Step) -> None:
        """The socket goes with all that was open; nothing of it is held for the client that comes after."""
        await self.read(step[1])
        self.clients[step[1]].close()
        await until(lambda: step[1] not in self.sim.clients)
        await self.connect(step[1])
        assert len(self.sim.clients[step[1]].jobs) == 0

    async def ask_history(self, step: Step) -> None:
        """Bars of a time that is over are the same whenever they are asked for, as nobody revises them here."""
        _, number, name = step
        what = "MIDPOINT" if name != "SPX" else "TRADES"
        self.clients[number].ask_bars(900, CONTRACTS[name], end="20260302 16:30:00 UTC", what=what, rth=0)
        await self.read(number)
        await self.control.run("advance 3")
        for fields in await self.read(number):
            if fields[:2] == ["17", "900"]:
                assert self.history.setdefault(name, fields) == fields, f"history of {name} has changed"
        self.clients[number].send(25, 1, 900)

    # ---- the book --------------------------------------------------------------------------------------------------
    def compare(self) -> None:
        """What the simulator holds is what the book has: streams, slots of history, market data lines."""
        for number, client in self.sim.clients.items():
            held = {
                request_id for family in FAMILIES for request_id in client.jobs.ids(family) if request_id in MAY_BE_OPEN
            }
            assert held == set(self.open[number]), (
                f"{number} knows {sorted(self.open[number])}, held are {sorted(held)}"
            )
        known = [step for each in self.open.values() for step in each.values()]
        slots = sum(step[2] == "keep" for step in known)
        anybody = next(iter(self.sim.clients.values()))
        assert open_requests(anybody) == slots
        self.compare_lines([step[4] for step in known if step[2] in ("quotes", "bars")])

    def compare_lines(self, names: list[str]) -> None:
        """Lines are used up when there are as many as the book counts, and not when there is one more."""
        used = len(set(names)) if self.sim.settings.lines_by == "contract" else len(names)
        anybody, before = next(iter(self.sim.clients.values())), self.sim.settings.lines
        other = self.contract("QQQ")
        for lines, full in ((used, True), (used + 1, False)):
            self.sim.settings.lines = lines + self.sim.faults.live.taken_lines
            assert no_line(anybody, other) is full, f"the book has {used} lines in use"
        self.sim.settings.lines = before


FAMILIES = ("market data", "real-time bars", "live bars", "history", "tick by tick", "depth")
MAY_BE_OPEN = {first + more for first in FIRST_ID.values() for more in range(IDS_OF_A_KIND)}


def is_duplicate(code: int, text: str) -> bool:
    """Whether a request is refused because its id is in use, which leaves the stream of that id as it is."""
    return any(code == one and word in text for one, word in DUPLICATES)


async def until(done: Any) -> None:
    """Waits for a condition of the event loop."""
    async with asyncio.timeout(30):
        while not done():
            await asyncio.sleep(0.001)


async def play(seed: int, count: int = 45) -> list[tuple[int, list[str]]]:
    """All that the two clients heard: (client, fields)."""
    dice = random.Random(seed)
    settings: dict[str, Any] = {
        "at_close": dice.choice(["keep", "end"]),
        "empty_live": dice.choice(["refuse", "stream"]),
        "lines_by": dice.choice(["request", "contract"]),
        "rtb_book": dice.choice(["own", "shared"]),
    }
    async with gateway(start_ns=dice.choice(STARTS), lines=1000, **settings) as (sim, control):
        opponent, taken = Opponent(sim, control), []
        try:
            for number in (1, 2):
                await opponent.connect(number)
            for step in steps(dice, count):
                taken.append(step)
                await opponent.take(step)
        except (AssertionError, TimeoutError, asyncio.IncompleteReadError) as problem:
            raise AssertionError(f"seed {seed}, {settings}: {problem!r} after {taken[-12:]}") from problem
        for number in (1, 2):
            opponent.clients[number].close()
        await until(lambda: not sim.clients)
        return opponent.received
