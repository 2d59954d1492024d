"""History confirms, revises and withdraws what a stream told: the real bridge, the simulator over its socket, PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from nautilus.live.bars import LiveState
from nautilus.live.confirmation import Outcome
from nautilus.market.symbols import Selector
from tests.support.confirming import MINUTE_NS, LiveBridge, live_bridge
from tests.support.markets import ns
from tests.support.sim_process import simulator

START = "2026-03-02T17:00:30Z"
NOON = ns("2026-03-02 17:00")
AAPL = Selector("STK", "AAPL", "USD")
THIN = Selector("STK", "THIN", "USD")

Story = Callable[[LiveBridge], Awaitable[Any]]


def play(dsn: str, story: Story, *, start: str = START, **settings: Any) -> Any:
    """Let a story happen."""

    async def run() -> Any:
        with simulator("--clock", "stepped", "--latency", "none", "--start", start) as sim:
            async with live_bridge(sim, dsn, **settings) as it:
                return await story(it)

    return asyncio.run(run())


async def minutes(it: LiveBridge, count: int, *, key: Any = None) -> None:
    """Let minutes pass; after each the bridge has had time to confirm what closed."""
    for _ in range(count):
        await it.advance(30)
        await it.advance(30)
        if key is not None:
            await confirmed(it, key)


async def confirmed(it: LiveBridge, key: Any) -> None:
    """Wait until the newest closed minute is covered."""
    until = (await it.now()) // MINUTE_NS * MINUTE_NS

    async def is_covered() -> bool:
        return until - 1 in (await it.series(key)).covered

    await it.until(is_covered, "what closed is confirmed")


def test_closed_minutes_are_confirmed_equal_to_history(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, 4, key=key)
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        history = await it.history(key, NOON, until)
        assert len(history) == 4
        assert await it.stored(key, NOON, until) == history
        found = {one.bar.ts: one for one in it.outcomes(key)}
        assert [found[bar.ts] for bar in history] == [Outcome(bar, LiveState.CONFIRMED, exact=True) for bar in history]
        assert {one.ts for one in await it.live_bars(key)} <= {until}, "what is confirmed is provisional no more"
        requests = await it.rows(
            "SELECT kind, chunk_id, series_id, outcome, bars FROM ib_requests WHERE kind = 'confirm'"
        )
        assert {(r.chunk_id, r.series_id, r.outcome) for r in requests} == {(None, it.reports[0].series_id, "ok")}
        assert [r.bars for r in requests] == [3, 3, 3, 3], "two bars overlap"
        assert await it.rows("SELECT 1 FROM backfill_chunks") == []

    play(dsn, story)


def test_a_forming_bar_is_never_stored(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, 2, key=key)
        now = await it.now()
        assert now % MINUTE_NS, "a bar forms"
        assert await it.stored(key, now // MINUTE_NS * MINUTE_NS, now + MINUTE_NS) == []

    play(dsn, story)


@pytest.mark.parametrize("command", ["late AAPL 0.3", "odd_lots AAPL 0.2", "step_volume AAPL"])
def test_what_live_showed_otherwise_is_revised_with_what_it_was(dsn: str, command: str) -> None:
    async def story(it: LiveBridge) -> None:
        await it.command(command)
        key = await it.stream(AAPL)
        await minutes(it, 3, key=key)
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        history = {bar.ts: bar for bar in await it.history(key, NOON, until)}
        shown = it.streams[key].bars
        revised = it.outcomes(key, LiveState.REVISED)
        assert revised, "the fault shows"
        assert [one.bar for one in revised] == [history[one.bar.ts] for one in revised]
        assert [one.was and one.was[:6] for one in revised] == [shown[one.bar.ts][:6] for one in revised]
        assert list(history.values()) == await it.stored(key, NOON, until)

    play(dsn, story)


def test_what_history_changes_afterwards_is_revised_and_told(dsn: str) -> None:
    """A minute that was confirmed already: the next request reaches back to it."""

    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, 3, key=key)
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        before = {bar.ts: bar for bar in await it.stored(key, NOON, until)}
        version = (await it.series(key)).data_version
        await it.command("revise AAPL 1")
        it.reports.clear()
        await minutes(it, 1, key=key)
        await it.until(lambda: it.outcomes(key, LiveState.REVISED), "the revision is found")
        (revised,) = it.outcomes(key, LiveState.REVISED)
        assert revised.was == before[revised.bar.ts] != revised.bar
        report = next(r for r in it.reports if revised in r.outcomes)
        assert report.version > version
        assert await it.stored(key, NOON, until + MINUTE_NS) == await it.history(key, NOON, until + MINUTE_NS)
        (row,) = await it.rows(
            "SELECT b.request_id, r.kind FROM bar_revisions b JOIN ib_requests r ON r.id = b.request_id"
        )
        assert row.kind == "confirm"

    play(dsn, story)
