"""What the strategy host and the process that runs one strategy write to each other: one JSON object a line, in UTF-8.

Both sides check each message by the table of its direction (`messages`), when it is written and when it is read, so that
neither depends on the other's good will. Nothing but Python's own library is imported: the runner has no package of ours.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from nautilus.strategies.fields import Kind, wrong_field
from nautilus.strategies.messages import FROM_RUNNER, TO_RUNNER

__all__ = ["FROM_RUNNER", "LONGEST_LINE", "TO_RUNNER", "Lines", "PipeError", "line", "message", "parsed"]

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes of one line with its line break. A trade date with more bars goes as several chunks, cut at one time for all series."""


class PipeError(Exception):
    """The other side broke the protocol: nothing that follows can be trusted, so the run ends."""


def message(table: Mapping[str, Mapping[str, Kind]], kind: str, body: Mapping[str, object]) -> dict[str, object]:
    """The whole message: fields that may be null and are not given are null. PipeError names what does not fit."""
    fields = table.get(kind)
    if fields is None:
        raise PipeError(f"no message is called {kind[:40]!r}")
    whole = {name: body.get(name) for name in fields} | dict(body)
    wrong = wrong_field(whole, fields)
    if wrong is not None:
        raise PipeError(f"{kind}: field {wrong[:40]!r} is missing, unknown or holds what it may not")
    return {"type": kind, **whole}


def line(table: Mapping[str, Mapping[str, Kind]], kind: str, /, **body: object) -> bytes:
    """One message as it goes into the pipe. PipeError: it does not fit the table, has NaN, or is longer than a line."""
    whole = message(table, kind, body)
    try:
        text = json.dumps(whole, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:
        raise PipeError(f"{kind}: {error}") from None
    data = text.encode("utf-8", "replace") + b"\n"
    if len(data) > LONGEST_LINE:
        raise PipeError(f"{kind}: {len(data)} bytes, a line holds {LONGEST_LINE}")
    return data


def parsed(table: Mapping[str, Mapping[str, Kind]], data: bytes) -> dict[str, Any]:
    """The message of one line. PipeError when it is none."""
    try:
        found = json.loads(data, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise PipeError(f"a line is not JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise PipeError("a line is not an object with a type")
    return message(table, found.pop("type"), found)


def _refused(word: str) -> float:
    raise ValueError(f"{word} is not a number")


class Lines:
    """Puts lines together from the pieces in which a pipe delivers them; no socket, no thread."""

    def __init__(self, table: Mapping[str, Mapping[str, Kind]]) -> None:
        self._table = table
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are whole now. PipeError also where a line without an end is too long."""
        *whole, rest = data.split(b"\n")
        for end in whole:
            complete = b"".join((*self._pieces, end))
            self._pieces, self._held = [], 0
            if len(complete) >= LONGEST_LINE:
                raise PipeError(f"a line is longer than {LONGEST_LINE} bytes")
            yield parsed(self._table, complete)
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
        if self._held >= LONGEST_LINE:
            raise PipeError(f"a line is longer than {LONGEST_LINE} bytes")

    @property
    def incomplete(self) -> bool:
        """Whether the last line has no end yet: at the end of the pipe, the other side died while it wrote."""
        return self._held > 0
