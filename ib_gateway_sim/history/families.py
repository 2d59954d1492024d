"""Families of historical requests, and the limits that all of them share."""

from ib_gateway_sim.market.bars import SIZES
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.rules import bar_sizes
from ib_gateway_sim.rules.bar_sizes import BAR_SIZES
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.rules.kinds import no_data, what_to_show
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire.request import Request

SHORT_NAMES = dict(zip(BAR_SIZES, SIZES, strict=True))  # IB's bar sizes as the market names them
FAMILY = "history"  # pending requests
LIVE = "live bars"  # those answered and kept up to date
HEADS = "head"
TICKS = "historical ticks"
HISTOGRAM = "histogram"
DAY_S = bar_sizes.DAY_S
LONGEST_PAUSE_S = 12 * DAY_S  # no exchange is closed longer


def kind_problem(contract: Contract, what: str) -> Violation | None:
    """By product, as at IB, and by what this market has: a replayed file holds one kind."""
    problem = what_to_show(what, contract.sec_type, contract.local_symbol, contract.exchange)
    if problem is None and what not in (*contract.kinds, "SCHEDULE"):
        return no_data(contract.local_symbol, contract.exchange, what)
    return problem


def open_requests(client: Client) -> int:
    """Open history requests of all clients: head timestamps that were not cancelled, and by setting those that live.

    A request that is answered and kept up to date is one, though for an instant there is work for both.
    """
    gateway = client.gateway
    held = {FAMILY, LIVE if gateway.settings.live_slots == "held" else FAMILY}
    return sum(
        len({number for family in held for number in each.jobs.ids(family)}) + len(each.open_heads)
        for each in gateway.clients.values()
    )


def book(client: Client, request: Request, contract: Contract, what: str) -> bool:
    """Counts a request that IB paces; False for a violation."""
    whole = "|".join(
        str(value) for name, value in request.values.items() if name not in ("reqId", "formatDate", "options")
    )
    series = f"{contract.con_id}|{contract.exchange}|{what}"
    weight = 2 if what == "BID_ASK" else 1
    return client.gateway.pacing.ask(client.gateway.clock.now_s(), series, f"{request.kind}|{whole}", weight)
