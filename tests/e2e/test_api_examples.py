"""The curl calls of docs/api.md, run as they stand there against a running service stack. `pytest -s` prints the transcript."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.stack import ServiceStack, service_stack

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
MOST_CHARS = 600


def examples() -> dict[str, str]:
    """Title -> commands, of the page's block, in order."""
    block = re.search(r"### With curl.*?```bash\n(.*?)```", PAGE, re.DOTALL)
    assert block
    parts = (part.split("\n", 1) for part in block[1].strip().removeprefix("# ").split("\n\n# "))
    return {title: commands.strip() for title, commands in parts}


@pytest.fixture
def friday(servers: SimpleNamespace, dsn: str) -> Iterator[ServiceStack]:
    """A Friday afternoon in New York; market time stands still."""
    options = ("--latency", "none", "--clock", "stepped", "--start", "2026-03-06T20:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


def is_a_chart(body: Any) -> None:
    first = body["candles"][0]
    assert list(first) == ["time", "ts", "open", "high", "low", "close", "volume"]
    assert re.fullmatch(r"2026\d{4}  \d\d:30:00Z", first["time"])
    assert body["coverage"]["complete"]
    assert (body["symbol"], body["timeframe"], body["total"]) == ("AAPL", "1h", len(body["candles"]))


def are_lines(*firsts: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        lines = text.splitlines()
        assert lines[0] == "ts,open,high,low,close,volume"
        assert [line.split(",")[0] for line in lines[1:]] == list(firsts)

    return check


def stamps(first: int) -> tuple[str, ...]:
    """Five minutes from 14:30 and `first` minutes on, 2026-03-02."""
    return tuple(str((1772461800 + 60 * (first + n)) * 10**9) for n in range(5))


def reaches_the_present(body: Any) -> None:
    assert body["window"]["end"] == "2026-03-06T20:31:00Z"
    newest = body["coverage"]["missing"][-1]
    assert (newest["end"], newest["state"]) == ("2026-03-06T20:31:00Z", "not_closed_yet")


def is_aggregated(body: Any) -> None:
    assert body["source"] == "derived from 1m"
    assert [set(candle) for candle in body["candles"]] == [{"ts", "close"}] * 3


def are_two_symbols(body: Any) -> None:
    assert [one["symbol"] for one in body["results"]] == ["AAPL", "MSFT"]
    assert all(one["candles"][0]["time"] == "20260202" for one in body["results"])


def are_columns(body: Any) -> None:
    assert body["candles"]["time"] == ["20260305", "20260304", "20260303", "20260302"]
    assert len(body["candles"]["close"]) == 4


def are_quotes(text: str) -> None:
    assert [set(json.loads(line)) for line in text.splitlines()] == [{"time", "open", "close"}] * 3


def are_new_bars(body: Any) -> None:
    assert (body["symbol"], body["total"]) == ("NVDA", 2)
    assert body["candles"][-1]["time"] == "20260306  20:25:00Z"


def is_unchanged(text: str) -> None:
    assert text == "304\n"


def is_covered(body: Any) -> None:
    first = body["intervals"][0]
    assert (first["state"], first["bars"], first["expected"]) == ("filled", 30, 30)
    assert {row["state"] for row in body["intervals"][1:]} <= {"filled", "not_asked", "queued"}


def is_explained(body: Any) -> None:
    assert body["brought_by"]["outcome"] == "ok"
    assert body["bar"]["close"] > 0


def are_sessions(body: Any) -> None:
    assert [row["open"] for row in body["sessions"]] == ["2026-03-02T14:30:00Z", "2026-03-03T14:30:00Z"]


def is_found(body: Any) -> None:
    assert body["instruments"][0]["instrument_id"] == "AAPL.NASDAQ"


def is_found_by_the_front_end(body: Any) -> None:
    assert body["instruments"][0]["symbol"] == "AAPL"


def are_pairs(body: Any) -> None:
    assert body["forex_pairs"][0] == "EUR/USD"


def is_wanted(body: Any) -> None:
    assert body["new"] == 2
    assert [want["channel"] for want in body["wants"]] == [
        "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL",
        "data.quotes.NASDAQ.AAPL",
    ]


def are_wanted_ticks(body: Any) -> None:
    assert body["new"] == 2
    assert [(want["channel"], want["price"]) for want in body["wants"]] == [
        ("data.midpoint_ticks.IDEALPRO.EUR/USD", "MIDPOINT"),
        ("data.quote_ticks.NASDAQ.AAPL", "BID_ASK"),
    ]


def are_newest_quotes(body: Any) -> None:
    wanted, other = body["quotes"]
    assert (wanted["symbol"], wanted["instrument_id"]) == ("AAPL", "AAPL.NASDAQ")
    assert wanted["quote"] is None or wanted["quote"]["bid"] > 0
    assert (other["quote"], other["reason"]) == (None, "not_wanted")


def is_dropped(body: Any) -> None:
    assert body == {"dropped": ["data.quotes.NASDAQ.AAPL"], "not_wanted": []}


def is_kept_current(body: Any) -> None:
    assert [row["series"] for row in body["series"]] == ["AAPL.NASDAQ:1m:TRADES:rth"]


def is_a_ticket(body: Any) -> None:
    assert len(body["ticket"]) == 43
    assert body["expires_in"] == 30


def is_refused(body: Any) -> None:
    assert (body["status"], body["errors"][0]["field"]) == (422, "timeframe")
    assert "10m" in body["errors"][0]["allowed"]


CHECKS: dict[str, Callable[[Any], None]] = {
    "the chart of the web front end": is_a_chart,
    "minutes from a moment on, as CSV": are_lines(*stamps(0)),
    "the page after": are_lines(*stamps(5)),
    "as they were at a version, whatever was written since": are_lines(*stamps(0)),
    "up to the bar that forms, where somebody wants it live": reaches_the_present,
    "made of what is stored: nothing is asked of IB": is_aggregated,
    "several symbols, chosen fields": are_two_symbols,
    "column by column, newest first": are_columns,
    "line by line, in gzip": are_quotes,
    "what nobody has yet, waited for": are_new_bars,
    "unchanged": is_unchanged,
    "what of a window is there": is_covered,
    "how a bar came to be": is_explained,
    "trading sessions": are_sessions,
    "instruments by name": is_found,
    "the same in the words of the web front end": is_found_by_the_front_end,
    "currency pairs": are_pairs,
    "want quotes and minutes live for five minutes": is_wanted,
    "each quote and each midpoint, in place of the newest state": are_wanted_ticks,
    "the newest quotes, or why there is none": are_newest_quotes,
    "want it no longer": is_dropped,
    "keep a series current": is_kept_current,
    "a ticket for a socket": is_a_ticket,
    "what is wrong, and what there is instead": is_refused,
}


def test_the_examples_of_the_page_answer_what_it_says(friday: ServiceStack) -> None:
    requested = examples()
    assert list(requested) == list(CHECKS)
    scopes = ["bars:read", "backfill:write"]
    key = friday.client.post("/api/v1/auth/api-keys", json={"name": "examples", "scopes": scopes}).json()["api_key"]
    environment = {**os.environ, "API": str(friday.client.base_url).rstrip("/"), "KEY": key, "NO_PROXY": "*"}
    for title, commands in requested.items():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], env=environment, capture_output=True, text=True, check=False
        )
        print(f"\n# {title}\n{commands}\n{done.stdout[:MOST_CHARS]}{' ...' * (len(done.stdout) > MOST_CHARS)}")
        assert done.returncode == 0, done.stderr
        check = CHECKS[title]
        check(json.loads(done.stdout) if done.stdout.startswith("{") and "\n{" not in done.stdout else done.stdout)
