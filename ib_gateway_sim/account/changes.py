"""What a fill changes, sent to all who subscribed."""

from ib_gateway_sim.account.positions import POSITIONS, POSITIONS_MULTI, WHOLE, position_fields, send_position
from ib_gateway_sim.account.updates import UPDATES, send_updates
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.session.gateway import Gateway


def send_change(gateway: Gateway, contract: Contract) -> None:
    """After a fill: positions and account values to all who subscribed."""
    position = gateway.portfolio.positions[contract.con_id]
    for client in gateway.clients.values():
        if client.jobs.has(POSITIONS, WHOLE):
            send_position(client, position)
        for request_id in client.jobs.ids(POSITIONS_MULTI):
            client.send(71, 1, request_id, gateway.market.account, *position_fields(position), "")
        if client.jobs.has(UPDATES, WHOLE):
            send_updates(client)
