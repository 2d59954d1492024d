"""Which contracts the words of a request mean: all of them, or an error that says which word it is about."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from nautilus.auth.principal import Principal
from nautilus.db.connection import Database
from nautilus.errors import NautilusError, NotFound
from nautilus.infra.executors import Executor, share
from nautilus.infra.queue import Queue
from nautilus.live.schemas import NamedInstrument
from nautilus.lookup.identity import Identity
from nautilus.lookup.lookup_commands import LookupCommands
from nautilus.lookup.resolve import InstrumentLookup, known_identity
from nautilus.lookup.suggestions import with_renamed_venue
from nautilus.market.symbols import InstrumentName, Selector


class _Words(NamedTuple):
    """One instrument of a request. field: where it stands there."""

    field: str
    selector: Selector
    name: InstrumentName | None
    given: NamedInstrument


class Naming:
    """Looks the instruments of one request up together, at IB where nobody here knows them."""

    def __init__(self, database: Database, queue: Queue, *, wait_s: float) -> None:
        self._db = database
        self.threads = Executor("live", share(database.size))
        writes = Executor("live-lookups", max(1, database.size // 4))
        questions = LookupCommands(database, queue, wait_s=wait_s, writes=writes)
        self._lookup = InstrumentLookup(database, questions, reads=self.threads)

    async def identities(self, given: Sequence[tuple[str, NamedInstrument]], caller: Principal) -> list[Identity]:
        """The contract of each, in their order. given: beside each where it stands in the request, for errors about it.

        InvalidInput, NotFound with IB's words, Conflict with candidates, Unavailable when nobody could say in time.
        """
        words = [_words(field, one) for field, one in given]
        found = await self.threads.run(self._known, words)
        unknown = {one.selector.key: one for one, known in zip(words, found, strict=True) if known is None}
        if not unknown:
            return [known for known in found if known is not None]
        failed = await self._lookup.look_up([one.selector for one in unknown.values()], caller)
        again = await self.threads.run(self._known, words)
        for one, known in zip(words, again, strict=True):
            if known is None:
                with _about(one):
                    raise failed[one.selector.key]
        return [known for known in again if known is not None]

    def _known(self, words: Sequence[_Words]) -> list[Identity | None]:
        found: dict[tuple[Selector, InstrumentName | None], Identity | None] = {}
        with self._db.transaction(snapshot=True, brief=True) as cursor:
            for one in words:
                if (one.selector, one.name) not in found:
                    with _about(one):
                        found[one.selector, one.name] = known_identity(cursor, one.selector, one.name)
        return [found[one.selector, one.name] for one in words]


def _words(field: str, given: NamedInstrument) -> _Words:
    with about(field):
        return _Words(field, given.selector, given.name, given)


@contextmanager
def _about(one: _Words) -> Iterator[None]:
    with about(one.field):
        try:
            yield
        except NotFound as unknown:
            raise with_renamed_venue(unknown, one.given.exchange, one.given.instrument_id) from None


@contextmanager
def about(field: str) -> Iterator[None]:
    """Errors of the block name the part of the request that they are about; empty: the request itself."""
    try:
        yield
    except NautilusError as wrong:
        if not field:
            raise
        wrong.detail = f"{field}.{wrong.detail}" if wrong.errors else f"{field}: {wrong.detail}"
        wrong.errors = tuple(error._replace(field=f"{field}.{error.field}") for error in wrong.errors)
        raise
