"""What a live run has earned, by the executions of its orders in the ledger."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from nautilus.db.strategies.ledger import RunExecution
from nautilus.strategies.figures import Book, RunFill

_ONE, _NONE = Decimal(1), Decimal(0)


class Earnings:
    """What executions have made real, less the commissions that are known (`amount`); kept up as they come, so that a run of
    months does not read all of them after each fill.

    units: con_id -> what a price of 1 is worth for a quantity of 1.
    """

    def __init__(self, units: Mapping[int, Decimal]) -> None:
        self._units = units
        self._executions: list[RunExecution] = []
        self._book = Book()
        self.amount = _NONE

    def take(self, executions: Iterable[RunExecution], *, of: Collection[UUID] = ()) -> None:
        """Executions as they are now, in place of those that were known of these orders."""
        before = self._executions
        kept = [one for one in before if one.order_id not in of]
        now = sorted([*kept, *executions], key=lambda one: (one.ts, one.exec_id))
        booked = len(before)
        if len(now) < booked or not all(map(_is_same_trade, before, now)):
            self._book, booked = Book(), 0
        for n, one in enumerate(now[booked:], booked):
            self._book.add(_fill(n, one, self._units))
        self._executions = now
        self.amount = self._book.realized - _commissions(now)


def earned(executions: Sequence[RunExecution], units: Mapping[int, Decimal]) -> Decimal:
    """What executions, in the order of time, have made real, less the commissions that are known."""
    return book_of(executions, units).realized - _commissions(executions)


def book_of(executions: Iterable[RunExecution], units: Mapping[int, Decimal]) -> Book:
    """The book of a run's executions, in the order of time. units: con_id -> what a price of 1 is worth for a quantity of 1."""
    book = Book()
    for n, one in enumerate(executions):
        book.add(_fill(n, one, units))
    return book


def _fill(n: int, one: RunExecution, units: Mapping[int, Decimal]) -> RunFill:
    unit = units.get(one.con_id, _ONE)
    return RunFill(f"{n:09d}", one.con_id, one.ts, one.side, one.quantity, one.price, one.commission, unit)


def _is_same_trade(before: RunExecution, now: RunExecution) -> bool:
    """Whether nothing but the commission differs."""
    return before is now or before == now._replace(
        commission=before.commission, commission_currency=before.commission_currency
    )


def _commissions(executions: Iterable[RunExecution]) -> Decimal:
    return sum((one.commission or _NONE for one in executions), _NONE)
