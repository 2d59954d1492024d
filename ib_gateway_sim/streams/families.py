"""Families of subscriptions, the limits that they share, and how sizes are shown."""

from ib_gateway_sim.faults.live import WHOLE
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire import codec

QUOTES = "market data"
BY_TICK = "tick by tick"
DEPTH = "depth"
BARS = "real-time bars"
UNSUBSCRIBED = "Requested market data is not subscribed."
Values = tuple[codec.Value, ...]


def shown_size(client: Client, contract: Contract, size: float) -> float:
    """Shares since 159, lots of 100 before; whole numbers before 163."""
    if size > 0 and client.version < 159 and contract.sec_type == "STK" and contract.currency == "USD":
        size = size // 100
    return int(size) if client.version < 163 else size


NO_LINE = Violation(101, "Max number of tickers has been reached")


def no_line(client: Client, contract: Contract) -> bool:
    """Quotes and real-time bars of all clients, and TWS itself, share the account's market data lines."""
    gateway = client.gateway
    free = gateway.settings.lines - gateway.faults.live.taken_lines
    open_streams = [entry for each in gateway.clients.values() for entry in each.jobs.streams()]
    used = [stream.contract.con_id for (family, _), stream in open_streams if family in (QUOTES, BARS)]
    if gateway.settings.lines_by == "contract":
        return contract.con_id not in used and len(set(used)) >= free
    return len(used) >= free


def permitted(client: Client, contract: Contract) -> bool:
    """Whether the login may see a contract's data of now, all or a part."""
    return client.gateway.faults.live.permission(contract) in WHOLE


def offers(contract: Contract, what: str) -> bool:
    return what in contract.kinds or (what == "TRADES" and "AGGTRADES" in contract.kinds)
