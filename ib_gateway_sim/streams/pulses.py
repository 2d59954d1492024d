"""When a stream reads the market: on its beat, as late as the faults say, and never again once it is silent."""

from collections.abc import AsyncIterator

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.rules.bar_sizes import DAY_S
from ib_gateway_sim.session.gateway import Client

_LONGEST_CLOSED_S = 12 * DAY_S


async def pulses(
    client: Client,
    stream: tuple[str, int],
    contract: Contract,
    period_s: float,
    *,
    ends: bool = False,
) -> AsyncIterator[float]:
    """The times (epoch seconds) that are multiples of the period. `stream`: family and request id.

    A time is given when it has come and the delay of live data has passed; those that are overdue are left out. `ends`:
    the stream may be one that ends with its trade date (setting at_close). Each stream passes here at each of its beats,
    so a fault that is off costs one attribute access.
    """
    gateway, jobs = client.gateway, client.jobs
    clock, faults = gateway.clock, gateway.faults
    end_s = _end_s(client, contract) if ends and gateway.settings.at_close == "end" else None
    period_ns = int(period_s * SECOND_NS)

    def lag_ns(at_ns: int) -> int:
        return faults.live.delay_ns(gateway.market.account, contract, at_ns)

    at_ns = (clock.now_ns() // period_ns + 1) * period_ns
    while True:
        await clock.sleep_until(at_ns + lag_ns(at_ns) if faults.live.delays else at_ns)
        at_s = at_ns / SECOND_NS
        if end_s is not None and at_s > end_s:
            jobs.silence(*stream)
        if not jobs.is_silent(*stream):
            yield at_s
        now_ns = clock.now_ns() - (lag_ns(at_ns) if faults.live.delays else 0)
        at_ns = max(at_ns, now_ns // period_ns * period_ns) + period_ns


def _end_s(client: Client, contract: Contract) -> float | None:
    """The end of the trade date that is open, or opens next; None where none does."""
    now_s = client.gateway.clock.now_s()
    sessions = client.gateway.market.sessions(contract, now_s, now_s + _LONGEST_CLOSED_S, rth=False)
    return max((one.close_s for one in sessions if one.trade_date == sessions[0].trade_date), default=None)
