"""Orders as messages: openOrder, orderStatus, execDetails, commissionReport, completedOrder."""

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders.order import Execution, Order, Preview
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.codec import UNSET_DOUBLE, UNSET_INTEGER


def _contract(contract: Contract) -> list[codec.Value]:
    return [
        contract.con_id,
        contract.symbol,
        contract.sec_type,
        contract.last_trade_date,
        contract.strike,
        contract.right or "?",
        contract.multiplier,
        contract.exchange,
        contract.currency,
        contract.local_symbol,
        contract.trading_class,
    ]


def order_status(order: Order) -> bytes:
    return codec.frame(
        3,
        order.order_id,
        order.status,
        order.filled,
        order.remaining,
        order.average_price,
        order.perm_id,
        order.parent_id,
        order.last_price,
        max(0, order.client_id),
        _why_held(order),
        0.0,
    )


def _why_held(order: Order) -> str:
    return order.why_held or ("child" if order.status == "PreSubmitted" and order.parent_id else "")


def execution(made: Execution, request_id: int, version: int) -> bytes:
    order, contract = made.order, made.order.contract
    fields: list[codec.Value] = [11, request_id, order.order_id, *_contract(contract)]
    fields += [made.exec_id, made.time, made.owner, made.exchange, "BOT" if order.buys else "SLD"]
    fields += [made.shares, made.price, order.perm_id, max(0, order.client_id), 0, made.cumulated, made.average_price]
    fields += [order.request.text("orderRef"), "", "", "", 1]
    if version >= 178:
        fields.append(False)
    return codec.frame(*fields)


def commission_report(made: Execution) -> bytes:
    realized = UNSET_DOUBLE if made.realized is None else round(made.realized, 4)
    return codec.frame(59, 1, made.exec_id, made.fee, made.order.contract.currency, realized, UNSET_DOUBLE, "")


def _price(value: float | None) -> float:
    return UNSET_DOUBLE if value is None else value


def _conditions(order: Order) -> list[codec.Value]:
    """The conditions as the client sent them."""
    request = order.request
    fields: list[codec.Value] = [len(request.conditions)]
    for condition in request.conditions:
        fields += [condition.kind, condition.conjunction, *condition.fields]
    if request.conditions:
        fields += [request.flag("conditionsIgnoreRth"), request.flag("conditionsCancelOrder")]
    return fields


def open_order(order: Order, version: int, preview: Preview | None = None, *, fees: bool = False) -> bytes:
    """Message 5, whose fields shrink and grow at 160, 162, 170 and 177. `fees`: with the commissions of its fills."""
    request = order.request
    fields: list[codec.Value] = [5, order.order_id, *_contract(order.contract)]
    fields += [request.text("action").upper(), order.quantity, order.kind]
    fields += [
        request.number("lmtPrice"),
        request.number("auxPrice"),
        request.text("tif") or "DAY",
        request.text("ocaGroup"),
    ]
    fields += [order.account, request.text("openClose"), request.integer("origin"), request.text("orderRef")]
    fields += [max(0, order.client_id), order.perm_id, request.flag("outsideRth"), request.flag("hidden")]
    fields += [request.number("discretionaryAmt"), request.text("goodAfterTime"), "", request.text("faGroup")]
    fields += [request.text("faMethod"), request.text("faPercentage")]
    if version < 177:
        fields.append("")  # faProfile
    fields += [request.text("modelCode"), request.text("goodTillDate"), request.text("rule80A")]
    fields += [_price(request.optional("percentOffset")), request.text("settlingFirm"), 0, "", -1]
    fields += [0, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE]  # auction, stock reference
    fields += [request.integer("displaySize"), request.flag("blockOrder"), request.flag("sweepToFill")]
    fields += [request.flag("allOrNone"), UNSET_INTEGER, request.integer("ocaType") or 3, False, False, UNSET_DOUBLE]
    fields += [order.parent_id, request.integer("triggerMethod"), UNSET_DOUBLE, 0, "", UNSET_DOUBLE]  # volatility
    fields += [
        False,
        0,
        _price(order.stop),
        _price(request.optional("trailingPercent")),
        UNSET_DOUBLE,
        UNSET_INTEGER,
        "",
    ]
    fields += [0, 0, 0, UNSET_INTEGER, UNSET_INTEGER, UNSET_DOUBLE, "", False]  # legs, scale, hedge, opt-out
    fields += [request.text("clearingAccount"), request.text("clearingIntent") or "IB", False, False, "", False]
    fields += [preview is not None, order.status, *_margins(preview, order if fees else None)]
    fields += ["", False, False, *_conditions(order), "None", UNSET_DOUBLE, _price(order.stop), UNSET_DOUBLE]
    fields += [UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE, 0, "", "", "", 0, False, False, False, UNSET_INTEGER]
    if version >= 158:
        fields.append(UNSET_INTEGER)  # duration
    if version >= 160:
        fields.append(UNSET_INTEGER)  # postToAts
    if version >= 162:
        fields.append(False)  # autoCancelParent
    if version >= 170:
        fields += [UNSET_INTEGER, UNSET_INTEGER, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE]
    return codec.frame(*fields)


def _margins(preview: Preview | None, filled: Order | None) -> list[codec.Value]:
    """Initial and maintenance margin and equity: before, change, after; then commission, its bounds, currency."""
    if preview is None:
        fees = (filled.fees, filled.contract.currency) if filled is not None else (UNSET_DOUBLE, "")
        return [*[UNSET_DOUBLE] * 9, fees[0], UNSET_DOUBLE, UNSET_DOUBLE, fees[1]]
    before = (preview.margin_before, preview.margin_before, preview.equity_before)
    after = (preview.margin_after, preview.margin_after, preview.equity_after)
    change = tuple(round(late - early, 2) for early, late in zip(before, after, strict=True))
    return [*before, *change, *after, preview.fee, UNSET_DOUBLE, UNSET_DOUBLE, "USD"]


def completed_order(order: Order, version: int, completed_time: str) -> bytes:
    """Message 101."""
    request = order.request
    fields: list[codec.Value] = [101, *_contract(order.contract), request.text("action").upper(), order.quantity]
    fields += [order.kind, request.number("lmtPrice"), request.number("auxPrice"), request.text("tif") or "DAY"]
    fields += [request.text("ocaGroup"), order.account, request.text("openClose"), request.integer("origin")]
    fields += [request.text("orderRef"), order.perm_id, request.flag("outsideRth"), request.flag("hidden")]
    fields += [request.number("discretionaryAmt"), request.text("goodAfterTime"), request.text("faGroup")]
    fields += [request.text("faMethod"), request.text("faPercentage")]
    if version < 177:
        fields.append("")  # faProfile
    fields += [request.text("modelCode"), request.text("goodTillDate"), request.text("rule80A")]
    fields += [_price(request.optional("percentOffset")), request.text("settlingFirm"), 0, "", -1]
    fields += [
        *[UNSET_DOUBLE] * 5,
        request.integer("displaySize"),
        request.flag("sweepToFill"),
        request.flag("allOrNone"),
    ]
    fields += [UNSET_INTEGER, request.integer("ocaType") or 3, request.integer("triggerMethod"), UNSET_DOUBLE, 0, ""]
    fields += [UNSET_DOUBLE, False, 0, _price(order.stop), _price(request.optional("trailingPercent")), ""]
    fields += [0, 0, 0, UNSET_INTEGER, UNSET_INTEGER, UNSET_DOUBLE, ""]  # legs, scale, hedge
    fields += [request.text("clearingAccount"), request.text("clearingIntent") or "IB", False, False, "", False]
    fields += [order.status, False, False, *_conditions(order), _price(order.stop), UNSET_DOUBLE, 0, False, False, ""]
    fields += [order.filled, UNSET_INTEGER, False, "", False, False, 0, completed_time]
    fields.append(_completed_status(order))
    if version >= 170:
        fields += [UNSET_INTEGER, UNSET_INTEGER, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE]
    return codec.frame(*fields)


def _completed_status(order: Order) -> str:
    if order.status == "Filled":
        return "Filled Size: " + codec.text_of(order.filled)
    return order.refusal or "Cancelled by Trader"
