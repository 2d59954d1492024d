"""Fields to frames and back: how the gateway spells values. No socket and no clock."""

from collections.abc import Iterable

UNSET_DOUBLE = 1.7976931348623157e308  # how the API spells "no value" in a double field
UNSET_INTEGER = 2147483647  # and in an integer field
Value = str | int | float | bool | None


def text_of(value: Value) -> str:
    """One field as the gateway spells it: no value is empty, whole numbers have no point, ASCII only.

    Whole numbers without a point because the official client of 2019 reads sizes with int().
    """
    if isinstance(value, str):
        if not value.isascii():
            value = value.encode("ascii", "backslashreplace").decode()
        return value.replace("\0", "") if "\0" in value else value
    if isinstance(value, float):
        if value >= UNSET_DOUBLE:
            return "1.7976931348623157E308"
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if value is None:
        return ""
    return str(int(value))


def payload(fields: Iterable[Value]) -> bytes:
    return ("\0".join([text_of(value) for value in fields]) + "\0").encode("ascii")


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
