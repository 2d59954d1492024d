"""Looking at the market only when something can happen gives the fills of looking at it every second."""

import asyncio
import random
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ib_gateway_sim.clock import SECOND_NS, Clock
from ib_gateway_sim.market.contracts import ContractQuery
from ib_gateway_sim.market.generated.market import Market
from ib_gateway_sim.market.replayed.contract import ReplayFile
from ib_gateway_sim.market.replayed.market import Replay
from ib_gateway_sim.orders import hours, match_times
from ib_gateway_sim.orders.placing import place
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.wire.request import Request

NOON_S = 1_772_470_800  # 2026-03-02 17:00 UTC, noon in New York
CLOSE_S = NOON_S + 4 * 3600
QUERIES = (
    ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART"),
    ContractQuery(symbol="THIN", sec_type="STK", exchange="SMART"),
    ContractQuery(symbol="EUR", sec_type="CASH", currency="USD", exchange="IDEALPRO"),
    ContractQuery(local_symbol="ESM6", sec_type="FUT", exchange="CME"),
)
KINDS = ("LMT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL", "MKT", "MIT", "LIT", "MOC", "LOC")
looked = 0


def every_second(gateway, orders, at_s):
    """The plain way: one second on, or until the time that all wait for."""
    global looked
    looked += 1
    return max(1.0, min(hours.next_match_s(gateway, order, at_s) for order in orders) - at_s)


def counted(gateway, orders, at_s):
    global looked
    looked += 1
    return ORIGINAL(gateway, orders, at_s)


ORIGINAL = match_times.wait_s


def random_order(draw, number, gateway, contract):
    """A placeOrder message whose prices are near the market."""
    tick, mark = contract.min_tick, gateway.mark(contract)
    kind, buys = draw.choice(KINDS), draw.random() < 0.5

    def near(steps):
        return round((round(mark / tick) + draw.randint(-steps, steps)) * tick, 8)

    scale = 20 if contract.sec_type != "STK" else 60
    values = {"action": "BUY" if buys else "SELL", "totalQuantity": draw.choice([1, 100, 3000]), "orderType": kind}
    values |= {"orderId": number, "transmit": 1, "tif": draw.choice(["", "DAY", "GTC", "GTC", "IOC", "GTD"])}
    values |= {"outsideRth": draw.random() < 0.5, "lmtPrice": near(scale), "auxPrice": near(scale)}
    if values["tif"] == "GTD":
        values["goodTillDate"] = draw.choice(["20260302 16:07:30 US/Eastern", "20260303 09:31:00 US/Eastern"])
    if draw.random() < 0.1:
        values["goodAfterTime"] = "20260302 12:03:20 US/Eastern"
    if kind == "TRAIL":
        values["auxPrice"] = round(draw.randint(1, scale) * tick, 8)
        if draw.random() < 0.5:
            values["trailingPercent"] = draw.choice([0.02, 0.1])
        if draw.random() < 0.3:
            values["trailStopPrice"] = near(scale)
    if draw.random() < 0.2:
        values["ocaGroup"] = "one"
    if number > 1 and draw.random() < 0.2:
        values["parentId"] = number - 1
    return Request("placeOrder", 3, values)


async def play(made, market, begins_s, steps):
    """Places random orders, or one whose values are given, while time passes; what became of them."""
    draw = random.Random(0 if callable(made) else made)
    gateway = Gateway(market, Clock("stepped", start_ns=int(begins_s * SECOND_NS)))
    client: Any = SimpleNamespace(gateway=gateway, client_id=1, error=lambda *_: None)
    queries = QUERIES if isinstance(market, Market) else (ContractQuery(),)
    for number, step in enumerate(steps, 1):
        found = gateway.market.find(draw.choice(queries), gateway.clock.now_s())
        placed = made(gateway, found[0]) if callable(made) else random_order(draw, number, gateway, found[0])
        place(client, placed, found[0])
        await asyncio.sleep(0)  # the looking begins
        if step < 0:
            await gateway.clock.set(gateway.clock.now_ns() + int(-step * SECOND_NS))
        else:
            await gateway.clock.advance(step)
    for task in gateway.background.values():
        task.cancel()
    fills = [(made.exec_id, made.order.order_id, made.at_s, made.price) for made in gateway.orders.executions]
    ends = [
        (order.order_id, order.status, order.filled, order.done_s, order.stop, order.triggered)
        for order in gateway.orders.orders.values()
    ]
    return fills, ends


def both(monkeypatch, made, market, begins_s, steps):
    """(what became of the orders, looks) of each way."""
    global looked
    found = []
    for way in (every_second, counted):
        looked = 0
        monkeypatch.setattr(match_times, "wait_s", way)
        found.append((asyncio.run(play(made, market, begins_s, steps)), looked))
    return found


@pytest.mark.parametrize("seed", range(24))
def test_the_fills_are_those_of_looking_every_second(monkeypatch, seed):
    draw = random.Random(f"steps {seed}")
    begins_s = draw.choice([NOON_S + 0.3, CLOSE_S - 400, CLOSE_S - 100.25, NOON_S - 3.5 * 3600])
    steps = [draw.choice([1, 40.5]), draw.choice([200, 300.25])]
    if begins_s > NOON_S + 1:  # over the close and the evening, into the next morning
        steps += [-9 * 3600, 30, -8.2 * 3600]
    plain, quick = both(monkeypatch, seed, Market(seed), begins_s, [*steps, 90])
    assert quick[0] == plain[0]
    assert quick[1] <= plain[1]


@pytest.mark.parametrize("action", ["BUY", "SELL"])
@pytest.mark.parametrize("kind", ["LMT", "STP", "STP LMT", "MIT", "LIT", "TRAIL", "TRAIL %"])
def test_one_order_fills_at_its_second(monkeypatch, kind, action):
    """Its price lies a few ticks away, so it waits for some minutes and then mostly fills."""

    def made(gateway, contract):
        up = 1 if (action == "BUY") == kind.startswith("STP") else -1
        price = round(gateway.mark(contract) + up * 12 * contract.min_tick, 2)
        values = {
            "orderId": 1,
            "action": action,
            "totalQuantity": 10,
            "orderType": kind.removesuffix(" %"),
            "transmit": 1,
        }
        values |= {"lmtPrice": price + up * 0.5 if kind == "STP LMT" else price, "auxPrice": price}
        if kind.startswith("TRAIL"):
            values["auxPrice"] = 0.2
        return Request("placeOrder", 3, values | ({"trailingPercent": 0.1} if kind == "TRAIL %" else {}))

    monkeypatch.setattr("tests.unit.ib_gateway_sim.test_match_times.QUERIES", QUERIES[:1])
    filled = 0
    for seed in range(4):
        plain, quick = both(monkeypatch, made, Market(seed), NOON_S + 0.4, [1200])
        assert quick[0] == plain[0]
        filled += len(quick[0][0])
        assert quick[1] < plain[1] / 2
    assert filled >= 2


def test_a_week_with_one_resting_order_is_a_handful_of_looks(monkeypatch):
    async def run():
        gateway = Gateway(Market(7), Clock("stepped", start_ns=NOON_S * SECOND_NS))
        client: Any = SimpleNamespace(gateway=gateway, client_id=1, error=lambda *_: None)
        (stock,) = gateway.market.find(QUERIES[0], NOON_S)
        values: dict[str, Any] = {
            "orderId": 1,
            "action": "BUY",
            "totalQuantity": 1,
            "orderType": "LMT",
            "lmtPrice": 1.0,
        }
        place(client, Request("placeOrder", 3, values | {"transmit": 1, "tif": "GTC"}), stock)
        await asyncio.sleep(0)
        await gateway.clock.advance(7 * 86_400)
        gateway.background["orders"].cancel()

    global looked
    looked = 0
    monkeypatch.setattr(match_times, "wait_s", counted)
    asyncio.run(run())
    assert 5 < looked < 60


@pytest.mark.parametrize("kind", ["TRADES", "ASK"])
def test_a_replayed_market_is_searched_by_its_minutes(monkeypatch, tmp_path, kind):
    draw = random.Random(kind)
    price, rows = 100.0, ["timestamp,open,high,low,close,volume"]
    for minute in range(300):
        price = round(price + draw.randint(-3, 3) * 0.01, 2)
        rows.append(
            f"{datetime.fromtimestamp(NOON_S + 60 * minute, UTC):%Y-%m-%d %H:%M:%S},{price},{price},{price},{price},5"
        )
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(rows))
    for seed in range(6):
        market = Replay([ReplayFile(path, "AAPL", kind=kind)])
        plain, quick = both(monkeypatch, seed, market, NOON_S + 3605.5, [1, 300, 300, 600, 40, 900])
        assert quick[0] == plain[0]
        assert quick[1] <= plain[1]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.symbol or query.local_symbol)
@pytest.mark.parametrize("side", ["bid", "ask", "last"])
def test_a_calm_price_is_calm(query, side):
    """At no instant before the answer is the price outside, and at the answer's next tick it is."""
    market, draw = Market(3), random.Random(side)
    (contract,) = market.find(query, NOON_S)
    left = moved = 0
    for _ in range(30):
        start_s = NOON_S + draw.randint(-90_000, 90_000) / 4
        now = market.quote(contract, start_s).price(side)
        end_s = start_s + draw.choice([60, 4000, 30_000])
        if now is None:
            assert market.calm_until(contract, side, (0, 1e9), start_s, end_s) == start_s
            continue
        within = (now - contract.min_tick * draw.randint(1, 40), now + contract.min_tick * draw.randint(1, 40))
        until_s = market.calm_until(contract, side, within, start_s, end_s)
        assert start_s <= until_s <= end_s
        for at_s in (start_s, until_s, *(start_s + draw.random() * (until_s - start_s) for _ in range(20))):
            price = market.quote(contract, at_s).price(side)
            assert at_s == until_s or (price is not None and within[0] < price < within[1])
        if until_s < end_s:
            left += 1
            price = market.quote(contract, until_s + 0.0015).price(side)
            moved += price is None or not within[0] < price < within[1]
    assert moved >= 0.8 * left  # a tick may come back within its millisecond
