"""The schedule of sessions (whatToShow SCHEDULE)."""

from ib_gateway_sim.history.query import BarsQuery, first_open_s
from ib_gateway_sim.rules.kinds import no_data
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire import codec


def send_schedule(client: Client, query: BarsQuery, end_s: int) -> None:
    contract = query.contract
    start_s = first_open_s(client, query, end_s)
    sessions = client.gateway.market.sessions(contract, start_s, end_s, rth=query.rth)
    if not sessions:
        client.refuse(query.request_id, no_data(contract.local_symbol, contract.exchange, query.what))
        return

    def local(at_s: int) -> str:
        return text_date(at_s, contract.time_zone).strftime("%Y%m%d-%H:%M:%S")

    fields: list[codec.Value] = [query.request_id, local(sessions[0].open_s), local(sessions[-1].close_s)]
    fields += [contract.time_zone, len(sessions)]
    for session in sessions:
        fields += [local(session.open_s), local(session.close_s), session.trade_date.strftime("%Y%m%d")]
    client.send(106, *fields)
