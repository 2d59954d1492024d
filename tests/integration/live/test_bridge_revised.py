"""What a backfill changes of bars that listeners have is told as revised."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.live.test_bridge_bars import AAPL_1M, AAPL_5M, NOON, PRICES, STEPPED, differences, history, run
from tests.integration.live.test_bridge_longer import between, chart, newest_messages, settled
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE
from tests.support.stack import service_stack


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


def test_a_backfill_that_changes_a_confirmed_minute_is_told(live: LiveStack) -> None:
    live.start_bridge()
    live.want("user:1", [live.bars("AAPL", "1m"), live.bars("AAPL", "5m")])
    live.wait_state("AAPL", "live")
    run(live, 400)
    live.wait(lambda: settled(chart(live, AAPL_5M), NOON, 1), "it is confirmed", 30, newest_messages(live, AAPL_5M))
    before = chart(live, AAPL_1M), chart(live, AAPL_5M)
    live.sim.command("revise AAPL 6")
    live.all.clear()
    end = NOON + 3 * MINUTE
    true = history(live, NOON, end, symbol="AAPL", timeframe="1m")
    for channel, old in zip((AAPL_1M, AAPL_5M), before, strict=True):

        def revised(channel: str = channel) -> list[dict[str, Any]]:
            return [m for m in live.messages("bar", channel) if m["state"] == "revised"]

        live.wait(revised, "it is told", 30, newest_messages(live, channel))
        for message in revised():
            assert message["was"]["high"] == old[message["ts"]]["high"]
            assert message["version"] > old[message["ts"]].get("version", 0)
    # What confirms may have revised a later minute by itself meanwhile.
    changed = {m["ts"]: m for m in live.messages("bar", AAPL_1M) if m["state"] == "revised" and m["ts"] in true}
    assert changed
    assert differences(changed, {ts: true[ts] for ts in changed}, *PRICES, "volume") == []
    kept = {ts: bar for ts, bar in between(before[0], NOON, end).items() if ts not in changed}
    assert differences(kept, {ts: bar for ts, bar in true.items() if ts not in changed}, *PRICES, "volume") == []
