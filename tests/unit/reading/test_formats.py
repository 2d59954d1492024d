"""Which form an answer takes, and which fields."""

import pytest

from nautilus.errors import InvalidInput, NotAcceptable
from nautilus.reading.formats import FIELDS, Format, Piece, body, choose, fields_of


@pytest.mark.parametrize(
    ("requested", "accept", "form"),
    [
        (None, None, Format.JSON),
        (None, "*/*", Format.JSON),
        (None, "application/*", Format.JSON),
        (None, "text/*", Format.CSV),
        (None, "text/csv", Format.CSV),
        (None, "Text/CSV; charset=utf-8", Format.CSV),
        (None, "text/html, application/json;q=0.9, */*;q=0.8", Format.JSON),
        (None, "text/csv;q=0.5, application/x-ndjson;q=0.6", Format.NDJSON),
        (None, "application/vnd.nautilus.columns+json", Format.COLUMNS),
        (None, "*/*, application/json;q=0", Format.CSV),
        ("csv", "application/json", Format.CSV),
        (" Columns ", None, Format.COLUMNS),
        ("arrow", "text/csv", Format.ARROW),
        (None, "application/vnd.apache.arrow.stream, */*;q=0.1", Format.ARROW),
    ],
)
def test_the_form_is_negotiated(requested: str | None, accept: str | None, form: Format) -> None:
    assert choose(requested, accept) is form


@pytest.mark.parametrize(
    ("requested", "accept"),
    [("xml", None), ("", "*/*"), (None, "image/png"), (None, "text/csv;q=0"), (None, "text/csv;q=x")],
)
def test_what_cannot_be_made_is_refused_naming_what_can(requested: str | None, accept: str | None) -> None:
    with pytest.raises(NotAcceptable) as refused:
        choose(requested, accept)
    assert refused.value.extra["available"] == ["json", "csv", "ndjson", "columns", "arrow"]


@pytest.mark.parametrize(
    ("text", "form", "fields"),
    [
        (None, Format.JSON, ("time", "ts", "open", "high", "low", "close", "volume")),
        (None, Format.CSV, ("ts", "open", "high", "low", "close", "volume")),
        ("close, ts,close", Format.JSON, ("close", "ts")),
        ("+vwap,-time", Format.JSON, ("ts", "open", "high", "low", "close", "volume", "vwap")),
        (" vwap, trades", Format.CSV, ("ts", "open", "high", "low", "close", "volume", "vwap", "trades")),
        ("-volume", Format.CSV, ("ts", "open", "high", "low", "close")),
        ("+time", Format.CSV, ("ts", "open", "high", "low", "close", "volume", "time")),
    ],
)
def test_fields(text: str | None, form: Format, fields: tuple[str, ...]) -> None:
    assert fields_of(text, form) == fields


@pytest.mark.parametrize("text", ["profit", "close,", "+vwap,close", "-" + ",-".join(FIELDS), "ts;drop", "+", "-"])
def test_fields_that_do_not_exist_are_named(text: str) -> None:
    with pytest.raises(InvalidInput):
        fields_of(text, Format.JSON)


def test_bodies() -> None:
    one = Piece({"symbol": "A"}, b'{"ts":1}', {"total": 1})
    assert body(Format.JSON, [one], ["ts"], several=False, rest={"job_id": None}) == (
        b'{"symbol":"A","candles":[{"ts":1}],"total":1,"job_id":null}'
    )
    assert body(Format.JSON, [one, one], ["ts"], several=True, rest={"next_page_token": None}) == (
        b'{"results":[{"symbol":"A","candles":[{"ts":1}],"total":1},{"symbol":"A","candles":[{"ts":1}],"total":1}],'
        b'"next_page_token":null}'
    )
    columns = Piece({"symbol": "A"}, b'"ts":[1]', {"total": 1})
    assert b'"candles":{"ts":[1]},"total"' in body(Format.COLUMNS, [columns], ["ts"], several=False, rest={})
    assert body(Format.CSV, [Piece({}, b"A,1\n", {})], ["ts"], several=True, rest={}) == b"symbol,ts\nA,1\n"
