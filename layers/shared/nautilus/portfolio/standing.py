"""Which fills of a report stand: rows that take others back, and rows of one execution id, put in order.

IB takes a trade back by a row of its own (TradeCancel), which as a rule has no execution id and names the trade by origTradeID or
origTransactionID. Often it books the trade anew afterwards, under the same execution id or its next revision; then the commission
is the sum of all these rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from functools import reduce
from typing import NamedTuple

from nautilus.portfolio.report_rows import Problem, problem
from nautilus.portfolio.reported import ReportedCash, ReportedFill

_EXACT = Context(prec=400)


class Standing(NamedTuple):
    """fills: those that stand, by contract, time and revision. taken_back: those that were cancelled and not booked anew, by the
    same order. repeated: rows that say again what another says."""

    fills: list[ReportedFill]
    taken_back: list[ReportedFill]
    problems: list[Problem]
    repeated: int


class StandingCash(NamedTuple):
    """The same of movements of cash."""

    cash: list[ReportedCash]
    problems: list[Problem]
    repeated: int


def standing(found: Sequence[ReportedFill]) -> Standing:
    """What stands of the fills of one account."""
    trades = [fill for fill in found if not fill.cancels]
    candidates = _Candidates(trades)
    problems: list[Problem] = []
    busts: list[ReportedFill] = []
    for cancel in (fill for fill in found if fill.cancels):
        if candidates.take_back(cancel):
            continue
        if cancel.exec_id:
            busts.append(cancel._replace(quantity=Decimal(0)))
        else:
            problems.append(_unpaired(cancel))
    cancelled = [(trades[at], cancel) for at, cancel in sorted(candidates.pairs.items())]
    left = [fill for at, fill in enumerate(trades) if at not in candidates.pairs]
    one_each, wrong, repeated = _one_of_each(left + busts)
    bases = {fill.base for fill in (*left, *busts)}
    kept = _in_order(_with_commissions(one_each, cancelled))
    gone = _in_order([fill for fill, _ in cancelled if fill.base not in bases])
    return Standing(kept, gone, problems + wrong, repeated)


def standing_cash(found: Iterable[ReportedCash]) -> StandingCash:
    """One movement of each transaction id."""
    groups: dict[str, list[ReportedCash]] = defaultdict(list)
    for one in found:
        groups[one.external_id].append(one)
    done = StandingCash([], [], 0)
    repeated = 0
    for same in groups.values():
        if len({(one.currency, one.amount, one.kind, one.ts) for one in same}) > 1:
            done.problems.extend(
                problem(one.row.line, "transactionID", one.external_id, "stands in the file with other figures, too")
                for one in same
            )
        else:
            done.cash.append(same[0])
            repeated += len(same) - 1
    return done._replace(cash=sorted(done.cash, key=lambda one: (one.ts, one.external_id)), repeated=repeated)


# ---- what takes back -------------------------------------------------------------------------------------------------


class _Candidates:
    """The trades of a file, by the ids under which a later row may take them back."""

    def __init__(self, trades: Sequence[ReportedFill]) -> None:
        self._trades = trades
        self.pairs: dict[int, ReportedFill] = {}
        """Index of a trade -> the row that takes it back."""
        self._by_id: dict[tuple[str, str], list[int]] = defaultdict(list)
        for at, fill in enumerate(trades):
            for kind, name in (("T", fill.transaction_id), ("t", fill.trade_id), ("x", fill.exec_id)):
                if name:
                    self._by_id[kind, name].append(at)

    def take_back(self, cancel: ReportedFill) -> bool:
        """Pair a row with the trade that it takes back. False: the file does not have that.

        A trade that was booked anew has the trade id of the one before it, so figures must fit, too, and the first counts.
        """
        for key in (
            ("x", cancel.exec_id),
            ("T", cancel.original_transaction),
            ("t", cancel.original_trade),
        ):
            for at in self._by_id.get(key, ()) if key[1] else ():
                if at not in self.pairs and _fits(self._trades[at], cancel):
                    self.pairs[at] = cancel
                    return True
        return False


def _fits(trade: ReportedFill, cancel: ReportedFill) -> bool:
    figures = (trade.con_id, trade.side, trade.quantity, trade.price)
    return figures == (cancel.con_id, cancel.side, cancel.quantity, cancel.price)


def _unpaired(cancel: ReportedFill) -> Problem:
    row = cancel.row
    field = "origTransactionID" if cancel.original_transaction else "origTradeID"
    text = (
        "takes a trade back that is not in this file, and has no execution id of its own: nothing was changed; import a report"
        " that has both, or resolve the position break by an adjustment (correction)"
    )
    return problem(row.line, row.name_of(field), row.get(field), text)


# ---- one of each -----------------------------------------------------------------------------------------------------


def _one_of_each(found: Sequence[ReportedFill]) -> tuple[list[ReportedFill], list[Problem], int]:
    """One row of each execution id, all that contradict each other left out; the problems; how many rows were repeated."""
    by_base: dict[str, dict[int, list[ReportedFill]]] = defaultdict(lambda: defaultdict(list))
    for fill in found:
        by_base[fill.base][fill.revision].append(fill)
    kept: list[ReportedFill] = []
    problems: list[Problem] = []
    repeated = 0
    for revisions in by_base.values():
        every = [fill for same in revisions.values() for fill in same]
        if len({(fill.con_id, fill.side) for fill in every}) > 1:
            problems += [_contradiction(fill, "another contract or side") for fill in every]
            continue
        for same in revisions.values():
            if len({(fill.quantity, fill.price, fill.ts, fill.commission) for fill in same}) > 1:
                problems += [_contradiction(fill, "other figures") for fill in same]
            else:
                kept.append(same[0])
                repeated += len(same) - 1
    return kept, problems, repeated


def _contradiction(fill: ReportedFill, what: str) -> Problem:
    row = fill.row
    text = f"stands in the file with {what}, too: none of these rows is taken"
    return problem(row.line, row.name_of("ibExecID"), fill.exec_id, text)


def _with_commissions(
    kept: Sequence[ReportedFill], cancelled: Sequence[tuple[ReportedFill, ReportedFill]]
) -> list[ReportedFill]:
    """Add what was charged and given back for a trade that was booked anew to the newest revision of it."""
    carried: dict[str, list[Decimal]] = defaultdict(list)
    for pair in cancelled:
        carried[pair[0].base] += [fill.commission for fill in pair if fill.commission is not None]
    newest = {fill.base: fill for fill in sorted(kept, key=lambda fill: fill.revision)}
    done = []
    for fill in kept:
        more = carried.get(fill.base)
        if more and fill is newest[fill.base]:
            fill = fill._replace(commission=reduce(_EXACT.add, more, fill.commission or Decimal(0)))
        done.append(fill)
    return done


def _in_order(fills: Sequence[ReportedFill]) -> list[ReportedFill]:
    """By contract, then by time, the revisions of a fill next to each other."""
    begins: dict[str, int] = {}
    for fill in fills:
        begins[fill.base] = min(fill.ts, begins.get(fill.base, fill.ts))
    return sorted(fills, key=lambda fill: (fill.con_id, begins[fill.base], fill.base, fill.revision))
