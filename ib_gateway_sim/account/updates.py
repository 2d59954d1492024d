"""Account updates and the account summary: sent at once, repeated, and sent again when they change."""

from collections.abc import Callable

from ib_gateway_sim.account.portfolio import CURRENCY, Position
from ib_gateway_sim.account.positions import WHOLE, contract_fields
from ib_gateway_sim.account.values import BASE, Values, ledger, values
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.times import text_date
from ib_gateway_sim.wire.request import Request

UPDATES = "account updates"
UPDATES_MULTI = "account updates multi"
SUMMARY = "account summary"
_REFRESH_S = 180.0  # IB repeats account values every three minutes
_SUMMARIES = 2  # subscriptions at a time


def req_account_updates(client: Client, request: Request) -> None:
    client.jobs.stop(UPDATES, WHOLE)
    if not request.flag("subscribe"):
        return
    account = client.gateway.account_named(request.text("account"))
    if account is None:
        client.error(
            -1, 321, f"Error validating request.-'bA' : cause - Invalid account code '{request.text('account')}'."
        )
        return
    client.account_sent.clear()
    client.account_subscriptions[UPDATES, WHOLE] = account
    send_updates(client, account)
    client.send(54, 1, account)
    client.jobs.start(UPDATES, WHOLE, _repeat(client, lambda: send_updates(client, account)))


def send_updates(client: Client, account: str) -> None:
    """What has changed since the last message to the client, and the time."""
    for (tag, currency), value in _changed(client.account_sent, values(client.gateway, account)).items():
        client.send(6, 2, tag, value, currency, account)
    for position in client.gateway.portfolios[account].positions.values():
        send_portfolio(client, position, account)
    now = text_date(client.gateway.clock.now_s(), client.gateway.settings.login_zone)
    client.send(8, 1, now.strftime("%H:%M"))


def _changed(sent: Values, now: Values) -> Values:
    """The values that are new, which count as sent from now on."""
    new = {row: value for row, value in now.items() if sent.get(row) != value}
    sent.update(new)
    return new


def send_portfolio(client: Client, position: Position, account: str) -> None:
    contract = position.contract
    mark = client.gateway.mark(contract)
    client.send(
        7,
        8,
        *contract_fields(contract, contract.right or "0"),
        contract.primary_exchange or contract.exchange,
        contract.currency,
        contract.local_symbol,
        contract.trading_class,
        position.quantity,
        mark,
        round(position.value(mark), 2),
        round(position.average_cost, 8),
        round(position.unrealized(mark), 2),
        round(position.realized, 2),
        account,
    )


async def _repeat(client: Client, send: Callable[[], None]) -> None:
    while True:
        await client.gateway.clock.sleep(_REFRESH_S)
        send()


def req_account_updates_multi(client: Client, request: Request) -> None:
    request_id, model = request.request_id, request.text("modelCode")
    account = client.gateway.account_named(request.text("account")) or client.gateway.market.account
    only_ledger = request.flag("ledgerAndNLV")
    sent: Values = {}

    def send() -> None:
        now = values(client.gateway, account)
        if only_ledger:
            now = {row: now[row] for row in sorted([*ledger(client.gateway, account), ("NetLiquidation", CURRENCY)])}
        for (tag, currency), value in _changed(sent, now).items():
            client.send(73, 1, request_id, account, model, tag, value, currency)

    send()
    client.send(74, 1, request_id)
    client.jobs.start(UPDATES_MULTI, request_id, _repeat(client, send))


def cancel_account_updates_multi(client: Client, request: Request) -> None:
    client.jobs.stop(UPDATES_MULTI, request.request_id)


def req_account_summary(client: Client, request: Request) -> None:
    request_id = request.request_id
    if client.jobs.has(SUMMARY, request_id):
        client.error(request_id, 322, "Error processing request.-'bS' : cause - Duplicate ticker ID")
        return
    if sum(each.jobs.count(SUMMARY) for each in client.gateway.clients.values()) >= _SUMMARIES:
        text = "Error processing request.-'bS' : cause - Maximum number of account summary requests exceeded"
        client.error(request_id, 322, text)
        return
    tags = [tag for tag in request.text("tags").split(",") if tag]

    def send() -> None:
        for account in client.gateway.portfolios:
            for (tag, currency), value in _summary(client, account, tags).items():
                client.send(63, 1, request_id, account, tag, value, currency)

    send()
    client.send(64, 1, request_id)
    client.jobs.start(SUMMARY, request_id, _repeat(client, send))


def _summary(client: Client, account: str, tags: list[str]) -> Values:
    """The tags that are wanted, in the order of the request, and the ledger: `$LEDGER` of the sum of all currencies,
    `$LEDGER:USD` of one, `$LEDGER:ALL` of each and the sum."""
    now, book = values(client.gateway, account), ledger(client.gateway, account)
    found: Values = {}
    for tag in tags:
        name, _, wanted = tag.partition(":")
        if name == "$LEDGER":
            found |= {row: value for row, value in book.items() if wanted == "ALL" or row[1] == (wanted or BASE)}
        else:
            found |= {row: value for row, value in now.items() if row[0] == tag and row[1] != BASE}
    return found


def cancel_account_summary(client: Client, request: Request) -> None:
    client.jobs.stop(SUMMARY, request.request_id)
