"""Whose runs, sweeps and configurations a caller sees, and what the caller wants of a run."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.auth.scopes import ALL_ACCOUNTS
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.strategies import configs, listing, runs, sweeps, templates
from nautilus.db.strategies.changed_data import ChangedSeries, changed
from nautilus.db.strategies.configs import ConfigRow
from nautilus.db.strategies.listing import LastListed, Readable
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.sweeps import SweepRow
from nautilus.db.strategies.templates import TemplateRow
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.strategies.states import OVER, Mode, RunState, Wanted, may_want

BACKTESTS: tuple[str, ...] = (Mode.BACKTEST.value,)
ON_LIVE_DATA: tuple[str, ...] = (Mode.PAPER.value, Mode.LIVE.value)
ALL_MODES: tuple[str, ...] = (*BACKTESTS, *ON_LIVE_DATA)


def readable(caller: Principal) -> Readable:
    """Whose rows a caller reads: the own ones, and live runs of accounts that the caller may use; an administrator all."""
    if caller.admin:
        return Readable(None)
    return Readable(caller.id, sorted(caller.accounts - {ALL_ACCOUNTS}))


def may_read(caller: Principal, row: RunRow) -> bool:
    return caller.admin or row.owner == caller.id or (row.account != "" and caller.may_use(row.account))


def visible_run(cursor: Cursor, run_id: UUID, caller: Principal, modes: Sequence[str], *, lock: bool = False) -> RunRow:
    """A run that the caller may read. NotFound for others, so that nobody learns that they exist."""
    row = runs.read(cursor, run_id, lock=lock)
    if row is None or row.mode not in modes or not may_read(caller, row):
        what = "back-test" if modes == BACKTESTS else "run"
        raise NotFound(f"there is no {what} {run_id}", code="run-not-found")
    return row


def visible_sweep(cursor: Cursor, sweep_id: UUID, caller: Principal) -> SweepRow:
    row = sweeps.read(cursor, sweep_id)
    if row is None or not (caller.admin or row.owner == caller.id):
        raise NotFound(f"there is no sweep {sweep_id}", code="run-not-found")
    return row


def visible_config(cursor: Cursor, config_id: UUID, caller: Principal, *, lock: bool = False) -> ConfigRow:
    """A configuration that is not archived."""
    row = listing.lock_config(cursor, config_id) if lock else configs.read(cursor, config_id)
    if row is None or row.archived_at is not None or not (caller.admin or row.owner == caller.id):
        raise NotFound(f"there is no configuration {config_id}", code="config-not-found")
    return row


def usable_template(cursor: Cursor, template_id: str, field: str = "template") -> TemplateRow:
    """A template that can be run. InvalidInput names those there are; Conflict: it cannot be used, and why."""
    row = templates.read(cursor, template_id)
    if row is None:
        known = [one.id for one in templates.every_template(cursor) if one.error is None]
        raise InvalidInput.field(field, f"{template_id!r} is not a template", known)
    if row.error is not None:
        raise Conflict(f"the template {template_id} cannot be used: {row.error}", code="template-unusable")
    return row


def changes_of(cursor: Cursor, row: RunRow) -> list[ChangedSeries] | None:
    """Series of a back-test whose bars have changed since it read them; None: it has read none."""
    if row.start_ns is None or row.end_ns is None or not row.data_versions:
        return None
    versions = {int(series_id): version for series_id, version in row.data_versions.items()}
    return changed(cursor, versions, (row.start_ns, row.end_ns))


def last_run(cursor: Cursor, run_id: UUID | None, caller: Principal, modes: Sequence[str]) -> LastListed | None:
    """The last row of the page before."""
    if run_id is None:
        return None
    row = visible_run(cursor, run_id, caller, modes)
    return LastListed(row.created_at, row.id)


class Control(NamedTuple):
    """What somebody may want of a run, in words. may_repeat: the same once more changes nothing and is no mistake."""

    wanted: Wanted
    verb: str


STOP, PAUSE = Control(Wanted.STOPPED, "stopped"), Control(Wanted.PAUSED, "paused")
RESUME, FLATTEN = Control(Wanted.RUNNING, "resumed"), Control(Wanted.FLAT, "flattened")


class StrategyDesk:
    """Writes what callers want of runs that there are."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def want(self, run_id: UUID, control: Control, caller: Principal, modes: Sequence[str]) -> RunRow:
        """Conflict when the run is over, or cannot be wanted so in its state."""
        with self._db.transaction() as cursor:
            row = visible_run(cursor, run_id, caller, modes, lock=True)
            self._require_owner(row, caller)
            if row.state in OVER:
                raise Conflict(f"it cannot be {control.verb}: it is over ({row.state})", code="run-over")
            if not may_want(Mode(row.mode), RunState(row.state), Wanted(row.wanted), control.wanted):
                raise Conflict(
                    f"it cannot be {control.verb}: it is {row.state}, and wanted {row.wanted}",
                    code="run-wanted-otherwise",
                )
            if row.wanted == control.wanted:
                return row
            return runs.want(cursor, run_id, control.wanted, caller.id)

    def _require_owner(self, row: RunRow, caller: Principal) -> None:
        """A live run may be stopped by whoever may trade its account; every other run by its owner."""
        if row.owner != caller.id and not caller.admin:
            caller.require("orders:write")
            caller.require_account(row.account)

    def cancel_sweep(self, sweep_id: UUID, caller: Principal) -> tuple[SweepRow, list[RunRow]]:
        """Want all back-tests of a sweep stopped that are not over."""
        with self._db.transaction() as cursor:
            visible_sweep(cursor, sweep_id, caller)
            listing.cancel_sweep(cursor, sweep_id)
            for run in runs.of_sweep(cursor, sweep_id):
                row = runs.read(cursor, run.id, lock=True)
                if row is not None and row.state not in OVER and row.wanted != Wanted.STOPPED:
                    runs.want(cursor, row.id, Wanted.STOPPED, caller.id)
            return visible_sweep(cursor, sweep_id, caller), runs.of_sweep(cursor, sweep_id)
