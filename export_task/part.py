"""One file of an export: the bars of a part of a series as of one version, read in one snapshot and written as they come."""

import contextlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from export_task import catalog, formats, tables
from export_task.places import Place, PlaceError, Sink
from nautilus.coverage.availability import Calendars
from nautilus.db.bars import bar_source, version_history
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.exports.files import FileRow, PinnedSeries, Written
from nautilus.db.market import series
from nautilus.exports import aggregated, layouts
from nautilus.exports.layouts import Overlap
from nautilus.exports.planning import PlannedSeries
from nautilus.exports.schemas import ExportRequest
from nautilus.market import slots
from nautilus.spans import Span


class VersionLost(Exception):
    """The bars of the version cannot be given any more: the series is to be written as of a newer one."""


class PartJob(NamedTuple):
    """A file to be written, and what it needs.

    about: what the file says about itself. going_on: called now and then; it raises when the export is stopped.
    """

    export_id: UUID
    request: ExportRequest
    file: FileRow
    planned: PlannedSeries
    pinned: PinnedSeries
    about: Mapping[str, str]
    row_group: int
    going_on: Callable[[], None]


def write(database: Database, place: Place, job: PartJob) -> Written:
    """Write a file and give it its final name. A part without bars becomes no file."""
    names, layout = job.planned.names, job.request.layout
    folder = layouts.folder(layout, names, job.file.part)
    sink = place.begin(folder, job.file.n)
    try:
        rows, interval = _bars(database, sink, job)
        if rows == 0:
            sink.drop()
            return Written(None, 0, None, None)
        version = job.pinned.data_version
        name = layouts.file_name(
            layout, names, job.file.part, version=version, interval=interval, ending=job.request.ending
        )
        old = _replaced(place, job, folder, name)
        sink.keep(name)
    except BaseException:
        sink.drop()
        raise
    prefix = f"{folder}/" if folder else ""
    for other in old:
        place.remove(prefix + other)
    return Written(prefix + name, rows, sink.size, sink.sha256)


def _replaced(place: Place, job: PartJob, folder: str, name: str) -> list[str]:
    try:
        return layouts.replaced(job.request.layout, name, place.names(folder))
    except Overlap as wrong:
        raise PlaceError(code="export-overlaps", detail=str(wrong)) from None


def _bars(database: Database, sink: Sink, job: PartJob) -> tuple[int, Span | None]:
    """Write all bars of the part; returns how many, and the first and the last stamp of a catalog's file."""
    rows, first, last = 0, None, None
    with database.transaction(snapshot=True) as cursor:
        source = _source(cursor, job)
        shape, convert = _shape(cursor, job)
        writer = None
        try:
            for block in tables.blocks(cursor, source, job.file.span, job.planned.frame, size=job.row_group):
                table = convert(block)
                writer = writer or formats.writer(job.request.format, sink, shape, job.request.compression)
                writer.write(table)
                rows += table.num_rows
                if job.request.layout.catalog:
                    stamps = pc.cast(table["ts_init"], pa.int64())
                    first = first if first is not None else stamps[0].as_py()
                    last = stamps[-1].as_py()
                job.going_on()
        except BaseException:
            _give_up(writer)
            raise
        if writer is not None:
            writer.close()
    return rows, (first, last) if first is not None and last is not None else None


def _give_up(writer: formats.Writer | None) -> None:
    """Close the writer of a file that is not to be. One that is left open would write the file's end when it is collected."""
    if writer is not None:
        with contextlib.suppress(OSError, pa.ArrowException):
            writer.close()


def _source(cursor: Cursor, job: PartJob) -> Callable[[Span], BarSource]:
    """From where the bars of a part are read: those of the pinned version, or those that are made of them."""
    planned = job.planned
    if planned.made is None:
        stored = _stored(cursor, job, job.file.span)
        return lambda part: stored
    frame, calendar = planned.made, Calendars().get(cursor, planned.instrument.calendar, planned.row.session)
    if calendar is None:
        raise PlaceError(
            code="export-incomplete", detail=f"the sessions of {planned.instrument.instrument_id} are gone"
        )
    finer = _stored(cursor, job, aggregated.source_window(calendar, frame, job.file.span))
    return lambda part: finer._replace(slots=slots.on_axis(calendar, frame, part))


def _stored(cursor: Cursor, job: PartJob, span: Span) -> BarSource:
    """The bars of the pinned version: those of now, where it is that still. span: of those that are needed."""
    number, version = job.planned.row.id, job.pinned.data_version
    found = series.by_ids(cursor, [number])
    if not found:
        raise PlaceError(code="unknown-series", detail=f"series {number} was removed meanwhile")
    row = found[0]
    if row.data_version == version:
        return BarSource(row.id, row.timeframe)
    if row.data_version < version or version_history.is_lost(cursor, row.id, version, span):
        raise VersionLost
    return BarSource(row.id, row.timeframe, version, bar_source.added_after(cursor, row.id, version))


def _shape(cursor: Cursor, job: PartJob) -> tuple[pa.Schema, Callable[[pa.Table], pa.Table]]:
    """The columns of the file, and how a block of bars becomes such a table."""
    layout, names = job.request.layout, job.planned.names
    if not layout.catalog:
        schema = formats.described(tables.empty(), job.about)
        return schema, lambda block: block.cast(schema)
    shape = catalog.schema(layout, names, price_digits=job.pinned.price_digits, size_digits=job.pinned.size_digits)
    closes = closing_times(cursor, job.planned, job.file.span)
    return shape, lambda block: catalog.table(block, shape, closes, names.timeframe.step_ns)


def closing_times(cursor: Cursor, planned: PlannedSeries, span: Span) -> Mapping[int, int]:
    """When the bars of a range close, by stamp, as far as the sessions are known."""
    calendar = Calendars().get(cursor, planned.instrument.calendar, planned.row.session)
    if calendar is None:
        return {}
    known = slots.in_time(calendar, planned.frame, span)
    return dict(zip(known.starts, known.closes, strict=True))
