"""Fields to frames and back: how the gateway spells values. No socket and no clock."""

from collections.abc import Callable, Iterable
from typing import Any

UNSET_DOUBLE = 1.7976931348623157e308  # how the API spells "no value" in a double field
UNSET_INTEGER = 2147483647  # and in an integer field
Value = str | int | float | bool | None


def _text(value: str) -> str:
    if not value.isascii():
        value = value.encode("ascii", "backslashreplace").decode()
    return value.replace("\0", "") if "\0" in value else value


def _number(value: float) -> str:
    if value >= UNSET_DOUBLE:
        return "1.7976931348623157E308"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _nothing(_: None) -> str:
    return ""


_SPELLED: dict[type, Callable[[Any], str]] = {
    str: _text,
    float: _number,
    int: str,
    bool: _flag,
    type(None): _nothing,
}
"""Type of a field -> how it is spelled. A table, because each message has some ten fields, and most are plain numbers."""


def text_of(value: Value) -> str:
    """One field as the gateway spells it: no value is empty, whole numbers have no point, ASCII only.

    Whole numbers without a point because the official client of 2019 reads sizes with int(). KeyError for another type.
    """
    return _SPELLED[type(value)](value)


def payload(fields: Iterable[Value]) -> bytes:
    """The fields of one message, each ended by a NUL."""
    return ("\0".join([_SPELLED[type(value)](value) for value in fields]) + "\0").encode("ascii")


def frame(*fields: Value) -> bytes:
    """One message, ready for the socket."""
    body = payload(fields)
    return len(body).to_bytes(4, "big") + body


def split(data: bytes) -> list[str]:
    """The fields of one payload. Tolerates a missing last NUL and bytes that are no UTF-8."""
    fields = data.decode("utf-8", "replace").split("\0")
    if fields and fields[-1] == "":
        fields.pop()
    return fields
