"""Who calls: an API key, or a person who has signed in by name and password."""

from collections.abc import Callable, Mapping
from typing import Any

from nautilus_client.messages import Answer

Renew = Callable[[str], Mapping[str, Any]]
"""Refresh token -> new tokens."""


class Key:
    """An API key; an empty one: nobody."""

    def __init__(self, key: str) -> None:
        self._key = key

    def headers(self) -> Mapping[str, str]:
        return {"X-API-Key": self._key} if self._key else {}

    def renew(self, refused: Answer) -> bool:
        return False


class Tokens:
    """A session that a password has opened. An access token that has expired is renewed once for each request."""

    def __init__(self, tokens: Mapping[str, Any], renew: Renew) -> None:
        self._access = str(tokens["access_token"])
        self.refresh_token = str(tokens.get("refresh_token") or "")
        self._renew = renew

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._access}"}

    def renew(self, refused: Answer) -> bool:
        if b'"expired-token"' not in refused.body or not self.refresh_token:
            return False
        tokens = self._renew(self.refresh_token)
        self._access = str(tokens["access_token"])
        self.refresh_token = str(tokens.get("refresh_token") or self.refresh_token)
        return True
