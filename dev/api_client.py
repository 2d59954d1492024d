"""The API as a script uses it, and what it raises when the API says no."""

from collections.abc import Mapping
from typing import Any

import httpx


class ApiError(Exception):
    """The API refused; the text is its own. answer: its body, empty where that was none of the API's."""

    def __init__(self, text: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.answer = answer or {}


class Api:
    """The API, called by a script."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._client = httpx.Client(base_url=url, headers=headers, timeout=30.0, trust_env=False)

    def sign_in(self, username: str, password: str) -> None:
        answer = self.post("/api/v1/auth/login", {"username": username, "password": password})
        self._client.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def another(self) -> "Api":
        """The same caller over a connection of its own."""
        return Api(str(self._client.base_url), {"Authorization": self._client.headers["Authorization"]})

    def get(self, path: str, **query: object) -> dict[str, Any]:
        return self._read(self._client.get(path, params={name: str(value) for name, value in query.items()}))

    def page(self, path: str) -> str:
        """A page, or a file of text."""
        answer = self._client.get(path)
        if answer.is_error:
            self._read(answer)
        return answer.text

    def post(self, path: str, body: dict[str, Any], *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return self._read(self._client.post(path, json=body, headers=headers))

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._read(self._client.put(path, json=body))

    def delete(self, path: str) -> dict[str, Any]:
        return self._read(self._client.delete(path))

    def close(self) -> None:
        self._client.close()

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        where = f"{answer.request.method} {answer.request.url.path}"
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ApiError(f"{where}: status {answer.status_code}, and no JSON object; is this the API?")
        if answer.is_error:
            raise ApiError(f"{where}: {body.get('detail', body)}", body)
        return body
