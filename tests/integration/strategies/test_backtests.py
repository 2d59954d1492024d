"""Back-tests from a row to its result: a real host, a real child with the engine, a real database."""

from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

import pytest

from nautilus.db.strategies import results, sweeps, templates
from nautilus.market.calendar import Calendar
from tests.support.stored_bars import stock
from tests.support.strategy_host import (
    DAYS,
    FIRST,
    KNOWN,
    MINUTE,
    StrategyStack,
    sessions,
    strategy_stack,
    waves,
)
from tests.support.strategy_rows import series_of


@pytest.fixture
def stack(tmp_path, dsn) -> Iterator[StrategyStack]:
    with strategy_stack(tmp_path, dsn) as made:
        yield made


def test_a_back_test_ends_with_its_fills_its_equity_and_its_figures(stack):
    stack.store()
    stack.start()
    done = stack.over(stack.run())
    assert (done.state, done.reason) == ("completed", "")
    assert done.bars_done == done.bars_total == 5 * 390
    assert done.fills == done.orders > 10
    assert done.denied == done.rejected == 0
    assert len(done.fills_hash) == 64
    assert done.engine.startswith("nautilus_trader ")
    assert list(done.data_versions.values()) == [6]
    with stack.db.transaction() as cursor:
        orders, fills = results.orders(cursor, done.id), results.fills(cursor, done.id)
        equity = results.equity(cursor, done.id)
        found = {row.id: row for row in templates.every_template(cursor)}
    assert (len(orders), len(fills)) == (done.orders, done.fills)
    assert {row.state for row in orders} == {"filled"}
    assert all(row.decided_price is not None for row in orders)
    assert sum(f.quantity if f.side == "BUY" else -f.quantity for f in fills) == fills[-1].position
    assert done.metrics is not None
    assert sum(f.realized or Decimal(0) for f in fills) == Decimal(done.metrics["realized_pnl"])
    assert sum(f.commission or Decimal(0) for f in fills) == Decimal(done.metrics["commissions"])
    assert Decimal(done.metrics["total_pnl"]) == equity[-1].equity - 100_000
    assert 2 <= len(equity) <= 1_500
    assert found["ema_cross"].error is None
    assert found["ema_cross"].code_hash == done.code_hash


def test_equal_runs_have_equal_fills_whatever_is_killed_meanwhile(stack):
    stack.store()
    stack.start(strategy_backtests="1")
    first = stack.over(stack.run())
    slow = stack.run()
    stack.wait(lambda: stack.read(slow.id).state != "queued", "the second run has begun")
    stack.kill_child()
    again = stack.over(slow)
    assert (again.state, again.restarts) == ("completed", 1)
    third = stack.run()
    stack.wait(lambda: stack.read(third.id).state != "queued", "the third run has begun")
    stack.kill()
    stack.start()
    last = stack.over(third)
    assert last.state == "completed"
    assert first.fills_hash == again.fills_hash == last.fills_hash != ""
    with stack.db.transaction() as cursor:
        assert len({len(results.fills(cursor, run.id)) for run in (first, again, last)}) == 1


def test_a_run_as_of_its_versions_gives_the_same_after_the_data_have_changed(stack):
    stack.store()
    stack.start()
    first = stack.over(stack.run())
    changed = [
        bar._replace(close=bar.close + 1, high=bar.high + 2) for bar in waves(sessions("2026-10-06")[0])[100:200]
    ]
    one = sessions("2026-10-06")[0]
    stack.bars.record(stack.instrument, "1m", changed, settled=[(one.open_ns, one.close_ns)])
    again, newest = stack.run(as_of=first.data_versions), stack.run()
    again, newest = stack.over(again), stack.over(newest)
    assert (again.state, newest.state) == ("completed", "completed")
    assert again.data_versions == first.data_versions != newest.data_versions
    assert again.fills_hash == first.fills_hash
    assert newest.fills_hash != first.fills_hash, "the change is large enough to be seen"


@pytest.mark.parametrize(
    ("changed", "state", "reason"),
    [
        ({"series": [series_of(1, price="MIDPOINT")]}, "failed", "was never fetched: backfill it first"),
        ({"series": [series_of(1, "5m")]}, "failed", "was never fetched: backfill it first"),
        ({"start_ns": 10**18, "end_ns": 10**18 + MINUTE}, "failed", "has no bars from"),
        ({"template_id": "no_such"}, "error", "no_such"),
        ({"parameters": {"fast": "many"}}, "error", "fast"),
        ({"options": {"fill": "magic"}}, "failed", "options.fill"),
        ({"as_of": {"1": 99}}, "failed", "has no version 99"),
    ],
)
def test_a_run_that_cannot_be_carried_out_says_why(stack, changed, state, reason):
    stack.store("2026-10-05")
    stack.start()
    done = stack.over(stack.run(changed.pop("template_id", "ema_cross"), **changed))
    assert (done.state, reason in done.reason) == (state, True), done.reason


def test_a_pair_is_not_traded_on_midpoints(stack):
    pair = stock(7, "EUR")._replace(asset_class="CASH", instrument_id="EUR/USD.IDEALPRO", min_tick=0.00005)
    stack.bars.instrument(pair, Calendar.of(sessions(*DAYS), KNOWN, "America/New_York"))
    stack.bars.record(pair, "1m", waves(sessions(FIRST)[0]), price="MIDPOINT")
    stack.start()
    done = stack.over(stack.run(series=[series_of(7, price="MIDPOINT")]))
    assert done.state == "failed"
    assert "needs bars of ASK and BID beside MIDPOINT" in done.reason


def test_bars_that_were_not_fetched_are_named_in_the_result(stack):
    stack.store("2026-10-05", "2026-10-07", "2026-10-08", "2026-10-09")
    stack.start()
    done = stack.over(stack.run())
    assert done.state == "completed"
    assert "AAPL.NASDAQ 1m TRADES rth: bars of 1 ranges were not fetched, first 2026-10-06T13:30:00Z" in done.notes
    assert "AAPL.NASDAQ 1m TRADES rth: 0 of 50 bars to warm up with" in done.notes
    assert any(note.startswith("not simulated: margin") for note in done.notes)


def test_runs_of_a_sweep_go_side_by_side(stack):
    stack.store("2026-10-05")
    with stack.db.transaction() as cursor:
        sweep = sweeps.insert(cursor, sweep_id=uuid4(), owner="user:1", name="", grid={"fast": [3, 5, 8]}, runs=3)
    made = [
        stack.run(parameters={"fast": fast}, sweep_id=sweep.id, sweep_n=n, series=[series_of(1)])
        for n, fast in enumerate((3, 5, 8))
    ]
    stack.start(strategy_backtests="2")
    stack.wait(lambda: len(stack.children()) == 2, "two children at once")
    done = [stack.over(run) for run in made]
    assert {run.state for run in done} == {"completed"}
    assert len({run.fills_hash for run in done}) == 3
