"""The checks of the order itself: may this be traded, does it make sense, is the price on its step, is the market open."""

from collections.abc import Iterator

from nautilus.orders import groups
from nautilus.orders.check_case import Case, Problem, Problems, plain, unknown
from nautilus.orders.limits import QUANTITY_LIMITS
from nautilus.orders.prices import NEGATIVE
from nautilus.orders.ticket import TYPES, OrderType, Prices, PriceUse, Tif, TypeRule

_NO_AUCTIONS = frozenset({"CASH", "CRYPTO", "CFD", "CMDTY"})
"""Classes without an opening or closing auction."""
_AUCTIONS = frozenset({OrderType.MOC, OrderType.LOC})
_REGULAR_ONLY = frozenset({OrderType.MKT, OrderType.MIT, OrderType.MOC, OrderType.LOC})
"""Types that trade in regular hours alone; IB ignores `outside_rth` for them (notice 2109)."""


def instrument(case: Case) -> Problems:
    """Check 4. What is no longer on the list may still be sold off."""
    asset_class, expiry = case.asset_class, case.ticket.instrument.expiry
    if asset_class not in QUANTITY_LIMITS:
        yield _not_allowed(", ".join(QUANTITY_LIMITS), asset_class, f"{asset_class} has no orders here")
    if expiry and expiry < case.facts.today[: len(expiry)]:
        yield _not_allowed(f"an expiry from {case.facts.today} on", expiry, f"the contract expired on {expiry}")
    if case.reducing or case.is_kill:
        return
    allowed = case.facts.allowed
    listed = {asset_class, str(case.ticket.con_id)} & allowed
    if not listed and (allowed or case.facts.account_kind == "live"):
        names = ", ".join(sorted(allowed)) or "nothing"
        yield _not_allowed(names, str(case.ticket.con_id), "the instrument is not on the list of what may be traded")


def _not_allowed(limit: str, value: str, text: str) -> Problem:
    return Problem("instrument_not_allowed", limit, value, text)


def makes_sense(case: Case) -> Problems:
    """Check 5: type, prices, time in force, quantity, and the orders of a group together."""
    leg, rule = case.leg, TYPES[case.leg.type]
    where = f"{leg.role}." if leg.is_exit else ""
    if leg.quantity <= 0:
        yield _invalid(f"{where}quantity", plain(leg.quantity), "more than 0")
    if leg.tif not in rule.tifs:
        yield _invalid(f"{where}tif", leg.tif, f"of {leg.type}: {', '.join(sorted(rule.tifs))}")
    yield from _prices(leg.prices, rule, case, where)
    if not leg.is_exit:
        yield from _times(case)
        for wrong in groups.check(case.ticket):
            yield _invalid(wrong.field, wrong.value, wrong.allowed)


def _prices(prices: Prices, rule: TypeRule, case: Case, where: str) -> Iterator[Problem]:
    pairs = (("limit_price", prices.limit, rule.limit), ("stop_price", prices.stop, rule.stop))
    for name, value, use in pairs:
        if value is None and use is PriceUse.NEEDED:
            yield _invalid(f"{where}{name}", None, f"{case.leg.type} needs one")
        elif value is not None and use is PriceUse.NONE:
            yield _invalid(f"{where}{name}", plain(value), f"{case.leg.type} has none")
        elif value is not None and value <= 0 and case.asset_class not in NEGATIVE:
            yield _invalid(f"{where}{name}", plain(value), "more than 0")
    yield from _trail(prices, rule, case, where)


def _trail(prices: Prices, rule: TypeRule, case: Case, where: str) -> Iterator[Problem]:
    given = [one for one in (prices.trail_amount, prices.trail_percent) if one is not None]
    if len(given) != int(rule.trail):
        needs = "exactly one of trail_amount and trail_percent" if rule.trail else "none"
        yield _invalid(f"{where}trail_amount", str(len(given)), f"{case.leg.type} has {needs}")
    if any(one <= 0 for one in given) or (prices.trail_percent is not None and prices.trail_percent >= 100):
        yield _invalid(f"{where}trail_amount", ", ".join(map(plain, given)), "more than 0, and below 100 percent")


def _times(case: Case) -> Iterator[Problem]:
    leg, ticket = case.leg, case.ticket
    if (leg.tif is Tif.GTD) != (leg.good_till is not None):
        yield _invalid(
            "good_till", None if leg.good_till is None else str(leg.good_till), "with tif GTD, and only then"
        )
    elif leg.good_till is not None and leg.good_till <= case.facts.now:
        yield _invalid("good_till", str(leg.good_till), f"after market time, {case.facts.now}")
    auctioned = leg.type in _AUCTIONS or leg.tif is Tif.OPG
    if auctioned and case.asset_class in _NO_AUCTIONS:
        yield _invalid("type", leg.type, f"{case.asset_class} has no auctions")
    if ticket.outside_rth and (leg.type in _REGULAR_ONLY or auctioned):
        yield _invalid("outside_rth", "true", f"false: {leg.type} trades in regular hours alone")


def _invalid(field: str, value: str | None, allowed: str) -> Problem:
    shown = "nothing" if value is None else value
    return Problem("invalid_order", f"{field}: {allowed}", shown, f"{field} is {shown}; allowed: {allowed}")


def steps(case: Case) -> Problems:
    """Check 6. A price off its step is refused with the two beside it."""
    rule, prices = case.facts.rule, case.leg.prices
    if rule is None:
        yield unknown("price_step", "the price steps of the instrument are not known yet")
        return
    for name, value in (("limit_price", prices.limit), ("stop_price", prices.stop)):
        if value is not None and not rule.takes(value):
            low, high = rule.beside(value)
            near = f"{plain(low)} or {plain(high)}"
            yield Problem(
                "price_step", plain(rule.step_at(value)), plain(value), f"{name} is off its step; near: {near}"
            )
    amount = prices.trail_amount
    if amount is not None and amount % rule.smallest:
        yield Problem("price_step", plain(rule.smallest), plain(amount), "trail_amount is no multiple of the step")
    if not rule.takes_size(case.leg.quantity):
        text = f"quantity is no multiple of {plain(rule.size_step)}, or below {plain(rule.min_size)}"
        yield Problem("quantity_step", plain(rule.size_step), plain(case.leg.quantity), text)


def quantity(case: Case) -> Problems:
    """Check 7: a quantity that somebody typed by mistake. An order that flattens is limited to the position."""
    name = QUANTITY_LIMITS.get(case.asset_class)
    most = case.limit(name) if name else None
    if most is not None and case.leg.quantity > most:
        text = f"the quantity is above the limit {name}"
        yield Problem("quantity_limit", plain(most), plain(case.leg.quantity), text)


def session(case: Case) -> Problems:
    """Check 11. While the market is closed other orders wait at IB; those that need it open are refused."""
    if not (case.at_once or case.leg.tif in (Tif.IOC, Tif.FOK)):
        return
    phase = case.facts.session
    if phase is None:
        yield unknown("session_closed", "the hours of the instrument are not known yet", "an open market")
    elif phase == "closed":
        text = f"the market is closed, and {case.leg.type} {case.leg.tif} does not wait"
        yield Problem("session_closed", "an open market", phase, text)
