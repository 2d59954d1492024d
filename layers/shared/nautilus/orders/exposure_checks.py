"""The checks of what the account would hold: position, gross exposure, short sales, margin."""

from decimal import Decimal

from nautilus.orders.check_case import Case, Problem, Problems, money, plain, unknown
from nautilus.orders.exposure import HUNDRED, ZERO
from nautilus.orders.ticket import Side

SHORT_CLASSES = frozenset({"STK", "CFD", "OPT", "FOP", "CRYPTO"})
"""Classes of which a sale without a position is a short sale; a future or a currency pair has none."""
MARGIN = "margin"
"""The code of check 20."""
_MARGINED = frozenset({"FUT", "OPT", "FOP"})


def position(case: Case) -> Problems:
    """Check 12: the value of the position if all open orders of the side fill, and this one."""
    most = case.limit("position")
    if most is None:
        return
    if case.exposure is None or case.unit_value is None:
        yield unknown("position_limit", "the position or its value is not known yet", most)
        return
    held = case.exposure.furthest(case.side, case.added)
    value = abs(held) * case.unit_value
    if value > most:
        text = f"with all open orders the position would be {plain(held)}, which is worth more than the limit position"
        yield Problem("position_limit", money(most), money(value), text)


def gross_exposure(case: Case) -> Problems:
    """Check 13: all positions, all reservations and this order, against an amount and against the account's value.

    An order whose value is not known counts with the most that check 8 lets pass. Where that has no limit either, nothing can be
    reserved for it, and it is not left to the order process: any number of them would pass at once.
    """
    total = _gross(case)
    fixed, percent, worth = (
        case.limit("gross_exposure"),
        case.limit("gross_exposure_percent"),
        case.facts.net_liquidation,
    )
    if fixed is None and percent is None:
        return
    if case.reserved_unit_value is None:
        limit = None if fixed is None else money(fixed)
        text = "the value of the order is not known, as neither a price nor a rate of its instrument is, and no limit notional"
        yield Problem("exposure_limit", limit, "not known", f"{text} bounds it", temporary=True)
        return
    if total is None or (percent is not None and worth is None):
        yield unknown("exposure_limit", "the value of the account's positions or of the order is not known yet", fixed)
        return
    if fixed is not None and total > fixed:
        text = "positions and open orders would be above the limit gross_exposure"
        yield Problem("exposure_limit", money(fixed), money(total), text)
    if percent is not None and worth is not None and total > worth * percent / HUNDRED:
        text = f"positions and open orders would be above {plain(percent)} % of the account's value"
        yield Problem("exposure_limit", money(worth * percent / HUNDRED), money(total), text)


def _gross(case: Case) -> Decimal | None:
    held, unit = case.facts.gross_position_value, case.reserved_unit_value
    return None if held is None or unit is None else held + case.facts.reserved_value + case.added * unit


def _opens_short(case: Case) -> bool | None:
    """Whether a sale could make the position negative; None while the position is not known."""
    if case.side is Side.BUY or case.asset_class not in SHORT_CLASSES or case.leg.is_exit or case.facts.is_exit:
        return False
    return None if case.exposure is None else case.exposure.furthest(Side.SELL, case.added) < ZERO


def short_sale(case: Case) -> Problems:
    """Check 14: selling what the account does not have, all open sales counted."""
    if case.switch("short"):
        return
    short = _opens_short(case)
    if short is None:
        yield unknown("short_not_allowed", "the position is not known yet", "0")
    elif short and case.exposure is not None:
        held = case.exposure.furthest(Side.SELL, case.added)
        text = "with all open sales the position would be short, and the limit short is off"
        yield Problem("short_not_allowed", "0", plain(held), text)


def needs_margin(case: Case) -> bool:
    """Whether IB is asked for the margin first: of a future, an option, or a sale that opens a short position or may do so."""
    if not case.switch("margin_check") or case.reducing:
        return False
    return case.asset_class in _MARGINED or _opens_short(case) is not False


def margin(case: Case) -> Problems:
    """Check 20: the margin, where IB is asked for it."""
    if not needs_margin(case):
        return
    found, facts = case.facts.margin, case.facts
    if facts.margin_refusal:
        text = f"the broker would refuse the order: {facts.margin_refusal}"
        yield Problem(MARGIN, "an order that the broker takes", "refused", text)
    elif found is None:
        why = facts.margin_unknown or "the margin is not known yet; the broker is asked for it"
        yield unknown(MARGIN, why, "the margin by a what-if order")
    elif found.initial_after > found.equity_after:
        text = "the margin would be above the equity that covers it"
        yield Problem(MARGIN, money(found.equity_after), money(found.initial_after), text)
