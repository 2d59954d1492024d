"""The JSON in the body of a request, read strictly and in one place: a sentence says what is wrong with it.

Python's own reader takes what RFC 8259 does not have (NaN, Infinity), lets the last of two equal names win, and makes
infinity of a number that is too large for a float.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response

from nautilus.errors import FieldError, InvalidInput, UnsupportedMediaType

MEDIA_TYPE = "application/json"
MAX_DIGITS = 40
"""Digits of a whole number. The largest that anything here takes are nanoseconds, with 19."""
_SHOWN = 60

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _ReadRequest(Request):
    """A request whose body was read as JSON."""

    value: Any = None

    async def json(self) -> Any:
        return self.value


def strictly_read(handle: Handler) -> Handler:
    """The handler of a route with a JSON body, which is handed what `parse` makes of it."""

    async def handle_read(request: Request) -> Response:
        read = _ReadRequest(request.scope, request.receive)
        raw = await read.body()
        if raw:
            if not raw.isspace():  # blanks are JSON under no name
                require_json(request.headers.get("content-type"))
            read.value = parse(raw)
        return await handle(read)

    return handle_read


def require_json(content_type: str | None) -> None:
    """UnsupportedMediaType unless this header says that the body is JSON."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    if main == "application" and (sub == "json" or sub.endswith("+json")):
        return
    words = f"says {kind[:_SHOWN]}" if kind else "is missing"
    raise UnsupportedMediaType(
        f"the body is not declared as JSON: the header Content-Type {words}; send Content-Type: {MEDIA_TYPE}",
        extra={"accepted": [MEDIA_TYPE]},
    )


def parse(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8. InvalidInput says what is wrong, and where."""
    try:
        return json.loads(
            raw.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_number,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as wrong:
        _refuse(f"is not JSON in UTF-8: byte {wrong.start} is none of it")
    except json.JSONDecodeError as wrong:
        _refuse(f"is not JSON: {wrong.msg} (line {wrong.lineno}, column {wrong.colno})")
    except RecursionError:
        _refuse("is not JSON that anything here takes: it is nested too deeply")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(f"has the field {_short(twice)!r} more than once; give it once, and several symbols as a list")
    return found


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        _refuse(f"holds a number with {len(text.lstrip('-'))} digits ({_short(text)}); none here has more than 19")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        _refuse(f"holds a number that is too large: {_short(text)}")
    return value


def _no_constant(text: str) -> NoReturn:
    _refuse(f"holds {text}, which JSON does not have; write a number, null, or leave the field out")


def _refuse(what: str) -> NoReturn:
    raise InvalidInput(f"body: {what}", errors=[FieldError("body", what)])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
