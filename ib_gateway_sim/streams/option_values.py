"""Option values as messages, and the option calculators."""

from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import Violation, invalid
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.streams import greeks
from ib_gateway_sim.streams.greeks import Greeks
from ib_gateway_sim.wire.request import Request


def underlying_price(client: Client, contract: Contract) -> float:
    """The price of an option's underlying, 0 when there is none."""
    gateway = client.gateway
    found = gateway.market.find(ContractQuery(con_id=contract.under_con_id), gateway.clock.now_s())
    return gateway.mark(found[0]) if found else 0.0


def send_greeks(client: Client, request_id: int, kind: int, made: Greeks) -> None:
    """Message 21; what is not computed is -1 for volatility and price, -2 for the greeks."""

    def known_or(number: float | None, absent: float) -> float:
        return absent if number is None else round(number, 10)

    rest = [known_or(each, -2.0) for each in (made.gamma, made.vega, made.theta)]
    head = [known_or(made.volatility, -1.0), known_or(made.delta, -2.0), known_or(made.price, -1.0)]
    client.send(21, request_id, kind, 0, *head, 0.0, *rest, made.under)


_CUSTOM = 53  # tick type of a calculator's result


def calculate(client: Client, request: Request) -> None:
    """The option calculators: volatility from a price, price from a volatility."""
    contract = one_contract(client, request)
    under = request.number("underPrice")
    if isinstance(contract, Violation):
        client.refuse(request.request_id, contract)
    elif (
        contract.sec_type != "OPT"
        or under <= 0
        or max(request.number("volatility"), request.number("optionPrice")) <= 0
    ):
        client.refuse(request.request_id, invalid("Calculations need an option and prices or volatility above 0"))
    else:
        years = greeks.years_left(contract, client.gateway.clock.now_s())
        if request.kind == "calculateOptionPrice":
            made = greeks.at_volatility(contract, under, years, min(request.number("volatility"), 10.0))
        else:
            made = greeks.at_price(contract, under, years, request.number("optionPrice"))
        send_greeks(client, request.request_id, _CUSTOM, made)


def nothing_to_cancel(client: Client, request: Request) -> None:
    """Calculations are answered at once."""
