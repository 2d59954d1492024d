"""Fills and cash of a file become rows, one piece in one transaction that holds the account.

What the ledger has already changes nothing; a figure that is another one there is a problem, and is not written. A fill that is
older than the account's opening moves the opening back, so that the position of today stays, and so does its correction. A newer
one moves the position: it was missing.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders import executions, finding, missed_fills, new_fills, positions, risk_book
from nautilus.db.orders.exact import difference
from nautilus.db.orders.finding import Names
from nautilus.db.orders.new_fills import NewFill
from nautilus.db.orders.orders import OrderRow
from nautilus.db.portfolio import booking, cash, imports
from nautilus.db.portfolio.imports import KnownFill
from nautilus.orders.identity import order_id_of
from nautilus.orders.outcome import Known
from nautilus.orders.recording import record
from nautilus.orders.words import Execution
from nautilus.portfolio.import_items import Item
from nautilus.portfolio.import_verdicts import Verdict, as_known, judged, judged_back, judged_cash, problem_of
from nautilus.portfolio.report_rows import Problem
from nautilus.portfolio.reported import ReportedCash, ReportedFill

COUNTS = (
    *(
        "new",
        "replaced",
        "known",
        "moved_back",
        "explained",
        "commissions",
        "taken_back",
        "repeated",
        "skipped",
        "refused",
    ),
    *("cash_new", "cash_known", "cash_recognised"),
)
"""What is counted of a file. moved_back: of the new and the replaced ones, those that moved the opening. explained: of the
new ones, those that a person had booked as missed fills. skipped: totals.
cash_recognised: movements that a person had entered before."""
_CENT = Decimal("0.01")


class Source(NamedTuple):
    """Where rows come from: an import, its kind, and who uploaded it."""

    id: UUID
    kind: str
    by: str


class Rehearsal:
    """What a dry run would have written by now, over all its pieces: the next one finds it as if it were there."""

    def __init__(self) -> None:
        self.fills: dict[str, KnownFill] = {}
        self.recognised: set[int] = set()


class Applied:
    """What a piece did. contracts: those whose lots may have changed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self.contracts: set[int] = set()

    def add(self, verdict: Verdict) -> str:
        self.counts[verdict.word] += 1
        self.problems += verdict.problems
        return verdict.word


def apply(
    cursor: Cursor, account: str, items: Sequence[Item], source: Source, *, now_ns: int, dry: Rehearsal | None = None
) -> Applied:
    """Write the items of one piece; the account is held. dry: only count, and write nothing but into it. now_ns: market time."""
    done = Applied()
    fills = [item.fill for item in items if item.fill is not None]
    backs = [item.taken_back for item in items if item.taken_back is not None]
    known = imports.known_fills(cursor, account, [fill.base for fill in (*fills, *backs)]) | (dry.fills if dry else {})
    writer = _Writer(cursor, account, source, now_ns=now_ns, dry=dry)
    for fill in fills:
        before = known.get(fill.base)
        word = done.add(judged(fill, before))
        if word in ("new", "replaced"):
            writer.write(fill, before, done)
            known[fill.base] = as_known(fill)
            if dry:
                dry.fills[fill.base] = known[fill.base]
        elif word == "known" and before is not None:
            writer.complete(fill, before, done)
        if fill.taxes and word != "refused":
            writer.cash(_taxes(fill))
    writer.flush()
    for fill in backs:
        done.add(judged_back(fill, known.get(fill.base)))
    moved = [item.cash for item in items if item.cash is not None]
    stored = imports.known_cash(cursor, account, [one.external_id for one in moved])
    for one in moved:
        if one.external_id not in stored and writer.recognise(one):
            done.counts["cash_recognised"] += 1
        elif done.add(judged_cash(one, stored.get(one.external_id))) == "cash_new":
            writer.cash(one)
    for con_id in sorted(done.contracts if dry is None else ()):
        booking.rebook(cursor, account, con_id)
    return done


def _taxes(fill: ReportedFill) -> ReportedCash:
    """What was paid beside a trade and its commission, as a movement of its own."""
    return ReportedCash(
        row=fill.row,
        account=fill.account,
        currency=fill.currency,
        amount=fill.taxes.copy_negate(),
        kind="tax",
        ts=fill.ts,
        text=f"taxes of execution {fill.exec_id}",
        external_id=f"taxes:{fill.base}",
    )


class _Writer:
    """Writes what a piece says, unless it is only counted."""

    def __init__(self, cursor: Cursor, account: str, source: Source, *, now_ns: int, dry: Rehearsal | None) -> None:
        self._cursor = cursor
        self._account = account
        self._source = source
        self._now_ns = now_ns
        self._dry = dry is not None
        self._recognised = dry.recognised if dry else set()
        self._opened = positions.opened_at(cursor, account)
        self._adjustments = missed_fills.covered(cursor, account)
        self._new: list[NewFill] = []
        self._held: set[int] = set()

    def write(self, fill: ReportedFill, before: KnownFill | None, done: Applied) -> None:
        """Write a fill or its correction; what the opening includes moves the opening instead of the position. A fill of nobody's
        order is written together with others (`flush`)."""
        included = self._opened is not None and fill.ts < self._opened
        done.counts["moved_back"] += included
        if before is None and not included:
            explained = missed_fills.explains(self._adjustments, fill.con_id, signed=fill.signed, ts=fill.ts)
            done.counts["explained"] += explained
        done.contracts.add(fill.con_id)
        if self._dry:
            return
        self._hold(fill.con_id)
        order = self._order(fill)
        if order is None and before is None:
            self._new.append(
                NewFill(self._word(fill), fill.commission, fill.commission_currency or None, fill.realized)
                if fill.commission is not None
                else NewFill(self._word(fill))
            )
            return
        self.flush()
        word = self._word(fill)
        if order is not None:
            (recorded,) = record(self._cursor, [word], Known(now_ns=self._now_ns))
            if recorded.outcome is None:
                raise RuntimeError(f"execution {fill.exec_id} could not be written for order {order.id}")
        else:
            executions.put_unbooked(self._cursor, word, None)
        if before is not None and included:
            change = difference(fill.signed, before.signed)
            risk_book.move(self._cursor, self._account, fill.con_id, change.copy_negate())
            positions.move_opening_back(self._cursor, self._account, fill.con_id, change, at=fill.ts)
        self._commission(fill)

    def flush(self) -> None:
        """Write the fills that wait."""
        if self._new:
            new_fills.put_new(self._cursor, self._account, self._new)
            self._new.clear()

    def _hold(self, con_id: int) -> None:
        if con_id not in self._held:
            risk_book.lock_exposure(self._cursor, self._account, con_id)
            self._held.add(con_id)

    def complete(self, fill: ReportedFill, before: KnownFill, done: Applied) -> None:
        """Fill in the commission of a fill that is there, or say that it is another one."""
        if fill.commission is None or fill.revision != before.revision:
            return
        if before.commission is None:
            done.counts["commissions"] += 1
            if not self._dry:
                self._commission(fill)
        elif (
            abs(difference(before.commission, fill.commission)) > _CENT
            or before.commission_currency != fill.commission_currency
        ):
            text = f"the ledger has {before.commission:f} {before.commission_currency}, as the broker said over the API; it stays"
            done.problems.append(problem_of(fill, "ibCommission", text))

    def recognise(self, moved: ReportedCash) -> bool:
        """Whether a person entered this movement before it stood in a statement; it gets IB's id, and counts once."""
        found = cash.alike(
            self._cursor,
            self._account,
            moved.currency,
            moved.amount,
            kind=moved.kind,
            at=moved.ts,
            entered=True,
            but=self._recognised,
        )
        if found is None:
            return False
        self._recognised.add(found)
        if not self._dry:
            cash.recognise(self._cursor, found, moved.external_id)
        return True

    def cash(self, moved: ReportedCash) -> None:
        if not self._dry:
            new = cash.Movement(
                account=self._account,
                currency=moved.currency,
                amount=moved.amount,
                kind=moved.kind,
                ts=moved.ts,
                text=moved.text,
                source="flex",
                external_id=moved.external_id,
                by=self._source.by,
            )
            cash.put(self._cursor, new)

    def _word(self, fill: ReportedFill) -> Execution:
        raw = {"source": self._source.kind, "import_id": str(self._source.id), "line": fill.row.line}
        return Execution(
            exec_id=fill.exec_id,
            order_id=0,
            client_id=0,
            perm_id=0,
            order_ref=fill.order_ref,
            account=self._account,
            con_id=fill.con_id,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            exchange=fill.exchange,
            time_ns=fill.ts,
            raw={**{name: text for name, text in fill.row.values.items() if text}, **raw},
        )

    def _order(self, fill: ReportedFill) -> OrderRow | None:
        """The order of ours whose reference a fill has. IB's number of the order in a report is no permId that can be trusted."""
        ref = order_id_of(fill.order_ref)
        found = finding.find(self._cursor, Names(ref=ref, account=self._account)) if ref else None
        return found if found and (found.con_id, found.side) == (fill.con_id, fill.side) else None

    def _commission(self, fill: ReportedFill) -> None:
        self.flush()
        if fill.commission is not None:
            imports.fill_commission(
                self._cursor,
                self._account,
                fill.exec_id,
                commission=fill.commission,
                currency=fill.commission_currency,
                realized=fill.realized,
            )
