"""What IB says about accounts becomes rows: values, profits, positions, and an account's first positions and balances."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, positions, risk_book
from nautilus.db.portfolio import broker, cash
from nautilus.db.portfolio.broker import BrokerPnl
from nautilus.orders.words import AccountValue, AccountValuesEnd, Pnl, Position, Word

_PROFITS = ("DailyPnL", "UnrealizedPnL", "RealizedPnL")
"""Tags under which the profits of an account are stored; IB sends the last two as values, too, and later."""


class AllPositions(NamedTuple):
    """All positions of these accounts: a contract that is not among them is flat. valued: the accounts of which all values came
    before."""

    accounts: Sequence[str]
    positions: Sequence[Position]
    valued: Collection[str] = ()


def record_account_words(cursor: Cursor, words: Iterable[Word], now_ns: int) -> None:
    """Write values, profits and single positions; other words are left alone. now_ns: market time when they came."""
    all_words = list(words)
    values = [word for word in all_words if isinstance(word, AccountValue)]
    for pnl in (word for word in all_words if isinstance(word, Pnl)):
        values += _profits(pnl)
    if values:
        account_state.put_values(cursor, values, now_ns)
    _open_cash(cursor, all_words)
    changed = [word for word in all_words if isinstance(word, Position)]
    if changed:
        positions.put_broker(cursor, changed, now_ns)


def _open_cash(cursor: Cursor, words: Iterable[Word]) -> None:
    """The first balances of an account count once all of them came; a currency that is new later has a first balance, too."""
    complete = {word.account for word in words if isinstance(word, AccountValuesEnd)}
    for account in sorted(complete):
        _open_balances(cursor, account)
    balances = {word.account for word in words if isinstance(word, AccountValue) and word.tag == "CashBalance"}
    for account in cash.with_openings(cursor, sorted(balances - complete)) if balances else ():
        cash.open_balances(cursor, account)


def _open_balances(cursor: Cursor, account: str) -> None:
    """Cash is counted from when positions are: an account that has no opening has no first balance."""
    known = account_state.known(cursor, account)
    if known is not None and known.opened_at is not None:
        cash.open_balances(cursor, account)


def record_position_profits(cursor: Cursor, received: Iterable[tuple[Word, int]]) -> None:
    """Write what IB says about the profit of single positions: of each the newest. received: words, with market time when they
    came; others are left alone."""
    broker.put_pnl(
        cursor,
        [
            BrokerPnl(
                account=word.account,
                con_id=word.con_id,
                quantity=word.quantity,
                daily=word.daily,
                unrealized=word.unrealized,
                realized=word.realized,
                value=word.value,
                as_of=now_ns,
            )
            for word, now_ns in received
            if isinstance(word, Pnl) and word.con_id is not None
        ],
    )


def record_all_positions(cursor: Cursor, found: AllPositions, now_ns: int) -> None:
    """Write all positions; those of an account that is seen for the first time are its openings.

    IB tells the times of executions in whole seconds, so the opening begins with its second: what was executed in it before is
    stored already, as executions are requested before positions.
    """
    second = now_ns // NS_PER_S * NS_PER_S
    for account in sorted(found.accounts):
        risk_book.lock_account(cursor, account)
        own = [one for one in found.positions if one.account == account]
        positions.put_all_broker(cursor, account, own, now_ns)
        positions.open_account(cursor, account, second)
        if account in found.valued:
            _open_balances(cursor, account)


def _profits(word: Pnl) -> list[AccountValue]:
    """The profits of an account as values; what IB does not tell is not stored as 0. Those of one position are no values."""
    if word.con_id is not None:
        return []
    amounts = zip(_PROFITS, (word.daily, word.unrealized, word.realized), strict=True)
    return [AccountValue(word.account, tag, "BASE", f"{amount:f}") for tag, amount in amounts if amount is not None]
