"""Complete answers in Redis, by their tag: a tag names the same bytes for as long as it is given out."""

import json
import time

from nautilus.infra.cache import Cache
from nautilus.reading.answer import Draft, Reply
from nautilus.reading.headers import OF_ONE_ANSWER, Timing

_KEEP_S = 3_600


class AnswerCache:
    """Without Redis it holds nothing."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def may_hold(self, tag: str) -> bool:
        return bool(tag) and self._cache.there

    async def get(self, draft: Draft, timing: Timing) -> Reply | None:
        """The answer to a draft; None when Redis does not have it."""
        if not draft.tag:
            return None
        since = time.perf_counter()
        kept = await self._cache.threads.run(self._cache.get, _key(draft.tag)) if self._cache.there else None
        timing.add("redis", since)
        headers, content = _parts(kept or b"")
        if headers is None:
            timing.cache = "miss" if self._cache.there else "none"
            return None
        timing.cache = "hit"
        return Reply(200, content, {**draft.headers, **headers, "Server-Timing": timing.header})

    async def put(self, tag: str, reply: Reply) -> None:
        """Keep an answer, where it is one that may be kept."""
        if not self.may_hold(tag) or reply.status != 200:
            return
        kept = {name: text for name, text in reply.headers.items() if name not in OF_ONE_ANSWER}
        value = json.dumps(kept).encode() + b"\n" + reply.content
        await self._cache.threads.run(self._cache.put, _key(tag), value, _KEEP_S)


def _key(tag: str) -> str:
    return f"nautilus:bars:{tag}"


def _parts(kept: bytes) -> tuple[dict[str, str] | None, bytes]:
    """The headers and the body of an answer as Redis has it; None instead of headers for what is none of ours."""
    text, _, content = kept.partition(b"\n")
    try:
        headers = json.loads(text)
    except ValueError:
        return None, b""
    ours = isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values())
    return (headers, content) if ours else (None, b"")
