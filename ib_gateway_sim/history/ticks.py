"""Historical ticks of one session."""

from ib_gateway_sim.history.families import LONGEST_PAUSE_S, TICKS, book
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.source import Tick
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.dates import NO_ZONE, Moment, moment
from ib_gateway_sim.rules.errors import DUPLICATE_HISTORY, PACING, Violation, invalid
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.streams.families import offers
from ib_gateway_sim.streams.tick_by_tick import send_ticks
from ib_gateway_sim.wire.request import Request

_MOST_TICKS = 1000


def req_historical_ticks(client: Client, request: Request) -> None:
    request_id = request.request_id
    requested = _ticks_problem(client, request)
    if isinstance(requested, Violation):
        client.refuse(request_id, requested)
    else:
        client.jobs.start(TICKS, request_id, _ticks(client, request, *requested))


def _ticks_problem(client: Client, request: Request) -> tuple[Contract, Moment] | Violation:
    """The contract and the one time that was given, or what is wrong."""
    if client.jobs.has(TICKS, request.request_id):
        return DUPLICATE_HISTORY
    contract = one_contract(client, request)
    if isinstance(contract, Violation):
        return contract
    start, end = request.text("startDateTime"), request.text("endDateTime")
    what = request.text("whatToShow").upper()
    if bool(start) == bool(end):
        return invalid("Historical ticks need exactly one of Start Date/Time and End Date/Time.")
    if not 1 <= request.integer("numberOfTicks") <= _MOST_TICKS:
        return invalid(f"Number of ticks must be from 1 to {_MOST_TICKS}.")
    if what not in ("TRADES", "BID_ASK", "MIDPOINT"):
        return invalid("What to show field is missing or incorrect. Legal ones are: BID_ASK, MIDPOINT, TRADES")
    name = "Start Date/Time" if start else "End Date/Time"
    at = moment(
        start or end, field_name=name, login_zone=client.gateway.settings.login_zone, now_s=client.gateway.clock.now_s()
    )
    if isinstance(at, Violation):
        return at
    if at.zone_missing:
        client.refuse(request.request_id, NO_ZONE)
    if not contract.permitted:
        permission = f"No market data permissions for {contract.exchange} {contract.sec_type}"
        return Violation(10187, f"Failed to request historical ticks:{permission}")
    if not offers(contract, what):
        return Violation(10187, f"Failed to request historical ticks:{what} is not offered for {contract.sec_type}")
    return (contract, at) if book(client, request, contract, what) else PACING


async def _ticks(client: Client, request: Request, contract: Contract, at: Moment) -> None:
    """Ticks of one session: from the start on, or up to the end."""
    gateway = client.gateway
    await gateway.wait(request.kind)
    await gateway.faults.until_farm_ok("hmds", contract.sec_type, contract.currency)
    what, rth, now_s = request.text("whatToShow").upper(), request.flag("useRTH"), gateway.clock.now_s()
    from_end = not request.text("startDateTime")
    ends = (at.at_s - LONGEST_PAUSE_S, at.at_s) if from_end else (at.at_s, at.at_s + LONGEST_PAUSE_S)
    sessions = [each for each in gateway.market.sessions(contract, *ends, rth=rth) if each.open_s < now_s]
    ticks: list[Tick] = []
    if sessions:
        session = sessions[-1] if from_end else sessions[0]
        start_s = session.open_s if from_end else max(session.open_s, at.at_s)
        end_s = min(session.close_s, now_s, *([at.at_s] if from_end else []))
        count = request.integer("numberOfTicks")
        ticks = gateway.market.ticks(contract, what, start_s, end_s, count, rth=rth, from_end=from_end)
    if what == "BID_ASK" and request.flag("ignoreSize"):
        ticks = [tick for tick, last in zip(ticks, [None, *ticks], strict=False) if not _same_prices(tick, last)]
    send_ticks(client, request.request_id, contract, what, ticks)


def _same_prices(tick: Tick, last: Tick | None) -> bool:
    return last is not None and (tick.bid, tick.ask) == (last.bid, last.ask)
