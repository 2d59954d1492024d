"""An entry that ends after a part of it has filled: its exits protect what was filled, no less and no more, whatever IB makes of
them, and whoever dies meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest

from nautilus.auth.principal import Client
from nautilus.db.bridge import status
from nautilus.orders import kill
from tests.support.chaos_book import orders_of
from tests.support.order_ledger import findings
from tests.support.order_process import OrderStack, order_stack

FAR = {"limit_price": Decimal("420.00")}
"""A take-profit that the market does not reach."""
Started = Callable[..., OrderStack]


@pytest.fixture
def started(servers: SimpleNamespace, tmp_path: Path, dsn: str) -> Iterator[Started]:
    """Starts the stack of a test. left: what the simulator makes of the exits of an entry that ends in part."""
    running: list[AbstractContextManager[OrderStack]] = []

    def start(left: str = "end", **settings: str) -> OrderStack:
        running.append(order_stack(servers.group, tmp_path, dsn, "--left-children", left, settings=settings))
        return running[0].__enter__()

    yield start
    for one in running:
        one.__exit__(None, None, None)


def partly_filled(stack: OrderStack) -> list[UUID]:
    """Entry, take-profit and stop-loss of a bracket for 10, of which 4 are filled."""
    legs = stack.bracket(take_profit=FAR)
    stack.until(legs[0], "working")
    stack.sim.command(f"fill_now {legs[0]} 4")
    stack.wait(lambda: stack.order(legs[0]).filled == 4, "a part fills", tell=stack.log)
    return legs


def at_ib(stack: OrderStack) -> list[tuple[str, str, float]]:
    """The open orders that IB has: side, type, and what is left of each."""
    found = orders_of(stack.sim, stack.folder)
    return sorted(("BUY" if one.buys else "SELL", one.kind, one.remaining) for one in found if one.open)


def exits_of(quantity: int) -> list[tuple[str, str, float]]:
    return [("SELL", "LMT", quantity), ("SELL", "STP", quantity)]


def protected(stack: OrderStack, quantity: int) -> None:
    """IB has exits for this quantity, and so do our rows."""
    stack.wait(lambda: at_ib(stack) == exits_of(quantity), "exits protect it", tell=lambda: (at_ib(stack), stack.log()))
    open_rows = (
        "SELECT side, type, quantity - filled AS left FROM orders WHERE state IN ('held', 'working') ORDER BY type"
    )
    rows = lambda: [tuple(row) for row in stack.rows(open_rows)]  # noqa: E731
    stack.wait(lambda: rows() == exits_of(quantity), "our rows say so", tell=lambda: (rows(), stack.log()))
    assert findings(stack.db) == []


def count(stack: OrderStack, query: str) -> int:
    return int(stack.rows(f"SELECT count(*) AS n FROM {query}")[0].n)


def incidents(stack: OrderStack) -> set[str]:
    return {row.code for row in stack.rows("SELECT code FROM incidents WHERE until IS NULL")}


# ---- whoever ends the entry ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["end", "stay"])
def test_exits_of_an_entry_that_is_cancelled_in_part_are_for_what_was_filled(started: Started, left: str) -> None:
    """Whether IB ends them with the entry or leaves them as they are; when one of them fills, the other one is over."""
    stack = started(left)
    entry, *_ = partly_filled(stack)
    stack.cancel(entry)
    stack.until(entry, "cancelled")
    protected(stack, 4)
    (profit,) = stack.rows(
        "SELECT id FROM orders WHERE side = 'SELL' AND type = 'LMT' AND state IN ('held', 'working')"
    )
    stack.sim.command(f"fill_now {profit.id} 1")
    protected(stack, 3)
    stack.sim.command(f"fill_now {profit.id}")
    stack.until(profit.id, "filled")
    stack.wait(lambda: at_ib(stack) == [], "the other one is over", tell=lambda: at_ib(stack))
    stack.wait(lambda: not count(stack, "risk_book WHERE position <> 0 OR reserved_sell <> 0"), "nothing is left")
    assert "order-exits" not in incidents(stack)
    assert findings(stack.db) == []


def test_an_entry_that_a_person_cancels_in_tws_is_no_other_case(started: Started) -> None:
    stack = started()
    entry, *_ = partly_filled(stack)
    stack.sim.command(f"manual_cancel {entry}")
    stack.until(entry, "cancelled")
    protected(stack, 4)


def test_an_entry_that_expires_in_part_leaves_exits_that_last_longer(started: Started) -> None:
    """The entry is for the day, its exits are good till cancelled; the new ones wait for the next opening."""
    stack = started()
    entry, *_ = partly_filled(stack)
    stack.sim.command("set_clock 2026-03-02T21:00:30Z")
    stack.until(entry, "expired", "cancelled")
    protected(stack, 4)


def test_a_life_that_dies_over_the_end_of_an_entry_leaves_it_to_the_next(started: Started) -> None:
    stack = started()
    entry, *_ = partly_filled(stack)
    stack.kill()
    stack.sim.command(f"manual_cancel {entry}")
    assert at_ib(stack) == []
    stack.start()
    protected(stack, 4)


def test_a_life_that_dies_before_it_has_mended_them_leaves_it_to_the_next_even_when_ib_has_forgotten(
    started: Started,
) -> None:
    """On the next day IB names neither the entry nor its exits any more."""
    stack = started()
    entry, *_ = partly_filled(stack)
    stack.sim.command(f"manual_cancel {entry}")
    stack.until(entry, "cancelled")
    stack.kill()
    assert at_ib(stack) == []
    stack.sim.command("set_clock 2026-03-03T17:00:00Z")
    stack.start()
    protected(stack, 4)


def test_what_fills_after_the_end_is_protected_too(started: Started) -> None:
    stack = started()
    entry, *_ = partly_filled(stack)
    stack.sim.command(f"fill_after_cancel {entry} late 600")
    stack.cancel(entry)
    stack.until(entry, "cancelled")
    protected(stack, 4)
    stack.sim.command("advance 601")
    stack.until(entry, "filled")
    protected(stack, 10)


def test_an_entry_that_fills_after_its_end_alone_gets_its_exits_back(started: Started) -> None:
    stack = started()
    entry, *_ = stack.bracket(take_profit=FAR)
    stack.until(entry, "working")
    stack.sim.command(f"fill_after_cancel {entry} late 5")
    stack.cancel(entry)
    stack.until(entry, "cancelled")
    stack.sim.command("advance 6")
    stack.until(entry, "filled")
    protected(stack, 10)


def test_a_fill_of_the_entry_that_is_taken_back_makes_its_exits_smaller(started: Started) -> None:
    stack = started()
    entry, *_ = partly_filled(stack)
    stack.sim.command(f"fill_now {entry}")
    stack.until(entry, "filled")
    stack.sim.command("bust_execution last")
    protected(stack, 4)


# ---- halts -----------------------------------------------------------------------------------------------------------


def killed(stack: OrderStack, cancel: str) -> None:
    with stack.db.transaction() as cursor:
        now = status.market_now(cursor)
        kill.kill(cursor, None, reason="a test", by="user:1", client=Client("local"), now=now, cancel=cancel)


def test_a_kill_that_ends_the_entry_in_part_leaves_what_was_filled_protected(started: Started) -> None:
    """A kill with `entries` leaves exits, and IB ends them with their entry; trading is halted meanwhile."""
    stack = started()
    entry, *_ = partly_filled(stack)
    killed(stack, "entries")
    stack.until(entry, "cancelled")
    protected(stack, 4)
    killed(stack, "entries")
    protected(stack, 4)


@pytest.mark.parametrize("cancel", ["ours", "everything"])
def test_a_kill_of_all_orders_is_followed_by_none(started: Started, cancel: str) -> None:
    stack = started()
    entry, *_ = partly_filled(stack)
    killed(stack, cancel)
    stack.until(entry, "cancelled")
    done = "kill_orders WHERE done_at IS NOT NULL"
    stack.wait(lambda: count(stack, done) == 1, "the kill is done", tell=stack.log)
    settled(stack)
    assert (at_ib(stack), len(stack.placed())) == ([], 3)


def test_new_exits_are_over_after_a_kill_of_all_orders_and_nobody_is_alarmed(started: Started) -> None:
    stack = started()
    entry, *_ = partly_filled(stack)
    stack.cancel(entry)
    protected(stack, 4)
    killed(stack, "ours")
    stack.wait(lambda: at_ib(stack) == [], "they are cancelled", tell=stack.log)
    settled(stack)
    assert len(stack.placed()) == 5
    assert "order-exits" not in incidents(stack)


def settled(stack: OrderStack) -> None:
    """Wait for a heartbeat that comes more than a second from now: meanwhile the process has looked at the exits twice."""
    (now,) = stack.rows("SELECT clock_timestamp() AS at")
    later = "SELECT 1 FROM order_process WHERE heartbeat > %s::timestamptz + interval '1.5 s'"
    stack.wait(lambda: stack.rows(later, now.at), "a heartbeat comes", tell=stack.log)


# ---- what is left as it is -------------------------------------------------------------------------------------------


def test_exits_that_somebody_cancelled_stay_cancelled(started: Started) -> None:
    """Another entry that ends in part later shows when the process has looked at the first."""
    stack = started()
    entry, *exits = partly_filled(stack)
    other, *_ = partly_filled(stack)
    for leg in exits:
        stack.cancel(leg)
        stack.until(leg, "cancelled")
    stack.cancel(entry)
    stack.until(entry, "cancelled")
    stack.cancel(other)
    protected(stack, 4)
    placed = stack.rows("SELECT DISTINCT oca_group FROM orders WHERE group_role <> '' AND group_kind = 'oca'")
    assert [row.oca_group for row in placed] == [f"exits of {other}"]


def test_with_report_a_person_is_told_and_nothing_is_placed(started: Started) -> None:
    stack = started(orders_bracket_repair="report")
    entry, *_ = partly_filled(stack)
    stack.cancel(entry)
    stack.wait(lambda: "order-exits" in incidents(stack), "it is told", tell=stack.log)
    assert (at_ib(stack), len(stack.placed())) == ([], 3)


def test_new_exits_that_ib_refuses_are_told_and_not_tried_again(started: Started) -> None:
    stack = started()
    entry, *_ = partly_filled(stack)
    for _ in range(2):
        stack.sim.command('reject_order 201 "Order rejected - reason: no"')
    stack.cancel(entry)
    stack.wait(lambda: "order-exits" in incidents(stack), "it is told", tell=stack.log)
    assert (at_ib(stack), len(stack.placed())) == ([], 5)


def test_a_change_of_an_exit_leaves_it_with_its_entry_for_as_long_as_ib_has_that(started: Started) -> None:
    """Alone it would go live with its whole quantity, when a part of the entry has filled."""
    stack = started()
    _, _, loss = partly_filled(stack)
    request = stack.modify(loss, stop_price="251.00")
    stack.wait(lambda: stack.request(request).state == "confirmed", "IB shows it", tell=stack.log)
    (stop,) = [one for one in orders_of(stack.sim, stack.folder) if one.reference == str(loss)]
    assert stop.parent_id > 0
