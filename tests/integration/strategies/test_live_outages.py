"""A live run while IB is away, somebody else uses the login, or a night passes: nothing is doubled or lost, the run, the ledger
and the simulator agree, and it decides on no bar that is old or not whole."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from nautilus.clock import parse_rfc3339
from nautilus.db.strategies.runs import RunRow
from nautilus.orders import change
from nautilus.strategies.states import Mode, Wanted
from tests.conftest import Server, database
from tests.support.live_seen import Seen, seen
from tests.support.parity_day import MINUTE, ParityDay, parity_day
from tests.support.strategy_runner import needs_engine

pytestmark = needs_engine
VIEW = '''
from decimal import Decimal

from nautilus_trader.model import OrderSide, Price, Quantity, TimeInForce
from strategy_runner.strategy import Strategy


class {name}(Strategy):
    """Says before each decision, and when its position changes, what its engine knows."""

    def view(self):
        orders = [*self.cache.orders_open(), *self.cache.orders_inflight()]
        names = sorted(str(one.client_order_id) for one in orders)
        self.signal("view", position=str(self.position()), orders=names)

    def on_position_opened(self, event):
        self.view()

    def on_position_closed(self, event):
        self.view()
'''
ALTERNATING = (
    VIEW.format(name="Alternating")
    + """
    def decide(self, bar):
        self.view()
        return self.trade_size if bar.ts_event // 60_000_000_000 % 2 else 0
"""
)
"""It holds something after every other minute."""
OVERNIGHT = (
    VIEW.format(name="Overnight")
    + """
    def decide(self, bar):
        self.view()
        wanted = {"GTC": (TimeInForce.GTC, 10, "290.00"), "DAY": (TimeInForce.DAY, 5, "288.00")}
        for name in wanted.keys() - self.__dict__.setdefault("placed", {}).values():
            time, quantity, price = wanted[name]
            order = self.order_factory.limit(
                self.instrument.id, OrderSide.BUY, Quantity(quantity, 0), Price.from_str(price), time_in_force=time
            )
            self.placed[order.client_order_id] = name
            self.submit_order(order)

    def on_order_expired(self, event):
        self.signal("expired", order=str(event.client_order_id))
        self.placed.pop(event.client_order_id)
"""
)
"""It buys below the market, until it is cancelled and for the day, and decides anew on what has expired."""
OUTAGES = {
    "1100, then 1102": (["lost"], ["restored maintained"]),
    "another session": (["competing on"], ["competing off"]),
    "login taken": (["login_needed"], ["login"]),
    "half open": (["accept refuse", "half_open"], ["accept yes"]),
}
"""How each begins and ends."""
CONNECTED = ("1100, then 1102", "another session")
"""With these the bridge goes on to learn the time."""


class World(NamedTuple):
    day: ParityDay
    run: RunRow
    folder: Path

    def seen(self) -> Seen:
        return seen(self.day, self.run, self.folder)

    def agreed(self) -> Seen:
        """Once what its engine says has become rows."""
        self.day.desk.wait(lambda: not self.seen().differences(), "all agree", 15, lambda: self.seen().differences())
        return self.seen()

    def minutes(self, count: int) -> None:
        self.day.play([self.run], count)

    def of_orders(self) -> list[str]:
        """How they stand in the ledger, in their order."""
        return [one.state for one in self.seen().orders]


def world(day: ParityDay, folder: Path, code: str) -> World:
    name = "alternating" if code is ALTERNATING else "overnight"
    day.strategies.strategy(name, code)
    (run,) = day.begin(name, {"trade_size": "10"}, warm_up_bars=0, modes=[Mode.LIVE])
    return World(day, run, folder)


# ---- outages ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alternating(
    servers: SimpleNamespace, server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One run, over all outages. The order process notices a dead socket so late that an order is written to it before."""
    folder = tmp_path_factory.mktemp("outages")
    settings = {"ib_heartbeat_s": "2", "settle_intraday_s": "5"}
    with database(server, template) as dsn, parity_day(servers.group, folder, dsn, settings=settings) as day:
        yield world(day, folder, ALTERNATING)


@pytest.mark.parametrize("outage", OUTAGES)
def test_after_an_outage_a_run_agrees_with_ledger_and_broker_and_has_decided_on_nothing_old(
    alternating: World, outage: str
) -> None:
    day, (begin, end) = alternating.day, OUTAGES[outage]
    alternating.minutes(2)
    before = alternating.seen()
    for command in begin:
        day.desk.sim.command(command)
    day.wait(lambda: bool(day.desk.rows("SELECT 1 FROM live_streams WHERE state <> 'live'")), "it is noticed")
    broke = day.market_ns() // MINUTE * MINUTE
    for seconds in (58, 62, 70):
        if outage in CONNECTED:
            day.advance(seconds)
        else:
            day.desk.sim.command(f"advance {seconds}")
    for command in end:
        day.desk.sim.command(command)
    day.stream_begins(5)
    alternating.minutes(2)
    now = alternating.agreed()
    assert {at for at, state in now.bars if state == "warm_up" and at >= broke}, "some came too late"
    assert now.gaps - before.gaps
    assert len(now.orders) > len(before.orders), "it goes on"
    assert {one.state for one in now.orders} == {"filled"}
    first = now.orders[0]
    assert now._replace(engine=now.engine + 10).differences() != []
    assert now._replace(orders=[first._replace(placed=2), *now.orders[1:]]).differences() != []
    assert now._replace(orders=now.orders[1:]).differences() != []
    assert now._replace(bars=[bar for bar in now.bars if bar[0] != broke - MINUTE]).differences() != []
    assert now._replace(gaps=before.gaps).differences() != []


def test_an_order_into_a_dead_socket_is_the_only_one_until_a_person_says_what_became_of_it(alternating: World) -> None:
    day = alternating.day
    alternating.minutes(1)
    before = alternating.seen()
    day.desk.sim.command("half_open 5")
    day.minute([alternating.run])
    day.wait(lambda: alternating.of_orders()[-1] == "unknown", "nobody knows what became of the order")
    for _ in range(2):
        day.minute([alternating.run])
    now = alternating.agreed()
    (order,) = now.orders[len(before.orders) :]
    assert (order.state, order.placed, now.engine_orders) == ("unknown", 0, [order.ref])
    assert now.position == before.position
    with day.strategies.db.transaction() as cursor:
        cursor.execute("SELECT id FROM orders WHERE state = 'unknown'")
        (row,) = cursor.fetchall()
        change.resolve(cursor, row.id, "never_arrived", by="user:1", note="not in TWS", now=day.market_ns())
    day.wait(lambda: alternating.seen().orders[-1].run_state == "denied", "the run knows of it")
    alternating.minutes(3)
    now = alternating.agreed()
    assert len(now.orders) > len(before.orders) + 1, "it decides anew"


# ---- a night ---------------------------------------------------------------------------------------------------------


def test_over_a_night_an_order_rests_and_fills_and_one_for_the_day_ends_and_is_decided_on_anew(
    servers: SimpleNamespace, tmp_path: Path, dsn: str
) -> None:
    with parity_day(servers.group, tmp_path, dsn, start="2026-03-02T20:56:30Z") as day:
        overnight = world(day, tmp_path, OVERNIGHT)
        sim = day.desk.sim
        day.minute([overnight.run])
        day.wait(lambda: overnight.of_orders() == ["working", "working"], "both rest")
        sim.command("ack_delay 120")  # IB's message must not come before the time by which it is one of an end
        sim.command("set_clock 2026-03-02T21:00:20Z")
        for _ in range(3):
            day.advance(60)
        sim.command("ack_delay 0")
        day.wait(lambda: sorted(overnight.of_orders()) == ["expired", "working"], "that of the day is over")
        day.wait(lambda: len(expired(overnight)) == 1, "its engine knows of it")
        sim.command("set_clock 2026-03-03T04:45:00Z")
        sim.command("reset_window 90")
        day.desk.wait(lambda: day.desk.status() != "ready", "the order process sees the reset", tell=day.desk.log)
        day.advance(100)
        day.desk.wait(lambda: day.desk.status() == "ready", "the order process is ready again", tell=day.desk.log)
        sim.command("set_clock 2026-03-03T14:30:05Z")
        day.stream_begins(5)
        (resting,) = [one for one in overnight.seen().orders if one.state == "working"]
        (row,) = day.desk.rows("SELECT id FROM orders WHERE state = 'working'")
        sim.command(f"fill_now {row.id} 10 290.00")
        day.wait(lambda: overnight.seen().position == 10, "it fills on the next day")
        for _ in range(2):
            day.minute([overnight.run])
        now = overnight.agreed()
        assert now.engine == 10
        (anew,) = [one for one in now.orders if one.state == "working"]
        assert now.engine_orders == [anew.ref]
        assert anew.quantity == Decimal(5)
        assert anew.decided_ns >= parse_rfc3339("2026-03-03T14:31:00Z")
        assert sorted(one.state for one in now.orders) == ["expired", "filled", "working"]
        assert now._replace(engine_orders=[resting.ref]).differences() != []
        day.strategies.want(overnight.run.id, Wanted.STOPPED)
        done = day.strategies.over(overnight.run)
        assert (done.state, done.orders, done.fills) == ("stopped", 3, 1)
        assert sorted(overnight.of_orders()) == ["cancelled", "expired", "filled"]


def expired(overnight: World) -> list[str]:
    events = overnight.day.strategies.events(overnight.run, "signal")
    return [str(one["order"]) for one in events if one["name"] == "expired"]
