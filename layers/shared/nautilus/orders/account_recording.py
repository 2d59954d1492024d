"""What IB says about accounts becomes rows: values, profits, positions, and the opening positions of an account."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, positions, risk_book
from nautilus.orders.words import AccountValue, Pnl, Position, Word

_PROFITS = ("DailyPnL", "UnrealizedPnL", "RealizedPnL")
"""Tags under which the profits of an account are stored; IB sends the last two as values, too, and later."""


class AllPositions(NamedTuple):
    """All positions of these accounts: a contract that is not among them is flat."""

    accounts: Sequence[str]
    positions: Sequence[Position]


def record_account_words(cursor: Cursor, words: Iterable[Word], now_ns: int) -> None:
    """Write values, profits and single positions; other words are left alone. now_ns: market time when they came."""
    all_words = list(words)
    values = [word for word in all_words if isinstance(word, AccountValue)]
    for pnl in (word for word in all_words if isinstance(word, Pnl)):
        values += _profits(pnl)
    if values:
        account_state.put_values(cursor, values, now_ns)
    changed = [word for word in all_words if isinstance(word, Position)]
    if changed:
        positions.put_broker(cursor, changed, now_ns)


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


def _profits(word: Pnl) -> list[AccountValue]:
    """The profits of an account as values; what IB does not tell is not stored as 0. Those of one position are not kept."""
    if word.con_id is not None:
        return []
    amounts = zip(_PROFITS, (word.daily, word.unrealized, word.realized), strict=True)
    return [AccountValue(word.account, tag, "BASE", f"{amount:f}") for tag, amount in amounts if amount is not None]
