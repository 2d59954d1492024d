"""Which host has which run, and how runs move on. A host writes by its lease: who has lost it changes nothing."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import every, one_or_none, scalar, scalars, there
from nautilus.db.strategies.notifications import notify, notify_watchers
from nautilus.db.strategies.runs import COLUMNS, RunRow
from nautilus.strategies.states import OPEN, OVER, RunState, before

RESTARTS_WITHIN_S = 600
"""Restarts of a live or paper run are counted over so many seconds."""


class LeaseLost(RuntimeError):
    """Another host has the run now, or it is over: this one must let go of it."""


class Hold(NamedTuple):
    """A lease: the run, and the number that it had when it was taken."""

    run_id: UUID
    token: int


def take(cursor: Cursor, host: str, modes: Sequence[str], *, limit: int, lease_s: float) -> list[RunRow]:
    """Lease open runs that nobody has and that are due, live ones first, then the oldest."""
    cursor.execute(
        "UPDATE strategy_runs SET lease_host = %(host)s, lease_until = clock_timestamp() + %(lease)s * interval '1 s',"
        " token = token + 1, version = version + 1 WHERE id IN (SELECT id FROM strategy_runs"
        "  WHERE state = ANY(%(open)s) AND state NOT IN ('stopped', 'completed', 'failed', 'error', 'cancelled')"
        "  AND mode = ANY(%(modes)s) AND not_before <= clock_timestamp()"
        "  AND (lease_until IS NULL OR lease_until < clock_timestamp())"
        "  ORDER BY mode = 'live' DESC, created_at, sweep_n, id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)"
        f" RETURNING {COLUMNS}",
        {"host": host, "lease": lease_s, "open": list(OPEN), "modes": list(modes), "limit": limit},
    )
    return every(cursor, RunRow)


def renew(cursor: Cursor, host: str, holds: Sequence[Hold], lease_s: float) -> set[UUID]:
    """Hold runs for `lease_s` seconds from now; returns those that are still this host's."""
    cursor.execute(
        "UPDATE strategy_runs r SET lease_until = clock_timestamp() + %s * interval '1 s'"
        " FROM unnest(%s::uuid[], %s::bigint[]) AS mine (id, token)"
        " WHERE r.id = mine.id AND r.token = mine.token AND r.lease_host = %s RETURNING r.id",
        (lease_s, [hold.run_id for hold in holds], [hold.token for hold in holds], host),
    )
    return set(scalars(cursor, UUID))


def free(cursor: Cursor, host: str) -> int:
    """Give back all runs of a host whose name the caller holds: those of its predecessor, or its own at the end."""
    cursor.execute(
        "UPDATE strategy_runs SET lease_host = NULL, lease_until = NULL, version = version + 1 WHERE lease_host = %s",
        (host,),
    )
    if cursor.rowcount:
        notify(cursor)
    return int(cursor.rowcount)


def give_back(cursor: Cursor, hold: Hold) -> None:
    """Let any host have the run."""
    cursor.execute(
        "UPDATE strategy_runs SET lease_host = NULL, lease_until = NULL, version = version + 1"
        " WHERE id = %s AND token = %s",
        hold,
    )
    notify(cursor, str(hold.run_id))


def held(cursor: Cursor, hold: Hold) -> RunRow:
    """The run, kept as it is until the transaction ends. LeaseLost: it is not ours any more."""
    cursor.execute(
        f"SELECT {COLUMNS} FROM strategy_runs WHERE id = %s AND token = %s AND lease_host IS NOT NULL FOR NO KEY UPDATE",
        hold,
    )
    row = one_or_none(cursor, RunRow)
    if row is None:
        raise LeaseLost(f"the run {hold.run_id} is another host's now")
    return row


_STATE_EVENT = (
    "INSERT INTO strategy_events (run_id, n, kind, body)"
    " SELECT %s, coalesce(max(n), 0) + 1, 'state', %s FROM strategy_events WHERE run_id = %s"
)
_JSON = frozenset({"data_versions", "metrics", "notes"})
_TEXTS = frozenset({"reason", "engine", "code_hash", "fills_hash"})
_SETTABLE = _JSON | _TEXTS | {"bars_done", "bars_total", "trade_date", "last_bar_ns"}
_SETTABLE |= {"orders", "fills", "denied", "rejected", "restarts", "recent_restarts", "not_before"}


def move(
    cursor: Cursor, hold: Hold, to: RunState, reason: str = "", *, changes: Mapping[str, Any] | None = None
) -> RunRow:
    """Bring a run to another state, or write columns of it in the same one, with an event of it. A run that is over gives
    its lease and its contracts back. LeaseLost; RuntimeError where the table of states has no such move."""
    old = held(cursor, hold)
    if old.state != to.value and old.state not in before(to):
        raise RuntimeError(f"the run {old.id} cannot go from {old.state} to {to}")
    over = to.value in OVER
    values = {**_values(changes or {}), "state": to.value, "reason": clean_text(reason)}
    assignments = ", ".join(f"{name} = %({name})s" for name in values)
    ends = ", finished_at = clock_timestamp(), lease_host = NULL, lease_until = NULL" if over else ""
    starts = ", started_at = coalesce(started_at, clock_timestamp())" if to is RunState.STARTING else ""
    cursor.execute(
        f"UPDATE strategy_runs SET {assignments}{starts}{ends}, version = version + 1, updated_at = clock_timestamp()"
        f" WHERE id = %(_id)s RETURNING {COLUMNS}",
        {**values, "_id": old.id},
    )
    row = one_or_none(cursor, RunRow)
    assert row is not None  # noqa: S101  its row is held
    if over:
        cursor.execute("DELETE FROM strategy_claims WHERE run_id = %s", (old.id,))
        notify(cursor)
    if old.state != to.value:
        body = {"before": old.state, "after": to.value, "reason": reason}
        cursor.execute(_STATE_EVENT, (old.id, as_json(body), old.id))
    notify_watchers(cursor, str(old.id))
    return row


def _values(changes: Mapping[str, Any]) -> dict[str, object]:
    if unknown := sorted(set(changes) - _SETTABLE):
        raise ValueError(f"these columns of a run are not set by a host: {', '.join(unknown)}")
    return {
        name: as_json(value) if name in _JSON else clean_text(value) if name in _TEXTS else value
        for name, value in changes.items()
    }


def later(cursor: Cursor, hold: Hold, reason: str, after_s: float, *, is_restart: bool) -> RunRow:
    """Start the run again, on any host, not before `after_s` seconds. is_restart: it counts as one."""
    row = move(cursor, hold, RunState.QUEUED, reason)
    cursor.execute(
        "UPDATE strategy_runs SET not_before = clock_timestamp() + %(after)s * interval '1 s', lease_host = NULL,"
        " lease_until = NULL, restarts = restarts + %(count)s, recent_restarts = ARRAY(SELECT at FROM"
        "  unnest(recent_restarts) AS at WHERE at > clock_timestamp() - %(within)s * interval '1 s')"
        "  || CASE WHEN %(count)s = 1 THEN ARRAY[clock_timestamp()] ELSE '{}'::timestamptz[] END WHERE id = %(id)s",
        {"after": after_s, "count": int(is_restart), "within": RESTARTS_WITHIN_S, "id": row.id},
    )
    return row


def recent_restarts(cursor: Cursor, run_id: UUID) -> int:
    """How often a run was started again within the last RESTARTS_WITHIN_S."""
    cursor.execute(
        "SELECT count(*) FROM strategy_runs, unnest(recent_restarts) AS at WHERE id = %s"
        " AND at > clock_timestamp() - %s * interval '1 s'",
        (run_id, RESTARTS_WITHIN_S),
    )
    return scalar(cursor, int)


def progress(cursor: Cursor, hold: Hold, *, bars_done: int, trade_date: date | None, last_bar_ns: int | None) -> None:
    """Write how far a run is. LeaseLost."""
    cursor.execute(
        "UPDATE strategy_runs SET bars_done = %s, trade_date = coalesce(%s, trade_date),"
        " last_bar_ns = coalesce(%s, last_bar_ns), version = version + 1, updated_at = clock_timestamp()"
        " WHERE id = %s AND token = %s AND lease_host IS NOT NULL RETURNING 1",
        (bars_done, trade_date, last_bar_ns, *hold),
    )
    if not there(cursor):
        raise LeaseLost(f"the run {hold.run_id} is another host's now")
    notify_watchers(cursor, str(hold.run_id))


def stand(cursor: Cursor, hold: Hold, changes: Mapping[str, Any]) -> None:
    """Write columns of a run that goes on: what has come of it so far. LeaseLost."""
    values = _values(changes)
    cursor.execute(
        f"UPDATE strategy_runs SET {', '.join(f'{name} = %({name})s' for name in values)}, version = version + 1,"
        " updated_at = clock_timestamp() WHERE id = %(_id)s AND token = %(_token)s AND lease_host IS NOT NULL RETURNING 1",
        {**values, "_id": hold.run_id, "_token": hold.token},
    )
    if not there(cursor):
        raise LeaseLost(f"the run {hold.run_id} is another host's now")
    notify_watchers(cursor, str(hold.run_id))


def beat(cursor: Cursor, holds: Sequence[Hold]) -> None:
    """The children of these runs live."""
    cursor.execute(
        "UPDATE strategy_runs r SET heartbeat_at = clock_timestamp() FROM unnest(%s::uuid[], %s::bigint[])"
        " AS mine (id, token) WHERE r.id = mine.id AND r.token = mine.token",
        ([hold.run_id for hold in holds], [hold.token for hold in holds]),
    )


class WantedNow(NamedTuple):
    """What is wanted of a run now."""

    id: UUID
    wanted: str
    wanted_by: str


def wanted(cursor: Cursor, holds: Sequence[Hold]) -> list[WantedNow]:
    """What is wanted of those of these runs that are still ours."""
    cursor.execute(
        "SELECT r.id, r.wanted, r.wanted_by FROM strategy_runs r JOIN unnest(%s::uuid[], %s::bigint[]) AS mine (id, token)"
        " ON r.id = mine.id AND r.token = mine.token AND r.lease_host IS NOT NULL",
        ([hold.run_id for hold in holds], [hold.token for hold in holds]),
    )
    return every(cursor, WantedNow)
