"""Paper: a real child follows rows of live bars. Its decisions and fills are those of a back-test of the same bars."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from nautilus.clock import NS_PER_S
from nautilus.db.strategies import results
from nautilus.strategies.states import Mode, Wanted
from tests.support.strategy_host import DAYS, MINUTE, RESTING, StrategyStack, sessions, strategy_stack, waves
from tests.support.strategy_parity import bars_given, course_of, dropping, replayed

TODAY = sessions("2026-10-09")[0]
OPTIONS = {"capital": "100000", "warm_up_bars": 50}
PARAMETERS = {"fast": 3, "slow": 8, "short": True}


@pytest.fixture
def stack(tmp_path, dsn) -> Iterator[StrategyStack]:
    with strategy_stack(tmp_path, dsn) as made:
        made.store(*DAYS[:-1])
        made.begin_stream(TODAY)
        yield made


def paper(stack: StrategyStack, **changed):
    return stack.run(mode=Mode.PAPER, start_ns=None, end_ns=None, options=OPTIONS, parameters=PARAMETERS, **changed)


def worked_through(stack: StrategyStack, run, opened_ns: int) -> bool:
    with stack.db.transaction() as cursor:
        given = results.bars(cursor, run.id, limit=10_000)
    return any(row.opened_ns == opened_ns and row.done_at is not None for row in given)


def stands(stack: StrategyStack, run) -> Decimal | None:
    """Its profit, as its row has it."""
    found = (stack.read(run.id).metrics or {}).get("total_pnl")
    return None if found is None else Decimal(str(found))


def equity(stack: StrategyStack, run) -> Decimal:
    """The same by the newest point of its equity."""
    with stack.db.transaction() as cursor:
        return results.equity(cursor, run.id)[-1].equity - Decimal(str(OPTIONS["capital"]))


def test_a_day_in_paper_is_the_back_test_of_its_bars_price_for_price(stack):
    stack.start()
    run = paper(stack)
    stack.wait(lambda: stack.read(run.id).state == "running", "the run follows its bars")
    for bar in waves(TODAY, phase=35)[:120]:
        stack.minute(run, bar)
    known = course_of(stack.db, run)
    stack.wait(lambda: stack.read(run.id).fills == len(known.fills), "its fills are counted while it goes on")
    stack.wait(lambda: stands(stack, run) == equity(stack, run), "its profit is that of its equity while it goes on")
    assert stack.read(run.id).orders == len(known.decisions)
    stack.want(run.id, Wanted.STOPPED)
    done = stack.over(run)
    assert (done.state, done.bars_done) == ("stopped", 120)
    warm_up, given = bars_given(stack.db, done)
    assert (len(warm_up), len(given)) == (50, 120)
    seen, tested = course_of(stack.db, done), replayed(stack.db, done)
    assert len(seen.decisions) >= 3
    assert seen.decisions == tested.decisions
    assert seen.fills == tested.fills[: len(seen.fills)]
    assert len(seen.fills) >= len(seen.decisions) - 1, "an order of the last bar fills at an open that nobody saw"
    assert replayed(stack.db, done, mutation=dropping(range(40, 60))).decisions != seen.decisions, "a bar less is seen"
    assert done.metrics is not None
    assert done.fills == len(seen.fills)


@pytest.mark.parametrize("after_ns", [0, 3 * NS_PER_S], ids=["at its end", "later"])
def test_a_run_without_a_bar_to_warm_up_with_is_given_the_first_that_closes(stack, after_ns):
    stack.start()
    run = stack.run("buy_and_hold", mode=Mode.PAPER, start_ns=None, end_ns=None, options=OPTIONS | {"warm_up_bars": 0})
    until(stack, run, "running")
    for bar in waves(TODAY)[:2]:
        stack.minute(run, bar, after_ns=after_ns)
    assert held(stack, run) != 0


def test_a_paused_run_learns_and_enters_nothing(stack):
    stack.start()
    run = paper(stack)
    stack.wait(lambda: stack.read(run.id).state == "running", "the run follows its bars")
    bars = waves(TODAY, phase=35)
    stack.want(run.id, Wanted.PAUSED)
    stack.wait(lambda: stack.read(run.id).state == "paused", "the run is paused")
    for bar in bars[:70]:
        stack.minute(run, bar)
    with stack.db.transaction() as cursor:
        assert results.orders(cursor, run.id) == []
    stack.want(run.id, Wanted.RUNNING)
    stack.wait(lambda: stack.read(run.id).state == "running", "the run goes on")
    for bar in bars[70:170]:
        stack.minute(run, bar)
    with stack.db.transaction() as cursor:
        assert results.orders(cursor, run.id) != []


def test_a_pause_holds_from_the_first_bar_after_its_host_was_killed(stack):
    """Also for a bar that is given once more, as nobody knows what the killed process made of it."""
    stack.start()
    run = stack.run("buy_and_hold", mode=Mode.PAPER, start_ns=None, end_ns=None, options=OPTIONS)
    stack.wait(lambda: stack.read(run.id).state == "running", "the run follows its bars")
    stack.want(run.id, Wanted.PAUSED)
    stack.wait(lambda: stack.read(run.id).state == "paused", "the run is paused")
    bars = waves(TODAY)
    stack.minute(run, bars[0])
    stack.kill()
    with stack.db.transaction() as cursor:
        cursor.execute("UPDATE strategy_bars SET done_at = NULL WHERE run_id = %s AND state <> 'warm_up'", (run.id,))
        assert cursor.rowcount == 1
    stack.start()
    stack.wait(lambda: worked_through(stack, run, bars[0].ts), "the bar is worked through once more")
    stack.minute(run, bars[1])
    stack.wait(lambda: stack.read(run.id).state == "paused", "the run is paused again")
    stack.want(run.id, Wanted.STOPPED)
    assert stack.over(run).state == "stopped"
    with stack.db.transaction() as cursor:
        assert results.orders(cursor, run.id) == []


def test_a_run_that_is_killed_takes_up_what_it_had_and_decides_as_if_it_had_not_been(stack):
    """Its host while it holds a position, and its child while an order waits for the next open."""
    stack.start()
    run = paper(stack)
    bars = waves(TODAY, phase=35)
    until(stack, run, "running")
    left = iter(bars)
    while held(stack, run) == 0:
        stack.minute(run, next(left))
    kill(stack, run, "host")
    while not order_waits(stack, run):
        stack.minute(run, next(left))
    kill(stack, run, "child")
    for bar in list(left)[:10]:
        stack.minute(run, bar)
    stack.want(run.id, Wanted.STOPPED)
    done = stack.over(run)
    assert done.state == "stopped", done.reason
    seen, tested = course_of(stack.db, done), replayed(stack.db, done)
    assert len(seen.decisions) >= 2
    assert seen.decisions == tested.decisions
    assert seen.fills == tested.fills[: len(seen.fills)]
    assert len(seen.fills) >= len(seen.decisions) - 1
    assert done.metrics is not None
    with stack.db.transaction() as cursor:
        points, fills = results.equity(cursor, run.id), results.fills(cursor, run.id)
    gain = sum((row.realized or 0) - (row.commission or 0) for row in fills)
    assert points[-1].cash == 100_000 + gain, "the account goes on with the cash that it had"


@pytest.mark.parametrize(("victim", "on_crash"), [("child", "keep"), ("child", "cancel"), ("host", "cancel")])
def test_an_order_that_rests_when_its_process_is_killed_is_kept_or_cancelled(stack, victim, on_crash):
    bars = waves(TODAY, phase=45)  # they fall
    stack.strategy("resting", RESTING)
    stack.start()
    run = stack.run(
        "resting",
        mode=Mode.PAPER,
        start_ns=None,
        end_ns=None,
        parameters={"trade_size": "10", "until_ns": bars[0].ts + MINUTE, "price": f"{bars[4].low:.2f}"},
        options=OPTIONS | {"on_crash": on_crash},
    )
    until(stack, run, "running")
    for bar in bars[:2]:
        stack.minute(run, bar)
    assert [event["orders"] for event in stack.events(run, "signal")] == [0, 1], "its order rests"
    stack.wait(lambda: state_of(stack, run) == "accepted", "its row says so")
    kill(stack, run, victim)
    kept = on_crash == "keep"
    expected = "accepted" if kept else "cancelled"
    stack.wait(lambda: state_of(stack, run) == expected, f"its order is {expected}")
    for bar in bars[2:6]:
        stack.minute(run, bar)
    assert held(stack, run) == (10 if kept else 0), "what is kept fills where the market gets to its price"
    assert stack.events(run, "signal")[3]["orders"] == (1 if kept else 0)


LOWERED = """
from nautilus_trader.model import OrderSide, Price, Quantity
from strategy_runner.strategy import Strategy, StrategyParameters


class Lowered(Strategy):
    class Parameters(StrategyParameters):
        first: str
        second: str
        until_ns: int

    def prepare(self):
        self.seen, self.mine = 0, None

    def decide(self, bar):
        self.seen += 1
        if bar.ts_event <= self.parameters.until_ns:
            price = Price.from_str(self.parameters.first)
            order = self.order_factory.limit(self.instrument.id, OrderSide.BUY, Quantity(10, 0), price)
            self.mine = order.client_order_id
            self.submit_order(order)
        elif self.seen == 3 and self.mine is not None:
            self.modify_order(self.mine, price=Price.from_str(self.parameters.second))
"""


def test_an_order_whose_price_was_changed_rests_there_also_after_its_process_was_killed(stack):
    bars = waves(TODAY, phase=45)  # they fall
    stack.strategy("lowered", LOWERED)
    stack.start()
    parameters = {"first": "1.00", "second": f"{bars[5].low:.2f}", "until_ns": bars[0].ts + MINUTE}
    run = stack.run("lowered", mode=Mode.PAPER, start_ns=None, end_ns=None, parameters=parameters, options=OPTIONS)
    until(stack, run, "running")
    for bar in bars[:4]:
        stack.minute(run, bar)
    stack.wait(lambda: f"{orders_of(stack, run)[0].limit_price:.2f}" == parameters["second"], "its row says so")
    kill(stack, run, "child")
    for bar in bars[4:8]:
        stack.minute(run, bar)
    assert held(stack, run) == 10
    (order,) = orders_of(stack, run)
    assert (order.state, f"{order.limit_price:.2f}") == ("filled", parameters["second"])


def test_what_is_open_of_a_run_that_is_stopped_is_cancelled(stack):
    bars = waves(TODAY, phase=45)
    stack.strategy("resting", RESTING)
    stack.start()
    parameters = {"trade_size": "10", "until_ns": bars[0].ts + MINUTE, "price": "1.00"}
    run = stack.run("resting", mode=Mode.PAPER, start_ns=None, end_ns=None, parameters=parameters, options=OPTIONS)
    until(stack, run, "running")
    stack.minute(run, bars[0])
    assert state_of(stack, run) == "submitted", "it waits for the next open"
    stack.minute(run, bars[1])
    stack.wait(lambda: state_of(stack, run) == "accepted", "it rests")
    stack.want(run.id, Wanted.STOPPED)
    assert stack.over(run).state == "stopped"
    (order,) = orders_of(stack, run)
    assert (order.state, order.reason) == ("cancelled", "the run was stopped")


def state_of(stack: StrategyStack, run) -> str:
    (order,) = orders_of(stack, run)
    return str(order.state)


def test_a_run_that_is_flattened_closes_at_the_next_open_and_is_over(stack):
    stack.start()
    run = stack.run("buy_and_hold", mode=Mode.PAPER, start_ns=None, end_ns=None, options=OPTIONS)
    until(stack, run, "running")
    bars = waves(TODAY)
    for bar in bars[:2]:
        stack.minute(run, bar)
    assert held(stack, run) != 0
    stack.want(run.id, Wanted.FLAT)
    stack.wait(lambda: len(orders_of(stack, run)) == 2, "the closing order is decided")
    stack.pass_by(bars[2])
    done = stack.over(run)
    assert (done.state, done.reason) == ("stopped", "")
    with stack.db.transaction() as cursor:
        last = results.fills(cursor, run.id)[-1]
    assert (last.side, float(last.price), last.position) == ("SELL", bars[2].open, Decimal(0))


def orders_of(stack: StrategyStack, run):
    with stack.db.transaction() as cursor:
        return results.orders(cursor, run.id)


def until(stack: StrategyStack, run, state: str) -> None:
    stack.wait(lambda: stack.read(run.id).state == state, f"the run is {state}")


def held(stack: StrategyStack, run) -> Decimal:
    with stack.db.transaction() as cursor:
        fills = results.fills(cursor, run.id)
    return fills[-1].position or Decimal(0) if fills else Decimal(0)


def order_waits(stack: StrategyStack, run) -> bool:
    return any(row.state == "submitted" for row in orders_of(stack, run))


def kill(stack: StrategyStack, run, victim: str) -> None:
    """End the child, or the host with it, and wait until another one goes on."""
    before = stack.read(run.id)
    if victim == "child":
        stack.kill_child()
    else:
        stack.kill()
        stack.start()
    stack.wait(lambda: stack.read(run.id).token > before.token, "it is leased once more")
    until(stack, run, "running")


def test_a_bar_with_missing_parts_waits_for_history_and_a_later_change_is_noted(stack):
    stack.start(strategy_unconfirmed_s="1")
    run = paper(stack)
    stack.wait(lambda: stack.read(run.id).state == "running", "the run follows its bars")
    bars = waves(TODAY, phase=35)
    stack.minute(run, bars[0])
    stack.minute(run, bars[1], partial=True)
    stack.bars.record(stack.instrument, "1m", [bars[0]._replace(close=bars[0].close + 0.03, high=200.0)])
    stack.wait(lambda: bool(stack.events(run, "revision")), "the change is noted")
    with stack.db.transaction() as cursor:
        states = [row.state for row in results.bars(cursor, run.id) if row.state != "warm_up"]
    assert states == ["closed", "unconfirmed"]
    (event,) = stack.events(run, "revision")
    assert event["after"]["high"] == 200.0
    assert event["before"]["close"] == bars[0].close
