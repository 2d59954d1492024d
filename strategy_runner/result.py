"""The last message of a run."""

from typing import Any

from nautilus.strategies.not_simulated import NO_CHECKS, NO_MARGIN, NO_OPENING_VOLUME, NO_VOLUME
from strategy_runner.setup import Prepared


def result(prepared: Prepared, cache: Any, data: Any, bars: int) -> dict[str, Any]:
    """Counts, the hash of the fills, what is still held, and what was not simulated."""
    record = prepared.run.record
    left_out = [] if prepared.start["mode"] == "live" else not_simulated(prepared, data)
    return {
        "fills_hash": record.fills_hash,
        "bars": bars,
        "orders": record.orders,
        "fills": record.fills,
        "denied": record.denied,
        "rejected": record.rejected,
        "positions": positions(prepared, cache),
        "not_simulated": left_out,
    }


def not_simulated(prepared: Prepared, data: Any) -> list[str]:
    """What the simulated exchange leaves out of this run, in words."""
    found = [NO_MARGIN, NO_CHECKS]
    if prepared.start["fill"] == "next_open":
        found.append(NO_OPENING_VOLUME)
    if data.without_volume:
        found.append(NO_VOLUME)
    return found


def positions(prepared: Prepared, cache: Any) -> list[dict[str, Any]]:
    """What the run holds, by instrument."""
    by_name = {one.engine.id: con_id for con_id, one in prepared.traded.items()}
    found = []
    for one in cache.positions_open():
        sign = "-" if one.is_short else ""
        price = f"{one.avg_px_open:.10f}".rstrip("0").rstrip(".")
        found.append(
            {"con_id": by_name[one.instrument_id], "quantity": f"{sign}{one.quantity}", "average_price": price}
        )
    return found
