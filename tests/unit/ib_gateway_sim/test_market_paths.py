"""Cutting a stretch of the walk: the parts always add up to the whole, down to the single tick."""

from hypothesis import given
from hypothesis import strategies as st

from ib_gateway_sim.market.generated.paths import LEVELS_S, Node, children, expand, honest, joined

T0 = 1_704_207_600  # a half hour
KEY = b"test"


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """Half hours or minutes of any number of ticks, from any second on."""
    t0 = T0 + draw(st.sampled_from([0, 0, 1, 900, 61]))
    length_s = draw(st.sampled_from([1800, 1800, 60, 5, 1, 7 * 3600 + 900]))
    high, low = draw(st.integers(0, 200)), draw(st.integers(-200, 0))
    opened, closed = draw(st.integers(low, high)), draw(st.integers(low, high))
    n = draw(st.one_of(st.integers(0, 12), st.integers(13, 400), st.integers(401, 20_000)))
    before = draw(st.integers(low, high)) if n else opened
    size = draw(st.integers(1, 50))
    return honest(
        Node(t0, t0 + length_s, 1000 + before, 1000 + opened, 1000 + high, 1000 + low, 1000 + closed, n, n * size, None)
    )


@given(nodes(), st.sampled_from(LEVELS_S))
def test_parts_add_up(node: Node, step_s: int) -> None:
    if node.t1 - node.t0 > 400 * step_s:
        return
    parts = children(node, step_s, KEY)
    assert [part.t0 for part in parts[1:]] == [part.t1 for part in parts[:-1]]
    assert all(part.t0 % step_s == 0 for part in parts[1:])
    assert joined(parts)._replace(ticks=None) == node._replace(ticks=None)
    stands = node.b
    for part in parts:
        assert part.b == stands  # quotes go on where they were
        stands = part.c
        if part.n:
            assert part.l <= min(part.o, part.c) <= max(part.o, part.c) <= part.h
            assert part.v >= part.n
        else:
            assert {part.o, part.h, part.l, part.c, part.v} == {part.b, 0}


@given(nodes())
def test_ticks_make_the_node(node: Node) -> None:
    if node.n > 2000:
        return
    ticks = expand(node, KEY)
    assert len(ticks) == node.n
    assert [tick.t_ms for tick in ticks] == sorted(tick.t_ms for tick in ticks)
    if ticks:
        prices = [tick.price for tick in ticks]
        assert (prices[0], max(prices), min(prices), prices[-1]) == node[3:7]
        assert sum(tick.size for tick in ticks) == node.v
        assert min(tick.size for tick in ticks) >= 1
        assert node.t0 * 1000 <= ticks[0].t_ms
        assert ticks[-1].t_ms < node.t1 * 1000


@given(nodes())
def test_the_noise_is_a_hash(node: Node) -> None:
    if node.t1 - node.t0 <= 1800:
        assert children(node, 60, KEY) == children(node, 60, KEY)
        if node.n > 1000 and node.t1 - node.t0 == 1800 and node.h > node.l:
            assert children(node, 60, KEY) != children(node, 60, b"other")
