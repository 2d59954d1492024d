"""An order as the API tells it: decimals are texts, times are RFC 3339 text and, of market time, nanoseconds too."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from nautilus.clock import microseconds_text, rfc3339
from nautilus.db.cursor import Cursor
from nautilus.db.orders import executions as fills
from nautilus.db.orders import orders
from nautilus.db.orders import requests as order_requests
from nautilus.db.orders.events import EventRow
from nautilus.db.orders.executions import ExecutionRow
from nautilus.db.orders.orders import OrderRow
from nautilus.db.orders.requests import RequestRow
from nautilus.orders.check_case import plain
from nautilus.orders.states import OrderState

_TRAIL = ("trail_amount", "trail_percent")


def number(value: Decimal | None) -> str | None:
    """A number as text, without exponent and without zeros at its end."""
    return None if value is None else plain(value)


def _moment(value: datetime | None) -> str | None:
    return None if value is None else microseconds_text(value)


def described(cursor: Cursor, rows: Sequence[OrderRow]) -> list[dict[str, Any]]:
    """Orders as the API shows them, with fills, requests and the orders of their groups."""
    ids = [row.id for row in rows]
    filled, wanted = fills.of_orders(cursor, ids), order_requests.open_of_several(cursor, ids)
    groups = orders.of_groups(cursor, {row.group_id for row in rows if row.group_id is not None})
    return [
        order_json(row, filled.get(row.id, ()), wanted.get(row.id, ()), groups.get(row.group_id, ())) for row in rows
    ]


def described_new(rows: Sequence[OrderRow]) -> list[dict[str, Any]] | None:
    """The same of a whole order or bracket that has just been placed: it has no fills and no requests. None where others may
    belong to its group."""
    if any(row.group_kind == "oca" for row in rows):
        return None
    return [order_json(row, group=rows if row.group_id is not None else ()) for row in rows]


def order_json(
    row: OrderRow,
    executions: Sequence[ExecutionRow] = (),
    requests: Iterable[RequestRow] = (),
    group: Iterable[OrderRow] = (),
) -> dict[str, Any]:
    """The order. executions: its latest revisions; requests: those that are open, or were made last; group: the orders of
    its group."""
    open_requests = [request_json(one) for one in requests]
    return {
        "id": str(row.id),
        "client_key": row.idempotency_key,
        "principal": row.principal,
        "origin": row.origin,
        "account": row.account,
        "instrument": {"con_id": row.con_id, "symbol": row.symbol, "instrument_id": row.instrument_id or None},
        "side": row.side,
        "type": row.type,
        "tif": row.tif,
        "good_till": None if row.good_till is None else rfc3339(row.good_till),
        "outside_rth": row.outside_rth,
        "quantity": number(row.quantity),
        "filled": number(row.filled),
        "remaining": number(max(row.quantity - row.filled, Decimal(0))),
        "avg_fill_price": number(row.avg_fill_price),
        "prices": _prices(row),
        "state": row.state,
        "state_since": _moment(row.state_since),
        "may_exist": row.state == OrderState.UNKNOWN,
        "pending": row.pending or None,
        "why": row.why or None,
        "checks": row.checks,
        "requests": open_requests,
        "broker": {
            "perm_ids": row.perm_ids,
            "order_id": row.order_id,
            "client_id": row.client_id,
            "status": row.broker_status or None,
            "why_held": row.why_held or None,
            "notices": row.notices,
            "filled_by_status": number(row.filled_by_status),
        },
        "group": _group(row, group),
        "tags": row.tags,
        "reserved": {"quantity": number(row.reserved_quantity), "value": number(row.reserved_value)},
        "reducing": row.reducing,
        "version": row.version,
        "times": _times(row),
        **_costs(executions),
    }


def _prices(row: OrderRow) -> dict[str, Any]:
    wanted = {"limit": number(row.limit_price), "stop": number(row.stop_price)}
    wanted |= {name: number(getattr(row, name)) for name in _TRAIL}
    confirmed = {
        "quantity": number(row.confirmed_quantity),
        "limit": number(row.confirmed_limit),
        "stop": number(row.confirmed_stop),
    }
    return {"wanted": wanted, "confirmed": confirmed}


def _group(row: OrderRow, group: Iterable[OrderRow]) -> dict[str, Any] | None:
    if row.group_id is None:
        return None
    return {
        "id": str(row.group_id),
        "kind": row.group_kind,
        "role": row.group_role,
        "name": row.oca_group or None,
        "parent_id": None if row.parent_id is None else str(row.parent_id),
        "ids": [str(one.id) for one in group],
    }


def _times(row: OrderRow) -> dict[str, Any]:
    return {
        "accepted": _moment(row.accepted_at),
        "accepted_market": rfc3339(row.market_at),
        "accepted_market_ns": row.market_at,
        "valid_until": None if row.valid_until is None else rfc3339(row.valid_until),
        "sent": _moment(row.sent_at),
        "acknowledged": _moment(row.acknowledged_at),
        "over": _moment(row.over_at),
    }


def _costs(executions: Sequence[ExecutionRow]) -> dict[str, Any]:
    """Commissions and profits that IB sent, by currency; null while one of the executions has none."""
    filled = [one for one in executions if one.quantity]
    return {
        "commission": _sums((one.commission_currency, one.commission) for one in filled),
        "broker_realized": _sums((one.commission_currency, one.broker_realized) for one in filled),
        "executions": [execution_json(one) for one in executions],
    }


def _sums(values: Iterable[tuple[str | None, Decimal | None]]) -> dict[str, str] | None:
    sums: dict[str, Decimal] = {}
    for currency, value in values:
        if value is None:
            return None
        sums[currency or ""] = sums.get(currency or "", Decimal(0)) + value
    return {currency: plain(value) for currency, value in sums.items()}


def execution_json(row: ExecutionRow) -> dict[str, Any]:
    """A fill, by its latest revision."""
    return {
        "exec_id": row.exec_id,
        "exec_base": row.exec_base,
        "revision": row.revision,
        "order_id": None if row.order_id is None else str(row.order_id),
        "account": row.account,
        "con_id": row.con_id,
        "side": row.side,
        "quantity": number(row.quantity),
        "price": number(row.price),
        "exchange": row.exchange or None,
        "time": rfc3339(row.ts),
        "time_ns": row.ts,
        "commission": number(row.commission),
        "commission_currency": row.commission_currency,
        "broker_realized": number(row.broker_realized),
    }


_HIDDEN = frozenset({"fingerprint", "unit_value", "unit_value_before"})


def request_json(row: RequestRow) -> dict[str, Any]:
    """A modify or a cancel."""
    return {
        "id": str(row.id),
        "order_id": str(row.order_id),
        "kind": row.kind,
        "wanted": {name: value for name, value in row.wanted.items() if name not in _HIDDEN},
        "state": row.state,
        "code": row.code,
        "why": row.why or None,
        "asked": _moment(row.asked_at),
        "sent": _moment(row.sent_at),
        "over": _moment(row.over_at),
    }


def event_json(row: EventRow) -> dict[str, Any]:
    """One event of an order, with what IB sent."""
    return {
        "id": row.id,
        "order_id": None if row.order_id is None else str(row.order_id),
        "account": row.account or None,
        "at": _moment(row.at),
        "market_at": rfc3339(row.market_at),
        "market_at_ns": row.market_at,
        "kind": row.kind,
        "source": row.source,
        "before": row.before or None,
        "after": row.after or None,
        "text": row.text or None,
        "frame": row.frame,
    }
