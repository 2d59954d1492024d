"""`make up` and `make demo` as a newcomer runs them: what they print works, what they start ends with them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.redis import redis_binary
from dev.stack import EXPORT_PYTHON, strategy_python

REPOSITORY = Path(__file__).parents[2]
OURS = (REPOSITORY, REPOSITORY / "layers" / "shared", REPOSITORY / "clients" / "python")
ENVIRONMENT = {**os.environ, "PYTHONPATH": ":".join(map(str, OURS))}
PROCESSES = {
    *("guard.py", "postgres", "moto.server", "ib_gateway_sim"),
    *("ib_bridge", "ib_bridge.orders", "dev.local_api", "stream"),
}
if binary := redis_binary():
    PROCESSES.add(Path(binary).name)


class Running:
    """A program of ours in its own process; what it prints goes to a file. deaf: whether SIGINT is as it is for the tests.
    words: more of its command line."""

    def __init__(
        self,
        module: str,
        data: Path,
        env: Mapping[str, str] | None = None,
        *,
        deaf: bool = True,
        words: Sequence[str] = (),
    ) -> None:
        self.output = data.with_name(f"{data.name}-{module}.out")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "--data", str(data), *words],
                cwd=REPOSITORY,
                env={**ENVIRONMENT, **(env or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                # Tests that run in the background are deaf to SIGINT, and so are their children unless told.
                preexec_fn=None if deaf else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str, *, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while words not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)

    def children(self) -> dict[str, int]:
        """Its child processes: the word of PROCESSES in the command line -> process id."""
        listing = subprocess.run(
            ["ps", "-ww", "-eo", "ppid=,pid=,args="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(maxsplit=2) for line in listing.splitlines()]
        ours = {int(pid): args for ppid, pid, args in rows if int(ppid) == self.process.pid}
        words = {pid: {Path(part).name for part in args.split()} for pid, args in ours.items()}
        return {word: pid for pid, named in words.items() for word in PROCESSES & named}


@contextmanager
def running(module: str, data: Path, env: Mapping[str, str] | None = None, **more: Any) -> Iterator[Running]:
    program = Running(module, data, env, **more)
    try:
        yield program
    finally:
        program.process.terminate()
        program.process.wait(30)


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() != "" and not state.startswith("Z")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_up_prints_lines_that_work_heals_itself_and_ends_whole(data: Path) -> None:
    config = {"NAUTILUS_CONFIG_DIR": str(data.with_name("config"))}
    with running("dev.up", data, config, words=("--profile",)) as up:
        up.wait_for("limit=5")
        children = up.children()
        assert set(children) == PROCESSES
        there = {"strategies": bool(strategy_python()), "exports": EXPORT_PYTHON.exists()}
        named = {name: re.findall(rf"^  {name} +(.+)$", up.text(), re.MULTILINE)[0] for name in there}
        assert {name: not text.startswith("none") for name, text in named.items()} == there
        for address in re.findall(r"http://\S+", named["strategies"]):
            assert "engine" in httpx.get(address, trust_env=False).json()

        up.wait_for("session with IB: connected")
        lines = re.findall(r"read the last of them:\n(.*)\nListen to its live bars", up.text(), re.DOTALL)[0]
        lines += (
            "\n" + re.findall(r"\(docs/orders.md has the rest\):\n(.*?)\n\n", up.text() + "\n\n", re.DOTALL)[0].lstrip()
        )
        words = subprocess.run(["bash", "-euc", lines], capture_output=True, text=True, check=True, timeout=60).stdout
        decoder = json.JSONDecoder()
        requested, end = decoder.raw_decode(words)
        assert requested["request"] == {"symbol": "AAPL", "timeframe": "1m", "days_back": 30}
        rest = words[end:].lstrip()
        bars, end = decoder.raw_decode(rest)
        assert bars["source"] == "sim:7"
        assert bars["total"] == 5
        order, _ = decoder.raw_decode(rest[end:].lstrip())
        assert order.get("order", order)["quantity"] == "10", "denied at night and at the weekend, else accepted"

        line = re.findall(r"^ +(\S.* -m nautilus_client .*)$", up.text(), re.MULTILINE)[0]
        shell = {**os.environ, "PYTHONPATH": "/nowhere"}
        own = subprocess.run(
            ["bash", "-euc", line], capture_output=True, text=True, timeout=60, check=True, cwd=REPOSITORY, env=shell
        )
        assert "AAPL.NASDAQ 1m TRADES rth: version" in own.stderr

        for name in ("ib_bridge", "dev.local_api"):
            os.kill(children[name], signal.SIGKILL)
        up.wait_for("bridge was ended by SIGKILL")
        up.wait_for("api starts again in 2 s")
        url = re.findall(r"API +(http://\S+)", up.text())[0]
        assert answers(url, within_s=30)

        children = up.children()
        assert set(children) == PROCESSES
        up.process.terminate()
        assert up.process.wait(30) == 0
        assert "Nautilus has ended; the data stay in" in up.text()
        assert not any(alive(pid) for pid in children.values())


def test_up_runs_the_stream_and_keeps_three_series_current(data: Path) -> None:
    with running("dev.up", data) as up:
        up.wait_for("limit=5")
        sockets = re.findall(r"sockets +ws://(\S+)/ws/v1/stream", up.text())[0]
        assert httpx.get(f"http://{sockets}/health", trust_env=False).json()["sockets"] == 0
        url = re.findall(r"API +(http://\S+)", up.text())[0]
        password = (data / "sim" / "trader.password").read_text().strip()
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as api:
            signed_in = api.post("/api/v1/auth/login", json={"username": "trader", "password": password}).json()
            listed = api.get(
                "/api/v1/market-data/watchlist", headers={"Authorization": f"Bearer {signed_in['access_token']}"}
            ).json()
    series = [f"{row['instrument_id']}:{row['timeframe']}" for row in listed["series"]]
    assert sorted(series) == ["AAPL.NASDAQ:1m", "EUR/USD.IDEALPRO:1m", "MSFT.NASDAQ:1m"]


def test_a_second_stack_on_the_same_data_is_refused(data: Path) -> None:
    with running("dev.up", data) as up:
        up.wait_for("Nautilus with")
        while not (data / "sim" / "lock").exists():
            time.sleep(0.01)
        with running("dev.demo", data) as demo:
            assert demo.process.wait(30) == 1
            assert "another stack uses" in demo.text()


def answers(url: str, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            return httpx.get(f"{url}/health", trust_env=False).is_success
        except httpx.TransportError:
            time.sleep(0.1)
    return False


def test_the_demo_brings_a_month_of_three_instruments_and_leaves_nothing_running(data: Path) -> None:
    with running("dev.demo", data) as demo:
        demo.wait_for("signed in as trader")
        children = demo.children()
        assert set(children) == PROCESSES
        assert demo.process.wait(90) == 0, demo.text()
    text = demo.text()
    assert not any(alive(pid) for pid in children.values())
    assert len(re.findall(r"^ +\d+\.\d s +\d+ requests", text, re.MULTILINE)) >= 2  # progress, without a terminal
    for name in ("AAPL.NASDAQ, TRADES", "EUR/USD.IDEALPRO, MIDPOINT", "ES", "nothing is missing"):
        assert name in text
    bars = sum(int(number.replace(",", "")) for number in re.findall(r"sim:7: ([\d,]+) bars", text))
    assert bars > 50_000
    assert f"{bars:,} bars in the range asked for" in text
    assert "15 requests to IB" in text
