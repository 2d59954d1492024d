"""In which form bars are answered: which fields, which media type, and how the pieces make one body.

PostgreSQL writes the candles as text (`nautilus.db.bars.candles`); here they are put between the other fields as they are.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from nautilus.errors import InvalidInput, NotAcceptable
from nautilus.reading import arrow

FIELDS: tuple[str, ...] = (
    "time",
    "ts",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "vwap",
    "trades",
    "ts_open",
    "ts_close",
)
"""All fields a candle can have. `time` is IB's notation with a trailing Z, the ts fields are ns since the epoch, UTC."""
PROVISIONAL = "provisional"
"""The column of answers with live=1 that are tables; objects have the field where it is true."""
_DEFAULT = ("time", "ts", "open", "high", "low", "close", "volume")


class Format(Enum):
    """A form of answer: its name in `format=`, and its media type in `Accept`."""

    JSON = ("json", "application/json")
    CSV = ("csv", "text/csv")
    NDJSON = ("ndjson", "application/x-ndjson")
    COLUMNS = ("columns", "application/vnd.nautilus.columns+json")
    ARROW = ("arrow", "application/vnd.apache.arrow.stream")

    def __init__(self, label: str, media_type: str) -> None:
        self.label = label
        self.media_type = media_type

    @property
    def enveloped(self) -> bool:
        """True when the answer says everything in its body; the other forms say it in headers."""
        return self in (Format.JSON, Format.COLUMNS)

    @property
    def table(self) -> bool:
        """True when every candle has the same columns."""
        return self in (Format.CSV, Format.COLUMNS, Format.ARROW)

    @property
    def text(self) -> bool:
        """True when Lambda hands it on as text, False when it takes base64."""
        return self is not Format.ARROW

    @property
    def default_fields(self) -> tuple[str, ...]:
        """CSV and Arrow carry numbers alone: `ts`, no text time."""
        return _DEFAULT[1:] if self in (Format.CSV, Format.ARROW) else _DEFAULT


def choose(name: str | None, accept: str | None) -> Format:
    """The form a caller wants: `format=` wins over `Accept`. NotAcceptable names what there is."""
    if name is not None:
        for known in Format:
            if known.label == name.strip().lower():
                return known
        raise _refused(f"there is no format {name!r}")
    best, weight = None, 0.0
    for known in Format:  # the first of equals wins, so that */* means JSON
        quality = _quality(known.media_type, accept or "*/*")
        if quality > weight:
            best, weight = known, quality
    if best is None:
        raise _refused(f"none of {accept!r} can be made")
    return best


def _quality(media_type: str, accept: str) -> float:
    """The weight that an Accept header gives a media type (RFC 9110, 12.5.1): of the ranges that fit, the most special."""
    found, rank = 0.0, 0
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        special = (
            3 if name == media_type else 2 if name == f"{media_type.split('/')[0]}/*" else 1 if name == "*/*" else 0
        )
        if special > rank:
            found, rank = _weight(parameters), special
    return found


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def _refused(sentence: str) -> NotAcceptable:
    names = ", ".join(f"{f.label} ({f.media_type})" for f in Format)
    files = "for large ranges ask for arrow; Parquet files are written by POST /api/v1/market-data/exports"
    return NotAcceptable(f"{sentence}; there is {names}; {files}", extra={"available": [f.label for f in Format]})


def fields_of(text: str | None, form: Format) -> tuple[str, ...]:
    """The fields a caller names, in that order; or, beginning with a sign, changes to the usual ones: `+vwap,-volume`."""
    if not text:
        return form.default_fields
    changes = text[0] in "+- "  # an unescaped + in an address arrives as a blank
    names = text.split(",")
    chosen = list(form.default_fields) if changes else []
    for name in names:
        sign, bare = (name[:1], name[1:].strip()) if changes else ("+", name.strip())
        if bare not in FIELDS or sign not in ("+", "-", " "):
            raise InvalidInput.field("fields", f"{name.strip()!r} is not a field of a bar", FIELDS)
        if sign == "-":
            chosen = [known for known in chosen if known != bare]
        elif bare not in chosen:
            chosen.append(bare)
    if not chosen:
        raise InvalidInput.field("fields", f"{text!r} leaves no field", FIELDS)
    return tuple(chosen)


class Piece(NamedTuple):
    """One instrument's part of an answer: what comes before the candles, their text, and what comes after."""

    head: Mapping[str, Any]
    candles: bytes
    tail: Mapping[str, Any]


def body(
    form: Format, pieces: Sequence[Piece], fields: Sequence[str], *, several: bool, rest: Mapping[str, Any]
) -> bytes:
    """One answer. `rest` are the fields of the answer as a whole; with one instrument they stand beside its own."""
    if form is Format.CSV:
        names = (["symbol"] if several else []) + list(fields)
        return b"".join([",".join(names).encode(), b"\n", *(piece.candles for piece in pieces)])
    if form is Format.NDJSON:
        return b"".join(piece.candles for piece in pieces)
    if form is Format.ARROW:
        names = (["symbol"] if several else []) + list(fields)
        return arrow.stream(names, (piece.candles for piece in pieces), _without_candles(pieces, rest, several=several))
    if not several:
        return b"".join(_object(form, pieces[0], rest))
    parts: list[bytes] = [b'{"results":[']
    for n, piece in enumerate(pieces):
        parts += [b"," if n else b"", *_object(form, piece, {})]
    return b"".join([*parts, b"],", compact(rest)[1:]])


def _without_candles(pieces: Sequence[Piece], rest: Mapping[str, Any], *, several: bool) -> Mapping[str, Any]:
    """All that the JSON form says beside the candles."""
    about = [{**piece.head, **piece.tail} for piece in pieces]
    return {"results": about, **rest} if several else {**about[0], **rest}


def _object(form: Format, piece: Piece, rest: Mapping[str, Any]) -> Iterable[bytes]:
    opening, closing = (b"{", b"},") if form is Format.COLUMNS else (b"[", b"],")
    head, tail = compact(piece.head), compact({**piece.tail, **rest})
    return head[:-1], b',"candles":' + opening, piece.candles, closing, tail[1:]


def compact(value: Mapping[str, Any]) -> bytes:
    """JSON without spaces, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
