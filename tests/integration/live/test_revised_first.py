"""The first answer of a stream that is requested again has minutes otherwise than history had confirmed them before."""

import pytest

from nautilus.live.confirmation import MINUTE_NS
from nautilus.live.subscriptions import StreamKey
from tests.integration.live.test_confirming import AAPL, NOON, play
from tests.integration.live.test_new_channels import LENGTH, LateListener, confirmed_until
from tests.support.confirming import LiveBridge


async def confirmed(it: LiveBridge, frame: str) -> LateListener:
    """A listener that has a longer bar confirmed."""
    for name in ("1m", frame):
        await it.want(AAPL, name, owner=f"user:{name}")
    key = StreamKey(next(iter(it._instruments)), "bars:1m", "TRADES", "rth")
    await it.until(lambda: it._is_live(key), "the stream is live")
    listener = LateListener(it, key, frame)
    for minute in range(LENGTH[frame]):
        await it.advance(45 if minute == 0 else 60)
        await confirmed_until(it, key, NOON + (minute + 1) * MINUTE_NS)
    await it.until(lambda: listener.state(NOON) == "confirmed", "the longer bar is confirmed")
    return listener


@pytest.mark.parametrize("frame", ["5m", "15m"])
def test_a_longer_bar_is_revised_by_the_first_answer_of_a_stream(dsn: str, frame: str) -> None:
    """The stream ends with 10225 before another minute closes: its new request is the first to see what history changed."""

    async def story(it: LiveBridge) -> None:
        listener = await confirmed(it, frame)
        await it.command("revise AAPL 2")
        stream = it.bridge._live.ledger.streams[listener.key]
        before = stream.resubscribed
        await it.command("bust AAPL")

        async def is_requested_again() -> bool:
            await it.advance(1)
            return stream.resubscribed > before

        await it.until(is_requested_again, "the stream is requested again")
        await it.until(lambda: listener.state(NOON) == "revised", "the longer bar is revised")
        assert await listener.differs(NOON) == []

    play(dsn, story)
