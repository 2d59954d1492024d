"""Price steps come with a lookup, from the gateway's market rules, each asked for once; a lookup does not need them."""

from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace

import pytest

from nautilus.db.market import instruments
from nautilus.orders.prices import PRICE_STEPS, RULE, MarketRule, PriceStep, rule_of
from tests.conftest import Server, database
from tests.support.stack import ServiceStack, service_stack

D = Decimal


@pytest.fixture
def stack(servers: SimpleNamespace, server: Server, template: str) -> Iterator[ServiceStack]:
    options = ("--latency", "none", "--clock", "stepped", "--start", "2026-03-02T17:00:00Z")
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


def looked_up(stack: ServiceStack, name: str) -> MarketRule:
    """The market rule that is stored after a lookup of an instrument at the gateway."""
    answer = stack.client.get(f"/api/v1/market-data/instruments/{name}")
    assert answer.status_code == 200, answer.text
    return stored(stack, answer.json()["con_id"])


def stored(stack: ServiceStack, con_id: int) -> MarketRule:
    with stack.db.transaction() as cursor:
        found = instruments.by_id(cursor, con_id)
        assert found is not None
        return rule_of(found, instruments.details(cursor, con_id))


def test_the_steps_of_an_instrument_are_those_of_the_gateways_market_rule(stack: ServiceStack) -> None:
    apple = looked_up(stack, "AAPL.NASDAQ")
    assert apple == MarketRule((PriceStep(D(0), D("0.01")),), D(1), D(1), known=True)
    assert looked_up(stack, "EUR/USD.IDEALPRO").smallest == D("0.00005")
    looked_up(stack, "MSFT.NASDAQ")
    requested = [entry["fields"]["marketRuleId"] for entry in stack.received("reqMarketRule")]
    assert requested == [26, 239], "each rule once, though two stocks have one"


def test_a_rule_that_is_not_told_keeps_no_lookup_and_is_asked_for_again(stack: ServiceStack) -> None:
    stack.sim.command("silent 1 reqMarketRule")
    apple = looked_up(stack, "AAPL.NASDAQ")
    assert (apple.steps, apple.known) == ((PriceStep(D(0), D("0.01")),), False)
    assert looked_up(stack, "MSFT.NASDAQ").known
    requested = [entry["fields"]["marketRuleId"] for entry in stack.received("reqMarketRule")]
    assert requested == [26, 26]


def test_details_that_come_again_without_the_rule_keep_its_steps(stack: ServiceStack) -> None:
    assert looked_up(stack, "AAPL.NASDAQ").known
    with stack.db.transaction() as cursor:
        cursor.execute("SELECT con_id FROM instruments WHERE symbol = 'AAPL'")
        (con_id,) = cursor.fetchone()
        apple = instruments.by_id(cursor, con_id)
        assert apple is not None
        details = instruments.details(cursor, con_id)
        fresh = {name: value for name, value in details.items() if name != PRICE_STEPS}
        instruments.store_all(cursor, [(apple, fresh)])
        assert rule_of(apple, instruments.details(cursor, con_id)).known
        instruments.store_all(cursor, [(apple, {**fresh, RULE: 9})])
        assert not rule_of(apple, instruments.details(cursor, con_id)).known, "the instrument has another rule now"
