"""The sums of an account from which it is checked whether its book adds up: of each contract since its opening, and of cash."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every


class ContractTotals(NamedTuple):
    """Of one contract of an account since its opening.

    traded: signed quantity times price of executions and adjustments, without the multiplier; opening_value: of the opening,
    with it. proceeds and cost: of all matches, likewise; opening_cost: of matches of the opening. unpriced: openings and
    adjustments of which nobody knows the price (splits are not among them); unknown: matches without a known profit.
    """

    account: str
    con_id: int
    traded: Decimal
    opening_value: Decimal
    proceeds: Decimal
    cost: Decimal
    opening_cost: Decimal
    unpriced: int
    unknown: int


_FACTS = (
    "SELECT account, con_id, sum(value) AS traded, sum(opening_value) AS opening_value, sum(unpriced) AS unpriced FROM ("
    " SELECT account, con_id, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END * price AS value, 0 AS opening_value,"
    "  0 AS unpriced FROM executions WHERE latest AND account = ANY(%(accounts)s)"
    " UNION ALL SELECT account, con_id, 0, coalesce(quantity * price, 0), (price IS NULL AND quantity <> 0)::int"
    "  FROM position_openings WHERE account = ANY(%(accounts)s)"
    " UNION ALL SELECT account, con_id, coalesce(quantity * price, 0), 0,"
    "  (price IS NULL AND quantity <> 0 AND kind <> 'corporate_action')::int FROM position_adjustments"
    "  WHERE account = ANY(%(accounts)s)"
    ") f GROUP BY account, con_id"
)


def contract_totals(cursor: Cursor, accounts: Sequence[str]) -> list[ContractTotals]:
    """The sums of every contract that accounts ever had, by account and contract."""
    cursor.execute(
        "SELECT f.account, f.con_id, f.traded, f.opening_value, coalesce(m.proceeds, 0) AS proceeds, coalesce(m.cost, 0) AS cost,"
        " coalesce(m.opening_cost, 0) AS opening_cost, f.unpriced, coalesce(m.unknown, 0) AS unknown"
        f" FROM ({_FACTS}) f LEFT JOIN (SELECT account, con_id, sum(proceeds) AS proceeds,"
        "  sum(cost) FILTER (WHERE opened_key <> 'opening') AS cost,"
        "  sum(cost) FILTER (WHERE opened_key = 'opening') AS opening_cost,"
        "  count(*) FILTER (WHERE cost IS NULL OR proceeds IS NULL) AS unknown FROM lot_matches WHERE account = ANY(%(accounts)s)"
        "  GROUP BY account, con_id) m USING (account, con_id) ORDER BY account, con_id",
        {"accounts": list(accounts)},
    )
    return every(cursor, ContractTotals)


class TradeCash(NamedTuple):
    """What trades of a contract moved since cash was opened: units, and quantity times price without the multiplier, both signed
    as bought. newest: market time in ns of the last one. unpriced: adjustments of which nobody knows the price."""

    account: str
    con_id: int
    units: Decimal
    value: Decimal
    newest: int
    unpriced: int


# Each currency is opened once and at one time, so that all of an account's trades since then count.
_OPENED = "(SELECT account, min(at) AS at FROM cash_openings WHERE account = ANY(%(accounts)s) GROUP BY account) c"


def trade_cash(cursor: Cursor, accounts: Sequence[str]) -> list[TradeCash]:
    cursor.execute(
        "SELECT account, con_id, sum(units) AS units, sum(value) AS value, max(ts) AS newest, sum(unpriced)::int AS unpriced"
        " FROM ("
        " SELECT e.account, e.con_id, CASE e.side WHEN 'BUY' THEN e.quantity ELSE -e.quantity END AS units,"
        "  CASE e.side WHEN 'BUY' THEN e.quantity ELSE -e.quantity END * e.price AS value, e.ts, 0 AS unpriced"
        f" FROM executions e JOIN {_OPENED} USING (account) WHERE e.latest AND e.ts >= c.at"
        " UNION ALL SELECT a.account, a.con_id, a.quantity,"
        "  CASE WHEN a.kind IN ('corporate_action', 'transfer') THEN 0 ELSE coalesce(a.quantity * a.price, 0) END, a.at,"
        "  (a.price IS NULL AND a.quantity <> 0 AND a.kind NOT IN ('corporate_action', 'transfer'))::int"
        f" FROM position_adjustments a JOIN {_OPENED} USING (account) WHERE a.at >= c.at AND a.kind <> 'opening'"
        " AND a.quantity <> 0"
        ") t GROUP BY account, con_id ORDER BY account, con_id",
        {"accounts": list(accounts)},
    )
    return every(cursor, TradeCash)


class TradedBefore(NamedTuple):
    """A contract that was traded before cash was opened. newest: of those trades; opened: both market time in ns."""

    account: str
    con_id: int
    newest: int
    opened: int


def traded_before(cursor: Cursor, accounts: Sequence[str]) -> list[TradedBefore]:
    cursor.execute(
        f"SELECT e.account, e.con_id, max(e.ts) AS newest, min(c.at) AS opened FROM executions e JOIN {_OPENED} USING (account)"
        " WHERE e.latest AND e.ts < c.at GROUP BY e.account, e.con_id ORDER BY 1, 2",
        {"accounts": list(accounts)},
    )
    return every(cursor, TradedBefore)


class CashSum(NamedTuple):
    """Money of one currency. missing: executions and missed fills whose commission is not known."""

    account: str
    currency: str
    amount: Decimal
    missing: int = 0


def fees(cursor: Cursor, accounts: Sequence[str]) -> list[CashSum]:
    """Commissions of executions and of missed fills since cash was opened; those that are not known are counted under the
    currency of their contract."""
    cursor.execute(
        "SELECT f.account, coalesce(f.of, i.currency, '') AS currency, coalesce(sum(f.fee), 0) AS amount,"
        " count(*) FILTER (WHERE f.fee IS NULL AND f.quantity <> 0)::int AS missing FROM ("
        " SELECT account, con_id, ts, quantity, commission AS fee, commission_currency AS of FROM executions WHERE latest"
        " UNION ALL SELECT account, con_id, at, quantity, commission, commission_currency FROM position_adjustments"
        "  WHERE kind = 'missed_fills') f"
        f" JOIN {_OPENED} USING (account) LEFT JOIN instruments i USING (con_id)"
        " WHERE f.ts >= c.at GROUP BY 1, 2 ORDER BY 1, 2",
        {"accounts": list(accounts)},
    )
    return every(cursor, CashSum)


def moved(cursor: Cursor, accounts: Sequence[str]) -> list[CashSum]:
    """Cash movements since cash was opened."""
    cursor.execute(
        "SELECT v.account, v.currency, sum(v.amount) AS amount, 0 AS missing"
        f" FROM cash_movements v JOIN {_OPENED} USING (account) WHERE v.ts >= c.at GROUP BY 1, 2 ORDER BY 1, 2",
        {"accounts": list(accounts)},
    )
    return every(cursor, CashSum)
