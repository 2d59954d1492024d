"""Orders, executions, ids, positions and cash in a file, so that they outlast the simulator's own process.

The file is a pickle of the simulator's own values, and nothing else is read from it. It is written beside its name and
renamed, so a process that is killed leaves a whole file (a machine that loses power may not). It is written before anything
leaves to a client, so no client knows an order that is not in it; while it cannot be written nothing is sent. What
was read and not worked is lost with the process, as with a restart.
"""

from pathlib import Path
from typing import Any, BinaryIO

from ib_gateway_sim.account.changes import send_change
from ib_gateway_sim.account.portfolio import Booking, Portfolio, Position
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.orders.book import OrderBook
from ib_gateway_sim.orders.matching import watch
from ib_gateway_sim.orders.order import Execution, Order
from ib_gateway_sim.orders.reports import send_commission_later
from ib_gateway_sim.orders.restarting import restart
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.wire.request import Condition, Request

_FORMAT = 3
_TYPES = (OrderBook, Order, Execution, Request, Condition, Contract, Portfolio, Position, Booking)
SAVED = frozenset((each.__module__, each.__name__) for each in _TYPES)
"""Modules and names of the types whose values are in a file."""


def save(gateway: Gateway, path: Path) -> int:
    """Writes the file; its bytes. OSError when it cannot be written."""
    import pickle  # here and below, for whoever saves: it takes 150 KiB

    state = {
        "format": _FORMAT,
        "account": gateway.market.account,
        "time_ns": gateway.clock.now_ns(),
        "orders": gateway.orders,
        "portfolios": gateway.portfolios,
    }
    data = pickle.dumps(state, protocol=5)
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(data)
    beside.replace(path)
    return len(data)


def read(path: Path, account: str) -> dict[str, Any]:
    """What the file holds. ValueError for a file that is none of `save`, or of another market."""
    try:
        with path.open("rb") as file:
            state = _values(file)
        known = state["format"] == _FORMAT and _is_whole(state)
    except OSError:
        raise
    except Exception:  # whatever a file that was made by hand can raise
        known = False
    if not known:
        raise ValueError(f"{path.name} is no file of this version's orders_save")
    if state["account"] != account:
        raise ValueError(f"{path.name} is of the market of {state['account']}; this one is that of {account}")
    return dict(state)


def _is_whole(state: dict[str, Any]) -> bool:
    """Whether orders and accounts fit together; of a file that was made by hand this may raise anything."""
    book: OrderBook = state["orders"]
    accounts: dict[str, Portfolio] = state["portfolios"]
    owners = {order.account for order in book.every()} | {made.owner for made in book.executions}
    texts = all(isinstance(name, str) and isinstance(each, Portfolio) for name, each in accounts.items())
    last_ids = (*book.read_ids.values(), *book.known_ids.values(), book.first_order_id, book.perm_ids, book.fills)
    return texts and next(iter(accounts)) == state["account"] and owners <= {*accounts} and min(last_ids) >= 0


def load(gateway: Gateway, state: dict[str, Any]) -> None:
    """Replaces what there is by what was read, and goes on with it. Accounts that the file does not have begin
    anew."""
    gateway.stop("commission ")
    accounts, before = len(gateway.portfolios), gateway.portfolios
    gateway.orders, gateway.portfolios = state["orders"], state["portfolios"]
    gateway.open_accounts(accounts)
    restart(gateway)
    now_s = gateway.clock.now_s()
    for made in gateway.orders.executions:
        if made.fee_known_s > now_s:
            send_commission_later(gateway, made)
    gateway.unsaved = True
    _send_changes(gateway, before)
    watch(gateway)


def _send_changes(gateway: Gateway, before: dict[str, Portfolio]) -> None:
    """Subscribers get the positions that are others than before, those that are gone as flat ones."""
    for account, portfolio in gateway.portfolios.items():
        former = before[account].positions if account in before else {}
        for con_id, position in {**former, **portfolio.positions}.items():
            now = portfolio.positions.setdefault(con_id, Position(position.contract))
            if now != former.get(con_id, Position(position.contract)):
                send_change(gateway, position.contract, account)


def _values(file: BinaryIO) -> Any:
    import pickle

    class Values(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            """The types that are saved, by the modules that define them."""
            if (module, name) not in SAVED:
                raise pickle.UnpicklingError(f"{module}.{name} does not belong into this file")
            return super().find_class(module, name)

    return Values(file).load()
