"""IB's messages become rows: each one finds its order, and is kept with what it changes in one transaction.

Nothing acts on a word before that commit. A message that fits no order is kept too, and opens an incident; an order that
somebody placed beside us is adopted and shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.db.monitoring import incidents
from nautilus.db.orders import events, executions, finding, orders, risk_book, savepoints
from nautilus.db.orders.events import Event
from nautilus.db.orders.finding import Names
from nautilus.db.orders.frames import clean_text
from nautilus.db.orders.orders import OrderRow
from nautilus.monitoring.incidents import Condition
from nautilus.orders.apply import apply
from nautilus.orders.applying import KEEPER, KINDS, facts_of, frame_of, write
from nautilus.orders.outcome import Known, Outcome
from nautilus.orders.states import OrderState
from nautilus.orders.word_names import FILL_ALONE, IDENTIFIED, LONGEST_NAME, external, names_of, prices_of, type_of
from nautilus.orders.words import (
    BrokerError,
    Commission,
    CompletedOrder,
    Execution,
    OpenOrder,
    OrderStatus,
    OrderWord,
    Word,
)

_UNMATCHED = "order-word-unmatched"


class Recorded(NamedTuple):
    """What became of a word. order_id: None where it is about no order of ours. outcome: of the rules; None where
    they did not decide."""

    order_id: UUID | None = None
    outcome: Outcome | None = None


_NOTHING = Recorded()


def record(cursor: Cursor, words: Sequence[Word], known: Known) -> list[Recorded]:
    """Write words in their order; one answer for each. known: what holds for all of them; the sums of executions are filled in.

    Words that are not about one order (times, positions, values of accounts) are left to others. No word raises for what it
    says: one that cannot be written is kept as an event, with an incident. Errors of the connection come as they are.
    """
    about = [word for word in words if isinstance(word, OrderWord)]
    if not about:
        return [_NOTHING] * len(words)
    risk_book.lock_accounts(cursor, _accounts(cursor, about))
    try:
        return savepoints.attempt(cursor, lambda: [_record(cursor, word, known) for word in words])
    except savepoints.Failed:
        return [_record_alone(cursor, word, known) for word in words]


def _accounts(cursor: Cursor, words: Sequence[OrderWord]) -> Iterator[str]:
    """The accounts to hold; empty for words that name none and fit no order."""
    for word in words:
        if isinstance(word, Commission):
            execution = executions.by_exec_id(cursor, clean_text(word.exec_id))
            yield execution.account if execution else ""
        elif isinstance(word, (OrderStatus, BrokerError)):
            row = finding.find(cursor, names_of(word))
            yield row.account if row else ""
        else:
            yield _account_of(word)


def _account_of(word: OrderWord) -> str:
    """The account that a word names, as far as it can be one; empty for none."""
    return clean_text(getattr(word, "account", ""))[:LONGEST_NAME]


def _record_alone(cursor: Cursor, word: Word, known: Known) -> Recorded:
    """The same for one word of several of which one cannot be written."""
    try:
        return savepoints.attempt(cursor, lambda: _record(cursor, word, known))
    except savepoints.Failed as reason:
        if isinstance(word, OrderWord):
            _keep_unmatched(cursor, word, known, f"it cannot be written: {reason}")
        return _NOTHING


def _record(cursor: Cursor, word: Word, known: Known) -> Recorded:
    if not isinstance(word, OrderWord) or (isinstance(word, OpenOrder) and word.what_if):
        return _NOTHING
    check_numbers(word)
    if isinstance(word, Commission):
        return _record_commission(cursor, word, known)
    row = _held(cursor, names_of(word))
    if row is None and not isinstance(word, (OrderStatus, BrokerError)):
        row = _adopt(cursor, word, known)
    if row is None:
        return _record_unmatched(cursor, word, known)
    return _record_for(cursor, row, word, known)


def _held(cursor: Cursor, names: Names) -> OrderRow | None:
    """The order that a word is about, with account and contract held."""
    found = finding.find(cursor, names)
    return orders.lock_with_book(cursor, found.id) if found else None


def _record_for(cursor: Cursor, row: OrderRow, word: OrderWord, known: Known) -> Recorded:
    """A word about an order that is held."""
    if isinstance(word, Execution):
        executions.put(cursor, word, row.id)
        total = executions.sum_of(cursor, row.id)
        known = replace(known, filled=total.filled, average=total.average)
    if isinstance(word, BrokerError):
        known = replace(known, id_used_before=finding.id_used_by_another(cursor, row))
    if row.origin == "external":
        row = _learn_terms(cursor, row, word, known)
    facts = facts_of(cursor, row, word)
    outcome = apply(facts, word, known)
    write(cursor, row, word, outcome, known=known, is_waited_for=bool(facts.requests))
    return Recorded(row.id, outcome)


def check_numbers(word: OrderWord) -> None:
    """ValueError for what no column can hold and no sum may contain."""
    for name in ("quantity", "price", "filled", "remaining", "commission", "limit_price", "aux_price"):
        value = getattr(word, name, None)
        if isinstance(value, Decimal) and not value.is_finite():
            raise ValueError(f"{name} is {value}")
    if isinstance(word, Execution) and word.side not in ("BUY", "SELL"):
        raise ValueError(f"side is {word.side!r}")


# ---- orders of others ------------------------------------------------------------------------------------------------


def _adopt(cursor: Cursor, word: IDENTIFIED, known: Known) -> OrderRow | None:
    """The row of an order that somebody placed beside us, made by the first word about it."""
    instrument = instruments.by_id(cursor, word.con_id)
    new = external(
        word,
        market_at=known.now_ns,
        instrument_id=instrument.instrument_id if instrument else "",
        symbol=instrument.symbol if instrument else "",
    )
    if new is None:
        return None
    risk_book.lock_account(cursor, new.account)
    risk_book.lock_exposure(cursor, new.account, new.con_id)
    return orders.insert(cursor, new, Event("adopted", "ib", known.now_ns, "an order that was not placed here"))


def _learn_terms(cursor: Cursor, row: OrderRow, word: OrderWord, known: Known) -> OrderRow:
    """What others ordered is what IB's newest word about it says."""
    terms: dict[str, object] = {}
    if isinstance(word, OpenOrder):
        terms = {"type": type_of(word.type), "tif": word.tif, "quantity": word.quantity}
        terms |= prices_of(word)
        if row.state == OrderState.FILLED and word.quantity > row.filled:
            terms["state"] = OrderState.UNKNOWN  # only some of its fills were known, and taken for all
    elif isinstance(word, CompletedOrder) and row.type == FILL_ALONE:
        terms = {"type": type_of(word.type), "tif": word.tif}
        terms |= {"quantity": max(word.quantity, word.filled or Decimal(0), row.filled)}
    elif isinstance(word, Execution) and row.type == FILL_ALONE and known.filled is not None:
        terms = {"quantity": max(row.quantity, known.filled)}
    changes = {name: value for name, value in terms.items() if getattr(row, name) != value}
    if not changes:
        return row
    return orders.update(cursor, row, changes, Event("terms", "ib", known.now_ns, "IB told what was ordered"))


# ---- the rest --------------------------------------------------------------------------------------------------------


def _record_commission(cursor: Cursor, word: Commission, known: Known) -> Recorded:
    execution = executions.by_exec_id(cursor, clean_text(word.exec_id))
    if execution is not None:
        risk_book.lock_account(cursor, execution.account)
    executions.commission(cursor, word)
    if execution is None:
        return _NOTHING
    same = (execution.commission, execution.commission_currency, execution.broker_realized)
    if same != (word.commission, word.currency, word.realized):
        text = f"commission of {word.exec_id}: {word.commission} {word.currency}"
        row = _held(cursor, Names(ref=execution.order_id)) if execution.order_id is not None else None
        if row is not None:
            write(cursor, row, word, Outcome("commission", text), known=replace(known, answer=None))
        else:
            event = Event(KINDS[Commission], "ib", known.now_ns, text, frame_of(word))
            events.add(cursor, event, account=execution.account)
    return Recorded(execution.order_id)


def _record_unmatched(cursor: Cursor, word: OrderWord, known: Known) -> Recorded:
    """A word about nothing that is known here. Notices about the connection are nobody's order."""
    if isinstance(word, Execution):
        executions.put(cursor, word, None)
    if isinstance(word, BrokerError) and word.number <= 0:
        _keep(cursor, word, known, f"{word.code}: {word.text}")
        return _NOTHING
    if known.answer is None or not isinstance(word, OrderStatus):
        _keep_unmatched(cursor, word, known, "it fits no order that is known here")
    return _NOTHING


def _keep(cursor: Cursor, word: OrderWord, known: Known, text: str) -> None:
    account = _account_of(word)
    risk_book.lock_account(cursor, account)
    events.add(cursor, Event(KINDS[type(word)], "ib", known.now_ns, text, frame_of(word)), account=account)


def _keep_unmatched(cursor: Cursor, word: OrderWord, known: Known, text: str) -> None:
    _keep(cursor, word, known, text)
    subject = _subject(word)
    incidents.tell(
        cursor, KEEPER, [Condition(_UNMATCHED, subject, {"word": KINDS[type(word)], "text": clean_text(text)})]
    )


def _subject(word: OrderWord) -> str:
    if isinstance(word, Commission):
        return clean_text(f"execution {word.exec_id}")[:LONGEST_NAME]
    if isinstance(word, BrokerError):
        return f"number {word.number}"
    names = names_of(word)
    return f"permId {names.perm_id}" if names.perm_id else f"order id {names.order_id} of client {names.client_id}"
