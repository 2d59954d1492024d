"""The control port of a simulator, for scripts."""

import json
import socket
from typing import Any

_PATIENCE_S = 20.0


def command(port: int, line: str) -> dict[str, Any]:
    """The simulator's answer to one command. ValueError with its words when it refuses."""
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as connection:
        connection.sendall(line.encode() + b"\n")
        answer: dict[str, Any] = json.loads(connection.makefile().readline())
    if not answer.pop("ok"):
        raise ValueError(f"{line}: {answer['error']}")
    return answer
