"""What the routes of exports do: begin one, show them, stop one, remove one."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from nautilus.auth.principal import Principal
from nautilus.clock import datetime_of, rfc3339
from nautilus.coverage.availability import Calendars
from nautilus.db.bars.read import snapshot_context
from nautilus.db.bridge.status import machine_now
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.exports import exports, files
from nautilus.db.exports.exports import ExportRow
from nautilus.db.market import instruments, series
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.exports import planning
from nautilus.exports.report import PATH, export_json, file_json
from nautilus.exports.schemas import ExportRequest
from nautilus.exports.targets import Allowed, checked

MOST_OPEN = 5
"""Exports that one caller may have open; one at a time is written."""


class Begun(NamedTuple):
    """An export that is queued, or the answer to a dry run. again: it was there already, by its idempotency key."""

    answer: Mapping[str, Any]
    export_id: UUID | None = None
    again: bool = False


class ExportDesk:
    """Exports of one store."""

    def __init__(self, database: Database, allowed: Allowed) -> None:
        self._db = database
        self._allowed = allowed

    def begin(self, request: ExportRequest, caller: Principal, *, key: str) -> Begun:
        """Queue an export, or only say what it would come to. Conflict when it must be complete and is not."""
        export_id = uuid4()
        target = checked(request.target, self._allowed, export_id)
        with self._db.transaction(snapshot=True) as cursor:
            found = planning.planned(cursor, request)
            context = snapshot_context(cursor)
            if request.dry_run:
                return Begun(planning.estimate(cursor, context, request, found))
            if request.require == "complete":
                known = Calendars()
                views = {planning.name_of(one): planning.availability_of(cursor, context, known, one) for one in found}
                planning.require_complete({name: planning.gaps_of(view) for name, view in views.items()})
        return self._queue(request, caller, target, export_id=export_id, found=found, key=key)

    def _queue(
        self,
        request: ExportRequest,
        caller: Principal,
        target: Mapping[str, Any],
        *,
        export_id: UUID,
        found: list[planning.PlannedSeries],
        key: str,
    ) -> Begun:
        wanted = request_json(request)
        with self._db.transaction() as cursor:
            before = exports.of_key(cursor, caller.id, key) if key else None
            if before is not None:
                if before.request != wanted:
                    raise InvalidInput(
                        "Idempotency-Key: this key was used for another request; take a new one",
                        code="idempotency-key-reused",
                    )
                return Begun(self._shown(cursor, before), before.id, again=True)
            if exports.open_of(cursor, caller.id) >= MOST_OPEN:
                raise Conflict(
                    f"{MOST_OPEN} exports of yours are not over yet; stop one, or wait", code="too-many-exports"
                )
            exports.create(cursor, export_id, owner=caller.id, key=key or None, request=wanted, target=target)
            files.add(cursor, export_id, planning.files_of(request, found))
            return Begun(self._shown(cursor, _mine(cursor, export_id, caller)), export_id)

    def _shown(self, cursor: Cursor, row: ExportRow) -> dict[str, Any]:
        return export_json(row, exports.progress(cursor, [row.id]).get(row.id), datetime_of(machine_now(cursor)))

    def listed(self, caller: Principal, *, limit: int, before: UUID | None) -> Mapping[str, Any]:
        """The caller's exports, an administrator's all, the newest first."""
        with self._db.transaction(snapshot=True) as cursor:
            rows = exports.listed(cursor, None if caller.admin else caller.id, limit=limit, before=before)
            done, now = exports.progress(cursor, [row.id for row in rows]), datetime_of(machine_now(cursor))
        shown = [export_json(row, done.get(row.id), now) for row in rows]
        return {"exports": shown, "next_before": str(rows[-1].id) if len(rows) == limit else None}

    def one(self, export_id: UUID, caller: Principal) -> Mapping[str, Any]:
        with self._db.transaction(snapshot=True) as cursor:
            return self._shown(cursor, _mine(cursor, export_id, caller))

    def files(self, export_id: UUID, caller: Principal, *, after: int, limit: int) -> Mapping[str, Any]:
        """The files of an export, in the order in which they are written."""
        with self._db.transaction(snapshot=True) as cursor:
            row = _mine(cursor, export_id, caller)
            rows = files.listed(cursor, export_id, after=after, limit=limit)
            pinned, about = files.pinned(cursor, export_id), series_json(cursor, {one.series_id for one in rows})
        base = f"{PATH}/{export_id}/files/" if row.target.get("kept") and row.state != "expired" else ""
        shown = [file_json(one, pinned.get(one.series_id), about[one.series_id], base) for one in rows]
        return {"files": shown, "next_after": rows[-1].n if len(rows) == limit else None}

    def stop(self, export_id: UUID, caller: Principal) -> Mapping[str, Any]:
        with self._db.transaction() as cursor:
            _mine(cursor, export_id, caller)
            exports.stop(cursor, export_id)
            return self._shown(cursor, _mine(cursor, export_id, caller))

    def remove(self, export_id: UUID, caller: Principal) -> None:
        """Let the files that are kept for download go. Conflict while the export is not over."""
        with self._db.transaction() as cursor:
            row = _mine(cursor, export_id, caller)
            if row.finished_at is None:
                raise Conflict("the export is not over; stop it first", code="export-not-over")
            if row.target.get("kept"):
                exports.expire_now(cursor, export_id)

    def file(self, export_id: UUID, path: str, caller: Principal) -> "StoredFile":
        """Where a file lies that was written for download. NotFound: there is no such file."""
        with self._db.transaction(snapshot=True) as cursor:
            row = _mine(cursor, export_id, caller)
            found = files.by_path(cursor, export_id, path)
            extra = row.extras.get(path)
        if row.state != "expired" and row.target.get("kept"):
            if found is not None and found.sha256 is not None:
                return StoredFile(row.target, path, found.sha256, found.bytes or 0)
            if extra is not None:
                return StoredFile(row.target, path, extra["sha256"], extra["bytes"])
        raise NotFound(f"there is no file {path[:200]!r} to download in this export", code="unknown-file")


class StoredFile(NamedTuple):
    """A file that was written: where its export lies, its path there, and what it holds."""

    target: Mapping[str, Any]
    path: str
    sha256: str
    size: int


def _mine(cursor: Cursor, export_id: UUID, caller: Principal) -> ExportRow:
    """An export of the caller, or, for an administrator, of anybody. NotFound: there is none, or it is somebody else's."""
    row = exports.by_id(cursor, export_id)
    if row is None or not (caller.admin or row.owner == caller.id):
        raise NotFound(f"there is no export {export_id}", code="unknown-export")
    return row


def series_json(cursor: Cursor, ids: set[int]) -> dict[int, dict[str, Any]]:
    """What series are, by number; those that are gone by their number alone."""
    found: dict[int, dict[str, Any]] = {number: {"series_id": number} for number in ids}
    rows = series.by_ids(cursor, sorted(ids))
    about = instruments.several(cursor, {row.con_id for row in rows})
    for row in rows:
        one = about[row.con_id]
        found[row.id] |= {"con_id": row.con_id, "instrument_id": one.instrument_id, "timeframe": row.timeframe.name}
        found[row.id] |= {"price": row.price, "session": row.session}
    return found


def request_json(request: ExportRequest) -> dict[str, Any]:
    """The request as it was put, with times as text."""
    given = request.model_dump(mode="json", exclude_none=True)
    return {name: rfc3339(value) if name in ("start", "end") else value for name, value in given.items()}
