"""Our book beside the simulator's: positions, executions, commissions and cash, each row of ours with its own.

Ours is computed here from rows alone, once more and by other words than the code that is tested.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from ib_gateway_sim.account.portfolio import Portfolio
from ib_gateway_sim.orders.order import Execution
from ib_gateway_sim.orders.saving import read
from tests.support.order_ledger import findings
from tests.support.order_process import OrderStack

CENT = Decimal("0.01")


class SimulatorBook:
    """What the simulator has: portfolios by account, and executions by account and id without revision."""

    def __init__(self, stack: OrderStack) -> None:
        path = stack.folder / "portfolios"
        stack.sim.command(f"orders_save {path}")
        state = read(path, stack.account)
        self.portfolios: dict[str, Portfolio] = state["portfolios"]
        self.executions: dict[tuple[str, str], Execution] = {}
        for made in state["orders"].executions:
            known = self.executions.get((made.owner, made.key))
            if known is None or made.exec_id > known.exec_id:
                self.executions[made.owner, made.key] = made


def differences(stack: OrderStack) -> list[str]:
    """Every row that is not the simulator's."""
    book = SimulatorBook(stack)
    return [*_executions(stack, book), *_positions(stack, book), *_cash(stack, book), *_realized(stack, book)]


def settled(stack: OrderStack) -> None:
    """Wait until both books are equal, row by row, and nothing in ours contradicts itself."""
    stack.wait(lambda: not differences(stack), "the books are equal", tell=lambda: (differences(stack), stack.log()))
    assert findings(stack.db) == []


def _executions(stack: OrderStack, book: SimulatorBook) -> list[str]:
    ours = {
        (row.account, row.exec_base): row
        for row in stack.rows("SELECT * FROM executions WHERE latest AND quantity > 0")
    }
    theirs = {key: made for key, made in book.executions.items() if made.shares}
    found = [f"execution {key} is on one side alone" for key in ours.keys() ^ theirs.keys()]
    for key in ours.keys() & theirs.keys():
        row, made = ours[key], theirs[key]
        if (row.quantity, row.price) != (_number(made.shares), _number(made.price)):
            found.append(f"execution {key}: {row.quantity} at {row.price}, not {made.shares} at {made.price}")
        if row.commission != _number(made.fee):
            found.append(f"execution {key}: a commission of {row.commission}, not {made.fee}")
    return found


def _positions(stack: OrderStack, book: SimulatorBook) -> list[str]:
    rows = stack.rows("SELECT account, con_id, position FROM risk_book WHERE position <> 0")
    ours = {(row.account, row.con_id): row.position for row in rows}
    theirs = {
        (account, con_id): _number(held.quantity)
        for account, portfolio in book.portfolios.items()
        for con_id, held in portfolio.positions.items()
        if held.quantity
    }
    return [
        f"position of {key}: {ours.get(key, 0)}, not {theirs.get(key, 0)}"
        for key in ours.keys() | theirs.keys()
        if ours.get(key) != theirs.get(key)
    ]


def cash(stack: OrderStack) -> dict[tuple[str, str], Decimal]:
    """Account and currency -> first balance, trades, commissions, adjustments with a price, and movements, added up."""
    rows = stack.rows("SELECT * FROM cash_openings")
    found: dict[tuple[str, str], Decimal] = defaultdict(
        Decimal, {(row.account, row.currency): row.balance for row in rows}
    )
    for row in stack.rows(
        "SELECT x.account, i.symbol, i.currency, i.asset_class, coalesce(x.commission, 0) AS fee, x.price,"
        " CASE x.side WHEN 'BUY' THEN x.quantity ELSE -x.quantity END AS signed, coalesce(nullif(i.multiplier, ''), '1') AS m"
        " FROM executions x JOIN instruments i USING (con_id) WHERE x.latest"
        " UNION ALL SELECT a.account, i.symbol, i.currency, i.asset_class, 0, a.price, a.quantity,"
        "  coalesce(nullif(i.multiplier, ''), '1') FROM position_adjustments a JOIN instruments i USING (con_id)"
        "  WHERE a.price IS NOT NULL"
    ):
        found[row.account, row.currency] -= row.signed * row.price * Decimal(row.m) + row.fee
        if row.asset_class == "CASH":
            found[row.account, row.symbol] += row.signed
    for row in stack.rows("SELECT account, currency, amount FROM cash_movements"):
        found[row.account, row.currency] += row.amount
    return dict(found)


def _cash(stack: OrderStack, book: SimulatorBook) -> list[str]:
    ours = cash(stack)
    theirs = {
        (account, currency): Decimal(str(amount))
        for account, portfolio in book.portfolios.items()
        for currency, amount in portfolio.ledgers.items()
    }
    return [
        f"cash of {key}: {ours.get(key, 0)}, not {theirs.get(key, 0)}"
        for key in ours.keys() | theirs.keys()
        if abs(ours.get(key, Decimal(0)) - theirs.get(key, Decimal(0))) >= CENT
    ]


_FLAT = (
    "SELECT b.account, b.con_id, coalesce(m.gross, 0) - x.fees AS net FROM risk_book b"
    " JOIN (SELECT account, con_id, sum(commission) AS fees, count(*) FILTER (WHERE commission IS NULL) AS missing"
    "  FROM executions WHERE latest AND quantity > 0 GROUP BY 1, 2) x USING (account, con_id)"
    " JOIN instruments i USING (con_id)"
    " LEFT JOIN (SELECT account, con_id, sum(proceeds - cost) AS gross FROM lot_matches GROUP BY 1, 2) m USING (account, con_id)"
    " WHERE b.position = 0 AND x.missing = 0 AND coalesce(nullif(i.multiplier, ''), '1') = '1' AND NOT EXISTS"
    "  (SELECT FROM position_adjustments a WHERE a.account = b.account AND a.con_id = b.con_id) AND NOT EXISTS"
    "  (SELECT FROM position_openings o WHERE o.account = b.account AND o.con_id = b.con_id AND o.quantity <> 0)"
)


def _realized(stack: OrderStack, book: SimulatorBook) -> list[str]:
    """Where a position is flat, whatever the method: what our lots come to less commissions is what the simulator realized."""
    found = []
    for row in stack.rows(_FLAT):
        held = book.portfolios[row.account].positions.get(row.con_id)
        theirs = Decimal(0) if held is None else _number(held.realized)
        if abs(row.net - theirs) >= CENT:
            found.append(f"realized of {row.con_id} in {row.account}: {row.net}, not {theirs}")
    return found


def _number(value: Any) -> Decimal:
    return Decimal(str(value))
