"""One API and one caller: what the parts of a client share."""

import uuid
from typing import Any

from nautilus_client import routes
from nautilus_client.errors import ApiError
from nautilus_client.messages import Answer, Request
from nautilus_client.profiles import Settings
from nautilus_client.transport import Transport


class Connection:
    """One API and one caller, as the parts of a client share it. May be shared by threads."""

    def __init__(self, transport: Transport, chosen: Settings) -> None:
        self.transport = transport
        self.settings = chosen

    def send(self, request: Request) -> Answer:
        """The answer of a success. ApiError for any other."""
        return self.transport.result(request)

    def call(self, name: str, /, **values: Any) -> dict[str, Any]:
        """The answer of a route, an object. values: as of `routes.request`."""
        return self.answer(name, **values).record()

    def answer(self, name: str, /, **values: Any) -> Answer:
        try:
            return self.send(routes.request(name, **values))
        except ApiError as error:
            raise routes.explained(name, error) from None

    def every(self, name: str, rows: str, *, limit_rows: int | None = None, **values: Any) -> list[dict[str, Any]]:
        """The rows of all pages of a list. rows: the field that holds them; limit_rows: at most so many."""
        found: list[dict[str, Any]] = []
        after = None
        while True:
            page = self.call(name, **values, **({} if after is None else {"after": after}))
            found += page[rows]
            after = page.get("next_after")
            if after is None or (limit_rows is not None and len(found) >= limit_rows):
                return found[:limit_rows]


def new_key() -> str:
    """An idempotency key: one for each thing that is to be done once."""
    return str(uuid.uuid4())
