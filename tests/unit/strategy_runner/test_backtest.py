"""A back-test is the same wherever and however it runs. Each child draws its own seed of hashes, as every Python does."""

import random

import pytest

from tests.support.strategy_runner import START, Runner, backtest, chunk, columns, market, needs_engine

pytestmark = needs_engine

# Of the engine's version in requirements/strategies.txt; they change with it alone.
GOLDEN = {
    "ema_cross": "a3da03f3ae243b9e5fdc364a166cf44fb2ce45088a7feee42165aaf8bde8543c",
    "bollinger_reversion": "4ac63a57971f69c001b588b7d0e0c273eaf877c787eebb2e21c3df96f197fba4",
    "donchian_breakout": "e4f860682a0ae69db5f0ed1ecef784e52fc7671175dfc0103e016b55000eec52",
    "buy_and_hold": "a18e0fea6242ccca3363b9222ab525343d827ec5db5da1679c81f45de5662fe2",
}
PARAMETERS = {
    "ema_cross": {"short": True},
    "bollinger_reversion": {"short": True},
    "donchian_breakout": {"short": True},
    "buy_and_hold": {},
}
DAYS = market(3)


def whole_days():
    return [chunk(bars, trade_date=f"2026-10-0{n}") for n, bars in enumerate(DAYS, 1)]


def uneven_chunks():
    bars, chance, found = [one for day in DAYS for one in day], random.Random(3), []
    while bars:
        size = chance.randrange(1, 200)
        found.append(chunk(bars[:size], last=False))
        del bars[:size]
    return found


@pytest.mark.parametrize("template", GOLDEN)
def test_a_template_trades_as_it_did(template):
    done = backtest(whole_days(), template=template, parameters=PARAMETERS[template], bars_total=1_170)
    result = done.one("result")
    assert done.code == 0
    assert done.of("fault") == []
    assert (result["bars"], result["fills"], result["orders"]) == (1_170, len(done.fills), len(done.fills))
    assert [one["bars_done"] for one in done.of("progress")] == [390, 780, 1_170]
    assert result["fills_hash"] == GOLDEN[template]


def test_fills_do_not_depend_on_how_the_bars_are_cut():
    done = backtest(uneven_chunks(), parameters=PARAMETERS["ema_cross"])
    assert done.one("result")["fills_hash"] == GOLDEN["ema_cross"]


def test_a_run_that_was_killed_begins_again_and_ends_alike():
    with Runner() as runner:
        runner.send("start", **START | {"parameters": PARAMETERS["ema_cross"]})
        runner.write(whole_days()[0])
        assert runner.until("progress")[-1]["bars_done"] == 390
        runner.process.kill()
        assert runner.rest() == []
        assert runner.process.wait() == -9
    done = backtest(whole_days(), parameters=PARAMETERS["ema_cross"])
    assert done.one("result")["fills_hash"] == GOLDEN["ema_cross"]


def test_the_hash_sees_another_price_another_size_and_another_order_of_fills():
    """The opponent of the tests above."""
    other = [list(day) for day in DAYS]
    opened, closed, first, high, low, close, volume = other[1][100]
    other[1][100] = (opened, closed, first + 0.5, high + 0.5, low, close + 0.5, volume)
    chunks = [chunk(bars) for bars in other]
    assert backtest(chunks, parameters={"short": True}).one("result")["fills_hash"] != GOLDEN["ema_cross"]


def test_a_run_that_is_ended_early_has_a_whole_result():
    done = backtest(whole_days()[:1], template="buy_and_hold")
    assert done.one("result")["bars"] == 390
    assert done.one("result")["positions"] == [
        {"con_id": 265598, "quantity": "100", "average_price": done.of("fill")[0]["price"].rstrip("0")}
    ]
    assert done.of("equity")[-1]["at_ns"] == DAYS[0][-1][1]


def test_a_host_that_is_gone_ends_the_process():
    done = backtest(whole_days()[:1], end=False)
    assert (done.code, done.of("result")) == (1, [])


def test_equity_is_cash_and_open_positions_at_the_last_close():
    done = backtest([chunk(DAYS[0])], template="buy_and_hold", equity_points=10)
    price, close = float(done.of("fill")[0]["price"]), DAYS[0][-1][5]
    last = done.of("equity")[-1]
    assert len(done.of("equity")) == 10
    assert float(last["cash"]) == 100_000 - 1
    assert float(last["unrealized"]) == pytest.approx(100 * (close - price))
    assert float(last["equity"]) == pytest.approx(float(last["cash"]) + float(last["unrealized"]))


def test_indicators_learn_from_bars_before_the_run(tmp_path):
    with Runner() as runner:
        runner.send("start", **START | {"parameters": {"short": True}})
        runner.send("warm_up", series=[columns(DAYS[0])])
        runner.write(chunk(DAYS[1]))
        runner.send("end")
        fills = [one for one in runner.rest() if one["type"] == "fill"]
    assert fills[0]["bar_ns"] == DAYS[1][0][1]
    cold = backtest([chunk(DAYS[1])], parameters={"short": True})
    assert cold.fills[0][3] > DAYS[1][18][1]


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ({"template": "nothing"}, "no template"),
        ({"parameters": {"fast": 30}}, "parameters: fast must be below slow"),
        ({"template": "donchian_breakout", "parameters": {"leave": 30}}, "parameters: leave must not be above entry"),
        ({"parameters": {"quick": 30}}, "quick"),
        ({"series": [START["series"][0] | {"price": "MIDPOINT"}]}, "BID and ASK"),
        ({"series": [START["series"][0], START["series"][0] | {"index": 1, "timeframe": "5m"}]}, "two timeframes"),
        ({"instruments": [START["instruments"][0] | {"asset_class": "IND"}]}, "cannot be traded"),
        ({"currency": "EUR"}, "USD"),
    ],
)
def test_a_run_that_cannot_begin_says_why(start, words):
    done = backtest([], **start)
    assert words in done.one("fault")["message"]
    assert "https:" not in done.one("fault")["message"]
    assert (done.code, done.of("result")) == (2, [])
