"""Words of IB that say what is known already: most of an answer to one of our questions. They cost nothing but one look.

The rules decide, on rows that were read together and not locked: a word that changes nothing commutes with whatever
happens to its order meanwhile.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders import known
from nautilus.db.orders.frames import clean_text
from nautilus.db.orders.orders import OrderRow
from nautilus.orders.apply import apply
from nautilus.orders.applying import needs_day_end, order_facts, shows_other_terms
from nautilus.orders.outcome import Known, Outcome
from nautilus.orders.recording import Recorded, check_numbers
from nautilus.orders.states import OVER
from nautilus.orders.word_names import names_of
from nautilus.orders.words import Commission, CompletedOrder, Execution, OpenOrder, OrderStatus, Word

_LARGEST_PERM_ID = 2**63 - 1
_Answer = OpenOrder | OrderStatus | CompletedOrder | Execution


class KnownWords:
    """What was known of the orders of some words before the first of them is recorded."""

    def __init__(self, cursor: Cursor, words: Sequence[Word]) -> None:
        about = [word for word in words if isinstance(word, _Answer)]
        names = [names_of(word) for word in about]
        self._found = known.read(
            cursor,
            {name.ref for name in names if name.ref is not None},
            {name.perm_id for name in names if 0 < name.perm_id <= _LARGEST_PERM_ID},
            {clean_text(word.exec_id) for word in words if isinstance(word, Commission | Execution)},
        )
        self._by_id = {row.id: row for row in self._found.orders}

    def forget(self, order_ids: Iterable[UUID | None]) -> None:
        """These orders were changed, or may have been: what was read of them counts no more."""
        for number in order_ids:
            if number is not None:
                self._by_id.pop(number, None)

    def repeated(self, word: Word, about: Known) -> Recorded | None:
        """What `record` would return for a word that changes nothing and leaves no event; None: it has to be recorded."""
        if isinstance(word, Commission):
            return self._charged(word)
        if about.answer is None or not isinstance(word, _Answer):
            return None
        row = self._row_of(word)
        if row is None or row.origin == "external":
            return None
        outcome = self._outcome(row, word, about)
        return Recorded(row.id, outcome) if outcome is not None and _is_nothing(outcome) else None

    def _row_of(self, word: _Answer) -> OrderRow | None:
        """As `finding.find` does it, by the first two names."""
        names = names_of(word)
        row = self._by_id.get(names.ref) if names.ref is not None else None
        if row is None and names.ref is None and names.perm_id > 0:
            every = [one for one in self._found.orders if names.perm_id in one.perm_ids]
            row = self._by_id.get(every[0].id) if len(every) == 1 else None
        return row if row is not None and names.account in (None, row.account) else None

    def _outcome(self, row: OrderRow, word: _Answer, about: Known) -> Outcome | None:
        """What the rules say; None where more has to be read, or a number is none."""
        try:
            check_numbers(word)
        except ValueError:
            return None
        if isinstance(word, Execution):
            if not self._has(row, word):
                return None
            about = Known(about.now_ns, about.answer, row.filled, row.avg_fill_price, about.contracts_known)
        if row.state not in OVER and (needs_day_end(row, word) or shows_other_terms(row, word)):
            return None
        return apply(order_facts(row, self._found.requests[row.id], day_ends=None), word, about)

    def _has(self, row: OrderRow, word: Execution) -> bool:
        """Whether this revision of an execution counts already, at this order, with these numbers."""
        return any(
            (one.account, one.order_id, one.quantity, one.price, one.side)
            == (word.account, row.id, word.quantity, word.price, word.side)
            for one in self._found.executions.get(clean_text(word.exec_id), ())
            if one.latest
        )

    def _charged(self, word: Commission) -> Recorded | None:
        """An execution has this commission. Of two accounts with one execId nobody knows here which is meant."""
        found = self._found.executions.get(clean_text(word.exec_id), [])
        same = [(one.commission, one.commission_currency, one.broker_realized) for one in found]
        if len(found) != 1 or same != [(word.commission, word.currency, word.realized)]:
            return None
        return Recorded(found[0].order_id)


def _is_nothing(outcome: Outcome) -> bool:
    return not (outcome.changes or outcome.requests or outcome.follow_ups or outcome.incidents)
