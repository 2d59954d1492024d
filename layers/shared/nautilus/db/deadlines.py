"""Breaking off a connection whose server says nothing: not even that the time of a statement is over."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2

_log = logging.getLogger(__name__)


class Deadlines:
    """Ends connections under the hands of threads that have waited too long for an answer.

    A server that is frozen, or whose disk hangs, keeps its connections and is silent, and a network that is cut is noticed
    after minutes. One thread looks every `interval_s` seconds at all connections that somebody waits for, as long as there are
    any.
    """

    def __init__(self, interval_s: float = 1.0) -> None:
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._deadlines: dict[Any, float] = {}
        self._looking = False

    @contextmanager
    def over(self, connection: Any, longest_s: float) -> Iterator[None]:
        """A block in which the connection is broken off once it has lasted longer than `longest_s` seconds; then its
        attribute `broken_off` is True."""
        with self._lock:
            if not self._looking:
                # Where no thread can be had, this call fails, and the next one tries again.
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
                self._looking = True
            self._deadlines[connection] = time.monotonic() + longest_s
        try:
            yield
        finally:
            with self._lock:
                del self._deadlines[connection]

    def _watch(self) -> None:
        while True:
            time.sleep(self._interval_s)
            with self._lock:
                if not self._deadlines:
                    self._looking = False
                    return
                for connection, deadline in self._deadlines.items():
                    if deadline < time.monotonic():
                        try:
                            connection.broken_off = True
                            _break_off(connection)
                        except Exception:
                            # One connection of an odd kind must not end the watch over all others.
                            _log.exception("deadlines-broke")


def _break_off(connection: Any) -> None:
    with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
