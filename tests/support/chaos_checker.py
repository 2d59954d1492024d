"""What must hold at the end of a run of chaos: the rows of the database beside the simulator's own book.

The checker shares no code with the ledger: it reads rows as they are, and compares them with what the gateway received and what
IB has. Each difference begins with the name of the law that is broken.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from ib_gateway_sim.orders.order import Order
from nautilus.clock import NS_PER_S, MarketTime
from tests.support.chaos_book import Book, Frame
from tests.support.chaos_callers import Answers
from tests.support.chaos_plan import BUST, TWIN
from tests.support.chaos_run import Injected

REFUSED_ID, NO_PARENT = 103, 10006
"""Codes after which an order is sent once more, as IB does not have it."""
_ENDS = ("rejected", "cancelled", "expired", "filled")
_ALIVE = ("held", "working", "sent", "inactive")
_LATE_NS = 5_000_000
"""How far the clocks of database and simulator may be apart, beside what was measured."""
_AROUND_NS = 6 * NS_PER_S
"""An interruption explains what was announced so long before it, or was received so long before it: the first message is waited
for a second, and a half-open socket is noticed after two heartbeats."""
_NO_WAY = ("order process killed", "killed after", "PostgreSQL killed", "socket", "restart")
"""What the names of interruptions have in them after which nothing that was announced is written, or nothing arrives."""
_LOSE_WHAT_CAME = ("restart", "messages lose")
"""The same of those after which the gateway has lost what it had received."""
CUTS = (*_NO_WAY, "1100")
"""The same of those that lose an answer."""


def _lost_a_fill(true: Order) -> bool:
    """Whether IB says of an order that it is filled, and took back a part of its executions."""
    return true.status == "Filled" and true.filled < true.quantity


class Evidence(NamedTuple):
    """All that is compared. database_clock: market time by the database's clock; uncertain_ns: how exact that is."""

    rows: Callable[..., list[Any]]
    book: Book
    journal: Sequence[Injected]
    answers: Sequence[Answers]
    listed: Sequence[dict[str, Any]]
    findings: Sequence[str]
    database_clock: MarketTime
    uncertain_ns: int


class Checker:
    """causes: of each order that is unknown, what explains it."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.book = evidence.book
        self.orders: dict[UUID, Any] = {
            row.id: row for row in evidence.rows("SELECT * FROM orders ORDER BY accepted_at")
        }
        self.events: dict[UUID, list[Any]] = defaultdict(list)
        for row in evidence.rows(
            "SELECT id, order_id, kind, source, before, after, text,"
            " (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000000)::bigint AS committed"
            " FROM order_events WHERE order_id IS NOT NULL ORDER BY id"
        ):
            self.events[row.order_id].append(row)
        self.requests = evidence.rows("SELECT * FROM order_requests ORDER BY asked_at")
        self.causes: dict[UUID, str] = {}
        self.twins = {one.detail.removeprefix("twin ") for one in evidence.journal if one.kind == TWIN}
        """References of orders that were made two at IB."""
        busted = {one.detail.split()[-1].rpartition(".")[0] for one in evidence.journal if one.kind == BUST}
        self.busted = [row for row in evidence.rows("SELECT * FROM executions WHERE latest") if row.exec_base in busted]
        """Executions that IB took back without a word."""
        self.again = 0
        """How many orders were sent once more because IB had refused their order id."""

    def differences(self) -> list[str]:
        return list(
            chain(
                self._sent_once(),
                self._announced_first(),
                self._once_in_the_book(),
                self._twins(),
                self._busts(),
                self._executions(),
                self._positions(),
                self._reservations(),
                self._states(),
                self._callers(),
                self._acted_late_enough(),
                (f"verify: {found}" for found in self.evidence.findings),
            )
        )

    @property
    def ours(self) -> list[Any]:
        return [row for row in self.orders.values() if row.origin != "external"]

    # ---- what was sent -----------------------------------------------------------------------------------------------

    def _attempts(self, row: Any) -> dict[int, list[Frame]]:
        """Order id -> the messages with the order's reference and that id; the first one placed it, the others change it."""
        found: dict[int, list[Frame]] = {}
        for frame in self.book.frames(str(row.id)):
            found.setdefault(frame.order_id, []).append(frame)
        return found

    def _sent_once(self) -> Iterator[str]:
        """No order is sent again, but after IB refused its order id; no change more often than it was announced."""
        changes = Counter(
            row.order_id for events in self.events.values() for row in events if row.kind == "modify-sending"
        )
        for row in self.ours:
            attempts = self._attempts(row)
            ids = list(attempts)
            for before in ids[:-1]:
                if any(code in (REFUSED_ID, NO_PARENT) for _, code, _ in self.book.errors.get(before, ())):
                    self.again += 1
                else:
                    yield f"sent-again: order {row.id} was sent as {before} and again as {ids[-1]}"
            extra = sum(len(frames) - 1 for frames in attempts.values())
            if extra > changes[row.id]:
                yield f"sent-again: order {row.id} was written {extra} times more, for {changes[row.id]} changes"
        yield from self._cancels()

    def _cancels(self) -> Iterator[str]:
        """No cancel was written more often than it was announced. An order has had several ids where IB refused one."""
        order_of = {
            int(event.text.removeprefix("order id ")): order
            for order, events in self.events.items()
            for event in events
            if event.kind == "reserved"
        }
        announced = {
            order: sum(event.kind == "cancel-sending" for event in events) for order, events in self.events.items()
        }
        written = Counter(order_of.get(frame.order_id) for frame in self.book.cancelled)
        for order, count in written.items():
            known = announced.get(order, 0) if order is not None else 0
            if count > known:
                yield f"sent-uncommitted: {count} cancels of order {order} came, {known} were announced"

    def _announced_first(self) -> Iterator[str]:
        """What was received had been announced by a commit that is there, under the order id that it came with."""
        for row in self.ours:
            for order_id, frames in self._attempts(row).items():
                sending = self._announcement(row.id, order_id)
                if sending is None:
                    yield f"sent-uncommitted: order {row.id} came as order id {order_id}, and no commit announced it"
                    continue
                late_ns = self.evidence.database_clock.at(sending.committed) - frames[0].at_ns
                if late_ns > _LATE_NS + self.evidence.uncertain_ns:
                    yield f"sent-uncommitted: order {row.id} came {late_ns / 1e6:.1f} ms before the commit of its announcement"
                if self._taken_back(row.id, sending.id):
                    yield f"sent-uncommitted: order {row.id} came as {order_id}, and the database says it was not written"
        known = {str(row.id) for row in self.ours}
        for frame in self.book.placed:
            if frame.ref not in known:
                yield f"sent-uncommitted: a message with the reference {frame.ref!r}, which no order has"

    def _announcement(self, order: UUID, order_id: int) -> Any:
        """The event that announced the write under this order id; None without one."""
        reserved = False
        for event in self.events[order]:
            if event.kind == "reserved":
                reserved = event.text == f"order id {order_id}"
            elif event.kind in ("freed", "not-written"):
                reserved = False
            elif event.kind == "sending" and reserved:
                return event
        return None

    def _taken_back(self, order: UUID, announced: int) -> bool:
        later = [event for event in self.events[order] if event.id > announced]
        kinds = [event.kind for event in later if event.kind in ("reserved", "not-written")]
        return kinds[:1] == ["not-written"]

    def _once_in_the_book(self) -> Iterator[str]:
        for ref, count in Counter(order.reference for order in self.book.orders if order.reference).items():
            if count > 1 + (ref in self.twins):
                yield f"order-twice: IB has {count} orders with the reference {ref}"

    def _twins(self) -> Iterator[str]:
        """An order that became two at IB is one row with both permIds; a person was told, and after the cancel both are over."""
        alarmed = {row.subject for row in self.evidence.rows("SELECT subject FROM incidents WHERE code = 'order-twin'")}
        for ref in sorted(self.twins):
            row, there = self.orders[UUID(ref)], self.book.of(ref)
            numbers = sorted(one.perm_id for one in there)
            if sorted(row.perm_ids) != numbers or ref not in alarmed:
                yield f"twin: order {ref} has the permIds {row.perm_ids}, at IB {numbers}, an incident: {ref in alarmed}"
            if any(one.open for one in there) or row.over_at is None:
                yield f"twin: order {ref} is {row.state}, at IB {[one.status for one in there]}, and it was cancelled"

    def _busts(self) -> Iterator[str]:
        """What IB took back without a word is an adjustment that a person made, and nothing else is."""
        due: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
        for row in self.busted:
            due[row.account, row.con_id] -= row.quantity if row.side == "BUY" else -row.quantity
        made = self._table("SELECT account, con_id, sum(quantity) AS quantity FROM position_adjustments GROUP BY 1, 2")
        for key in sorted(set(due) | set(made)):
            if float(due.get(key, 0)) != made.get(key, 0.0):
                yield f"bust: {key}: IB took back {-float(due.get(key, 0)):g}, the adjustments are {made.get(key, 0.0):g}"

    # ---- fills -------------------------------------------------------------------------------------------------------

    def _executions(self) -> Iterator[str]:
        """Each execution in its newest revision, with its commission, at its order; and nothing else."""
        found = {
            (row.account, row.exec_base): row for row in self.evidence.rows("SELECT * FROM executions WHERE latest")
        }
        made = self.book.newest_executions()
        for key in sorted(set(found) | set(made)):
            row, true = found.get(key), made.get(key)
            if true is None and any((one.account, one.exec_base) == key for one in self.busted):
                continue
            if row is None or true is None:
                yield f"execution: {key} is {'not in the database' if row is None else 'not at IB'}"
                continue
            here = (row.exec_id, float(row.quantity), float(row.price), row.side, row.con_id)
            there = (
                true.exec_id, true.shares, true.price, "BUY" if true.order.buys else "SELL", true.order.contract.con_id,
            )  # fmt: skip
            if here != there:
                yield f"execution: {key} is {here}, at IB {there}"
            if true.shares and (row.commission is None or abs(float(row.commission) - true.fee) > 1e-6):
                yield f"execution: {key} has the commission {row.commission}, at IB {true.fee}"
            ref = true.order.reference
            if ref and str(row.order_id) != ref:
                yield f"execution: {key} stands at order {row.order_id}, IB says {ref}"

    def _positions(self) -> Iterator[str]:
        """Sum of fills and adjustments, the ledger's position, what IB last reported, and IB's book, per account and contract."""
        sums: dict[tuple[str, int], float] = defaultdict(float)
        for row in self.evidence.rows("SELECT account, con_id, side, quantity FROM executions WHERE latest"):
            sums[row.account, row.con_id] += float(row.quantity if row.side == "BUY" else -row.quantity)
        for row in self.evidence.rows("SELECT account, con_id, quantity FROM position_adjustments"):
            sums[row.account, row.con_id] += float(row.quantity)
        tables: dict[str, Mapping[tuple[str, int], float]] = {
            "sum of fills": sums,
            "risk book": self._table("SELECT account, con_id, position AS quantity FROM risk_book"),
            "reported by IB": self._table("SELECT account, con_id, quantity FROM broker_positions"),
        }
        for key in sorted(set(self.book.positions).union(*tables.values())):
            true = self.book.positions.get(key, 0.0)
            for name, table in tables.items():
                if table.get(key, 0.0) != true:
                    yield f"position: {key}: {name} {table.get(key, 0.0):g}, IB has {true:g}"

    def _table(self, query: str) -> dict[tuple[str, int], float]:
        return {(row.account, row.con_id): float(row.quantity) for row in self.evidence.rows(query)}

    def _reservations(self) -> Iterator[str]:
        """Computed anew from orders and open changes, in another way than the ledger's and its verification's."""
        zero = Decimal(0)
        wanted = {
            row.order_id: Decimal(str(row.wanted["quantity"]))
            for row in self.requests
            if row.kind == "modify" and row.over_at is None and row.wanted.get("quantity") is not None
        }
        sums: dict[tuple[str, int, str], Decimal] = defaultdict(Decimal)
        values: dict[str, Decimal] = defaultdict(Decimal)
        for row in self.orders.values():
            due = zero
            if row.over_at is None:
                due = max(zero, max(row.quantity, wanted.get(row.id, zero)) - row.filled)
            if row.reserved_quantity != due:
                yield f"reservation: order {row.id} ({row.state}) reserves {row.reserved_quantity}, due is {due}"
            sums[row.account, row.con_id, row.side] += due
            values[row.account] += zero if row.reducing or row.unit_value is None else due * row.unit_value
        for book in self.evidence.rows("SELECT * FROM risk_book"):
            for side, held in (("BUY", book.reserved_buy), ("SELL", book.reserved_sell)):
                due = sums[book.account, book.con_id, side]
                if held != due:
                    yield f"reservation: {book.account} {book.con_id} {side} holds {held}, its orders {due}"
        for account in self.evidence.rows("SELECT * FROM risk_accounts WHERE account <> ''"):
            if account.reserved_value != values[account.account]:
                yield f"reservation: {account.account} holds {account.reserved_value}, its orders {values[account.account]}"

    # ---- states ------------------------------------------------------------------------------------------------------

    def _states(self) -> Iterator[str]:
        for row in self.orders.values():
            there = self.book.of(str(row.id)) if row.origin != "external" else self._manual(row)
            true = there[0] if there else None
            if str(row.id) not in self.twins:
                yield from self._state(row, true)
            filled = sum(one.filled for one in there) + sum(
                float(one.quantity) for one in self.busted if one.order_id == row.id
            )
            if true is not None and float(row.filled) != filled:
                yield f"fills: order {row.id} says {row.filled} filled, IB {filled:g}"
        refs = {str(row.id) for row in self.ours}
        for order in self.book.orders:
            if order.reference and order.reference not in refs:
                yield f"ghost: IB has an order {order.reference}, which no row knows"
        adopted = {number for row in self.orders.values() for number in row.perm_ids}
        for order in self.book.orders:
            if order.perm_id not in adopted and not self._may_be_unseen(order):
                yield f"ghost: IB's order {order.perm_id} ({order.status}) is at no row"

    @staticmethod
    def _may_be_unseen(order: Any) -> bool:
        """What IB tells nobody: orders that it refused, and those that were not transmitted."""
        return bool(order.refusal) or not order.transmitted or order.status == "Inactive"

    def _manual(self, row: Any) -> list[Any]:
        return [order for order in self.book.orders if order.perm_id in row.perm_ids]

    def _state(self, row: Any, true: Any) -> Iterator[str]:
        status = "not there" if true is None else f"{true.status} ({true.filled:g} of {true.quantity:g})"
        differs = f"order {row.id} is {row.state}, at IB it is {status}"
        lives = true is not None and true.open and true.transmitted
        if row.state == "unknown" or self._is_resolved(row):
            yield from self._unknown(row, true)
        elif row.state in ("accepted", "reserved", "sending"):
            yield f"state: {differs}, and all is over, {self._trail(row)}"
        elif row.state in _ALIVE:
            yield from self._terms(row, true) if lives else [f"state: {differs}, {self._trail(row)}"]
        elif lives:
            yield f"dead-and-alive: {differs}, {self._trail(row)}"
        elif not self._may_have_ended(row, true):
            yield f"state: {differs}, {self._trail(row)}"

    def _may_have_ended(self, row: Any, true: Any) -> bool:
        """Whether an order may be over as the row says, by what IB has of it."""
        if row.state == "filled":
            return true is not None and true.status in ("Filled", "Cancelled")
        if row.state in ("cancelled", "expired"):
            return true is None or true.status != "Filled"
        if row.state == "rejected":
            return bool(self._errors_of(row))
        return true is None and not self._attempts_that_count(row)

    def _is_resolved(self, row: Any) -> bool:
        """Whether a person ended an order that was unknown: it needs its cause as well."""
        return row.state == "denied" and any(event.kind == "resolved" for event in self.events[row.id])

    def _attempts_that_count(self, row: Any) -> bool:
        """Messages of an order that IB did not refuse for its order id."""
        return any(
            not any(code in (REFUSED_ID, NO_PARENT) for _, code, _ in self.book.errors.get(order_id, ()))
            for order_id in self._attempts(row)
        )

    def _errors_of(self, row: Any) -> list[tuple[int, int, str]]:
        return [error for order_id in self._attempts(row) for error in self.book.errors.get(order_id, ())]

    def _terms(self, row: Any, true: Any) -> Iterator[str]:
        limit = true.request.optional("lmtPrice") if true.limited else None
        here = (float(row.quantity), None if row.limit_price is None else float(row.limit_price))
        if here != (true.quantity, limit):
            yield f"terms: order {row.id} has quantity and limit {here}, at IB {(true.quantity, limit)}"

    # ---- unknown -----------------------------------------------------------------------------------------------------

    def _unknown(self, row: Any, true: Any) -> Iterator[str]:
        """Each one has a cause that was really injected, and a `why` that says the truth."""
        if true is not None and true.transmitted and not true.refusal and not _lost_a_fill(true):
            yield (
                f"unknown: order {row.id} is unknown, and IB names it when asked: {true.status}, filled {true.filled:f}"
                f" of {true.quantity:f}; why {row.why!r}, {self._trail(row)}"
            )
            return
        cause = self._cause(row, true)
        if cause is None:
            yield f"unknown: order {row.id} is unknown without a cause: {row.why!r}, {self._trail(row)}"
            return
        self.causes[row.id] = cause + (", resolved by a person" if row.state == "denied" else "")
        if not row.why:
            yield f"unknown: order {row.id} does not say why"
        if "as order id" in row.why and f"as order id {row.order_id};" not in row.why:
            yield f"unknown: order {row.id} has the order id {row.order_id}, its why says {row.why!r}"
        unknown = max(
            (event.id for event in self.events[row.id] if event.after == "unknown" != event.before), default=0
        )
        words = [event for event in self.events[row.id] if event.source == "ib" and event.id < unknown]
        if words and "never said a word" in row.why:
            yield f"unknown: order {row.id} says that IB never said a word, which is kept: {words[0].text!r}"

    def _cause(self, row: Any, true: Any) -> str | None:
        frames = self._attempts(row).get(row.order_id, [])
        announced = self._announcement(row.id, row.order_id)
        if not frames:
            at = self.evidence.database_clock.at(announced.committed) if announced is not None else 0
            cut = self._cut(at, _NO_WAY)
            return f"never arrived: {cut.kind}" if cut else None
        at = frames[0].at_ns
        if true is not None and _lost_a_fill(true):
            return next((one.kind for one in self.evidence.journal if one.kind == BUST), None)
        met = [fault for _, fault in self.book.faults.get(row.order_id, ())]
        eaten = [when for when, fault in self.book.faults.get(row.order_id, ()) if fault == "eat_order"]
        if any(abs(when - at) < _LATE_NS for when in eaten):  # else it was a change of it
            return "the gateway forgot it"
        if true is not None and not true.transmitted:
            waits = "precaution" in met
            cut = self._cut(at)
            return "waits for a click" if waits else f"not transmitted: {cut.kind}" if cut else None
        refusals = [error for error in self.book.errors.get(row.order_id, ()) if error[0] >= at]
        if refusals:
            cut = self._cut(refusals[0][0])
            return f"refused unheard: {cut.kind}" if cut else None
        cut = self._cut(at, _LOSE_WHAT_CAME)
        if cut is None and (not frames[0].transmit or "precaution" in met):
            # What was not transmitted lives in the gateway until that restarts.
            cut = next((one for one in self.evidence.journal if "restart" in one.kind and one.until_ns >= at), None)
        return f"lost in the gateway: {cut.kind}" if cut else None

    def _cut(self, at_ns: int, kinds: Sequence[str] = CUTS) -> Injected | None:
        """The interruption of one of these kinds that is closest to a time, and was under way then or came soon after."""
        found = [
            one
            for one in self.evidence.journal
            if any(word in one.kind for word in kinds) and one.until_ns + NS_PER_S >= at_ns >= one.at_ns - _AROUND_NS
        ]
        return min(found, key=lambda one: abs(one.at_ns - at_ns), default=None)

    def _trail(self, row: Any) -> str:
        """What happened to an order, for whoever looks into it."""
        events = [f"{event.kind} {event.after} {event.text}" for event in self.events[row.id]]
        frames = [f"{frame.order_id}@{frame.at_ns}" for frame in self.book.frames(str(row.id))]
        return f"events {events}, frames {frames}, errors {self._errors_of(row)}"

    # ---- callers, and causes before effects ----------------------------------------------------------------------------

    def _callers(self) -> Iterator[str]:
        """One key is one order, whatever became of the answers."""
        stored = defaultdict(list)
        for row in self.ours:
            if row.idempotency_key is not None:
                stored[row.idempotency_key].append(row)
        shown = Counter(one["id"] for one in self.evidence.listed)
        for answers in self.evidence.answers:
            rows = stored.pop(answers.key, [])
            if answers.last is None:
                yield f"caller: {answers.key} was never answered in {answers.attempts} attempts"
            elif len(rows) != 1 and not (rows == [] and answers.last[1] != "order-denied" and answers.last[0] >= 400):
                yield f"caller: {answers.key} is {len(rows)} orders after {answers.attempts} attempts: {answers.last}"
            elif rows and answers.orders != {str(rows[0].id)}:
                yield f"caller: {answers.key} was answered with {answers.orders}, stored is {rows[0].id}"
            group = [
                each
                for each in self.ours
                if rows and rows[0].group_kind == "bracket" and each.group_id == rows[0].group_id
            ]
            if rows and rows[0].group_kind == "bracket" and len(group) != 3:
                yield f"caller: the bracket {answers.key} has {len(group)} orders"
        for key in stored:
            yield f"caller: an order has the key {key}, which nobody sent"
        for row in self.ours:
            if shown[str(row.id)] != 1:
                yield f"caller: order {row.id} is listed {shown[str(row.id)]} times"

    def _acted_late_enough(self) -> Iterator[str]:
        """What the process does because of IB's words comes after their commit: the cancel of a group after the refusal of one of
        its orders, and of exits after the end of their entry. Events of an account have numbers in the order of their commits."""
        groups: dict[UUID, list[Any]] = defaultdict(list)
        for row in self.ours:
            if row.group_id is not None:
                groups[row.group_id] += [event for event in self.events[row.id] if event.after in _ENDS]
        for row in self.ours:
            acts = [
                event for event in self.events[row.id] if "order-process" in event.text and event.source == "process"
            ]
            for act in acts:
                reasons = groups.get(row.group_id, []) if row.group_id is not None else []
                if not any(reason.id < act.id for reason in reasons):
                    yield f"acted-early: {act.kind} of order {row.id} ({act.text}), and no refusal was committed before"
