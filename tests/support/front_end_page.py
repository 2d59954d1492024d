"""What the old front end does with orders: the bodies that its forms send, and how it draws a row of its list.

Shapes and crash cases only; its sources are not here. `drawn` raises where the page would die.
"""

import json
from datetime import datetime
from typing import Any

FORM: dict[str, Any] = {"symbol": "A", "action": "BUY", "quantity": 10, "order_type": "MKT", "time_in_force": "DAY"}
"""What the form sends when nothing but the symbol is filled in."""
LIMIT = {**FORM, "order_type": "LMT", "limit_price": 99.95}
BRACKET = {**FORM, "order_type": "BRACKET", "stop_price": 101, "take_profit_price": 110.5, "stop_loss_price": 90}
"""The form of a bracket has a stop price of the entry, and no limit price."""
FORMS: dict[str, dict[str, Any]] = {
    "MKT": FORM,
    "LMT": LIMIT,
    "STP": {**FORM, "order_type": "STP", "stop_price": 101.5},
    "STP_LMT": {**FORM, "order_type": "STP_LMT", "stop_price": 101.5, "limit_price": 102.25},
    "TRAIL": {**FORM, "order_type": "TRAIL", "trail_amount": None, "trail_percent": 2.5},
    "BRACKET": BRACKET,
    "OCA": {**FORM, "order_type": "OCA", "oca_group": "exits"},
}
"""order_type -> what the form sends of it. Fields that were filled in and emptied again are null."""


def fixed(value: Any, digits: int) -> str:
    """JavaScript's toFixed: a TypeError for anything but a number."""
    if type(value) not in (int, float):
        raise TypeError(f"{value!r}.toFixed is not a function")
    return f"{value:.{digits}f}"


def drawn(text: str) -> list[dict[str, str]]:
    """The rows of the page's table, from the body of an answer."""
    return [_row(order) for order in json.loads(text)["orders"]]


def _row(order: dict[str, Any]) -> dict[str, str]:
    if not isinstance(order["order_id"], str):
        raise TypeError("order_id.substring is not a function")
    price = order.get("limit_price")
    market = order["order_type"] == "MKT"
    return {
        "id": order["order_id"][:8] + "...",
        "symbol": order["symbol"],
        "action": order["action"],
        "type": order["order_type"],
        "quantity": fixed(order["total_quantity"], 0),
        "filled": fixed(order["filled_quantity"], 0),
        "status": order["status"],
        "price": "Market" if market else f"${fixed(price, 2)}" if price else "-",
    }


# ---- the other answers of which the page can die ---------------------------------------------------------------------


def card_drawn(text: str) -> str:
    """The mode on the card of backfills; nothing catches an error there, so that the whole page goes."""
    mode = _field(_field(json.loads(text), "controller"), "current_mode")
    if not isinstance(mode, str):
        raise TypeError("current_mode.toUpperCase is not a function")
    return mode.upper()


def engine_drawn(text: str) -> str:
    """The word for the engine's state."""
    state = _field(_field(json.loads(text), "status"), "state")
    if not isinstance(state, str):
        raise TypeError("state.toUpperCase is not a function")
    return state.upper()


def _field(value: Any, name: str) -> Any:
    if value is None:
        raise TypeError(f"cannot read properties of undefined (reading {name!r})")
    return value.get(name)


def positions_drawn(text: str) -> list[dict[str, str]]:
    """The rows of its table of positions."""
    perhaps = ("avg_cost", "market_price", "market_value", "unrealized_pnl")
    return [
        {"position": fixed(one["position"], 2)}
        | {name: "-" if one[name] is None else fixed(one[name], 2) for name in perhaps}
        for one in json.loads(text)["positions"]
    ]


def trades_drawn(text: str) -> list[str]:
    """The rows of its history of trades; it maps over the answer itself."""
    found = json.loads(text)
    if not isinstance(found, list):
        raise TypeError("trades.map is not a function")
    return [f"{one['side']} {one['quantity']} at {one['price']}" for one in found]


def bars_drawn(text: str) -> list[int]:
    """The times (s) of the candles of its chart: cut by position, as the page cuts IB's notation."""
    times = []
    for one in json.loads(text)["candles"]:
        if not isinstance(one["time"], str):
            raise TypeError("time.replace is not a function")
        if any(type(one[name]) not in (int, float) for name in ("open", "high", "low", "close")):
            raise ValueError("Value is null")
        day, _, clock = one["time"].partition(" ")
        iso = f"{day[0:4]}-{day[4:6]}-{day[6:8]}" + (f"T{clock.strip()}" if clock.strip() else "T00:00:00Z")
        times.append(int(datetime.fromisoformat(iso).timestamp()))
    return times
