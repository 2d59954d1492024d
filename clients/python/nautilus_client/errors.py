"""Errors by what the caller should do.

NautilusError
  ApiError                the API has answered, and not with what was requested
    NotSignedIn           401: sign in, or name a key
    NotAllowed            403: a scope or an account is missing
    NotFound              404
    Ambiguous             409: several instruments fit; `candidates` lists them
    Conflict              409: any other
    Invalid               400, 406, 413, 415, 422: `errors` names the fields
    OrderDenied           422: the checks refused an order; `checks` says which, `order` is the denied one
    PageTokenExpired      410: start over
    VersionForgotten      410: that version is no longer kept
    Refused               424: refused by Interactive Brokers
    RateLimited           429, after all tries: `retry_after` in seconds
    Unavailable           502, 503, 504, after all tries
    ServerError           any other 5xx
  Incomplete              bars are missing and `require_complete=True` was given; `missing` lists them
  VersionChanged          the series changed while it was read, and its older version cannot be read any more
  ChecksumMismatch        a file is not the one that its manifest names
  TransportError          no answer came
    BrokenAnswer          an answer came that is cut, or cannot be read
    DeadlineExceeded      the time for the whole call is over
  ConfigError             settings, profiles and credentials of this machine
  BadTime                 a time that could mean two things; a ValueError, too
  MissingLibrary          an extra is not installed; an ImportError, too
"""

from collections.abc import Mapping, Sequence
from typing import Any


class NautilusError(Exception):
    """Any error of this package."""


class ApiError(NautilusError):
    """An answer that is no success.

    status: of HTTP. code: stays the same, for programs. detail: a sentence for a person. request_id: finds the request in the
    server's log. upstream: words of Interactive Brokers. errors: the wrong fields, each with what is allowed. extra: the other
    fields of the answer. retry_after: seconds, where the answer names them.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code") or f"http-{status}")
        self.detail = str(problem.get("detail") or f"the answer has the status {status}")
        self.request_id = str(problem.get("request_id") or "")
        self.upstream: Mapping[str, Any] | None = problem.get("upstream")
        self.errors: Sequence[Mapping[str, Any]] = problem.get("errors") or ()
        self.extra = {name: value for name, value in problem.items() if name not in _OWN}
        self.retry_after = retry_after
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        words = f"{self.detail} ({self.status} {self.code})"
        return f"{words}, request {self.request_id}" if self.request_id else words


_OWN = {"type", "title", "status", "code", "detail", "request_id", "upstream", "errors"}


class NotSignedIn(ApiError):
    """There is no key, or it is not valid."""


class NotAllowed(ApiError):
    """The key may not do this."""


class NotFound(ApiError):
    """There is no such thing. `suggestions`: names that IB does know."""

    @property
    def suggestions(self) -> Sequence[Mapping[str, Any]]:
        return self.extra.get("suggestions") or ()


class Conflict(ApiError):
    """It cannot be done as things are."""


class Ambiguous(Conflict):
    """Several instruments fit."""

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        return self.extra.get("candidates") or ()


class Invalid(ApiError):
    """The request makes no sense."""


class OrderDenied(Invalid):
    """The checks refused an order, and nothing was sent to the broker."""

    @property
    def checks(self) -> Sequence[Mapping[str, Any]]:
        return self.extra.get("checks") or ()

    @property
    def order(self) -> Mapping[str, Any]:
        return self.extra.get("order") or {}


class PageTokenExpired(ApiError):
    """Reading took too long, or what it read was forgotten: start over."""


class VersionForgotten(ApiError):
    """That version of the bars is no longer kept."""


class Refused(ApiError):
    """Refused by Interactive Brokers."""


class RateLimited(ApiError):
    """Too many requests, and all tries were used."""


class Unavailable(ApiError):
    """Not available now, and all tries were used."""


class ServerError(ApiError):
    """Something broke in the server."""


class Incomplete(NautilusError):
    """Bars are missing. `missing`: the ranges, with state and reason."""

    def __init__(self, name: str, missing: Sequence[Any]) -> None:
        self.missing = missing
        first = f", the first from {missing[0].start} to {missing[0].end}: {missing[0].why}" if missing else ""
        super().__init__(f"{name} is not complete: {len(missing)} ranges are missing{first}")


class VersionChanged(NautilusError):
    """The series changed while it was read in parts."""

    def __init__(self, series: str, before: int, after: int) -> None:
        self.series = series
        self.before = before
        self.after = after
        super().__init__(f"{series} changed from version {before} to {after} while it was read; read it again")


class ChecksumMismatch(NautilusError):
    """A file is not what its manifest says. It keeps the name that ends in `.part`."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        self.path = path
        self.expected = expected
        self.found = found
        super().__init__(f"{path} has the SHA-256 {found[:12]}..., not {expected[:12]}...: fetch it again")


class TransportError(NautilusError):
    """No answer came. `tries`: how often it was requested."""

    def __init__(self, sentence: str, *, tries: int = 1) -> None:
        self.tries = tries
        super().__init__(sentence)


class BrokenAnswer(TransportError):
    """An answer came that is cut, or cannot be read."""


class DeadlineExceeded(TransportError):
    """The time for the whole call is over."""


class ConfigError(NautilusError):
    """Something in the settings, profiles or credentials of this machine."""


class BadTime(NautilusError, ValueError):
    """A time that could mean two things, or nothing."""


class MissingLibrary(NautilusError, ImportError):
    """An extra of this package is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"this needs {library}: pip install 'nautilus-client[{extra}]'")


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    406: Invalid,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    424: Refused,
    429: RateLimited,
    431: Invalid,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_BY_CODE: Mapping[str, type[ApiError]] = {
    "order-denied": OrderDenied,
    "page-token-expired": PageTokenExpired,
    "version-forgotten": VersionForgotten,
}


def api_error(status: int, problem: Mapping[str, Any], *, retry_after: float | None = None) -> ApiError:
    """The error of an answer; problem: its body."""
    kind = _BY_CODE.get(str(problem.get("code"))) or _BY_STATUS.get(status)
    if kind is Conflict and problem.get("candidates"):
        kind = Ambiguous
    if kind is None:
        kind = ServerError if status >= 500 else ApiError
    return kind(status, problem, retry_after=retry_after)
