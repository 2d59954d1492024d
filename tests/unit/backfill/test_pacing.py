"""The pacer against IB's rules, which are written here a second time and checked on what was sent."""

from collections import defaultdict
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.backfill.pacing import (
    BURST_COUNT,
    MARGIN_NS,
    MESSAGE_COUNT,
    PERIOD_NS,
    PacingLimits,
    Request,
    next_allowed,
)
from tests.support.markets import S, few

MINUTE, MS = 60 * S, 1_000_000
START = 1_704_465_000 * S


def request(identity="a", contract="AAPL@SMART TRADES", *, small=True, weight=1, interactive=False, historical=True):
    return Request(identity, contract, small, weight, interactive, historical)


def send(body: Request, book: list[Request], now: int, limits: PacingLimits = PacingLimits()) -> int:  # noqa: B008  frozen
    """Waits for the pacer, books the request, and tells when it went out."""
    at = next_allowed(body, book, now, limits)
    assert at >= now
    book.append(body._replace(at=at))
    return at


def violations(sent: Iterable[Request]) -> list[str]:
    """What IB would refuse, read off its documents: bars of 30 s or less, head timestamps, ticks, and streams of ticks.

    More than 60 in any ten minutes (BID_ASK twice); six or more of one contract, exchange and kind within two seconds;
    an identical one within 15 seconds, and so a second stream of ticks of one instrument. Of all messages, more than 50 a
    second.
    """
    found = []
    ordered = sorted(sent, key=lambda r: r.at)
    same: dict[str, int] = {}
    alike: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for n, r in enumerate(ordered):
        second = [q for q in ordered[: n + 1] if q.at > r.at - S]
        if len(second) > 50:
            found.append(f"{len(second)} messages in a second")
        if r.tick_by_tick:
            if r.at - same.get(r.identity, r.at - 20 * S) < 15 * S:
                found.append(f"{r.identity} begun again")
            same[r.identity] = r.at
        if not r.small:
            continue
        weight = sum(q.weight for q in ordered[: n + 1] if q.small and q.at >= r.at - 600 * S)
        if weight > 60:
            found.append(f"{weight} in ten minutes")
        if r.at - same.get(r.identity, r.at - 20 * S) <= 15 * S:
            found.append(f"{r.identity} repeated")
        same[r.identity] = r.at
        recent = [w for at, w in alike[r.contract] if at >= r.at - 2 * S] + [r.weight]
        if sum(recent) >= 6:
            found.append(f"{recent} of {r.contract} in two seconds")
        alike[r.contract].append((r.at, r.weight))
    return found


def test_the_checker_finds_what_is_wrong():
    def at(seconds, **more):
        return request(**{"identity": str(seconds), **more})._replace(at=START + round(seconds * S))

    assert violations(at(n * 10) for n in range(60)) == []
    assert violations(at(n * 9.9) for n in range(61)) == ["61 in ten minutes"]
    assert violations(at(n * 19, weight=2) for n in range(31)) == ["62 in ten minutes"]
    assert violations(at(n * 0.3) for n in range(6)) == ["[1, 1, 1, 1, 1, 1] of AAPL@SMART TRADES in two seconds"]
    assert violations([at(0, identity="x"), at(15, identity="x")]) == ["x repeated"]
    assert violations([at(0, identity="x"), at(15.01, identity="x")]) == []
    assert violations(at(n * 0.01, small=False) for n in range(51)) == ["51 messages in a second"]


# ---- each rule by value ----------------------------------------------------------------------------------------------


def test_an_empty_book_allows_everything_now():
    assert next_allowed(request(), [], START) == START
    assert next_allowed(request(small=False), [], START) == START


def test_five_of_a_kind_in_two_seconds():
    book: list[Request] = []
    times = [send(request(str(n)), book, START) for n in range(11)]
    assert times == [START] * 5 + [START + 2 * S + MARGIN_NS] * 5 + [START + 2 * (2 * S + MARGIN_NS)]
    assert next_allowed(request("x", "MSFT@SMART TRADES"), book[:5], START) == START, "another contract is free"
    assert next_allowed(request("x", small=False), book[:5], START) > START, "longer bars keep the burst rule too"
    assert next_allowed(request("x", historical=False, small=False), book[:5], START) == START


def test_bid_ask_counts_twice_in_a_burst():
    book: list[Request] = []
    assert [send(request(str(n), weight=2), book, START) for n in range(3)] == [START, START, START + 2 * S + MARGIN_NS]


def test_identical_ones_are_fifteen_seconds_apart():
    book = [request("same")._replace(at=START)]
    assert next_allowed(request("same"), book, START + S) == START + 15 * S + MARGIN_NS
    assert next_allowed(request("other"), book, START + S) == START + S
    assert next_allowed(request("same", small=False), book, START + S) == START + S, "lifted for longer bars"


def ticks(con_id: int = 7, **more) -> Request:
    """A stream of ticks."""
    return Request(f"live|tbt|{con_id}", f"{con_id}|TRADES", False, historical=False, tick_by_tick=True)._replace(
        **more
    )


def test_streams_of_ticks_of_an_instrument_are_fifteen_seconds_apart_and_weigh_nothing():
    book = [ticks(at=START)]
    assert next_allowed(ticks(), book, START + S) == START + 15 * S + MARGIN_NS
    assert next_allowed(ticks(8), book, START + S) == START + S, "another instrument is free"
    assert next_allowed(ticks(), book, START + 16 * S) == START + 16 * S
    assert next_allowed(ticks(), fill(60), START + 301 * S) == START + 301 * S, "they are no small requests"
    assert next_allowed(request("x"), [ticks(n, at=START) for n in range(40)], START + S) == START + S


def fill(weight: int, each: int = 1) -> list[Request]:
    """`weight` sent, a request every five seconds from START."""
    return [request(f"f{n}", f"c{n}", weight=each)._replace(at=START + n * 5 * S) for n in range(weight // each)]


@pytest.mark.parametrize(
    ("body", "book", "frees"),
    [
        (request("x"), fill(57), None),
        (request("x"), fill(58), 0),
        (request("x", interactive=True), fill(58), None),
        (request("x", interactive=True), fill(59), None),
        (request("x", interactive=True), fill(60), 0),
        (request("x"), fill(60), 2),
        (request("x", weight=2), fill(56), None),
        (request("x", weight=2), fill(57), 0),
        (request("x", weight=2), fill(58), 1),
        (request("x", weight=2), fill(58, each=2), 0),
        (request("x"), fill(58, each=2), 0),
        (request("x", small=False), fill(60), None),
    ],
)
def test_sixty_in_ten_minutes_with_two_kept_for_people(body, book, frees):
    """`frees`: the number of the sent request that must leave the ten minutes first; None: allowed at once."""
    now = book[-1].at + S
    expected = now if frees is None else book[frees].at + PERIOD_NS + MARGIN_NS
    assert next_allowed(body, book, now) == expected


def test_longer_bars_take_nothing_from_the_ten_minutes():
    book = [r._replace(small=False) for r in fill(60)]
    assert next_allowed(request("x"), book, book[-1].at + S) == book[-1].at + S


def test_tighter_limits_are_kept():
    book = fill(9)
    now = book[-1].at + S
    assert next_allowed(request("x"), book, now, PacingLimits(10, 0)) == now
    assert next_allowed(request("x"), book, now, PacingLimits(10, 1)) == START + PERIOD_NS + MARGIN_NS
    with pytest.raises(ValueError, match="weight 2 can never be sent within 1 per ten minutes"):
        next_allowed(request(weight=2), [], START, PacingLimits(3, 2))


def test_messages_a_second():
    book = [request(str(n), str(n), small=False)._replace(at=START + n * MS) for n in range(MESSAGE_COUNT)]
    now = START + 100 * MS
    assert next_allowed(request("x", "x", small=False), book[1:], now) == now
    assert next_allowed(request("x", "x", small=False), book, now) == START + S + MARGIN_NS


def test_the_book_may_be_old_and_in_any_order():
    book = [r._replace(at=r.at - 3_600 * S) for r in fill(60)] + fill(58)
    now = START + 300 * S
    expected = START + PERIOD_NS + MARGIN_NS
    Random(1).shuffle(book)
    assert next_allowed(request("x"), book, now) == expected


# ---- mixes -----------------------------------------------------------------------------------------------------------


@st.composite
def mixes(draw):
    """Requests in the order they are wished for, each with a pause before it: rushes, lulls, few and many contracts."""
    rng = Random(draw(st.integers(0, 2**32)))
    contracts = draw(st.integers(1, 8))
    identities = draw(st.sampled_from([3, 30, 1_000]))
    pause = draw(st.sampled_from([0.0, 0.05, 2.0, 20.0]))
    small = draw(st.sampled_from([0.3, 0.9, 1.0]))
    people = draw(st.sampled_from([0.0, 0.1, 0.6]))
    found = []
    for _ in range(draw(st.integers(1, 150))):
        contract, double = rng.randrange(contracts), rng.random() < 0.3
        if rng.random() < 0.1:
            found.append((ticks(contract), round(rng.random() * pause * S)))
            continue
        found.append(
            (
                Request(
                    identity=f"{contract} {double} {rng.randrange(identities)}",
                    contract=f"{contract} {'BID_ASK' if double else 'TRADES'}",
                    small=rng.random() < small,
                    weight=2 if double else 1,
                    interactive=rng.random() < people,
                ),
                round(rng.random() * pause * S),
            )
        )
    return found


@few
@given(mixes(), st.integers(0, 2**32))
def test_no_mix_breaks_a_rule_even_when_the_way_to_ib_wavers(mix, seed):
    book: list[Request] = []
    now = START
    for body, pause in mix:
        now = send(body, book, now + pause)
    assert violations(book) == []
    rng = Random(seed)
    # Each arrives up to 49 ms late, none before the one sent ahead of it: what the margin is for.
    arrivals, last = [], 0
    for r in book:
        last = max(last, r.at + rng.randrange(49 * MS))
        arrivals.append(r._replace(at=last))
    assert violations(arrivals) == []


@few
@given(mixes())
def test_the_answer_is_the_earliest_time_that_keeps_the_margin(mix):
    """A moment before it (the margin, twice) one of the rules would be broken."""
    book: list[Request] = []
    now = START
    for body, pause in mix:
        now += pause
        at = next_allowed(body, book, now)
        if at > now:
            early = at - 2 * MARGIN_NS
            assert early < now or broken(body, book, early)
        now = send(body, book, now)


def broken(body: Request, book: list[Request], at: int) -> bool:
    """Whether `body` sent at `at` breaks a rule as the pacer is told to keep them."""
    recent = [r for r in book if r.at > at - S]
    alike = [r for r in book if r.contract == body.contract and r.at > at - 2 * S]
    if len(recent) + 1 > MESSAGE_COUNT or sum(r.weight for r in alike) + body.weight > BURST_COUNT:
        return True
    window = sum(r.weight for r in book if r.small and r.at > at - 600 * S) + body.weight
    same = any(r.identity == body.identity and r.at > at - 15 * S for r in book)
    if body.tick_by_tick:
        return same
    return body.small and (same or window > (60 if body.interactive else 58))


@pytest.mark.parametrize("contracts", [1, 3])
def test_small_bars_flow_as_fast_as_ib_allows(contracts):
    """A long download in the background: 58 of each ten minutes' 60; the first 58 go at once but for the bursts."""
    book: list[Request] = []
    now, wanted = START, 58 * 10
    for n in range(wanted):
        now = send(request(str(n), f"c{n % contracts}"), book, now)
    assert violations(book) == []
    windows = -(-wanted // 58)  # the first of the last window cannot go before this many full windows have passed
    optimum_s = (windows - 1) * 600 + (58 / contracts / BURST_COUNT - 1) * 2
    assert (now - START) / S <= optimum_s / 0.97


def test_double_weight_flows_at_half_the_rate():
    book: list[Request] = []
    now = START
    for n in range(29 * 6):
        now = send(request(str(n), f"c{n % 4}", weight=2), book, now)
    assert violations(book) == []
    assert (now - START) / S <= (5 * 600 + 20) / 0.97


def test_a_person_is_served_while_a_download_runs():
    """The reserve: with the download at its limit, two requests of people go out at once in any ten minutes."""
    book: list[Request] = []
    now = START
    waits = []
    for n in range(400):
        now = send(request(str(n), f"c{n % 3}"), book, now)
        if n % 35 == 30:
            waits.append(next_allowed(request(f"p{n}", "person", interactive=True), book, now) - now)
            send(request(f"p{n}", "person", interactive=True), book, now)
    assert violations(book) == []
    assert max(waits) == 0
