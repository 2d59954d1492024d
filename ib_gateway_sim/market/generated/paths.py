"""How a price walks through a session: from the whole session down to single ticks, each level agreeing with the next.

A `Node` is a range of time with its open, high, low, close, number of ticks and volume. `children` cuts it into
finer nodes that add up to it exactly: the first opens where it opens, the last closes where it closes, one touches its
high and one its low, counts and volumes sum. So a day's bar is known without making its minutes, and any second of any
year is reached in a few steps (session, half hours, minutes, five seconds, seconds, ticks). The noise of every cut is
a hash of its key and time: the same answer in any order, on any machine, in any Python.

Prices are whole multiples of the instrument's tick, times whole epoch seconds UTC (ticks: milliseconds).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from hashlib import shake_128
from itertools import accumulate
from operator import add, sub
from typing import NamedTuple

LEVELS_S = (1800, 60, 5, 1)  # length of the nodes below a segment; each divides the one above
MIN_TICKS = 4  # a node of fewer could not touch open, high, low and close
_JUMPS = (-1, 0, 0, 1)  # a node opens a tick off the close before it as often as not


class PathTick(NamedTuple):
    """One change of price: a trade, or a quote where nothing trades."""

    t_ms: int
    price: int
    size: int


class Node(NamedTuple):
    """A range of the walk, [t0, t1). With n == 0 the price stood still, and all prices are `b`.

    `b`: the price that stands when it begins, the last tick before it. Quotes go on from there, while trades begin with
    the first tick, at `o`; so b may lie outside h and l. `ticks`: all of them, once there are so few that they are made
    one by one; None before.
    """

    t0: int
    t1: int
    b: int
    o: int
    h: int
    l: int  # noqa: E741
    c: int
    n: int
    v: int
    ticks: tuple[PathTick, ...] | None


def children(node: Node, step_s: int, key: bytes, weights: tuple[float, ...] | None = None) -> list[Node]:
    """The node cut at the multiples of step_s. `weights`: how busy each child is, by default all alike."""
    edges = [node.t0, *range((node.t0 // step_s + 1) * step_s, node.t1, step_s), node.t1]
    k = len(edges) - 1
    if k == 1:
        return [node]
    if node.ticks is not None:
        return _sorted_into(node, node.ticks, edges)
    if node.n < (MIN_TICKS + 1) * k:
        return _sorted_into(node, expand(node, key), edges)
    return _cut(node, edges, key, weights)


def expand(node: Node, key: bytes) -> tuple[PathTick, ...]:
    """Every tick of a node: the first at its open, the last at its close, its high and low touched."""
    if node.ticks is not None:
        return node.ticks
    t0, t1, _, o, h, low, c, n, v, _ = node
    if n == 0:
        return ()
    noise = struct.unpack(f"<{3 * n}H", shake_128(key + struct.pack("<cqq", b"t", t0, t1)).digest(6 * n))
    span_ms = (t1 - t0) * 1000
    times = sorted(r * span_ms >> 16 for r in noise[:n])
    prices = _tick_prices(o, h, low, c, noise[n : 2 * n])
    shares = noise[2 * n :]
    total = sum(shares) + n
    extra = v - n
    ticks = []
    cum = given = 0
    for t_ms, price, share in zip(times, prices, shares, strict=True):
        cum += share + 1
        upto = cum * extra // total
        ticks.append(PathTick(t0 * 1000 + t_ms, price, 1 + upto - given))
        given = upto
    return tuple(ticks)


def joined(nodes: list[Node]) -> Node:
    """Nodes that follow each other as one; at least one is needed."""
    moved = [node for node in nodes if node.n] or nodes
    return Node(
        nodes[0].t0,
        nodes[-1].t1,
        nodes[0].b,
        moved[0].o,
        max(node.h for node in moved),
        min(node.l for node in moved),
        moved[-1].c,
        sum(node.n for node in moved),
        sum(node.v for node in moved),
        None,
    )


def from_ticks(t0: int, t1: int, before: int, ticks: tuple[PathTick, ...]) -> Node:
    """The node that these ticks make; `before` is the price that stood before them."""
    if not ticks:
        return Node(t0, t1, before, before, before, before, before, 0, 0, ())
    prices = [tick.price for tick in ticks]
    volume = sum(tick.size for tick in ticks)
    return Node(t0, t1, before, prices[0], max(prices), min(prices), prices[-1], len(ticks), volume, ticks)


def honest(node: Node) -> Node:
    """The node with a range that so few ticks can really touch."""
    _, _, _, o, h, low, c, n, v, _ = node
    if n >= MIN_TICKS:
        return node
    if n <= 1:
        h = low = c = o
    elif n == 2 or h > max(o, c):  # with three, the one in the middle reaches the high or the low
        low = min(o, c)
        h = h if n == 3 else max(o, c)
    return node._replace(h=h, l=low, c=c, v=max(v, n) if n else 0)


def _tick_prices(o: int, h: int, low: int, c: int, noise: tuple[int, ...]) -> list[int]:
    n = len(noise)
    if n == 1:
        return [o]
    if n == 2:
        return [o, c]
    if n == 3:
        return [o, h if h > max(o, c) else low, c]
    swing = (h - low) / (1.6 * n**0.5 * 18918.0)
    total = sum(noise) - 32768 * n
    prices = []
    walk = 0
    for i, r in enumerate(noise):
        part = i / (n - 1)
        price = int(o + (c - o) * part + swing * (walk - part * total) + 0.5)
        prices.append(h if price > h else low if price < low else price)
        walk += r - 32768
    prices[0], prices[-1] = o, c
    top = max(range(1, n - 1), key=prices.__getitem__)
    if max(prices) < h:
        prices[top] = h
    if min(prices) > low:
        prices[min((i for i in range(1, n - 1) if i != top), key=prices.__getitem__)] = low
    return prices


def _sorted_into(node: Node, ticks: tuple[PathTick, ...], edges: list[int]) -> list[Node]:
    cuts = [bisect_left(ticks, (edge * 1000,)) for edge in edges]
    cuts[0], cuts[-1] = 0, len(ticks)
    before = node.b
    result = []
    for i in range(len(edges) - 1):
        child = from_ticks(edges[i], edges[i + 1], before, ticks[cuts[i] : cuts[i + 1]])
        before = child.c
        result.append(child)
    return result


def _cut(node: Node, edges: list[int], key: bytes, weights: tuple[float, ...] | None) -> list[Node]:
    """A walk pinned at open and close and folded back into the range; then one child is stretched to each extreme."""
    k = len(edges) - 1
    noise = struct.unpack(f"<{5 * k}H", shake_128(key + struct.pack("<cqq", b"c", node.t0, edges[1])).digest(10 * k))
    swing = (node.h - node.l) / (1.6 * k**0.5)
    closes = _closes(node, swing, noise[:k])
    counts, volumes = _counts(node, noise[k : 3 * k], weights)
    return _nodes(
        node,
        edges,
        closes=closes,
        counts=counts,
        volumes=volumes,
        noise=noise[3 * k :],
        overshoot=int(swing * 1.5) + 1,
    )


def _closes(node: Node, swing: float, noise: tuple[int, ...]) -> list[int]:
    """The close of each child: a walk from the node's open to its close, folded back into its range."""
    k = len(noise)
    _, _, _, o, h, low, c, _, _, _ = node
    step = swing / 18918.0  # the standard deviation of a 16-bit uniform number
    drift = (c - o) / k - step * (sum(noise) - 32768 * k) / k
    closes = []
    at = float(o)
    for r in noise[: k - 1]:
        at += drift + step * (r - 32768)
        price = int((2 * h - at if at > h else 2 * low - at if at < low else at) + 0.5)
        closes.append(h if price > h else low if price < low else price)
    closes.append(c)
    return closes


def _counts(node: Node, noise: tuple[int, ...], weights: tuple[float, ...] | None) -> tuple[list[int], list[int]]:
    """Ticks and volume of each child. Ticks are at least MIN_TICKS, and volume is at least the ticks."""
    k = len(noise) // 2
    if weights is None:
        busy = [12000 + (r * r >> 17) for r in noise[:k]]
    else:
        busy = [int((12000 + (r * r >> 17)) * w) + 1 for r, w in zip(noise[:k], weights, strict=True)]
    counts = [MIN_TICKS + more for more in _shared_out(node.n - MIN_TICKS * k, busy)]
    shares = [b * (r + 24000) for b, r in zip(busy, noise[k:], strict=True)]
    return counts, list(map(add, counts, _shared_out(node.v - node.n, shares)))


def _shared_out(amount: int, weights: list[int]) -> list[int]:
    """Whole parts in proportion to the weights, which add up to the amount."""
    total = sum(weights)
    upto = [each * amount // total for each in accumulate(weights)]
    return list(map(sub, upto, [0, *upto]))


def _nodes(
    node: Node,
    edges: list[int],
    *,
    closes: list[int],
    counts: list[int],
    volumes: list[int],
    noise: tuple[int, ...],
    overshoot: int,
) -> list[Node]:
    """The children: each may overshoot its open and close, one touches the node's high and one its low."""
    k = len(closes)
    _, _, before, opened, h, low, _, _, _, _ = node
    top = max(range(k), key=closes.__getitem__)
    bottom = min(range(k), key=closes.__getitem__)
    if opened >= closes[top]:
        top = 0
    if opened <= closes[bottom]:
        bottom = 0
    result = []
    new = tuple.__new__
    for i, closed in enumerate(closes):
        high, bot = (opened, closed) if opened > closed else (closed, opened)
        up, down = noise[i], noise[k + i]
        high += (up * up >> 16) * overshoot >> 16
        bot -= (down * down >> 16) * overshoot >> 16
        if i == top or high > h:
            high = h
        if i == bottom or bot < low:
            bot = low
        result.append(
            new(Node, (edges[i], edges[i + 1], before, opened, high, bot, closed, counts[i], volumes[i], None))
        )
        before = closed
        opened = closed + _JUMPS[down & 3]
        if opened > h:
            opened = h
        elif opened < low:
            opened = low
    return result
