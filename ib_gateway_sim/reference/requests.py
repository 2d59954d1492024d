"""Answers that need no prices: contracts, matching symbols, option chains, market rules, times, the small talk."""

from collections.abc import Callable

from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.reference.lookup import query_of
from ib_gateway_sim.rules.errors import HMDS, NOT_FOUND
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request


def _last_trade(contract: Contract) -> str:
    """The last trade date, with time and zone where they are known."""
    if contract.last_trade_date and contract.last_trade_time:
        return f"{contract.last_trade_date} {contract.last_trade_time} {contract.time_zone}"
    return contract.last_trade_date


def contract_details(contract: Contract, request_id: int, version: int, trading: str, liquid: str) -> bytes:
    """Message 10 as the negotiated version lays it out."""
    exchanges = contract.valid_exchanges or (contract.exchange,)
    rules = contract.market_rule_ids or (26,) * len(exchanges)
    fields: list[codec.Value] = [10]
    if version < 164:
        fields.append(8)
    fields += [
        request_id,
        contract.symbol,
        contract.sec_type,
        _last_trade(contract),
        contract.strike,
        contract.right,
        contract.exchange,
        contract.currency,
        contract.local_symbol,
        contract.market_name,
        contract.trading_class,
        contract.con_id,
        contract.min_tick,
    ]
    if version < 164:
        fields.append(contract.md_size_multiplier)
    fields += [
        contract.multiplier,
        ",".join(contract.order_types),
        ",".join(exchanges),
        contract.price_magnifier,
        contract.under_con_id,
        contract.long_name,
        contract.primary_exchange,
        contract.contract_month,
        contract.industry,
        contract.category,
        contract.subcategory,
        contract.time_zone,
        trading,
        liquid,
        contract.ev_rule,
        contract.ev_multiplier,
        len(contract.sec_ids),
    ]
    for tag, value in contract.sec_ids:
        fields += [tag, value]
    fields += [
        contract.agg_group,
        contract.under_symbol,
        contract.under_sec_type,
        ",".join(str(rule) for rule in rules),
        contract.real_expiration_date,
        contract.stock_type,
    ]
    if version == 163:
        fields.append(contract.min_size)
    if version >= 164:
        fields += [contract.min_size, contract.size_increment, contract.suggested_size_increment]
    return codec.frame(*fields)


def req_contract_details(client: Client, request: Request) -> None:
    client.jobs.start("contract", request.request_id, _contract_details(client, request))


async def _contract_details(client: Client, request: Request) -> None:
    gateway = client.gateway
    await gateway.wait(request.kind)
    if not gateway.faults.farm_ok("secdef", "", ""):
        # Seen in real outages: while the security-definition farm is away everything is "not found".
        client.refuse(request.request_id, NOT_FOUND)
        return
    now_s = gateway.clock.now_s()
    query = query_of(request)
    found = gateway.market.find(query, now_s)
    if not found:
        client.refuse(request.request_id, NOT_FOUND)
        return
    for contract in found:
        trading = gateway.market.trading_hours(contract, now_s, liquid=False)
        liquid = gateway.market.trading_hours(contract, now_s, liquid=True)
        client.send_frame(contract_details(contract, request.request_id, client.version, trading, liquid))
    client.send(52, 1, request.request_id)


def req_matching_symbols(client: Client, request: Request) -> None:
    client.jobs.start("symbols", request.request_id, _matching_symbols(client, request))


async def _matching_symbols(client: Client, request: Request) -> None:
    gateway = client.gateway
    await gateway.wait(request.kind)
    found = gateway.market.search(request.text("pattern"), gateway.clock.now_s())
    fields: list[codec.Value] = [request.request_id, len(found)]
    for contract in found:
        fields += [contract.con_id, contract.symbol, contract.sec_type, contract.primary_exchange, contract.currency]
        derivatives = gateway.market.derivatives(contract)
        fields += [len(derivatives), *derivatives]
        if client.version >= 176:
            fields += [contract.long_name, ""]
    client.send(79, *fields)


def req_option_params(client: Client, request: Request) -> None:
    client.jobs.start("options", request.request_id, _option_params(client, request))


async def _option_params(client: Client, request: Request) -> None:
    gateway = client.gateway
    await gateway.wait(request.kind)
    now_s = gateway.clock.now_s()
    query = ContractQuery(con_id=request.integer("conId"), symbol=request.text("symbol"))
    found = gateway.market.find(query, now_s)
    if not found or found[0].sec_type != request.text("secType"):
        client.refuse(request.request_id, NOT_FOUND)
        return
    for chain in gateway.market.option_params(found[0], now_s):
        client.send(
            75,
            request.request_id,
            chain.exchange,
            chain.under_con_id,
            chain.trading_class,
            chain.multiplier,
            len(chain.expirations),
            *chain.expirations,
            len(chain.strikes),
            *chain.strikes,
        )
    client.send(76, request.request_id)


def req_market_rule(client: Client, request: Request) -> None:
    rule_id = request.integer("marketRuleId")
    try:
        steps = client.gateway.market.market_rule(rule_id)
    except LookupError:
        client.error(-1, 322, f"Error processing request.-'bW' : cause - Unknown market rule id {rule_id}")
        return
    client.send(93, rule_id, len(steps), *[value for step in steps for value in step])


# ---- time, user, and what there is none of ---------------------------------------------------------------------------
def req_current_time(client: Client, request: Request) -> None:
    client.send(49, 1, int(client.gateway.clock.now_s()))


def req_ids(client: Client, request: Request) -> None:
    client.send(9, 1, client.gateway.orders.next_id(client.client_id))


def req_managed_accounts(client: Client, request: Request) -> None:
    client.send(15, 1, ",".join(client.gateway.portfolios))


def req_market_data_type(client: Client, request: Request) -> None:
    wanted = request.integer("marketDataType")
    if wanted not in (1, 2, 3, 4):
        client.error(-1, 321, "Error validating request.-'bM' : cause - Market data type must be 1, 2, 3 or 4")
        return
    client.market_data_type = wanted


def req_user_info(client: Client, request: Request) -> None:
    client.send(107, request.request_id, "")


def req_soft_dollar_tiers(client: Client, request: Request) -> None:
    client.send(77, request.request_id, 0)


def req_family_codes(client: Client, request: Request) -> None:
    accounts = client.gateway.portfolios
    client.send(78, len(accounts), *(field for account in accounts for field in (account, "")))


_DEPTH_EXCHANGES = (  # exchange, security type, listing exchange, kind of book: with market makers, or without
    *((venue, "STK", "", "Deep2") for venue in ("ARCA", "BATS", "EDGX", "IEX", "ISLAND", "NYSE")),
    ("IDEALPRO", "CASH", "", "Deep"),
    ("CME", "FUT", "", "Deep"),
    ("NYMEX", "FUT", "", "Deep"),
    ("COMEX", "FUT", "", "Deep"),
    ("PAXOS", "CRYPTO", "", "Deep"),
)


def req_depth_exchanges(client: Client, request: Request) -> None:
    fields: list[codec.Value] = [len(_DEPTH_EXCHANGES)]
    for exchange, sec_type, listed, service in _DEPTH_EXCHANGES:
        # Only venues of one listing share a group. Clients read the group as a number: a book of its own has IB's unset one.
        fields += [exchange, sec_type, listed, service, 1 if service == "Deep2" else codec.UNSET_INTEGER]
    client.send(80, *fields)


def req_smart_components(client: Client, request: Request) -> None:
    exchanges = (("NYSE", "N"), ("ARCA", "P"), ("NASDAQ", "Q"), ("BATS", "Z"))
    fields: list[codec.Value] = [request.request_id, len(exchanges)]
    for bit, (name, letter) in enumerate(exchanges):
        fields += [bit, name, letter]
    client.send(82, *fields)


def req_news_providers(client: Client, request: Request) -> None:
    client.send(85, 0)


# ---- what there is nothing of ----------------------------------------------------------------------------------------
def req_fundamental_data(client: Client, request: Request) -> None:
    client.error(request.request_id, 430, "The fundamentals data for the security specified is not available.")


def req_scanner_parameters(client: Client, request: Request) -> None:
    client.send(19, 1, '<?xml version="1.0" encoding="UTF-8"?><ScanParameterResponse></ScanParameterResponse>')


def req_scanner_subscription(client: Client, request: Request) -> None:
    """Every scan is empty: IB says so with 165 and an answer without rows."""
    client.scans.add(request.request_id)
    text = "Historical Market Data Service query message:no items retrieved"
    client.error(request.request_id, 165, text)
    client.send(20, 3, request.request_id, 0)


def cancel_scanner_subscription(client: Client, request: Request) -> None:
    request_id = request.request_id
    if request_id in client.scans:
        client.scans.discard(request_id)
        client.error(request_id, 162, f"{HMDS}API scanner subscription cancelled: {request_id}")
    else:
        client.error(request_id, 365, f"No scanner subscription found for ticker id:{request_id}")


def req_historical_news(client: Client, request: Request) -> None:
    client.send(87, request.request_id, False)


def req_news_article(client: Client, request: Request) -> None:
    client.error(request.request_id, 10172, "Failed to request news article:No data available")


def _quiet(client: Client, request: Request) -> None:
    """Accepted and without an answer, as at IB (log level, news bulletins while there are none)."""


HANDLERS: dict[str, Callable[[Client, Request], None]] = {
    "reqContractDetails": req_contract_details,
    "reqMatchingSymbols": req_matching_symbols,
    "reqSecDefOptParams": req_option_params,
    "reqMarketRule": req_market_rule,
    "reqCurrentTime": req_current_time,
    "reqIds": req_ids,
    "reqManagedAccts": req_managed_accounts,
    "reqMarketDataType": req_market_data_type,
    "reqUserInfo": req_user_info,
    "reqSoftDollarTiers": req_soft_dollar_tiers,
    "reqFamilyCodes": req_family_codes,
    "reqMktDepthExchanges": req_depth_exchanges,
    "reqSmartComponents": req_smart_components,
    "reqNewsProviders": req_news_providers,
    "reqHistoricalNews": req_historical_news,
    "reqNewsArticle": req_news_article,
    "reqFundamentalData": req_fundamental_data,
    "cancelFundamentalData": _quiet,
    "reqScannerParameters": req_scanner_parameters,
    "reqScannerSubscription": req_scanner_subscription,
    "cancelScannerSubscription": cancel_scanner_subscription,
    "setServerLogLevel": _quiet,
    "reqNewsBulletins": _quiet,
    "cancelNewsBulletins": _quiet,
}
