"""A stream changes a closed minute after history's answer was compared with its row, and before listeners have that answer."""

import pytest

from ib_bridge.ib.live_callbacks import BarValue
from ib_bridge.live import recording
from nautilus.clock import rfc3339
from nautilus.db.cursor import Cursor
from nautilus.live.confirmation import MINUTE_NS, Report
from nautilus.live.subscriptions import StreamKey
from tests.integration.live.test_confirming import AAPL, NOON, play
from tests.integration.live.test_new_channels import LateListener, confirmed_until
from tests.support.confirming import LiveBridge


def change_after(it: LiveBridge, key: StreamKey, ts: int, monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """Let the stream bring another volume of a minute as soon as its answer is stored. The list gets that answer."""
    live, record, seen = it.bridge._live, recording.record, list[Report]()

    def recorded(cursor: Cursor, *args: object, **more: object) -> Report:
        report = record(cursor, *args, **more)  # type: ignore[arg-type]
        if not seen and any(one.bar.ts == ts for one in report.outcomes):
            seen.append(report)
        return report

    reported = it.confirming.report

    def change_first(report: Report) -> None:
        if seen and report.version == seen[0].version and report.outcomes:
            (one,) = [one.bar for one in seen[0].outcomes if one.bar.ts == ts]
            value = BarValue(ts, one.open, one.high, one.low, one.close, (one.volume or 0) + 1_000, one.trades)
            live.bars.update(live.ledger.streams[key], value)
        reported(report)

    monkeypatch.setattr(recording, "record", recorded)
    it.confirming.report = change_first
    return seen


@pytest.mark.parametrize("frame", ["1m", "5m"])
def test_history_has_the_last_word_on_a_minute_that_changed_meanwhile(
    dsn: str, frame: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(it: LiveBridge) -> None:
        for name in ("1m", "5m"):
            await it.want(AAPL, name, owner=f"user:{name}")
        key = StreamKey(next(iter(it._instruments)), "bars:1m", "TRADES", "rth")
        await it.until(lambda: it._is_live(key), "the stream is live")
        listener = LateListener(it, key, frame)
        for minute in (0, 1, 2, 3):
            await it.advance(50 if minute == 0 else 60)
            await confirmed_until(it, key, NOON + (minute + 1) * MINUTE_NS)
        last, end = NOON + 4 * MINUTE_NS, NOON + 5 * MINUTE_NS
        seen = change_after(it, key, last, monkeypatch)
        await it.advance(45)
        await it.shown(key, last)
        await it.advance(15)
        await confirmed_until(it, key, end)
        assert [one.exact for one in seen[0].outcomes if one.bar.ts == last] == [True], "its row was as history"
        ts = last if frame == "1m" else NOON
        await it.until(lambda: listener.state(ts) in ("confirmed", "revised"), "history's word is published")
        assert listener.state(ts) == "revised", listener.chart.bars[rfc3339(ts)]
        assert await listener.differs(ts) == []

    play(dsn, story)
