"""Runs of strategies: how functions write and find them. The host moves them on (leases.py)."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import every, insert_rows, one, one_or_none
from nautilus.db.strategies.notifications import notify
from nautilus.strategies.states import Mode, RunState, Wanted

ORDERS_OF = "run:"
"""Before a run's id: the principal of its orders."""


class RunRow(NamedTuple):
    """A row of `strategy_runs`. series: list of {con_id, instrument_id, timeframe, price, session}. options: what was
    requested, without defaults. start_ns, end_ns: of a back-test, on the axis of its series. data_versions: series id, as a
    text -> version. metrics: None until there are any. key_id: the API key that began it, or the sign-in that did; None: a
    sign-in with a password."""

    id: UUID
    owner: str
    name: str
    config_id: UUID | None
    sweep_id: UUID | None
    sweep_n: int | None
    mode: str
    template_id: str
    template_hash: str
    parameters: Mapping[str, Any]
    series: Sequence[Mapping[str, Any]]
    con_ids: Sequence[int]
    account: str
    options: Mapping[str, Any]
    start_ns: int | None
    end_ns: int | None
    as_of: Mapping[str, int] | None
    wanted: str
    wanted_by: str
    state: str
    reason: str
    engine: str
    code_hash: str
    data_versions: Mapping[str, int]
    bars_done: int
    bars_total: int
    trade_date: date | None
    last_bar_ns: int | None
    orders: int
    fills: int
    denied: int
    rejected: int
    fills_hash: str
    metrics: Mapping[str, Any] | None
    notes: Sequence[str]
    lease_host: str | None
    token: int
    heartbeat_at: datetime | None
    restarts: int
    correlation_id: str
    key_id: int | None
    version: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime

    @property
    def principal(self) -> str:
        """Who makes its orders, as `orders.principal` has it."""
        return f"{ORDERS_OF}{self.id}"

    @property
    def progress(self) -> float | None:
        """Of a back-test, 0 to 1; None until it is known how many bars there are."""
        return min(1.0, self.bars_done / self.bars_total) if self.bars_total else None


COLUMNS = ", ".join(RunRow._fields)


class NewRun(NamedTuple):
    """A run as it is requested. series, options: see RunRow. account: of a live run."""

    id: UUID
    owner: str
    mode: Mode
    template_id: str
    template_hash: str
    parameters: Mapping[str, Any]
    series: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    name: str = ""
    config_id: UUID | None = None
    sweep_id: UUID | None = None
    sweep_n: int | None = None
    account: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    as_of: Mapping[str, int] | None = None
    correlation_id: str = ""
    key_id: int | None = None


def insert(cursor: Cursor, new: NewRun) -> RunRow:
    """A run in state `queued`; the host is woken when the transaction commits.

    UniqueViolation, of a live run: another one has a contract of that account (`strategy_claims`).
    """
    con_ids = list(dict.fromkeys(int(each["con_id"]) for each in new.series))
    cursor.execute(
        "INSERT INTO strategy_runs (id, owner, name, config_id, sweep_id, sweep_n, mode, template_id, template_hash,"
        " parameters, series, con_ids, account, options, start_ns, end_ns, as_of, wanted, wanted_by, state, correlation_id,"
        " key_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        f" RETURNING {COLUMNS}",
        (
            *(new.id, new.owner, clean_text(new.name), new.config_id, new.sweep_id, new.sweep_n, new.mode.value),
            *(new.template_id, new.template_hash, as_json(new.parameters), as_json(new.series), con_ids, new.account),
            *(as_json(new.options), new.start_ns, new.end_ns, None if new.as_of is None else as_json(new.as_of)),
            *(Wanted.RUNNING.value, new.owner, RunState.QUEUED.value, new.correlation_id, new.key_id),
        ),
    )
    row = one(cursor, RunRow)
    if new.mode is Mode.LIVE:
        insert_rows(
            cursor,
            "strategy_claims",
            {"account": "text", "con_id": "bigint", "run_id": "uuid"},
            [(new.account, con_id, new.id) for con_id in sorted(con_ids)],
        )
    notify(cursor, str(new.id))
    return row


def read(cursor: Cursor, run_id: UUID, *, lock: bool = False) -> RunRow | None:
    """A run. lock: nobody else changes it until the transaction ends."""
    cursor.execute(
        f"SELECT {COLUMNS} FROM strategy_runs WHERE id = %s{' FOR NO KEY UPDATE' if lock else ''}", (run_id,)
    )
    return one_or_none(cursor, RunRow)


def of_sweep(cursor: Cursor, sweep_id: UUID) -> list[RunRow]:
    """The runs of a sweep, in the order of its combinations."""
    cursor.execute(f"SELECT {COLUMNS} FROM strategy_runs WHERE sweep_id = %s ORDER BY sweep_n", (sweep_id,))
    return every(cursor, RunRow)


def want(cursor: Cursor, run_id: UUID, wanted: Wanted, by: str) -> RunRow:
    """Write what is wanted of a run that is not over, and wake the host. The caller holds its row (read with lock) and has
    checked `may_want`."""
    cursor.execute(
        "UPDATE strategy_runs SET wanted = %s, wanted_by = %s, version = version + 1, updated_at = clock_timestamp()"
        f" WHERE id = %s RETURNING {COLUMNS}",
        (wanted.value, by, run_id),
    )
    row = one(cursor, RunRow)
    notify(cursor, str(run_id))
    return row
