"""Words of IB and facts of orders for the tests of the rules, and the ledger's rule for executions in a few lines."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import cast
from uuid import UUID

from nautilus.orders.apply import apply
from nautilus.orders.identity import execution_key
from nautilus.orders.outcome import Known, Notice, OrderFacts, Outcome, Question, RequestFacts, Terms
from nautilus.orders.states import OPEN_REQUESTS, OrderState, Pending, RequestKind, RequestState
from nautilus.orders.words import BrokerError, CompletedOrder, Execution, OpenOrder, OrderStatus, Word

ORDER = UUID("0b9a3c1e-52d4-4c64-9d6f-8a5f0a1b2c3d")
MODIFY = UUID("1b9a3c1e-52d4-4c64-9d6f-8a5f0a1b2c3d")
CANCEL = UUID("2b9a3c1e-52d4-4c64-9d6f-8a5f0a1b2c3d")
NOON = 1_773_230_400_000_000_000
PERM = 700_001


def order(state: OrderState = OrderState.SENDING, **changed: object) -> OrderFacts:
    """A limit order for 100 at 50."""
    facts = OrderFacts(ORDER, state, Decimal(100), type="LMT", tif="GTC")
    return replace(facts, **changed)  # type: ignore[arg-type]


def taken(state: OrderState = OrderState.WORKING, **changed: object) -> OrderFacts:
    """The same, as IB has confirmed it."""
    shown = Terms(Decimal(100), Decimal(50))
    return replace(order(state, perm_ids=(PERM,), confirmed=shown, broker_status="Submitted"), **changed)  # type: ignore[arg-type]


def modify(state: RequestState = RequestState.SENT, **wanted: object) -> RequestFacts:
    terms = Terms(**(wanted or {"limit_price": Decimal(51)}))  # type: ignore[arg-type]
    return RequestFacts(MODIFY, RequestKind.MODIFY, state, terms)


def cancel(state: RequestState = RequestState.SENT) -> RequestFacts:
    return RequestFacts(CANCEL, RequestKind.CANCEL, state)


def open_order(
    status: str, *, perm_id: int = PERM, quantity: int = 100, price: str = "50", **more: object
) -> OpenOrder:
    word = OpenOrder(
        order_id=4, client_id=5, perm_id=perm_id, order_ref=str(ORDER), account="DU1", con_id=1, symbol="AAA", side="BUY",
        type="LMT", tif="GTC", quantity=Decimal(quantity), status=status, limit_price=Decimal(price), aux_price=Decimal(0),
    )  # fmt: skip
    return replace(word, **more)  # type: ignore[arg-type]


def status(name: str, filled: int = 0, *, perm_id: int = PERM, why_held: str = "") -> OrderStatus:
    left = Decimal(100 - filled)
    return OrderStatus(4, 5, perm_id, name, Decimal(filled), left, Decimal(50) if filled else None, why_held)


def completed(name: str, text: str = "", *, filled: int | None = None, perm_id: int = PERM) -> CompletedOrder:
    return CompletedOrder(
        perm_id=perm_id, order_ref=str(ORDER), account="DU1", con_id=1, side="BUY", type="LMT", tif="GTC",
        quantity=Decimal(100), filled=None if filled is None else Decimal(filled), status=name, completed_status=text,
    )  # fmt: skip


def execution(quantity: int, exec_id: str = "a.b.01.01", *, price: str = "50", perm_id: int = PERM) -> Execution:
    return Execution(
        exec_id=exec_id, order_id=4, client_id=5, perm_id=perm_id, order_ref=str(ORDER), account="DU1", con_id=1, side="BUY",
        quantity=Decimal(quantity), price=Decimal(price), exchange="SMART", time_ns=NOON,
    )  # fmt: skip


def error(code: int, text: str = "") -> BrokerError:
    return BrokerError(4, code, text)


class Book:
    """The ledger's rule: of each fill the highest revision counts, whenever it came."""

    def __init__(self) -> None:
        self.fills: dict[tuple[str, str], tuple[int, Execution]] = {}

    def put(self, word: Execution) -> tuple[Decimal, Decimal | None]:
        """The sum of all, and their average price."""
        base, revision = execution_key(word.exec_id)
        if revision >= self.fills.get((word.account, base), (-1, word))[0]:
            self.fills[word.account, base] = (revision, word)
        words = [one for _, one in self.fills.values()]
        total = sum((one.quantity for one in words), Decimal(0))
        return total, sum((one.quantity * one.price for one in words), Decimal(0)) / total if total else None


def applied(
    facts: OrderFacts, word: Word, book: Book | None = None, *, answer: Question | None = None, **more: object
) -> Outcome:
    known = Known(NOON, answer, **more)  # type: ignore[arg-type]
    if isinstance(word, Execution):
        known = replace(known, **dict(zip(("filled", "average"), (book or Book()).put(word), strict=True)))  # type: ignore[arg-type]
    return apply(facts, word, known)


def written(facts: OrderFacts, outcome: Outcome) -> OrderFacts:
    """The facts of the row after the ledger has written an outcome."""
    columns = dict(outcome.changes)
    columns.pop("why", None)
    confirmed = Terms(
        *(columns.pop(f"confirmed_{name}", getattr(facts.confirmed, fact))  # type: ignore[arg-type]
          for name, fact in (("quantity", "quantity"), ("limit", "limit_price"), ("stop", "stop_price")))
    )  # fmt: skip
    if "avg_fill_price" in columns:
        columns["average"] = columns.pop("avg_fill_price")
    if "notices" in columns:
        rows = cast(list[dict[str, object]], columns["notices"])
        columns["notices"] = tuple(Notice(**row) for row in rows)  # type: ignore[arg-type]
    known = {name: value for name, value in columns.items() if name in OrderFacts.__dataclass_fields__}
    changed = replace(facts, confirmed=confirmed, **known)  # type: ignore[arg-type]
    return replace(changed, requests=_requests(facts, outcome))


def _requests(facts: OrderFacts, outcome: Outcome) -> tuple[RequestFacts, ...]:
    found = {one.id: one for one in facts.requests}
    for change in outcome.requests:
        found[change.id] = replace(found[change.id], state=change.state, code=change.code)
    return tuple(one for one in found.values() if one.state in OPEN_REQUESTS)


def story(
    facts: OrderFacts, words: Iterable[Word], answers: Mapping[int, Question] | None = None
) -> tuple[OrderFacts, list[Outcome]]:
    """The facts after all words, and what each changed. answers: number of a word -> the question that it answers."""
    book, outcomes = Book(), []
    for n, word in enumerate(words):
        outcomes.append(applied(facts, word, book, answer=(answers or {}).get(n)))
        facts = written(facts, outcomes[-1])
    return facts, outcomes


def either_order(first: Word, second: Word) -> tuple[tuple[Word, Word], ...]:
    return (first, second), (second, first)


def incidents(outcomes: Outcome | list[Outcome]) -> set[str]:
    several = [outcomes] if isinstance(outcomes, Outcome) else outcomes
    return {incident.code for one in several for incident in one.incidents}


def final(facts: OrderFacts) -> OrderFacts:
    """What must not depend on the order in which words came."""
    return replace(facts, notices=tuple(sorted(facts.notices, key=str)), pending=Pending(facts.pending))
