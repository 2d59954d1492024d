"""Who is calling: an API key or an access token becomes a `Principal`, or is refused.

An API key is looked up for every request, so revoking it works at once. An access token is checked without the
database, but for the deny list, which each process reads at most every five seconds: ending a session takes effect
within that time.
"""

import hmac
import time
from collections.abc import Callable, Collection

from nautilus.auth import api_keys
from nautilus.auth.principal import Client, Principal
from nautilus.auth.scopes import key_accounts, key_scopes, user_accounts
from nautilus.auth.tokens.verify import KeySet
from nautilus.db.auth import api_keys as stored
from nautilus.db.auth import audit, refresh_families
from nautilus.db.connection import Database
from nautilus.errors import Unauthorized
from nautilus.infra.executors import Executor
from nautilus.infra.single_flight import SingleFlight
from nautilus.log import Log

DENIED_FOR_S = 5.0
_THREADS = 4
Clocks = Callable[[], tuple[float, float]]
"""Two clocks, in seconds: one that never goes back, and the time of day. Lambda freezes a process between requests, and
only one of them may notice."""


def machine_clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


class Callers:
    """The callers of one process. clocks: those that say how old the deny list is."""

    def __init__(self, db: Database, keys: KeySet, log: Log, *, clocks: Clocks = machine_clocks) -> None:
        self._db = db
        self._keys = keys
        self._log = log
        self._denied = _DenyList(db, clocks)
        # Each with threads of its own: a key that the database does not tell of keeps no token waiting.
        self.key_threads = Executor("api-keys", _THREADS)
        self.token_threads = Executor("deny-list", _THREADS)

    def by_token(self, token: str, client: Client, denied: Collection[str] | None = None) -> Principal:
        """The caller with this access token; Unauthorized says why not, Unavailable that nobody can say.

        denied: the deny list, from who has it `at_hand`; then no database is read.
        """
        try:
            caller = self._keys.verify(token)
            if caller.session in (self._denied.now() if denied is None else denied):
                raise Unauthorized("the session has ended; sign in again", code="session-ended")
        except Unauthorized as no:
            self._log.info("token-refused", extra={"code": no.code, "address": client.address})
            raise
        return caller

    @property
    def denied_at_hand(self) -> Collection[str] | None:
        """The deny list, when it need not be read."""
        return self._denied.at_hand()

    def by_key(self, text: str, client: Client) -> Principal:
        """The caller with this API key; Unauthorized when it is not good, in the same words for every reason."""
        key = api_keys.parse(text)
        caller = self._judge(key, client) if key is not None else None
        if caller is None:
            self._log.info("key-refused", extra={"prefix": key.prefix if key else "", "address": client.address})
            raise Unauthorized("the API key is not valid (unknown, expired or revoked)", code="invalid-api-key")
        return caller

    def _judge(self, key: api_keys.ApiKey, client: Client) -> Principal | None:
        # One question; once a minute a second transaction, which notes that the key was used or refused.
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            rows = stored.candidates(cursor, key.prefix)
        row = matching(rows, key)
        if row is None or row.revoked or row.expired or not row.is_active:
            self._note_refusal([known for known in ([row] if row else rows) if not known.refused_lately], client)
            return None
        if not row.used_lately:
            self._note_use(row, client)
        scopes = key_scopes(row.user_scopes, row.scopes)
        accounts = key_accounts(user_accounts(row.user_scopes, row.user_accounts), row.accounts)
        return Principal(f"user:{row.user_id}", row.username, scopes, key_id=row.id, accounts=accounts)

    def _note_use(self, row: stored.Candidate, client: Client) -> None:
        with self._db.transaction(brief=True) as cursor:
            if stored.used(cursor, row.id, client.address):
                audit.record(cursor, "key-used", actor=f"key:{row.id}", subject=f"user:{row.user_id}", client=client)

    def _note_refusal(self, rows: Collection[stored.Candidate], client: Client) -> None:
        if not rows:
            return
        with self._db.transaction(brief=True) as cursor:
            for row in rows:
                if stored.refused(cursor, row.id):
                    subject = f"key:{row.id}"
                    audit.record(cursor, "key-used", actor="unknown", subject=subject, client=client, refused=True)


def matching(rows: Collection[stored.Candidate], key: api_keys.ApiKey) -> stored.Candidate | None:
    """The row whose hash is that of the key, compared in constant time and to the end of the list."""
    found = None
    for row in rows:
        if hmac.compare_digest(bytes(row.secret_hash), key.hash):
            found = row
    return found


class _DenyList:
    """The sessions that ended while their access tokens live, at most `DENIED_FOR_S` old.

    One thread reads it; whoever needs it meanwhile shares the outcome, and a failure for a second more: while the database
    hangs, all callers get the failure as soon as the first one does.
    """

    def __init__(self, db: Database, clocks: Clocks) -> None:
        self._db = db
        self._clocks = clocks
        self._reading = SingleFlight(self._read, max_age_s=DENIED_FOR_S, clock=lambda: clocks()[0])
        self._sessions: Collection[str] = ()
        self._read_at: tuple[float, float] | None = None

    def now(self) -> Collection[str]:
        held = self.at_hand()
        return self._reading.result() if held is None else held

    def _read(self) -> Collection[str]:
        # The age counts from before the question, so that an answer is never older than it says.
        began_at = self._clocks()
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            found = refresh_families.denied(cursor)
        self._sessions = found
        self._read_at = began_at
        return found

    def at_hand(self) -> Collection[str] | None:
        """The list without a lock and without a question; None when it is too old."""
        # The age first: a list that another thread reads meanwhile is newer than that.
        young = self._young(self._read_at)
        return self._sessions if young else None

    def _young(self, read_at: tuple[float, float] | None) -> bool:
        if read_at is None:
            return False
        return all(0 <= now - then < DENIED_FOR_S for then, now in zip(read_at, self._clocks(), strict=True))
