"""The bus over Redis: three bounded streams of one store, `live:{<store>}:bars|quotes|events`, and the key of the epoch.

The braces keep the keys in one slot of a cluster. Ids are Redis' own: with ids of ours a stream that begins anew would leave
its readers deaf. Readers use XREAD, as each wants everything. Streams have no expiry; a Redis that evicts must be set to
evict only keys that have one (`volatile-lru`), or it takes a whole stream at once.

What is lost is not seen here: a listener sees it by the numbers of its channels and by the epoch. A flush is noticed within
one beat, as the epoch's key is gone and nothing more is added under it.
"""

from collections.abc import Sequence
from typing import Any

from nautilus.errors import Unavailable
from nautilus.live.envelope import STREAMS, Entry

LENGTHS = {"bars": 20_000, "quotes": 20_000, "events": 10_000}
"""Stream -> how many messages are kept, about: at 170 bytes each some 9 MB in all."""
_CONNECT_S = 1.0
_ANSWER_S = 2.0
_PIECE = 1_000
_CHECKED_EVERY = 10
"""Reads after which it is looked whether the streams began anew."""
# KEYS: the epoch's, then a stream per message. ARGV: the epoch, then kind, channel, body and length per message.
_ADD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for n = 2, #KEYS do
  local at = 2 + (n - 2) * 4
  redis.call('XADD', KEYS[n], 'MAXLEN', '~', ARGV[at + 3], '*', 'k', ARGV[at], 'c', ARGV[at + 1], 'd', ARGV[at + 2])
end
return 1
"""
_STREAMS = tuple(sorted({*STREAMS.values(), "events"}))


def _order(number: bytes) -> tuple[int, int]:
    """An id of an entry, `ms-n`, as it sorts."""
    ms, _, n = number.partition(b"-")
    return int(ms), int(n)


def _key(store: str, name: str) -> str:
    return f"live:{{{store}}}:{name}"


class _Connection:
    """A client of Redis whose every failure is `Unavailable`."""

    def __init__(self, url: str, answer_s: float = _ANSWER_S) -> None:
        import redis  # it costs a tenth of a second at import
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._failures = (redis.RedisError, OSError, ValueError)
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_S,
            socket_timeout=answer_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )

    def call(self, *words: Any) -> Any:
        """The answer to one command."""
        try:
            return self._client.execute_command(*words)  # type: ignore[no-untyped-call]
        except self._failures as failed:
            raise Unavailable(f"Redis: {failed or type(failed).__name__}", code="bus-unavailable") from failed

    def close(self) -> None:
        self._client.close()


class RedisPublisher:
    """The one writer of a store's streams. Not safe to share between threads. Unavailable: Redis did not answer in time, and
    what was to be published may or may not be there."""

    def __init__(self, url: str, store: str) -> None:
        self._connection = _Connection(url)
        self._store = store

    def begin(self, epoch: str) -> None:
        """Begin an epoch: from now on only its messages are taken."""
        self._connection.call("SET", _key(self._store, "epoch"), epoch)

    def publish(self, epoch: str, entries: Sequence[Entry]) -> bool:
        """Add messages, a thousand at a time; False when the epoch is not that of the streams any more."""
        pieces = range(0, max(1, len(entries)), _PIECE)
        return all(self._add(epoch, entries[at : at + _PIECE]) for at in pieces)

    def _add(self, epoch: str, entries: Sequence[Entry]) -> bool:
        keys = [_key(self._store, "epoch"), *(_key(self._store, entry.stream) for entry in entries)]
        words = [word for e in entries for word in (e.kind, e.channel, e.body, LENGTHS[e.stream])]
        return bool(self._connection.call("EVAL", _ADD, len(keys), *keys, epoch, *words))

    def close(self) -> None:
        self._connection.close()


class RedisReader:
    """Reads a store's streams from now on. Not safe to share between threads. Unavailable: read again later; the position in the
    streams is kept, so that nothing is lost but what was trimmed or flushed meanwhile."""

    def __init__(self, url: str, store: str, block_s: float = 0.5) -> None:
        self._connection = _Connection(url, block_s + _ANSWER_S)
        self._block_ms = max(1, round(block_s * 1000))
        self._reads = 0
        self._places: dict[str, bytes] = {_key(store, name): b"" for name in _STREAMS}

    def read(self) -> list[Entry]:
        """What came since the last call, waiting a while for the first; the first call begins at the end of the streams."""
        for key, place in self._places.items():
            if not place:
                newest = self._connection.call("XREVRANGE", key, "+", "-", "COUNT", 1)
                self._places[key] = newest[0][0] if newest else b"0-0"
        self._reads += 1
        if self._reads % _CHECKED_EVERY == 0:
            self._go_back_where_all_is_gone()
        words = ["COUNT", _PIECE, "BLOCK", self._block_ms, "STREAMS", *self._places, *self._places.values()]
        found = []
        for key, rows in self._by_key(self._connection.call("XREAD", *words)):
            for number, fields in rows:
                self._places[key] = number
                found.append(Entry(fields[b"k"].decode(), fields[b"c"].decode(), fields[b"d"]))
        return found

    def _go_back_where_all_is_gone(self) -> None:
        """A stream that began anew by a clock that is behind has only ids that lie before our position."""
        for key, place in self._places.items():
            newest = self._connection.call("XREVRANGE", key, "+", "-", "COUNT", 1)
            if newest and _order(newest[0][0]) < _order(place):
                self._places[key] = b"0-0"

    @staticmethod
    def _by_key(answer: Any) -> list[tuple[str, Any]]:
        """The answer of XREAD: its client makes a list of pairs of it, or a mapping (protocol 3)."""
        rows = answer.items() if isinstance(answer, dict) else answer or []
        return [(bytes(key).decode(), found[0] if isinstance(answer, dict) else found) for key, found in rows]

    def close(self) -> None:
        self._connection.close()
