"""Files of an export on their way to a caller: the bytes themselves, or an address of S3 for a quarter of an hour."""

import os
import re
import stat
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from nautilus.errors import NotFound
from nautilus.exports.desk import StoredFile

LINK_S = 900
_PIECE = 1 << 18


class Range(NamedTuple):
    """The bytes of a file that are wanted, [start, end)."""

    start: int
    end: int


class NoSuchRange(Exception):
    """A range that lies outside the file."""


def range_of(header: str, if_range: str, file: StoredFile) -> Range | None:
    """What a Range header means (RFC 9110, 14.2); None: all of the file. Several ranges, other units, and a range of what is
    no longer there are answered with all of it, as the RFC allows. NoSuchRange: it lies outside."""
    found = re.fullmatch(r"(?a)\s*bytes\s*=\s*(\d*)-(\d*)\s*", header)
    if found is None or not (found[1] or found[2]) or (if_range and if_range.strip() != f'"{file.sha256}"'):
        return None
    if not found[1]:
        start, end = max(0, file.size - int(found[2])), file.size
    else:
        start, end = int(found[1]), min(file.size, int(found[2]) + 1) if found[2] else file.size
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise NoSuchRange
    return Range(start, end)


def open_file(file: StoredFile) -> int:
    """A descriptor of a file that lies in a folder; the caller closes it. No link is followed below the folder of exports.
    NotFound when it is not there as it was written."""
    at = -1
    try:
        at = os.open(file.target["root"], os.O_RDONLY | os.O_DIRECTORY)
        names = [*file.target["path"].split("/"), *file.path.split("/")]
        for name in names[:-1]:
            at = _within(at, name, os.O_RDONLY | os.O_DIRECTORY)
        at = _within(at, names[-1], os.O_RDONLY)
        about = os.fstat(at)
        if stat.S_ISREG(about.st_mode) and about.st_size == file.size:
            return at
    except OSError:
        pass
    if at >= 0:
        os.close(at)
    raise NotFound(f"the file {file.path} is not there any more", code="unknown-file")


def _within(at: int, name: str, how: int) -> int:
    """Open a name in a folder, and close the folder."""
    try:
        return os.open(name, how | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def pieces(descriptor: int, wanted: Range) -> Iterator[bytes]:
    """The bytes of a range, piece by piece; closes the descriptor."""
    try:
        at = wanted.start
        while at < wanted.end:
            piece = os.pread(descriptor, min(_PIECE, wanted.end - at), at)
            if not piece:
                return
            at += len(piece)
            yield piece
    finally:
        os.close(descriptor)


def link(file: StoredFile, *, endpoint: str, region: str) -> str:
    """An address of S3 from which the file can be read for a quarter of an hour, or until the credentials end that sign it."""
    import boto3
    from botocore.config import Config

    # By itself boto3 signs addresses by the old rules, which not every bucket takes.
    new_rules = Config(signature_version="s3v4")
    client = boto3.client("s3", endpoint_url=endpoint or None, region_name=region, config=new_rules)
    name = file.path.rpartition("/")[2]
    found: str = client.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": file.target["bucket"],
            "Key": file.target["prefix"] + file.path,
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(name)}",
        },
        ExpiresIn=LINK_S,
    )
    return found
