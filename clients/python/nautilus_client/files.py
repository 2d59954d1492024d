"""Bars as files. A file gets its name when it is whole; until then it ends in `.part`."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from nautilus_client.bars import Bars
from nautilus_client.errors import NautilusError
from nautilus_client.times import text


class NoSuchForm(NautilusError, ValueError):
    """An ending of no form that can be written."""


def check(path: Path) -> None:
    """Raise what is known before any bar is fetched: no such form, no such folder, a library that is not installed."""
    if path.suffix not in _FORMS:
        raise NoSuchForm(f"{path.name}: the ending says the form: {', '.join(_FORMS)}")
    if not path.parent.is_dir():
        raise NautilusError(f"{path}: there is no folder {path.parent}")
    if path.suffix in _LIBRARIES:
        from nautilus_client import frames

        frames.library(_LIBRARIES[path.suffix], "arrow")


def save(bars: Bars, path: Path) -> Path:
    """As `Bars.save`."""
    check(path)
    write = _FORMS[path.suffix]
    part = path.with_name(path.name + ".part")
    write(bars, part)
    part.replace(path)
    return path


def rows(bars: Bars) -> Iterator[dict[str, Any]]:
    """Each bar with its stamps as RFC 3339 text."""
    for batch in bars.batches():
        names = list(batch.columns)
        for row in batch.columns.rows():
            found = dict(zip(names, row, strict=True))
            yield {
                name: text(value) if name.startswith("ts") and value is not None else value
                for name, value in found.items()
            }


def write_csv(bars: Bars, output: TextIO) -> None:
    """A table: stamps as RFC 3339, nothing where a value is not known."""
    writer = None
    for row in rows(bars):
        if writer is None:
            writer = csv.DictWriter(output, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    if writer is None:
        output.write(",".join(bars.columns) + "\n")


def write_ndjson(bars: Bars, output: TextIO) -> None:
    for row in rows(bars):
        output.write(json.dumps(row, separators=(",", ":")) + "\n")


def described(bars: Bars) -> dict[str, Any]:
    """What the bars are, and what is missing."""
    names = ("instrument_id", "timeframe", "price", "session", "version", "source", "window", "complete")
    found = {name: getattr(bars, name) for name in names}
    return {**found, "missing": [gap._asdict() for gap in bars.missing]}


def write_json(bars: Bars, output: TextIO) -> None:
    json.dump({**described(bars), "bars": list(rows(bars))}, output)
    output.write("\n")


def _text_file(write: Callable[[Bars, TextIO], None]) -> Callable[[Bars, Path], None]:
    def to_path(bars: Bars, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as output:
            write(bars, output)

    return to_path


def _parquet(bars: Bars, path: Path) -> None:
    """Part by part, so that memory stays bounded."""
    from nautilus_client import frames

    pq: Any = frames.library("pyarrow.parquet", "arrow")
    writer = None
    try:
        for batch in bars.batches():
            table = frames.arrow(batch)
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table.replace_schema_metadata(writer.schema.metadata))
    finally:
        if writer is not None:
            writer.close()


def _arrow(bars: Bars, path: Path) -> None:
    from nautilus_client import frames

    pa: Any = frames.library("pyarrow", "arrow")
    table = frames.arrow(bars)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


_LIBRARIES = {".parquet": "pyarrow.parquet", ".arrow": "pyarrow"}
_FORMS: dict[str, Callable[[Bars, Path], None]] = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".csv": _text_file(write_csv),
    ".ndjson": _text_file(write_ndjson),
    ".json": _text_file(write_json),
}
