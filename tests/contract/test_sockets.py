"""A socket opens on every way of running that serves sockets. Without the library for it a server answers the handshake with
404, and only a browser would see."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from dev.credentials import token_settings
from dev.environment import environment
from dev.process import Group, free_port

CONTAINER = """
import sys
from pathlib import Path
from dev import container, local_api
local_api.serve(container.prepare(Path(sys.argv[1])), int(sys.argv[2]))
"""
"""What `python -m dev.container serve` does, with another folder and port."""
PATHS = {"/ws/v1/stream": 4401, "/ws/realtime": 4401}
"""Path -> the code with which who does not sign in is closed."""


def commands(folder: Path, port: int) -> dict[str, list[str]]:
    return {
        "process": ["-m", "stream"],
        "local API": ["-m", "dev.local_api", "--port", str(port)],
        "container API": ["-c", CONTAINER, str(folder), str(port)],
    }


@pytest.fixture(params=["process", "local API", "container API"])
def port(request: pytest.FixtureRequest, dsn: str, tmp_path: Path) -> Iterator[int]:
    """The port of a server that runs in this way."""
    number = free_port()
    settings = {
        "NAUTILUS_DATABASE_URL": dsn,
        "NAUTILUS_STREAM_PORT": str(number),
        "NAUTILUS_STREAM_SIGN_IN_S": "0.2",
        **token_settings(tmp_path),
    }
    with Group() as group:
        child = group.start(
            "server",
            [sys.executable, *commands(tmp_path, number)[request.param]],
            log=tmp_path / "server.log",
            env=environment(settings),
            ready=lambda _: opens(number),
        )
        child.wait_ready(within_s=60)
        yield number
        # Also where it is not the first process of a container, whom its own signal would not end.
        assert child.stop() == 0


def opens(port: int) -> bool:
    try:
        with connect(f"ws://127.0.0.1:{port}/ws/v1/stream", proxy=None):
            return True
    except OSError:
        return False


def test_each_socket_opens_and_says_why_it_closes(port: int) -> None:
    for path, code in PATHS.items():
        page = Origin(f"http://127.0.0.1:{port}")
        with connect(f"ws://127.0.0.1:{port}{path}", proxy=None, origin=page) as socket:
            first = json.loads(socket.recv(timeout=30))
            assert first, path
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code, path
