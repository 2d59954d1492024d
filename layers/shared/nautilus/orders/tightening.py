"""Make the trading state of accounts stricter by the rules of `triggers`. The order process does it each second."""

from datetime import date

from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, notifications, positions, risk_book, trading_state
from nautilus.market.account_kind import account_kind
from nautilus.orders.limits import merged
from nautilus.orders.triggers import REJECTS_WINDOW_S, AccountFacts, Tightening, tightenings
from nautilus.portfolio.trade_dates import trade_date

_BY = "order-process"


def tighten_all(cursor: Cursor, now_ns: int) -> list[Tightening]:
    """Look at every account; returns what changed. now_ns: market time, which tells the trade date."""
    return [done for account in trading_state.known_accounts(cursor) for done in _tighten(cursor, account, now_ns)]


def _tighten(cursor: Cursor, account: str, now_ns: int) -> list[Tightening]:
    found = tightenings(_facts(cursor, account))
    if not found:
        return []
    risk_book.lock_account(cursor, account)
    changed = [one for one in found if _write(cursor, account, one, trade_date(now_ns))]
    if changed:
        notifications.notify(cursor)
    return changed


def _write(cursor: Cursor, account: str, found: Tightening, today: date) -> bool:
    if not found.for_trade_date:
        return trading_state.tighten(cursor, account, found.state, reason=found.reason, set_by=_BY)
    return trading_state.tighten_for_day(
        cursor, account, found.state, reason=found.reason, set_by=_BY, trade_date=today
    )


def _facts(cursor: Cursor, account: str) -> AccountFacts:
    values, pnl = account_state.known(cursor, account), account_state.number(cursor, account, "DailyPnL")
    return AccountFacts(
        daily_pnl=pnl[0] if pnl else None,
        net_liquidation=values.net_liquidation if values else None,
        limits=merged(account_state.limit_rows(cursor, account), account, account_kind([account])),
        rejects=account_state.rejected_lately(cursor, account, REJECTS_WINDOW_S),
        breaks=len(positions.open_breaks(cursor, [account])),
    )
