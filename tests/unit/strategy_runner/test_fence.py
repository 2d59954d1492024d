"""A strategy sees its bars, and nothing else of the machine on which it runs."""

import os
import socket
import subprocess

import pytest

from tests.support.strategy_runner import INTERPRETER, START, Done, Runner, chunk, minutes, needs_engine, scripted

pytestmark = needs_engine
CURIOUS = """
import os, socket
from pathlib import Path
from strategy_runner.strategy import Strategy, StrategyParameters

class Curious(Strategy):
    class Parameters(StrategyParameters):
        host: int
        data: str
        scratch: str
        port: int

    def decide(self, bar):
        wanted = self.parameters
        self.attempt("environment", lambda: dict(os.environ))
        self.attempt("of the host", lambda: Path(f"/proc/{wanted.host}/environ").read_bytes())
        self.attempt("data", lambda: Path(wanted.data).read_text())
        self.attempt("folders", lambda: os.listdir(Path(wanted.data).parent))
        self.attempt("write", lambda: Path(wanted.data + ".new").write_text("x"))
        self.attempt("scratch", lambda: Path(wanted.scratch, "notes").write_text("x"))
        self.attempt("network", lambda: socket.create_connection(("127.0.0.1", wanted.port), 1) and "connected")
        self.attempt("descriptors", lambda: sorted(os.readlink(f"/proc/self/fd/{n}").partition(":")[0]
                                                   for n in range(64) if os.path.exists(f"/proc/self/fd/{n}")))

    def attempt(self, name, do):
        try:
            self.signal(name, got=str(do()))
        except OSError as error:
            self.signal(name, refused=type(error).__name__)
"""


@pytest.fixture
def curious(tmp_path):
    """What a curious strategy got, and what holds of the fence, by its own word."""
    folder, scratch, data = (
        scripted(tmp_path / "strategies", CURIOUS, "curious"),
        tmp_path / "scratch",
        tmp_path / "data",
    )
    scratch.mkdir()
    data.mkdir()
    (data / "secret").write_text("password")
    with socket.create_server(("127.0.0.1", 0)) as server, Runner(folder=folder, scratch=scratch) as runner:
        parameters = {
            "host": os.getpid(),
            "data": str(data / "secret"),
            "scratch": str(scratch),
            "port": server.getsockname()[1],
        }
        runner.send("start", **START | {"template": "curious", "parameters": parameters})
        runner.write(chunk(minutes([100.0])))
        runner.send("end")
        done = Done(runner.rest(), runner.process.wait())
    got = {one["name"]: one["body"].get("got", one["body"].get("refused")) for one in done.of("signal")}
    return got, done.one("ready")["fence"]


def test_the_environment_is_empty_and_no_descriptor_but_the_pipes_is_there(curious):
    got, _ = curious
    assert "PATH" not in got["environment"]
    assert "HOME" not in got["environment"]
    assert "socket" not in got["descriptors"]


def test_what_the_fence_says_is_what_it_does(curious):
    """Where the kernel has neither Landlock nor namespaces, the fence says so, and nothing is promised."""
    got, holds = curious
    closed = {"of the host", "data", "folders", "write"}
    assert {name for name in closed if "Error" in got[name]} == (closed if "files" in holds else set())
    assert ("Error" in got["network"]) == ("network" in holds)
    assert got["scratch"] == "1"
    assert "privileges" in holds


def test_a_process_without_the_fence_gets_all_of_it(tmp_path):
    """The opponent: the same environment and descriptors, and no fence."""
    (tmp_path / "secret").write_text("password")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            f"import socket; print(open('/proc/{os.getpid()}/environ', 'rb').read()[:1]); "
            f"print(open({str(tmp_path / 'secret')!r}).read()); "
            f"print(socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5) and 'connected')"
        )
        done = subprocess.run([INTERPRETER, "-I", "-c", code], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["password", "connected"]
