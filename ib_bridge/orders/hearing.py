"""What the process does with IB's words: each goes into the queue as it comes, and counts after its commit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ib_bridge.ib.clock import MarketClock
from ib_bridge.orders.questions import Questions
from ib_bridge.orders.word_writer import Arrival, Committed
from nautilus.orders.account_recording import AllPositions
from nautilus.orders.identity import FIRST_REQUEST
from nautilus.orders.outcome import FollowUp
from nautilus.orders.states import OrderState
from nautilus.orders.words import (
    AccountValue,
    AccountValuesEnd,
    BrokerError,
    CurrentTime,
    Execution,
    ManagedAccounts,
    NextOrderId,
    Position,
    PositionsEnd,
    Word,
)

_CONTRACTS_AWAY, _CONTRACTS_BACK = 2157, 2158


@dataclass(kw_only=True)
class Listeners:
    """Who learns of a commit. acknowledged: of a word about an order; follow: what is to be done; moved: that a fill or a
    position came; positions_complete: that all positions came."""

    acknowledged: Callable[[UUID], None]
    follow: Callable[[FollowUp, UUID | None], None]
    moved: Callable[[], None]
    positions_complete: Callable[[], None]


class Hearing:
    """put: the writer's queue. connection, accounts: of the present one. is_what_if: takes the words about what-if orders, which
    are no orders."""

    def __init__(
        self,
        clock: MarketClock,
        questions: Questions,
        listeners: Listeners,
        log: Any,
        *,
        put: Callable[[Arrival], None],
        connection: Callable[[], int],
        accounts: Callable[[], Sequence[str]],
        is_what_if: Callable[[Word], bool],
    ) -> None:
        self._clock = clock
        self._questions = questions
        self._listeners = listeners
        self._log = log
        self._put = put
        self._connection = connection
        self._accounts = accounts
        self._positions_of = 0
        self._positions: dict[tuple[str, int], Position] = {}
        self._valued: set[str] = set()
        self._is_what_if = is_what_if
        self._contracts_known = True
        self.lost_words = 0
        """How many messages could not be read, or not stored."""

    def hear(self, word: Word) -> None:
        """Every word, in the order in which it came."""
        if isinstance(word, CurrentTime | NextOrderId | ManagedAccounts):
            return  # of the connection alone
        if self._is_what_if(word):
            return
        if isinstance(word, BrokerError) and self._is_no_order(word):
            self._log.info("orders-notice", extra={"ib_code": word.code, "ib_text": word.text, "request": word.number})
            return
        answer = self._questions.answer_of(word)
        all_positions = self._collected(word)
        self._put(Arrival(word, self._connection(), self._clock.now_ns(), answer, self._contracts_known, all_positions))

    def _collected(self, word: Word) -> AllPositions | None:
        """The positions since the last complete list, with the word that ends it; those of an earlier connection are none."""
        if self._positions_of != self._connection():
            self._positions_of, self._positions, self._valued = self._connection(), {}, set()
        if isinstance(word, Position):
            self._positions[word.account, word.con_id] = word
        elif isinstance(word, AccountValuesEnd):
            self._valued.add(word.account)
        elif isinstance(word, PositionsEnd):
            found, self._positions = tuple(self._positions.values()), {}
            return AllPositions(self._accounts(), found, frozenset(self._valued))
        return None

    def _is_no_order(self, word: BrokerError) -> bool:
        if word.code in (_CONTRACTS_AWAY, _CONTRACTS_BACK):
            self._contracts_known = word.code == _CONTRACTS_BACK
        return word.number <= 0 or word.number >= FIRST_REQUEST

    def unread(self, callback: str, reason: str) -> None:
        """A message could not be read: whom it was about, nobody knows."""
        self.lost_words += 1
        self._log.error("order-message-unread", extra={"callback": callback, "reason": reason})
        self._listeners.follow(FollowUp.THREE_QUESTIONS, None)

    def lost(self, arrival: Arrival, reason: str) -> None:
        """A word could not be stored."""
        self.unread(type(arrival.word).__name__, reason)

    def committed(self, batch: Sequence[Committed]) -> None:
        """Words are in the database: now they count."""
        for one in batch:
            self._questions.committed(one)
            self._tell(one)

    def _tell(self, one: Committed) -> None:
        word, recorded, tell = one.arrival.word, one.recorded, self._listeners
        if isinstance(word, PositionsEnd):
            tell.positions_complete()
        elif isinstance(word, Execution | Position):
            tell.moved()
        if recorded is None:
            return
        if recorded.order_id is not None and not isinstance(word, AccountValue):
            tell.acknowledged(recorded.order_id)
        if recorded.outcome is None:
            return
        for follow_up in recorded.outcome.follow_ups:
            tell.follow(follow_up, recorded.order_id)
        if recorded.outcome.state is OrderState.REJECTED:
            tell.follow(FollowUp.CANCEL_GROUP, recorded.order_id)  # IB goes on with the other legs of a bracket
