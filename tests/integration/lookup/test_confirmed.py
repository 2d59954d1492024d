"""An order is for a contract that IB confirmed on this day: asked again when it was not, refused while IB cannot answer."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from nautilus.auth.principal import Principal
from nautilus.errors import NotFound, Unavailable
from nautilus.infra.queue import Queue
from nautilus.live.schemas import NamedInstrument
from nautilus.lookup.identity import Identity
from nautilus.orders.confirming import ConfirmedInstruments
from tests.conftest import Server, database
from tests.support.stack import ServiceStack, service_stack

YESTERDAY = "clock_timestamp() - interval '24 hours'"


@pytest.fixture
def stack(servers: SimpleNamespace, server: Server, template: str) -> Iterator[ServiceStack]:
    options = ("--latency", "none", "--clock", "stepped", "--start", "2026-03-02T17:00:00Z")
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


def confirmed(stack: ServiceStack, *, wait_s: float = 30, **words: object) -> Identity:
    names = ConfirmedInstruments(stack.db, Queue(""), wait_s=wait_s)
    caller = Principal("user:1", "trader", frozenset())
    return asyncio.run(names.identity(NamedInstrument.model_validate(words), caller))


def described(stack: ServiceStack) -> int:
    """How often the gateway was asked for contract details."""
    return len(stack.received("reqContractDetails"))


def age(stack: ServiceStack) -> None:
    """Make every answer a day older."""
    with stack.db.transaction() as cursor:
        cursor.execute(f"UPDATE instruments SET resolved_at = {YESTERDAY}")
        cursor.execute(f"UPDATE instrument_lookups SET checked_at = {YESTERDAY}")


def test_a_contract_is_asked_for_once_a_day(stack: ServiceStack) -> None:
    apple = confirmed(stack, symbol="AAPL").instrument
    before = described(stack)
    assert confirmed(stack, symbol="AAPL").instrument == apple
    assert confirmed(stack, con_id=apple.con_id).instrument == apple
    assert described(stack) == before
    for words in ({"symbol": "AAPL"}, {"con_id": apple.con_id}, {"instrument_id": "AAPL.NASDAQ"}):
        age(stack)
        before = described(stack)
        assert confirmed(stack, **words).instrument.con_id == apple.con_id
        assert described(stack) == before + 1, words


def test_hours_that_are_over_are_asked_for_again(stack: ServiceStack) -> None:
    confirmed(stack, symbol="AAPL")
    before = described(stack)
    for _ in range(8):
        stack.advance(86_400)
    confirmed(stack, symbol="AAPL")
    assert described(stack) > before


def test_while_ib_cannot_answer_nothing_is_confirmed(stack: ServiceStack) -> None:
    confirmed(stack, symbol="AAPL")
    age(stack)
    stack.kill_bridge()
    with pytest.raises(Unavailable) as refused:
        confirmed(stack, wait_s=0.5, symbol="AAPL")
    assert refused.value.code == "instrument-unconfirmed"
    stack.start_bridge("bridge-2")
    with pytest.raises(NotFound):
        confirmed(stack, symbol="NOSUCHTICKER")
