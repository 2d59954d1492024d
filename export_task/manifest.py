"""What lies beside the bars: the manifest, coverage, a way to read them, and a word about catalogs. The manifest is written
last: where it is, the export is whole."""

import hashlib
import json
from typing import Any

from nautilus.clock import microseconds_text
from nautilus.db.bridge.status import store
from nautilus.db.cursor import Cursor
from nautilus.db.exports import files
from nautilus.db.exports.exports import ExportRow
from nautilus.exports.desk import series_json
from nautilus.exports.layouts import Layout
from nautilus.exports.report import file_json, made_series
from nautilus.exports.schemas import ExportRequest

MANIFEST = "manifest.json"
_WRITER = 1
"""Version of what is written; files of another one are not the same bytes."""
_READ_ME = """A catalog of NautilusTrader, for its line {line} alone. The other line does not read it: 1.x ends its process on
files of 2.x, and 2.x finds nothing in files of 1.x.

    from nautilus_trader.persistence.catalog import ParquetDataCatalog      # 1.x
    bars = ParquetDataCatalog("{layout}").bars()

coverage.json says which ranges of each series are missing, and why. Instruments are not part of it: write them with
your own NautilusTrader, as their classes are its own.
"""


def extras_of(cursor: Cursor, row: ExportRow, request: ExportRequest) -> list[tuple[str, bytes]]:
    """Names and contents of what lies beside the bars, in the order in which they are written."""
    rows, pinned = files.listed(cursor, row.id), files.pinned(cursor, row.id)
    about, origin = series_json(cursor, {one.series_id for one in rows}), store(cursor)
    written = [file_json(one, pinned.get(one.series_id), about[one.series_id]) for one in rows if one.path]
    for one in written:
        del one["n"]
    coverage = []
    for number, frame in dict.fromkeys((one.series_id, one.timeframe) for one in rows):
        if number in pinned:
            version, series = pinned[number], about[number]
            known = {"data_version": version.data_version, "complete": not version.missing, "missing": version.missing}
            coverage.append({**(made_series(series, frame) if frame else series), **known})
    head = {"store": str(origin.id), "source": origin.source, "export_id": str(row.id)}
    manifest = {
        **head,
        "writer": _WRITER,
        "created_at": microseconds_text(row.created_at),
        "request": row.request,
        "totals": {
            "files": len(written),
            "rows": sum(one["rows"] for one in written),
            "bytes": sum(one["bytes"] for one in written),
            "sha256": list_hash(written),
        },
        "files": written,
    }
    found = [("coverage.json", _text({**head, "series": coverage}))]
    if request.layout is Layout.HIVE and request.format == "parquet":
        found.append(("views.sql", _VIEWS.encode()))
    if request.layout.catalog:
        line = "1.x" if request.layout is Layout.CATALOG_1 else "2.x"
        found.append(("README.txt", _READ_ME.format(line=line, layout=request.layout.value).encode()))
    return [*found, (MANIFEST, _text(manifest))]


_VIEWS = """-- For DuckDB, in this folder: duckdb -init views.sql
CREATE OR REPLACE VIEW bars AS
    SELECT * FROM read_parquet('**/*.parquet', hive_partitioning = true);
"""


def list_hash(written: list[dict[str, Any]]) -> str:
    """A hash of all files: of a line with hash and path for each, in order of path, as sha256sum writes them."""
    lines = sorted(f"{one['sha256']}  {one['path']}\n" for one in written)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _text(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
