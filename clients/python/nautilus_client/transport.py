"""Sends requests with urllib3: time-outs, tries, one deadline for a whole call, and no credential on any other host."""

import json
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

from nautilus_client import __version__
from nautilus_client.errors import BrokenAnswer, ConfigError, DeadlineExceeded, TransportError
from nautilus_client.messages import Answer, Request
from nautilus_client.retry import RetryPolicy, may_try_again, pause_s, retry_after_s, wait_s

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

USER_AGENT = f"nautilus-client/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"
CONNECTIONS = 8
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Credentials(Protocol):
    """Who calls."""

    def headers(self) -> Mapping[str, str]:
        """The header that says so; nothing: nobody."""

    def renew(self, refused: Answer) -> bool:
        """Whether there are new ones, after an answer with status 401."""


class TraceLine(NamedTuple):
    """One request that was sent, for whoever watches. No header, and so no credential, is part of it."""

    method: str
    path: str
    status: int
    milliseconds: float
    tried: int
    request_id: str


class _IdleConnectionEnded(TransportError):
    """The server had ended a connection of the pool before the request came to it."""


class Transport:
    """One API. url: without a path. May be shared by threads."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008  a tuple, which never changes
        allow_http: bool = False,
        trace: Callable[[TraceLine], None] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no address of an API: write http://127.0.0.1:8001 or https://...")
        if parts.scheme == "http" and parts.hostname not in _LOCAL and not allow_http:
            raise ConfigError(
                f"{url} is not encrypted, and whoever listens would read the key: use https, or set allow_http"
            )
        self.url = url.rstrip("/")
        # Packing costs both sides more than the loopback interface does.
        self._coding = "identity" if parts.hostname in _LOCAL else "gzip"
        self.credentials = credentials
        self.policy = policy
        self._trace = trace
        self._pool: PoolManager | None = None
        self._lock = threading.Lock()
        self._resume_at = 0.0

    def send(self, request: Request) -> Answer:
        """The answer, whatever its status, after as many tries as the policy allows. TransportError when none came."""
        ends = time.monotonic() + self.policy.deadline_s
        tried, renewed = 0, False
        while True:
            self._keep_pace(ends)
            tried += 1
            found = self._tried(request, tried, ends)
            if isinstance(found, _IdleConnectionEnded) and request.may_repeat:
                tried -= 1  # no try: nobody has seen the request, and each of these takes a connection from the pool
                continue
            if isinstance(found, Answer) and found.status == 401 and not renewed and self.credentials.renew(found):
                renewed = True
                continue
            seconds = self._next_wait(request, found, tried)
            if seconds is not None and time.monotonic() + seconds <= ends:
                time.sleep(seconds)
                continue
            if isinstance(found, Answer):
                return found
            if seconds is not None:
                raise DeadlineExceeded(f"{self.policy.deadline_s:g} s are over: {found}", tries=tried) from found
            found.tries = tried
            raise found

    def _tried(self, request: Request, tried: int, ends: float) -> Answer | TransportError:
        try:
            return self._once(request, tried, ends)
        except TransportError as wrong:
            return wrong

    def _next_wait(self, request: Request, found: Answer | TransportError, tried: int) -> float | None:
        """Seconds until the next try; None: there is none."""
        if not isinstance(found, Answer):
            return wait_s(self.policy, tried, None, random.random) if request.may_repeat else None
        if not may_try_again(found.status, repeatable=request.may_repeat):
            return None
        after = retry_after_s(found.headers.get("retry-after"), time.time())
        return wait_s(self.policy, tried, after, random.random)

    def result(self, request: Request) -> Answer:
        """The answer of a success. ApiError for any other."""
        answer = self.send(request)
        if not answer.ok:
            raise answer.error(retry_after_s(answer.headers.get("retry-after"), time.time()))
        return answer

    def _once(self, request: Request, tried: int, ends: float) -> Answer:
        began = time.monotonic()
        response = self._open(request, read_s=max(0.1, min(self.policy.read_s + _waits(request), ends - began)))
        try:
            body = response.data
        except Exception as wrong:
            raise BrokenAnswer(f"the answer is cut: {wrong}") from wrong
        finally:
            response.release_conn()
        answer = Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
        if (
            not body
            and response.status not in (204, 304)
            and not {"content-length", "transfer-encoding"} & set(answer.headers)
        ):
            raise BrokenAnswer("the answer is cut: its headers are not whole")
        self._note(request, answer, began, tried)
        return answer

    def _open(
        self, request: Request, *, read_s: float, preload: bool = True, url: str = "", credentials: bool = True
    ) -> "BaseHTTPResponse":
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": self._coding}
        headers |= {**request.headers, **(self.credentials.headers() if credentials else {})}
        body = request.data
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(request.body, separators=(",", ":")).encode()
        query = f"?{urlencode(list(request.query))}" if request.query else ""
        address = url or f"{self.url}{request.path}{query}"
        pools = self._pools()
        opened = _opened(pools, address)
        try:
            return pools.request(
                request.method,
                address,
                body=body,
                headers=headers,
                timeout=Timeout(connect=self.policy.connect_s, read=read_s),
                retries=False,
                redirect=False,
                preload_content=preload,
            )
        except HTTPError as wrong:
            # A server ends a connection that was idle for a while, often just when a wait that it named is over.
            if _began_no_answer(wrong) and _opened(pools, address) == opened:
                raise _IdleConnectionEnded(f"{self.url} does not answer: {wrong}") from wrong
            raise _failure(self.url, wrong) from wrong

    def stream(self, request: Request, *, read_s: float, url: str = "") -> "BaseHTTPResponse":
        """An answer that is read as it comes; read_s: the longest silence. url: of another host, which gets no credentials.
        The caller looks at the status, and releases it."""
        return self._open(request, read_s=read_s, preload=False, url=url, credentials=not url)

    def _pools(self) -> "PoolManager":
        with self._lock:
            if self._pool is None:
                self._pool = _pool_manager(self.url)
            return self._pool

    def _note(self, request: Request, answer: Answer, began: float, tried: int) -> None:
        """What an answer says beside its body: how much of the limit is left, and that a route is going away."""
        self._resume_at = time.monotonic() + pause_s(answer.headers)
        if "deprecation" in answer.headers:
            warnings.warn(f"{request.method} {request.path} is going away", DeprecationWarning, stacklevel=5)
        if self._trace is not None:
            path = request.path + (f"?{urlencode(list(request.query))}" if request.query else "")
            spent = (time.monotonic() - began) * 1_000
            self._trace(
                TraceLine(request.method, path, answer.status, spent, tried, answer.headers.get("x-request-id", ""))
            )

    def _keep_pace(self, ends: float) -> None:
        pause = self._resume_at - time.monotonic()
        if 0 < pause < ends - time.monotonic():
            time.sleep(pause)

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.clear()
                self._pool = None


def _waits(request: Request) -> float:
    """The seconds that a request itself lets the server wait."""
    return sum(float(value) for name, value in request.query if name == "wait")


def _opened(pools: "PoolManager", address: str) -> int:
    """How many connections to the host of an address were opened so far."""
    return int(pools.connection_from_url(address).num_connections)


def _began_no_answer(wrong: Exception) -> bool:
    """The connection ended before the first byte of an answer."""
    from urllib3.exceptions import ProtocolError

    return isinstance(wrong, ProtocolError) and len(wrong.args) == 2 and isinstance(wrong.args[1], ConnectionError)


def _failure(url: str, wrong: Exception) -> TransportError:
    from urllib3.exceptions import DecodeError, IncompleteRead, ProtocolError, ReadTimeoutError

    cut = isinstance(wrong, (IncompleteRead, DecodeError))
    if cut or (isinstance(wrong, ProtocolError) and "IncompleteRead" in str(wrong)):
        return BrokenAnswer(f"the answer is cut: {wrong}")
    if isinstance(wrong, ReadTimeoutError):
        return TransportError(f"{url} did not answer in time")
    return TransportError(f"{url} does not answer: {wrong}")


def _pool_manager(url: str) -> "PoolManager":
    """A pool of connections, through the proxy that the environment names for this address."""
    import urllib3

    if any(name.lower().endswith("_proxy") and value for name, value in os.environ.items()):
        from urllib.request import getproxies, proxy_bypass

        proxy = getproxies().get(urlsplit(url).scheme)
        if proxy and not proxy_bypass(urlsplit(url).netloc):
            return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS, block=True)
    return urllib3.PoolManager(maxsize=CONNECTIONS, block=True)


def pieces(response: "BaseHTTPResponse", size: int | None = 1 << 16) -> Iterator[bytes]:
    """The body as it comes; size: of a piece at most, None: each as the server sent it. BrokenAnswer when it is cut."""
    from urllib3.exceptions import HTTPError

    try:
        if size is None:
            yield from response.stream(None, decode_content=True)
            return
        # Not `stream(size)`: that waits for a whole piece, and loses what it has of one when the connection ends.
        while piece := response.read1(size, decode_content=True):
            yield piece
    except HTTPError as wrong:
        raise BrokenAnswer(f"the answer is cut: {wrong}") from wrong


def plain_answer(response: "BaseHTTPResponse") -> Answer:
    """A streamed answer that is no success, read whole."""
    body: Any = response.read(decode_content=True)
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
