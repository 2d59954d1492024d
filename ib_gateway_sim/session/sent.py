"""What the gateway has sent: the newest messages of each kind, so that streams of ticks do not push out an order's words."""

from collections import deque
from itertools import count
from typing import Any, NamedTuple

from ib_gateway_sim.wire import codec

_OF_A_KIND = 2_000  # messages that are kept
_BYTES = 4_096  # of a message that are kept
_HEAD_BYTES = 4  # a frame begins with its length


class Sent(NamedTuple):
    number: int
    client_id: int
    time_ns: int  # market time
    data: bytes  # the beginning of the payload
    size: int  # bytes of the whole payload


class SentLog:
    def __init__(self) -> None:
        self._kinds: dict[str, deque[Sent]] = {}
        self._numbers = count()

    def add(self, kind: str, client_id: int, time_ns: int, frame: bytes) -> None:
        kept = self._kinds.get(kind)
        if kept is None:
            kept = self._kinds[kind] = deque(maxlen=_OF_A_KIND)
        data = frame[_HEAD_BYTES : _HEAD_BYTES + _BYTES]
        kept.append(Sent(next(self._numbers), client_id, time_ns, data, len(frame) - _HEAD_BYTES))

    def entries(self, kind: str = "", client_id: int | None = None, since_ns: int = 0) -> list[dict[str, Any]]:
        """In the order of sending: kind, client_id, time_ns, fields (texts, the id of the message first); `cut` is True
        where the message was longer than what is kept, and its last field may be a part of one."""
        found = [
            (each, name)
            for name, kept in self._kinds.items()
            for each in kept
            if kind in ("", name) and client_id in (None, each.client_id) and each.time_ns >= since_ns
        ]
        return [_entry(name, each) for each, name in sorted(found)]

    def clear(self) -> None:
        self._kinds.clear()


def _entry(kind: str, each: Sent) -> dict[str, Any]:
    cut = each.size > len(each.data)
    fields = each.data.decode("utf-8", "replace").split("\0") if cut else codec.split(each.data)
    return {"kind": kind, "client_id": each.client_id, "time_ns": each.time_ns, "fields": fields, "cut": cut}
