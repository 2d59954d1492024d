"""Messages to a child that are the same in all modes."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.db.strategies.runs import RunRow
from nautilus.strategies.history import FedSeries
from nautilus.strategies.options import RunOptions


def series_messages(fed: Sequence[FedSeries]) -> list[dict[str, Any]]:
    """The series of `start`."""
    return [
        {"index": n, "con_id": one.row.con_id, "timeframe": one.row.timeframe.name, "price": one.row.price}
        for n, one in enumerate(fed)
    ]


def start_message(
    run: RunRow,
    options: RunOptions,
    instruments: Sequence[Mapping[str, Any]],
    series: Sequence[Mapping[str, Any]],
    *,
    bars_total: int,
) -> dict[str, Any]:
    """The fields of `start`."""
    return {
        "run_id": str(run.id),
        "mode": run.mode,
        "template": run.template_id,
        "parameters": dict(run.parameters),
        "instruments": list(instruments),
        "series": list(series),
        "capital": f"{options.capital:f}",
        "currency": options.currency or instruments[0]["currency"],
        "fill": options.fill,
        "adaptive_ordering": options.adaptive_ordering,
        "seed": options.seed,
        "equity_points": options.equity_points,
        "bars_total": bars_total,
    }
