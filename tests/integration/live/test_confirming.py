"""History confirms, revises and withdraws what a stream told: the real bridge, the simulator over its socket, PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dev.postgres import start_postgres
from dev.process import Group
from ib_bridge.history.writer import Answer
from ib_bridge.live import asking, recording
from nautilus.db.cursor import Cursor
from nautilus.db.live import provisional, watch_list
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.watch_list import WatchRow
from nautilus.db.market import series
from nautilus.db.migrate import upgrade
from nautilus.errors import Unavailable
from nautilus.live import confirmation
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import MINUTE_NS, Outcome, Report
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import timeframe
from nautilus.spans import Span, Spans
from tests.support.confirming import LiveBridge, live_bridge
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


async def minutes(it: LiveBridge, key: StreamKey, count: int) -> list[ProvisionalBar]:
    """Let minutes pass, from half past one; returns their bars as the stream had them before history was asked."""
    found = []
    for _ in range(count):
        await it.advance(30)
        closed = await it.now()
        await it.advance(8)
        found.append(await it.shown(key, closed - MINUTE_NS))
        await it.advance(22)
        await confirmed(it, key)
    return found


async def confirmed(it: LiveBridge, key: StreamKey) -> None:
    """Wait until the newest closed minute is covered."""
    until = (await it.now()) // MINUTE_NS * MINUTE_NS

    async def is_covered() -> bool:
        return until - 1 in (await it.series(key)).covered

    await it.until(is_covered, "what closed is confirmed")


def test_closed_minutes_are_confirmed_equal_to_history(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, key, 4)
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
        assert [r.bars for r in requests] == [4, 4, 4, 4], "three bars overlap"
        assert await it.rows("SELECT 1 FROM backfill_chunks") == []

    play(dsn, story)


def test_a_forming_bar_is_never_stored(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, key, 2)
        now = await it.now()
        assert now % MINUTE_NS, "a bar forms"
        assert await it.stored(key, now // MINUTE_NS * MINUTE_NS, now + MINUTE_NS) == []

    play(dsn, story)


@pytest.mark.parametrize("command", ["late AAPL 0.3", "odd_lots AAPL 0.2", "step_volume AAPL"])
def test_what_live_showed_otherwise_is_revised_with_what_it_was(dsn: str, command: str) -> None:
    async def story(it: LiveBridge) -> None:
        await it.command(command)
        key = await it.stream(AAPL)
        shown = {one.ts: one for one in await minutes(it, key, 3)}
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        history = {bar.ts: bar for bar in await it.history(key, NOON, until)}
        revised = it.outcomes(key, LiveState.REVISED)
        assert revised, "the fault shows"
        assert [one.bar for one in revised] == [history[one.bar.ts] for one in revised]
        assert [one.was and one.was[:6] for one in revised] == [shown[one.bar.ts][1:7] for one in revised]
        assert list(history.values()) == await it.stored(key, NOON, until)

    play(dsn, story)


def test_what_history_changes_afterwards_is_revised_and_told(dsn: str) -> None:
    """A minute that was confirmed already: the next request reaches back to it."""

    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, key, 3)
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        before = {bar.ts: bar for bar in await it.stored(key, NOON, until)}
        version = (await it.series(key)).data_version
        await it.command("revise AAPL 1")
        it.reports.clear()
        await minutes(it, key, 1)
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


def test_a_change_of_the_last_two_minutes_is_found_by_the_next_request(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, key, 4)
        changed = (await it.command("revise AAPL 2"))["minutes"]
        it.reports.clear()
        await minutes(it, key, 1)
        latest = changed[-1]["t"] * 10**9
        await it.until(
            lambda: any(one.bar.ts > latest for one in it.outcomes(key, LiveState.CONFIRMED)),
            "the next minute is confirmed",
        )
        revised = it.outcomes(key, LiveState.REVISED)
        assert [one.bar.ts for one in revised] == [minute["t"] * 10**9 for minute in changed]
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        assert await it.stored(key, NOON, until) == await it.history(key, NOON, until)

    play(dsn, story)


def test_a_change_of_the_first_minute_of_a_session_is_found_though_it_is_the_first_bar_of_each_answer(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await minutes(it, key, 1)
        (changed,) = (await it.command("revise AAPL 1"))["minutes"]
        assert changed["t"] * 10**9 == ns("2026-03-02 14:30")
        await minutes(it, key, 1)
        await it.until(lambda: it.outcomes(key, LiveState.REVISED), "the change is found")
        (revised,) = it.outcomes(key, LiveState.REVISED)
        assert [revised.bar] == await it.history(key, ns("2026-03-02 14:30"), ns("2026-03-02 14:31"))

    play(dsn, story, start="2026-03-02T14:30:30Z")


# ---- no proof, no word ---------------------------------------------------------------------------------------------------


async def pretend(it: LiveBridge, key: StreamKey, ts: int) -> None:
    """A bar that a stream told and history does not have."""
    row = await it.series(key)
    bar = ProvisionalBar(row.id, ts, 7.0, 7.1, 6.9, 7.0, 100.0, 1, "closed", False, "rtb", ts + MINUTE_NS)
    await it.run(provisional.put, [bar])
    it.confirming.wake(key)


async def follow(it: LiveBridge, selector: Selector, *, poll: bool = False) -> StreamKey:
    """Confirm a series that no stream brings."""
    instrument = await it.find(selector)
    key = StreamKey(instrument.con_id, "bars:1m", "TRADES", "rth")
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


def knows(it: LiveBridge, key: StreamKey) -> bool:
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
        assert len(history) == 3
        await it.until(lambda: len(it.outcomes(key)) >= 3, "what is stored is reported")
        assert [(one.bar, one.state, one.exact) for one in it.outcomes(key)] == [
            (bar, LiveState.CONFIRMED, False) for bar in history
        ]
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


def test_a_stored_answer_is_published_though_the_database_is_away_just_then_and_holes_stay_known(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(it: LiveBridge) -> None:
        key = await follow(it, AAPL)
        await minutes_polled(it, key)
        hole, times = (NOON - 10 * MINUTE_NS, NOON - 5 * MINUTE_NS), 3
        stored = recording.stored

        def away(*args: Any) -> list[Bar]:
            nonlocal times
            times -= 1
            if times >= 0:
                raise Unavailable("the database is away")
            return stored(*args)

        monkeypatch.setattr(recording, "stored", away)
        it.reports.clear()
        it.confirming.hole(key, hole)
        await it.until(lambda: times < 3, "the answer for the hole is stored")
        await it.until(lambda: it.outcomes(key), "it is told")
        for _ in range(3):
            await it.advance(15)
            await asyncio.sleep(0.6)
        await it.until(lambda: any(report.filled for report in it.reports), "the hole is told as filled later")
        found = [one.bar for one in it.outcomes(key) if one.bar.ts < hole[1]]
        assert found == await it.history(key, *hole), "each of its bars once"

    play(dsn, story)


async def minutes_polled(it: LiveBridge, key: StreamKey) -> None:
    await it.advance(60)
    await confirmed(it, key)


def test_a_series_of_the_watch_list_is_made_whole_after_days_without_a_bridge(dsn: str) -> None:
    async def first(it: LiveBridge) -> None:
        found = await it.find(AAPL)
        key = StreamKey(found.con_id, "bars:1m", "TRADES", "rth")
        row = WatchRow(key.con_id, "1m", key.price, key.session, found.instrument_id)
        await it.run(watch_list.put, "user:1", [row])
        await it.advance(30)
        await confirmed(it, key)

    async def later(it: LiveBridge) -> None:
        found = await it.find(AAPL)
        key = StreamKey(found.con_id, "bars:1m", "TRADES", "rth")
        await it.advance(30)
        start = ns("2026-03-02 14:30")
        until = (await it.now()) // MINUTE_NS * MINUTE_NS

        async def whole() -> bool:
            await it.advance(1)  # IB's limits count market time
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


@pytest.mark.parametrize("forgetful", [False, True])
def test_what_is_confirmed_before_its_stream_is_loaded_is_published_then(dsn: str, forgetful: bool) -> None:
    """As at the start of a bridge, when a series of the watch list is requested at once. Who is forgetful lacks the bar."""

    async def story(it: LiveBridge) -> bool:
        live, published = it.bridge._live, set[int]()
        load, outcome = live._loading.load, live.telling.outcome

        async def later(*_: Any) -> None:
            return None

        def tell(stream: Any, frame: str, one: Outcome, **more: Any) -> None:
            published.add(one.bar.ts)
            outcome(stream, frame, one, **more)

        live._loading.load, live.telling.outcome = later, tell  # type: ignore[method-assign,assignment]
        found = await it.find(AAPL)
        key = StreamKey(found.con_id, "bars:1m", "TRADES", "rth")
        row = WatchRow(key.con_id, "1m", key.price, key.session, found.instrument_id)
        await it.run(watch_list.put, "user:1", [row])
        await it.advance(60)
        await confirmed(it, key)
        await it.until(lambda: NOON in {one.bar.ts for one in it.outcomes(key)}, "what is stored is reported")
        confirmed_bars = {one.bar.ts for one in it.outcomes(key)}

        async def forgetting(*streams: Any) -> Any:
            live._early.clear()
            return await load(*streams)

        live._loading.load = forgetting if forgetful else load  # type: ignore[method-assign,assignment]
        await it.until(lambda: it._is_live(key), "the stream is live")
        return confirmed_bars <= published

    assert play(dsn, story) is not forgetful


# ---- the first answer of a bar that is kept up to date ---------------------------------------------------------------------


def test_the_first_answer_of_a_stream_is_an_answer_of_history(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await it.until(lambda: it.reports, "its answer is stored")
        report = it.reports[0]
        ((start, end),) = (await it.series(key)).covered
        assert end == NOON, "the bar that forms is not in it"
        history = await it.history(key, start, end)
        assert history
        assert await it.stored(key, 0, NOON + MINUTE_NS) == history
        assert [one.bar for one in report.outcomes] == history
        assert (report.settled, report.covered_until) == (Spans.of(start, end), end)
        (row,) = await it.rows("SELECT kind, outcome, chunk_id FROM ib_requests WHERE series_id IS NOT NULL")
        assert tuple(row) == ("keep-up", "ok", None)

    play(dsn, story)


def test_a_minute_that_closes_while_a_stream_begins_is_confirmed_too(dsn: str) -> None:
    """Its first answer ends before: the minute has not settled."""

    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await it.until(lambda: it.reports, "the first answer is stored")
        assert NOON - MINUTE_NS not in (await it.series(key)).covered
        await it.advance(15)
        await confirmed(it, key)

    play(dsn, story, start="2026-03-02T17:00:05Z")


def test_a_minute_with_a_flap_of_the_history_farm_is_confirmed_within_ninety_seconds(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.stream(AAPL)
        await it.advance(10)
        await it.command("farm_flap ushmds 3")
        await it.advance(20)
        for _ in range(9):  # the minute ends now
            await it.advance(10)
        await it.until(lambda: it.outcomes(key), "it is confirmed")
        history = await it.history(key, NOON, NOON + MINUTE_NS)
        found = [one.bar for one in it.outcomes(key) if one.bar.ts == NOON]
        assert found[-1:] == history
        assert it.outcomes(key, LiveState.WITHDRAWN) == []

    play(dsn, story)


def test_no_more_than_twenty_requests_a_minute_confirm_all_series_together(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        for n in range(1, 26):
            await follow(it, Selector("STK", f"MANY{n:02}", "USD"))
        await it.advance(2)
        await it.until(lambda: all(knows(it, key) for key in it.confirming._followed), "their sessions are known")
        await it.advance(108)
        await answered(it, 20)
        await asyncio.sleep(1.2)
        assert len(await it.rows("SELECT 1 FROM ib_requests WHERE kind = 'confirm'")) == 20
        await it.advance(60)
        await answered(it, 25)
        (row,) = await it.rows("SELECT count(DISTINCT series_id)::int AS n FROM ib_requests WHERE kind = 'confirm'")
        assert row.n == 25, "who waited goes first"

    play(dsn, story)


async def half_an_hour(it: LiveBridge) -> bool:
    """Bars of five seconds for half an hour; True when each was confirmed as history has it, by one request of half an hour."""
    key = await it.want(AAPL, "5s")
    await it.until(lambda: it.is_requested(key), "the stream is requested")
    for _ in range(29):
        await it.advance(60)
    assert await it.rows("SELECT 1 FROM ib_requests WHERE kind = 'confirm'") == [], "half an hour is not over"
    shown = await it.live_bars(key)
    for _ in range(2):
        await it.advance(60)
    await answered(it, 1)
    await it.until(lambda: it.outcomes(key), "they are confirmed")
    (request,) = await it.rows("SELECT bars, series_id FROM ib_requests WHERE kind = 'confirm'")
    (report,) = [one for one in it.reports if one.outcomes]
    first, last = confirmation.hull(report.answered)
    assert last - first >= 30 * MINUTE_NS
    assert len(shown) >= 300, "all were provisional before"
    assert await it.series(key) == await it.run(series.by_id, request.series_id)
    return await it.stored(key, first, last) == await it.history(key, first, last)


def test_bars_of_five_seconds_are_confirmed_by_the_half_hour_in_one_request(dsn: str) -> None:
    assert play(dsn, half_an_hour) is True


def test_a_hole_in_bars_of_five_seconds_does_not_wait_for_the_half_hour(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key = await it.want(AAPL, "5s")
        await it.until(lambda: it.is_requested(key), "the stream is requested")
        await it.advance(60)
        await it.command("lost")
        await it.advance(30)
        await it.command("restored maintained")
        for _ in range(4):
            await it.advance(15)
        await it.until(lambda: any(report.filled for report in it.reports), "it is filled")
        (report,) = [report for report in it.reports if report.filled]
        ((start, end),) = report.filled
        assert end - start >= 25 * 10**9
        assert await it.stored(key, start, end) == await it.history(key, start, end)
        assert len(await it.rows("SELECT 1 FROM ib_requests WHERE kind = 'confirm'")) == 1
        for _ in range(4):
            await it.advance(60)
        await asyncio.sleep(1.2)
        assert len(await it.rows("SELECT 1 FROM ib_requests WHERE kind = 'confirm'")) == 1, "all else waits"

    play(dsn, story)


def test_bars_of_five_seconds_that_are_not_historys_are_found_out(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "recording", SimpleNamespace(**(vars(recording) | {"record": swap})))
    assert play(dsn, half_an_hour) is False


# ---- an opponent of each comparison ----------------------------------------------------------------------------------------


def believe_live(
    cursor: Cursor, key: StreamKey, series_id: int, answer: Answer, *, span: Span, rows: list[Bar], **more: Any
) -> Report:
    """Stores what live showed, and takes it for covered."""
    shown = {one.ts: one for one in provisional.within(cursor, series_id, *span)}
    rows = [Bar(*shown[bar.ts][1:7], None, shown[bar.ts].trades) if bar.ts in shown else bar for bar in rows]
    return recording.record(cursor, key, series_id, answer, span=span, rows=rows, **more)


def swap(cursor: Cursor, *where: Any, rows: list[Bar], **more: Any) -> Report:
    """Takes the high for the low."""
    swapped = [bar._replace(high=bar.low, low=bar.high) for bar in rows]
    return recording.record(cursor, *where, rows=swapped, **more)


@pytest.mark.parametrize(("mutant", "equal"), [(recording.record, True), (believe_live, False), (swap, False)])
def test_bars_that_are_not_historys_are_found_out(
    dsn: str, monkeypatch: pytest.MonkeyPatch, mutant: Callable[..., Report], equal: bool
) -> None:
    async def story(it: LiveBridge) -> bool:
        await it.command("late AAPL 0.3")
        key = await it.stream(AAPL)
        await minutes(it, key, 3)
        until = (await it.now()) // MINUTE_NS * MINUTE_NS
        return await it.stored(key, NOON, until) == await it.history(key, NOON, until)

    monkeypatch.setattr(asking, "recording", SimpleNamespace(**(vars(recording) | {"record": mutant})))
    assert play(dsn, story) is equal


def without_withdrawals(*values: Any) -> list[Outcome]:
    return [one for one in confirmation.outcomes(*values) if one.state is not LiveState.WITHDRAWN]


@pytest.mark.parametrize(("mutant", "equal"), [(confirmation.outcomes, True), (without_withdrawals, False)])
def test_a_bar_made_of_fillers_is_taken_back(
    dsn: str, monkeypatch: pytest.MonkeyPatch, mutant: Callable[..., list[Outcome]], equal: bool
) -> None:
    """Between two trades of THIN IB repeats the price with volume 0. What a listener has in the end is what history has."""

    async def story(it: LiveBridge) -> bool:
        key = await follow(it, THIN)
        first = ns("2026-02-24 15:54")
        has = {first + n * MINUTE_NS: None for n in range(7)}
        for ts in has:
            await pretend(it, key, ts)
        await it.advance(480)
        await it.until(lambda: it.outcomes(key), "it is confirmed")
        listener = dict.fromkeys(has) | {one.bar.ts: one for one in it.outcomes(key)}
        final = [ts for ts, one in listener.items() if one is None or one.state is not LiveState.WITHDRAWN]
        return final == [bar.ts for bar in await it.history(key, first, first + 7 * MINUTE_NS)]

    monkeypatch.setattr(recording, "confirmation", SimpleNamespace(**(vars(confirmation) | {"outcomes": mutant})))
    assert play(dsn, story, start="2026-02-24T15:53:30Z") is equal


# ---- a database that dies --------------------------------------------------------------------------------------------------


def test_a_database_that_is_killed_while_bars_are_confirmed_loses_and_doubles_nothing(servers: SimpleNamespace) -> None:
    folder = servers.folder / "killed-while-confirming"
    folder.mkdir()
    with Group() as group:
        server = start_postgres(group, folder, durable=True)
        server.child.wait_ready()
        upgrade(server.dsn())

        async def story(it: LiveBridge) -> None:
            nonlocal server
            key = await it.stream(AAPL)
            await minutes(it, key, 2)
            for round_ in range(3):
                await it.command("latency 5000")
                await it.advance(60)
                await asyncio.sleep(0.6 * round_)  # the request is booked, or open, or not yet
                await it.command("latency none")
                group.kill_child(server.child)
                await it.advance(6)
                server = start_postgres(group, folder, durable=True, port=server.port)
                await asyncio.to_thread(server.child.wait_ready)
                await it.advance(60)
                await it.until(lambda: is_back(it), "the database is back")
                await confirmed(it, key)
            until = (await it.now()) // MINUTE_NS * MINUTE_NS
            ((start, _),) = (await it.series(key)).covered
            history = await it.history(key, start, until)
            assert await it.stored(key, start, until) == history
            assert len(history) == (until - start) // MINUTE_NS
            assert await it.rows("SELECT 1 FROM bar_revisions") == []
            assert {one.ts for one in await it.live_bars(key)} <= {until}

        play(server.dsn(), story)


async def is_back(it: LiveBridge) -> bool:
    try:
        return bool(await it.rows("SELECT 1 AS there"))
    except Unavailable:
        return False
