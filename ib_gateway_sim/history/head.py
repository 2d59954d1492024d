"""Head timestamps: the oldest bar of a contract."""

from ib_gateway_sim.history.families import HEADS, book, kind_problem, open_requests
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import DUPLICATE_HISTORY, PACING, TOO_MANY_OPEN, Violation
from ib_gateway_sim.rules.kinds import no_data
from ib_gateway_sim.rules.pacing import OPEN_HISTORY_REQUESTS
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire.request import Request


def req_head_timestamp(client: Client, request: Request) -> None:
    request_id = request.request_id
    if request_id in client.open_heads:
        client.refuse(request_id, DUPLICATE_HISTORY)
        return
    contract = one_contract(client, request)
    if isinstance(contract, Violation):
        client.refuse(request_id, contract)
        return
    what = request.text("whatToShow").upper()
    problem = kind_problem(contract, what)
    if problem is None and open_requests(client) >= OPEN_HISTORY_REQUESTS:
        problem = TOO_MANY_OPEN
    if problem is None and not book(client, request, contract, what):
        problem = PACING
    if problem is not None:
        client.refuse(request_id, problem)
        return
    client.open_heads.add(request_id)
    client.jobs.start(HEADS, request_id, _head(client, request, contract, what))


async def _head(client: Client, request: Request, contract: Contract, what: str) -> None:
    gateway = client.gateway
    await gateway.wait(request.kind)
    await gateway.faults.until_farm_ok("hmds", contract.sec_type, contract.currency)
    at_s = gateway.market.head_s(contract, what, rth=request.flag("useRTH"))
    if at_s is None:
        client.open_heads.discard(request.request_id)
        client.refuse(request.request_id, no_data(contract.local_symbol, contract.exchange, what))
        return
    text = str(at_s) if request.integer("formatDate") == 2 else text_date(at_s, "UTC").strftime("%Y%m%d-%H:%M:%S")
    client.send(88, request.request_id, text)


def cancel_head_timestamp(client: Client, request: Request) -> None:
    """Frees the slot that the request holds even after its answer."""
    client.jobs.stop(HEADS, request.request_id)
    client.open_heads.discard(request.request_id)
