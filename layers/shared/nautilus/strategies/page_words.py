"""Strategies in the words of the web front end that there was before. Plain values in, JSON out.

Its units differ by route: win rates are 0 to 1, drawdowns percent; in the status of a strategy money is text, elsewhere a
number. What is not known is null. A run without a fill has made 0 and won nothing: these are no guesses.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from nautilus.clock import microseconds_text
from nautilus.db.strategies.configs import ConfigRow
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.templates import TemplateRow
from nautilus.strategies.states import RunState

_R = RunState
STATES: Mapping[str, str] = {
    _R.QUEUED: "initializing",
    _R.STARTING: "initializing",
    _R.WARMING_UP: "initializing",
    _R.RUNNING: "running",
    _R.PAUSING: "paused",
    _R.PAUSED: "paused",
    _R.STOPPING: "stopping",
    _R.STOPPED: "stopped",
    _R.COMPLETED: "completed",
    _R.FAILED: "error",
    _R.ERROR: "error",
    _R.CANCELLED: "stopped",
}
"""The page's word for each state of a run."""
NEVER_RAN = "stopped"
INSTRUMENT, TIMEFRAME = "instrument_id", "timeframe"
"""What the page's form has beside a strategy's own parameters."""
_TYPES = {"integer": "integer", "number": "decimal", "boolean": "boolean", "string": "string"}
_HUNDRED = Decimal(100)


def state_of(run: RunRow | None) -> str:
    return NEVER_RAN if run is None else STATES[run.state]


# ---- templates and configurations ------------------------------------------------------------------------------------


def template_object(row: TemplateRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "category": category_of(row),
        "description": row.description,
        "python_class": row.source,
        "parameters": [*_COMMON, *_parameters(row.parameter_schema)],
        "risk_parameters": [],
        "example_configs": [],
    }


def category_of(row: TemplateRow) -> str:
    """Where a template comes from: that is how they differ here."""
    return row.source.partition(":")[0] or "template"


_COMMON = (
    {
        "name": INSTRUMENT,
        "display_name": "Instrument",
        "type": "instrument_id",
        "required": True,
        "description": "what is traded",
    },
    {
        "name": TIMEFRAME,
        "display_name": "Timeframe",
        "type": "timeframe",
        "required": False,
        "default_value": "1m",
        "description": "length of the bars",
    },
)


def _parameters(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    needed = set(schema.get("required", ()))
    return [_parameter(name, field, name in needed) for name, field in schema.get("properties", {}).items()]


def _parameter(name: str, field: Mapping[str, Any], needed: bool) -> dict[str, Any]:
    kinds = [one for one in (field, *field.get("anyOf", ())) if one.get("type") not in (None, "null")]
    kind = str(kinds[0]["type"]) if kinds else "string"
    if "number" in {str(one["type"]) for one in kinds}:
        kind = "number"  # a decimal is text or a number
    found = {
        "name": name,
        "display_name": field.get("title") or name,
        "type": _TYPES.get(kind, "string"),
        "required": needed,
        "description": field.get("description") or "",
    }
    limits = {
        "default_value": field.get("default"),
        "min_value": field.get("minimum", field.get("exclusiveMinimum")),
        "max_value": field.get("maximum", field.get("exclusiveMaximum")),
        "allowed_values": field.get("enum"),
    }
    return found | {limit: value for limit, value in limits.items() if value is not None}


def config_object(row: ConfigRow, newest: RunRow | None) -> dict[str, Any]:
    """A row of the page's list: `name` and `template_id` are always texts."""
    series = row.series[0] if row.series else {}
    named = {INSTRUMENT: series.get("instrument_id"), TIMEFRAME: series.get("timeframe")}
    return {
        "id": str(row.id),
        "name": row.name,
        "template_id": row.template_id,
        "status": state_of(newest),
        "parameters": {**{name: value for name, value in named.items() if value}, **row.parameters},
        "risk_settings": row.risk,
        "created_at": microseconds_text(row.created_at),
        "updated_at": microseconds_text(row.updated_at),
        "deployment_mode": None if newest is None else newest.mode,
        "run_id": None if newest is None else str(newest.id),
    }


# ---- figures ---------------------------------------------------------------------------------------------------------


def figure(run: RunRow | None, name: str) -> Decimal | None:
    """A figure of a run; 0 where it has no fill yet; None where it is not known."""
    value = (run.metrics or {}).get(name) if run is not None else None
    if value is not None:
        return Decimal(str(value))
    return Decimal(0) if run is None or not run.fills else None


def count(run: RunRow | None, name: str) -> int:
    return int((run.metrics or {}).get(name) or 0) if run is not None else 0


def sharpe(run: RunRow | None) -> float | None:
    value = (run.metrics or {}).get("sharpe_ratio") if run is not None else None
    return None if value is None else float(value)


def win_rate(run: RunRow | None) -> float:
    """0 to 1; 0 without a trade that was won or lost."""
    value = (run.metrics or {}).get("win_rate") if run is not None else None
    return 0.0 if value is None else float(value)


def percent(value: Decimal | None) -> Decimal | None:
    return None if value is None else value * _HUNDRED


def status_object(run: RunRow | None, since: datetime, *, opened: int, uptime_s: float) -> dict[str, Any]:
    """How a strategy stands. since: when it was made, the time of its figures while it never ran. opened: positions that it
    opened so far."""
    return {
        "state": state_of(run),
        "performance_metrics": {
            "total_pnl": _text(figure(run, "total_pnl")),
            "unrealized_pnl": _text(figure(run, "unrealized_pnl")),
            "total_trades": count(run, "total_trades"),
            "winning_trades": count(run, "winning_trades"),
            "win_rate": win_rate(run),
            "max_drawdown": _text(percent(figure(run, "max_drawdown"))),
            "sharpe_ratio": sharpe(run),
            "last_updated": microseconds_text(since if run is None else run.updated_at),
        },
        "runtime_info": {
            "orders_placed": 0 if run is None else run.orders,
            "positions_opened": opened,
            "uptime_seconds": round(uptime_s),
            "cpu_usage": None,
            "memory_usage": None,
        },
        "run_id": None if run is None else str(run.id),
        "mode": None if run is None else run.mode,
        "message": "" if run is None else run.reason,
    }


def performance_object(run: RunRow | None, returns: Sequence[Decimal] = ()) -> dict[str, Any]:
    """Figures of a run as the page of performance wants them: numbers, win rate 0 to 1, drawdown in percent."""
    return {
        "total_pnl": _number(figure(run, "total_pnl")),
        "realized_pnl": _number(figure(run, "realized_pnl")),
        "unrealized_pnl": _number(figure(run, "unrealized_pnl")),
        "win_rate": win_rate(run),
        "total_trades": count(run, "total_trades"),
        "winning_trades": count(run, "winning_trades"),
        "profit_factor": _number(None if run is None else _known(run, "profit_factor")),
        "max_drawdown": _number(percent(figure(run, "max_drawdown"))),
        "sharpe_ratio": sharpe(run),
        "volatility": _number(percent(None if run is None else _known(run, "volatility"))),
        "daily_returns": [_number(one) for one in returns],
        "state": state_of(run),
    }


def _known(run: RunRow, name: str) -> Decimal | None:
    value = (run.metrics or {}).get(name)
    return None if value is None else Decimal(str(value))


def comparison_object(strategy_id: str, name: str, run: RunRow | None, *, uptime_percent: float) -> dict[str, Any]:
    figures = performance_object(run)
    kept = ("total_pnl", "win_rate", "sharpe_ratio", "max_drawdown", "total_trades", "volatility", "state")
    return {
        "strategy_id": strategy_id,
        "strategy_name": name,
        **{one: figures[one] for one in kept},
        "uptime_percentage": uptime_percent,
    }


def instance_object(run: RunRow) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "strategy_id": strategy_id_of(run),
        "name": run.name,
        "template_id": run.template_id,
        "state": state_of(run),
        "mode": run.mode,
        "started_at": None if run.started_at is None else microseconds_text(run.started_at),
    }


def monitored_object(run: RunRow) -> dict[str, Any]:
    """A row of the page that watches strategies."""
    return {
        "strategy_id": strategy_id_of(run),
        "run_id": str(run.id),
        "name": run.name,
        "state": state_of(run),
        "mode": run.mode,
        "reason": run.reason,
        **{name: performance_object(run)[name] for name in ("total_pnl", "unrealized_pnl", "win_rate", "total_trades")},
        "orders_placed": run.orders,
        "restarts": run.restarts,
        "last_updated": microseconds_text(run.updated_at),
        "last_heartbeat": None if run.heartbeat_at is None else microseconds_text(run.heartbeat_at),
    }


def strategy_id_of(run: RunRow) -> str:
    """What the page knows a run by: its configuration, where it has one."""
    return str(run.id if run.config_id is None else run.config_id)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}" if value else "0"


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
