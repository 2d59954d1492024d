"""Exports as answers show them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from nautilus.clock import microseconds_text, rfc3339
from nautilus.db.exports.exports import ExportRow, Progress
from nautilus.db.exports.files import FileRow, PinnedSeries
from nautilus.exports.planning import eta_s

PATH = "/api/v1/market-data/exports"


def export_json(row: ExportRow, progress: Progress | None, now: datetime) -> dict[str, Any]:
    """An export with its progress; now: machine time."""
    files, done = (progress.files, progress.files_done) if progress else (0, 0)
    seconds = (now - row.started_at).total_seconds() if row.started_at and row.finished_at is None else 0.0
    return {
        "export_id": str(row.id),
        "status": row.state,
        "request": row.request,
        "progress": {
            "files_total": files,
            "files_done": done,
            "bars_done": progress.bars if progress else 0,
            "bytes_done": progress.bytes if progress else 0,
            "pct": round(100 * done / files, 1) if files else 0.0,
        },
        "eta_seconds": eta_s(done, files, seconds) if row.state == "running" else None,
        "problem": row.problem,
        "manifest": f"{PATH}/{row.id}/files/manifest.json" if "manifest.json" in row.extras else None,
        "extras": [{"path": path, **about} for path, about in row.extras.items()],
        "created_at": microseconds_text(row.created_at),
        "started_at": _time(row.started_at),
        "finished_at": _time(row.finished_at),
        "expires_at": _time(row.expires_at),
    }


def file_json(row: FileRow, pinned: PinnedSeries | None, series: Mapping[str, Any], base: str = "") -> dict[str, Any]:
    """A file of an export, as the manifest and the API show it. series: what its series is. base: address of downloads."""
    gaps = _within(pinned.missing, row) if pinned is not None else None
    if row.timeframe is not None:
        series = made_series(series, row.timeframe)
    shown = {
        "n": row.n,
        "path": row.path,
        "series": series,
        "part": row.part,
        "start": rfc3339(row.start_ts),
        "end": rfc3339(row.end_ts),
        "rows": row.row_count,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "data_version": row.data_version,
        "complete": not gaps if gaps is not None else None,
        "missing": gaps,
    }
    return shown | ({"url": f"{base}{quote(row.path)}"} if base and row.path else {})


def made_series(series: Mapping[str, Any], timeframe: str) -> Mapping[str, Any]:
    """A series whose bars are made of those of another timeframe, as answers show it."""
    return {**series, "timeframe": timeframe, "made_of": series.get("timeframe")}


def _within(gaps: Sequence[Mapping[str, Any]], row: FileRow) -> list[Mapping[str, Any]]:
    """Those of the gaps of a series that touch a file's range. Texts of one form compare as times do."""
    start, end = rfc3339(row.start_ts), rfc3339(row.end_ts)
    return [gap for gap in gaps if gap["start"] < end and gap["end"] > start]


def _time(moment: datetime | None) -> str | None:
    return microseconds_text(moment) if moment is not None else None
