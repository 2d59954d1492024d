"""The conditions of an order: price, time, margin, execution, volume and percent change.

Fields and their order are those of IB's API documentation ("Order Conditioning"); a percent change is read as percent.
"""

from collections.abc import Callable

from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.source import Quote
from ib_gateway_sim.orders.order import Order
from ib_gateway_sim.rules.dates import Moment, moment
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.wire.request import Condition, Request

_BID_ASK, _MIDPOINT = (1, 4), 8  # trigger methods; the others look at the last trade
_NAMES = {1: "Price", 3: "Time", 4: "Margin", 5: "Execution", 6: "Volume", 7: "PercentChange"}


def problem_with(gateway: Gateway, request: Request) -> Violation | None:
    """Why the conditions cannot be judged (398); IB does not name the first that is wrong either."""
    for condition in request.conditions:
        if condition.conjunction not in ("a", "o") or not _readable(gateway, condition):
            return Violation(398, f"{_NAMES[condition.kind]} cannot be used as a condition trigger.")
    return None


def _readable(gateway: Gateway, condition: Condition) -> bool:
    try:
        if condition.kind == 3:
            return isinstance(_moment(gateway, condition), Moment)
        if condition.kind in (1, 6, 7) and _contract(gateway, condition) is None:
            return False
        return condition.kind == 5 or _value(condition) == _value(condition)
    except ValueError:
        return False


def met(gateway: Gateway, order: Order, at_s: float) -> bool:
    """Whether all together hold: each is joined to the next by and or by or, from the left. Once met is met for ever.

    Outside of regular hours those of a stock's order are judged only if the order says so.
    """
    if order.released or not order.request.conditions:
        return True
    if not order.request.flag("conditionsIgnoreRth") and not _regular(gateway, order.contract, at_s):
        return False
    result, conjunction = True, "a"
    for condition in order.request.conditions:
        holds = _JUDGES[condition.kind](gateway, order, condition, at_s)
        result = result and holds if conjunction == "a" else result or holds
        conjunction = condition.conjunction
    order.released = result
    return result


def _regular(gateway: Gateway, contract: Contract, at_s: float) -> bool:
    return contract.sec_type != "STK" or bool(gateway.market.sessions(contract, at_s, at_s + 1, rth=True))


# ---- reading ---------------------------------------------------------------------------------------------------------
def _more(condition: Condition) -> bool:
    return condition.fields[0].strip().lower() in ("1", "true")


def _value(condition: Condition) -> float:
    return float(condition.fields[1])


def _holds(condition: Condition, value: float) -> bool:
    return value >= _value(condition) if _more(condition) else value <= _value(condition)


def _contract(gateway: Gateway, condition: Condition) -> Contract | None:
    con_id, exchange = condition.fields[2:4]
    found = gateway.market.find(
        ContractQuery(con_id=int(con_id or 0), exchange=exchange if exchange != "*" else ""), gateway.clock.now_s()
    )
    return found[0] if len(found) == 1 else None


def _moment(gateway: Gateway, condition: Condition) -> Moment | Violation:
    return moment(
        condition.fields[1],
        field_name="Condition",
        login_zone=gateway.settings.login_zone,
        now_s=gateway.clock.now_s(),
    )


# ---- judging ---------------------------------------------------------------------------------------------------------
def _price(gateway: Gateway, order: Order, condition: Condition, at_s: float) -> bool:
    contract = _contract(gateway, condition)
    if contract is None:
        return False
    quote, method = gateway.quote(contract, at_s), int(condition.fields[4] or 0)
    price = _watched(quote, method, _more(condition))
    return price is not None and _holds(condition, price)


def _watched(quote: Quote, method: int, rising: bool) -> float | None:
    """The price that a trigger method looks at; None while there is none."""
    quoted = quote.has_bid and quote.has_ask
    if method in _BID_ASK:
        return (quote.bid if rising else quote.ask) if quoted else None
    if method != _MIDPOINT and quote.has_last:
        return quote.last
    return (quote.bid + quote.ask) / 2 if quoted else None


def _time(gateway: Gateway, order: Order, condition: Condition, at_s: float) -> bool:
    at = _moment(gateway, condition)
    return isinstance(at, Moment) and (at_s >= at.at_s if _more(condition) else at_s <= at.at_s)


def _margin(gateway: Gateway, order: Order, condition: Condition, at_s: float) -> bool:
    totals = gateway.totals()
    return totals.net != 0 and _holds(condition, 100 * totals.available / totals.net)


def _execution(gateway: Gateway, order: Order, condition: Condition, at_s: float) -> bool:
    """A fill in the instrument since the order was placed."""
    sec_type, exchange, symbol = condition.fields
    return any(
        made.at_s >= order.placed_s
        and made.order is not order
        and (made.order.contract.sec_type, made.order.contract.symbol) == (sec_type, symbol)
        and exchange in ("*", "", "SMART", made.exchange)
        for made in gateway.orders.executions
    )


def _volume(gateway: Gateway, order: Order, condition: Condition, at_s: float) -> bool:
    contract = _contract(gateway, condition)
    return contract is not None and _holds(condition, gateway.quote(contract, at_s).volume)


def _percent(gateway: Gateway, order: Order, condition: Condition, at_s: float) -> bool:
    contract = _contract(gateway, condition)
    if contract is None:
        return False
    quote = gateway.quote(contract, at_s)
    return quote.has_last and quote.close > 0 and _holds(condition, 100 * (quote.last / quote.close - 1))


_JUDGES: dict[int, Callable[[Gateway, Order, Condition, float], bool]] = {
    1: _price,
    3: _time,
    4: _margin,
    5: _execution,
    6: _volume,
    7: _percent,
}
