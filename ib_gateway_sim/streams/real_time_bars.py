"""Bars of five seconds, sent as they close."""

from ib_gateway_sim.faults.notices import COMPETING
from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.rules.kinds import LIVE_KINDS
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.session.jobs import Stream
from ib_gateway_sim.streams.families import BARS, NO_LINE, no_line, permitted, shown_size
from ib_gateway_sim.streams.pulses import pulses
from ib_gateway_sim.wire.request import Request

_BARS_PER_WINDOW = 60
_BARS_WINDOW_S = 600.0
# That the new stream may not come before the end of the old is known from users (backtrader2/backtrader#15); code and words
# of the refusal are not known and are ours.
NOT_CANCELLED = Violation(420, "Invalid Real-time Query:The subscription that a bust deactivated has to be cancelled")


def req_real_time_bars(client: Client, request: Request) -> None:
    request_id = request.request_id
    what = request.text("whatToShow").upper()
    contract = one_contract(client, request)
    problem: Violation | None = None
    if client.jobs.has(BARS, request_id) or (BARS, request_id) in client.dead:
        problem = Violation(102, "Duplicate ticker id")
    elif isinstance(contract, Violation):
        problem = contract
    elif what not in LIVE_KINDS or what not in contract.kinds:
        problem = Violation(420, f"Invalid Real-time Query:What to show {what} is not offered for {contract.sec_type}")
    elif not permitted(client, contract):
        problem = Violation(
            420, f"Invalid Real-time Query:No market data permissions for {contract.exchange} {contract.sec_type}"
        )
    elif client.gateway.faults.competing:
        problem = Violation(*COMPETING)
    elif (BARS, _series(contract, what)) in [(family, series) for (family, _), series in client.dead.items()]:
        problem = NOT_CANCELLED
    elif no_line(client, contract):
        problem = NO_LINE
    elif not _within_pace(client):
        problem = Violation(420, "Invalid Real-time Query:Historical data request pacing violation")
    if problem is not None:
        client.refuse(request_id, problem)
    elif not isinstance(contract, Violation):
        stream = Stream(contract, _series(contract, what))
        client.jobs.start(BARS, request_id, _real_time_bars(client, request, contract, what), stream)


def _series(contract: Contract, what: str) -> str:
    return f"{contract.con_id}|{what}"


def _within_pace(client: Client) -> bool:
    """Books the request; False where it is one too many.

    IB's page names the market data lines and the limits of small bars, and 60 new ones in ten minutes; whether that is
    one book for both is not established (setting rtb_book). Small bars' rules of the same request do not apply.
    """
    gateway = client.gateway
    booked, now_s = gateway.bars_requested, gateway.clock.now_s()
    while booked and booked[-1] > now_s:  # of before the clock was set back
        booked.pop()
    while booked and booked[0] <= now_s - _BARS_WINDOW_S:
        booked.popleft()
    if len(booked) >= _BARS_PER_WINDOW:
        return False
    number = f"real-time bars {next(gateway.numbers)}"
    if gateway.settings.rtb_book == "shared" and not gateway.pacing.ask(now_s, number, number):
        return False
    booked.append(now_s)
    return True


async def _real_time_bars(client: Client, request: Request, contract: Contract, what: str) -> None:
    gateway = client.gateway
    rth = request.flag("useRTH")
    before: Bar | None = None
    async for at_s in pulses(client, (BARS, request.request_id), contract, 5.0, ends=True):
        start_s = int(at_s) - 5
        if not gateway.faults.farm_ok("data", contract.sec_type, contract.currency):
            continue
        found = gateway.live_bars(contract, what, rth=rth).bars("5s", start_s, start_s + 5, at_s)
        bar = found[0] if found else None
        if bar is None and before is not None and gateway.market.sessions(contract, start_s, start_s + 5, rth=rth):
            # Nothing was traded: IB sends the last price again, with no volume.
            flat = before.close
            bar = Bar(start_s, flat, flat, flat, flat, min(before.volume, 0), flat, min(before.count, 0))
        if bar is None:
            continue
        if not gateway.faults.live.is_missing(gateway.market.account, contract, bar.t):
            client.send(
                50,
                3,
                request.request_id,
                bar.t,
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                shown_size(client, contract, bar.volume),
                bar.wap,
                bar.count,
            )
        before = bar


def cancel_real_time_bars(client: Client, request: Request) -> None:
    dead = client.dead.pop((BARS, request.request_id), None) is not None
    if not client.jobs.stop(BARS, request.request_id) and not dead:
        client.error(request.request_id, 300, f"Can't find EId with tickerId:{request.request_id}")
