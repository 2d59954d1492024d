"""Who gets which stream: IB's limits hold whatever is wanted, nothing flaps, and who waits is told why."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.live import subscriptions
from nautilus.live.subscriptions import (
    EVICTION_REST_S,
    KINDS,
    Limits,
    Priority,
    Running,
    Share,
    Source,
    StreamKey,
    Wanted,
    shares,
)
from tests.support.markets import many

FEW = Limits(lines=3, keep_up_to_date=2, real_time_bars=4, reserved=1, tick_by_tick=1)


def quote(n: int) -> StreamKey:
    return StreamKey(n, "quotes")


def minutes(n: int) -> StreamKey:
    return StreamKey(n, "bars:1m", "TRADES", "rth")


class Gateway:
    """What runs, as shares are given one after the other."""

    def __init__(self, limits: Limits = FEW) -> None:
        self.limits = limits
        self.running: dict[StreamKey, Running] = {}
        self.begun: list[float] = []
        self.changes = 0

    def give(self, wanted: list[Wanted], now_s: float = 0.0) -> dict[StreamKey, Share]:
        found = shares(wanted, self.running.values(), limits=self.limits, begun=self.begun, now_s=now_s)
        before = self.running
        self.running = {}
        for share in found:
            was = before.get(share.key)
            lost = was is not None and was.source is not None and share.source is None
            evicted = now_s if lost else was.evicted_at_s if was else float("-inf")
            self.running[share.key] = Running(share.key, share.source, evicted)
            if share.source is not (was.source if was else None):
                self.changes += 1
                self.begun += [now_s] if share.source is Source.REAL_TIME_BARS else []
        return {share.key: share for share in found}


def sources(found: dict[StreamKey, Share]) -> list[str | None]:
    return [share.source and share.source.value for share in found.values()]


def test_minutes_take_the_best_way_that_is_left() -> None:
    found = Gateway().give([Wanted(minutes(n), 6, n) for n in range(7)])
    assert sources(found) == ["kutd", "kutd", "rtb", "rtb", "rtb", "poll", "poll"]


def test_the_last_new_real_time_bars_are_for_who_watches() -> None:
    limits = Limits(lines=9, keep_up_to_date=0, real_time_bars=4, reserved=1)
    found = Gateway(limits).give([Wanted(StreamKey(n, "bars:5s"), Priority.WATCH_LIST, n) for n in range(4)])
    assert [share.reason for share in found.values()] == ["", "", "", "real_time_query"]
    gateway = Gateway(limits)
    gateway.begun = [0.0] * 3
    found = gateway.give([Wanted(StreamKey(9, "bars:5s"), Priority.SOCKET, 0)], now_s=599)
    assert sources(found) == ["rtb"]
    found = gateway.give([Wanted(StreamKey(n, "bars:5s"), Priority.WATCH_LIST, n) for n in range(3)], now_s=601)
    assert sources(found) == ["rtb", "rtb", None], "one was begun two seconds ago"


def test_a_higher_priority_takes_the_room_of_the_lowest_and_both_are_told() -> None:
    gateway = Gateway()
    watched = [Wanted(quote(n), Priority.WATCH_LIST, n) for n in range(3)]
    gateway.give(watched)
    found = gateway.give([*watched, Wanted(quote(9), Priority.STRATEGY, 10)])
    assert found[quote(9)] == Share(quote(9), Source.MARKET_DATA)
    assert found[quote(2)] == Share(quote(2), None, "evicted:priority", quote(9))
    assert [found[quote(n)].source for n in (0, 1)] == [Source.MARKET_DATA] * 2


def test_an_equal_priority_takes_nobodys_room() -> None:
    gateway = Gateway()
    first = [Wanted(quote(n), 6, 10 + n) for n in range(3)]
    gateway.give(first)
    found = gateway.give([*first, Wanted(quote(9), 6, 0)])
    assert found[quote(9)] == Share(quote(9), None, "no_market_data_line_free")


def test_what_was_evicted_takes_no_room_for_a_minute() -> None:
    gateway = Gateway(Limits(lines=1))
    low, high = Wanted(quote(1), 3, 0), Wanted(quote(2), 7, 0)
    gateway.give([low])
    gateway.give([low, high], now_s=1)
    risen = low._replace(priority=9)
    found = gateway.give([risen, high], now_s=1 + EVICTION_REST_S - 1)
    assert found[quote(2)].source is Source.MARKET_DATA
    found = gateway.give([risen, high], now_s=1 + EVICTION_REST_S)
    assert found[quote(1)].source is Source.MARKET_DATA


def test_a_stream_that_runs_keeps_its_source_when_a_better_one_is_free() -> None:
    gateway = Gateway()
    wanted = [Wanted(minutes(n), 6, n) for n in range(3)]
    assert sources(gateway.give(wanted)) == ["kutd", "kutd", "rtb"]
    assert sources(gateway.give(wanted[1:])) == ["kutd", "rtb"]


def test_a_way_that_ib_refused_is_left_out() -> None:
    blocked = frozenset({Source.KEEP_UP_TO_DATE, Source.POLL})
    found = Gateway().give([Wanted(minutes(1), 6, 0, blocked), Wanted(quote(2), 6, 0, frozenset({Source.MARKET_DATA}))])
    assert [(share.source, share.reason) for share in found.values()] == [
        (Source.REAL_TIME_BARS, ""),
        (None, "refused"),
    ]


wants = st.lists(
    st.builds(
        Wanted,
        st.builds(StreamKey, st.integers(1, 8), st.sampled_from(KINDS)),
        st.integers(0, 9),
        st.floats(0, 100),
        st.just(frozenset()),
    ),
    max_size=20,
    unique_by=lambda want: want.key,
)


def check(gateway: Gateway, found: dict[StreamKey, Share], wanted: list[Wanted], now_s: float) -> None:
    """IB's limits hold, everybody is told something, and nobody waits behind somebody of less priority."""
    assert set(found) == {want.key for want in wanted}
    used = Counter(share.source for share in found.values())
    assert used[Source.MARKET_DATA] + used[Source.REAL_TIME_BARS] <= gateway.limits.lines
    assert used[Source.KEEP_UP_TO_DATE] <= gateway.limits.keep_up_to_date
    assert used[Source.TICK_BY_TICK] <= gateway.limits.tick_by_tick
    assert sum(1 for at in gateway.begun if at > now_s - 600) <= gateway.limits.real_time_bars
    assert all(bool(share.reason) == (share.source is None) for share in found.values())
    priority = {want.key: want.priority for want in wanted}
    for share in found.values():
        resting = now_s - gateway.running[share.key].evicted_at_s < EVICTION_REST_S
        if share.source is None and share.key.kind == "quotes" and not resting:
            served = [priority[key] for key, other in found.items() if other.source is Source.MARKET_DATA]
            assert all(priority[share.key] <= other for other in served)


@many
@given(st.lists(st.tuples(wants, st.floats(0, 100)), max_size=8))
def test_the_limits_hold_whatever_is_wanted_and_the_same_wants_change_nothing(
    steps: list[tuple[list[Wanted], float]],
) -> None:
    gateway, now_s = Gateway(), 0.0
    for wanted, later in steps:
        now_s += later
        check(gateway, gateway.give(wanted, now_s), wanted, now_s)
        changes = gateway.changes
        gateway.give(wanted, now_s)
        assert gateway.changes == changes, "nothing flaps"


def test_a_rule_that_lets_newcomers_first_is_found_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: what runs has no precedence, so that equal wants take each other's room for ever."""
    monkeypatch.setattr(subscriptions, "_turn", lambda want, stream, now_s: (False, 0, False, -want.since_s))
    gateway = Gateway(Limits(lines=1))
    gateway.give([Wanted(quote(1), 6, 0)])
    found = gateway.give([Wanted(quote(1), 6, 0), Wanted(quote(2), 6, 5)])
    assert found[quote(1)].source is None
