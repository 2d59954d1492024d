"""What the server itself sends over `/ws/v1/stream`, as JSON texts; messages of the bus pass as they are."""

import json
from collections.abc import Mapping
from typing import Any

from nautilus.clock import NS_PER_MS, rfc3339
from nautilus.errors import NautilusError
from stream.protocol import RequestId

VERSION = 1


def text(kind: str, fields: Mapping[str, Any]) -> str:
    """A message of a kind."""
    return json.dumps({"t": kind, **fields}, separators=(",", ":"))


def error(wrong: NautilusError, op: str | None = None, number: RequestId = None) -> str:
    """An error: code and sentence, each wrong field with what is allowed, and which request it answers."""
    about: dict[str, Any] = {}
    if op is not None:
        about["op"] = op
    if number is not None:
        about["id"] = number
    about |= {"code": wrong.code, "detail": wrong.detail}
    if wrong.errors:
        about["errors"] = [one.as_dict() for one in wrong.errors]
    if wrong.retry_after_s is not None:
        about["retry_after_s"] = wrong.retry_after_s
    about |= {name: value for name, value in wrong.extra.items() if name not in ("op", "id", *about)}
    return text("error", about)


def time_of(ns: int) -> str:
    """A time of this machine or of the market, in whole milliseconds."""
    return rfc3339(ns // NS_PER_MS * NS_PER_MS)
