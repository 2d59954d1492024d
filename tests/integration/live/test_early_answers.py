"""History answers for a series before the bridge has read who wants it: what it says is kept, and published with the stream."""

from collections.abc import Awaitable, Callable
from typing import Any

from ib_bridge.live import live_data
from nautilus.errors import Unavailable
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import Outcome, Report
from nautilus.live.subscriptions import StreamKey
from nautilus.market.bar import Bar
from tests.integration.live.test_confirming import AAPL, NOON, play
from tests.support.confirming import LiveBridge

LONG_AGO = NOON - 90 * 86_400 * 10**9
"""No first answer of a stream reaches so far back."""


class Reads:
    """The bridge's reads of wants. after: called once a read is done, before the bridge has what it found. away: they fail."""

    def __init__(self, it: LiveBridge) -> None:
        self._live = it.bridge._live
        self._transactions, self._live._transactions = self._live._transactions, self  # type: ignore[assignment]
        self.after: Callable[[], Awaitable[None]] | None = None
        self.away = False
        self.failed = 0

    async def run(self, work: Any, *args: Any, **more: Any) -> Any:
        if work is not live_data._current:
            return await self._transactions.run(work, *args, **more)
        if self.away:
            self.failed += 1
            raise Unavailable("the database is away")
        found = await self._transactions.run(work, *args, **more)
        if self.after is not None:
            after, self.after = self.after, None
            await after()
        return found


async def answer_long_ago(it: LiveBridge) -> tuple[StreamKey, list[int]]:
    """History answers for a bar of AAPL, which has no stream. The list gets the times of the bars that are published."""
    live, published = it.bridge._live, list[int]()
    outcome = live.telling.outcome

    def tell(stream: Any, frame: str, one: Outcome, **more: Any) -> None:
        published.append(one.bar.ts)
        outcome(stream, frame, one, **more)

    live.telling.outcome = tell  # type: ignore[method-assign,assignment]
    found = await it.find(AAPL)
    key = StreamKey(found.con_id, "bars:1m", "TRADES", "rth")
    bar = Bar(LONG_AGO, 1.0, 1.0, 1.0, 1.0, 1.0, None, 1)
    live.reported(Report(key, (await it.series(key)).id, 1, (Outcome(bar, LiveState.CONFIRMED),)))
    return key, published


def test_what_is_answered_between_two_reads_of_the_wants_is_published(dsn: str) -> None:
    """The want is newer than what the first of the two reads found."""

    async def story(it: LiveBridge) -> None:
        made: list[tuple[StreamKey, list[int]]] = []

        async def want_and_answer() -> None:
            await it.want(AAPL)
            made.append(await answer_long_ago(it))

        Reads(it).after = want_and_answer
        await it.until(lambda: made and it._is_live(made[0][0]), "the stream is live")
        assert LONG_AGO in made[0][1]

    play(dsn, story)


def test_what_is_answered_while_the_wants_cannot_be_read_is_published(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        reads = Reads(it)
        reads.away = True
        await it.until(lambda: reads.failed, "the wants cannot be read")
        await it.want(AAPL)
        key, published = await answer_long_ago(it)
        before = reads.failed
        await it.until(lambda: reads.failed > before + 1, "they cannot be read again")
        reads.away = False
        await it.until(lambda: it._is_live(key), "the stream is live")
        assert LONG_AGO in published

    play(dsn, story)


def test_what_nobody_wants_is_not_kept(dsn: str) -> None:
    async def story(it: LiveBridge) -> None:
        key, published = await answer_long_ago(it)
        await it.until(lambda: not it.bridge._live._early, "it is forgotten")
        await it.want(AAPL)
        await it.until(lambda: it._is_live(key), "the stream is live")
        assert LONG_AGO not in published

    play(dsn, story)
