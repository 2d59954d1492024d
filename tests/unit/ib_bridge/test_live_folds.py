"""Bars of one stream in all timeframes, quotes field by field, and what waits for a beat."""

from typing import Any

import pytest

from ib_bridge.ib.live_callbacks import QuoteChange
from ib_bridge.live.bar_folds import BarFolds, FoldedBar, slot_of
from ib_bridge.live.outbox import MOST_BARS, Outbox
from ib_bridge.live.quote_state import QuoteState, size_factor
from nautilus.db.live.provisional import ProvisionalBar
from nautilus.db.live.quotes import QuoteRow
from nautilus.live.folding import Part
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans
from tests.support.markets import MARKETS, MINUTE, S, ns
from tests.unit.ib_bridge.live_streams import instrument

OPEN = ns("2024-03-05 14:30")
ONE = timeframe("1m")


def folds(zone: str = "nyse", *frames: str) -> BarFolds:
    made = BarFolds(lambda: MARKETS[zone], ONE, from_five_seconds=False, with_fillers=True)
    made.want(["1m", *frames])
    return made


def minute(n: int, close: float = 1.0, volume: float = 10.0, *, complete: bool = False, start: int = OPEN) -> Part:
    return Part(start + n * MINUTE, MINUTE, 1.0, 2.0, 0.5, close, volume, 1, complete)


def closed(found: list[FoldedBar], frame: str) -> list[int]:
    return [(bar.ts - OPEN) // MINUTE for each, bar in found if each.name == frame and bar.state == "closed"]


def test_longer_bars_are_made_of_minutes_at_their_slots() -> None:
    made = folds("nyse", "5m", "1h")
    made.learn([], OPEN)
    found = [bar for n in range(31) for bar in made.add(minute(n))]
    assert closed(found, "1m") == list(range(30))
    assert closed(found, "5m") == [0, 5, 10, 15, 20, 25]
    assert closed(found, "1h") == [0], "cut at the open: half past nine to ten"
    five = next(bar for frame, bar in found if frame.name == "5m" and bar.state == "closed")
    assert (five.volume, five.trades, five.partial) == (50.0, 5, False)


def test_a_longer_bar_that_began_before_what_is_known_is_partial() -> None:
    made = folds("nyse", "5m")
    found = [bar for n in range(2, 11) for bar in made.add(minute(n))]
    partial = {(bar.ts - OPEN) // MINUTE: bar.partial for frame, bar in found if frame.name == "5m"}
    assert partial == {0: True, 5: False, 10: False}
    later = made.learn([minute(0, complete=True), minute(1, complete=True)], OPEN)
    assert all(not bar.partial for _, bar in later)


def test_a_timeframe_that_is_wanted_later_begins_with_the_minutes_that_are_known() -> None:
    made = folds()
    made.learn([], OPEN)
    for n in range(4):
        made.add(minute(n))
    made.want(["1m", "5m"])
    found = made.add(minute(4)) + made.add(minute(5))
    (five,) = [bar for frame, bar in found if frame.name == "5m" and bar.state == "closed"]
    assert (five.volume, five.partial) == (50.0, False)


def test_a_late_part_of_a_minute_that_history_has_answered_changes_no_longer_bar() -> None:
    """Else a longer bar would be confirmed with what only the stream has."""
    made = folds("nyse", "5m")
    made.learn([], OPEN)
    for n in range(5):
        made.add(minute(n))
    answered = Spans.of(OPEN, OPEN + 4 * MINUTE)
    made.answer((), (), answered=answered, covered=answered)
    late = made.add(minute(3, volume=25.0))
    assert [(frame.name, bar.volume) for frame, bar in late] == [("1m", 25.0)]
    made.add(minute(5))
    answered = Spans.of(OPEN, OPEN + 5 * MINUTE)
    _, ((frame, meaning),) = made.answer((), (), answered=answered, covered=answered)
    assert (frame.name, meaning.confirmed) == ("5m", [(OPEN, OPEN + 5 * MINUTE)])
    (five,) = [slot for slot in made._longer["5m"]._folding.slots() if slot.span[0] == OPEN]
    assert five.bar is not None
    assert five.bar.volume == 50.0


def test_days_weeks_and_months_form_for_ever_and_have_labels() -> None:
    made = folds("cme", "1d", "1w", "1M")
    evening = ns("2024-03-04 23:00")  # Monday, 17:00 in Chicago: Tuesday's trade date
    found = [bar for n in range(3) for bar in made.add(minute(n, start=evening))]
    found += made.pass_time(evening + 60 * MINUTE)
    labels = {frame.name: bar.ts for frame, bar in found}
    assert labels["1d"] == ns("2024-03-05 00:00")
    assert labels["1w"] == ns("2024-03-04 00:00")
    assert labels["1M"] == ns("2024-03-01 00:00")
    assert {bar.state for frame, bar in found if not frame.intraday} == {"forming"}


def test_a_closed_market_has_no_slot_and_what_is_not_known_has_the_grids() -> None:
    calendar = MARKETS["nyse"]
    assert slot_of(calendar, ONE, ns("2024-03-05 12:00")) is None
    assert slot_of(calendar, ONE, OPEN + 90 * S) == (OPEN + MINUTE, OPEN + 2 * MINUTE)
    beyond = calendar.known[1] + 30 * S
    assert slot_of(calendar, ONE, beyond) == calendar.slot(ONE, beyond)


def test_a_quote_keeps_what_it_knows_and_says_whether_it_has_changed() -> None:
    quote = QuoteState(1, "data.quotes.NASDAQ.A1")
    assert quote.take(QuoteChange(1, {"bid": 1.0, "bid_size": 3.0}), lambda: 100.0, 5)
    assert not quote.take(QuoteChange(1, {"bid": 1.0}), lambda: 100.0, 6)
    assert quote.take(QuoteChange(1, {"bid": None}), lambda: 100.0, 7)
    assert quote.take(QuoteChange(1, {"ask": 2.0, "ask_size": 1.0}), lambda: None, 8)
    row = quote.row()
    assert (row.bid, row.bid_size, row.ask, row.ask_size, row.seen_at) == (None, 300.0, 2.0, None, 8)
    assert quote.message()["last"] is None


def test_sizes_are_shares_by_the_protocols_version_or_not_known() -> None:
    stock, pair = instrument(), instrument(asset_class="CASH")
    assert size_factor(stock, 157, "unknown") == 100.0
    assert size_factor(stock, 159, "lots") == 1.0
    assert size_factor(stock, 176, "shares") == 1.0
    assert size_factor(stock, 176, "lots") is None
    assert size_factor(stock, 176, "unknown") is None
    assert size_factor(pair, 176, "unknown") == 1.0


def test_a_quote_that_changes_many_times_in_a_beat_is_made_once_as_it_is_then(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, quote, made = Outbox(), QuoteState(1, "data.quotes.NASDAQ.A1"), list[str]()
    message_of, row_of = QuoteState.message, QuoteState.row

    def counted_message(self: QuoteState) -> dict[str, Any]:
        made.append("message")
        return message_of(self)

    def counted_row(self: QuoteState) -> QuoteRow:
        made.append("row")
        return row_of(self)

    monkeypatch.setattr(QuoteState, "message", counted_message)
    monkeypatch.setattr(QuoteState, "row", counted_row)
    for n in range(50):
        quote.take(QuoteChange(1, {"bid": float(n)}), lambda: None, n)
        outbox.tell_quote(quote)
    (row,) = outbox.take_rows().quotes.values()
    (message,) = outbox.take_messages()
    assert (message.kind, message.fields["bid"], row.bid, row.seen_at) == ("quote", 49.0, 49.0, 49)
    assert sorted(made) == ["message", "row"]
    assert not outbox.take_rows()
    assert outbox.take_messages() == []


def row(n: int, state: str = "closed") -> ProvisionalBar:
    return ProvisionalBar(1, n, 1.0, 1.0, 1.0, 1.0, None, None, state, False, "kutd", n)


def test_of_a_beat_the_newest_forming_bar_is_told_before_what_follows_it() -> None:
    outbox = Outbox()
    outbox.tell_newest("bar", "c", {"ts": "1", "close": 1})
    outbox.tell_newest("bar", "c", {"ts": "1", "close": 2})
    outbox.tell("bar", "c", {"ts": "1", "close": 3}, urgent=True)
    outbox.tell_newest("bar", "c", {"ts": "2", "close": 4})
    outbox.tell("gap", "c", {})
    assert outbox.urgent
    messages = outbox.take_messages()
    assert [(m.kind, m.fields.get("close")) for m in messages] == [("bar", 3), ("bar", 4), ("gap", None)]
    assert not outbox.urgent
    assert outbox.take_messages() == []


def test_rows_that_could_not_be_written_wait_bounded_behind_newer_ones() -> None:
    outbox = Outbox()
    for n in range(MOST_BARS + 10):
        outbox.put_bar(row(n))
    outbox.put_bar(row(MOST_BARS + 10, "forming"))
    rows = outbox.take_rows()
    newer = row(5)._replace(close=9.0)
    outbox.put_bar(newer)
    outbox.put_back(rows)
    kept = outbox.take_rows()
    assert len(kept.bars) == MOST_BARS
    assert min(ts for _, ts in kept.bars) == 10
    assert {bar.state for bar in kept.bars.values()} == {"closed"}


def test_what_history_has_answered_for_is_not_written_after_it() -> None:
    outbox = Outbox()
    outbox.put_bar(row(1))
    outbox.put_bar(row(2))
    outbox.settle(1, 0, 2)
    rows = outbox.take_rows()
    assert list(rows.bars) == [(1, 2)]
    assert rows.settled == [(1, 0, 2)]
