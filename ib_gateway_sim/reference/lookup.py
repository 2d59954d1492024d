"""The contract that a request means."""

from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.rules.errors import NOT_FOUND, Violation, ambiguous
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire.request import Request


def query_of(request: Request) -> ContractQuery:
    # A continuous future is described with its front contract's expiry and name; sent back they mean nothing.
    rolling = request.text("secType") == "CONTFUT"
    return ContractQuery(
        con_id=request.integer("conId"),
        symbol=request.text("symbol"),
        sec_type=request.text("secType"),
        last_trade_date="" if rolling else request.text("lastTradeDateOrContractMonth"),
        strike=request.number("strike"),
        right=request.text("right"),
        multiplier=request.text("multiplier"),
        exchange=request.text("exchange"),
        primary_exchange=request.text("primaryExchange"),
        currency=request.text("currency"),
        local_symbol="" if rolling else request.text("localSymbol"),
        trading_class=request.text("tradingClass"),
        include_expired=request.flag("includeExpired"),
        sec_id_type=request.text("secIdType"),
        sec_id=request.text("secId"),
    )


_NO_FRACTIONS = (
    2176,
    "Warning: Your API version does not support fractional share size rules. Please upgrade to a minimum version 163. "
    "Sizes are trimmed to whole numbers.",
)


def one_contract(client: Client, request: Request) -> Contract | Violation:
    """The contract that a request for data means; unknown and ambiguous are both error 200."""
    query = query_of(request)
    found = client.gateway.market.find(query, client.gateway.clock.now_s())
    if len(found) == 1:
        if client.version < 163 and found[0].size_increment < 1:
            client.error(request.request_id, *_NO_FRACTIONS)
        return found[0]
    if not found:
        return NOT_FOUND
    return ambiguous(query.symbol or query.local_symbol)
