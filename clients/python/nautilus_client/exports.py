"""Exports: bars in bulk as files. A download begins where it ended, and each file is compared with its SHA-256."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from nautilus_client import routes
from nautilus_client.connection import Connection, new_key
from nautilus_client.errors import BrokenAnswer, ChecksumMismatch, DeadlineExceeded, NautilusError, TransportError
from nautilus_client.records import Record
from nautilus_client.retry import wait_s
from nautilus_client.times import Time, is_date, text, to_ns, zone_of
from nautilus_client.transport import pieces, plain_answer

LIVE = frozenset({"queued", "planning", "running", "stopping"})
POLL_S, LONGEST_POLL_S = 0.5, 5.0
MANIFEST = "manifest.json"
MOST_LISTED = 100
Progress = Callable[[str, int, int], None]
"""Called with the path of a file, its bytes so far, and all of them."""


class Export(Record):
    """An export. `refresh` reads it anew."""

    status: str
    progress: Mapping[str, Any]

    def __init__(self, connection: Connection, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._connection = connection

    @property
    def id(self) -> str:
        return str(self._raw.get("export_id") or self._raw.get("id"))

    @property
    def over(self) -> bool:
        return self._raw.get("status") not in LIVE

    def refresh(self) -> "Export":
        self._raw = self._connection.call("export-job", export_id=self.id)
        return self

    def wait(self, *, timeout: float | None = None, progress: bool | Callable[["Export"], None] = False) -> "Export":
        """Wait until it is over. DeadlineExceeded after `timeout` seconds; it goes on then.

        progress: True for a line on the terminal, or what is called with each state.
        """
        report = _on_terminal() if progress is True else progress or None
        ends = None if timeout is None else time.monotonic() + timeout
        pause = POLL_S
        while True:
            if report:
                report(self)
            if self.over:
                return self
            if ends is not None and time.monotonic() + pause > ends:
                raise DeadlineExceeded(f"export {self.id} is still {self._raw.get('status')} after {timeout:g} s")
            time.sleep(pause)
            pause = min(LONGEST_POLL_S, pause * 1.5)
            self.refresh()

    def stop(self) -> "Export":
        self._connection.answer("stop-export", export_id=self.id)
        return self.refresh()

    def delete(self) -> None:
        self._connection.answer("delete-export", export_id=self.id)

    @property
    def files(self) -> Sequence[Mapping[str, Any]]:
        """Its files: path, bytes, sha256, rows, data_version, complete."""
        return self._connection.every("export-files", "files", export_id=self.id)

    def download(self, folder: str | Path, *, progress: Progress | None = None) -> Sequence[Path]:
        """All files, into a folder, with coverage and manifest beside them; waits until the export is over. What is there and
        right is left alone.

        A file ends in `.part` until its SHA-256 is right; ChecksumMismatch when it is not.
        """
        self.wait()
        if self._raw.get("status") != "done":
            raise NautilusError(f"export {self.id} is {self._raw.get('status')}: it has no files")
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        report = progress or (lambda path, done, size: None)
        beside = sorted(
            self._raw.get("extras", ()), key=lambda one: one["path"] == MANIFEST
        )  # last: where it is, all is there
        wanted = [*(one for one in self.files if one.get("sha256")), *beside]
        return [self._file(root, one, report) for one in wanted]

    def _file(self, root: Path, one: Mapping[str, Any], report: Progress) -> Path:
        path = inside(root, one["path"])
        size, expected = int(one["bytes"]), str(one["sha256"])
        if path.exists() and path.stat().st_size == size and sha256(path) == expected:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        for tried in range(1, self._connection.transport.policy.tries + 1):
            try:
                self._continue(one, part, size, report)
                break
            except TransportError:
                seconds = wait_s(self._connection.transport.policy, tried, None, lambda: 1.0)
                if seconds is None:
                    raise
                time.sleep(seconds)
        found = sha256(part)
        if found != expected:
            part.unlink()  # what is wrong in it is not known, so that nothing of it can be kept
            raise ChecksumMismatch(str(part), expected, found)
        part.replace(path)
        return path

    def _continue(self, one: Mapping[str, Any], part: Path, size: int, report: Progress) -> None:
        """Fetch what the part lacks. A file that has changed since then is begun anew (If-Range)."""
        done = part.stat().st_size if part.exists() else 0
        if done > size:
            part.unlink()
            done = 0
        if done == size:
            return
        headers = {"Range": f"bytes={done}-", "If-Range": f'"{one["sha256"]}"'} if done else {}
        request = routes.request("export-file", export_id=self.id, path=one["path"])
        request = request._replace(
            path=request.path.replace("%2F", "/"), headers={**headers, "Accept": "*/*", "Accept-Encoding": "identity"}
        )
        transport = self._connection.transport
        response = transport.stream(request, read_s=transport.policy.read_s)
        if response.status in (302, 303, 307):
            address = str(response.headers.get("location"))
            response.release_conn()
            if urlsplit(address).scheme != "https" and not urlsplit(self._connection.transport.url).scheme == "http":
                raise NautilusError(f"the file lies at an address that is not encrypted: {urlsplit(address).netloc}")
            response = transport.stream(request, read_s=transport.policy.read_s, url=address)
        try:
            if response.status not in (200, 206):
                raise plain_answer(response).error()
            with part.open("ab" if response.status == 206 else "wb") as output:
                done = done if response.status == 206 else 0
                for piece in pieces(response):
                    output.write(piece)
                    done += len(piece)
                    report(one["path"], done, size)
        finally:
            response.close()
        if done != size:
            raise BrokenAnswer(f"{one['path']} has {done:,} of {size:,} bytes")


class Exports:
    """All exports of the caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(
        self,
        *,
        start: Time | None = None,
        end: Time | None = None,
        dry_run: bool = False,
        key: str | None = None,
        **request: Any,
    ) -> Export:
        """Begin an export, or with dry_run say what it would be.

        request: symbols, instrument_ids or all=True; timeframes, price, session; format (parquet, arrow, csv), layout (hive,
        flat, nautilus-trader-1.x, nautilus-trader-2.x), compression, split, target, require, as in docs/exports.md.
        start, end: dates begin at midnight UTC, as an export has several exchanges.
        """
        body = {name: value for name, value in request.items() if value is not None}
        for name, value in (("start", start), ("end", end)):
            if value is not None:
                body[name] = text(to_ns(value, zone_of("UTC") if is_date(value) else None, field=name))
        if dry_run:
            body["dry_run"] = True
        return Export(
            self._connection, self._connection.call("export", body=body, headers={"Idempotency-Key": key or new_key()})
        )

    def list(self) -> Sequence[Export]:
        """All that are known, the newest first."""
        found: list[Export] = []
        before: str | None = None
        while True:
            page = self._connection.call("exports", before=before, limit=MOST_LISTED)
            found += [Export(self._connection, row) for row in page["exports"]]
            before = page.get("next_before")
            if before is None:
                return found

    def get(self, export_id: str) -> Export:
        return Export(self._connection, self._connection.call("export-job", export_id=export_id))


def _on_terminal() -> Callable[[Export], None]:
    import sys

    from nautilus_client.cli.progress import Line, export_text

    line = Line(sys.stderr)
    return lambda export: line.show(export_text(export.as_dict()), ended=export.over)


def inside(root: Path, name: str) -> Path:
    """The path of a file below the folder. NautilusError for a name that leads out of it."""
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name.split("/")[0]:
        raise NautilusError(f"the manifest names a file outside of the folder: {name!r}")
    path = root.joinpath(*parts.parts)
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise NautilusError(f"a link leads out of the folder: {name!r}")
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path) -> list[str]:
    """What of a folder is not as its manifest says: one sentence each; nothing when all is right."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return [f"{folder / MANIFEST} is not there: the export is not whole"]
    except ValueError as wrong:
        return [f"{folder / MANIFEST} cannot be read: {wrong}"]
    return [sentence for one in manifest["files"] for sentence in _wrong(folder, one)]


def _wrong(folder: Path, one: Mapping[str, Any]) -> Iterator[str]:
    path = inside(folder, one["path"])
    if not path.exists():
        yield f"{one['path']} is not there"
    elif path.stat().st_size != one["bytes"]:
        yield f"{one['path']} has {path.stat().st_size:,} bytes, not {one['bytes']:,}"
    elif (found := sha256(path)) != one["sha256"]:
        yield f"{one['path']} has the SHA-256 {found[:12]}..., not {one['sha256'][:12]}..."
