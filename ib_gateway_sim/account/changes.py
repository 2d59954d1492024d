"""What a fill changes, sent to all who subscribed."""

from ib_gateway_sim.account.positions import ALL, POSITIONS, POSITIONS_MULTI, WHOLE, position_fields, send_position
from ib_gateway_sim.account.updates import UPDATES, send_updates
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.session.gateway import Gateway


def send_money(gateway: Gateway, account: str) -> None:
    """After money has come or gone: the account's values."""
    gateway.unsaved = True
    for client in gateway.clients.values():
        if client.jobs.has(UPDATES, WHOLE) and client.account_subscriptions.get((UPDATES, WHOLE)) == account:
            send_updates(client, account)


def send_change(gateway: Gateway, contract: Contract, account: str) -> None:
    """After a fill: position and account values of its account to all who subscribed."""
    position = gateway.portfolios[account].positions[contract.con_id]
    for client in gateway.clients.values():
        if client.jobs.has(POSITIONS, WHOLE):
            send_position(client, position, account)
        for request_id in client.jobs.ids(POSITIONS_MULTI):
            if client.account_subscriptions.get((POSITIONS_MULTI, request_id)) in (account, ALL):
                client.send(71, 1, request_id, account, *position_fields(position), "")
    send_money(gateway, account)
