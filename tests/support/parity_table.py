"""What live, paper and the back-test of the bars that the live run saw decided and filled: bar by bar, and where they differ."""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from nautilus.clock import NS_PER_S, rfc3339
from tests.support.strategy_parity import Course, Decision, Traded

TICK = Decimal("0.01")
MOST_TICKS = 5
"""Between a live fill and that of the back-test: two for the spread and three for what a second of the market moves."""
MOST_SECONDS = 30
"""From the close of a bar to the live fill of the order that follows from it, market time."""


class Parity(NamedTuple):
    """The same bars, three ways. paper_tested: the back-test of the bars that paper saw. last_ns: close of the last bar, of which
    only a live order can fill."""

    live: Course
    paper: Course
    tested: Course
    paper_tested: Course
    last_ns: int

    def differences(self) -> list[str]:
        """Every difference that is not the nature of live trading; empty: the three are equal."""
        return [
            *_decided("live", self.live, self.tested),
            *_decided("paper", self.paper, self.paper_tested),
            *self._live_fills(),
            *self._paper_fills(),
        ]

    def _live_fills(self) -> Iterator[str]:
        tested = _by_decision(self.tested)
        for decided_ns, fills in _by_decision(self.live).items():
            after_s = max(one.at_ns - decided_ns for one in fills) / NS_PER_S
            if not 0 <= after_s <= MOST_SECONDS:
                yield f"{rfc3339(decided_ns)}: filled {after_s:g} s after its bar"
            if decided_ns in tested:
                apart = abs(_price(fills) - _price(tested[decided_ns])) / TICK
                if apart > MOST_TICKS:
                    yield f"{rfc3339(decided_ns)}: live and back-test filled {apart:.1f} ticks apart"
            elif decided_ns != self.last_ns:
                yield f"{rfc3339(decided_ns)}: only live filled"

    def _paper_fills(self) -> Iterator[str]:
        seen = [one for one in self.paper.fills if one.decided_ns != self.last_ns]
        if seen != self.paper_tested.fills[: len(seen)] or len(self.paper_tested.fills) != len(seen):
            yield f"paper filled {_words(seen)}, its back-test {_words(self.paper_tested.fills)}"

    def table(self) -> str:
        """A line for each decision; fills as price and seconds after the bar."""
        head = f"{'bar':>21}  {'order':<10}{'live':>17}{'paper':>17}{'back-test':>17}{'live - back-test':>18}"
        filled = [_by_decision(one) for one in (self.live, self.paper, self.tested)]
        lines = [self._line(one, filled) for one in self.live.decisions]
        away = [abs(_price(fills) - _price(filled[2][at])) / TICK for at, fills in filled[0].items() if at in filled[2]]
        mean = sum(away, Decimal(0)) / len(away) if away else Decimal(0)
        most = max(away, default=Decimal(0))
        last = f"{len(lines)} decisions; live fills lie {mean:.1f} ticks from the back-test's, at most {most:.1f}"
        return "\n".join([head, *lines, last])

    @staticmethod
    def _line(decision: Decision, filled: list[dict[int, list[Traded]]]) -> str:
        at = decision.decided_ns
        cells = "".join(f"{_cell(one.get(at), at):>17}" for one in filled)
        live, tested = filled[0].get(at), filled[2].get(at)
        apart = f"{(_price(live) - _price(tested)) / TICK:+.1f} ticks" if live and tested else ""
        return f"{rfc3339(at):>21}  {decision.side:<5}{decision.quantity:<5f}{cells}{apart:>18}"


def _decided(name: str, seen: Course, tested: Course) -> Iterator[str]:
    for at in sorted({one.decided_ns for one in [*seen.decisions, *tested.decisions]}):
        ours = [one for one in seen.decisions if one.decided_ns == at]
        theirs = [one for one in tested.decisions if one.decided_ns == at]
        if ours != theirs:
            yield f"{rfc3339(at)}: {name} decided {_words(ours)}, its back-test {_words(theirs)}"


def _words(rows: list[Decision] | list[Traded]) -> str:
    return (
        ", ".join(f"{one.side} {one.quantity}" + f" at {getattr(one, 'price', 'market')}" for one in rows) or "nothing"
    )


def _by_decision(course: Course) -> dict[int, list[Traded]]:
    found: dict[int, list[Traded]] = {}
    for one in course.fills:
        found.setdefault(one.decided_ns, []).append(one)
    return found


def _price(fills: list[Traded]) -> Decimal:
    return sum((one.price * one.quantity for one in fills), Decimal(0)) / sum(one.quantity for one in fills)


def _cell(fills: list[Traded] | None, decided_ns: int) -> str:
    if not fills:
        return "none"
    return f"{_price(fills):.2f} {(fills[-1].at_ns - decided_ns) / NS_PER_S:+.1f} s"
