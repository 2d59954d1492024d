"""The health check of the gateway's container: only who completes the API's handshake is healthy.

The command is taken out of the files that use it and run against the simulator, against a port that accepts and stays
silent (as socat does before a gateway that is down), and against nothing.
"""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.process import free_port
from tests.contract.test_template import COMPOSE, CONTAINERS
from tests.support.sim_process import simulator

ROOT = Path(__file__).parents[3]


def in_template(port: int) -> list[str]:
    command = list(CONTAINERS["BridgeTask.gateway"]["HealthCheck"]["Command"])
    text, known = command[-1]["Fn::Sub"]
    assert known == {"Port": {"Fn::FindInMap": ["Gateway", {"Ref": "TradingMode"}, "Port"]}}
    return [*command[1:-1], text.replace("${Port}", str(port))]


def in_compose(port: int) -> list[str]:
    command = list(COMPOSE["services"]["ib-gateway"]["healthcheck"]["test"])
    return [word.replace("$$", "$").replace("port=4002", f"port={port}") for word in command[1:]]


def in_simulator(port: int) -> list[str]:
    text = (ROOT / "ib_gateway_sim" / "Dockerfile").read_text().replace("\\\n", "")
    (command,) = re.findall(r"HEALTHCHECK .*? CMD (\[.*\])", text)
    return [word.replace("/4002", f"/{port}") for word in json.loads(command)]


CHECKS = [in_template, in_compose, in_simulator]


def healthy(command: list[str]) -> bool:
    quick = [word.replace("timeout 5", "timeout 0.3") for word in command]
    return subprocess.run(quick, capture_output=True, env={"PATH": os.environ["PATH"]}, timeout=10).returncode == 0


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("check", CHECKS)
def test_only_the_handshake_counts(check, silent):
    with simulator() as gateway:
        assert healthy(check(gateway.port))
    assert not healthy(check(silent)), "a port that accepts and says nothing"
    assert not healthy(check(free_port())), "a port that nobody listens on"
