"""The store's identity, and what the bridge last wrote about its connection to IB."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.clock import SAME_TIME, MarketTime
from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one, one_or_none, scalar, scalar_or_none, scalars

SILENT_AFTER_S = 15
"""A bridge that has not written its heartbeat (every 5 s) for this long is reported as down."""


class _StoreRow(NamedTuple):
    id: UUID
    source: str | None


class StoreIdentity(NamedTuple):
    """Which database this is, and where its bars come from (`ib:live`, `sim:7`, ...; None until a bridge has come)."""

    id: str
    source: str | None


def store(cursor: Cursor) -> StoreIdentity:
    cursor.execute("SELECT id, source FROM store")
    row = one(cursor, _StoreRow)
    return StoreIdentity(str(row.id), row.source)


def machine_ms(cursor: Cursor) -> int:
    """Machine time by the database's clock, in ms since 1970."""
    cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    return scalar(cursor, int)


def claim_source(cursor: Cursor, source: str) -> str:
    """Make this database one of `source` if it has none yet; returns the source it has."""
    cursor.execute("UPDATE store SET source = coalesce(source, %s) RETURNING source", (source,))
    return scalar(cursor, str)


class BridgeStatus(NamedTuple):
    """The session as a reader sees it: `down` when its bridge is silent, whatever it last wrote."""

    bridge: str
    login: str
    account: str
    state: str
    since: datetime
    reason: str
    host: str
    port: int
    client_id: int | None
    server_version: int | None
    farms: Mapping[str, Any]
    activity: Mapping[str, Any]
    heartbeat_at: datetime
    silent_s: float
    clock_machine_ns: int
    clock_market_ns: int
    clock_rate: float
    now_ns: int

    @property
    def clock(self) -> MarketTime:
        return MarketTime(self.clock_machine_ns, self.clock_market_ns, self.clock_rate)

    @property
    def market_ns(self) -> int:
        """Market time now."""
        return self.clock.at(self.now_ns)


class SilentBridge(NamedTuple):
    """A bridge without a heartbeat for a while. alone: no other one of its login has had one since."""

    bridge: str
    since: datetime
    alone: bool


def reporting(cursor: Cursor, within_s: float) -> frozenset[str]:
    """The bridges with a heartbeat within so many seconds."""
    cursor.execute(
        "SELECT bridge FROM ib_sessions WHERE heartbeat_at >= clock_timestamp() - %s * interval '1 s'", (within_s,)
    )
    return frozenset(scalars(cursor, str))


def names(cursor: Cursor) -> list[str]:
    """The bridges that have ever written their status."""
    cursor.execute("SELECT bridge FROM ib_sessions ORDER BY bridge")
    return scalars(cursor, str)


def silent(cursor: Cursor, after_s: float) -> list[SilentBridge]:
    """The bridges without a heartbeat for so many seconds."""
    cursor.execute(
        "SELECT bridge, heartbeat_at AS since, NOT EXISTS (SELECT FROM ib_sessions o WHERE o.login = s.login"
        " AND o.heartbeat_at > s.heartbeat_at) AS alone FROM ib_sessions s"
        " WHERE heartbeat_at < clock_timestamp() - %s * interval '1 s' ORDER BY bridge",
        (after_s,),
    )
    return every(cursor, SilentBridge)


_READ = (
    "SELECT bridge, login, account, state, since, reason, host, port, client_id, server_version, farms, activity,"
    " heartbeat_at, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_s,"
    " clock_machine_ns, clock_market_ns, clock_rate,"
    " (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint AS now_ns FROM ib_sessions"
    " ORDER BY heartbeat_at DESC LIMIT 1"
)


def latest(cursor: Cursor) -> BridgeStatus | None:
    """The status of the bridge that wrote last; None when no bridge ever came."""
    cursor.execute(_READ)
    found = one_or_none(cursor, BridgeStatus)
    if found is None or found.silent_s <= SILENT_AFTER_S:
        return found
    reason = f"bridge silent since {found.heartbeat_at:%Y-%m-%dT%H:%M:%SZ}"
    return found._replace(state="down", since=found.heartbeat_at, reason=reason)


def last_activity(cursor: Cursor, bridge: str) -> Mapping[str, Any]:
    """What a bridge of this name last wrote about its work; empty when there was none."""
    cursor.execute("SELECT activity FROM ib_sessions WHERE bridge = %s", (bridge,))
    return scalar_or_none(cursor, dict) or {}


class _Clock(NamedTuple):
    now_ns: int
    machine_ns: int | None
    market_ns: int | None
    rate: float | None


_CLOCK = (
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint AS now_ns, s.clock_machine_ns AS machine_ns,"
    " s.clock_market_ns AS market_ns, s.clock_rate AS rate FROM (SELECT) always LEFT JOIN"
    " (SELECT * FROM ib_sessions ORDER BY heartbeat_at DESC LIMIT 1) s ON true"
)


def market_now(cursor: Cursor) -> int:
    """Market time as the last bridge published it; the database's own time when none ever did."""
    cursor.execute(_CLOCK)
    row = one(cursor, _Clock)
    if row.machine_ns is None or row.market_ns is None or row.rate is None:
        return SAME_TIME.at(row.now_ns)
    return MarketTime(row.machine_ns, row.market_ns, row.rate).at(row.now_ns)


def machine_now(cursor: Cursor) -> int:
    """The database's clock, in ns."""
    cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint")
    return scalar(cursor, int)


def publish(
    cursor: Cursor,
    bridge: str,
    *,
    login: str,
    account: str,
    state: str,
    reason: str,
    host: str,
    port: int,
    client_id: int | None,
    server_version: int | None,
    farms: Mapping[str, Any],
    activity: Mapping[str, Any],
    clock: MarketTime,
    settle_s: tuple[int, int],
) -> None:
    """The bridge's heartbeat: all it knows about its session. `since` moves when the state changes.

    settle_s: how long intraday bars and those of a day and more are left to settle.
    """
    cursor.execute(
        "INSERT INTO ib_sessions AS s (bridge, login, account, state, reason, host, port, client_id, server_version, farms,"
        " activity, clock_machine_ns, clock_market_ns, clock_rate, settle_intraday_s, settle_daily_s)"
        " VALUES (%(bridge)s, %(login)s, %(account)s, %(state)s, %(reason)s, %(host)s, %(port)s, %(client)s, %(version)s,"
        " %(farms)s, %(activity)s, %(machine)s, %(market)s, %(rate)s, %(intraday)s, %(daily)s)"
        " ON CONFLICT (bridge) DO UPDATE SET login = excluded.login, account = excluded.account, state = excluded.state,"
        " since = CASE WHEN s.state = excluded.state THEN s.since ELSE clock_timestamp() END, reason = excluded.reason,"
        " host = excluded.host, port = excluded.port, client_id = excluded.client_id,"
        " server_version = excluded.server_version, farms = excluded.farms, activity = excluded.activity,"
        " heartbeat_at = clock_timestamp(), clock_machine_ns = excluded.clock_machine_ns,"
        " clock_market_ns = excluded.clock_market_ns, clock_rate = excluded.clock_rate,"
        " settle_intraday_s = excluded.settle_intraday_s, settle_daily_s = excluded.settle_daily_s",
        {
            "bridge": bridge,
            "login": login,
            "account": account,
            "state": state,
            "reason": reason,
            "host": host,
            "port": port,
            "client": client_id,
            "version": server_version,
            "farms": Json(dict(farms)),
            "activity": Json(dict(activity)),
            "machine": clock.machine_ns,
            "market": clock.market_ns,
            "rate": clock.rate,
            "intraday": settle_s[0],
            "daily": settle_s[1],
        },
    )
