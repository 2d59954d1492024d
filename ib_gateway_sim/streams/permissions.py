"""What a login may see of a contract: the refusals and notices of market data, by the requested type of data.

Codes and words: IB's list of message codes, and messages as users quote them (erdewit/ib_insync#198,
wboayue/rust-ibapi#768 and #804). 10090, 10091 and 10167 are notices: the data flow on. Which of 354, 10089, 10168 and
10186 comes when is not established, so a command chooses (`permission`).
"""

from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.streams.families import UNSUBSCRIBED, permitted

_CONNECTIONS = "See link in 'Market Data Connections' dialog for more details."
_DELAYED = 3  # the first of the market data types that are delayed
_REFUSED = {  # permission -> the answer to a request for data of now
    "none": (354, f"{UNSUBSCRIBED} Delayed market data is available."),
    "api": (
        10089,
        f"Requested market data requires additional subscription for API. {_CONNECTIONS}Delayed market data is available.",
    ),
    "not_enabled": (10168, f"{UNSUBSCRIBED} Delayed market data is not enabled."),
    "no_delayed": (354, f"{UNSUBSCRIBED}Delayed market data is not available."),
}
_PARTS = {
    "part": (
        10090,
        "Part of requested market data is not subscribed. Subscription-independent ticks are still active.",
    ),
    "part_api": (10091, f"Part of requested market data requires additional subscription for API. {_CONNECTIONS}"),
}


def refusal(client: Client, contract: Contract) -> Violation | None:
    """Why quotes are refused; None where some come."""
    permission = client.gateway.faults.live.permission(contract)
    if permission not in _REFUSED:
        return None
    if client.market_data_type < _DELAYED:
        code, words = _REFUSED[permission]
        return Violation(code, words if permission == "none" else words + _about(contract))
    if permission == "no_delayed":
        return Violation(10186, f"{UNSUBSCRIBED} Delayed market data is not enabled")
    return None


def notice(client: Client, contract: Contract) -> Violation | None:
    """The notice before the data: that they are delayed, or only a part."""
    if not permitted(client, contract):
        return Violation(10167, f"{UNSUBSCRIBED} Displaying delayed market data.")
    part = _PARTS.get(client.gateway.faults.live.permission(contract))
    return Violation(part[0], part[1] + _about(contract)) if part else None


def _about(contract: Contract) -> str:
    return f"{contract.local_symbol} {contract.primary_exchange or contract.exchange}/TOP/ALL"
