"""Words of IB on their way into the database: one queue in the order in which they came, one thread that commits them.

Nothing of the process acts on a word before its commit. While the database is away words wait here, and no order is sent.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ib_bridge.ib.clock import MarketClock
from ib_bridge.orders.crash_points import CrashPoints
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.errors import Unavailable
from nautilus.infra.executors import Executor
from nautilus.infra.loops import Backoff, repeat
from nautilus.orders.account_recording import (
    AllPositions,
    record_account_words,
    record_all_positions,
    record_position_profits,
)
from nautilus.orders.known_words import KnownWords
from nautilus.orders.outcome import Known, Question
from nautilus.orders.recording import Recorded, record
from nautilus.orders.words import BrokerError, Commission, Execution, OpenOrder, Word

_MOST = 10_000
"""Words that may wait before orders are no longer sent."""
_SILENCE_S = 10.0
"""For so long words may wait for a commit, in machine time, before orders are no longer sent."""
_BATCH = 200
_PAUSES = Backoff(first_s=0.2, longest_s=2.0)


class Arrival(NamedTuple):
    """A word with what was known when it came. connection: its number; answer: the question that it answers; contracts_known:
    whether IB's contract database was there; positions: all of them, of the word that ends their list."""

    word: Word
    connection: int
    market_ns: int
    answer: Question | None
    contracts_known: bool = True
    positions: AllPositions | None = None


class Committed(NamedTuple):
    """A word after its commit, and what it meant for which order (None: for none)."""

    arrival: Arrival
    recorded: Recorded | None


class WordWriter:
    """committed: gets each batch after its commit, in the event loop. lost: gets a word that no transaction takes."""

    def __init__(
        self,
        database: Database,
        clock: MarketClock,
        log: Any,
        *,
        crash: CrashPoints,
        committed: Callable[[Sequence[Committed]], None],
        lost: Callable[[Arrival, str], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._crash = crash
        self._committed = committed
        self._lost = lost
        self._thread = Executor("words", 1)
        self._waiting: deque[Arrival] = deque()
        self._arrived = asyncio.Event()
        self._since: float | None = None
        self.recorded = 0
        """How many words were committed."""

    def put(self, arrival: Arrival) -> None:
        """Take a word. There is always room: a word that is read and not kept could never be known again."""
        self._pass_read_points(arrival.word)
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(arrival)
        self._arrived.set()

    @property
    def keeps_up(self) -> bool:
        """False when too many words wait, or the oldest has waited too long: then nothing may be sent."""
        waited_s = time.monotonic() - self._since if self._since is not None else 0.0
        return len(self._waiting) < _MOST and waited_s < _SILENCE_S

    @property
    def waiting(self) -> int:
        """How many words are not committed yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Commit words until cancelled."""
        await repeat("order-words", self._commit_next, self._log, delayed="order-words-delayed", backoff=_PAUSES)

    async def drain(self, within_s: float) -> None:
        """Wait for the words that came so far; some may be left when the database is away."""
        until = time.monotonic() + within_s
        while self._waiting and time.monotonic() < until:
            await asyncio.sleep(0.02)

    async def _commit_next(self) -> None:
        if not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        batch = [self._waiting[number] for number in range(min(_BATCH, len(self._waiting)))]
        try:
            done = await self._thread.run(self._write, batch)
        except Unavailable:
            raise  # it is tried again, the words stay in their order
        except Exception:
            self._log.exception("order-words-refused")
            done = await self._write_singly(batch)
        for _ in batch:
            self._waiting.popleft()
        self._since = time.monotonic() if self._waiting else None
        self.recorded += len(batch)
        self._pass_commit_points(batch)
        self._committed(done)

    async def _write_singly(self, batch: Sequence[Arrival]) -> list[Committed]:
        """One transaction a word: one that none takes is reported and left out, so that the others are not lost with it."""
        done: list[Committed] = []
        for arrival in batch:
            try:
                done += await self._thread.run(self._write, [arrival])
            except Unavailable:
                raise
            except Exception as refused:
                self._log.exception("order-word-lost", extra={"word": repr(arrival.word)})
                self._lost(arrival, f"{type(refused).__name__}: {refused}")
                done.append(Committed(arrival, None))
        return done

    def _write(self, batch: Sequence[Arrival]) -> list[Committed]:
        """In the writer's thread: all of a batch in one transaction."""
        with self._database.transaction() as cursor:
            return list(_recorded(cursor, batch))

    # ---- where a test lets the process die ---------------------------------------------------------------------------

    def _pass_read_points(self, word: Word) -> None:
        if isinstance(word, OpenOrder):
            self._crash.reached("after-word-read")
        elif isinstance(word, Execution):
            self._crash.reached("after-execution-read")
        elif isinstance(word, BrokerError) and word.number > 0:
            self._crash.reached("after-error-read")

    def _pass_commit_points(self, batch: Sequence[Arrival]) -> None:
        kinds = {type(arrival.word) for arrival in batch}
        if Execution in kinds and Commission not in kinds:
            self._crash.reached("after-execution-commit")


def _recorded(cursor: Cursor, batch: Sequence[Arrival]) -> Iterable[Committed]:
    """Words with the same circumstances are recorded together; those that say what is known already are passed over."""
    known_words = KnownWords(cursor, [one.word for one in batch if one.answer or isinstance(one.word, Commission)])
    for (market_ns, answer, known), group in groupby(batch, lambda arrival: arrival[2:5]):
        together = list(group)
        words = [arrival.word for arrival in together]
        about = Known(now_ns=market_ns, answer=answer, contracts_known=known)
        found = [_recorded_one(cursor, word, about, known_words) for word in words]
        record_account_words(cursor, words, market_ns)
        for all_positions in (arrival.positions for arrival in together if arrival.positions is not None):
            record_all_positions(cursor, all_positions, market_ns)
        yield from map(Committed, together, found)
    record_position_profits(cursor, [(arrival.word, arrival.market_ns) for arrival in batch])


def _recorded_one(cursor: Cursor, word: Word, about: Known, known_words: KnownWords) -> Recorded:
    found = known_words.repeated(word, about)
    if found is None:
        (found,) = record(cursor, [word], about)
        known_words.forget([found.order_id])
    return found
