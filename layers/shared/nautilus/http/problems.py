"""Errors as problem answers (RFC 9457): the one place that turns an error of ours into HTTP."""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from nautilus.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    Gone,
    InvalidInput,
    NautilusError,
    NotAcceptable,
    NotFound,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from nautilus.log import correlation

PROBLEM = "application/problem+json"
# Most special first: the first class that fits decides.
_STATUS: tuple[tuple[type[NautilusError], int], ...] = (
    (InvalidInput, 422),
    (BadRequest, 400),
    (UnsupportedMediaType, 415),
    (NotAcceptable, 406),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Gone, 410),
    (Refused, 424),
    (RateLimited, 429),
    (Unavailable, 503),
    (NautilusError, 500),
)
_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "No such format",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    415: "Not such a body",
    422: "Not valid",
    424: "Refused by Interactive Brokers",
    429: "Too many requests",
    431: "Headers too large",
    500: "Something broke",
    503: "Not available now",
}
# As the OpenAPI document tells of them.
_PROBLEM_ANSWER: dict[str, Any] = {
    "description": "what is wrong, as RFC 9457 has it",
    "content": {
        PROBLEM: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "code", "request_id"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string", "description": "a sentence for a person"},
                    "code": {"type": "string", "description": "stays the same; for programs"},
                    "request_id": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                    "upstream": {"type": "object", "description": "what Interactive Brokers said"},
                },
            }
        }
    },
}
PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": _PROBLEM_ANSWER, "503": _PROBLEM_ANSWER}
"""`responses` of every router: what each of its routes may answer too."""


def problem(
    status: int,
    detail: str,
    *,
    code: str,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """An RFC 9457 answer. `detail` is always a sentence: front ends show it as it is."""
    body: dict[str, Any] = {
        "type": f"urn:nautilus:problem:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": correlation.get(),
        **(extra or {}),
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, dict(headers or {}), media_type=PROBLEM)


_BAD_TOKEN = {"invalid-token", "expired-token", "session-ended"}


def from_error(error: NautilusError) -> JSONResponse:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        # RFC 6750: the error is named only where a token was sent.
        bad = error.code in _BAD_TOKEN
        headers["WWW-Authenticate"] = 'Bearer realm="nautilus"' + (', error="invalid_token"' if bad else "")
    if error.code == "missing-scope":
        scope = error.extra.get("scope", "")
        headers["WWW-Authenticate"] = f'Bearer realm="nautilus", error="insufficient_scope", scope="{scope}"'
    extra = dict(error.extra)
    if error.upstream is not None:
        extra["upstream"] = error.upstream.as_dict()
    return problem(
        status,
        error.detail,
        code=error.code,
        errors=[e.as_dict() for e in error.errors],
        headers=headers,
        extra=extra,
    )


def from_validation(wrong: RequestValidationError) -> JSONResponse:
    errors = [_field_error(e) for e in wrong.errors()]
    detail = "; ".join(f"{e.field}: {e.detail}" for e in errors)
    return problem(422, detail, code="validation-error", errors=[e.as_dict() for e in errors])


_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this request",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    "int_parsing_size": "must be a whole number with fewer digits",
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    "finite_number": "must be a number, and neither NaN nor infinite",
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    **dict.fromkeys(("uuid_type", "uuid_parsing"), "must be an id such as 9e107d9d-3721-4bd2-a5cb-5f1d9b0c7e11"),
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must be a JSON object"),
}
"""Our sentence for an error that pydantic finds. Other errors keep pydantic's own."""


def _field_error(error: Mapping[str, Any]) -> FieldError:
    path = [str(part) for part in error["loc"] if part not in ("query", "path", "header", "cookie")]
    if len(path) > 1 and path[0] == "body":
        path = path[1:]
    context = error.get("ctx") or {}
    allowed = None
    if "expected" in context:
        allowed = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
    words = _WORDS.get(error["type"])
    if (
        context.get("field_type") == "Value"
    ):  # text that is kept secret or checked on its way: its length is in characters
        words = _WORDS.get(error["type"].replace("too_", "string_too_"), words)
    message = words.format_map(context) if words else str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "literal_error":
        message = f"must be one of {', '.join(allowed or ())}"
    return FieldError(".".join(path) or "body", message, allowed)
