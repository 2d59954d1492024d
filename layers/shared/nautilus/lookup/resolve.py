"""Which contract words mean: from the database, and from IB through the bridge when nobody knows them yet."""

from collections.abc import Mapping, Sequence
from functools import partial

from nautilus.auth.principal import Principal
from nautilus.db.bridge.commands import EndedCommand
from nautilus.db.bridge.status import market_now
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.errors import NautilusError, RateLimited, Unavailable
from nautilus.infra.executors import Executor
from nautilus.lookup.identity import Identity, identify, identify_by_name, trade_day
from nautilus.lookup.lookup_commands import LookupCommands, Question
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import InstrumentName, Selector

MAX_UNKNOWN = 50
"""How many unknown symbols one read has looked up; of the others the answer says to try again."""
_BATCH = 10
"""How many lookups go into one command: the bridge works on several commands at once."""


def known_instrument(cursor: Cursor, selector: Selector) -> Instrument | None:
    """The instrument a selector means, from what is stored; None when it was never looked up.

    NotFound with IB's words when IB answered so within the hour; Conflict with candidates when several fit.
    """
    found = known_identity(cursor, selector)
    return found.instrument if found else None


def known_identity(cursor: Cursor, selector: Selector, name: InstrumentName | None = None) -> Identity | None:
    """The contract that a selector, or a name, means, and how old that knowledge is. Raises as `known_instrument` does."""
    found = instruments.look_up(cursor, selector)
    today = trade_day(market_now(cursor))
    if name is not None:
        by_name = identify_by_name(name, instruments.named(cursor, name), selector, found=found, today=today)
        if by_name is not None:
            return by_name
    return identify(selector, found, today, partial(instruments.alike, cursor, selector)) if found is not None else None


class InstrumentLookup:
    """Looks instruments up, in the database and at IB. reads: the threads that ask the database."""

    def __init__(self, database: Database, commands: LookupCommands, *, reads: Executor) -> None:
        self._db = database
        self._commands = commands
        self._reads = reads

    async def identity(self, selector: Selector, caller: Principal, name: InstrumentName | None = None) -> Identity:
        """The one contract that a selector, or a name, means, asking IB through the bridge when it is unknown.

        NotFound with IB's words, Conflict with candidates, Unavailable when nobody could say in time.
        """
        found = await self._reads.run(self._known, selector, name)
        if found is not None:
            return found
        failed = await self.look_up([selector], caller)
        found = await self._reads.run(self._known, selector, name)
        if found is None:
            raise failed.get(selector.key) or _unanswered(selector)
        return found

    async def look_up(self, selectors: Sequence[Selector], caller: Principal) -> Mapping[str, NautilusError]:
        """Look up unknown words at IB, all of them at once, and wait for it together.

        Returns by key what to raise for a selector that is still unknown afterwards. What IB has answered, NotFound and
        the like too, is found in the database.
        """
        wanted = {selector.key: selector for selector in selectors}
        keys = sorted(wanted)
        failed: dict[str, NautilusError] = {key: _too_many(wanted[key]) for key in keys[MAX_UNKNOWN:]}
        batches = [keys[n : n + _BATCH] for n in range(0, len(keys[:MAX_UNKNOWN]), _BATCH)]
        questions = [_resolve([wanted[key] for key in batch]) for batch in batches]
        try:
            answers = await self._commands.ask(questions, caller)
        except RateLimited as refused:
            return failed | dict.fromkeys(keys[:MAX_UNKNOWN], refused)
        for batch, answer in zip(batches, answers, strict=True):
            for key in batch:
                failed[key] = _why_failed(wanted[key], answer)
        return failed

    def _known(self, selector: Selector, name: InstrumentName | None) -> Identity | None:
        with self._db.transaction(snapshot=True) as cursor:
            return known_identity(cursor, selector, name)


def _resolve(batch: Sequence[Selector]) -> Question:
    """The command that looks these up: type and arguments. IB gets the words, whatever venue was named with them."""
    selectors = [selector._replace(venue="").as_dict() for selector in batch]
    return "resolve", selectors[0] if len(selectors) == 1 else {"selectors": selectors}


def _unanswered(selector: Selector) -> Unavailable:
    return Unavailable(
        f"{selector.words} is not known yet and IB has not answered in time; ask again", code="instrument-not-resolved"
    )


def _too_many(selector: Selector) -> RateLimited:
    return RateLimited(
        f"{selector.words} is not known yet, and one read has at most {MAX_UNKNOWN} unknown symbols looked up;"
        " ask again for the rest",
        code="too-many-unknown-symbols",
        retry_after_s=1,
    )


def _why_failed(selector: Selector, row: EndedCommand | None) -> NautilusError:
    """Why a selector could not be looked up at IB, as the row of its command tells; None: it has not ended."""
    if row is None:
        return _unanswered(selector)
    failure = (row.result or {}).get("failed", {}).get(selector.key) or row.error or {}
    return Unavailable(
        f"{selector.words} could not be looked up at IB: {failure.get('detail', 'no answer')}",
        code="instrument-not-resolved",
    )
