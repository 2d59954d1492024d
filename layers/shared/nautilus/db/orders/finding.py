"""Which order a word of IB is about: by our reference, by IB's permanent id, or by client id and order id together.

Our order ids never come twice for a client id (sessions.reserve_order_id), also when a gateway begins anew with lower ones.
"""

from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.orders import OrderRow
from nautilus.db.rows import every, one_or_none, scalar_or_none, there

_COLUMNS = ", ".join(OrderRow._fields)
_MOST, _MOST_PERM_ID = 2**31 - 1, 2**63 - 1
"""The largest order id that IB takes, and the largest ids that the columns hold."""


class Names(NamedTuple):
    """What a word says about its order. ref: our order's id; foreign: the word has a reference that is not ours.

    account: None where the word has none. perm_id, order_id: 0 for none. client_id: None where the word has none, and then
    it is the order process's own.
    """

    ref: UUID | None = None
    foreign: bool = False
    account: str | None = None
    perm_id: int = 0
    client_id: int | None = None
    order_id: int = 0


def find(cursor: Cursor, names: Names) -> OrderRow | None:
    """The order that these names mean; None where they mean none, or not one alone."""
    return _by_ref(cursor, names) or _by_perm_id(cursor, names) or _by_order_id(cursor, names)


def _by_ref(cursor: Cursor, names: Names) -> OrderRow | None:
    if names.ref is None:
        return None
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE id = %(ref)s AND (%(account)s::text IS NULL OR account = %(account)s)",
        names._asdict(),
    )
    return one_or_none(cursor, OrderRow)


def _by_perm_id(cursor: Cursor, names: Names) -> OrderRow | None:
    if not 0 < names.perm_id <= _MOST_PERM_ID:
        return None
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE perm_ids @> ARRAY[%(perm_id)s]::bigint[]"
        " AND (%(account)s::text IS NULL OR account = %(account)s) LIMIT 2",
        names._asdict(),
    )
    found = every(cursor, OrderRow)
    return found[0] if len(found) == 1 else None


def _by_order_id(cursor: Cursor, names: Names) -> OrderRow | None:
    """Not where the word has a reference: an order of ours with that id would have ours."""
    if not 0 < names.order_id <= _MOST or names.foreign or names.ref is not None:
        return None
    client_id = own_client_id(cursor) if names.client_id is None else names.client_id
    cursor.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE client_id = %(client)s AND order_id = %(order_id)s"
        " AND (%(account)s::text IS NULL OR account = %(account)s) LIMIT 2",
        {"client": client_id, "order_id": names.order_id, "account": names.account},
    )
    found = every(cursor, OrderRow)
    return found[0] if len(found) == 1 else None


def own_client_id(cursor: Cursor) -> int | None:
    """The client id of the order process; None when none has run."""
    cursor.execute("SELECT client_id FROM order_process")
    return scalar_or_none(cursor, int)


def id_used_by_another(cursor: Cursor, row: OrderRow) -> bool:
    """Whether another order of ours has, or an earlier attempt of this one had, this order's order id."""
    cursor.execute(
        "SELECT 1 FROM orders WHERE client_id = %s AND order_id = %s AND id <> %s",
        (row.client_id, row.order_id, row.id),
    )
    return there(cursor)
