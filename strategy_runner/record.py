"""What a run did: orders, fills, equity, signals and a fault, kept as plain values until they are written to the pipe."""

import hashlib
import traceback
from collections.abc import Callable
from typing import Any

MOST_FRAMES = 10
MOST_SIGNALS = 10_000
"""Of one run. A strategy that signals on every bar of years is meant to be looked at, not stored."""
Send = Callable[..., None]


class Record:
    """Counts and keeps what happened. `flush` writes it; with `at_once`, everything is written when it happens. Counts and hash
    are whole after `flush`."""

    def __init__(self, send: Send, *, at_once: bool) -> None:
        self.orders = self.fills = self.denied = self.rejected = 0
        self.fault: dict[str, Any] | None = None
        self._signals = 0
        self._hash = hashlib.sha256()
        self._send = send
        self._at_once = at_once
        self._kept: list[tuple[Any, Any]] = []

    def write(self, kind: str, /, **body: Any) -> None:
        if self._at_once:
            self._send(kind, **body)
        else:
            self._kept.append((kind, body))

    def later(self, write: Callable[..., None], *given: Any) -> None:
        """Call what writes messages, now with `at_once`, else in `flush`: many in a row cost less than each between bars."""
        if self._at_once:
            write(*given)
        else:
            self._kept.append((write, given))

    def flush(self) -> None:
        kept, self._kept = self._kept, []
        at_once, self._at_once = self._at_once, True
        for kind, body in kept:
            if isinstance(kind, str):
                self._send(kind, **body)
            else:
                kind(*body)
        self._at_once = at_once

    def fill(self, **body: Any) -> None:
        """A fill, as the message has it. Its hash holds what was traded, and no id that another run would not have."""
        self.fills += 1
        key = (
            body["client_order_id"],
            body["side"],
            body["quantity"],
            body["price"],
            body["at_ns"],
            body["commission"],
        )
        self._hash.update(repr(key).encode())
        self.write("fill", **body)

    @property
    def fills_hash(self) -> str:
        """SHA-256 of all fills in their order, hexadecimal."""
        return self._hash.hexdigest()

    def signal(self, at_ns: int, name: str, body: dict[str, Any]) -> None:
        self._signals += 1
        if self._signals <= MOST_SIGNALS:
            self.write("signal", at_ns=at_ns, name=name, body=body)

    def failed(self, error: BaseException, *, ours: str) -> None:
        """The strategy's failure, the first one: what follows from a broken state says nothing.

        ours: the file whose frames are not the strategy's.
        """
        if self.fault is not None:
            return
        frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != ours]
        texts = [f"{one.filename}:{one.lineno} {one.name}: {one.line}" for one in frames[-MOST_FRAMES:]]
        self.fault = {"exception": type(error).__name__, "message": str(error)[:2_000], "frames": texts}
        self.write("fault", **self.fault)
