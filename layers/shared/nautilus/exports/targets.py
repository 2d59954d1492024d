"""Where an export may be written to: only to the folders and buckets that the settings name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.errors import InvalidInput, Unavailable
from nautilus.exports.schemas import Bucket, Download, Folder

_KEY = re.compile(r"(?a)[A-Za-z0-9!_.*'()=/ -]*")


class Allowed(NamedTuple):
    """What the settings allow. deployed: then no folder of the machine outlives the task."""

    export_dir: str
    roots: Sequence[str]
    bucket: str
    buckets: Sequence[str]
    deployed: bool


def checked(target: Download | Folder | Bucket, allowed: Allowed, export_id: UUID) -> Mapping[str, Any]:
    """Where the files go: a folder as `root` and a `path` below it, or a bucket and a prefix. InvalidInput names the field
    and what is allowed; Unavailable when nothing can be kept for download."""
    if isinstance(target, Folder):
        return _folder(target.path, allowed)
    if isinstance(target, Bucket):
        return _bucket(target, allowed)
    if allowed.bucket:
        return {"kind": "s3", "bucket": allowed.bucket, "prefix": f"exports/{export_id}/", "kept": True}
    if allowed.export_dir and not allowed.deployed:
        return {"kind": "folder", "root": allowed.export_dir, "path": str(export_id), "kept": True}
    raise Unavailable(
        "no place for downloads is set (NAUTILUS_EXPORT_DIR, NAUTILUS_EXPORT_BUCKET)", code="no-export-place"
    )


def _folder(text: str, allowed: Allowed) -> Mapping[str, Any]:
    if allowed.deployed:
        raise InvalidInput.field("target.kind", "a deployed task has no folder that lasts", ["download", "s3"])
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or not text.isprintable():
        raise InvalidInput.field("target.path", "must be an absolute folder without ..", _roots(allowed))
    for root in allowed.roots:
        below = PurePosixPath(root)
        if path != below and path.is_relative_to(below):
            return {"kind": "folder", "root": root, "path": str(path.relative_to(below)), "kept": False}
    raise InvalidInput.field("target.path", "lies below none of the folders that are allowed", _roots(allowed))


def _roots(allowed: Allowed) -> list[str]:
    return [f"{root}/<folder>" for root in allowed.roots] or ["none: NAUTILUS_EXPORT_ROOTS is empty"]


def _bucket(target: Bucket, allowed: Allowed) -> Mapping[str, Any]:
    if target.bucket not in allowed.buckets:
        known = list(allowed.buckets) or ["none: NAUTILUS_EXPORT_BUCKETS is empty"]
        raise InvalidInput.field("target.bucket", f"{target.bucket!r} is not allowed", known)
    prefix = target.prefix.strip("/")
    if ".." in prefix.split("/") or not _KEY.fullmatch(prefix):
        raise InvalidInput.field("target.prefix", "must be of letters, digits, blanks and !_.*'()=/- without ..")
    return {"kind": "s3", "bucket": target.bucket, "prefix": f"{prefix}/" if prefix else "", "kept": False}
