"""A day of a stock that trades a few times: no bar of fillers, and history has the last word on trades that come late."""

from ib_gateway_sim.faults.live import Late
from ib_gateway_sim.market.contracts import ContractQuery
from nautilus.clock import NS_PER_S
from nautilus.live.bars import LiveState
from nautilus.live.confirmation import LivePrices, Outcome, outcomes
from nautilus.live.folding import Folding, Part
from nautilus.market.bar import Bar
from nautilus.spans import Spans
from tests.support.live_market import MINUTE_S, Prices, Watched, prices, seconds

MINUTE_NS = MINUTE_S * NS_PER_S
OPEN_S, CLOSE_S = seconds("2026-01-09 14:30"), seconds("2026-01-09 21:00")
"""A Friday with a few trades."""


def thin(late: Late | None = None) -> Watched:
    watch = Watched.of(ContractQuery(symbol="THIN", sec_type="STK"), "TRADES", OPEN_S, CLOSE_S, rth=True)
    watch.faults.put(watch.faults.late, "THIN", late)
    return watch


def parts_of(watch: Watched) -> list[Part]:
    return [part for _, parts in watch.five_seconds() for part in parts]


def folded(parts: list[Part], *, with_fillers: bool = True) -> dict[int, Prices]:
    folding = Folding(
        lambda ts: (ts - ts % MINUTE_NS, ts - ts % MINUTE_NS + MINUTE_NS),
        every_part_comes=True,
        with_fillers=with_fillers,
    )
    found = [bar for part in parts for bar in folding.add(part)]
    found += folding.pass_time((CLOSE_S + MINUTE_S) * NS_PER_S)
    return {bar.ts: prices(bar) for bar in found if bar.state is LiveState.CLOSED}


def history() -> dict[int, Prices]:
    return {row[0]: row for row in thin().history("1m")}


def judged(live: dict[int, Prices]) -> dict[int, Outcome]:
    """What history says of the day's bars."""
    stored = {ts: _bar(row) for ts, row in history().items()}
    bars = [LivePrices(_bar(row), closed=True) for row in live.values()]
    return {one.bar.ts: one for one in outcomes(stored, {}, bars, Spans.of(OPEN_S * NS_PER_S, CLOSE_S * NS_PER_S))}


def _bar(row: Prices) -> Bar:
    return Bar(*row[:6], None, row[6])


def withdrawn(live: dict[int, Prices]) -> set[int]:
    return {ts for ts, one in judged(live).items() if one.state is LiveState.WITHDRAWN}


def test_a_day_without_a_late_trade_is_historys_and_has_no_bar_of_fillers() -> None:
    parts = parts_of(thin())
    assert sum(part.volume == 0 for part in parts) > len(history()) > 1
    assert folded(parts) == history()
    assert withdrawn(folded(parts)) == set()


def test_late_trades_alone_differ_and_a_minute_that_history_lacks_is_withdrawn() -> None:
    parts = parts_of(thin(Late(0.5, MINUTE_S, "forming", 0)))
    live, true = folded(parts), history()
    traded = {part.ts - part.ts % MINUTE_NS for part in parts if part.volume}
    in_time = {part for part in parts_of(thin()) if part.volume}
    late = {ts - ts % MINUTE_NS for ts, *_ in in_time ^ {part for part in parts if part.volume}}
    assert set(live) == traded, "no bar of fillers"
    assert {ts: row for ts, row in live.items() if ts not in late} == {
        ts: row for ts, row in true.items() if ts not in late
    }
    assert set(true) - late, "some are in time"
    assert withdrawn(live) == set(live) - set(true) != set()
    final = {ts: one.bar for ts, one in judged(live).items() if one.state is not LiveState.WITHDRAWN}
    assert final == {ts: _bar(row) for ts, row in true.items()}, "in the end a listener has history"


def test_who_takes_fillers_for_trades_is_found_wrong() -> None:
    live = folded(parts_of(thin()), with_fillers=False)
    assert live != history()
    assert len(withdrawn(live)) > 10 * len(history())
