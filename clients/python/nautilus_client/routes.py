"""Every route of the API that this package uses, with the parameters and fields that it sends.

A test of the server holds this table against the server's own description. A route of `NEWER` may be missing on an older
server; the error then says so.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from nautilus_client.errors import ApiError, NautilusError, NotFound
from nautilus_client.messages import Request


class Route(NamedTuple):
    """method and path with its `{parts}`; query, body, headers: names that are sent."""

    method: str
    path: str
    query: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


_MARKET = "/api/v1/market-data"
_HISTORY = f"{_MARKET}/historical"
_BACKFILL = "/api/v1/historical/backfill"
_ORDERS = "/api/v1/orders"
_FOLIO = "/api/v1/portfolio"
_SERIES = ("symbol", "instrument_id", "con_id", "asset_class", "exchange", "currency", "timeframe", "price", "session")
_WINDOW = ("start", "end", "limit")
_KEY = ("Idempotency-Key",)
_NAMED = ("symbol", "instrument_id", "con_id", "asset_class", "exchange", "currency", "expiry")
_ORDER = (
    *_NAMED,
    *("account", "side", "type", "quantity", "limit_price", "stop_price", "trail_amount", "trail_percent", "tif"),
    *("good_till", "outside_rth", "take_profit", "stop_loss", "oca", "valid_for_s", "tags", "allow_duplicate"),
    *("round_prices", "dry_run"),
)

ROUTES: Mapping[str, Route] = {
    # who calls
    "login": Route("POST", "/api/v1/auth/login", body=("username", "password")),
    "refresh": Route("POST", "/api/v1/auth/refresh", body=("refresh_token",)),
    "logout": Route("POST", "/api/v1/auth/logout", body=("refresh_token",)),
    "me": Route("GET", "/api/v1/auth/me"),
    "make-key": Route("POST", "/api/v1/auth/api-keys", body=("name", "scopes", "accounts", "expires_at")),
    "keys": Route("GET", "/api/v1/auth/api-keys"),
    "revoke-key": Route("DELETE", "/api/v1/auth/api-keys/{key_id}"),
    # market data
    "bars": Route(
        "GET", f"{_HISTORY}/bars", (*_SERIES, *_WINDOW, "page_token", "fields", "wait", "live", "as_of", "backfill")
    ),
    "coverage": Route("GET", f"{_HISTORY}/coverage", (*_SERIES, *_WINDOW)),
    "coverage-map": Route(
        "GET", f"{_MARKET}/coverage/map", ("series", "instrument_id", "timeframe", "start", "end", "after", "limit")
    ),
    "explain": Route("GET", f"{_HISTORY}/explain", (*_SERIES, "ts")),
    "revisions": Route("GET", f"{_HISTORY}/revisions", (*_SERIES, *_WINDOW, "since_version")),
    "series": Route("GET", f"{_MARKET}/series", ("instrument_id", "timeframe", "limit", "after")),
    "calendar": Route("GET", f"{_MARKET}/calendar", (*_SERIES, *_WINDOW)),
    "instruments": Route("GET", f"{_MARKET}/instruments", ("asset_class", "limit", "after")),
    "search": Route("GET", f"{_MARKET}/instruments/search", ("q", "asset_class", "limit")),
    "instrument": Route("GET", f"{_MARKET}/instruments/{{instrument_id}}"),
    # backfills
    "backfill": Route(
        "POST",
        "/api/v1/ib/backfill",
        body=(
            *("symbol", "symbols", "instrument_id", "con_id", "asset_class", "exchange", "currency", "expiry"),
            *(
                "timeframe",
                "timeframes",
                "start",
                "end",
                "duration",
                "days_back",
                "price",
                "session",
                "priority",
                "mode",
            ),
            "dry_run",
        ),
        headers=_KEY,
    ),
    "jobs": Route("GET", f"{_BACKFILL}/status", ("job_id",)),
    "job": Route("GET", f"{_BACKFILL}/{{job_id}}"),
    "chunks": Route("GET", f"{_BACKFILL}/{{job_id}}/chunks", ("after", "limit")),
    "stop-jobs": Route("POST", f"{_BACKFILL}/stop"),
    # live data
    "want": Route("POST", f"{_MARKET}/live", body=("wants",)),
    "wants": Route("GET", f"{_MARKET}/live"),
    "quotes": Route("GET", f"{_MARKET}/quotes", ("symbols", "instrument_ids", "asset_class", "exchange", "currency")),
    "events": Route("GET", "/api/v1/stream/events", ("channels", "bars", "forming"), headers=("Last-Event-ID",)),
    # how things are
    "session": Route("GET", "/api/v1/ib/session"),
    "budget": Route("GET", "/api/v1/ib/budget"),
    "incidents": Route("GET", "/api/v1/incidents", ("open", "code", "limit", "before")),
    # orders
    "place": Route("POST", _ORDERS, ("wait",), _ORDER, _KEY),
    "preview": Route("POST", f"{_ORDERS}/preview", body=_ORDER),
    "orders": Route("GET", _ORDERS, ("account", "state", "con_id", "origin", "open", "since", "after", "limit")),
    "order": Route("GET", f"{_ORDERS}/{{order_id}}", ("wait",)),
    "order-events": Route("GET", f"{_ORDERS}/{{order_id}}/events", ("after", "limit")),
    "change": Route(
        "PATCH",
        f"{_ORDERS}/{{order_id}}",
        body=("quantity", "limit_price", "stop_price", "trail_amount", "trail_percent"),
        headers=("If-Match", *_KEY),
    ),
    "cancel": Route("DELETE", f"{_ORDERS}/{{order_id}}"),
    "cancel-all": Route("DELETE", _ORDERS, ("account",)),
    "kill": Route("POST", f"{_ORDERS}/kill", body=("reason", "accounts", "cancel", "flatten")),
    "risk": Route("GET", f"{_ORDERS}/risk"),
    # portfolio
    "accounts": Route("GET", f"{_FOLIO}/accounts", ("account",)),
    "balances": Route("GET", f"{_FOLIO}/balances", ("account",)),
    "positions": Route("GET", f"{_FOLIO}/positions", ("account", "con_id")),
    "executions": Route(
        "GET", f"{_FOLIO}/executions", ("account", "con_id", "tag", "since", "until", "after", "limit")
    ),
    "pnl": Route("GET", f"{_FOLIO}/pnl", ("account", "since", "until", "minutes")),
    "round-trips": Route("GET", f"{_FOLIO}/round-trips", ("account", "since", "until")),
    "performance": Route("GET", f"{_FOLIO}/performance", ("account", "first", "last")),
    "cash": Route("GET", f"{_FOLIO}/cash", ("account", "since", "until")),
    "breaks": Route("GET", f"{_FOLIO}/breaks", ("account", "open", "limit")),
    # exports
    "export": Route(
        "POST",
        f"{_MARKET}/exports",
        body=(
            *("symbols", "instrument_ids", "all", "timeframes", "price", "session", "start", "end", "format", "layout"),
            *("compression", "split", "target", "require", "dry_run"),
        ),
        headers=_KEY,
    ),
    "exports": Route("GET", f"{_MARKET}/exports", ("before", "limit")),
    "export-job": Route("GET", f"{_MARKET}/exports/{{export_id}}"),
    "stop-export": Route("POST", f"{_MARKET}/exports/{{export_id}}/stop"),
    "delete-export": Route("DELETE", f"{_MARKET}/exports/{{export_id}}"),
    "export-files": Route("GET", f"{_MARKET}/exports/{{export_id}}/files", ("after", "limit")),
    "export-file": Route("GET", f"{_MARKET}/exports/{{export_id}}/files/{{path}}"),
    # strategies
    "backtest": Route("POST", "/api/v1/backtests", headers=_KEY),
    "backtests": Route("GET", "/api/v1/backtests"),
    "backtest-job": Route("GET", "/api/v1/backtests/{run_id}"),
    "backtest-fills": Route("GET", "/api/v1/backtests/{run_id}/fills"),
    "backtest-equity": Route("GET", "/api/v1/backtests/{run_id}/equity"),
    "cancel-backtest": Route("DELETE", "/api/v1/backtests/{run_id}"),
    "run": Route("POST", "/api/v1/strategy-runs", headers=_KEY),
    "runs": Route("GET", "/api/v1/strategy-runs"),
    "run-job": Route("GET", "/api/v1/strategy-runs/{run_id}"),
    "stop-run": Route("POST", "/api/v1/strategy-runs/{run_id}/stop"),
    "pause-run": Route("POST", "/api/v1/strategy-runs/{run_id}/pause"),
    "resume-run": Route("POST", "/api/v1/strategy-runs/{run_id}/resume"),
    "flatten-run": Route("POST", "/api/v1/strategy-runs/{run_id}/flatten"),
}
NEWER = frozenset(
    name
    for name, route in ROUTES.items()
    if "/exports" in route.path or "/backtests" in route.path or "-runs" in route.path
)
"""Routes that a server may not have yet."""


def request(name: str, /, *, body: Any = None, headers: Mapping[str, str] | None = None, **values: Any) -> Request:
    """The request of a route. values: parts of the path, and parameters; None is left out."""
    route = ROUTES[name]
    parts = {key: quote(str(values[key]), safe="") for key in values if "{" + key + "}" in route.path}
    query = [(key, _text(value)) for key, value in values.items() if key not in parts and value is not None]
    unknown = [key for key, _ in query if key not in route.query] + [
        key for key in headers or () if key not in route.headers
    ]
    if isinstance(body, Mapping) and route.body:
        unknown += [key for key in body if key not in route.body]
    if unknown:
        raise TypeError(f"{name} has no {', '.join(unknown)}; it has {', '.join((*route.query, *route.body))}")
    return Request(route.method, route.path.format(**parts), query, body, headers or {})


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class NotOnThisServer(NautilusError):
    """The server is older than this package, and has no such route."""


def explained(name: str, error: ApiError) -> NautilusError:
    """The error of a route; one that this server does not have says so."""
    if isinstance(error, NotFound) and error.code == "no-such-route" and name in NEWER:
        return NotOnThisServer(f"this server has no {ROUTES[name].path.split('/')[-1]}: {error.detail}")
    return error
