"""The programs of docs/live.md, run as they stand there while a market trades: bridge, simulator, bus, API and sockets are real.
`pytest -s` prints the transcript."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev.environment import environment
from dev.process import Group, free_port
from dev.stack import read
from nautilus.clock import rfc3339
from tests.support.live_stack import LiveStack, live_stack
from tests.support.stack import service_stack

PAGE = (Path(__file__).parents[2] / "docs" / "live.md").read_text()
STEPPED = ("--clock", "stepped", "--latency", "none", "--start", "2026-03-02T17:00:30Z")
BARS = "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
QUOTES = "data.quotes.NASDAQ.AAPL"
NODE = shutil.which("node")
LONGEST_PROGRAM = 13
"""Lines of code: an example that is longer is none."""


def examples() -> dict[str, str]:
    """Language -> program."""
    section = PAGE.partition("### Examples")[2].partition("\n### ")[0]
    return dict(re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL))


def test_the_page_has_an_example_for_each() -> None:
    found = examples()
    assert set(found) == {"bash", "python", "javascript"}
    assert all(len([line for line in text.splitlines() if line]) <= LONGEST_PROGRAM for text in found.values())


@pytest.fixture
def live(servers: SimpleNamespace, dsn: str) -> Iterator[LiveStack]:
    with service_stack(servers.group, servers.folder, dsn, *STEPPED) as stack, live_stack(stack) as made:
        made.start_bridge()
        made.instrument("AAPL")
        yield made


def serve(live: LiveStack, group: Group) -> str:
    """The local API in a process of its own, with the stream; returns its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    child = group.start(
        f"api-{port}",
        [sys.executable, "-m", "dev.local_api", "--port", str(port)],
        log=live.stack.folder / "api.log",
        env=environment({**live.stack._settings, "NAUTILUS_API_HOST": "127.0.0.1"}),
        ready=lambda child: read(f"{url}/health") is not None,
    )
    child.wait_ready()
    return url


class Program:
    """An example in a process of its own, as a reader starts it, and the messages that it has printed."""

    def __init__(self, language: str, text: str, folder: Path, given: dict[str, str]) -> None:
        suffix = {"bash": "sh", "python": "py", "javascript": "mjs"}[language]
        self.language = language
        self.output = folder / f"{language}.out"
        file = folder / f"example.{suffix}"
        file.write_text(text)
        command = {
            "bash": ["bash", "-euo", "pipefail", str(file)],
            "python": [sys.executable, str(file)],
            "javascript": [NODE or "", "--experimental-websocket", "--no-warnings", str(file)],
        }[language]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, env={**os.environ, **given}, stdout=output, stderr=subprocess.STDOUT
            )

    def messages(self) -> list[dict[str, Any]]:
        text = self.output.read_text()
        assert self.process.poll() is None, text
        lines = [line.removeprefix("data:").strip() for line in text.splitlines()]
        whole = [line for line in lines if line.startswith(("{", "[")) and line.endswith(("}", "]"))]
        return [message for line in whole for message in _several(json.loads(line))]

    def kinds(self) -> set[tuple[str, str]]:
        """(kind, channel) of what has come."""
        return {(message["t"], message.get("c", "")) for message in self.messages()}

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def _several(found: Any) -> list[dict[str, Any]]:
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("language", ["bash", "python", "javascript"])
def test_the_examples_print_history_then_live_bars_and_quotes(
    live: LiveStack, servers: SimpleNamespace, tmp_path: Path, language: str
) -> None:
    if language == "javascript" and NODE is None:
        pytest.skip("no node on this machine")
    url = serve(live, servers.group)
    body = {"name": "examples", "scopes": ["bars:read"]}
    key = live.stack.client.post("/api/v1/auth/api-keys", json=body).json()["api_key"]
    live.stack.finished(live.stack.backfill(symbol="AAPL", timeframe="1m", start="2026-03-02T16:00:00Z"))
    program = Program(language, examples()[language], tmp_path, {"API": url, "KEY": key, "NO_PROXY": "*"})
    try:
        live.wait(lambda: ("snapshot", BARS) in program.kinds(), "a snapshot of bars", 60, program.output.read_text)
        (snapshot, *_) = [m for m in program.messages() if (m["t"], m.get("c")) == ("snapshot", BARS)]
        assert [bar["ts"] for bar in snapshot["bars"]] == [f"2026-03-02T16:{minute}:00Z" for minute in (57, 58, 59)]
        live.wait_state("AAPL", "live", "bars:1m")
        live.wait_state("AAPL", "live", "quotes")
        wanted = {("bar", BARS), ("quote", QUOTES)}
        for _ in range(30):
            if wanted <= program.kinds():
                break
            live.advance(10)
        live.wait(lambda: wanted <= program.kinds(), "live bars and quotes", 30, program.output.read_text)
        newest = [m for m in program.messages() if m["t"] == "bar"][-1]
        assert newest["ts"] >= rfc3339(live.stack.market_ns() - 300 * 10**9)
        print(f"\n# {language}\n{program.output.read_text()[:1_500]}")
    finally:
        program.end()
