"""Paper fills as the back-test does; live runs trade through the host alone, and never more than they want."""

import subprocess
from itertools import pairwise
from typing import Any

import pytest

from nautilus.strategies.pipe import TO_RUNNER, line
from tests.support.strategy_runner import (
    INTERPRETER,
    MINUTE,
    OPEN,
    PAIR,
    ROOT,
    START,
    STOCK,
    Node,
    Runner,
    backtest,
    chunk,
    chunks_of,
    columns,
    market,
    minutes,
    needs_engine,
    scripted,
    series_of,
)

pytestmark = needs_engine
BARS = market(1)[0][:120]
MANUAL = """
from nautilus_trader.model import ClientOrderId, OrderSide, Price, Quantity
from strategy_runner.strategy import Strategy, StrategyParameters

class Manual(Strategy):
    class Parameters(StrategyParameters):
        steps: dict[int, str]

    def prepare(self):
        self.seen = 0

    def decide(self, bar):
        self.seen += 1
        step, _, value = self.parameters.steps.get(self.seen, "").partition(" ")
        name = self.instrument.id
        if step == "limit":
            order = self.order_factory.limit(name, OrderSide.BUY, Quantity(100, 0), Price.from_str(value))
            self.mine = order.client_order_id
            self.submit_order(order)
        elif step == "modify":
            self.modify_order(self.mine, price=Price.from_str(value))
        elif step == "cancel":
            self.cancel_order(ClientOrderId(value) if value else self.mine)
        elif step == "signal":
            order = self.cache.order(self.mine)
            self.signal("mine", status=str(order.status), price=str(order.price), filled=str(order.filled_qty))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("strategies")
    scripted(found)
    return scripted(found, MANUAL, "manual")


def kinds(messages, kind="submit"):
    return [one for one in messages if one["type"] == kind]


def written(node, kind):
    """The message, whether it came before or comes after the bar was done."""
    return (kinds(node.seen, kind) or node.until(kind))[-1]


# ---- paper -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False])
def test_paper_fills_at_the_price_and_time_of_the_back_test(announced):
    """Also where the host has not announced the opening of a bar."""
    expected = backtest([chunk(BARS)], parameters={"short": True}).fills
    with Node("paper", parameters={"short": True}) as node:
        for bar in BARS:
            node.bar(bar, forming=announced)
        done = node.end()
    assert done.fills == expected
    assert len(expected) > 5
    assert done.one("result")["fills"] == len(expected)
    at_closes = backtest([chunk(BARS)], parameters={"short": True}, fill="close").fills
    assert [one[2] for one in at_closes] != [one[2] for one in expected]  # the opponent


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize("sides", [("BID", "ASK"), ("ASK", "BID")], ids=["bids", "asks"])
def test_a_pair_in_paper_buys_at_the_ask_and_sells_at_the_bid_as_the_back_test_does(folder, sides, fill):
    """The host gives what the strategy follows last: it must not act before the other side of the minute is there."""
    quotes = {"BID": minutes([1.1, 1.1001, 1.1002, 1.1003]), "ASK": minutes([1.1002, 1.1003, 1.1004, 1.1005])}
    start = {
        "folder": folder,
        "template": "scripted",
        "parameters": {"wanted": {1: "1000", 2: "0"}},
        "instruments": [PAIR],
        "series": series_of(PAIR["con_id"], *sides),
        "fill": fill,
    }
    expected = backtest([chunks_of([columns(quotes[side], n) for n, side in enumerate(sides)])], **start).fills
    assert [one[:3] for one in expected] == [("BUY", "1000", "1.100200"), ("SELL", "1000", "1.100100")]
    names = ("opened_ns", "closed_ns", "open", "high", "low", "close", "volume")
    with Node("paper", **start) as node:
        for two in zip(*(quotes[side] for side in sides), strict=True):
            for n, bar in enumerate(two):
                node.send("forming", index=n, opened_ns=bar[0], open=bar[2])
            for n, bar in reversed(list(enumerate(two))):
                node.send("bar", index=n, state="closed", **dict(zip(names, bar, strict=True)))
            node.until("bar_done", closed_ns=two[0][1])
        assert node.end().fills == expected


def test_a_bar_that_comes_with_the_beginning_is_given_at_once():
    """However much of the pipe one read has brought: nothing more may come for a minute."""
    names = ("opened_ns", "closed_ns", "open", "high", "low", "close", "volume")
    first = dict(zip(names, BARS[0], strict=True))
    beginning = [
        line(TO_RUNNER, "start", **START | {"mode": "paper", "template": "buy_and_hold"}),
        line(TO_RUNNER, "orders", orders=[]),
        line(TO_RUNNER, "positions", positions=[]),
        line(TO_RUNNER, "bar", index=0, state="closed", **first),
    ]
    with Runner() as runner:
        runner.write(b"".join(beginning))
        runner.until("bar_done", closed_ns=BARS[0][1])


def test_ids_of_paper_and_live_are_random():
    with Node("paper", template="buy_and_hold") as node:
        node.bar(BARS[0])
        node.bar(BARS[1])
        done = node.end()
    key = done.of("fill")[0]["client_order_id"]
    assert len(key) == 36
    assert key.count("-") == 4


def carried_on(folder, fill, until, **before):
    """Bars with a position that turns, in two processes: the second one is given what the first had after `until` bars."""
    bars = minutes([100.0, 101.0, 103.0, 102.0, 104.0, 103.0, 99.0, 98.0, 97.0, 99.0])
    wanted = {2: "100", 6: "-50", 9: "0"}
    start = {"folder": folder, "template": "scripted", "fill": fill}
    with Node("paper", **start, parameters={"wanted": wanted}) as node:
        for bar in bars:
            node.bar(bar)
        whole = node.end()
    later = {n - until: target for n, target in wanted.items() if n > until}
    cash = [one["cash"] for one in whole.of("equity")][until - 1]
    with Node("paper", **start, parameters={"wanted": later}, capital=cash, **before) as node:
        for bar in bars[until:]:
            node.bar(bar)
        return whole, node.end()


@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_paper_takes_up_the_position_of_an_earlier_life(folder, fill):
    held = {"con_id": STOCK["con_id"], "quantity": "100", "average_price": "101" if fill == "close" else "101.00"}
    whole, rest = carried_on(folder, fill, 4, positions=[held])
    assert len(whole.fills) >= 2
    assert rest.fills == whole.fills[1:]
    assert [one["equity"] for one in rest.of("equity")] == [one["equity"] for one in whole.of("equity")[4:]]
    assert rest.one("result")["positions"] == whole.one("result")["positions"]
    assert rest.one("result")["orders"] == len(whole.fills) - 1, "bringing the position back is no order"


def test_paper_takes_up_an_order_that_waited_for_the_next_open(folder):
    waited = adopted(order_type="MARKET", quantity="100", price=None, time_in_force="GTC")
    whole, rest = carried_on(folder, "next_open", 2, orders=[waited])
    assert [one[:3] for one in rest.fills] == [one[:3] for one in whole.fills]
    assert rest.of("fill")[0]["client_order_id"] == waited["client_order_id"]
    assert [one["equity"] for one in rest.of("equity")] == [one["equity"] for one in whole.of("equity")[2:]]


# ---- live ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["ema_cross", "bollinger_reversion", "donchian_breakout", "buy_and_hold"])
def test_no_template_exceeds_its_target_when_fills_come_two_bars_late(template):
    parameters = {} if template == "buy_and_hold" else {"short": True}
    late: list[tuple[int, dict[str, Any]]] = []
    peaks: list[int] = []
    position = orders = 0
    with Node("live", template=template, parameters=parameters) as node:
        for n, bar in enumerate(market(1, seed=5)[0][:150]):
            for order in [one for at, one in late if at <= n]:
                position += int(order["quantity"]) * (1 if order["side"] == "BUY" else -1)
                node.fill(order, bar[2])
            late = [(at, one) for at, one in late if at > n]
            submitted = kinds(node.bar(bar))
            orders += len(submitted)
            late += [(n + 2, one) for one in submitted]
            assert len(late) <= 1, "two orders under way"
            peaks.append(position)
        done = node.end()
    assert done.of("fault") == []
    assert max(map(abs, peaks)) == 100
    assert orders >= (1 if template == "buy_and_hold" else 3)
    assert all(abs(b - a) in (0, 100, 200) for a, b in pairwise(peaks))


def test_an_order_goes_to_the_host_and_its_events_come_back(folder):
    steps = {1: "limit 99.50", 2: "signal", 3: "modify 99.40", 4: "signal", 5: "signal", 6: "cancel", 7: "signal"}
    bars = minutes([100.0] * 8)
    with Node("live", folder=folder, template="manual", parameters={"steps": steps}) as node:
        submitted = kinds(node.bar(bars[0]))[0]
        assert {name: submitted[name] for name in ("con_id", "side", "order_type", "quantity", "price", "bar_ns")} == {
            "con_id": STOCK["con_id"],
            "side": "BUY",
            "order_type": "LIMIT",
            "quantity": "100",
            "price": "99.50",
            "bar_ns": bars[0][1],
        }
        node.event(submitted, "submitted")
        node.event(submitted, "accepted")
        node.bar(bars[1])
        node.bar(bars[2])
        modified = written(node, "modify")
        assert (modified["client_order_id"], modified["price"]) == (submitted["client_order_id"], "99.40")
        node.event(submitted, "updated", price="99.40")
        node.bar(bars[3])
        node.fill(submitted, 99.4, "30")
        node.fill(submitted, 99.4, "30")  # the same execution once more
        node.bar(bars[4])
        node.bar(bars[5])
        cancelled = written(node, "cancel")
        assert cancelled["client_order_id"] == submitted["client_order_id"]
        node.event(submitted, "canceled")
        node.bar(bars[6])
        done = node.end()
    seen = [
        (one["body"]["status"].split(".")[-1], one["body"]["price"], one["body"]["filled"]) for one in done.of("signal")
    ]
    assert seen == [
        ("ACCEPTED", "99.50", "0"),
        ("ACCEPTED", "99.40", "0"),
        ("PARTIALLY_FILLED", "99.40", "30"),
        ("CANCELED", "99.40", "30"),
    ]
    assert done.one("result")["positions"] == [{"con_id": STOCK["con_id"], "quantity": "30", "average_price": "99.4"}]


def test_the_engine_never_ends_an_order_that_nobody_confirms():
    """By itself it asks after each order, and calls it rejected after half a minute of silence: it does not ask here."""
    paths = [str(ROOT), str(ROOT / "layers" / "shared")]
    code = (
        f"import sys; sys.path[:0] = {paths!r}; from strategy_runner.node import node_config; "
        "config = node_config(paper=False).exec_engine; "
        "print(config.inflight_check_interval_ms, config.open_check_interval_secs, config.position_check_interval_secs)"
    )
    done = subprocess.run([INTERPRETER, "-I", "-c", code], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "None", "None"]


def adopted(**changed):
    """An open order of an earlier life."""
    return {
        "client_order_id": "0b7ad4c5-0000-4000-8000-000000000001",
        "venue_order_id": "77",
        "con_id": STOCK["con_id"],
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "GTC",
        "quantity": "50",
        "filled": "0",
        "average_price": None,
        "price": "90.00",
        "trigger_price": None,
        "at_ns": OPEN,
    } | changed


def test_a_run_adopts_its_position_and_its_open_orders(folder):
    open_order = adopted()
    short = {"con_id": STOCK["con_id"], "quantity": "-100", "average_price": "101.5"}
    bars = minutes([100.0] * 4)
    start = {"folder": folder, "orders": [open_order], "positions": [short]}
    with Node("live", template="scripted", parameters={"wanted": {2: 20}}, **start) as node:
        assert kinds(node.bar(bars[0])) == []
        submitted = kinds(node.bar(bars[1]))
        assert [(one["side"], one["quantity"]) for one in submitted] == [("BUY", "120")]
        node.fill(submitted[0], 100.0)
        node.bar(bars[2])
        done = node.end()
    assert done.one("result")["positions"] == [{"con_id": STOCK["con_id"], "quantity": "20", "average_price": "100"}]
    assert done.one("result")["fills"] == 1, "the position of an earlier life is no fill of this one"
    steps = {1: f"cancel {open_order['client_order_id']}"}
    with Node("live", template="manual", parameters={"steps": steps}, **start) as node:
        node.bar(bars[0])
        assert written(node, "cancel")["client_order_id"] == open_order["client_order_id"]


def test_a_market_order_of_an_earlier_life_counts_as_under_way_until_it_is_over(folder):
    """Else a run that is started again while its order waits at the broker would send it once more."""
    bars = minutes([100.0] * 6)
    left = adopted(order_type="MARKET", quantity="100", price=None, time_in_force="DAY")
    start = {"folder": folder, "template": "buy_and_hold", "orders": [left]}
    with Node("live", **start) as node:
        for bar in bars[:3]:
            assert kinds(node.bar(bar)) == []
        node.event(left, "filled", quantity="100", price="100", trade_id="late", commission="1", currency="USD")
        assert kinds(node.bar(bars[3])) == []
        done = node.end()
    assert done.one("result")["positions"] == [{"con_id": STOCK["con_id"], "quantity": "100", "average_price": "100"}]
    with Node("live", **start) as node:
        assert kinds(node.bar(bars[0])) == []
        node.event(left, "canceled")
        assert [one["quantity"] for one in kinds(node.bar(bars[1]))] == ["100"], "it is over, so another one may follow"


def test_a_part_of_an_adopted_market_order_is_no_reason_for_another_one(folder):
    bars = minutes([100.0] * 3)
    left = adopted(
        order_type="MARKET", quantity="100", price=None, time_in_force="DAY", filled="40", average_price="100"
    )
    held = {"con_id": STOCK["con_id"], "quantity": "40", "average_price": "100"}
    start = {"folder": folder, "template": "buy_and_hold", "orders": [left], "positions": [held]}
    with Node("live", **start) as node:
        assert kinds(node.bar(bars[0])) == []
        node.event(left, "filled", quantity="60", price="100", trade_id="rest", commission="1", currency="USD")
        assert kinds(node.bar(bars[1])) == []
        done = node.end()
    assert done.one("result")["positions"] == [{"con_id": STOCK["con_id"], "quantity": "100", "average_price": "100"}]


def test_while_paused_a_run_leaves_but_does_not_enter(folder):
    bars = minutes([100.0] * 8)
    with Node("live", folder=folder, template="scripted", parameters={"wanted": {1: 100, 3: -100, 6: -50}}) as node:
        node.fill(kinds(node.bar(bars[0]))[0], 100.0)
        node.send("pause")
        assert kinds(node.bar(bars[1])) == []
        leaving = kinds(node.bar(bars[2]))
        assert [(one["side"], one["quantity"], one["tags"]) for one in leaving] == [("SELL", "100", ["exit"])]
        node.fill(leaving[0], 100.0)
        assert kinds(node.bar(bars[3])) == []
        node.send("resume")
        entering = kinds(node.bar(bars[4]))
        assert [(one["side"], one["quantity"], one["tags"]) for one in entering] == [("SELL", "100", ["entry"])]


def test_no_entry_follows_from_a_bar_that_is_not_confirmed(folder):
    bars = minutes([100.0] * 3)
    with Node("live", folder=folder, template="scripted", parameters={"wanted": {1: 100}}) as node:
        assert kinds(node.bar(bars[0], "unconfirmed")) == []
        assert len(kinds(node.bar(bars[1], "confirmed"))) == 1
    with Node("live", folder=folder, template="scripted", parameters={"wanted": {1: 100}}) as node:
        assert len(kinds(node.bar(bars[0], "closed"))) == 1  # the opponent
    assert bars[1][1] - bars[0][1] == MINUTE


def test_a_bar_that_came_too_late_is_learned_and_nothing_follows_from_it_not_even_an_exit(folder):
    bars = minutes([100.0] * 3)
    with Node("live", folder=folder, template="scripted", parameters={"wanted": {1: 100, 2: 0}}) as node:
        node.fill(kinds(node.bar(bars[0]))[0], 100.0)
        assert kinds(node.bar(bars[1], "warm_up")) == []
        assert [one["side"] for one in kinds(node.bar(bars[2]))] == ["SELL"]
    with Node("live", folder=folder, template="scripted", parameters={"wanted": {1: 100, 2: 0}}) as node:
        node.fill(kinds(node.bar(bars[0]))[0], 100.0)
        assert [one["side"] for one in kinds(node.bar(bars[1], "unconfirmed"))] == ["SELL"]  # the opponent
