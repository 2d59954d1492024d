"""Nodes of a walk as bars, as they are shown on a trade date."""

from __future__ import annotations

from typing import NamedTuple

from ib_gateway_sim.market.bars import INTRADAY_S, SIZES, Bar
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.generated.paths import Node, joined
from ib_gateway_sim.market.generated.walks import Piece, Walk
from ib_gateway_sim.market.instruments.instrument import Instrument


class View(NamedTuple):
    """How one trade date is shown: whose walk it is, and what turns ticks and shares into prices and volumes."""

    walk: Walk
    per_unit: int  # prices are ticks / per_unit ...
    factor: float  # ... times factor, then rounded to `grid` parts of 1.0 when that is not 0
    grid: int
    shares: int  # volumes are shares times this

    def price(self, ticks: float) -> float:
        """A price as it is printed."""
        if not self.grid:
            return ticks / self.per_unit
        return int(ticks / self.per_unit * self.factor * self.grid + 0.5) / self.grid


def check_request(contract: Contract, size: str, what: str) -> None:
    """ValueError for a size that does not exist and a kind that the contract does not have in it."""
    if size not in SIZES:
        raise ValueError(f"size {size!r} is not one of {', '.join(SIZES)}")
    if what not in contract.kinds:
        raise ValueError(f"{contract.sec_type} {contract.symbol} has no {what}, only {', '.join(contract.kinds)}")
    if what == "ADJUSTED_LAST" and size in INTRADAY_S:
        raise ValueError("ADJUSTED_LAST exists for 1d, 1w and 1M")


def slot_bars(
    nodes: list[Node], step_s: int, size_s: int, shift_s: int, what: str, piece: Piece, view: View
) -> list[Bar]:
    """Bars of one segment: its nodes gathered in slots of the wall clock; slots that the segment shares stay parts."""
    if step_s == size_s:
        return node_bars(nodes, what, piece, view)
    slots: dict[int, list[Node]] = {}
    for node in nodes:
        slots.setdefault((node.t0 + shift_s) // size_s, []).append(node)
    return node_bars([joined(group) for group in slots.values()], what, piece, view)


def node_bars(nodes: list[Node], what: str, piece: Piece, view: View) -> list[Bar]:
    """Each node as a bar; without a trade there is none of TRADES, while quotes stand."""
    if what in ("TRADES", "ADJUSTED_LAST", "AGGTRADES"):
        return _trade_bars(nodes, view)
    price = view.price
    stood = [(t0, b, max(b, h), min(b, low), c) for t0, _, b, _, h, low, c, _, _, _ in nodes]
    if what == "BID_ASK":
        below, above = piece.below, piece.above
        return [
            Bar(
                t0,
                price((b + h + low + c) / 4 - below),
                price(h + above),
                price(low - below),
                price((b + h + low + c) / 4 + above),
                -1,
                -1,
                -1,
            )
            for t0, b, h, low, c in stood
        ]
    offset = {"BID": -piece.below, "ASK": piece.above, "MIDPOINT": (piece.above - piece.below) / 2}[what]
    return [
        Bar(t0, price(b + offset), price(h + offset), price(low + offset), price(c + offset), -1, -1, -1)
        for t0, b, h, low, c in stood
    ]


def _trade_bars(nodes: list[Node], view: View) -> list[Bar]:
    contract = view.walk.instrument.contract
    if contract.sec_type == "IND":
        per_unit = view.per_unit
        return [
            Bar(t0, o / per_unit, h / per_unit, low / per_unit, c / per_unit, 0, 0, n)
            for t0, _, _, o, h, low, c, n, _, _ in nodes
            if n
        ]
    price = view.price
    unit = view.walk.instrument.volume_unit
    if unit == 1 and not view.grid:
        per_unit, shares = view.per_unit, view.shares
        return [
            Bar(
                t0,
                o / per_unit,
                h / per_unit,
                low / per_unit,
                c / per_unit,
                v * shares,
                (o + h + low + c) / (4 * per_unit),
                n,
            )
            for t0, _, _, o, h, low, c, n, v, _ in nodes
            if n
        ]
    return [
        Bar(
            t0,
            price(o),
            price(h),
            price(low),
            price(c),
            volume_of(view.walk.instrument, view, v),
            price((o + h + low + c) / 4),
            n,
        )
        for t0, _, _, o, h, low, c, n, v, _ in nodes
        if n
    ]


def volume_of(one: Instrument, view: View, shares: int) -> float:
    if one.contract.sec_type == "IND":
        return 0
    return shares / one.volume_unit if one.volume_unit > 1 else shares * view.shares
