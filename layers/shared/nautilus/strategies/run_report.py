"""Runs, configurations and templates as the API answers them. Decimals are texts; market times are RFC 3339 text, and of rows
nanoseconds too."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nautilus.clock import microseconds_text, rfc3339
from nautilus.db.strategies.changed_data import ChangedSeries
from nautilus.db.strategies.configs import ConfigRow
from nautilus.db.strategies.hosts import HostRow
from nautilus.db.strategies.results import EquityRow, EventRow, FillRow, OrderRow
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.sweeps import SweepRow
from nautilus.db.strategies.templates import TemplateRow
from nautilus.orders.report import number
from nautilus.portfolio.round_trips import RoundTrip
from nautilus.strategies.states import OVER, Mode


def time_text(moment: datetime | None) -> str | None:
    return None if moment is None else microseconds_text(moment)


def market_text(ns: int | None) -> str | None:
    return None if ns is None else rfc3339(ns)


def run_json(row: RunRow, changed: Sequence[ChangedSeries] | None = None) -> dict[str, Any]:
    """A run. changed: series whose bars have changed since they were read; None: nobody looked."""
    found = {
        "id": str(row.id),
        "name": row.name,
        "mode": row.mode,
        "state": row.state,
        "over": row.state in OVER,
        "reason": row.reason,
        "wanted": row.wanted,
        "template": row.template_id,
        "config_id": None if row.config_id is None else str(row.config_id),
        "sweep_id": None if row.sweep_id is None else str(row.sweep_id),
        "parameters": row.parameters,
        "series": list(row.series),
        "options": row.options,
        "counts": {"orders": row.orders, "fills": row.fills, "denied": row.denied, "rejected": row.rejected},
        "metrics": row.metrics,
        "notes": list(row.notes),
        "engine": row.engine or None,
        "code_hash": row.code_hash or None,
        "fills_hash": row.fills_hash or None,
        "last_bar": market_text(row.last_bar_ns),
        "restarts": row.restarts,
        "created_at": time_text(row.created_at),
        "started_at": time_text(row.started_at),
        "finished_at": time_text(row.finished_at),
        "heartbeat_at": time_text(row.heartbeat_at),
        "version": row.version,
    }
    return {**found, **(_backtest(row, changed) if row.mode == Mode.BACKTEST else {"account": row.account or None})}


def _backtest(row: RunRow, changed: Sequence[ChangedSeries] | None) -> dict[str, Any]:
    """What a back-test has alone."""
    found: dict[str, Any] = {
        "start": market_text(row.start_ns),
        "end": market_text(row.end_ns),
        "progress": 1.0 if row.state == "completed" else row.progress,
        "bars_done": row.bars_done,
        "bars_total": row.bars_total,
        "trade_date": None if row.trade_date is None else row.trade_date.isoformat(),
        "data_versions": row.data_versions,
        "as_of": row.as_of,
    }
    if changed is not None:
        found["data_changed"] = bool(changed)
        found["changed_series"] = [{"series_id": one.series_id, "version": one.version} for one in changed]
    return found


def sweep_json(row: SweepRow, runs: Sequence[RunRow]) -> dict[str, Any]:
    """A sweep with a row for each combination."""
    over = sum(run.state in OVER for run in runs)
    return {
        "id": str(row.id),
        "name": row.name,
        "grid": row.grid,
        "runs": row.runs,
        "over": over == row.runs,
        "progress": sum(1.0 if run.state in OVER else run.progress or 0.0 for run in runs) / row.runs,
        "cancelled_at": time_text(row.cancelled_at),
        "created_at": time_text(row.created_at),
        "results": [
            {
                "id": str(run.id),
                "values": {name: run.parameters.get(name) for name in row.grid},
                "state": run.state,
                "reason": run.reason,
                "counts": {"orders": run.orders, "fills": run.fills, "denied": run.denied, "rejected": run.rejected},
                "metrics": run.metrics,
            }
            for run in runs
        ],
    }


FILL_COLUMNS = (
    *("n", "time", "symbol", "con_id", "side", "quantity", "price", "commission", "currency", "realized", "position"),
    *("client_order_id", "trade_id", "ts"),
)
EQUITY_COLUMNS = ("time", "equity", "cash", "unrealized", "drawdown", "ts")


def fill_json(row: FillRow, names: Mapping[int, str]) -> dict[str, Any]:
    """names: instrument_id of each contract of the run."""
    return {
        "n": row.n,
        "time": rfc3339(row.market_ns),
        "symbol": names.get(row.con_id) or str(row.con_id),
        "con_id": row.con_id,
        "side": row.side,
        "quantity": number(row.quantity),
        "price": number(row.price),
        "commission": number(row.commission),
        "currency": row.currency or None,
        "realized": number(row.realized),
        "position": number(row.position),
        "client_order_id": row.client_order_id,
        "trade_id": row.trade_id or None,
        "ts": row.market_ns,
    }


def equity_json(row: EquityRow) -> dict[str, Any]:
    return {
        "time": rfc3339(row.market_ns),
        "equity": number(row.equity),
        "cash": number(row.cash),
        "unrealized": number(row.unrealized),
        "drawdown": number(row.drawdown),
        "ts": row.market_ns,
    }


def order_json(row: OrderRow, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "n": row.n,
        "decided_at": rfc3339(row.decided_ns),
        "decided_price": number(row.decided_price),
        "symbol": names.get(row.con_id) or str(row.con_id),
        "con_id": row.con_id,
        "side": row.side,
        "type": row.type,
        "quantity": number(row.quantity),
        "filled": number(row.filled),
        "limit_price": number(row.limit_price),
        "stop_price": number(row.stop_price),
        "tag": row.tag or None,
        "state": row.state,
        "reason": row.reason,
        "client_order_id": row.client_order_id,
        "order_id": None if row.order_id is None else str(row.order_id),
        "at": time_text(row.at),
    }


def event_json(row: EventRow) -> dict[str, Any]:
    return {
        "n": row.n,
        "kind": row.kind,
        "time": market_text(row.market_ns),
        "at": time_text(row.at),
        "body": row.body,
    }


def names_of(row: RunRow) -> dict[int, str]:
    """instrument_id of each contract of a run."""
    return {int(one["con_id"]): str(one.get("instrument_id") or one["con_id"]) for one in row.series}


def config_json(row: ConfigRow, template: TemplateRow | None, newest: RunRow | None = None) -> dict[str, Any]:
    """A configuration, whether its template has other code by now, and its newest run."""
    return {
        "id": str(row.id),
        "name": row.name,
        "description": row.description,
        "template": row.template_id,
        "parameters": row.parameters,
        "series": list(row.series),
        "template_changed": template is None or template.code_hash != row.template_hash,
        "newest_run": None
        if newest is None
        else {
            "id": str(newest.id),
            "mode": newest.mode,
            "state": newest.state,
            "created_at": time_text(newest.created_at),
        },
        "version": row.version,
        "created_at": time_text(row.created_at),
        "updated_at": time_text(row.updated_at),
    }


def template_json(row: TemplateRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "source": row.source,
        "code_hash": row.code_hash,
        "parameter_schema": row.parameter_schema,
        "error": row.error,
        "seen_at": time_text(row.seen_at),
    }


def host_json(row: HostRow) -> dict[str, Any]:
    return {
        "host": row.host,
        "state": "down" if row.away else "problem" if row.problem else "running",
        "engine": row.engine or None,
        "problem": row.problem or None,
        "fence": row.fence,
        "children": row.children,
        "capacity": row.capacity,
        "started_at": time_text(row.started_at),
        "heartbeat_at": time_text(row.heartbeat_at),
    }


def trip_json(con_id: int, trip: RoundTrip, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "symbol": names.get(con_id) or str(con_id),
        "con_id": con_id,
        "side": "LONG" if trip.side > 0 else "SHORT",
        "quantity": number(trip.quantity),
        "began": rfc3339(trip.began),
        "ended": rfc3339(trip.ended),
        "net": number(trip.net),
    }
