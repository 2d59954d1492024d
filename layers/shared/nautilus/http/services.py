"""What the routes of one process share: settings, database, cache, queue, callers, each made once."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import SecretStr

from nautilus.auth.authenticate import Callers
from nautilus.auth.tokens.verify import KeySet
from nautilus.db.connection import Database
from nautilus.infra.queue import Queue
from nautilus.log import logger
from nautilus.settings.api import ApiSettings

_REPLICA_LOCK_MS = 200
HINTS_S = 1.0
"""How long a Lambda function holds its answer for hints under way: what is not sent then is frozen with the process."""
T = TypeVar("T")


class Services:
    """What the routes of one process share. ValueError when the public keys are none.

    All of it is made at once, so that no two first requests make two: nothing here connects before it is used.
    """

    def __init__(self, settings: ApiSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.log = logger(name, settings.log_level)
        self.keys = KeySet(settings.public_keys, issuer=settings.token_issuer, audience=settings.token_audience)
        self._kept: dict[type, Any] = {}
        self._keeping = threading.Lock()
        self.db = self._database(settings.database_url)
        self.replica = self._replica()
        """A copy of the store that may lag behind; None when there is none."""
        self.queue = Queue(settings.queue_url, endpoint=settings.queue_endpoint, region=settings.queue_region)
        self.callers = Callers(self.db, self.keys, self.log)

    def kept(self, kind: type[T], make: Callable[[], T]) -> T:
        """What one function alone needs in each of its requests; made at the first."""
        with self._keeping:
            if kind not in self._kept:
                self._kept[kind] = make()
            found: T = self._kept[kind]
            return found

    def _replica(self) -> Database | None:
        url = self.settings.replica_url
        # A lock that was replayed is held until replay goes on: where it stands still, the primary is faster.
        return self._database(url, lock_timeout_ms=_REPLICA_LOCK_MS) if url.get_secret_value() else None

    def _database(self, url: SecretStr, *, lock_timeout_ms: int | None = None) -> Database:
        return Database(
            url.get_secret_value(),
            name=f"nautilus-{self.name}",
            size=self.settings.database_pool,
            statement_timeout_ms=self.settings.statement_timeout_ms,
            lock_timeout_ms=lock_timeout_ms,
        )
