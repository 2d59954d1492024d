"""Which messages of the bus are news for runs that follow bars."""

from collections.abc import Mapping
from typing import Any

from nautilus.live import channels
from nautilus.live.bars import LiveBar, LiveState, live_fields
from nautilus.live.envelope import Entry, Sequencer
from strategy_host.bar_bus import BarSeries, BarSigns

MINUTE_NS = 60 * 10**9
NAME = "AAPL.NASDAQ"
MINUTES, FIVES = (BarSeries(NAME, frame) for frame in ("1m", "5s"))
BUS = Sequencer("mik3f9x0a2")


def bar(n: int, state: LiveState, *, frame: str = "1m", session: str = "") -> Entry:
    """The message of a minute's bar, as a bridge publishes it."""
    one = LiveBar(n * MINUTE_NS, 1.0, 2.0, 0.5, 1.5, 10.0, 3, state, False)
    fields = live_fields(one, state.value, partial=False, source="live", seen_at=n * MINUTE_NS)
    return BUS.entry("bar", channels.bars(NAME, frame, "TRADES", session).name, fields)


def other(kind: str, channel: str, fields: Mapping[str, Any]) -> Entry:
    return BUS.entry(kind, channel, fields)


def test_a_bar_is_news_when_it_begins_and_when_it_is_over_and_not_while_it_goes_on() -> None:
    signs = BarSigns()
    assert signs.news([bar(1, LiveState.FORMING)]) == {MINUTES}
    assert signs.news([bar(1, LiveState.FORMING), bar(1, LiveState.FORMING)]) == frozenset()
    assert signs.news([bar(1, LiveState.CLOSED)]) == {MINUTES}
    assert signs.news([bar(2, LiveState.FORMING)]) == {MINUTES}


def test_what_begins_is_seen_for_each_channel_by_itself() -> None:
    signs = BarSigns()
    assert signs.news([bar(1, LiveState.FORMING), bar(1, LiveState.FORMING, frame="5s")]) == {MINUTES, FIVES}
    assert signs.news([bar(1, LiveState.FORMING, session="all")]) == {MINUTES}


def test_gaps_and_what_history_says_of_bars_are_news_and_other_channels_are_not() -> None:
    signs, name = BarSigns(), channels.bars(NAME, "1m", "TRADES").name
    span = {"start": "2026-03-02T14:30:00Z", "end": "2026-03-02T14:31:00Z"}
    for kind in ("gap", "filled", "confirmed"):
        assert signs.news([other(kind, name, span)]) == {MINUTES}
    assert signs.news([other("quote", channels.quotes(NAME).name, {"bid": 1.0})]) == frozenset()
    assert signs.news([]) == frozenset()
