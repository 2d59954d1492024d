"""The same action, the same order of words as in public captures of a real gateway (all read 2026-11)."""

import pytest

from tests.support.sim_orders import messages, order, played, word, words

RUST = "wboayue/rust-ibapi, tests of orders: a recorded conversation of version 0.2, gateway of 2023-02"
RESEARCH = "nautilus_trader adapter's research on the order of callbacks, paper account, 2024-03"
CAPTURES = {
    "market order that fills": (
        RUST,
        [
            *("openOrder PreSubmitted", "orderStatus PreSubmitted", "execDetails"),
            *("openOrder Filled", "orderStatus Filled", "openOrder Filled", "commissionReport"),
        ],
    ),
    "cancel": (RUST, ["orderStatus Cancelled", "error 202"]),
    "limit order that rests": (RESEARCH, ["openOrder Submitted"]),
    "preset": (
        "logs of ib_insync clients, 2026-01: 10349 comes while the order has no permId yet",
        ["error 10349", "openOrder Submitted", "orderStatus Submitted"],
    ),
    "refusal": ("erdewit/ib_insync#554, 2023-02", ["error 201", "openOrder Inactive", "orderStatus Inactive"]),
}


def captured(name):
    return CAPTURES[name][1]


@played()
async def test_a_market_order_that_fills(client, sim, control):
    order(client, 1, quantity=10)
    answers = await messages(client)
    assert [word(fields) for fields in answers] == captured("market order that fills")
    # The last openOrder tells the commission, in the capture as 1.0 and USD; the one before does not.
    (execution,) = sim.orders.executions
    at = answers[5].index("Filled") + 10
    assert (answers[5][at], answers[5][at + 3]) == (f"{execution.fee:g}", "USD")
    assert (answers[3][at], answers[3][at + 3]) == ("1.7976931348623157E308", "")
    # execDetails are asked by nobody: request -1; the commission of an opening fill realizes nothing: unset.
    assert answers[2][1] == "-1"
    assert answers[6][5] == "1.7976931348623157E308"


@played()
async def test_a_limit_order_that_rests_and_its_cancel(client, sim, control):
    order(client, 1, kind="LMT", limit=100, quantity=10)
    answers = await words(client)
    assert [each for each in answers if each.startswith("openOrder")] == captured("limit order that rests")
    client.send(4, 1, 1, "")
    answers = await messages(client)
    assert [word(fields) for fields in answers] == captured("cancel")
    assert answers[1][4] == "Order Canceled - reason:"


@played()
async def test_a_preset(client, sim, control):
    await control.run("preset tif DAY")
    order(client, 1, kind="LMT", limit=100, quantity=10, tif="")
    assert await words(client) == captured("preset")


@played()
async def test_a_refusal(client, sim, control):
    order(client, 1, quantity=1_000_000)
    assert await words(client) == captured("refusal")


@played()
async def test_a_change_that_is_refused_leaves_the_order_as_it_was(client, sim, control):
    """erdewit/ib_insync#502: 110 for the change, and the order stays open."""
    order(client, 1, kind="LMT", limit=100, quantity=10)
    await words(client)
    order(client, 1, kind="LMT", limit=100.001, quantity=10)
    assert await words(client) == ["error 110"]
    client.send(16, 1)
    assert [word(fields) for fields in await messages(client)][:2] == ["openOrder Submitted", "orderStatus Submitted"]


@pytest.mark.parametrize("name", CAPTURES)
def test_every_capture_names_its_source(name):
    assert CAPTURES[name][0]
    assert captured(name)
