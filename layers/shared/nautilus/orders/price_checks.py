"""The checks against a wrong price: the value of an order, the collar around the market, and what a market order needs."""

from decimal import Decimal

from nautilus.orders.check_case import Case, Problem, Problems, Reference, money, plain, unknown
from nautilus.orders.exposure import HUNDRED
from nautilus.orders.facts import DELAYED
from nautilus.orders.ticket import STOPS, Side

_LEAST_STEPS = 2
"""A collar is never closer than this many price steps: 5 % of an option at 0.10 is less than one."""
_CODE = "market_order_not_allowed"
_NO_PRICE = "neither a quote nor a close of the instrument is known yet"


def notional(case: Case) -> Problems:
    """Check 8: the value of the order in the account's base currency."""
    most = case.limit("notional")
    if most is None:
        return
    if case.unit_value is None:
        yield unknown("notional_limit", _why_no_value(case), most)
        return
    value = case.quantity * case.unit_value
    if value > most:
        text = "the value of the order is above the limit notional"
        yield Problem("notional_limit", money(most), money(value), text)


def _why_no_value(case: Case) -> str:
    currency = case.ticket.instrument.currency
    return _NO_PRICE if case.worst_price is None else f"the rate of {currency} in the base currency is not known yet"


# ---- the collar ------------------------------------------------------------------------------------------------------


def collar(case: Case) -> Problems:
    """Check 9: how far the prices lie from the market.

    A limit may be a little worse than the reference (the aggressive side) and much better (the passive side). A limit behind
    a stop is compared with the stop, where it will become live; a stop waits on its side of the market, far from it if need
    be, but not so far on the other that it would be live at once.
    """
    if case.at_once and case.leg.prices.limit is None:
        return
    reference = case.reference
    if reference is None:
        yield unknown("price_collar", _NO_PRICE)
        return
    yield from _limit_price(case, reference)
    yield from _stop_price(case, reference)
    yield from _trail(case, reference)


def _limit_price(case: Case, reference: Reference) -> Problems:
    limit, stop = case.leg.prices.limit, case.leg.prices.stop
    if limit is None:
        return
    base = Reference(stop, False) if stop else reference
    worse = (limit - base.price) * case.side.sign
    yield from _beyond(case, "limit_price", limit, distance=worse, most=_aggressive(case, base), base=base)
    yield from _beyond(case, "limit_price", limit, distance=-worse, most=_passive(case, base), base=base)


def _stop_price(case: Case, reference: Reference) -> Problems:
    stop = case.leg.prices.stop
    if stop is None:
        return
    waits_above = (case.side is Side.BUY) == (case.leg.type in STOPS)
    ahead = (stop - reference.price) * (1 if waits_above else -1)
    yield from _beyond(case, "stop_price", stop, distance=ahead, most=_passive(case, reference), base=reference)
    yield from _beyond(case, "stop_price", stop, distance=-ahead, most=_aggressive(case, reference), base=reference)


def _trail(case: Case, reference: Reference) -> Problems:
    amount, percent = case.leg.prices.trail_amount, case.leg.prices.trail_percent
    if percent is not None:
        amount = abs(reference.price) * percent / HUNDRED
    if amount is not None:
        most = _passive(case, reference)
        yield from _beyond(case, "trail_amount", amount, distance=amount, most=most, base=reference)


def _beyond(
    case: Case, name: str, value: Decimal, *, distance: Decimal, most: Decimal | None, base: Reference
) -> Problems:
    if most is None or distance <= most:
        return
    of = "the last close" if base.is_close else "the reference"
    percent = distance / abs(base.price) * HUNDRED
    text = f"{name} {plain(value)} is {money(percent)} % from {of}, {plain(base.price)}"
    yield Problem("price_collar", plain(most), plain(distance), text)


def _aggressive(case: Case, base: Reference) -> Decimal | None:
    """How much worse than the base a price may be, as a price."""
    name = {"FUT": "collar_percent_futures", "CASH": "collar_percent_currencies"}.get(
        case.asset_class, "collar_percent"
    )
    names = [name, "collar_percent_close"] if base.is_close else [name]
    names += ["collar_percent_reducing"] if case.reducing else []
    percents = [case.limit(one) for one in names]
    if None in percents:
        return None
    most = abs(base.price) * max(one for one in percents if one is not None) / HUNDRED
    rule = case.facts.rule
    return most if rule is None else max(most, _LEAST_STEPS * rule.step_at(base.price))


def _passive(case: Case, base: Reference) -> Decimal | None:
    percent = case.limit("collar_percent_passive")
    return None if percent is None else abs(base.price) * percent / HUNDRED


# ---- market orders ---------------------------------------------------------------------------------------------------


def market_order(case: Case) -> Problems:
    """Check 10: a market order needs regular hours, and a new quote with a narrow spread. One for the opening does not."""
    if not case.at_once:
        return
    phase = case.facts.session
    if phase is None:
        yield unknown(_CODE, "the hours of the instrument are not known yet", "regular hours")
    elif phase == "extended":
        yield Problem(_CODE, "regular hours", phase, "a market order is taken in regular hours alone")
    yield from _fresh(case)
    yield from _narrow(case)


def _fresh(case: Case) -> Problems:
    quote, oldest = case.facts.quote, case.limit("quote_age")
    if oldest is None:
        return
    most = f"{plain(oldest)} s"
    if quote is None:
        yield unknown(_CODE, "no quote of the instrument has come yet", most)
    elif case.quote is None:
        yield Problem(_CODE, "live", quote.feed, "the quotes are delayed, and this account needs live ones")
    elif quote.feed not in ("live", *DELAYED):
        feed = quote.feed or "not known yet"
        yield Problem(_CODE, "live", feed, f"the feed of the quotes is {feed}", temporary=True)
    elif quote.age > oldest:
        text = f"the newest quote is {plain(quote.age)} s old"
        yield Problem(_CODE, most, f"{plain(quote.age)} s", text, temporary=True)


def _narrow(case: Case) -> Problems:
    quote, widest = case.quote, case.limit("spread_percent")
    if quote is None or widest is None:
        return
    if quote.bid is None or quote.ask is None or not quote.middle:
        yield unknown(_CODE, "the quote has no bid or no ask", f"{plain(widest)} %")
        return
    spread = (quote.ask - quote.bid) / abs(quote.middle) * HUNDRED
    if spread > widest:
        text = f"the spread, {plain(quote.bid)} to {plain(quote.ask)}, is too wide for a market order"
        yield Problem(_CODE, f"{plain(widest)} %", f"{money(spread)} %", text)
