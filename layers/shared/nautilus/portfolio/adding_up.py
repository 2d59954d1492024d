"""Whether the books of accounts add up, per account and currency: sums of rows, and the two equations of `identity`."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.portfolio import cash, holdings, totals
from nautilus.db.portfolio.cash import Balance
from nautilus.db.portfolio.totals import ContractTotals, TradeCash, TradedBefore
from nautilus.portfolio.contracts import MARGINED, Contract, contracts
from nautilus.portfolio.identity import BookTotals, CashTotals, Identity, book_identity, cash_identity
from nautilus.portfolio.lots import ZERO
from nautilus.portfolio.reading import Position, positions_of
from nautilus.portfolio.trade_dates import span_of, trade_date

Key = tuple[str, str]
"""Account and currency."""
Contracted = tuple[str, int]
"""Account and contract."""


class AddedUp(NamedTuple):
    """One account and currency. book, cash: the sums; the identities say whether they fit."""

    account: str
    currency: str
    book: BookTotals
    book_identity: Identity
    cash: CashTotals
    cash_identity: Identity


def added_up(cursor: Cursor, accounts: Sequence[str]) -> list[AddedUp]:
    """Every account and currency in which something was traded or is held as cash."""
    books = book_totals(cursor, accounts)
    balances, notes = cash_totals(cursor, accounts)
    nothing = BookTotals(ZERO, ZERO, ZERO, ZERO)
    found = []
    for account, currency in sorted({*books, *balances}):
        book = books.get((account, currency), nothing)
        money = balances.get((account, currency), CashTotals(None, None, ZERO, ZERO, ZERO))
        note = notes.get((account, currency))
        identity = Identity(None, None, note) if note else cash_identity(money)
        found.append(AddedUp(account, currency, book, book_identity(book), money, identity))
    return found


# ---- the book --------------------------------------------------------------------------------------------------------


def book_totals(cursor: Cursor, accounts: Sequence[str]) -> dict[Key, BookTotals]:
    """Realized, unrealized, traded and market value since the openings."""
    rows = totals.contract_totals(cursor, accounts)
    known = contracts(cursor, (row.con_id for row in rows))
    held = {(one.row.account, one.row.con_id): one for one in positions_of(cursor, accounts)}
    found: dict[Key, BookTotals] = {}
    for row in rows:
        contract = known[row.con_id]
        key = (row.account, contract.currency or "")
        one = _book(row, contract, held.get((row.account, row.con_id)))
        found[key] = _added(found[key], one) if key in found else one
    return found


def _book(row: ContractTotals, contract: Contract, held: Position | None) -> BookTotals:
    unit = contract.unit
    if unit is None:
        return BookTotals(None, None, ZERO, None, unvalued=1)
    realized = None if row.unknown else (row.proceeds - row.cost) * unit - row.opening_cost
    traded = row.traded * unit + row.opening_value
    unpriced = row.unpriced or int(row.unknown > 0)
    if held is None or not held.row.quantity:
        return BookTotals(realized, ZERO, traded, ZERO, unpriced=unpriced)
    unvalued = int(held.valued.value is None)
    return BookTotals(realized, held.valued.unrealized, traded, held.valued.value, unpriced, unvalued)


def _added(one: BookTotals, other: BookTotals) -> BookTotals:
    return BookTotals(
        _plus(one.realized, other.realized),
        _plus(one.unrealized, other.unrealized),
        one.traded + other.traded,
        _plus(one.market_value, other.market_value),
        one.unpriced + other.unpriced,
        one.unvalued + other.unvalued,
    )


def _plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


# ---- cash ------------------------------------------------------------------------------------------------------------


def cash_totals(cursor: Cursor, accounts: Sequence[str]) -> tuple[dict[Key, CashTotals], dict[Key, str]]:
    """IB's balances first and now, and what moved them since; and why the balances of some cannot be compared."""
    before = {(row.account, row.currency): row for row in cash.openings(cursor, accounts)}
    now = {(row.account, row.currency): row for row in cash.balances(cursor, accounts)}
    moved = {(row.account, row.currency): row.amount for row in totals.moved(cursor, accounts)}
    charged = {(row.account, row.currency): row for row in totals.fees(cursor, accounts)}
    trades = totals.trade_cash(cursor, accounts)
    ever = {(row.account, row.con_id) for row in totals.contract_totals(cursor, accounts)}
    known = contracts(cursor, (con_id for _, con_id in ever))
    unsettled = _unsettled(
        ever,
        known,
        open_=[(row.account, row.con_id) for row in holdings.holdings(cursor, accounts)],
        trades=trades,
        earlier=totals.traded_before(cursor, accounts),
        now=now,
    )
    paid, unpriced, newest = _trades(trades, known, unsettled)
    notes = _notes(ever, known, {*before, *now}, unsettled)
    found = {}
    for key in {*before, *now, *moved, *charged, *paid}:
        fee, first, last = charged.get(key), before.get(key), now.get(key)
        found[key] = CashTotals(
            first.balance if first else None,
            last.balance if last else None,
            paid.get(key, ZERO),
            fee.amount if fee else ZERO,
            moved.get(key, ZERO),
            unpriced.get(key, 0),
            fee.missing if fee else 0,
        )
        if last is not None and newest.get(key, 0) > last.at - cash.SETTLED_NS:
            notes.setdefault(key, "identity: open (a trade is newer than the cash balance from IB)")
    return found, notes


def _unsettled(
    ever: Iterable[Contracted],
    known: Mapping[int, Contract],
    *,
    open_: Iterable[Contracted],
    trades: Iterable[TradeCash],
    earlier: Iterable[TradedBefore],
    now: Mapping[Key, Balance],
) -> set[Contracted]:
    """Contracts whose gains are settled day by day, and of which the balance does not hold all gains since cash was opened, and
    no others.

    It does where they were flat then and are flat now (open_ are not), and where the trade dates of their newest trades then and
    now are over. What came day by day is then what their trades come to, whatever the prices of settlement were.
    """
    unsettled = {*open_}
    unsettled |= {(row.account, row.con_id) for row in trades if row.units}
    unsettled |= {(row.account, row.con_id) for row in earlier if span_of(trade_date(row.newest))[1] > row.opened}
    for row in trades:
        balance = now.get((row.account, known[row.con_id].currency or ""))
        if balance is None or span_of(trade_date(row.newest))[1] > balance.at:
            unsettled.add((row.account, row.con_id))
    return {key for key in unsettled & {*ever} if known[key[1]].asset_class in MARGINED}


def _trades(
    rows: Iterable[TradeCash], known: Mapping[int, Contract], unsettled: Container[Contracted]
) -> tuple[dict[Key, Decimal], dict[Key, int], dict[Key, int]]:
    """What trades moved, adjustments without a price, and the newest trade, by account and currency."""
    paid: defaultdict[Key, Decimal] = defaultdict(Decimal)
    unpriced: defaultdict[Key, int] = defaultdict(int)
    newest: defaultdict[Key, int] = defaultdict(int)
    for row in rows:
        contract = known[row.con_id]
        key = (row.account, contract.currency or "")
        newest[key] = max(newest[key], row.newest)
        unpriced[key] += row.unpriced
        if contract.unit is not None and (row.account, row.con_id) not in unsettled:
            paid[key] -= row.value * contract.unit
        if contract.asset_class == "CASH" and contract.symbol:
            other = (row.account, contract.symbol)
            paid[other] += row.units
            newest[other] = max(newest[other], row.newest)
    return dict(paid), dict(unpriced), dict(newest)


def _notes(
    ever: Iterable[Contracted], known: Mapping[int, Contract], keys: Iterable[Key], unsettled: Container[Contracted]
) -> dict[Key, str]:
    """Which balances cannot be compared, by what their accounts ever had. A contract that is not known has any currency."""
    notes: dict[Key, str] = {}
    for account, con_id in ever:
        contract = known[con_id]
        if (account, con_id) in unsettled:
            text = f"identity: open (gains of {contract.asset_class} contracts are settled day by day)"
            notes[account, contract.currency or ""] = text
        if contract.unit is None or contract.currency is None:
            text = f"identity: open (contract {con_id} is not known here)"
            notes |= {key: text for key in keys if key[0] == account}
    return notes
