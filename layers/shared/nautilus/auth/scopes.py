"""Scopes and accounts: which scopes there are, which a role has, which each route needs; which accounts a caller may use.

Rules alone, no I/O.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from nautilus.errors import InvalidInput

SCOPES: tuple[str, ...] = (
    "bars:read",
    "backfill:write",
    "monitoring:read",
    "session:write",
    "orders:read",
    "orders:write",
    "strategies:write",
    "exports:write",
    "admin",
)
"""All scopes there are. `admin` includes every other."""
USER_SCOPES: tuple[str, ...] = ("bars:read", "backfill:write", "monitoring:read")
"""What a new user gets by default."""
ROLES: dict[str, tuple[str, ...]] = {
    "viewer": ("bars:read", "monitoring:read"),
    "analyst": USER_SCOPES,
    "trader": (*USER_SCOPES, "session:write", "orders:read", "orders:write", "strategies:write", "exports:write"),
    "admin": ("admin",),
}
"""Names of usual sets of scopes. Stored are the scopes."""


def key_scopes(user_scopes: Iterable[str], granted: Iterable[str]) -> frozenset[str]:
    """What a key may do: what it was granted, as long as its user may do so too."""
    owned, given = frozenset(user_scopes), frozenset(granted)
    return given if "admin" in owned else given & owned


def role_of(scopes: Iterable[str]) -> str | None:
    """The role with exactly these scopes."""
    wanted = frozenset(scopes)
    return next((role for role, given in ROLES.items() if frozenset(given) == wanted), None)


def scopes_of(role: str | None, scopes: Sequence[str] | None) -> Sequence[str] | None:
    """The scopes that a body names, by a role or one by one; None: neither."""
    if role is None:
        return scopes
    if scopes is not None:
        raise InvalidInput.field("role", "a role stands for scopes; send one of both")
    if role not in ROLES:
        raise InvalidInput.field("role", f"{role!r} is not a role", list(ROLES))
    return ROLES[role]


def checked_scopes(field: str, scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes in their usual order; InvalidInput for one that does not exist."""
    wanted = frozenset(scopes)
    if not wanted <= frozenset(SCOPES):
        raise InvalidInput.field(field, f"{sorted(wanted - frozenset(SCOPES))[0]!r} is not a scope", SCOPES)
    return tuple(scope for scope in SCOPES if scope in wanted)


# ---- accounts --------------------------------------------------------------------------------------------------------

ALL_ACCOUNTS = "*"
"""In a list of accounts: all of them, also those that come later."""
MAX_ACCOUNTS = 50
"""Accounts that a user or a key may be given by name. They stand in each access token, which has room for them."""
ACCOUNT_NAME = re.compile(r"(?a)[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


def checked_accounts(field: str, accounts: Iterable[str]) -> tuple[str, ...]:
    """The accounts in order, each once; InvalidInput for what cannot be the name of one."""
    named = sorted(set(accounts))
    for account in named:
        if account != ALL_ACCOUNTS and not ACCOUNT_NAME.fullmatch(account):
            raise InvalidInput.field(
                field, f"{account!r} is no account: an account is 1 to 32 letters, digits, dots or hyphens; * means all"
            )
    if len(named) > MAX_ACCOUNTS:
        raise InvalidInput.field(field, f"may name {MAX_ACCOUNTS} accounts at most; * means all")
    return (ALL_ACCOUNTS,) if ALL_ACCOUNTS in named else tuple(named)


def user_accounts(scopes: Iterable[str], accounts: Iterable[str]) -> frozenset[str]:
    """The accounts of a user with these scopes: an administrator has all."""
    return frozenset((ALL_ACCOUNTS,)) if "admin" in scopes else frozenset(accounts)


def key_accounts(owned: Iterable[str], granted: Iterable[str] | None) -> frozenset[str]:
    """The accounts of a key: those that it was granted, as long as its user has them too; None: all of its user's."""
    ours = frozenset(owned)
    if granted is None:
        return ours
    given = frozenset(granted)
    if ALL_ACCOUNTS in ours:
        return given
    return ours if ALL_ACCOUNTS in given else given & ours


# ---- routes ----------------------------------------------------------------------------------------------------------


class Access(NamedTuple):
    """Who may use a route.

    credentials: what a caller must show. `none`: nothing, the route is public; `refresh-token`: a refresh token, which the
    route checks itself; `any`: an access token or an API key; `password`: the access token of a sign-in session that was
    opened with name and password; `link`: what `any` takes, or a link of one use in the address, which the route checks
    itself; `socket`: what `any` takes, or what the socket itself takes after its handshake; it asks for the scope of each
    topic. scope: what the caller must have beside; empty: nothing.
    """

    credentials: Literal["none", "refresh-token", "any", "password", "link", "socket"]
    scope: str = ""


PUBLIC = Access("none")
BY_REFRESH_TOKEN = Access("refresh-token")
SIGNED_IN = Access("any")
BY_PASSWORD = Access("password")
IN_THE_SOCKET = Access("socket")
ADMIN = Access("any", "admin")
READ_BARS = Access("any", "bars:read")
WRITE_BACKFILLS = Access("any", "backfill:write")
READ_MONITORING = Access("any", "monitoring:read")
WRITE_SESSION = Access("any", "session:write")
READ_ORDERS = Access("any", "orders:read")
WRITE_ORDERS = Access("any", "orders:write")
WRITE_EXPORTS = Access("any", "exports:write")
READ_RUN_BY_LINK = Access("link", "orders:read")
WRITE_STRATEGIES = Access("any", "strategies:write")

ROUTES: Mapping[tuple[str, str], Access] = {
    # functions/auth
    ("POST", "/api/v1/auth/login"): PUBLIC,
    ("POST", "/api/v1/auth/refresh"): BY_REFRESH_TOKEN,
    ("POST", "/api/v1/auth/logout"): BY_REFRESH_TOKEN,  # or an access token
    ("POST", "/api/v1/auth/logout-all"): BY_PASSWORD,
    ("GET", "/api/v1/auth/me"): SIGNED_IN,
    ("GET", "/api/v1/auth/validate"): SIGNED_IN,
    ("GET", "/api/v1/auth/jwks.json"): PUBLIC,
    ("POST", "/api/v1/auth/password"): BY_PASSWORD,
    ("GET", "/api/v1/auth/sessions"): BY_PASSWORD,
    ("DELETE", "/api/v1/auth/sessions/{session_id}"): BY_PASSWORD,
    ("POST", "/api/v1/auth/api-keys"): BY_PASSWORD,
    ("GET", "/api/v1/auth/api-keys"): BY_PASSWORD,
    ("DELETE", "/api/v1/auth/api-keys/{key_id}"): SIGNED_IN,  # by password, but for the key that is sent
    ("GET", "/api/v1/auth/users"): ADMIN,
    ("POST", "/api/v1/auth/users"): ADMIN,
    ("PATCH", "/api/v1/auth/users/{user_id}"): ADMIN,
    # functions/bars
    ("GET", "/api/v1/market-data/historical/bars"): READ_BARS,
    ("GET", "/api/v1/market-data/historical/coverage"): READ_BARS,
    ("GET", "/api/v1/market-data/historical/explain"): READ_BARS,
    ("GET", "/api/v1/market-data/historical/revisions"): READ_BARS,
    ("GET", "/api/v1/market-data/series"): READ_BARS,
    ("GET", "/api/v1/market-data/coverage/map"): READ_BARS,
    ("GET", "/api/v1/market-data/calendar"): READ_BARS,
    ("GET", "/api/v1/market-data/instruments"): READ_BARS,
    ("GET", "/api/v1/market-data/instruments/search"): READ_BARS,
    ("GET", "/api/v1/market-data/instruments/{instrument_id}"): READ_BARS,
    ("GET", "/api/v1/ib/instruments/search/{query}"): READ_BARS,
    ("GET", "/api/v1/ib/forex-pairs"): READ_BARS,
    # functions/backfill
    ("POST", "/api/v1/ib/backfill"): WRITE_BACKFILLS,
    ("POST", "/api/v1/historical/backfill/start"): WRITE_BACKFILLS,
    ("GET", "/api/v1/historical/backfill/status"): READ_BARS,
    ("POST", "/api/v1/historical/backfill/stop"): WRITE_BACKFILLS,
    ("GET", "/api/v1/historical/backfill/{job_id}/chunks"): READ_BARS,
    ("GET", "/api/v1/historical/backfill/{job_id}"): READ_BARS,
    # functions/live
    ("GET", "/api/v1/market-data/live"): READ_BARS,
    ("POST", "/api/v1/market-data/live"): READ_BARS,
    ("DELETE", "/api/v1/market-data/live"): READ_BARS,
    ("GET", "/api/v1/market-data/quotes"): READ_BARS,
    ("GET", "/api/v1/market-data/watchlist"): READ_BARS,
    ("PUT", "/api/v1/market-data/watchlist"): WRITE_BACKFILLS,
    ("POST", "/api/v1/stream/tickets"): READ_BARS,
    ("GET", "/api/v1/messagebus/status"): READ_MONITORING,
    ("POST", "/api/v1/ib/market-data/subscribe"): READ_BARS,
    ("POST", "/api/v1/ib/market-data/unsubscribe"): READ_BARS,
    # functions/monitoring
    ("GET", "/health"): PUBLIC,
    ("GET", "/health/ready"): PUBLIC,
    ("GET", "/api/v1/ib/session"): READ_MONITORING,
    ("POST", "/api/v1/ib/session/reconnect"): WRITE_SESSION,
    ("GET", "/api/v1/ib/budget"): READ_MONITORING,
    ("GET", "/api/v1/ib/connection/status"): READ_MONITORING,
    ("GET", "/api/v1/incidents"): READ_MONITORING,
    ("POST", "/api/v1/incidents/{incident_id}/close"): ADMIN,
    # functions/orders: which accounts' orders, each route asks itself
    ("POST", "/api/v1/orders"): WRITE_ORDERS,
    ("POST", "/api/v1/orders/preview"): READ_ORDERS,
    ("GET", "/api/v1/orders"): READ_ORDERS,
    ("DELETE", "/api/v1/orders"): WRITE_ORDERS,
    ("POST", "/api/v1/orders/kill"): WRITE_ORDERS,
    ("POST", "/api/v1/orders/resume"): ADMIN,
    ("GET", "/api/v1/orders/risk"): READ_ORDERS,
    ("PUT", "/api/v1/orders/risk/limits"): ADMIN,
    ("DELETE", "/api/v1/orders/risk/limits/{name}"): ADMIN,
    ("GET", "/api/v1/orders/{order_id}"): READ_ORDERS,
    ("PATCH", "/api/v1/orders/{order_id}"): WRITE_ORDERS,
    ("DELETE", "/api/v1/orders/{order_id}"): WRITE_ORDERS,
    ("GET", "/api/v1/orders/{order_id}/events"): READ_ORDERS,
    ("POST", "/api/v1/orders/{order_id}/resolve"): ADMIN,
    ("GET", "/api/v1/ib/orders"): READ_ORDERS,
    ("POST", "/api/v1/ib/orders/place"): WRITE_ORDERS,
    ("PUT", "/api/v1/ib/orders/{order_id}/modify"): WRITE_ORDERS,
    ("POST", "/api/v1/ib/orders/{order_id}/cancel"): WRITE_ORDERS,
    ("DELETE", "/api/v1/ib/orders/{order_id}/cancel"): WRITE_ORDERS,
    ("POST", "/api/v1/ib/orders/refresh"): READ_ORDERS,
    ("POST", "/api/v1/ib/positions/refresh"): READ_ORDERS,
    ("POST", "/api/v1/ib/account/refresh"): READ_ORDERS,
    # functions/portfolio: which accounts, each route asks itself
    ("GET", "/api/v1/portfolio/accounts"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/balances"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/cash"): READ_ORDERS,
    ("POST", "/api/v1/portfolio/cash"): ADMIN,
    ("GET", "/api/v1/portfolio/positions"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/executions"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/round-trips"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/pnl"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/performance"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/breaks"): READ_ORDERS,
    ("POST", "/api/v1/portfolio/breaks/{break_id}/resolve"): ADMIN,
    ("POST", "/api/v1/portfolio/adjustments/{adjustment_id}/price"): ADMIN,
    ("POST", "/api/v1/portfolio/imports"): WRITE_ORDERS,
    ("GET", "/api/v1/portfolio/imports"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/imports/{import_id}"): READ_ORDERS,
    ("PUT", "/api/v1/portfolio/imports/{import_id}/parts/{n}"): WRITE_ORDERS,
    ("POST", "/api/v1/portfolio/imports/{import_id}/finish"): WRITE_ORDERS,
    ("GET", "/api/v1/ib/account"): READ_ORDERS,
    ("GET", "/api/v1/ib/positions"): READ_ORDERS,
    # functions/frontend: which accounts, each route asks itself
    ("GET", "/api/v1/trades"): READ_ORDERS,
    ("GET", "/api/v1/trades/"): READ_ORDERS,
    ("GET", "/api/v1/trades/summary"): READ_ORDERS,
    ("GET", "/api/v1/trades/symbols"): READ_ORDERS,
    ("GET", "/api/v1/trades/strategies"): READ_ORDERS,
    ("GET", "/api/v1/trades/export"): READ_ORDERS,
    ("GET", "/api/v1/performance/aggregate"): READ_ORDERS,
    ("GET", "/api/v1/performance/history"): READ_ORDERS,
    ("GET", "/api/v1/execution/metrics"): READ_ORDERS,
    ("GET", "/api/v1/execution/trades"): READ_ORDERS,
    ("GET", "/api/v1/performance/benchmarks/{symbol}"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/{portfolio_id}/strategy-allocations"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/{portfolio_id}/strategy-correlations"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/{portfolio_id}/benchmark-comparison"): READ_ORDERS,
    ("GET", "/api/v1/risk/portfolio/{portfolio_id}"): READ_ORDERS,
    ("GET", "/api/v1/risk/metrics/{portfolio_id}"): READ_ORDERS,
    ("GET", "/api/v1/risk/exposure/{portfolio_id}"): READ_ORDERS,
    ("GET", "/api/v1/risk/charts/{portfolio_id}"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/{portfolio_id}/asset-allocations"): READ_ORDERS,
    ("GET", "/api/v1/portfolio/{portfolio_id}/performance-history"): READ_ORDERS,
    # functions/exports
    ("POST", "/api/v1/market-data/exports"): WRITE_EXPORTS,
    ("GET", "/api/v1/market-data/exports"): WRITE_EXPORTS,
    ("GET", "/api/v1/market-data/exports/{export_id}"): WRITE_EXPORTS,
    ("POST", "/api/v1/market-data/exports/{export_id}/stop"): WRITE_EXPORTS,
    ("DELETE", "/api/v1/market-data/exports/{export_id}"): WRITE_EXPORTS,
    ("GET", "/api/v1/market-data/exports/{export_id}/files"): WRITE_EXPORTS,
    ("GET", "/api/v1/market-data/exports/{export_id}/files/{path}"): WRITE_EXPORTS,
    ("GET", "/api/v1/strategies/configurations"): READ_ORDERS,
    ("GET", "/api/v1/strategies/templates"): READ_ORDERS,
    ("GET", "/api/v1/strategies/templates/{template_id}"): READ_ORDERS,
    ("POST", "/api/v1/strategies/configure"): WRITE_STRATEGIES,
    ("GET", "/api/v1/strategies/configure/{strategy_id}"): READ_ORDERS,
    ("PATCH", "/api/v1/strategies/configure/{strategy_id}"): WRITE_STRATEGIES,
    ("DELETE", "/api/v1/strategies/configure/{strategy_id}"): WRITE_STRATEGIES,
    ("POST", "/api/v1/strategies/validate"): READ_ORDERS,
    ("GET", "/api/v1/instruments/available"): READ_ORDERS,
    ("GET", "/api/v1/strategies/instruments/available"): READ_ORDERS,
    ("GET", "/api/v1/timeframes/available"): READ_ORDERS,
    ("GET", "/api/v1/strategies/timeframes/available"): READ_ORDERS,
    ("POST", "/api/v1/strategies/deploy"): WRITE_STRATEGIES,
    ("POST", "/api/v1/strategies/{strategy_id}/control"): WRITE_STRATEGIES,
    ("POST", "/api/v1/strategies/control/{strategy_id}"): WRITE_STRATEGIES,
    ("GET", "/api/v1/strategies/status/{strategy_id}"): READ_ORDERS,
    ("GET", "/api/v1/strategies/active"): READ_ORDERS,
    ("GET", "/api/v1/strategies/monitoring"): READ_ORDERS,
    ("GET", "/api/v1/strategies/signals/recent"): READ_ORDERS,
    ("GET", "/api/v1/strategies/positions/active"): READ_ORDERS,
    ("GET", "/api/v1/strategies/{strategy_id}/performance"): READ_ORDERS,
    ("GET", "/api/v1/performance/compare"): READ_ORDERS,
    ("POST", "/api/v1/performance/compare"): READ_ORDERS,
    ("GET", "/api/v1/nautilus/engine/status"): READ_MONITORING,
    # functions/strategies: whose runs, each route asks itself; a live run also needs orders:write and its account
    ("GET", "/api/v1/strategy-hosts"): READ_ORDERS,
    ("GET", "/api/v1/strategy-templates"): READ_ORDERS,
    ("GET", "/api/v1/strategy-templates/{template_id}"): READ_ORDERS,
    ("POST", "/api/v1/strategy-configs/validate"): READ_ORDERS,
    ("POST", "/api/v1/strategy-configs"): WRITE_STRATEGIES,
    ("GET", "/api/v1/strategy-configs"): READ_ORDERS,
    ("GET", "/api/v1/strategy-configs/{config_id}"): READ_ORDERS,
    ("PATCH", "/api/v1/strategy-configs/{config_id}"): WRITE_STRATEGIES,
    ("DELETE", "/api/v1/strategy-configs/{config_id}"): WRITE_STRATEGIES,
    ("POST", "/api/v1/backtests"): WRITE_STRATEGIES,
    ("GET", "/api/v1/backtests"): READ_ORDERS,
    ("GET", "/api/v1/backtests/{run_id}"): READ_ORDERS,
    ("DELETE", "/api/v1/backtests/{run_id}"): WRITE_STRATEGIES,
    ("GET", "/api/v1/backtest-sweeps"): READ_ORDERS,
    ("GET", "/api/v1/backtest-sweeps/{sweep_id}"): READ_ORDERS,
    ("DELETE", "/api/v1/backtest-sweeps/{sweep_id}"): WRITE_STRATEGIES,
    ("POST", "/api/v1/strategy-runs"): WRITE_STRATEGIES,
    ("GET", "/api/v1/strategy-runs"): READ_ORDERS,
    ("GET", "/api/v1/strategy-runs/{run_id}"): READ_ORDERS,
    ("POST", "/api/v1/strategy-runs/{run_id}/stop"): WRITE_STRATEGIES,
    ("POST", "/api/v1/strategy-runs/{run_id}/pause"): WRITE_STRATEGIES,
    ("POST", "/api/v1/strategy-runs/{run_id}/resume"): WRITE_STRATEGIES,
    ("POST", "/api/v1/strategy-runs/{run_id}/flatten"): WRITE_STRATEGIES,
    ("GET", "/api/v1/backtests/{run_id}/fills"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/backtests/{run_id}/equity"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/backtests/{run_id}/round-trips"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/backtests/{run_id}/report"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/backtests/{run_id}/orders"): READ_ORDERS,
    ("GET", "/api/v1/backtests/{run_id}/events"): READ_ORDERS,
    ("POST", "/api/v1/backtests/{run_id}/links"): READ_ORDERS,
    ("GET", "/api/v1/strategy-runs/{run_id}/fills"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/strategy-runs/{run_id}/equity"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/strategy-runs/{run_id}/round-trips"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/strategy-runs/{run_id}/report"): READ_RUN_BY_LINK,
    ("GET", "/api/v1/strategy-runs/{run_id}/orders"): READ_ORDERS,
    ("GET", "/api/v1/strategy-runs/{run_id}/events"): READ_ORDERS,
    ("POST", "/api/v1/strategy-runs/{run_id}/links"): READ_ORDERS,
    # stream, which asks for the scope of each topic
    ("WEBSOCKET", "/ws/v1/stream"): IN_THE_SOCKET,
    ("WEBSOCKET", "/ws/realtime"): IN_THE_SOCKET,
    ("GET", "/api/v1/stream/events"): SIGNED_IN,
}
"""Every route, as method (of a socket `WEBSOCKET`) and path, and who may use it. A route without a row serves nobody."""
