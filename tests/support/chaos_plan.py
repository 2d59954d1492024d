"""What a run of chaos does, made of its seed alone: rounds of orders, changes, faults, and a kill.

Commands are those of the simulator's control port. Prices are factors of the market's price.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, NamedTuple, get_args

from nautilus.settings.orders import CrashPoint
from tests.support.chaos_callers import FIRST_USER, USERS
from tests.support.chaos_world import SYMBOLS

CRASH_POINTS: tuple[str, ...] = tuple(point for point in get_args(CrashPoint) if point != "none")
_MANNERS = ("plain",) * 4 + ("hang_up", "hang_up", "twice")
_SIDES = ("BUY", "SELL")
"""Mostly one of them for each stock of an account: our own check refuses orders that would meet each other."""
_KINDS = ("market",) * 5 + ("through",) * 3 + ("resting",) * 6 + ("ioc", "stop", "stop", "bracket", "bracket", "oca")


class PlannedOrder(NamedTuple):
    """account: its number. factor: of the market's price, for the limit or the stop. group: of an OCA group."""

    key: str
    user: int
    manner: str
    account: int
    symbol: str
    kind: str
    side: str
    quantity: int
    factor: float
    group: str = ""


class PlannedChange(NamedTuple):
    """change: None for a cancel. pick: which of the open orders, counted over those that there are."""

    user: int
    pick: int
    change: Mapping[str, Any] | None
    key: str


class Fault(NamedTuple):
    """before, after: commands at the beginning of the round, and at its end."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...] = ()


class Break(NamedTuple):
    """What happens to the way to IB in the middle of a round. back: how it ends, after so many seconds."""

    name: str
    commands: tuple[str, ...]
    back: tuple[str, ...] = ()
    lasts_s: float = 0.0
    changes: bool = False
    """Whether a modify is sent just before, so that it is under way."""


class Kill(NamedTuple):
    """what: process, database, api, or a point at which the order process kills itself. delay_s: after the orders."""

    what: str
    delay_s: float
    away_s: float = 0.0


@dataclass(frozen=True)
class Round:
    orders: Sequence[PlannedOrder] = ()
    changes: Sequence[PlannedChange] = ()
    faults: Sequence[Fault] = ()
    broken: Break | None = None
    kill: Kill | None = None
    kill_inside: bool = False
    """Whether the kill comes while the way to IB is still broken."""
    wait_ready: bool = True
    pauses_s: Sequence[float] = field(default_factory=tuple)
    """Between the orders, in turn."""


# ---- faults ----------------------------------------------------------------------------------------------------------


def _fault(name: str, *before: str, after: Sequence[str] = ()) -> Callable[[Random], Fault]:
    return lambda _: Fault(name, before, tuple(after))


def _rejected(dice: Random) -> Fault:
    how = dice.choice(("error", "inactive", "cancelled"))
    return Fault("order refused by IB", (f'reject_order 201 "Order rejected - reason: chaos" {how}',))


def _many_rejected(dice: Random) -> Fault:
    """So many that a trigger tightens the account, which an administrator then resumes."""
    return Fault("IB refuses one after the other", ('reject_order 201 "Order rejected - reason: chaos"',) * 8)


def _filled_in_parts(dice: Random) -> Fault:
    parts = [f"{dice.randint(1, 4)}@{dice.uniform(0.0, 2.0):.2f}" for _ in range(dice.randint(1, 4))]
    return Fault("filled in parts", (f"fill_plan next {','.join(parts)}",))


def _fill_meets_cancel(dice: Random) -> Fault:
    how = dice.choice((f"late {dice.uniform(0.0, 1.0):.2f}", "overtakes"))
    return Fault("fill meets cancel", (f"fill_after_cancel next {how}",))


def _manual(dice: Random) -> Fault:
    symbol, quantity = dice.choice(SYMBOLS), dice.randint(2, 9)
    end = dice.choice(("manual_fill last", "manual_fill last 1", "manual_cancel last"))
    price = dice.choice(("", " 10"))
    return Fault("manual order in TWS", (f"manual_order BUY {quantity} {symbol}{price}",), (end,))


def _slow(dice: Random) -> Fault:
    return Fault("slow gateway", (f"latency {dice.randint(100, 500)}",), ("latency none",))


def _corrected(dice: Random) -> Fault:
    return Fault("execution corrected", (), (dice.choice(("correct last 123.45", "correct last 123.45 1")),))


def _halted(dice: Random) -> Fault:
    symbol = dice.choice(SYMBOLS)
    return Fault("instrument halted", (f"halt {symbol} 2",), (f"halt {symbol} 0",))


FAULTS: tuple[Callable[[Random], Fault], ...] = (
    _fault("order read and forgotten", "eat_order"),
    _fault("acknowledgement lost", "ack_lose"),
    _fault("status doubled", "status_duplicate 3"),
    _fault("status missing", "status_skip 2"),
    _fault("messages shuffled", "shuffle 3"),
    _fault("messages late", "ack_delay 1.2", after=["ack_delay 0"]),
    _fault("commission first", "commission_first 2"),
    _fault("commission late", "commission_delay 3", after=["commission_delay 0"]),
    _fault("waits for a click", "precaution", after=["click"]),
    _fault("waits for shares", "locate 2"),
    _fault("preset changes the order", "preset tif GTC", after=["preset tif off"]),
    _fault("cancel not found", 'reject_next cancelOrder 10147 "OrderId that needs to be cancelled is not found"'),
    _fault("client id held", "hold_ids 2", after=["hold_ids 0"]),
    _fault("execution busted", after=["bust_execution last"]),
    *(_rejected, _many_rejected, _filled_in_parts, _fill_meets_cancel, _manual, _slow, _corrected, _halted),
)


TWIN, BUST = "one order becomes two", "execution busted silently"
STRANGE = (Fault(TWIN, (), ("twin ours",)), Fault(BUST, (), ("bust_execution last silent",)))
"""What needs a person afterwards: it comes seldom, and by dice of its own. `twin ours`: of an order of ours that is alone."""
_SELDOM = 0.06


def _outage(dice: Random) -> Break:
    orders, fills = dice.choice(("hold", "hold", "lose", "work")), dice.choice(("late", "late", "none"))
    data = dice.choice(("maintained", "lost"))
    return Break(
        f"1100, messages {orders}", (f"lost {orders} {fills}",), (f"restored {data}",), dice.uniform(0.4, 2.5), True
    )


def _restart(dice: Random) -> Break:
    return Break("gateway restart, ids rolled back", ("restart 0.7", f"ids_rollback {dice.randint(1, 6)}"))


BREAKS: tuple[Callable[[Random], Break], ...] = (
    _outage,
    _restart,
    lambda _: Break("half-open socket", ("half_open 5",)),
    lambda _: Break("socket dropped", ("drop 5",)),
)


# ---- the plan --------------------------------------------------------------------------------------------------------


def plan(seed: int, orders: int, kills: int) -> Iterator[Round]:
    """As many rounds as kills, with all kinds of them; at the end one round more without any."""
    dice = Random(seed)
    kinds = _kinds_of_kills(dice, kills)
    for number, what in enumerate(kinds):
        share = orders * (number + 1) // kills - orders * number // kills
        made = _round(dice, number, share, Kill(what, dice.uniform(0.0, 0.8), dice.uniform(0.1, 1.0)))
        own = Random(f"{seed} {number}")
        yield replace(made, faults=[*made.faults, *(one for one in STRANGE if own.random() < _SELDOM)])


def _kinds_of_kills(dice: Random, kills: int) -> list[str]:
    """A tenth kill the database, a tenth the API; of the rest a third dies at a point of its way, the others anywhere."""
    few = max(1, kills // 10)
    points = [CRASH_POINTS[number % len(CRASH_POINTS)] for number in range(max(0, (kills - 2 * few) // 3))]
    found = ["database"] * few + ["api"] * few + points
    found += ["process"] * (kills - len(found))
    dice.shuffle(found)
    return found[:kills]


def _round(dice: Random, number: int, orders: int, kill: Kill) -> Round:
    placed: list[PlannedOrder] = []
    while len(placed) < orders:
        placed += _orders(dice, f"r{number}-{len(placed)}")
    count = dice.choice((0, 1, 1, 2))
    return Round(
        orders=placed,
        changes=[_change(dice, f"r{number}-c{each}") for each in range(count)],
        faults=[dice.choice(FAULTS)(dice) for _ in range(dice.choice((0, 1, 1, 2)))],
        broken=dice.choice(BREAKS)(dice) if dice.random() < 0.3 else None,
        kill=kill,
        kill_inside=dice.random() < 0.5,
        wait_ready=dice.random() < 0.8,
        pauses_s=[dice.choice((0.0, 0.05, 0.2)) for _ in placed],
    )


def _orders(dice: Random, key: str) -> list[PlannedOrder]:
    kind, account, symbol = dice.choice(_KINDS), dice.randrange(2), dice.choice(SYMBOLS)
    side = _SIDES[(SYMBOLS.index(symbol) + account + (dice.random() < 0.15)) % 2]
    away = dice.uniform(0.03, 0.08)
    better = 1 - away if side == "BUY" else 1 + away
    worse = {"through": 0.01, "stop": dice.uniform(0.03, 0.045)}.get(kind, 0.0)
    factor = better if not worse else 1 + worse if side == "BUY" else 1 - worse
    first = PlannedOrder(
        key=key,
        user=FIRST_USER + dice.randrange(USERS),
        manner=dice.choice(_MANNERS),
        account=account,
        symbol=symbol,
        kind=kind,
        side=side,
        quantity=dice.randint(1, 12),
        factor=factor,
    )
    if kind != "oca":
        return [first]
    group = first._replace(group=f"group {key}")
    return [group, group._replace(key=f"{key}b", factor=group.factor * (0.99 if side == "BUY" else 1.01))]


def _change(dice: Random, key: str) -> PlannedChange:
    change = dice.choice((None, None, {"price_percent": dice.choice((-1.0, 0.5))}, {"more": dice.randint(1, 3)}))
    return PlannedChange(FIRST_USER + dice.randrange(USERS), dice.randrange(50), change, key)


def body_of(order: PlannedOrder, account: str, con_id: int, price: float) -> dict[str, Any]:
    """The body of the request. price: of the market."""
    level = f"{price * order.factor:.2f}"
    body: dict[str, Any] = {
        "account": account,
        "con_id": con_id,
        "side": order.side,
        "type": {"market": "MKT", "stop": "STP"}.get(order.kind, "LMT"),
        "quantity": order.quantity,
        "valid_for_s": 60,
        "allow_duplicate": True,
        "tags": ["chaos"],
    }
    if body["type"] == "LMT":
        body["limit_price"] = level
    if order.kind == "stop":
        body["stop_price"] = level
    if order.kind == "ioc":
        body["tif"] = "IOC"
    if order.kind == "oca":
        body["oca"] = {"group": order.group, "type": 1}
    if order.kind == "bracket":
        up, down = f"{price * 1.12:.2f}", f"{price * 0.88:.2f}"
        profit, loss = (up, down) if order.side == "BUY" else (down, up)
        body |= {"take_profit": {"limit_price": profit}, "stop_loss": {"stop_price": loss}}
    return body
