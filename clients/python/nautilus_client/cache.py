"""Bars of whole months, kept on this machine.

A month is kept when it was complete, with its version. At the next reading the server says the version of now: where it is
another one, the month still counts if none of its bars was revised since then, and it has as many bars. Both are small requests.
"""

import hashlib
import json
import os
import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from nautilus_client import routes
from nautilus_client.columns import USUAL, Column, Columns, join_columns, typecode
from nautilus_client.connection import Connection
from nautilus_client.pages import Info, merged_info
from nautilus_client.reading import Progress, Query, Reader
from nautilus_client.times import at, months, to_ns

LIMIT_BYTES = 2_000_000_000
_MAGIC = b"nautilus-bars 1\n"
_ENDING = ".bars"


class Month(NamedTuple):
    """A month as it was kept."""

    info: Mapping[str, Any]
    columns: Columns


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where they lie: NAUTILUS_CACHE_DIR, else `nautilus` in XDG_CACHE_HOME, else in ~/.cache."""
    named = environment.get("NAUTILUS_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    return Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nautilus"


def usable(query: Query) -> bool:
    """True for readings of which months can be kept: both ends are given, and the bars are those of now."""
    given = query.parameters
    plain = not given.get("as_of") and not given.get("live") and query.limit is None and query.wait is None
    return plain and None not in (given.get("start"), given.get("end")) and set(query.fields) <= set(USUAL)


def read(connection: Connection, query: Query, progress: Progress | None = None) -> tuple[Info, Columns] | None:
    """The bars of a query, whole months from here where they are still right. None where it has to be read without."""
    if not usable(query):
        return None
    start, end = int(query.parameters["start"]), int(query.parameters["end"])
    now = _coverage(connection, query, start, end)
    if not now["summary"]["complete"]:
        return None
    series = _series_folder(connection, now)
    wide = query._replace(fields=USUAL)
    parts: list[tuple[Info, Columns]] = []
    for low, high in months(start, end):
        found = None
        if _whole(low, high):
            found = _kept(connection, wide, series, version=now["data_version"], span=(low, high))
        if found is None:
            reader = Reader(connection.send, wide.between(low, high), progress)
            found = reader.all(reader.first())
            if _whole(low, high) and found[0].complete:
                _write(_path(series, low), *found)
        parts.append(found)
    if {info.version for info, _ in parts} != {now["data_version"]} or len({info.source for info, _ in parts}) > 1:
        return None
    joined = join_columns([columns for _, columns in parts], USUAL)
    info = merged_info([info for info, _ in parts], (to_ns(now["window"]["start"]), to_ns(now["window"]["end"])))
    _shrink(folder())
    return info, Columns({name: joined[name] for name in query.fields})


def _whole(low: int, high: int) -> bool:
    """True for a month from its first to the first of the next."""
    first, last = at(low), at(high)
    return (first.day, first.hour, first.minute, last.day, last.hour, last.minute) == (1, 0, 0, 1, 0, 0) and low < high


def _coverage(connection: Connection, query: Query, low: int, high: int) -> dict[str, Any]:
    known = routes.ROUTES["coverage"].query
    named = {name: value for name, value in query.parameters.items() if name in known and name not in ("start", "end")}
    return connection.call("coverage", **named, start=low, end=high)


def _kept(
    connection: Connection, query: Query, series: Path, *, version: int, span: tuple[int, int]
) -> tuple[Info, Columns] | None:
    path = _path(series, span[0])
    found = _load(path)
    if found is None:
        return None
    info = Info(**{**found.info, "window": span, "missing": [], "rest": {}})
    if info.version != version:
        if not _unchanged(connection, query, found, version=version, span=span):
            return None
        info = info._replace(version=version)
        _write(path, info, found.columns)
    path.touch()
    return info, found.columns


def _unchanged(connection: Connection, query: Query, found: Month, *, version: int, span: tuple[int, int]) -> bool:
    """True when no bar of the month was revised, came or went since it was kept."""
    now = _coverage(connection, query, *span)
    if now["data_version"] != version or now["summary"]["bars"] != found.columns.size or not now["summary"]["complete"]:
        return False
    known = routes.ROUTES["revisions"].query
    named = {name: value for name, value in query.parameters.items() if name in known and name not in ("start", "end")}
    page = connection.call(
        "revisions", **named, start=span[0], end=span[1], since_version=found.info["version"], limit=1
    )
    return page["data_version"] == version and not page["revisions"]


# ---- files -----------------------------------------------------------------------------------------------------------


def _series_folder(connection: Connection, now: Mapping[str, Any]) -> Path:
    server = hashlib.sha256(connection.transport.url.encode()).hexdigest()[:12]
    series = "-".join(str(now[name]) for name in ("timeframe", "price", "session"))
    return folder() / server / quote(now["source"], safe="") / quote(now["instrument_id"], safe="") / series


def _path(series: Path, low: int) -> Path:
    return series / f"{at(low):%Y-%m}{_ENDING}"


def _write(path: Path, info: Info, columns: Columns) -> None:
    """Whole or not at all. A disk without room costs nothing but the speed."""
    kept = {name: value for name, value in info._asdict().items() if name not in ("window", "missing", "rest")}
    shape = {name: None if columns[name].mask is None else hex(columns[name].mask or 0) for name in USUAL}
    header = json.dumps({"info": kept, "masks": shape, "size": columns.size, "order": sys.byteorder}).encode()
    body = header + b"\n" + b"".join(columns[name].data.tobytes() for name in USUAL)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.write_bytes(_MAGIC + hashlib.sha256(body).digest() + body)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)


def _load(path: Path) -> Month | None:
    """The month; None where it is not there, or not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + 32
    if not data.startswith(_MAGIC) or hashlib.sha256(data[start:]).digest() != data[len(_MAGIC) : start]:
        return None
    ends = data.index(b"\n", start)
    header = json.loads(data[start:ends])
    if header["order"] != sys.byteorder:
        return None
    columns, offset, size = {}, ends + 1, 8 * header["size"]
    for name, mask in header["masks"].items():
        values: array[Any] = array(typecode(name))
        values.frombytes(data[offset : offset + size])
        columns[name] = Column(values, None if mask is None else int(mask, 16))
        offset += size
    return Month(header["info"], Columns(columns))


def _files(root: Path) -> Iterator[Path]:
    yield from root.rglob(f"*{_ENDING}") if root.is_dir() else ()


def _shrink(root: Path) -> None:
    """Remove what was not used for longest, until the rest is within the limit."""
    found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in _files(root))
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= LIMIT_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size


def info(root: Path) -> dict[str, Any]:
    """How much is kept."""
    sizes = [path.stat().st_size for path in _files(root)]
    return {"folder": str(root), "files": len(sizes), "bytes": sum(sizes), "limit_bytes": LIMIT_BYTES}


def clear(root: Path) -> int:
    """Remove all; returns how many files."""
    found = list(_files(root))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
