"""The beginning of routes that answer from one snapshot of the database, and whose answers nobody keeps."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.responses import Response

from nautilus.db.cursor import Cursor
from nautilus.http.services import Services

NO_STORE = {"Cache-Control": "no-store"}


@contextmanager
def fresh(services: Services, response: Response, *, brief: bool = False) -> Iterator[Cursor]:
    """A snapshot to answer from. brief: a page polls it, so that a slow database fails it early. Unavailable: no database."""
    response.headers.update(NO_STORE)
    with services.db.transaction(snapshot=True, brief=brief) as cursor:
        yield cursor
