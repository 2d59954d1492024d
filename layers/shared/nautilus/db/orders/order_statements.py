"""The statements that write one order, planned once by each connection: planning one takes longer than executing it."""

from datetime import datetime
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints
from uuid import UUID

from nautilus.db.cursor import PreparedByName
from nautilus.db.orders import events, requests, risk_book
from nautilus.db.orders.notifications import EVENTS
from nautilus.db.orders.order_rows import NewOrder, OrderRow

_COLUMNS = ", ".join(OrderRow._fields)
_BY_TYPE = {str: "text", int: "bigint", bool: "boolean", Decimal: "numeric", UUID: "uuid", datetime: "timestamptz"}
_BY_TYPE |= {list[str]: "text[]", list[int]: "bigint[]", list[dict[str, Any]]: "jsonb"}


def _type_of(hint: Any) -> str:
    """The PostgreSQL type of a column of `OrderRow`."""
    return _BY_TYPE[
        next(kind for kind in get_args(hint) if kind is not NoneType) if NoneType in get_args(hint) else hint
    ]


_TYPES = {column: _type_of(hint) for column, hint in get_type_hints(OrderRow).items()}
_TYPES |= {
    f"_{column}": _TYPES[column]
    for column in ("id", "state", "quantity", "filled", "unit_value", "reducing", "version")
}
_TYPES |= (
    {"_alive": "text[]", "_over": "text[]", "_moved": "boolean", "_ib": "boolean"} | risk_book.TYPES | events.TYPES
)

_TIMES = (
    "state_since = CASE WHEN %(_moved)s THEN clock_timestamp() ELSE state_since END,"
    " sent_at = CASE WHEN %(_moved)s AND %(_state)s = 'sending' THEN clock_timestamp() ELSE sent_at END,"
    " acknowledged_at = CASE WHEN %(_ib)s THEN coalesce(acknowledged_at, clock_timestamp()) ELSE acknowledged_at END,"
    " over_at = CASE WHEN %(_state)s = ANY(%(_over)s) THEN coalesce(over_at, clock_timestamp()) END"
)


def _with_consequences(statement: str) -> str:
    """A statement that writes one order, with all that follows from it in the same round trip: what the order reserves
    (`due`), the sums of its account and contract, and its event. An open modify counts with the larger quantity."""
    return (
        "WITH due AS MATERIALIZED (SELECT held, CASE WHEN %(_reducing)s THEN 0 ELSE held * coalesce(%(_unit_value)s, 0) END"
        "  AS worth FROM (SELECT CASE WHEN %(_state)s = ANY(%(_alive)s) THEN greatest(greatest(%(_quantity)s::numeric,"
        f"  {requests.OPEN_MODIFY_QUANTITY}) - %(_filled)s, 0) ELSE 0 END AS held) h),"
        f" written AS ({statement} RETURNING {_COLUMNS}), {risk_book.SETTLED}, {events.WITH_EVENT}"
        f" SELECT {_COLUMNS}, {risk_book.IS_SETTLED} AS settled FROM written, pg_notify('{EVENTS}', account)"
    )


INSERT = PreparedByName.of(
    "nautilus_insert_order",
    _with_consequences(
        f"INSERT INTO orders ({', '.join(NewOrder._fields)}, reserved_quantity, reserved_value, over_at)"
        f" VALUES ({', '.join(f'%({column})s' for column in NewOrder._fields)},"
        " (SELECT held FROM due), (SELECT worth FROM due),"
        " CASE WHEN %(_state)s = ANY(%(_over)s) THEN clock_timestamp() END)"
        " ON CONFLICT (principal, idempotency_key) DO NOTHING"
    ),
    _TYPES,
)


@cache
def update_of(columns: tuple[str, ...]) -> PreparedByName:
    """The statement that changes these columns."""
    changed = "".join(f"{column} = %({column})s, " for column in columns)
    return PreparedByName.of(
        "nautilus_update_order",
        _with_consequences(
            f"UPDATE orders SET {changed}reserved_quantity = (SELECT held FROM due), reserved_value = (SELECT worth FROM due),"
            f" version = version + 1, {_TIMES} WHERE id = %(_id)s AND version = %(_version)s"
        ),
        _TYPES,
    )
