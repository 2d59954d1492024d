"""Missed fills that a person booked as an adjustment, and the executions that come later and tell of them.

An adjustment closes a break: with it our position is IB's as of then (`covers_until`). So an execution of before, that nobody
knew, is in it: in the first adjustment of its contract that was made behind it. It replaces that part of the
adjustment, and the position of today stays. What executions explain is the sum of all that belong to the adjustment, by their
latest revisions, at least nothing and at most the whole; so that neither their order nor their number matters.

The caller holds the account and the contract, and books the contract anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders.exact import total
from nautilus.db.rows import every, scalar_or_none, scalars

KIND = "missed_fills"
EXPLAINED_BY = (
    "ARRAY(SELECT exec_base FROM adjustment_executions l WHERE l.adjustment_id = position_adjustments.id ORDER BY 1)"
)
"""Of a row of `position_adjustments`: the executions that belong to it."""
_UNTIL = "coalesce({0}covers_until, {0}at)"

_LINK = (
    "INSERT INTO adjustment_executions (account, exec_base, adjustment_id) SELECT %(account)s, n.base, a.id"
    " FROM unnest(%(bases)s::text[], %(times)s::bigint[]) AS n (base, ts) CROSS JOIN LATERAL (SELECT id, kind"
    f"  FROM position_adjustments WHERE account = %(account)s AND con_id = %(con_id)s AND {_UNTIL.format('')} >= n.ts"
    f"  ORDER BY {_UNTIL.format('')}, id LIMIT 1) a WHERE a.kind = '{KIND}' ON CONFLICT DO NOTHING RETURNING adjustment_id"
)
_DUE = (
    "SELECT a.id, a.account, a.con_id, a.quantity, a.explained, a.quantity + a.explained AS whole,"
    " CASE WHEN a.quantity + a.explained > 0 THEN greatest(least(coalesce(n.net, 0), a.quantity + a.explained), 0)"
    "  ELSE least(greatest(coalesce(n.net, 0), a.quantity + a.explained), 0) END AS due"
    " FROM position_adjustments a LEFT JOIN (SELECT l.adjustment_id,"
    "  sum(CASE e.side WHEN 'BUY' THEN e.quantity ELSE -e.quantity END) AS net"
    "  FROM adjustment_executions l JOIN executions e USING (account, exec_base) WHERE e.latest GROUP BY l.adjustment_id) n"
    " ON n.adjustment_id = a.id"
)
_SUPERSEDE = (
    "UPDATE position_adjustments p SET quantity = d.whole - d.due, explained = d.due, commission = CASE WHEN d.due = 0"
    "  THEN p.whole_commission ELSE round(p.whole_commission * (d.whole - d.due) / d.whole, 8) END"
    f" FROM ({_DUE} WHERE a.account = %s AND a.con_id = %s) d WHERE d.id = p.id AND d.due <> d.explained"
    " RETURNING d.explained - d.due"
)


def take_place(cursor: Cursor, account: str, con_id: int, written: Mapping[str, int]) -> Decimal | None:
    """Executions of a contract (id without its revision -> market time in ns) were written for the first time and are newer than
    the opening. Returns by how much less adjustments add to the position from now on, signed; None: none is concerned."""
    given = {"account": account, "con_id": con_id, "bases": list(written), "times": list(written.values())}
    cursor.execute(_LINK, given)
    return supersede(cursor, account, con_id) if scalars(cursor, int) else None


def supersede(cursor: Cursor, account: str, con_id: int) -> Decimal:
    """Set what executions explain of each adjustment of a contract, after one of them was corrected, too; returns as above."""
    cursor.execute(_SUPERSEDE, (account, con_id))
    return total(scalars(cursor, Decimal))


def broker_as_of(cursor: Cursor, account: str, con_id: int) -> int | None:
    """Of when (market time in ns) IB's position of a contract is; None: it never named the contract."""
    cursor.execute("SELECT as_of FROM broker_positions WHERE account = %s AND con_id = %s", (account, con_id))
    return scalar_or_none(cursor, int)


class Covered(NamedTuple):
    """An adjustment. until: it has all that happened before, as market time in ns. whole: what it added at first, signed."""

    con_id: int
    kind: str
    until: int
    whole: Decimal


def covered(cursor: Cursor, account: str) -> list[Covered]:
    """The adjustments of an account, in the order of their times."""
    cursor.execute(
        f"SELECT con_id, kind, {_UNTIL.format('')} AS until, quantity + explained AS whole FROM position_adjustments"
        " WHERE account = %s ORDER BY until, id",
        (account,),
    )
    return every(cursor, Covered)


def explains(adjustments: Sequence[Covered], con_id: int, *, signed: Decimal, ts: int) -> bool:
    """Whether an execution that nobody knew was booked as missed fills by a person: of its time, and of its side."""
    found = next((one for one in adjustments if one.con_id == con_id and one.until >= ts), None)
    return found is not None and found.kind == KIND and found.whole * signed > 0


class Wrong(NamedTuple):
    """An adjustment of which executions explain something else than it says."""

    id: int
    account: str
    con_id: int
    explained: Decimal
    due: Decimal


def wrong(cursor: Cursor) -> Iterator[Wrong]:
    """Those of all accounts, by id."""
    cursor.execute(f"SELECT id, account, con_id, explained, due FROM ({_DUE}) d WHERE explained <> due ORDER BY id")
    yield from every(cursor, Wrong)
