"""Folding: what the simulator streams becomes the bars that its history has, and wrong foldings are found wrong."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated.market import Market
from nautilus.clock import NS_PER_S
from nautilus.live.bars import LiveBar, LiveState
from nautilus.live.folding import LATEST_CLOSE_NS, Folding, Part, _Sum
from nautilus.spans import Span
from tests.support.markets import few

OPEN_S = int(datetime(2026, 1, 14, 14, 30, tzinfo=UTC).timestamp())
"""A Wednesday: New York opens."""
THIN_S = OPEN_S - 5 * 86400
"""A Friday with a few trades of THIN."""
MINUTE_NS = 60 * NS_PER_S
PART_NS = 5 * NS_PER_S
MARKET = Market(7)


def contract(symbol: str, sec_type: str, **about: str) -> Contract:
    (found,) = MARKET.find(ContractQuery(symbol=symbol, sec_type=sec_type, **about), OPEN_S)  # type: ignore[arg-type]
    return found


AAPL = contract("AAPL", "STK", exchange="SMART", currency="USD")
THIN = contract("THIN", "STK")
ES = contract("ES", "FUT", last_trade_date="202603", exchange="CME")
EURUSD = contract("EUR", "CASH", currency="USD", exchange="IDEALPRO")
SPX = contract("SPX", "IND", exchange="CBOE")
KINDS = ((AAPL, "TRADES"), (AAPL, "MIDPOINT"), (THIN, "TRADES"), (ES, "TRADES"), (EURUSD, "MIDPOINT"))

Prices = tuple[int, float, float, float, float, float | None, int | None]


def slot_of(step_ns: int) -> Callable[[int], Span]:
    return lambda ns: (ns - ns % step_ns, ns - ns % step_ns + step_ns)


def history(one: Contract, what: str, start_s: int, minutes: int) -> list[Prices]:
    """Minutes as a historical answer tells them."""
    found = MARKET.bars(
        one, "1m", what, rth=True, start_s=start_s, end_s=start_s + 60 * minutes, now_s=start_s + 60 * minutes
    )
    return [(b.t * NS_PER_S, b.open, b.high, b.low, b.close, known(b.volume), count(b.count)) for b in found]


def known(number: float) -> float | None:
    return None if number == -1 else number


def count(number: int) -> int | None:
    return None if number == -1 else number


def five_seconds(one: Contract, what: str, start_s: int, minutes: int) -> Iterator[Part]:
    """Parts as reqRealTimeBars tells them: where nothing was traded, the last price with volume 0."""
    end_s = start_s + 60 * minutes
    found = {b.t: b for b in MARKET.bars(one, "5s", what, rth=True, start_s=start_s, end_s=end_s, now_s=end_s)}
    close = None
    for at in range(start_s, end_s, 5):
        bar = found.get(at)
        if bar is not None:
            close = bar.close
            prices = (bar.open, bar.high, bar.low, bar.close, known(bar.volume), known(bar.count))
        elif close is not None:
            prices = (close, close, close, close, 0, 0)
        else:
            continue
        yield Part(at * NS_PER_S, PART_NS, *prices)  # type: ignore[arg-type]


def fold(folding: Folding, parts: Iterable[Part], until_s: int) -> dict[int, LiveBar]:
    """The last state of every bar, as a listener has it who goes by the newest word."""
    bars = {}
    for part in parts:
        for bar in [*folding.pass_time(part.ts), *folding.add(part)]:
            bars[bar.ts] = bar
    for bar in folding.pass_time(until_s * NS_PER_S + LATEST_CLOSE_NS):
        bars[bar.ts] = bar
    return bars


def minutes_of(*, with_fillers: bool = True) -> Folding:
    return Folding(slot_of(MINUTE_NS), every_part_comes=True, with_fillers=with_fillers)


def prices_of(bars: dict[int, LiveBar]) -> list[Prices]:
    return [(b.ts, b.open, b.high, b.low, b.close, b.volume, b.trades) for _, b in sorted(bars.items())]


@pytest.mark.parametrize(("one", "what"), KINDS, ids=lambda value: getattr(value, "symbol", value))
def test_parts_of_five_seconds_become_the_minutes_of_history(one: Contract, what: str) -> None:
    start = THIN_S if one is THIN else OPEN_S
    bars = fold(minutes_of(), five_seconds(one, what, start, 390), start + 390 * 60)
    wanted = history(one, what, start, 390)
    assert wanted
    assert prices_of(bars) == wanted
    assert {bar.state for bar in bars.values()} == {LiveState.CLOSED}


@few
@given(st.sampled_from(KINDS), st.integers(0, 300), st.integers(1, 30))
def test_whenever_one_begins_to_listen(kind: tuple[Contract, str], after: int, minutes: int) -> None:
    """From the first whole minute on all is history's; the minute that was joined in the middle is said to be partial."""
    start = OPEN_S + 60 * after
    parts = list(five_seconds(*kind, start, minutes + 1))[5:]
    bars = fold(minutes_of(), parts, start + 60 * (minutes + 1))
    first = start * NS_PER_S
    assert all(bar.partial for ts, bar in bars.items() if ts == first)
    wanted = [row for row in history(*kind, start, minutes + 1) if row[0] > first]
    if kind[0] is not THIN:  # its first price of all is not known to who joins late, so that fillers begin later
        assert [row for row in prices_of(bars) if row[0] > first] == wanted


class SwappedFolding(Folding):
    def add(self, part: Part) -> list[LiveBar]:
        return super().add(part._replace(high=part.low, low=part.high))


class DeafFolding(Folding):
    """It never hears the last part of a slot."""

    def add(self, part: Part) -> list[LiveBar]:
        return [] if part.end % MINUTE_NS == 0 else super().add(part)


class HastyFolding(Folding):
    """It forgets a slot's parts but for the newest."""

    def add(self, part: Part) -> list[LiveBar]:
        if self._current is not None:
            for ts in list(self._current.parts):
                self._current.pop(ts)
        return super().add(part)


@pytest.mark.parametrize("wrong", [SwappedFolding, DeafFolding, HastyFolding])
def test_wrong_foldings_are_found_wrong(wrong: type[Folding]) -> None:
    folding = wrong(slot_of(MINUTE_NS), every_part_comes=True, with_fillers=True)
    bars = fold(folding, five_seconds(AAPL, "TRADES", OPEN_S, 20), OPEN_S + 20 * 60)
    assert prices_of(bars) != history(AAPL, "TRADES", OPEN_S, 20)


def test_a_folding_that_takes_fillers_for_trades_is_found_wrong() -> None:
    bars = fold(minutes_of(with_fillers=False), five_seconds(THIN, "TRADES", THIN_S, 390), THIN_S + 390 * 60)
    assert len(bars) > len(history(THIN, "TRADES", THIN_S, 390)) > 0


def test_an_index_has_bars_though_it_has_no_volume() -> None:
    """Where nothing changed, the last value comes again, so that a minute may open with it: history has the word on that."""
    bars = fold(minutes_of(with_fillers=False), five_seconds(SPX, "TRADES", OPEN_S, 60), OPEN_S + 60 * 60)
    without_open = [(row[0], *row[2:]) for row in prices_of(bars)]
    assert without_open == [(row[0], *row[2:]) for row in history(SPX, "TRADES", OPEN_S, 60)]


# ---- how a bar closes ------------------------------------------------------------------------------------------------


LONGER = {"every_part_comes": False, "with_fillers": True}


def part(at_s: int, price: float, volume: float | None = 1, **about: bool) -> Part:
    return Part(at_s * NS_PER_S, PART_NS, price, price, price, price, volume, 1, **about)


def test_a_bar_closes_with_the_part_that_ends_it() -> None:
    folding = minutes_of()
    for n in range(11):
        (bar,) = folding.add(part(n * 5, 10 + n))
        assert bar.state is LiveState.FORMING
    assert folding.add(part(55, 30)) == [LiveBar(0, 10, 30, 10, 30, 12, 12, LiveState.CLOSED, False)]
    assert folding.pass_time(10**12) == [], "once"


def test_a_bar_closes_with_a_part_of_a_later_slot_and_is_partial() -> None:
    folding = minutes_of()
    folding.add(part(0, 10))
    closed, forming = folding.add(part(120, 11))
    assert closed == LiveBar(0, 10, 10, 10, 10, 1, 1, LiveState.CLOSED, True)
    assert forming.state is LiveState.FORMING
    assert forming.ts == 120 * NS_PER_S


def test_a_bar_without_a_further_part_closes_three_seconds_after_its_slot() -> None:
    folding = minutes_of()
    folding.add(part(0, 10))
    assert folding.pass_time(MINUTE_NS + LATEST_CLOSE_NS - 1) == []
    (bar,) = folding.pass_time(MINUTE_NS + LATEST_CLOSE_NS)
    assert (bar.state, bar.partial) == (LiveState.CLOSED, True)


@pytest.mark.parametrize("broke_off", [False, True])
def test_a_bar_whose_stream_broke_off_is_partial_until_another_word_on_it_comes(broke_off: bool) -> None:
    folding = Folding(slot_of(MINUTE_NS), every_part_comes=False, with_fillers=False)
    newest = part(0, 10)._replace(span_ns=MINUTE_NS, complete=False)
    folding.add(newest)
    (bar,) = folding.pass_time(MINUTE_NS + LATEST_CLOSE_NS, broke_off=broke_off)
    assert (bar.state, bar.partial) == (LiveState.CLOSED, broke_off)
    (again,) = folding.add(newest._replace(close=11.0, high=11.0))
    assert (again.state, again.partial) == (LiveState.CLOSED, False)


def test_who_joins_in_the_middle_of_a_slot_is_told_that_it_is_partial_while_it_forms() -> None:
    (late,) = minutes_of().add(part(30, 10))
    assert (late.state, late.partial) == (LiveState.FORMING, True)
    (whole,) = minutes_of().add(part(0, 10))
    assert not whole.partial


def test_a_slot_of_fillers_alone_is_no_bar_and_no_missing_part() -> None:
    folding = minutes_of()
    assert [bar for n in range(12) for bar in folding.add(part(n * 5, 10, volume=0))] == []
    folding.add(part(60, 10))
    for n in range(13, 24):
        folding.add(part(n * 5, 99, volume=0))
    assert folding.pass_time(10**12) == [], "the last filler has closed it"


def test_a_late_part_makes_the_closed_bar_anew_and_an_older_one_is_dropped() -> None:
    folding = minutes_of()
    for n in [0, 1, *range(3, 12)]:
        folding.add(part(n * 5, 10))
    folding.add(part(60, 10))
    (bar,) = folding.add(part(10, 12))
    assert bar == LiveBar(0, 10, 12, 10, 10, 12, 12, LiveState.CLOSED, False)
    folding.add(part(120, 10))
    assert folding.add(part(20, 50)) == []


def test_a_part_that_comes_twice_counts_once_and_an_unchanged_bar_is_not_told_again() -> None:
    folding = minutes_of()
    (bar,) = folding.add(part(0, 10))
    assert folding.add(part(0, 10)) == []
    (bar,) = folding.add(part(0, 11))
    assert (bar.open, bar.volume) == (11, 1)


def test_updates_of_a_forming_bar_replace_each_other_and_the_next_one_closes_it() -> None:
    """keepUpToDate: the newest state of the bar that forms; the last state of a bar may come with the next bar."""
    folding = Folding(slot_of(MINUTE_NS), every_part_comes=False, with_fillers=True)

    def update(minute: int, price: float, volume: float) -> list[LiveBar]:
        return folding.add(Part(minute * MINUTE_NS, MINUTE_NS, 1, price, 1, price, volume, 3, complete=False))

    assert [bar.state for bar in update(0, 2, 5)] == [LiveState.FORMING]
    assert [bar.volume for bar in update(0, 3, 9)] == [9]
    closed, forming = update(1, 2, 1)
    assert (closed.ts, closed.state, closed.partial) == (0, LiveState.CLOSED, False)
    assert forming.ts == MINUTE_NS
    (late,) = update(0, 4, 11)
    assert (late.ts, late.state, late.high, late.volume) == (0, LiveState.CLOSED, 4, 11)


def test_minutes_fold_into_longer_bars_and_one_partial_minute_makes_them_partial() -> None:
    folding = Folding(slot_of(5 * MINUTE_NS), every_part_comes=False, with_fillers=True)

    def minute(n: int, partial: bool = False) -> list[LiveBar]:
        return folding.add(Part(n * MINUTE_NS, MINUTE_NS, n, n + 2, n, n + 1, 10, 2, partial=partial))

    for n in (0, 1, 3):  # nothing was traded in the third minute
        minute(n)
    assert minute(4) == [LiveBar(0, 0, 6, 0, 5, 40, 8, LiveState.CLOSED, False)]
    minute(5, partial=True)
    (closed, _) = minute(10)
    assert closed.partial


def test_a_part_outside_every_session_is_dropped() -> None:
    folding = Folding(lambda ns: None, every_part_comes=True, with_fillers=True)
    assert folding.add(part(0, 10)) == []


def test_volumes_that_are_not_known_stay_so() -> None:
    folding = minutes_of()
    folding.add(part(0, 10, volume=None))
    (bar,) = folding.add(part(5, 10, volume=3))
    assert bar.volume is None


def of_all(parts: Iterable[Part]) -> tuple[float, float, float, float, float, int]:
    """A bar of all its parts, made anew: what nobody kept cannot be wrong."""
    real = [one for one in sorted(parts) if one.volume]
    first, last = real[0], real[-1]
    volume, trades = sum(one.volume or 0 for one in real), sum(one.trades or 0 for one in real)
    return first.open, max(one.high for one in real), min(one.low for one in real), last.close, volume, trades


@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=40), st.data()
)
@few
def test_in_whatever_order_parts_come_again_and_go_the_bar_is_that_of_all_that_are_there(
    given_parts: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    folding = minutes_of()
    there: dict[int, Part] = {}
    for at, price, volume in given_parts:
        one = Part((OPEN_S + 5 * at) * NS_PER_S, PART_NS, price, price + 1, price - 1, price, volume, 1, complete=False)
        there[one.ts] = one
        folding.add(one)
        if data.draw(st.integers(0, 4)) == 0:
            gone = data.draw(st.sampled_from(sorted(there)))
            folding.remove(gone)
            del there[gone]
        bar = folding.slots()[-1].bar
        assert (bar is None) == (not any(one.volume for one in there.values()))
        assert bar is None or bar[1:7] == of_all(there.values())


def test_parts_that_are_taken_together_change_each_bar_once() -> None:
    one, together = Folding(slot_of(5 * MINUTE_NS), **LONGER), Folding(slot_of(5 * MINUTE_NS), **LONGER)
    parts = [part(60 * n, n)._replace(span_ns=MINUTE_NS) for n in range(12)]
    last = {bar.ts: bar for each in parts for bar in one.add(each)}
    changed = together.fill(parts)
    assert changed == list(last.values())
    assert [bar.state for bar in changed] == ["closed", "closed", "forming"]


def test_a_new_state_of_the_newest_part_costs_the_same_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    folding = Folding(slot_of(24 * 60 * MINUTE_NS), **LONGER)
    folding.fill(part(5 * n, n % 7) for n in range(4_000))
    made: list[Part] = []
    plain = _Sum.with_part

    def counted(self: _Sum, one: Part, *, is_filler: bool) -> _Sum:
        made.append(one)
        return plain(self, one, is_filler=is_filler)

    monkeypatch.setattr(_Sum, "with_part", counted)
    for price in range(10):
        folding.add(part(5 * 4_000, price))
    assert len(made) <= 20
