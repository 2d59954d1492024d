"""History confirms, revises and withdraws what a stream told: the real bridge, the simulator over its socket, PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from nautilus.clock import NS_PER_S
from nautilus.db.live import provisional, wants
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.wants import WantRow
from nautilus.db.market import series
from nautilus.live import watching
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import Outcome
from nautilus.live.subscriptions import StreamKey
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.confirming import MINUTE_NS, LiveBridge, Stream, live_bridge
from tests.support.markets import ns
from tests.support.sim_process import simulator

START = "2026-03-02T17:00:30Z"
NOON = ns("2026-03-02 17:00")
AAPL = Selector("STK", "AAPL", "USD")
THIN = Selector("STK", "THIN", "USD")

NO_DATA = "Historical Market Data Service error message:HMDS query returned no data"

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


# ---- no proof, no word ---------------------------------------------------------------------------------------------------


async def pretend(it: LiveBridge, key: Any, ts: int) -> None:
    """A bar that a stream told and history does not have."""
    row = await it.series(key)
    bar = ProvisionalBar(row.id, ts, 7.0, 7.1, 6.9, 7.0, 100.0, 1, "closed", False, "rtb", ts + MINUTE_NS)
    await it.run(provisional.put, [bar])
    it.confirming.wake(key)


async def follow(it: LiveBridge, selector: Selector, *, poll: bool = False) -> Any:
    """Confirm a series that no stream brings."""
    instrument = await it.find(selector)
    key = StreamKey(instrument.con_id, "bars:1m", "TRADES", "rth")
    it.streams[key] = Stream(key, instrument, -1, 0)
    it.confirming.follow(key, since=await it.now(), poll=poll)
    return key


async def answered(it: LiveBridge, count: int) -> None:
    """Wait until so many confirming requests have ended."""

    async def ended() -> bool:
        return len(await it.rows("SELECT 1 FROM ib_requests WHERE kind = 'confirm' AND outcome <> 'sent'")) >= count

    await it.until(ended, f"{count} requests have ended")


def test_a_minute_that_history_lacks_is_withdrawn_by_the_second_empty_answer_and_no_earlier(dsn: str) -> None:
    """THIN trades a few times a day; not in this quarter of an hour."""
    quiet = ns("2026-03-02 17:13")

    async def story(it: LiveBridge) -> None:
        key = await follow(it, THIN)
        await it.advance(60)
        await pretend(it, key, quiet)
        await answered(it, 1)
        assert it.outcomes(key) == [], "one empty answer is no proof"
        assert [one.ts for one in await it.live_bars(key)] == [quiet]
        notes = await it.rows("SELECT state, reason FROM coverage_notes")
        assert [tuple(note) for note in notes] == [("empty_unconfirmed", "no_data")]
        for n in range(2, 15):
            await it.advance(60)
            await answered(it, n)
        assert it.outcomes(key) == []
        await it.advance(180)
        await it.until(lambda: it.outcomes(key), "the second answer proves it")
        (gone,) = it.outcomes(key)
        assert (gone.state, gone.bar.ts, gone.was) == (LiveState.WITHDRAWN, quiet, gone.bar)
        assert await it.live_bars(key) == []
        assert await it.stored(key, quiet, quiet + 20 * MINUTE_NS) == []
        assert quiet in (await it.series(key)).covered

    play(dsn, story, start="2026-03-02T17:13:30Z")


def test_a_minute_without_a_trade_is_withdrawn_at_once_where_history_has_a_later_one(dsn: str) -> None:
    """History does not lag there. THIN trades at 15:54 and at 16:00."""

    async def story(it: LiveBridge) -> None:
        key = await follow(it, THIN)
        quiet = ns("2026-02-24 15:56")
        await pretend(it, key, quiet)
        await it.advance(480)
        await it.until(lambda: it.outcomes(key), "it is confirmed")
        history = await it.history(key, ns("2026-02-24 15:53"), ns("2026-02-24 16:01"))
        assert [one.bar.ts for one in it.outcomes(key, LiveState.WITHDRAWN)] == [quiet]
        assert [one.bar for one in it.outcomes(key, LiveState.CONFIRMED)] == history
        assert len(history) == 2

    play(dsn, story, start="2026-02-24T15:53:30Z")


@pytest.mark.parametrize(
    ("fault", "over"),
    [
        ("history_error pacing 1", 61),
        ("history_error no_permission 1", 0),
        ("silent 1 reqHistoricalData", 11),
        ("farm_down ushmds", 0),
        (f"reject_next reqHistoricalData 162 '{NO_DATA}'", 0),
    ],
)
def test_nothing_is_withdrawn_for_an_answer_that_did_not_come(dsn: str, fault: str, over: int) -> None:
    async def story(it: LiveBridge) -> None:
        key = await follow(it, AAPL)
        await it.advance(1)
        await it.until(lambda: knows(it, key), "its sessions are known")
        await it.command(fault)
        await it.advance(59)
        await pretend(it, key, NOON - MINUTE_NS)  # a slot that is not asked for
        await pretend(it, key, NOON)
        if not fault.startswith("farm"):
            await answered(it, 1)
        assert it.outcomes(key) == []
        assert {one.ts for one in await it.live_bars(key)} == {NOON - MINUTE_NS, NOON}
        assert NOON not in (await it.series(key)).covered
        if fault.startswith("farm"):
            await it.command("farm_up ushmds")
        if "no_permission" in fault:
            notes = await it.rows("SELECT state, reason FROM coverage_notes")
            assert [tuple(note) for note in notes] == [("unavailable", "no_permission")]
            return
        await it.advance(over + 60)
        await it.until(lambda: it.outcomes(key), "the next answer has the minute")
        assert it.outcomes(key)[0].bar == (await it.history(key, NOON, NOON + MINUTE_NS))[0]
        assert it.outcomes(key, LiveState.WITHDRAWN) == []

    play(dsn, story, request_timeout_s=3.0)


def knows(it: LiveBridge, key: Any) -> bool:
    return it.confirming._followed[key].calendar is not None


# ---- without a stream ----------------------------------------------------------------------------------------------------


def test_a_series_without_a_stream_is_polled_each_minute(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await follow(it, AAPL, poll=True)
        for _ in range(3):
            await it.advance(60)
            await confirmed(it, key)
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        history = await it.history(key, NOON, until)
        assert [(one.bar, one.state, one.exact) for one in it.outcomes(key)] == [
            (bar, LiveState.CONFIRMED, False) for bar in history
        ]
        assert len(history) == 3
        requests = await it.rows("SELECT kind FROM ib_requests WHERE chunk_id IS NULL AND series_id IS NOT NULL")
        assert [r.kind for r in requests] == ["poll"] * 3

    play(dsn, story)


def test_what_nobody_wants_any_more_is_confirmed_and_then_left(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await follow(it, AAPL)
        await it.advance(55)
        it.confirming.leave(key)
        await it.advance(55)
        await it.until(lambda: key not in it.confirming._followed, "it is left")
        assert NOON in (await it.series(key)).covered
        before = len(await it.rows("SELECT 1 FROM ib_requests"))
        await it.advance(120)
        await asyncio.sleep(1.2)
        assert len(await it.rows("SELECT 1 FROM ib_requests")) == before

    play(dsn, story)


# ---- holes -----------------------------------------------------------------------------------------------------------------


def test_a_hole_is_told_as_filled_when_coverage_proves_it(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await follow(it, AAPL)
        hole = (NOON - 10 * MINUTE_NS, NOON - 5 * MINUTE_NS)
        it.confirming.hole(key, hole)
        await it.until(lambda: any(report.filled for report in it.reports), "it is filled")
        (report,) = [report for report in it.reports if report.filled]
        assert report.filled == Spans.of(*hole)
        assert (await it.series(key)).covered.covers(hole)
        assert report.version == (await it.series(key)).data_version
        assert await it.stored(key, *hole) == await it.history(key, *hole)

    play(dsn, story)


def test_a_hole_that_another_answer_fills_is_told_too(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await follow(it, AAPL)
        hole = (NOON - 10 * MINUTE_NS, NOON - 5 * MINUTE_NS)
        await it.command("farm_down ushmds")
        it.confirming.hole(key, hole)
        await asyncio.sleep(1)
        assert not any(report.filled for report in it.reports)

        def other(cursor: Any) -> None:
            row = series.find_or_make(cursor, key.con_id, timeframe("1m"), price="TRADES", session="rth")
            series.apply_changes(cursor, series.by_id(cursor, row.id, lock=True), settled=Spans.of(*hole))

        await it.run(other)
        await it.command("farm_up ushmds")
        await it.until(lambda: any(report.filled for report in it.reports), "it is filled")

    play(dsn, story)


async def keep(it: LiveBridge, selector: Selector) -> Any:
    """Put a series on the watch list."""
    instrument = await it.find(selector)
    want = WantRow(instrument.con_id, "bars", "1m", "TRADES", "rth", 3)
    await it.run(wants.put, watching.OWNER, [want], None)
    return StreamKey(instrument.con_id, "bars:1m", "TRADES", "rth")


def test_a_series_of_the_watch_list_is_made_whole_after_days_without_a_bridge(dsn: str) -> None:
    async def first(it: LiveBridge) -> None:
        key = await keep(it, AAPL)
        await it.advance(30)
        await confirmed(it, key)

    async def later(it: LiveBridge) -> None:
        found = await it.find(AAPL)
        key = StreamKey(found.con_id, "bars:1m", "TRADES", "rth")
        it.streams[key] = Stream(key, found, -1, 0)
        await it.advance(30)
        start = ns("2026-03-02 14:30")
        until = (await it.now()) // MINUTE_NS * MINUTE_NS

        async def whole() -> bool:
            return (await it.series(key)).covered.covers((start, until))

        await it.until(whole, "what was missed is there")
        days = [(ns(f"2026-03-0{n} 14:30"), min(until, ns(f"2026-03-0{n} 21:00"))) for n in (2, 3, 4)]
        history = [bar for day in days for bar in await it.history(key, *day)]
        assert await it.stored(key, start, until) == history
        assert len(history) == 2 * 390 + 150

        async def ended() -> bool:
            return bool(await it.rows("SELECT 1 FROM backfill_jobs WHERE origin = 'live' AND state = 'succeeded'"))

        await it.until(ended, "the job ends")
        jobs = await it.rows("SELECT owner, priority, state FROM backfill_jobs WHERE origin = 'live'")
        assert [tuple(job) for job in jobs] == [("bridge", 5, "succeeded")], "one job of the series"

    play(dsn, first, start="2026-03-02T17:00:00Z")
    play(dsn, later, start="2026-03-04T17:00:00Z")


# ---- the first answer of a bar that is kept up to date ---------------------------------------------------------------------


def test_the_first_answer_of_a_stream_is_an_answer_of_history(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        one = it.streams[key]
        number = await it.confirming.begin(key)
        report = await it.confirming.record_answer(
            key,
            request_id=number,
            sent_at=one.sent_at,
            duration_ns=1800 * NS_PER_S,
            bars=one.first,
            ms=5,
            connection=it.bridge._connection.number,
        )
        span = (NOON - 29 * MINUTE_NS, NOON)
        history = await it.history(key, *span)
        assert one.first[-1].ts == NOON, "the last one forms"
        assert [bar._replace(vwap=None) for bar in await it.stored(key, 0, NOON + MINUTE_NS)] == [
            bar._replace(vwap=None) for bar in history
        ]
        assert (await it.series(key)).covered == Spans.of(*span)
        assert [one.bar.ts for one in report.outcomes] == [bar.ts for bar in history]
        assert (report.settled, report.covered_until) == (Spans.of(*span), NOON)
        assert it.reports == [report]
        (row,) = await it.rows("SELECT kind, outcome, bars, chunk_id FROM ib_requests WHERE id = %s", number)
        assert tuple(row) == ("keep-up", "ok", 30, None)

    play(dsn, story)
