"""The simulator as a process of its own, and a line to its control port."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
"""How long a command may take on a machine that does much else: `advance` plays every second on its way."""


@dataclass
class Simulator:
    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def port(self) -> int:
        return int(self.ready["port"])

    def command(self, line: str) -> dict[str, Any]:
        """The answer to one line at the control port; AssertionError when it was refused."""
        answer = self._say(line)
        assert answer.pop("ok"), answer
        return answer

    def refusal(self, line: str) -> str:
        """Why a line is refused; AssertionError when it is not."""
        answer = self._say(line)
        assert not answer["ok"], answer
        return str(answer["error"])

    def _say(self, line: str) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.ready["control_port"]), timeout=PATIENCE_S) as connection:
            connection.sendall(line.encode() + b"\n")
            return dict(json.loads(connection.makefile().readline()))


@contextmanager
def killed_simulator(*options: str) -> Iterator[Simulator]:
    """Runs it on free ports; the end is a SIGKILL."""
    with _process(*options) as running:
        yield running


@contextmanager
def simulator(*options: str) -> Iterator[Simulator]:
    """Runs it on free ports; the end is a SIGTERM that has to be clean."""
    with _process(*options) as running:
        yield running
        running.process.terminate()
        assert running.process.wait(10) == 0


@contextmanager
def _process(*options: str) -> Iterator[Simulator]:
    command = [sys.executable, "-m", "ib_gateway_sim", "--port", "0", "--control-port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Simulator(process, json.loads(process.stdout.readline()))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
