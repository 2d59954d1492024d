"""Tick-by-tick data: every trade, quote or midpoint."""

from ib_gateway_sim.faults.notices import COMPETING
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.source import Tick
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import Violation, invalid
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.session.jobs import Stream
from ib_gateway_sim.streams.families import BY_TICK, Values, offers, permitted, shown_size
from ib_gateway_sim.streams.pulses import pulses
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request

_TICK_KINDS = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}
_TICK_WHAT = {"Last": "TRADES", "AllLast": "TRADES", "BidAsk": "BID_ASK", "MidPoint": "MIDPOINT"}
_HISTORY_ALONE = frozenset({"OPT", "FOP"})
_INDEX_EXCHANGES = frozenset({"CME"})
# IB's page (interactivebrokers.github.io/tws-api/tick_data.html, read 2026-11) names the rule of 15 s and no code.
_TOO_SOON = Violation(
    10190, "Max number of tick-by-tick requests has been reached.Pacing violation: one for an instrument in 15 seconds"
)


def req_tick_by_tick(client: Client, request: Request) -> None:
    request_id = request.request_id
    kind = request.text("tickType")
    contract = one_contract(client, request)
    problem: Violation | None = None
    running = sum(each.jobs.count(BY_TICK) for each in client.gateway.clients.values())
    if client.jobs.has(BY_TICK, request_id):
        problem = Violation(322, "Error processing request.-'bQ' : cause - Duplicate ticker ID")
    elif kind not in _TICK_KINDS:
        problem = invalid(f"Tick-by-tick type is incorrect. Legal ones are: {', '.join(_TICK_KINDS)}")
    elif isinstance(contract, Violation):
        problem = contract
    elif client.gateway.faults.competing:
        problem = Violation(*COMPETING)
    elif running >= max(1, client.gateway.settings.lines // 20):
        problem = Violation(10190, "Max number of tick-by-tick requests has been reached.")
    elif not permitted(client, contract):
        problem = Violation(
            10189,
            "Failed to request tick-by-tick data.No market data permissions for "
            f"{contract.exchange} {contract.sec_type}",
        )
    elif not _offers_live(contract, kind):
        problem = Violation(10189, f"Failed to request tick-by-tick data.{kind} is not offered for {contract.sec_type}")
    elif not _paused(client, contract):
        problem = _TOO_SOON
    if problem is not None:
        client.refuse(request_id, problem)
    elif not isinstance(contract, Violation):
        client.jobs.start(BY_TICK, request_id, _tick_by_tick(client, request, contract, kind), Stream(contract))


def _offers_live(contract: Contract, kind: str) -> bool:
    """IB has no ticks of options live, and of indices those of the CME alone."""
    if contract.sec_type in _HISTORY_ALONE or (
        contract.sec_type == "IND" and contract.exchange not in _INDEX_EXCHANGES
    ):
        return False
    return offers(contract, _TICK_WHAT[kind])


def _paused(client: Client, contract: Contract) -> bool:
    """Books the request, over all clients; False where it follows another of the instrument too soon. Such a one does not
    count, as is taken of history: IB does not say."""
    gateway = client.gateway
    booked, now_s = gateway.ticks_requested, gateway.clock.now_s()
    since_s = now_s - booked.get(contract.con_id, float("-inf"))
    if 0 <= since_s < gateway.settings.tick_pause:  # below 0: of before the clock was set back
        return False
    booked[contract.con_id] = now_s
    return True


async def _tick_by_tick(client: Client, request: Request, contract: Contract, kind: str) -> None:
    gateway = client.gateway
    what = _TICK_WHAT[kind]
    since_s = gateway.clock.now_s()
    wanted = min(request.integer("numberOfTicks"), 1000)
    if wanted > 0:
        past = gateway.market.ticks(contract, what, since_s - 86_400, since_s, wanted, from_end=True)
        send_ticks(client, request.request_id, contract, what, past)
    sizes_matter = not request.flag("ignoreSize")
    before: tuple[float, float] | None = None
    async for at_s in pulses(client, (BY_TICK, request.request_id), contract, gateway.settings.quote_s):
        if gateway.faults.farm_ok("data", contract.sec_type, contract.currency):
            for tick in gateway.market.ticks(contract, what, since_s, at_s, 10_000):
                if sizes_matter or kind != "BidAsk" or before != (tick.bid, tick.ask):
                    client.send(99, request.request_id, *_tick_fields(client, contract, kind, tick))
                before = (tick.bid, tick.ask)
        since_s = at_s


def _tick_fields(client: Client, contract: Contract, kind: str, tick: Tick) -> Values:
    head: Values = (_TICK_KINDS[kind], int(tick.t_s))
    if kind == "BidAsk":
        return (
            *head,
            tick.bid,
            tick.ask,
            shown_size(client, contract, tick.bid_size),
            shown_size(client, contract, tick.ask_size),
            0,
        )
    if kind == "MidPoint":
        return (*head, tick.price)
    return (*head, tick.price, shown_size(client, contract, tick.size), 0, tick.exchange, tick.conditions)


def send_ticks(client: Client, request_id: int, contract: Contract, what: str, ticks: list[Tick]) -> None:
    """Messages 96 (MIDPOINT), 97 (BID_ASK) or 98 (TRADES), all ticks in one."""
    number = {"MIDPOINT": 96, "BID_ASK": 97}.get(what, 98)
    fields: list[codec.Value] = [request_id, len(ticks)]
    for tick in ticks:
        at_s = int(tick.t_s)
        if number == 96:
            fields += [at_s, 0, tick.price, 0]
        elif number == 97:
            sizes = (shown_size(client, contract, tick.bid_size), shown_size(client, contract, tick.ask_size))
            fields += [at_s, 0, tick.bid, tick.ask, *sizes]
        else:
            fields += [at_s, 0, tick.price, shown_size(client, contract, tick.size), tick.exchange, tick.conditions]
    client.send(number, *fields, True)


def cancel_tick_by_tick(client: Client, request: Request) -> None:
    if not client.jobs.stop(BY_TICK, request.request_id):
        client.error(request.request_id, 300, f"Can't find EId with tickerId:{request.request_id}")
