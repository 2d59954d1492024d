"""What the gateway has sent: the newest messages of each kind, so that streams of ticks do not push out an order's words."""

from collections import deque
from itertools import count
from typing import Any

from ib_gateway_sim.wire import codec

_OF_A_KIND = 2_000  # messages that are kept
_OF_TICKS = 500  # of a kind that streams send many times a second
_TICKS = frozenset({"tickPrice", "tickSize", "tickString", "tickGeneric", "tickOptionComputation", "tickByTick"})
KEPT_BYTES = 4_100  # of a frame that are kept
_HEAD_BYTES = 4  # a frame begins with its length

Sent = tuple[int, int, int, bytes]
"""Its number, the client's id, market time in nanoseconds, and (the beginning of) the frame. A plain tuple: one is made for
every message."""


class _Kinds(dict[str, deque[Sent]]):
    """Kind -> its newest messages, the oldest first."""

    def __missing__(self, kind: str) -> deque[Sent]:
        kept = self[kind] = deque(maxlen=_OF_TICKS if kind in _TICKS else _OF_A_KIND)
        return kept


class SentLog:
    def __init__(self) -> None:
        self.kinds = _Kinds()
        self.numbers = count()

    def entries(self, kind: str = "", client_id: int | None = None, since_ns: int = 0) -> list[dict[str, Any]]:
        """In the order of sending: kind, client_id, time_ns, fields (texts, the id of the message first); `cut` is True
        where the message was longer than what is kept, and its last field may be a part of one."""
        found = [
            (each, name)
            for name, kept in self.kinds.items()
            for each in kept
            if kind in ("", name) and client_id in (None, each[1]) and each[2] >= since_ns
        ]
        return [_entry(name, each) for each, name in sorted(found)]

    def take_back(self, client_id: int, number: int) -> None:
        """Messages to a client from a number on have not been sent after all."""
        for kept in self.kinds.values():
            sent = [each for each in kept if each[0] < number or each[1] != client_id]
            kept.clear()
            kept.extend(sent)


def _entry(kind: str, each: Sent) -> dict[str, Any]:
    _, client_id, time_ns, frame = each
    data, cut = frame[_HEAD_BYTES:], int.from_bytes(frame[:_HEAD_BYTES], "big") > len(frame) - _HEAD_BYTES
    fields = data.decode("utf-8", "replace").split("\0") if cut else codec.split(data)
    return {"kind": kind, "client_id": client_id, "time_ns": time_ns, "fields": fields, "cut": cut}
