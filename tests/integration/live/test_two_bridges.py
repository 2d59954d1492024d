"""Several bridges on one database: one has the live data, another takes them over, and what any of them changes is published."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from nautilus.clock import rfc3339
from tests.integration.live.test_bridge_bars import (
    AAPL_1M,
    NOON,
    PRICES,
    STEPPED,
    differences,
    final,
    history,
    run,
)
from tests.integration.live.test_bridge_longer import between, chart, newest_messages
from tests.support.live_stack import LiveStack, live_stack
from tests.support.markets import MINUTE
from tests.support.stack import service_stack

_MOST_BACKFILLS = 20


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        yield made


def here(live: LiveStack) -> dict[str, str]:
    """Bridge -> whether its status says that it has the live data."""
    return {row.bridge: row.here for row in live.rows("SELECT bridge, activity->>'live_here' AS here FROM ib_sessions")}


def keep_ups(live: LiveStack) -> int:
    """How many bars that are kept up to date were requested of IB, by all bridges."""
    return sum(row["fields"].get("keepUpToDate") in (True, "1", 1) for row in live.received("reqHistoricalData"))


def two_bridges(live: LiveStack) -> None:
    live.start_bridge("bridge-1")
    live.want("user:1", [live.bars("AAPL")])
    live.wait_state("AAPL", "live")
    live.start_bridge("bridge-2")
    live.wait(lambda: here(live) == {"bridge-1": "true", "bridge-2": "false"}, "one stands by", 30, lambda: here(live))


def test_one_of_two_bridges_has_the_live_data_and_the_other_takes_them_over(live: LiveStack) -> None:
    two_bridges(live)
    run(live, 200)
    live.wait(lambda: len(final(live, AAPL_1M)) >= 3, "three minutes are closed", 30, newest_messages(live, AAPL_1M))
    assert keep_ups(live) == 1, "one line, however many bridges"
    assert len({message["e"] for message in live.all}) == 1, "one of them publishes"
    live.stack.kill_bridge("bridge-1")

    def taken_over() -> bool:
        rows = live.streams()
        return bool(rows) and all((row.bridge, row.state) == ("bridge-2", "live") for row in rows)

    live.wait(taken_over, "the other one has the stream", 30, live.streams)
    live.wait(lambda: here(live)["bridge-2"] == "true", "its status says so", 30, lambda: here(live))
    run(live, 200)
    end = NOON + 6 * MINUTE

    def confirmed() -> bool:
        found = between(chart(live, AAPL_1M), NOON, end)
        return len(found) == 6 and all(bar["state"] in ("confirmed", "revised") for bar in found.values())

    live.wait(confirmed, "six minutes are confirmed", 30, newest_messages(live, AAPL_1M))
    true = history(live, NOON, end, symbol="AAPL", timeframe="1m")
    assert differences(between(chart(live, AAPL_1M), NOON, end), true, *PRICES, "volume") == []
    assert live.violations() == []


def test_what_the_bridge_that_stands_by_changes_is_published(live: LiveStack) -> None:
    two_bridges(live)
    run(live, 400)
    by: list[str] = []
    for _ in range(_MOST_BACKFILLS):
        live.all.clear()
        live.sim.command("revise AAPL 6")
        history(live, NOON, NOON + 3 * MINUTE, symbol="AAPL", timeframe="1m")
        changed = live.rows(
            "SELECT r.ts, r.until_version, q.bridge FROM bar_revisions r JOIN ib_requests q ON q.id = r.request_id"
            " WHERE r.until_version = (SELECT max(until_version) FROM bar_revisions)"
        )
        by.append(changed[0].bridge)
        wanted = {(rfc3339(row.ts), row.until_version) for row in changed}

        def published(wanted: set[tuple[str, int]] = wanted) -> bool:
            revised = (m for m in live.messages("bar", AAPL_1M) if m["state"] == "revised")
            return wanted <= {(m["ts"], m["version"]) for m in revised}

        live.wait(published, f"what {by[-1]} changed is published", 30, newest_messages(live, AAPL_1M))
        if by[-1] == "bridge-2":
            break
    assert "bridge-2" in by, "it did none of them"
    assert live.violations() == []
