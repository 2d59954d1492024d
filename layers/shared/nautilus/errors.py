"""What can go wrong, sorted by what the caller should do about it.

    NautilusError                 has a stable `code`, a sentence for a person, and field errors
    ├── InvalidInput              mend the request: each field is named with what is allowed
    ├── BadRequest                mend the request as a whole
    ├── UnsupportedMediaType      send the body as JSON, and say so in a header
    ├── NotAcceptable             ask for one of the forms that are named
    ├── Unauthorized              sign in (again)
    ├── Forbidden                 ask for the scope that is named
    ├── NotFound                  it does not exist; asking again changes nothing
    ├── Conflict                  something else is in the way, or the question is ambiguous
    ├── Gone                      it did exist; start over
    ├── Refused                   Interactive Brokers said no, for good
    └── Unavailable               ask again after `retry_after_s`
        └── RateLimited           the same, and it was you

`nautilus.http.app` turns them into HTTP in one place; `ib_bridge.ib.codes` turns IB's codes into them in one table.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class FieldError(NamedTuple):
    """One field of a request that is wrong: where it stands, what is wrong with it, what would be right."""

    field: str
    detail: str
    allowed: Sequence[str] | None = None

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"field": self.field, "detail": self.detail}
        if self.allowed is not None:
            row["allowed"] = list(self.allowed)
        return row


class Upstream(NamedTuple):
    """What Interactive Brokers answered, word for word."""

    code: int
    text: str
    system: str = "ib"

    def as_dict(self) -> dict[str, Any]:
        return {"system": self.system, "code": self.code, "text": self.text}


class NautilusError(Exception):
    """Base of all errors that a caller may meet."""

    code = "error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        upstream: Upstream | None = None,
        retry_after_s: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = tuple(errors)
        self.upstream = upstream
        self.retry_after_s = retry_after_s
        self.extra = dict(extra or {})


class InvalidInput(NautilusError):
    code = "validation-error"

    @classmethod
    def field(cls, field: str, detail: str, allowed: Sequence[str] | None = None) -> "InvalidInput":
        """An error about one field; the sentence names the field and what is allowed."""
        sentence = f"{field}: {detail}"
        if allowed is not None:
            sentence += f" (allowed: {', '.join(allowed)})"
        return cls(sentence, errors=[FieldError(field, detail, allowed)])

    def renamed(self, names: Mapping[str, str]) -> "InvalidInput":
        """The same error about one field, by the name that it has in the request. names: field of this error -> that name."""
        (one,) = self.errors
        return InvalidInput.field(names.get(one.field, one.field), one.detail, one.allowed)


class BadRequest(NautilusError):
    code = "bad-request"


class UnsupportedMediaType(NautilusError):
    code = "unsupported-media-type"


class NotAcceptable(NautilusError):
    code = "not-acceptable"


class Unauthorized(NautilusError):
    code = "unauthorized"


class Forbidden(NautilusError):
    code = "forbidden"


class NotFound(NautilusError):
    code = "not-found"


class Conflict(NautilusError):
    code = "conflict"


class Gone(NautilusError):
    code = "gone"


class Refused(NautilusError):
    code = "ib-refused"


class Unavailable(NautilusError):
    code = "unavailable"

    def __init__(self, detail: str, *, retry_after_s: int = 5, **more: Any) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, **more)


class RateLimited(Unavailable):
    code = "rate-limited"
