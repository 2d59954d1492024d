"""A run of chaos: plays a plan against a world, keeps a journal of what was really injected, and waits at its end until the last
outage is over and IB has answered all questions."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from nautilus.clock import NS_PER_S, datetime_of
from tests.support.chaos_book import executions_of, orders_of
from tests.support.chaos_callers import Callers
from tests.support.chaos_plan import Break, Kill, PlannedOrder, Round, body_of
from tests.support.chaos_world import World

LIMITS: dict[str, str | None] = {
    "orders_per_second": None,
    "orders_per_minute": None,
    "orders_per_day": None,
    "account_orders_per_second": None,
    "order_ratio": None,
    "short": "1",
    "gross_exposure_percent": None,
}
"""What an administrator sets before: this is no trader's usual minute."""
_IN_FLIGHT = ("accepted", "reserved", "sending", "sent")
_POINT_S = 8.0
"""How long a crash point is waited for; then the process is killed where it is."""
_READY_S = 30.0
_LOOKED_AFTER_S = 4.0
_SETTLED_S = 180.0


_FRIDAY = 4
_NIGHT: tuple[tuple[str, Sequence[str]], ...] = (
    ("04:40:00", ("farm_down all", "lost")),
    ("05:10:00", ("restored lost", "farm_up all")),
    ("09:45:00", ("restart 0.7", "ids_rollback 3")),
    ("17:00:00", ()),
)
"""What happens until the next noon in New York, by UTC: 04:40 and 05:10 lie around the midnight of the login."""


class Injected(NamedTuple):
    """Something that happened. at_ns, until_ns: market time. met: orders that were on their way then. counts: False for the end
    of a fault that was counted when it began."""

    kind: str
    at_ns: int
    until_ns: int
    met: frozenset[UUID] = frozenset()
    detail: str = ""
    counts: bool = True


@dataclass
class Run:
    world: World
    callers: Callers

    def __post_init__(self) -> None:
        self.journal: list[Injected] = []
        self.kills = 0
        self._twins: set[str] = set()
        self._armed = False
        self._day_s = 0.0
        self._prices = {symbol: float(self.world.price_of(symbol)) for symbol in self.world.instruments}

    # ---- playing -----------------------------------------------------------------------------------------------------

    def play(self, rounds: Iterable[Round]) -> None:
        self.wait_ready()
        self.callers.set_limits(LIMITS)
        for each in rounds:
            self._play(each)

    def night(self) -> list[str]:
        """From this noon to the next of a weekday: the gateway restarts with ids rolled back, farms break, IB is away for a
        moment, and IB forgets executions at midnight. Returns what still moved in the evening."""
        moving, day = self.settle(), datetime_of(self.world.now_ns()) + timedelta(days=1)
        while day.weekday() > _FRIDAY:
            day += timedelta(days=1)
        for clock, commands in _NIGHT:
            self.world.sim.command(f"set_clock {day:%Y-%m-%d}T{clock}Z")
            for command in commands:
                self.world.sim.command(command)
        self.world.clock_was_set()
        self._prices = {symbol: float(self.world.price_of(symbol)) for symbol in self.world.instruments}
        self._day_s = self.world.now_ns() / NS_PER_S
        self.wait_ready()
        return moving

    def _play(self, each: Round) -> None:
        self.world.quote_all()
        point = each.kill.what if each.kill and each.kill.what not in ("process", "database", "api") else "none"
        if point != "none":
            self._new_life(crash_at=point)
        if each.wait_ready or point != "none":
            self.wait_ready(_READY_S)
            self.callers.resume_if_tightened()
            self._resolve_unknown()
        for fault in each.faults:
            self._command(fault.name, fault.before)
        for order, pause_s in zip(each.orders, each.pauses_s, strict=False):
            self._place(order)
            time.sleep(pause_s)
        for change in each.changes:
            self.callers.change(change.user, change.pick, change.change, change.key)
        if each.broken is not None:
            self._break(each.broken, each)
        if each.kill is not None and not (each.broken and each.kill_inside):
            self._kill(each.kill)
        for fault in each.faults:
            self._command(fault.name, fault.after, counts=not fault.before)

    def _place(self, order: PlannedOrder) -> None:
        account = self.world.accounts[order.account]
        con_id = self.world.instruments[order.symbol].con_id
        body = body_of(order, account, con_id, self._prices[order.symbol])
        self.callers.place(order.user, order.key, body, order.manner)

    def _command(self, name: str, commands: Sequence[str], *, counts: bool = True) -> None:
        """One that the simulator refuses has nothing to act on: there is no execution yet, no manual order."""
        for number, command in enumerate(commands):
            if self._is_about_yesterday(command):
                continue
            at = self.world.now_ns()
            real = self._twin_of_ours() if command == "twin ours" else command
            answer = self.world.sim._say(real)
            if answer["ok"]:
                counted = counts and number == 0
                detail = f"{real} {answer.get('exec_id', '')}".strip()
                self.journal.append(Injected(name, at, self.world.now_ns(), detail=detail, counts=counted))

    def _is_about_yesterday(self, command: str) -> bool:
        """IB tells executions of today alone: a correction of an older one that comes while nobody listens is told by no answer.
        It ends in a break that a person resolves, which has a test of its own."""
        if not self._day_s or not command.startswith(("correct last", "bust_execution last")):
            return False
        made = executions_of(self.world.sim, self.world.folder)
        return bool(made) and made[-1].at_s < self._day_s

    def _twin_of_ours(self) -> str:
        """The command for the newest open order that is alone and is one still; one that is refused where there is none."""
        found = orders_of(self.world.sim, self.world.folder)
        parents = {order.parent_id for order in found}
        alone = [
            order.reference
            for order in found
            if order.open and order.transmitted and order.reference and order.reference not in self._twins
            if not order.parent_id and order.order_id not in parents and not order.request.text("ocaGroup")
        ]
        self._twins |= set(alone[-1:])
        return f"twin {alone[-1] if alone else 'none'}"

    # ---- breaks and kills --------------------------------------------------------------------------------------------

    def _break(self, broken: Break, each: Round) -> None:
        met = self._in_flight()
        if broken.changes:
            self.callers.change(7, 3, {"price_percent": -0.5}, f"mid-{self.world.now_ns()}")
            time.sleep(0.03 if each.wait_ready else 0.1)
        at = self.world.now_ns()
        came = all(self.world.sim._say(command)["ok"] for command in broken.commands)
        time.sleep(broken.lasts_s if came else 0)
        if each.kill is not None and each.kill_inside:
            self._kill(each.kill)
        if came:  # else nobody was connected whose socket could break
            for command in broken.back:
                self.world.sim.command(command)
            self.journal.append(Injected(broken.name, at, self.world.now_ns(), met, broken.commands[0]))

    def _kill(self, kill: Kill) -> None:
        time.sleep(kill.delay_s)
        met, at = self._in_flight(), self.world.now_ns()
        name = {"database": "PostgreSQL killed", "api": "API killed", "process": "order process killed"}.get(kill.what)
        if kill.what == "database":
            self.world.server.kill(kill.away_s)
        elif kill.what == "api":
            self.world.kill_api()
        elif kill.what == "process":
            self.world.kill_process()
        else:
            name = self._die_at(kill.what)
            met |= self._in_flight()
        self.kills += 1
        self.journal.append(Injected(name or kill.what, at, self.world.now_ns(), met))
        if self.world.has_ended():
            self._new_life()

    def _die_at(self, point: str) -> str:
        """Wait until the process has killed itself at its point; where nothing led it there, kill it."""
        until = time.monotonic() + _POINT_S
        while not self.world.has_ended():
            if time.monotonic() > until:
                self.world.kill_process()
                return "order process killed"
            time.sleep(0.02)
        self.world.kill_process()
        return f"killed {point}"

    def _new_life(self, crash_at: str = "none") -> None:
        """A life that ended by itself (its lock was not free yet) is followed by another one."""
        self.world.kill_process()
        self._armed = crash_at != "none"
        until = time.monotonic() + _READY_S
        while True:
            child = self.world.launch(crash_at)
            while child.exit_code() is None and not child.logged("orders-started"):
                time.sleep(0.02)
            if child.exit_code() is None or time.monotonic() > until:
                return
            self.world.kill_process()
            time.sleep(0.1)

    def _in_flight(self) -> frozenset[UUID]:
        rows = self.world.rows(
            "SELECT id FROM orders WHERE state = ANY(%s) OR pending <> '' AND over_at IS NULL", list(_IN_FLIGHT)
        )
        return frozenset(row.id for row in rows)

    def _resolve_unknown(self) -> None:
        """What a person does: where IB shows nothing of an order that has been unknown for some seconds, it never arrived."""
        rows = self.world.rows(
            "SELECT id FROM orders WHERE state = 'unknown' AND state_since < clock_timestamp() - %s * interval '1 s'",
            _LOOKED_AFTER_S,
        )
        there = {order.reference for order in orders_of(self.world.sim, self.world.folder)} if rows else set()
        for row in rows:
            if str(row.id) not in there:
                self.callers.resolve(str(row.id), "IB shows neither an order nor a trade with this reference")

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def wait_ready(self, within_s: float = _SETTLED_S) -> bool:
        """Wait until this life may send orders; a life that ended is followed by another one."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if self.world.has_ended():
                self._new_life()
            rows = self.world.rows("SELECT state, holder FROM order_process")
            process = self.world.stack.process
            if rows and process is not None and rows[0].state == "ready" and rows[0].holder.endswith(f":{process.pid}"):
                return True
            time.sleep(0.05)
        return False

    def settle(self) -> list[str]:
        """End every fault, let everybody finish, and wait until nothing moves any more. What still moved in the end."""
        for command in ("restored", "click", "clear", "latency none"):
            self.world.sim._say(command)
        self.world.quote_all()
        if self._armed or self.world.has_ended():
            self._new_life()
        if not self.wait_ready():
            return ["settle: the order process does not become ready: " + self.world.stack.reason()]
        self.callers.resume_if_tightened()
        self.callers.finish()
        for order in self._twins:
            self.callers.cancel_for_good(order)
        until = time.monotonic() + _SETTLED_S
        while (moving := self._moving()) and time.monotonic() < until:
            time.sleep(0.2)
            self.callers.resolve_breaks()
            self.callers.resume_if_tightened()
        self._ask_once_more()
        return moving

    def _ask_once_more(self) -> None:
        """A last life, which asks IB everything again, so that what is known does not depend on who was awake when."""
        self._new_life()
        self.wait_ready()
        until = time.monotonic() + _SETTLED_S
        while self._moving() and time.monotonic() < until:
            time.sleep(0.2)

    def _moving(self) -> list[str]:
        """What is still on its way, each in a line that names it."""
        rows = self.world.rows
        found = [
            f"settle: order {row.id} is still {row.state}"
            for row in rows("SELECT id, state FROM orders WHERE state IN ('accepted', 'reserved', 'sending', 'sent')")
        ]
        found += [
            f"settle: {row.kind} {row.id} is still {row.state}"
            for row in rows("SELECT id, kind, state FROM order_requests WHERE state IN ('wanted', 'sending', 'sent')")
        ]
        found += [
            f"settle: execution {row.exec_id} has no commission"
            for row in rows("SELECT exec_id FROM executions WHERE latest AND quantity > 0 AND commission IS NULL")
        ]
        found += [
            f"settle: position of {row.con_id} in {row.account} is {row.position}, IB told {row.quantity}"
            for row in rows(
                "SELECT account, con_id, coalesce(k.position, 0) AS position, coalesce(b.quantity, 0) AS quantity"
                " FROM risk_book k FULL JOIN broker_positions b USING (account, con_id)"
                " WHERE coalesce(k.position, 0) <> coalesce(b.quantity, 0)"
            )
        ]
        return found

    @property
    def lasted_s(self) -> float:
        return (self.world.now_ns() - self.journal[0].at_ns) / NS_PER_S if self.journal else 0.0
