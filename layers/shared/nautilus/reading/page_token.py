"""Page tokens: where the next page goes on, and which versions of which series the first one saw.

A token is opaque and signed. The key is derived from the store's own random id, which no answer tells: a token is no
credential, the signature keeps positions from being invented and tokens of another database from being believed.
"""

import base64
import hashlib
import hmac
import json
import zlib
from typing import NamedTuple

from nautilus.errors import BadRequest, Gone
from nautilus.spans import Span

LIFE_S = 24 * 3600
"""Least life of a token, machine time. Changes and revisions of series must be kept for twice as long."""
NEVER_S = 2**53
"""The expiry of a token that does not expire, so that what holds it is the same for ever."""
_MARK = "2"
"""Version of what is inside; another one is no token of ours."""
_SIGNATURE_BYTES = 16
_MOST_CHARS = 16_000


class PageCursor(NamedTuple):
    """One series as the first page saw it.

    series_id 0: nothing was stored. source: timeframe of the stored bars it is aggregated from, else empty. window: [start,
    end) on the series' axis. complete: whether nothing was missing then.
    """

    con_id: int
    series_id: int
    version: int
    source: str
    window: Span
    complete: bool


class Token(NamedTuple):
    """What is still to come: `page_cursors` in order, the first of them from `key` on (or, walking back, up to `key`)."""

    query: str
    page_cursors: tuple[PageCursor, ...]
    key: int
    done: int
    """How many instruments of the query came before `page_cursors`."""
    expires_s: int

    def seal(self, store_id: str) -> str:
        rows = [[p.con_id, p.series_id, p.version, p.source, *p.window, int(p.complete)] for p in self.page_cursors]
        plain = json.dumps([self.query, rows, self.key, self.done, self.expires_s], separators=(",", ":"))
        data = zlib.compress(plain.encode(), 9)
        return _MARK + base64.urlsafe_b64encode(_sign(store_id, data) + data).decode().rstrip("=")


def expiry(now_s: int) -> int:
    """When a token made now expires: the same for all of a day, so that equal answers are equal byte by byte."""
    return (now_s // LIFE_S + 2) * LIFE_S


def unseal(text: str, store_id: str, *, query: str, now_s: int) -> Token:
    """The token of a text. BadRequest when it is not one of ours or belongs to another query, Gone when it is too old."""
    token = _open(text, store_id)
    if token is None:
        raise BadRequest(
            "page_token: this is not a token of this service; leave it out to start over", code="page-token-invalid"
        )
    if token.query != query:
        raise BadRequest(
            "page_token: it belongs to another query; repeat the parameters of the first page (limit, fields, format and"
            " wait may change)",
            code="page-token-mismatch",
        )
    if token.expires_s <= now_s:
        raise expired()
    return token


def expired() -> Gone:
    return Gone("page_token: what it points to is no longer kept; start over without it", code="page-token-expired")


def _open(text: str, store_id: str) -> Token | None:
    if not text.startswith(_MARK) or len(text) > _MOST_CHARS:
        return None
    try:
        raw = base64.b64decode(text[1:] + "=" * (-len(text[1:]) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    signature, data = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _sign(store_id, data)):
        return None
    query, rows, key, done, expires_s = json.loads(zlib.decompress(data))
    page_cursors = tuple(PageCursor(r[0], r[1], r[2], r[3], (r[4], r[5]), bool(r[6])) for r in rows)
    return Token(query, page_cursors, key, done, expires_s)


def _sign(store_id: str, data: bytes) -> bytes:
    key = hashlib.sha256(b"page-token|" + store_id.encode()).digest()
    return hmac.new(key, data, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def digest(*parts: object) -> str:
    """A short fingerprint of what makes two queries, or two answers, the same."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":"), default=str).encode()).hexdigest()[:32]
