"""The table at the end of a trading day: our book beside the simulator's, by account and contract, and cash by account and
currency, with what the identity of each says."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from nautilus.portfolio.identity import BookTotals, CashTotals, Identity, book_identity, cash_identity
from tests.support.order_process import OrderStack
from tests.support.portfolio_book import SimulatorBook, differences

_ZERO = Decimal(0)


class ContractLine(NamedTuple):
    """Of one account and contract, ours and the simulator's. realized: ours first in, first out, before commissions; theirs by
    average cost, commissions inside: two methods, which need not agree."""

    account: str
    symbol: str
    fills: int
    their_fills: int
    position: Decimal
    their_position: Decimal
    fees: Decimal
    their_fees: Decimal
    realized: Decimal
    their_realized: Decimal
    identity: Identity


class CashLine(NamedTuple):
    """Of one account and currency: the first balance, what moved it, and IB's last one."""

    account: str
    currency: str
    before: Decimal
    trades: Decimal
    fees: Decimal
    movements: Decimal
    now: Decimal
    theirs: Decimal
    identity: Identity


class Day(NamedTuple):
    contracts: list[ContractLine]
    cash: list[CashLine]
    found: list[str]
    """Every row that is not the simulator's, and every identity that does not hold."""


def day_of(stack: OrderStack) -> Day:
    """Both books as they are now."""
    book = SimulatorBook(stack)
    contracts, cash = list(_contracts(stack, book)), list(_cash(stack, book))
    broken = [f"{one.account} {one.symbol}: {one.identity.text}" for one in contracts if not one.identity.holds]
    broken += [f"{row.account} {row.currency}: {row.identity.text}" for row in cash if not row.identity.holds]
    return Day(contracts, cash, [*differences(stack), *broken])


_OURS = (
    "SELECT x.account, x.con_id, i.symbol, count(*)::int AS fills, sum(coalesce(x.commission, 0)) AS fees,"
    " sum(CASE x.side WHEN 'BUY' THEN x.quantity ELSE -x.quantity END) AS position,"
    " sum(CASE x.side WHEN 'BUY' THEN x.quantity ELSE -x.quantity END * x.price) AS traded"
    " FROM executions x JOIN instruments i USING (con_id) WHERE x.latest AND x.quantity > 0 GROUP BY 1, 2, 3 ORDER BY 1, 3"
)
_LOTS = (
    "SELECT account, con_id, coalesce(sum(proceeds), 0) AS proceeds, coalesce(sum(matched), 0) AS matched,"
    " coalesce(sum(open_cost), 0) AS cost, coalesce(sum(quantity), 0) AS quantity FROM ("
    " SELECT account, con_id, proceeds, cost AS matched, 0 AS open_cost, 0 AS quantity FROM lot_matches"
    " UNION ALL SELECT account, con_id, 0, 0, cost, quantity FROM lots) l GROUP BY 1, 2"
)
_MARK = Decimal(100)
"""The price of every position: whatever it is, both sides of the identity have it."""


def _contracts(stack: OrderStack, book: SimulatorBook) -> Iterator[ContractLine]:
    lots = {(row.account, row.con_id): row for row in stack.rows(_LOTS)}
    theirs: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for (account, _), made in book.executions.items():
        if made.shares:
            theirs[account, made.order.contract.con_id].append(made)
    for row in stack.rows(_OURS):
        key, lot = (row.account, row.con_id), lots[row.account, row.con_id]
        held, fills = book.portfolios[row.account].positions[row.con_id], theirs[key]
        totals = BookTotals(
            realized=lot.proceeds - lot.matched,
            unrealized=lot.quantity * _MARK - lot.cost,
            traded=row.traded,
            market_value=row.position * _MARK,
        )
        yield ContractLine(
            account=row.account,
            symbol=row.symbol,
            fills=row.fills,
            their_fills=len(fills),
            position=row.position,
            their_position=Decimal(str(held.quantity)),
            fees=row.fees,
            their_fees=sum((Decimal(str(made.fee)) for made in fills), _ZERO),
            realized=totals.realized or _ZERO,
            their_realized=Decimal(str(round(held.realized, 4))),
            identity=book_identity(totals),
        )


_CASH = (
    "SELECT o.account, o.currency, o.balance AS before, v.value::numeric AS now, coalesce(t.trades, 0) AS trades,"
    " coalesce(t.fees, 0) AS fees, coalesce(t.missing, 0)::int AS missing, coalesce(m.amount, 0) AS movements"
    " FROM cash_openings o LEFT JOIN account_values v ON v.account = o.account AND v.currency = o.currency"
    "  AND v.tag = 'CashBalance'"
    " LEFT JOIN (SELECT x.account, i.currency, sum(CASE x.side WHEN 'BUY' THEN -x.quantity ELSE x.quantity END * x.price)"
    "  AS trades, sum(x.commission) AS fees, count(*) FILTER (WHERE x.commission IS NULL) AS missing"
    "  FROM executions x JOIN instruments i USING (con_id) WHERE x.latest AND x.quantity > 0 GROUP BY 1, 2) t"
    "  ON t.account = o.account AND t.currency = o.currency"
    " LEFT JOIN (SELECT account, currency, sum(amount) AS amount FROM cash_movements GROUP BY 1, 2) m"
    "  ON m.account = o.account AND m.currency = o.currency ORDER BY 1, 2"
)


def _cash(stack: OrderStack, book: SimulatorBook) -> Iterator[CashLine]:
    for row in stack.rows(_CASH):
        totals = CashTotals(
            row.before, row.now, trades=row.trades, fees=row.fees, movements=row.movements, missing_fees=row.missing
        )
        yield CashLine(
            account=row.account,
            currency=row.currency,
            before=row.before,
            trades=row.trades,
            fees=row.fees,
            movements=row.movements,
            now=row.now,
            theirs=Decimal(str(round(book.portfolios[row.account].ledgers.get(row.currency, 0.0), 4))),
            identity=cash_identity(totals),
        )


_CONTRACT_HEAD = "".join(
    (
        f"{'account':9}{'symbol':8}{'fills':>11}{'position':>15}{'commissions':>23}",
        f"{'FIFO':>13}{'their average':>15}  identity",
    )
)
_CASH_HEAD = "".join(
    (
        f"{'account':9}{'currency':9}{'first':>15}{'trades':>15}{'fees':>11}{'movements':>11}",
        f"{'IB now':>15}{'simulator':>15}  identity",
    )
)


def table(day: Day) -> str:
    """Lines of text. Each pair of columns is ours and the simulator's."""
    lines = [_CONTRACT_HEAD, "-" * len(_CONTRACT_HEAD), *map(_contract_line, day.contracts)]
    lines += ["", _CASH_HEAD, "-" * len(_CASH_HEAD), *map(_cash_line, day.cash)]
    return "\n".join(lines)


def _contract_line(one: ContractLine) -> str:
    counts = f"{one.fills:>5} {one.their_fills:>5}{_plain(one.position):>8}{_plain(one.their_position):>7}"
    money = f"{one.fees:>12.4f}{one.their_fees:>11.4f}{one.realized:>13.2f}{one.their_realized:>15.2f}"
    return f"{one.account:9}{one.symbol:8}{counts}{money}  {one.identity.text}"


def _cash_line(row: CashLine) -> str:
    moved = f"{row.before:>15.2f}{row.trades:>15.2f}{row.fees:>11.2f}{row.movements:>11.2f}"
    return f"{row.account:9}{row.currency:9}{moved}{row.now:>15.2f}{row.theirs:>15.2f}  {row.identity.text}"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
