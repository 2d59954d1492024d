"""Which contract an order is for: the one that its words mean, confirmed by IB on this day."""

from nautilus.auth.principal import Principal
from nautilus.db.connection import Database
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor, share
from nautilus.infra.queue import Queue
from nautilus.live.schemas import NamedInstrument
from nautilus.lookup.confirmed import is_confirmed
from nautilus.lookup.identity import Identity
from nautilus.lookup.lookup_commands import LookupCommands
from nautilus.lookup.resolve import InstrumentLookup, known_identity


class ConfirmedInstruments:
    """The contracts that orders name, looked up at IB where it did not describe them on this day."""

    def __init__(self, database: Database, queue: Queue, *, wait_s: float) -> None:
        self._db = database
        self._reads = Executor("order-names", share(database.size))
        writes = Executor("order-lookups", max(1, database.size // 4))
        self._questions = LookupCommands(database, queue, wait_s=wait_s, writes=writes)
        self._lookup = InstrumentLookup(database, self._questions, reads=self._reads)

    async def identity(self, given: NamedInstrument, caller: Principal) -> Identity:
        """The one contract that the words mean, confirmed on this day.

        InvalidInput, NotFound with IB's words, Conflict with candidates; Unavailable (`instrument-unconfirmed`) while IB
        cannot confirm it.
        """
        if found := await self._reads.run(self._confirmed, given):
            return found
        selector = given.selector
        await self._lookup.identity(selector, caller, given.name)  # looks unknown words up
        if found := await self._reads.run(self._confirmed, given):
            return found
        words = selector._replace(venue="").as_dict()
        await self._questions.ask([("resolve", {"selectors": [words], "anew": True})], caller)
        if found := await self._reads.run(self._confirmed, given):
            return found
        raise Unavailable(
            f"IB has not confirmed today which contract {selector.words} is; try again", code="instrument-unconfirmed"
        )

    def _confirmed(self, given: NamedInstrument) -> Identity | None:
        """The contract that the words mean, where IB confirmed it on this day: one look, as each order takes it."""
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            found = known_identity(cursor, given.selector, given.name)
            return found if found is not None and is_confirmed(cursor, given.selector, found.instrument) else None
