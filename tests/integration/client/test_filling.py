"""Bars that are missing are fetched before they are read, by a real bridge: after a question on the command line, and by
`fill=True`."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nautilus_client import cli
from nautilus_client.client import Client
from tests.conftest import database
from tests.support.client_server import api_key
from tests.support.stack import ServiceStack, service_stack

WINDOW = ["--start", "2026-03-02", "--end", "2026-03-04"]
"""Two sessions of 390 minutes."""


@pytest.fixture(scope="module")
def stack(servers: SimpleNamespace, server: Any, template: Any) -> Iterator[ServiceStack]:
    options = ("--latency", "none", "--clock", "rate:1", "--start", "2026-03-04T17:30:30Z")
    with database(server, template) as dsn, service_stack(servers.group, servers.folder, dsn, *options) as made:
        made.start_bridge()
        yield made


@pytest.fixture(scope="module")
def reached(stack: ServiceStack) -> tuple[str, str]:
    """Address and key."""
    return str(stack.client.base_url).rstrip("/"), api_key(stack.db, "bars:read", "backfill:write", "monitoring:read")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ["bars", "TSLA", *WINDOW, "--fill"],
            [
                "TSLA 1m: 0 bars here; how many there are is not known yet: 1 request, about 1 s",
                "Fetch? [Y/n] ",
                "succeeded  1/1 requests  780 bars",
                "TSLA.NASDAQ 1m TRADES rth: version 1, 2026-03-02T05:00:00Z to 2026-03-04T05:00:00Z, complete",
            ],
        ),
        (
            ["demo", "AMZN"],
            ["connected since ", "$ nautilus bars AMZN -t 1m --last 3d --fill", "Next: nautilus coverage"],
        ),
    ],
)
def test_an_instrument_that_nobody_has_read_is_filled_on_a_terminal(
    reached: tuple[str, str], command: list[str], words: list[str]
) -> None:
    leader, follower = pty.openpty()
    os.write(leader, b"y\n")
    url, key = reached
    done = subprocess.run(
        [sys.executable, "-m", "nautilus_client", "--url", url, *command],
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2]), "NAUTILUS_API_KEY": key},
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        check=False,
    )
    os.close(follower)
    seen = os.read(leader, 100_000).decode()
    os.close(leader)
    assert done.returncode == 0, seen
    at = 0
    for one in words:
        assert one in seen[at:], seen
        at = seen.index(one, at) + len(one)
    assert done.stdout.count(b"\n") > 20


def test_fill_fetches_what_is_missing_and_nothing_that_is_there(stack: ServiceStack, reached: tuple[str, str]) -> None:
    url, key = reached
    with Client(url, key) as client:
        assert not client.bars("NVDA", "1m", start="2026-03-02", end="2026-03-04", request_missing=False).complete
        # The read itself waits for nothing, so that it is `fill` that has waited.
        bars = client.bars("NVDA", "1m", start="2026-03-02", end="2026-03-04", wait=0, fill=True)
        assert (bars.complete, len(bars)) == (True, 780)
        jobs = len(client.jobs())
        again = client.bars("NVDA", "1m", start="2026-03-02", end="2026-03-04", fill=True)
        assert list(again) == list(bars)
        assert len(client.jobs()) == jobs
