"""Takes exports one by one and writes their files, one series after the other, each as of one version.

What is written stands in the database: a task that takes over after a crash goes on behind the last file.
"""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from export_task import part
from export_task.bucket import BucketPlace
from export_task.manifest import extras_of
from export_task.part import PartJob, VersionLost
from export_task.pinning import pin
from export_task.places import FolderPlace, Place, PlaceError
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.exports import exports, files
from nautilus.db.exports.exports import ExportRow
from nautilus.db.exports.files import FileRow, PinnedSeries
from nautilus.db.market import instruments, series
from nautilus.errors import NautilusError
from nautilus.exports.planning import PlannedSeries
from nautilus.exports.schemas import ExportRequest
from nautilus.market.timeframes import timeframe
from nautilus.settings.exports import ExportTaskSettings

_TRIES = 3
"""So often a series is begun anew when the bars of its version are forgotten meanwhile."""
_STATEMENT_MS = 120_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stopped(Exception):
    """Somebody has stopped the export."""


class Ends(Exception):
    """The process ends: another one goes on."""


class Lost(Exception):
    """Another task works on the export: this one was silent for too long."""


class Task:
    """One export task. `run` returns after `ends` is set."""

    def __init__(self, settings: ExportTaskSettings, log: logging.Logger, ends: threading.Event) -> None:
        self._settings = settings
        self._log = log
        self._ends = ends
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns()}"
        url = settings.database_url.get_secret_value()
        self.db = Database(
            url, name="nautilus-exports", size=settings.database_pool, statement_timeout_ms=_STATEMENT_MS
        )
        self._held_at = 0.0

    def close(self) -> None:
        self.db.close()

    def run(self) -> None:
        """Take exports until the process is to end. While the database is away it waits."""
        while not self._ends.is_set():
            busy = False
            try:
                busy = self.step()
            except NautilusError as away:
                self._log.warning("export-task-waits", extra={"reason": str(away).splitlines()[0] if str(away) else ""})
            if not busy:
                self._ends.wait(self._settings.export_poll_s)

    def step(self) -> bool:
        """Write one export, as far as it goes. False: there was none."""
        self._remove_expired()
        with self.db.transaction() as cursor:
            row = exports.take(cursor, self._holder, self._settings.export_lease_s)
        if row is None:
            return False
        self._held_at = time.monotonic()
        self._log.info("export-begins", extra={"export_id": str(row.id), "state": row.state})
        try:
            extras = self._write(row)
        except Stopped:
            self._finish(row, "stopped")
        except Ends:
            with self.db.transaction() as cursor:
                exports.let_go(cursor, row.id, self._holder)
        except Lost:
            self._log.warning("export-lost", extra={"export_id": str(row.id)})
        except PlaceError as wrong:
            self._finish(row, "failed", problem={"code": wrong.code, "detail": wrong.detail})
        except NautilusError as wrong:
            if wrong.retry_after_s is not None or wrong.code == "database-unavailable":
                raise
            self._finish(row, "failed", problem={"code": wrong.code, "detail": wrong.detail, **wrong.extra})
        except OSError as wrong:
            code = "disk-full" if wrong.errno in _FULL else "target-unusable"
            detail = f"the target cannot be written: {os.strerror(wrong.errno) if wrong.errno else wrong}"
            self._finish(row, "failed", problem={"code": code, "detail": detail})
        else:
            self._finish(row, "done", extras=extras)
        return True

    def _finish(self, row: ExportRow, state: str, **more: Any) -> None:
        kept = row.target.get("kept")
        days = self._settings.export_days if kept else None
        with self.db.transaction() as cursor:
            exports.finish(cursor, row.id, self._holder, state=state, keep_days=days, **more)
        self._log.info("export-ends", extra={"export_id": str(row.id), "state": state, **more.get("problem", {})})

    # ---- one export --------------------------------------------------------------------------------------------------

    def _place(self, row: ExportRow) -> Place:
        if row.target["kind"] == "s3":
            where = self._settings
            return BucketPlace(row.target, endpoint=where.export_endpoint, region=where.export_region)
        allowed = {self._settings.export_dir} if row.target.get("kept") else set(self._settings.export_roots)
        if row.target["root"] not in allowed:
            raise PlaceError(code="target-unusable", detail=f"this task may not write below {row.target['root']}")
        os.makedirs(row.target["root"], exist_ok=True)
        return FolderPlace(row.target)

    def _write(self, row: ExportRow) -> Mapping[str, Any]:
        """Write what is not written yet, and the manifest last; returns the files that hold no bars."""
        if row.state == "stopping":  # while no task worked on it
            raise Stopped
        place, request = self._place(row), ExportRequest.model_validate(row.request)
        self._going_on(row)
        with self.db.transaction(snapshot=True) as cursor:
            numbers = list(dict.fromkeys(one.series_id for one in files.listed(cursor, row.id)))
        for number in numbers:
            self._write_series(row, request, place, number)
        with self.db.transaction(snapshot=True) as cursor:
            texts = extras_of(cursor, row, request)
        return {name: self._put(place, name, text) for name, text in texts}

    def _write_series(self, row: ExportRow, request: ExportRequest, place: Place, number: int) -> None:
        for _ in range(_TRIES):
            try:
                self._write_files(row, request, place, number)
                return
            except VersionLost:
                self._begin_anew(row, place, number)
        raise PlaceError(
            code="version-forgotten", detail=f"bars of series {number} are forgotten faster than they are written"
        )

    def _write_files(self, row: ExportRow, request: ExportRequest, place: Place, number: int) -> None:
        with self.db.transaction(snapshot=True) as cursor:
            rows = [one for one in files.listed(cursor, row.id) if one.series_id == number]
            planned, pinned = _planned(cursor, rows, number), files.pinned(cursor, row.id).get(number)
        if pinned is None:
            pinned = pin(self.db, row, request, list(planned.values()))
        for one in rows:
            if one.written_at is None or not _there(place, one, pinned):
                self._write_file(row, request, place, one, planned=planned[one.timeframe], pinned=pinned)

    def _write_file(
        self,
        row: ExportRow,
        request: ExportRequest,
        place: Place,
        one: FileRow,
        *,
        planned: PlannedSeries,
        pinned: PinnedSeries,
    ) -> None:
        about, rows = _about(planned, pinned), self._settings.export_row_group
        job = PartJob(row.id, request, one, planned, pinned, about, rows, lambda: self._going_on(row))
        written = part.write(self.db, place, job)
        with self.db.transaction() as cursor:
            self._hold(cursor, row)
            files.set_written(cursor, row.id, one.n, version=pinned.data_version, written=written)
        self._log.info(
            "export-file-written", extra={"export_id": str(row.id), "path": written.path, "rows": written.rows}
        )

    def _begin_anew(self, row: ExportRow, place: Place, number: int) -> None:
        """Let a series be written as of a newer version: none of its files stays."""
        with self.db.transaction() as cursor:
            self._hold(cursor, row)
            gone = [one for one in files.listed(cursor, row.id) if one.series_id == number]
            for one in gone:
                files.forget_written(cursor, row.id, one.n)
            files.unpin(cursor, row.id, number)
        for path in [one.path for one in gone if one.path]:
            place.remove(path)
        self._log.warning("export-series-anew", extra={"export_id": str(row.id), "series_id": number})

    def _put(self, place: Place, name: str, text: bytes) -> Mapping[str, Any]:
        sink = place.begin("", 0)
        try:
            sink.write(text)
            sink.keep(name)
        except BaseException:
            sink.drop()
            raise
        return {"bytes": sink.size, "sha256": sink.sha256}

    # ---- whether it goes on ------------------------------------------------------------------------------------------

    def _going_on(self, row: ExportRow) -> None:
        """Hold the export, a few times in each lease. Stopped, Ends or Lost: it does not go on here."""
        if self._ends.is_set():
            raise Ends
        if time.monotonic() - self._held_at < min(1.0, self._settings.export_lease_s / 5):
            return
        with self.db.transaction() as cursor:
            self._hold(cursor, row)

    def _hold(self, cursor: Cursor, row: ExportRow) -> None:
        state = exports.hold(cursor, row.id, self._holder, self._settings.export_lease_s)
        if state is None:
            raise Lost
        self._held_at = time.monotonic()
        if state == "stopping":
            raise Stopped

    def _remove_expired(self) -> None:
        """Remove the files of exports whose time is over."""
        with self.db.transaction() as cursor:
            rows = exports.expired(cursor)
        for row in rows:
            with self.db.transaction(snapshot=True) as cursor:
                paths = [one.path for one in files.listed(cursor, row.id) if one.path] + list(row.extras)
            try:
                self._place(row).remove_all(paths)
            except (PlaceError, OSError) as wrong:
                self._log.warning("export-not-removed", extra={"export_id": str(row.id), "reason": str(wrong)})
                with self.db.transaction() as cursor:
                    exports.expire_later(cursor, row.id)
                continue
            with self.db.transaction() as cursor:
                exports.set_expired(cursor, row.id)
            self._log.info("export-removed", extra={"export_id": str(row.id), "files": len(paths)})


def _about(planned: PlannedSeries, pinned: PinnedSeries) -> Mapping[str, str]:
    """What a file says about itself."""
    made = {"made_of": planned.row.timeframe.name} if planned.made else {}
    return {
        "instrument_id": planned.instrument.instrument_id,
        "timeframe": planned.frame.name,
        "price": planned.row.price,
        "session": planned.row.session,
        "data_version": str(pinned.data_version),
        **made,
    }


def _planned(cursor: Cursor, rows: list[FileRow], number: int) -> dict[str | None, PlannedSeries]:
    """A series as its files hold it, by the timeframe of those that are made of it; None: its own."""
    found = series.by_ids(cursor, [number])
    if not found:
        raise PlaceError(code="unknown-series", detail=f"series {number} was removed meanwhile")
    about = instruments.several(cursor, [found[0].con_id])
    planned = {}
    for name in dict.fromkeys(one.timeframe for one in rows):
        parts = [one.span for one in rows if one.timeframe == name]
        made = timeframe(name) if name is not None else None
        planned[name] = PlannedSeries(found[0], about[found[0].con_id], (parts[0][0], parts[-1][1]), made)
    return planned


def _there(place: Place, one: FileRow, pinned: PinnedSeries) -> bool:
    """Whether a file that was written is still there; a part without bars has none."""
    return one.data_version == pinned.data_version and (one.path is None or place.size(one.path) == one.bytes)
