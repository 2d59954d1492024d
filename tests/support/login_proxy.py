"""A gateway that is logged in as whom the test says, and whose wire can break within a message: the simulator behind a relay.

Only the account's name is another one, everything else is the simulator's. What a client sends is noted, and nothing of it
is lost on the way to this note.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PLACE, CANCEL, ALL_OPEN, COMPLETED, GLOBAL_CANCEL = "3", "4", "16", "99", "58"
"""Numbers of the messages that are about orders, as clients send them."""
ORDER_BYTES = frozenset({PLACE, CANCEL, ALL_OPEN, COMPLETED, GLOBAL_CANCEL, "5", "15", "21"})


class LoginProxy:
    """Relays whole messages between clients and a simulator whose account is `real`. `name`: who is logged in now."""

    def __init__(self, port: int, real: str, name: str = "") -> None:
        self.name = name or real
        self.sent: list[list[str]] = []
        """The messages of clients since the last `forget`, as fields."""
        self._real = real.encode()
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut_before = 0
        self._closing = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    # ---- what a test does --------------------------------------------------------------------------------------------

    def log_in(self, name: str) -> None:
        """Somebody logs in as another user: every connection ends, and new ones have the other account."""
        assert len(name) == len(self._real), "messages keep their length"
        self.forget()
        self.name = name
        self.drop()

    def drop(self) -> None:
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def cut(self, order: int) -> None:
        """Half of this order's message gets through, counted from now on, and then the connection is gone."""
        self._cut_before = order

    def forget(self) -> None:
        self.sent.clear()

    def of_kind(self, *kinds: str) -> list[list[str]]:
        return [fields for fields in list(self.sent) if fields[0] in kinds]

    def close(self) -> None:
        self._closing = True
        self._server.close()
        self.drop()

    # ---- relaying ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._server.accept()
                gateway = socket.create_connection(("127.0.0.1", self._target), timeout=20)
            except OSError:
                continue
            gateway.settimeout(None)
            self._pairs.append((client, gateway))
            threading.Thread(target=self._upward, args=(client, gateway, self.name.encode()), daemon=True).start()
            threading.Thread(target=self._downward, args=(gateway, client, self.name.encode()), daemon=True).start()

    def _upward(self, client: socket.socket, gateway: socket.socket, name: bytes) -> None:
        with suppress(OSError, EOFError):
            gateway.sendall(_exactly(client, 4))  # the word API before the versions
            gateway.sendall(_frame(_message(client)))
            while True:
                body = _message(client)
                fields = body.decode("utf-8", "replace").split("\0")
                if fields[0] == PLACE and self._cut_before:
                    self._cut_before -= 1
                    if not self._cut_before:
                        gateway.sendall(_frame(body)[: len(body) // 2])
                        break
                self.sent.append(fields)
                gateway.sendall(_frame(body.replace(name, self._real)))
        _end(client, gateway)

    def _downward(self, gateway: socket.socket, client: socket.socket, name: bytes) -> None:
        with suppress(OSError, EOFError):
            while True:
                client.sendall(_frame(_message(gateway).replace(self._real, name)))
        _end(client, gateway)


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _message(source: socket.socket) -> bytes:
    return _exactly(source, int.from_bytes(_exactly(source, 4), "big"))


def _exactly(source: socket.socket, size: int) -> bytes:
    """So many bytes; EOFError at the end."""
    got = b""
    while len(got) < size:
        part = source.recv(size - len(got))
        if not part:
            raise EOFError
        got += part
    return got


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def login_proxy(port: int, real: str, name: str = "") -> Iterator[LoginProxy]:
    proxy = LoginProxy(port, real, name)
    try:
        yield proxy
    finally:
        proxy.close()
