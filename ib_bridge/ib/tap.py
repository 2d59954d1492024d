"""What IB says of orders, fills and accounts, as plain words in the order in which it came: one border between the client
library and us.

The library's own callbacks of these messages keep a state of each order that is often not the gateway's: they call a live
order cancelled after a notice, and a refused one open. So they are replaced, on the object that the decoder calls, before
the connection is made; both libraries look a callback up at each message (ib_insync 0.9.86 and ib_async 2.1.0, read
2026-11). The library decodes bytes and encodes orders, and keeps nothing.

The library makes a float of each number. Its shortest form (`repr`) is the text that came, up to seventeen digits, so a
Decimal is made of that. The largest float and the largest integer mean "not known" to IB: None here.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from ib_bridge.ib.client import IB
from ib_bridge.ib.language import plain
from nautilus.clock import ns_of
from nautilus.orders.words import (
    AccountValue,
    AccountValuesEnd,
    BrokerError,
    Commission,
    CompletedOrder,
    CompletedOrdersEnd,
    CurrentTime,
    Execution,
    ExecutionsEnd,
    ManagedAccounts,
    NextOrderId,
    OpenOrder,
    OpenOrdersEnd,
    OrderStatus,
    Pnl,
    Position,
    PositionsEnd,
    Side,
    Word,
)

_UNSET_INTEGER = 2**31 - 1
_UNSET = (str(sys.float_info.max), repr(_UNSET_INTEGER), "1.7976931348623157E308", "")
_WITHOUT_LIMIT = frozenset({"MKT", "STP", "TRAIL", "MOC", "MIT", "MTL", "MKT PRT"})
_SIDES: Mapping[str, Side] = {
    "BUY": "BUY",
    "BOT": "BUY",
    "SELL": "SELL",
    "SLD": "SELL",
    "SSHORT": "SELL",
    "SLONG": "SELL",
}
_MARGINS = (
    *("initMarginBefore", "maintMarginBefore", "equityWithLoanBefore"),
    *("initMarginChange", "maintMarginChange", "equityWithLoanChange"),
    *("initMarginAfter", "maintMarginAfter", "equityWithLoanAfter"),
    *("commission", "minCommission", "maxCommission"),
)
_CALLBACKS: Mapping[str, str] = {
    "3": "orderStatus",
    "4": "error",
    "5": "openOrder",
    "9": "nextValidId",
    "11": "execDetails",
    "15": "managedAccounts",
    "49": "currentTime",
    "53": "openOrderEnd",
    "55": "execDetailsEnd",
    "59": "commissionReport",
    "61": "position",
    "62": "positionEnd",
    "73": "accountUpdateMulti",
    "74": "accountUpdateMultiEnd",
    "94": "pnl",
    "95": "pnlSingle",
    "101": "completedOrder",
    "102": "completedOrdersEnd",
}
"""Number of a message -> the library's callback for it."""


class Tap:
    """Hands every word to `receive`. odd: gets (callback, what was wrong) for a message that could not be read: nothing of ours
    may then trust that it knows all."""

    def __init__(self, receive: Callable[[Word], None], odd: Callable[[str, str], None]) -> None:
        self._receive = receive
        self._odd = odd
        self._fields: list[str] = []
        self._handled = False
        self.pnl_requests: dict[int, tuple[str, int | None]] = {}
        """Request -> the account and contract whose profit it asks for."""
        self.value_requests: dict[int, str] = {}
        """Request -> the account whose values it asks for."""

    def attach(self, ib: IB) -> None:
        """Listen to a connection that has not been made yet."""
        self.pnl_requests.clear()
        self.value_requests.clear()
        for name in _CALLBACKS.values():
            setattr(ib.wrapper, name, self._callback(name, getattr(self, f"_{name}")))
        decode = ib.client.decoder.interpret

        def interpret(fields: list[str]) -> None:
            self._fields, self._handled = list(fields), False
            decode(fields)
            name = _CALLBACKS.get(self._fields[0]) if self._fields else None
            if name is not None and not self._handled:
                self._odd(name, "the client library could not read it")

        ib.client.decoder.interpret = interpret

    def _callback(self, name: str, make: Callable[..., Word | None]) -> Callable[..., None]:
        def callback(*values: Any) -> None:
            self._handled = True
            try:
                word = make(*values)
            except Exception as wrong:
                # The decoder would log it and go on, and a word would be lost unnoticed.
                self._odd(name, f"{type(wrong).__name__}: {wrong}")
                return
            if word is not None:
                self._receive(word)

        return callback

    # ---- the library's callbacks, with its arguments -----------------------------------------------------------------

    def _nextValidId(self, number: int) -> NextOrderId:
        return NextOrderId(number)

    def _managedAccounts(self, names: str) -> ManagedAccounts:
        return ManagedAccounts(tuple(name for name in names.split(",") if name))

    def _currentTime(self, time_s: int) -> CurrentTime:
        return CurrentTime(time_s)

    def _error(self, number: int, code: int, text: str, *_more: str) -> BrokerError:
        return BrokerError(number, code, plain(text), {"id": number, "errorCode": code, "errorMsg": text})

    def _openOrder(self, order_id: int, contract: Any, order: Any, state: Any) -> OpenOrder:
        return OpenOrder(
            order_id=_number(order_id),
            client_id=_number(order.clientId),
            perm_id=_number(order.permId),
            order_ref=order.orderRef,
            account=order.account,
            con_id=contract.conId,
            symbol=contract.symbol,
            side=_SIDES[order.action],
            type=order.orderType,
            tif=order.tif,
            quantity=_known(order.totalQuantity),
            status=state.status,
            limit_price=_limit(order),
            aux_price=_price(order.auxPrice),
            trail_percent=_price(order.trailingPercent),
            parent_id=_number(order.parentId),
            oca_group=order.ocaGroup,
            warning=state.warningText or "",
            what_if=bool(order.whatIf),
            margins=_margins(state) if order.whatIf else None,
            raw=_raw(contract, order, state),
        )

    def _orderStatus(self, order_id: int, status: str, filled: float, remaining: float, *more: Any) -> OrderStatus:
        average, perm_id, _parent, _last, client_id, why_held, *_cap = more
        done = _known(filled)
        names = ("orderId", "status", "filled", "remaining", "avgFillPrice", "permId", "parentId", "lastFillPrice")
        values = (order_id, status, filled, remaining, *more)
        return OrderStatus(
            order_id=_number(order_id),
            client_id=_number(client_id),
            perm_id=_number(perm_id),
            status=status,
            filled=done,
            remaining=_known(remaining),
            avg_fill_price=_decimal(average) if done else None,
            why_held=why_held,
            raw=_plain_values(dict(zip((*names, "clientId", "whyHeld", "mktCapPrice"), values, strict=False))),
        )

    def _completedOrder(self, contract: Any, order: Any, state: Any) -> CompletedOrder:
        return CompletedOrder(
            perm_id=_number(order.permId),
            order_ref=order.orderRef,
            account=order.account,
            con_id=contract.conId,
            side=_SIDES[order.action],
            type=order.orderType,
            tif=order.tif,
            quantity=_known(order.totalQuantity),
            filled=_decimal(order.filledQuantity),
            status=state.status,
            completed_status=state.completedStatus,
            completed_time=state.completedTime,
            raw=_raw(contract, order, state),
        )

    def _execDetails(self, request: int, contract: Any, execution: Any) -> Execution:
        return Execution(
            exec_id=execution.execId,
            order_id=_number(execution.orderId),
            client_id=_number(execution.clientId),
            perm_id=_number(execution.permId),
            order_ref=execution.orderRef,
            account=execution.acctNumber,
            con_id=contract.conId,
            side=_SIDES[execution.side],
            quantity=_known(execution.shares),
            price=_known(execution.price),
            exchange=execution.exchange,
            time_ns=ns_of(execution.time),
            request_id=request,
            raw=_raw(contract, execution),
        )

    def _commissionReport(self, report: Any) -> Commission | None:
        """The library makes 0 of what IB leaves empty: the message itself shows it."""
        amount, currency, realized = self._fields[3:6]
        cost = _decimal(amount)
        if cost is None:
            return None  # not reported yet: the sweep asks again
        raw = {"execId": report.execId, "commission": amount, "currency": currency, "realizedPNL": realized}
        return Commission(report.execId, cost, currency, _decimal(realized), raw)

    def _openOrderEnd(self) -> OpenOrdersEnd:
        return OpenOrdersEnd()

    def _completedOrdersEnd(self, *_: Any) -> CompletedOrdersEnd:
        return CompletedOrdersEnd()

    def _execDetailsEnd(self, request: int) -> ExecutionsEnd:
        return ExecutionsEnd(request)

    def _position(self, account: str, contract: Any, quantity: float, average: float) -> Position:
        return Position(account, contract.conId, _known(quantity), _decimal(average))

    def _positionEnd(self) -> PositionsEnd:
        return PositionsEnd()

    def _accountUpdateMulti(self, _request: int, account: str, _model: str, tag: str, *more: str) -> AccountValue:
        value, currency = more
        return AccountValue(account, tag, currency, value)

    def _accountUpdateMultiEnd(self, request: int) -> AccountValuesEnd | None:
        account = self.value_requests.get(request)
        return AccountValuesEnd(account) if account is not None else None

    def _pnl(self, request: int, *values: float) -> Pnl | None:
        """values: of the day, unrealized, realized."""
        if request not in self.pnl_requests:
            return None
        return Pnl(*self.pnl_requests[request], *map(_decimal, values))

    def _pnlSingle(self, request: int, quantity: float, *values: float) -> Pnl | None:
        """values: of the day, unrealized, realized, and the market value."""
        *profits, value = values
        found = self._pnl(request, *profits)
        return found and dataclasses.replace(found, quantity=_decimal(quantity), value=_decimal(value))


# ---- values ----------------------------------------------------------------------------------------------------------


def _decimal(value: Any) -> Decimal | None:
    """A number of IB; None where IB marks it as not known, or where it is none."""
    text = value if isinstance(value, str) else repr(value) if isinstance(value, float | int) else str(value)
    if text in _UNSET:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return _short(found) if found.is_finite() and found < Decimal("1e300") else None


def _short(number: Decimal) -> Decimal:
    """Without the zeros behind the point that a float always shows: 100, not 100.0."""
    whole = number.to_integral_value()
    return whole.quantize(Decimal(1)) if number == whole and abs(whole) < Decimal("1e25") else number


def _known(value: Any) -> Decimal:
    """A number that every message has. ValueError where this one has not."""
    found = _decimal(value)
    if found is None:
        raise ValueError(f"{value!r} is not a number")
    return found


def _price(value: Any) -> Decimal | None:
    """A price that IB sends as 0 where the order has none."""
    return _decimal(value) or None


def _limit(order: Any) -> Decimal | None:
    found = _decimal(order.lmtPrice)
    return None if order.orderType in _WITHOUT_LIMIT and not found else found


def _number(value: int) -> int:
    """An id; 0 where IB marks it as not known, or has a negative one for an order that was entered by hand."""
    return value if value > 0 and value != _UNSET_INTEGER else 0


def _margins(state: Any) -> dict[str, Decimal]:
    found = {name: _decimal(getattr(state, name)) for name in _MARGINS}
    return {name: value for name, value in found.items() if value is not None}


def _raw(*objects: Any) -> dict[str, object]:
    """The fields of a message that are not the library's defaults, by IB's names."""
    found: dict[str, object] = {}
    for thing in objects:
        for each in dataclasses.fields(thing):
            value = getattr(thing, each.name)
            if value != each.default and value not in ("", None, [], sys.float_info.max, _UNSET_INTEGER):
                found[each.name] = value
    return _plain_values(found)


def _plain_values(values: Mapping[str, object]) -> dict[str, object]:
    """The same with values that JSON has: numbers that are no whole ones, and all else, as text."""
    return {
        name: value
        if isinstance(value, str | bool | int)
        else value.isoformat()
        if isinstance(value, datetime)
        else str(value)
        for name, value in values.items()
    }
