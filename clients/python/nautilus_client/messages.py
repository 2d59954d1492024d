"""Requests and answers as plain values: no socket, no clock. `calls` makes the ones and reads the others."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nautilus_client.errors import ApiError, BrokenAnswer, api_error

SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""Methods of which a second request changes no more than the first (RFC 9110, 9.2.2)."""


class Request(NamedTuple):
    """One request. query: names and values, in order. body: of JSON; data: any other body. repeatable: None, where method
    and `Idempotency-Key` say whether it may be sent again when its answer was lost."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Any = None
    headers: Mapping[str, str] = {}
    data: bytes | None = None
    repeatable: bool | None = None

    @property
    def may_repeat(self) -> bool:
        if self.repeatable is not None:
            return self.repeatable
        return self.method in SAFE or "Idempotency-Key" in self.headers

    def with_query(self, **values: str) -> "Request":
        """The same with these parameters in place of those of the same names."""
        kept = [(name, value) for name, value in self.query if name not in values]
        return self._replace(query=[*kept, *values.items()])


class Answer(NamedTuple):
    """One answer, whole and unpacked. headers: names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300 or self.status == 304

    def json(self) -> Any:
        """The body. BrokenAnswer when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError as wrong:
            raise BrokenAnswer(f"the answer is no JSON: {wrong}") from None

    def record(self) -> dict[str, Any]:
        """The body, which must be an object."""
        found = self.json()
        if not isinstance(found, dict):
            raise BrokenAnswer(f"the answer is no JSON object but {type(found).__name__}")
        return found

    def error(self, retry_after: float | None = None) -> ApiError:
        """The error that it stands for."""
        try:
            problem = json.loads(self.body)
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            problem = {"detail": self.body[:200].decode("utf-8", "replace").strip()}
        problem.setdefault("request_id", self.headers.get("x-request-id", ""))
        return api_error(self.status, problem, retry_after=retry_after)
