"""Live runs against the order process and the simulator: orders go through the ledger, as their owner."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from nautilus.clock import NS_PER_DAY, parse_rfc3339
from nautilus.db.auth import users
from nautilus.db.strategies import ledger, results
from nautilus.db.strategies.runs import RunRow
from nautilus.market.bar import Bar
from nautilus.market.calendar import Session
from nautilus.strategies.states import Mode, Wanted
from tests.support.order_process import OrderStack, order_stack
from tests.support.strategy_host import MINUTE, RESTING, StrategyStack, strategy_stack, waves
from tests.support.strategy_parity import course_of, dropping, replayed

OPEN = parse_rfc3339("2026-03-02T14:30:00Z")
SESSION = Session(OPEN, parse_rfc3339("2026-03-02T21:00:00Z"), date(2026, 3, 2))
KNOWN = (OPEN - 3 * NS_PER_DAY, OPEN + NS_PER_DAY)
PARAMETERS = {"fast": 3, "slow": 8, "trade_size": "10"}
ALWAYS_SHORT = """
from strategy_runner.strategy import Strategy


class AlwaysShort(Strategy):
    def decide(self, bar):
        return -self.trade_size
"""
FIRST = 149
"""The minute whose close is the simulator's noon."""


class Live(NamedTuple):
    """Strategies and the order desk, over one database."""

    strategies: StrategyStack
    desk: OrderStack

    def run(self, template: str = "ema_cross", **changed: Any) -> RunRow:
        given = {"parameters": PARAMETERS, "options": {"capital": "100000", "warm_up_bars": 50}, **changed}
        run = self.strategies.run(
            template, mode=Mode.LIVE, account=self.desk.account, start_ns=None, end_ns=None, **given
        )
        self.until_running(run)
        return run

    def until_running(self, run: RunRow) -> None:
        self.strategies.wait(lambda: self.strategies.read(run.id).state == "running", "the run follows its bars")

    def play(self, run: RunRow, bars: list[Bar]) -> None:
        """Minutes pass, each once the orders of the one before are over."""
        for bar in bars:
            self.strategies.minute(run, bar)
            self.settle(run)

    def settle(self, run: RunRow) -> None:
        """Until all orders of the run are over, and its rows say so."""
        self.desk.wait(lambda: not self._open(run), "the run's orders are over", 30, lambda: self.story(run))

    def story(self, run: RunRow) -> str:
        """What the rows say of the run's orders, for who reads a failure."""
        rows = self.desk.rows(
            "SELECT o.state, o.why, o.valid_until, s.state AS here, s.reason, e.kind, e.text FROM strategy_orders s"
            " LEFT JOIN orders o ON o.id = s.order_id LEFT JOIN order_events e ON e.order_id = o.id"
            " WHERE s.run_id = %s ORDER BY s.n, e.id",
            run.id,
        )
        host = self.strategies.host
        log = host.log.read_text()[-2_000:] if host is not None else ""
        return "\n".join(map(str, [self.strategies.read(run.id).state, self.desk.market_ns(), *rows, log]))

    def _open(self, run: RunRow) -> bool:
        with self.strategies.db.transaction() as cursor:
            if ledger.open_orders(cursor, run.principal):
                return True
            cursor.execute(
                "SELECT count(*) FROM strategy_orders WHERE run_id = %s AND state IN ('submitted', 'accepted')",
                (run.id,),
            )
            return bool(cursor.fetchone()[0])

    def at_broker(self, run: RunRow) -> list[str]:
        """How its orders stand in the ledger."""
        rows = self.desk.rows("SELECT state FROM orders WHERE principal = %s ORDER BY accepted_at", run.principal)
        return [row.state for row in rows]

    def held(self, run: RunRow) -> Decimal:
        with self.strategies.db.transaction() as cursor:
            found = ledger.executions(cursor, run.principal)
        return sum((one.quantity if one.side == "BUY" else -one.quantity for one in found), Decimal(0))


@pytest.fixture
def live(servers, tmp_path, dsn) -> Iterator[Live]:
    with (
        order_stack(servers.group, tmp_path, dsn, settings={}) as desk,
        strategy_stack(tmp_path, dsn, instrument=desk.instrument, days=[SESSION], known=KNOWN) as strategies,
    ):
        with strategies.db.transaction() as cursor:
            users.create(
                cursor,
                username="owner",
                email=None,
                password_hash="",
                scopes=["strategies:write", "orders:write"],
                accounts=[desk.account],
            )
        strategies.bars.record(strategies.instrument, "1m", waves(SESSION, base=300.0)[:FIRST])
        strategies.begin_stream(SESSION)
        strategies.bars.set_time(OPEN + FIRST * 60 * 10**9)
        desk.quote(desk.instrument, 300.0)
        strategies.start()
        yield Live(strategies, desk)


def test_a_live_run_trades_through_the_ledger_and_decides_as_the_back_test_of_its_bars(live):
    run = live.run()
    bars = waves(SESSION, base=300.0)[FIRST:]
    live.play(run, bars[:50])
    rows = live.desk.rows("SELECT * FROM orders WHERE principal = %s ORDER BY accepted_at", run.principal)
    assert len(rows) >= 1
    assert {(row.origin, row.state, row.account) for row in rows} == {("strategy", "filled", live.desk.account)}
    assert live.held(run) == 10
    live.strategies.want(run.id, Wanted.FLAT)
    done = live.strategies.over(run)
    assert done.state == "stopped", done.reason
    assert live.held(run) == 0
    assert live.desk.rows("SELECT 1 FROM strategy_claims") == []
    course, tested = course_of(live.strategies.db, done), replayed(live.strategies.db, done)
    assert course.decisions == tested.decisions
    assert replayed(live.strategies.db, done, mutation=dropping(range(25, 40))).decisions != course.decisions
    assert done.metrics is not None
    assert done.fills == len(rows) + 1
    figures = {name: Decimal(done.metrics[f"{name}_pnl"]) for name in ("total", "realized", "unrealized")}
    assert figures["unrealized"] == 0, "it holds nothing"
    assert figures["total"] == figures["realized"] - Decimal(done.metrics["commissions"]) != 0
    with live.strategies.db.transaction() as cursor:
        last, filled = results.equity(cursor, done.id)[-1], ledger.executions(cursor, done.principal)[-1]
    assert last.market_ns >= filled.ts, "the curve ends with what the host has closed"
    assert last.unrealized == 0
    assert last.equity == last.cash == 100_000 + figures["total"]


@pytest.mark.parametrize("victim", ["child", "host"])
def test_a_live_run_adopts_its_own_orders_and_position_after_a_crash(live, victim):
    run = live.run()
    bars = waves(SESSION, base=300.0)[FIRST:]
    live.play(run, bars[:40])
    held = live.held(run)
    assert held == 10
    if victim == "child":
        live.strategies.kill_child()
        live.strategies.wait(lambda: live.strategies.read(run.id).restarts == 1, "the child is missed")
    else:
        token = live.strategies.read(run.id).token
        live.strategies.kill()
        live.strategies.start()
        live.strategies.wait(lambda: live.strategies.read(run.id).token > token, "the next host has it")
    live.until_running(run)
    assert live.held(run) == held
    live.play(run, bars[40:90])
    live.strategies.want(run.id, Wanted.STOPPED)
    done = live.strategies.over(run)
    course, tested = course_of(live.strategies.db, done), replayed(live.strategies.db, done)
    assert course.decisions == tested.decisions
    assert live.held(run) == 0, "it has sold what it had bought before the crash, and no more"
    assert done.metrics is not None
    made_real = Decimal(done.metrics["realized_pnl"]) - Decimal(done.metrics["commissions"])
    with live.strategies.db.transaction() as cursor:
        points = results.equity(cursor, run.id)
    assert points[-1].cash == points[-1].equity == 100_000 + made_real, "what was earned before a crash stays"
    assert len(course.decisions) == 2


@pytest.mark.parametrize(("victim", "on_crash"), [("child", "keep"), ("child", "cancel"), ("host", "cancel")])
def test_an_order_that_rests_at_the_broker_when_its_process_is_killed_is_kept_or_cancelled(live, victim, on_crash):
    bars = waves(SESSION, base=300.0)[FIRST:]
    live.strategies.strategy("resting", RESTING)
    run = live.run(
        "resting",
        parameters={"trade_size": "10", "until_ns": bars[0].ts + MINUTE, "price": "290.00"},
        options={"capital": "100000", "warm_up_bars": 0, "on_crash": on_crash},
    )
    live.strategies.minute(run, bars[0])
    live.desk.wait(lambda: live.at_broker(run) == ["working"], "its order rests")
    token = live.strategies.read(run.id).token
    if victim == "child":
        live.strategies.kill_child()
    else:
        live.strategies.kill()
        live.strategies.start()
    live.strategies.wait(lambda: live.strategies.read(run.id).token > token, "it is leased once more")
    live.until_running(run)
    kept = on_crash == "keep"
    expected = "working" if kept else "cancelled"
    live.desk.wait(lambda: live.at_broker(run) == [expected], f"its order is {expected}")
    for bar in bars[1:3]:
        live.strategies.minute(run, bar)
    assert [event["orders"] for event in live.strategies.events(run, "signal")][::2] == [0, 1 if kept else 0]
    with live.strategies.db.transaction() as cursor:
        assert [row.state for row in results.orders(cursor, run.id)] == ["accepted" if kept else "cancelled"]
    live.strategies.want(run.id, Wanted.STOPPED)
    assert live.strategies.over(run).state == "stopped"
    assert live.at_broker(run) == ["cancelled"]
    with live.strategies.db.transaction() as cursor:
        assert [row.state for row in results.orders(cursor, run.id)] == ["cancelled"], "also of a run that is over"


def test_a_refused_order_ends_no_run_and_a_lost_connection_makes_no_second_order(live):
    bars = waves(SESSION, base=300.0)[FIRST:]
    run = live.run("buy_and_hold", parameters={"trade_size": "10"})
    notes = live.strategies.read(run.id).notes
    assert notes == [
        f"the limit short of {live.desk.account} is off: sales beyond what it holds are denied (short_not_allowed)"
    ]
    live.desk.sim.command("reject_next placeOrder 201 no-money")
    live.play(run, bars[:1])
    live.desk.sim.command("drop")
    live.play(run, bars[1:4])
    with live.strategies.db.transaction() as cursor:
        found = results.orders(cursor, run.id)
    assert [row.state for row in found] == ["rejected", "filled"]
    assert "no-money" in found[0].reason
    assert live.held(run) == 10
    live.strategies.want(run.id, Wanted.STOPPED)
    done = live.strategies.over(run)
    assert (done.state, done.orders, done.rejected, done.fills) == ("stopped", 2, 1, 1)


def test_a_short_that_paper_takes_is_denied_in_live_and_both_say_so(live):
    """Paper stands for no account."""
    live.strategies.strategy("always_short", ALWAYS_SHORT)
    bars = waves(SESSION, base=300.0)[FIRST:]
    run = live.run("always_short", parameters={"trade_size": "10"})
    live.play(run, bars[:2])
    with live.strategies.db.transaction() as cursor:
        found = results.orders(cursor, run.id)
    assert {row.state for row in found} == {"denied"}
    assert "the limit short is off" in found[0].reason
    assert any("short_not_allowed" in note for note in live.strategies.read(run.id).notes)
    live.strategies.want(run.id, Wanted.STOPPED)
    live.strategies.over(run)
    paper = live.strategies.run(
        "always_short",
        mode=Mode.PAPER,
        start_ns=None,
        end_ns=None,
        parameters={"trade_size": "10"},
        options={"capital": "100000", "warm_up_bars": 0},
    )
    live.until_running(paper)
    for bar in bars[2:5]:
        live.strategies.minute(paper, bar)
    with live.strategies.db.transaction() as cursor:
        assert [(row.side, row.position) for row in results.fills(cursor, paper.id)] == [("SELL", Decimal(-10))]
    assert any("short_not_allowed" in note for note in live.strategies.read(paper.id).notes)


def test_an_owner_who_loses_the_right_to_trade_loses_the_run_too(live):
    run = live.run()
    bars = waves(SESSION, base=300.0)[FIRST:]
    live.play(run, bars[:5])
    before = live.desk.rows("SELECT count(*) AS n FROM orders WHERE principal = %s", run.principal)[0].n
    with live.strategies.db.transaction() as cursor:
        users.update(cursor, 1, scopes=["strategies:write"])
    for bar in bars[5:45]:
        live.strategies.minute(run, bar)
    live.strategies.wait(lambda: live.strategies.read(run.id).state == "paused", "the run is paused")
    row = live.strategies.read(run.id)
    assert (row.wanted, row.wanted_by) == ("paused", "host")
    assert live.desk.rows("SELECT count(*) AS n FROM orders WHERE principal = %s", run.principal)[0].n == before
    (incident,) = live.desk.rows("SELECT code, subject, detail FROM incidents WHERE keeper = 'strategy-host'")
    assert (incident.code, incident.subject) == ("strategy-rights-lost", str(run.id))
    assert incident.detail == {"reason": "its owner has lost the scope orders:write"}
