"""Commands that save orders and accounts in a file and load them from it."""

from pathlib import Path

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong
from ib_gateway_sim.orders.saving import load, read, save


def orders_save(control: Context, path: str) -> Answer:
    """orders, executions, ids, positions and cash of all accounts, into a file"""
    try:
        return {"bytes": save(control.gateway, Path(path))}
    except (OSError, ValueError) as problem:
        raise Wrong(f"path {path!r}: {problem}; allowed: a file that can be written") from None


def orders_load(control: Context, path: str) -> Answer:
    """takes orders and accounts from a file of orders_save and replaces those there are"""
    try:
        state = read(Path(path), control.gateway.market.account)
    except (OSError, ValueError) as problem:
        raise Wrong(f"path {path!r}: {problem}; allowed: a file of orders_save") from None
    load(control.gateway, state)
    book = control.gateway.orders
    return {
        "orders": len(book.every()),
        "executions": len(book.executions),
        "accounts": list(control.gateway.portfolios),
    }


COMMANDS = commands(orders_save, orders_load)
