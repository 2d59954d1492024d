"""Many orders at once: none is lost, IB gets them no faster than it takes them, and the room for cancels stays free.

Times are those of the simulator's log. It hangs up on who sends faster than fifty messages in a second.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.support.order_process import OrderStack, order_stack

STOCKS = ("AAPL", "MSFT", "GOOGL", "AMZN", "TSLA", "NVDA", "QQQ", "TLT", "SPY", "IWM")
SLOW = {"orders_messages_per_s": "6", "orders_kept_for_cancels": "2", "orders_ack_timeout_s": "30"}
"""Four orders in a second: so few that also a busy machine would send more."""
PER_S, BURST = 4, 14
WINDOW_NS = 750_000_000
"""A little less than a second: what left a busy machine a second apart may be read closer together."""


@pytest.fixture
def stack(servers: Any, tmp_path: Any, dsn: str) -> Iterator[OrderStack]:
    with order_stack(servers.group, tmp_path, dsn, "--reject-rate") as made:
        yield made


def offer(stack: OrderStack, count: int, **fields: Any) -> list[str]:
    """So many resting orders, accepted in one moment, over ten instruments."""
    instruments = [stack.learn(symbol) for symbol in STOCKS]
    for one in instruments:
        stack.quote(one, 2.0)  # so that a limit of one dollar, at which nothing fills, passes the collar
    rows = [
        stack.new(
            con_id=one.con_id,
            symbol=one.symbol,
            instrument_id=one.instrument_id,
            quantity=Decimal(1),
            limit_price=Decimal(1),
            unit_value=Decimal(1),
            **fields,
        )
        for one in (instruments[number % len(instruments)] for number in range(count))
    ]
    for row in rows:
        stack.accept(row)
    return [str(row.id) for row in rows]


def most_within(times: list[int], window_ns: int) -> int:
    return max(sum(at <= one < at + window_ns for one in times) for at in times)


def too_fast(stack: OrderStack) -> list[Any]:
    """The simulator's errors 100."""
    log = stack.sim.command("received error 50000")["received"]
    return [one for one in log if int(one["fields"]["code"]) == 100]


def sent_in_a_burst(stack: OrderStack, **settings: str) -> int:
    """The most orders that IB got within the window, of a burst that was accepted before the process started."""
    orders = offer(stack, BURST)
    stack.start(**settings)
    stack.wait(lambda: len(stack.placed()) >= BURST, "IB has got all", tell=stack.log)
    stack.wait(
        lambda: not stack.rows("SELECT 1 FROM orders WHERE state <> 'working'"), "IB works on all", tell=stack.log
    )
    assert Counter(stack.placed()) == Counter(orders), "each once"
    return most_within([int(one["time_ns"]) for one in stack.received("placeOrder")], WINDOW_NS)


def test_of_a_burst_none_is_lost_and_no_more_go_out_in_a_second_than_may(stack: OrderStack) -> None:
    assert sent_in_a_burst(stack, **SLOW) <= PER_S


def test_a_process_that_may_send_faster_is_seen_to(stack: OrderStack) -> None:
    assert sent_in_a_burst(stack) > PER_S
    assert too_fast(stack) == []


def test_a_cancel_goes_out_before_the_orders_that_wait_for_their_second(stack: OrderStack) -> None:
    stack.start(**SLOW)
    first = stack.place(limit_price=Decimal("280.00"))
    stack.until(first, "working")
    offer(stack, BURST)
    stack.cancel(first)
    stack.until(first, "cancelled")
    (cancelled,) = [int(one["time_ns"]) for one in stack.received("cancelOrder")]
    stack.wait(lambda: len(stack.placed()) == BURST + 1, "IB has got all", tell=stack.log)
    assert sum(int(one["time_ns"]) > cancelled for one in stack.received("placeOrder")) > 0


def test_rounds_of_ten_over_ten_instruments_fill_and_none_grows_stale(stack: OrderStack) -> None:
    stack.start()
    instruments = [stack.learn(symbol) for symbol in STOCKS]
    for side in ("BUY", "SELL", "BUY", "SELL"):
        rows = [
            stack.new(
                con_id=one.con_id,
                symbol=one.symbol,
                instrument_id=one.instrument_id,
                side=side,
                type="MKT",
                limit_price=None,
                reducing=side == "SELL",
            )
            for one in instruments
        ]
        for row in rows:
            stack.accept(row)
        for row in rows:
            stack.until(row.id, "filled")
    assert len(set(stack.placed())) == len(stack.placed()) == 40
    assert stack.rows("SELECT 1 FROM orders WHERE state <> 'filled'") == []
    assert too_fast(stack) == []
