"""The checks of who may trade: the state of trading, the account and its mode, the caller, how often, and what is unresolved."""

from decimal import Decimal

from nautilus.orders.check_case import Case, Problem, Problems, money, plain, unknown
from nautilus.orders.exposure import HUNDRED, PendingOrder
from nautilus.orders.ticket import Origin, Tif

UNKNOWN_ACCOUNT = "unknown_account"
_PEOPLE = frozenset({Origin.API, Origin.FRONT_END})
_MINUTE, _DAY = 60, 86_400


def trading_state(case: Case) -> Problems:
    """Check 1. What flattens after a kill passes a halt, and reduces, or does not pass."""
    state = case.facts.trading_state
    if state is None:
        yield unknown("trading_halted", "the trading state of the account is not known", "active")
    elif state == "halted" and not case.is_kill:
        yield Problem("trading_halted", "active", state, "trading of this account is halted; a person resumes it")
    elif (state == "reducing" or case.is_kill) and not case.reducing:
        text = "only orders that bring the position toward zero are taken now"
        yield Problem("reducing_only", "reducing orders", state, text)


def account(case: Case) -> Problems:
    """Check 2: the account is one of the login, and the setting `NAUTILUS_ORDERS` is for accounts of its kind."""
    facts, name = case.facts, case.ticket.account
    if facts.mode == "off":
        yield Problem(
            "orders_off", "paper or live", facts.mode, "orders are switched off by the setting NAUTILUS_ORDERS"
        )
        return
    if facts.account_kind is None or facts.accounts is None:
        yield unknown(UNKNOWN_ACCOUNT, f"the accounts of the login are not known yet, {name} among them")
    elif name not in facts.accounts:
        known = ", ".join(sorted(facts.accounts)) or "none"
        yield Problem(UNKNOWN_ACCOUNT, known, name, "the login has no such account")
    if facts.account_kind == "live" and not (facts.mode == "live" and name in facts.live_accounts):
        text = f"{name} holds real money; NAUTILUS_ORDERS=live and NAUTILUS_LIVE_ACCOUNT={name} would allow its orders"
        yield Problem("live_not_enabled", "live", facts.mode, text)


def rights(case: Case) -> Problems:
    """Check 3: the caller may place orders, and for this account."""
    if not case.facts.may_trade:
        text = "the caller has no right to place orders for this account"
        yield Problem("forbidden", "orders:write and the account", case.ticket.account, text)


def rate(case: Case) -> Problems:
    """Check 16: how many orders and changes were accepted, this one not among them."""
    counts = case.facts.counts
    if counts is None:
        yield unknown("rate_limit", "it is not known how many orders were accepted")
        return
    rows = (
        ("orders_per_second", counts.second, 1),
        ("orders_per_minute", counts.minute, _MINUTE),
        ("orders_per_day", counts.day, _DAY),
        ("account_orders_per_second", counts.account_second, 1),
    )
    for name, count, seconds in rows:
        most = case.limit(name)
        if most is not None and count + 1 > most:
            text = f"this would be number {count + 1} in {seconds} s, above the limit {name}"
            yield Problem("rate_limit", plain(most), str(count + 1), text)
    ratio, most = case.facts.order_ratio, case.limit("order_ratio")
    if case.facts.changes and ratio is not None and most is not None and ratio >= most:
        text = "too many orders, changes and cancels to each execution today; cancels still pass"
        yield Problem("rate_limit", plain(most), money(ratio), text)


def duplicate(case: Case) -> Problems:
    """Check 17: a person who sent the same order shortly before under another key."""
    window, leg = case.limit("duplicate_window"), case.leg
    if window is None or case.ticket.allow_duplicate or case.ticket.origin not in _PEOPLE or case.facts.changes:
        return
    same = (leg.side, leg.type, leg.quantity, leg.prices.limit, leg.prices.stop)
    for other in case.facts.recent:
        if other.age <= window and other[:-1] == same:
            text = "the same order came shortly before; allow_duplicate says that it is no mistake"
            yield Problem("duplicate_order", f"{plain(window)} s", f"{plain(other.age)} s", text)
            return


def open_orders(case: Case) -> Problems:
    """Check 18: open orders of the instrument on the side of each order of the ticket."""
    most = case.limit("open_orders")
    count = sum(other.side is case.side for other in case.others) + case.own_orders
    if most is not None and count > most:
        text = f"this would be number {count} of the open {case.side} orders of the instrument"
        yield Problem("too_many_orders", plain(most), str(count), text)


def self_match(case: Case) -> Problems:
    """Check 19: an own order of the other side rests where the two would trade. Orders of one group may."""
    for other in case.others:
        if other.side is case.side or other.asleep or case.excepted & {other.group, other.entry_of}:
            continue
        if _would_trade(case, other):
            price = "at any price" if other.limit is None else plain(other.limit)
            text = f"own order {other.order_id} ({other.side} {other.type} {price}) would trade with this one"
            yield Problem("self_match", price, _own_price(case), text)
            return


_BOOKS = {"LMT": "market", "MKT": "market", "LOC": "close", "MOC": "close"}
"""Order type -> where it meets others. What waits for a price to be touched meets nobody yet."""


def _would_trade(case: Case, other: PendingOrder) -> bool:
    book = _BOOKS.get(case.leg.type)
    if book is None or _BOOKS.get(other.type) != book or case.leg.tif is Tif.OPG:
        return False
    own, theirs = case.leg.prices.limit, other.limit
    if own is None and theirs is not None and book == "market":
        quote = case.quote
        own = None if quote is None else quote.ask if case.side.sign > 0 else quote.bid
        if own is None:
            return False  # without a quote check 10 keeps a market order back
    if own is None or theirs is None:
        return True
    return own >= theirs if case.side.sign > 0 else own <= theirs


def _own_price(case: Case) -> str:
    limit = case.leg.prices.limit
    return "at any price" if limit is None else plain(limit)


def unresolved(case: Case) -> Problems:
    """Check 21: while an order may exist, or the position is not the broker's, only reducing orders pass."""
    if case.reducing:
        return
    lost = [one.order_id for one in case.others if one.unknown]
    if lost:
        text = f"order {lost[0]} of this instrument may exist at the broker; resolve it first"
        yield Problem("unresolved_order", "0", str(len(lost)), text)
    if case.facts.position_break is None:
        yield unknown("position_break", "it is not known whether the position agrees with the broker's")
    elif case.facts.position_break:
        text = "the position of this instrument is not the broker's; resolve the difference first"
        yield Problem("position_break", "no difference", "a difference", text)


def cool_down(case: Case) -> Problems:
    """Check 22: no entry for a while after losing trades."""
    most, lasts = case.limit("cool_down_losses"), case.limit("cool_down")
    if most is None or lasts is None or case.reducing:
        return
    losses, age = case.facts.losses, case.facts.last_loss_age
    if losses is None:
        yield unknown(
            "cool_down",
            "it is not known how many trades lost: IB has not reported the result of every execution yet",
            most,
        )
    elif losses and losses >= most and age is not None and age < lasts:
        text = f"{losses} trades lost in this trade date; the next entry is taken in {plain(lasts - age)} s"
        yield Problem("cool_down", plain(most), str(losses), text)


def broker(case: Case) -> Problems:
    """Check 23: connected, all three questions answered, and no restart of the gateway at hand."""
    facts, window = case.facts, case.limit("restart_window")
    if not facts.ready:
        why = facts.not_ready_because or "the order process has not compared its orders with the broker's yet"
        yield Problem("broker_not_ready", "ready", "not ready", why, temporary=True)
    elif window is not None and facts.restart_in is not None and facts.restart_in < window:
        seconds = plain(facts.restart_in.quantize(Decimal(1)))
        text = f"the gateway restarts in {seconds} s; what is sent then may be lost"
        yield Problem("broker_not_ready", f"{plain(window)} s", f"{seconds} s", text, temporary=True)


def daily_loss(case: Case) -> Problems:
    """Check 15: the loss of the day by IB's count, in percent of what the account had when that day began."""
    most, pnl, worth = case.limit("daily_loss_reducing"), case.facts.daily_pnl, case.facts.net_liquidation
    if most is None:
        return
    if pnl is None or worth is None:
        yield unknown("daily_loss", "IB has not sent the profit of the day yet", most)
        return
    if pnl >= 0:
        return
    before = worth - pnl
    percent = -pnl / before * HUNDRED if before > 0 else HUNDRED
    if percent >= most:
        text = f"the account lost {money(-pnl)} in the day by IB's count; only reducing orders pass"
        yield Problem("daily_loss", f"{plain(most)} %", f"{money(percent)} %", text)
