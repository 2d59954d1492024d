"""An app of ours behind a real socket, for the client; and a wire between both that can be cut."""

import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from dev.process import free_port
from nautilus.auth import api_keys
from nautilus.db.auth import api_keys as keys
from nautilus.db.auth import users
from nautilus.db.connection import Database

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-client" / "bin" / "python"
PATIENCE_S = 60


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of the app, as long as the block lasts."""
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", free_port(), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not server.started:
            assert time.monotonic() < deadline, "the app does not listen"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


def api_key(db: Database, *scopes: str, name: str = "ann", accounts: Sequence[str] = ()) -> str:
    """The text of an API key with these scopes, of a user who may use these accounts."""
    made = api_keys.new_key()
    with db.transaction() as cursor:
        user = users.put(cursor, name, "no password", scopes, accounts=list(accounts))
        keys.create(
            cursor,
            user_id=user,
            name="test",
            prefix=made.prefix,
            secret_hash=made.hash,
            scopes=scopes,
            expires_at=None,
        )
    return made.text


class Wire:
    """Passes connections on to an API. `cut`: called with the number of an answer, from 1 on, and its bytes; it returns those
    that pass, after which the connection ends where they are fewer. `requests`: the first line of each, `heads`: all of it but
    the body."""

    def __init__(self, port: int, cut: Callable[[int, bytes], bytes]) -> None:
        self.answers = 0
        self.requests: list[str] = []
        self.heads: list[str] = []
        self._port = port
        self._cut = cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while request := _message(client):
                self.requests.append(request.split(b"\r\n", 1)[0].decode())
                self.heads.append(request.partition(b"\r\n\r\n")[0].decode())
                with socket.create_connection(("127.0.0.1", self._port)) as server:
                    server.sendall(request)
                    answer = _message(server)
                self.answers += 1
                passed = self._cut(self.answers, answer)
                client.sendall(passed)
                if len(passed) < len(answer):
                    return

    def close(self) -> None:
        self._listener.close()


def _message(connection: socket.socket) -> bytes:
    """A request or an answer with Content-Length; nothing when the connection has ended."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = int(lengths[0]) if lengths else 0
    while len(body) < size:
        piece = connection.recv(65_536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body


class Crossing:
    """One address for several servers: a connection goes to the port that `port_of` names for the head of its first request.
    `cut`: ends all connections without a word, and takes no other until `mend`."""

    def __init__(self, port_of: Callable[[str], int]) -> None:
        self.heads: list[str] = []
        self._port_of = port_of
        self._open: list[socket.socket] = []
        self._mended = threading.Event()
        self._mended.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._mended.is_set():
                    threading.Thread(target=self._pass, args=(client,), daemon=True).start()
                else:
                    _reset(client)

    def _pass(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            request = _message(client)
            head = request.partition(b"\r\n\r\n")[0].decode()
            self.heads.append(head)
            with socket.create_connection(("127.0.0.1", self._port_of(head))) as server:
                self._open += [client, server]
                # The next request is a connection of its own, as it may go elsewhere.
                server.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                _pump(server, client)

    def cut(self) -> None:
        self._mended.clear()
        for one in self._open:
            _reset(one)
        self._open.clear()

    def mend(self) -> None:
        self._mended.set()

    def close(self) -> None:
        self.cut()
        self._listener.close()


def _reset(connection: socket.socket) -> None:
    """End a connection with a reset; who reads it in another thread is woken."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65_536):
        target.sendall(data)


@contextmanager
def wire(url: str, cut: Callable[[int, bytes], bytes]) -> Iterator[Wire]:
    made = Wire(int(url.rpartition(":")[2]), cut)
    try:
        yield made
    finally:
        made.close()


def installed() -> Path:
    """The Python of the client's own environment, with the wheel installed as `make client` has built it."""
    # Beside the environment itself: several working trees may share one, by a link.
    lock = (ROOT / ".venv-client").resolve().with_suffix(".lock")
    done = subprocess.run(
        ["flock", str(lock), "make", "--no-print-directory", "client"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return PYTHON


def in_environment(code: str, environment: Mapping[str, str], *arguments: str) -> Any:
    """What a program prints as JSON, run by the client's own Python without anything of ours in its path."""
    done = subprocess.run(
        [str(PYTHON), "-I", "-W", "error", "-c", code, *arguments],
        env={"PATH": f"{PYTHON.parent}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
