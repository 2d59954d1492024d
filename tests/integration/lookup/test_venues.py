"""The venue of an instrument_id is a part of the name: at another one than the contract's own there is no such contract."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus.db.market import instruments
from tests.support.stack import ServiceStack, service_stack
from tests.support.stored_bars import stock

NOW = "2026-03-04T17:30:30Z"
ROOT = "/api/v1/market-data"
WRONG = [
    ("AAPL.FOO", "AAPL.NASDAQ"),
    ("AAPL.NYSE", "AAPL.NASDAQ"),
    ("aapl.arca", "AAPL.NASDAQ"),
    ("SPY.NASDAQ", "SPY.ARCA"),
    ("SPY.ISLAND", "SPY.ARCA"),
    ("AAPL.GLOBEX", "AAPL.NASDAQ"),
    ("DUAL.NASDAQ", "DUAL.ARCA"),
    ("DUAL.NASDAQ", "DUAL.TSE"),
    ("EUR/USD.FOO", "EUR/USD.IDEALPRO"),
    ("EUR/USD.NASDAQ", "EUR/USD.IDEALPRO"),
    ("EUR/USD.CME", "EUR/USD.IDEALPRO"),
    ("EUR/USD.PAXOS", "EUR/USD.IDEALPRO"),
    ("BTC/USD.IDEALPRO", "BTC/USD.PAXOS"),
    ("BTC/USD.FOO", "BTC/USD.PAXOS"),
    ("ESM6.NYMEX", "ESM6.CME"),
    ("ESM6.ECBOT", "ESM6.CME"),
    ("ESM6.NASDAQ", "ESM6.CME"),
    ("ES.NYMEX", "ES.CME"),
    ("ES.NYMEX", "ESH6.CME"),
    ("ES.FOO", "ES.CME"),
    ("CL.GLOBEX", "CL.NYMEX"),
    ("SPX.NASDAQ", "SPX.CBOE"),
    ("SPX.FOO", "SPX.CBOE"),
    ("NDX.CBOE", "NDX.NASDAQ"),
]
RIGHT = [
    ("AAPL.NASDAQ", "AAPL.NASDAQ"),
    ("AAPL.ISLAND", "AAPL.NASDAQ"),
    ("AAPL.SMART", "AAPL.NASDAQ"),
    ("DUAL.TSE", "DUAL.TSE"),
    ("DUAL.ARCA", "DUAL.ARCA"),
    ("EUR/USD.IDEALPRO", "EUR/USD.IDEALPRO"),
    ("BTC/USD.PAXOS", "BTC/USD.PAXOS"),
    ("ES.GLOBEX", "ESH6.CME"),
    ("ESM6.GLOBEX", "ESM6.CME"),
    ("SPX.CBOE", "SPX.CBOE"),
]


@pytest.fixture
def stack(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """Market time runs, as IB's limit of messages per second goes by it."""
    with service_stack(servers.group, servers.folder, dsn, "--latency", "none", "--start", NOW) as made:
        yield made


def reads(name: str) -> list[tuple[str, dict[str, Any]]]:
    """The routes that take a name: path and parameters."""
    frame = {"instrument_id": name, "timeframe": "1d"}
    return [
        (f"{ROOT}/historical/bars", {**frame, "wait": 0}),
        (f"{ROOT}/historical/coverage", frame),
        (f"{ROOT}/historical/explain", {**frame, "ts": "2026-03-03T12:00:00Z"}),
        (f"{ROOT}/calendar", {"instrument_id": name}),
        (f"{ROOT}/instruments/{name}", {}),
    ]


def suggested(problem: dict[str, Any]) -> set[str]:
    return {one.get("instrument_id", "") for one in problem.get("suggestions", ())}


def test_a_name_with_a_wrong_venue_is_unknown_on_every_route_and_the_right_name_is_suggested(
    stack: ServiceStack,
) -> None:
    stack.start_bridge()
    stack.bars(symbol="AAPL", timeframe="1d", wait=0)
    wrong = []
    for name, right in WRONG:
        for path, query in reads(name):
            answer = stack.client.get(path, params=query)
            if answer.status_code != 404 or right not in suggested(answer.json()):
                wrong.append((name, path, answer.status_code, answer.text[:300]))
        wrong += [(name, *why) for why in refused_backfills(stack, name, right)]
    assert not wrong, "\n".join(map(str, wrong))
    for name, right in RIGHT:
        answer = stack.client.get(f"{ROOT}/instruments/{name}")
        assert (answer.status_code, answer.json().get("instrument_id")) == (200, right), name


def test_names_that_differ_in_their_venue_are_looked_up_with_one_command(stack: ServiceStack) -> None:
    """While no bridge answers, what is open is joined by who asks for the same words."""
    for name in ("AAPL.NASDAQ", "AAPL.FOO", "AAPL.ISLAND"):
        assert stack.client.get(f"{ROOT}/instruments/{name}").status_code == 503
    assert len(stack.rows("SELECT 1 FROM bridge_commands WHERE type = 'resolve'")) == 1


def refused_backfills(stack: ServiceStack, name: str, right: str) -> Iterator[tuple[Any, ...]]:
    """What is wrong with the answers to backfills of a name whose words are known."""
    span = {"start": "2026-02-02T00:00:00Z", "end": "2026-02-06T00:00:00Z"}
    for more in (span, {**span, "dry_run": True}, {"days_back": 5}):
        body = {"instrument_id": name, "timeframe": "1d", **more}
        answer = stack.client.post("/api/v1/ib/backfill", json=body)
        if answer.status_code != 404 or right not in suggested(answer.json()):
            yield (more, answer.status_code, answer.text[:300])


def test_an_item_of_a_name_with_a_wrong_venue_that_nobody_knew_fails_and_tells_the_right_one(
    stack: ServiceStack,
) -> None:
    with stack.db.transaction() as cursor:
        cursor.execute("DELETE FROM instrument_lookups")
    stack.start_bridge()
    for mode in ("missing", "force"):
        names = {"instrument_id": "MSFT.NYSE", "timeframe": "1d", "days_back": 5, "mode": mode}
        item = stack.finished(stack.backfill(**names))["items"][0]
        assert (item["state"], item["error"]["code"]) == ("failed", "unknown-instrument")
        assert suggested(item["error"]) == {"MSFT.NASDAQ"}
        with stack.db.transaction() as cursor:
            cursor.execute("DELETE FROM instrument_lookups")


def test_an_option_is_named_with_its_own_venue(stack: ServiceStack) -> None:
    option = stock(9, "SPY")._replace(
        instrument_id="SPY 261218C00500000.SMART",
        asset_class="OPT",
        local_symbol="SPY   261218C00500000",
        primary_exchange="",
        expiry="20261218",
    )
    with stack.db.transaction() as cursor:
        instruments.store(cursor, option, {})
    stack.start_bridge()
    for name in ("SPY 261218C00500000.CBOE", "SPY 261218C00500000.FOO"):
        answer = stack.client.get(f"{ROOT}/instruments/{name}")
        assert answer.status_code == 404
        assert option.instrument_id in suggested(answer.json())
