"""Host and runner understand each other, and neither takes what does not fit."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from nautilus.strategies import pipe
from nautilus.strategies.pipe import FROM_RUNNER, TO_RUNNER, Lines, PipeError, line, parsed

INSTRUMENT = {
    "con_id": 265598,
    "instrument_id": "AAPL.NASDAQ",
    "symbol": "AAPL",
    "asset_class": "STK",
    "exchange": "NASDAQ",
    "currency": "USD",
    "local_symbol": "AAPL",
    "multiplier": "",
    "min_tick": "0.01",
    "digits": 2,
    "expires_ns": None,
    "commission": {"per_unit": "0.005", "rate": "0", "minimum": "1", "most_rate": "0.01"},
}
START = {
    "run_id": "r1",
    "mode": "backtest",
    "template": "ema_cross",
    "parameters": {"fast": 10},
    "instruments": [INSTRUMENT],
    "series": [{"index": 0, "con_id": 265598, "timeframe": "1m", "price": "TRADES"}],
    "capital": "100000",
    "currency": "USD",
    "fill": "next_open",
    "adaptive_ordering": True,
    "seed": 7,
    "equity_points": 1_500,
    "bars_total": 390,
}
BARS = {
    "index": 0,
    "opened_ns": [0, 60],
    "closed_ns": [60, 120],
    "open": [1.5, 2],
    "high": [2.0, 2.0],
    "low": [1.0, 1.0],
    "close": [1.5, 1.5],
    "volume": [100, None],
}
CHUNK = {"trade_date": "2026-10-05", "last": True, "series": [BARS]}


def test_a_message_comes_back_as_it_was():
    for kind, body in (("start", START), ("chunk", CHUNK), ("end", {})):
        assert parsed(TO_RUNNER, line(TO_RUNNER, kind, **body)) == {"type": kind, **body}


def test_a_field_may_be_called_kind():
    body = {"client_order_id": "O-1", "kind": "accepted", "at_ns": 1}
    assert parsed(TO_RUNNER, line(TO_RUNNER, "order_event", **body))["kind"] == "accepted"


def test_what_may_be_null_need_not_be_given():
    found = parsed(FROM_RUNNER, line(FROM_RUNNER, "modify", client_order_id="O-1", price="1.25"))
    assert found == {
        "type": "modify",
        "client_order_id": "O-1",
        "quantity": None,
        "price": "1.25",
        "trigger_price": None,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capital", 100_000),
        ("capital", "NaN"),
        ("capital", "much"),
        ("mode", "demo"),
        ("seed", True),
        ("seed", 1.5),
        ("adaptive_ordering", 1),
        ("parameters", []),
        ("parameters", None),
        ("instruments", [INSTRUMENT | {"min_tick": 0.01}]),
        ("instruments", [INSTRUMENT | {"commission": {"per_unit": "1"}}]),
        ("instruments", {}),
        ("series", ["0"]),
        ("colour", "red"),
    ],
)
def test_both_sides_refuse_what_does_not_fit_and_name_the_field(field, value):
    body = START | {field: value}
    for refuse in (
        lambda: line(TO_RUNNER, "start", **body),
        lambda: parsed(TO_RUNNER, json.dumps({"type": "start", **body}).encode()),
    ):
        with pytest.raises(PipeError, match=field):
            refuse()


def test_a_missing_field_is_refused():
    for field in START:
        with pytest.raises(PipeError, match=field):
            line(TO_RUNNER, "start", **{name: value for name, value in START.items() if name != field})


def test_columns_have_one_length():
    for column in ("opened_ns", "close", "volume"):
        with pytest.raises(PipeError, match="series"):
            line(TO_RUNNER, "chunk", **CHUNK | {"series": [BARS | {column: [1]}]})
    assert line(TO_RUNNER, "chunk", **CHUNK | {"series": [BARS | {"volume": None}]})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b'{"type":3}', b'{"end":1}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(PipeError):
        parsed(TO_RUNNER, data)


def test_an_unknown_type_is_refused_on_both_sides():
    for table, other in ((TO_RUNNER, "result"), (FROM_RUNNER, "start")):
        with pytest.raises(PipeError, match=other):
            line(table, other)
        with pytest.raises(PipeError, match=other):
            parsed(table, json.dumps({"type": other}).encode())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_refused_on_both_sides(value):
    body = CHUNK | {"series": [BARS | {"open": [value, 1.0]}]}
    with pytest.raises(PipeError):
        line(TO_RUNNER, "chunk", **body)
    with pytest.raises(PipeError):
        parsed(TO_RUNNER, json.dumps({"type": "chunk", **body}).encode())


def test_lines_are_put_together_wherever_the_pipe_cuts_them():
    data = line(TO_RUNNER, "start", **START) + line(TO_RUNNER, "chunk", **CHUNK) + line(TO_RUNNER, "end")
    whole = list(Lines(TO_RUNNER).feed(data))
    assert [one["type"] for one in whole] == ["start", "chunk", "end"]
    for size in (1, 7, 1_000):
        lines = Lines(TO_RUNNER)
        found = [one for n in range(0, len(data), size) for one in lines.feed(data[n : n + size])]
        assert found == whole
        assert not lines.incomplete
    lines = Lines(TO_RUNNER)
    assert [one["type"] for one in lines.feed(data[:-1])] == ["start", "chunk"]
    assert lines.incomplete


def test_a_line_has_a_longest_length_with_or_without_its_end(monkeypatch):
    monkeypatch.setattr(pipe, "LONGEST_LINE", 100)
    text = "x" * (100 - len(line(FROM_RUNNER, "log", level="info", text="")))
    longest = line(FROM_RUNNER, "log", level="info", text=text)
    assert len(longest) == 100
    assert list(Lines(FROM_RUNNER).feed(longest))
    with pytest.raises(PipeError, match="101"):
        line(FROM_RUNNER, "log", level="info", text=text + "x")
    for data in (b"x" * 100 + b"\n", b"x" * 100):
        with pytest.raises(PipeError, match="longer"):
            list(Lines(FROM_RUNNER).feed(data))


def test_a_line_break_in_a_text_stays_in_its_line():
    data = line(FROM_RUNNER, "log", level="info", text="one\ntwo \u2028 \ud800")
    assert data.count(b"\n") == 1
    assert parsed(FROM_RUNNER, data)["text"] == "one\ntwo \u2028 ?"


def test_the_protocol_needs_nothing_that_is_not_pythons_own():
    """The runner's environment has no package of ours but this folder, and none of its libraries."""
    folder = str(Path(pipe.__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {folder!r}); import nautilus.strategies.pipe"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
