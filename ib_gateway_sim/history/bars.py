"""Requests for bars: refused, answered, kept up to date."""

import asyncio
import math
from collections.abc import Iterator

from ib_gateway_sim.faults.live import chance
from ib_gateway_sim.faults.notices import HISTORY_ERRORS, LIVE_LOST
from ib_gateway_sim.history.families import DAY_S, FAMILY, LIVE, SHORT_NAMES, book, open_requests
from ib_gateway_sim.history.fields import bar_date, bar_fields, bar_volume, edge_text
from ib_gateway_sim.history.query import BarsQuery, read_query, window
from ib_gateway_sim.history.schedule import send_schedule
from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.rules.bar_sizes import SMALL_BAR_S
from ib_gateway_sim.rules.dates import small_bars_from_s
from ib_gateway_sim.rules.errors import (
    DUPLICATE_HISTORY,
    PACING,
    TOO_MANY_OPEN,
    UNKNOWN_HISTORY,
    Violation,
    cancelled,
    service_error,
)
from ib_gateway_sim.rules.kinds import no_data
from ib_gateway_sim.rules.pacing import OPEN_HISTORY_REQUESTS
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.session.jobs import Stream
from ib_gateway_sim.streams.families import permitted
from ib_gateway_sim.streams.pulses import pulses
from ib_gateway_sim.wire import codec
from ib_gateway_sim.wire.request import Request

_LIVE_S = 2.0  # between two updates of a forming bar; IB's come every one to five seconds
_SLICE_BARS = 150  # bars made before other clients get their turn: some 5 ms of work
_TURNS = 4  # of the event loop for the others: to read a request, to work it, to write the answer


def req_historical_data(client: Client, request: Request) -> None:
    request_id = request.request_id
    if client.jobs.has(FAMILY, request_id) or client.jobs.has(LIVE, request_id):
        client.refuse(request_id, DUPLICATE_HISTORY)
        return
    query = read_query(client, request)
    if isinstance(query, Violation):
        client.refuse(request_id, query)
        return
    problem = _refusal(client, request, query)
    if problem is not None:
        client.refuse(request_id, problem)
        return
    if (LIVE, request_id) in client.dead or (query.live and _dead(client, query.series)):
        # A live request that died has to be cancelled before its successor, or another request with its id, is let in.
        client.refuse(request_id, cancelled(request_id))
        return
    client.jobs.start(FAMILY, request_id, _answer(client, query, _seconds(client, query)))


def _dead(client: Client, series: str) -> bool:
    return any(family == LIVE and each == series for (family, _), each in client.dead.items())


def _seconds(client: Client, query: BarsQuery) -> float:
    """How long the answer will take."""
    gateway = client.gateway
    seconds = gateway.latency.of_history(query.size_s, query.length.seconds)
    crawls = 0 < gateway.faults.hidden_open <= open_requests(client)
    return seconds * gateway.faults.hidden_factor if crawls else seconds


def _refusal(client: Client, request: Request, query: BarsQuery) -> Violation | None:
    """What the historical service refuses at once."""
    faults = client.gateway.faults
    contract = query.contract
    if faults.history_errors:
        words = HISTORY_ERRORS[faults.history_errors.pop(0)]
        return service_error(
            words.format(
                symbol=contract.local_symbol,
                sec_type=contract.sec_type,
                exchange=contract.exchange,
                id=query.request_id,
            )
        )
    if faults.competing:
        return service_error(HISTORY_ERRORS["other_address"])
    if not permitted(client, contract):
        return service_error(f"No market data permissions for {contract.exchange} {contract.sec_type}")
    if open_requests(client) >= OPEN_HISTORY_REQUESTS:
        return TOO_MANY_OPEN
    if query.size_s <= SMALL_BAR_S and not book(client, request, contract, query.what):
        return PACING
    return None


def cancel_historical_data(client: Client, request: Request) -> None:
    request_id = request.request_id
    dead = client.dead.pop((LIVE, request_id), None) is not None
    stopped = [client.jobs.stop(family, request_id) for family in (FAMILY, LIVE)]  # briefly there are both
    if any(stopped) or dead:
        client.refuse(request_id, cancelled(request_id))
    else:
        client.error(request_id, 366, UNKNOWN_HISTORY.format(request_id))


async def _answer(client: Client, query: BarsQuery, seconds: float) -> None:
    gateway = client.gateway
    contract = query.contract
    await gateway.clock.sleep(seconds)
    await gateway.faults.until_farm_ok("hmds", contract.sec_type, contract.currency)
    now_s = gateway.clock.now_s()
    end_s = math.ceil(now_s) if query.end_s is None else min(query.end_s, math.ceil(now_s))
    if query.what == "SCHEDULE":
        send_schedule(client, query, end_s)
        return
    start_s, end_s = window(client, query, end_s)
    if query.size_s <= SMALL_BAR_S:
        start_s = max(start_s, small_bars_from_s(now_s))
    parts, count = await _encode(client, query, start_s, end_s, now_s)
    if sum(map(len, parts)) > gateway.settings.longest_answer_bytes:
        client.close()  # as the real gateway does at a request for two years of minutes
        return
    if count == 0 and not (query.live and gateway.settings.empty_live == "stream"):
        client.refuse(query.request_id, no_data(contract.local_symbol, contract.exchange, query.what))
        return
    dates = [edge_text(client, contract, at_s) for at_s in (start_s, end_s)]
    head = codec.payload([17, query.request_id, *dates, count])
    body = b"".join([head, *parts])
    data = len(body).to_bytes(4, "big") + body
    if gateway.faults.take("cut"):
        client.cut(data)
        return
    client.send_frame(data)
    if gateway.faults.take("duplicate"):
        client.send_frame(data)
    await client.outbox.drain()
    if query.live:
        client.jobs.start(
            LIVE, query.request_id, _keep_up_to_date(client, query, start_s), Stream(contract, query.series)
        )


async def _keep_up_to_date(client: Client, query: BarsQuery, since_s: int) -> None:
    """Message 90 for the forming bar, and for its last state when the next one begins. Dies with its farm (10182)."""
    gateway = client.gateway
    contract = query.contract
    sent: dict[int, Bar] = {}  # those that may be sent again
    uneven = gateway.settings.live_cadence == "class"
    due_s = 0.0
    async for at_s in pulses(client, (LIVE, query.request_id), contract, 1.0 if uneven else _LIVE_S, ends=True):
        if at_s < due_s:
            continue
        if uneven:
            due_s = at_s + 1 + int(5 * chance(gateway.market.account, "update", query.series, at_s))
        if not gateway.faults.farm_ok("hmds", contract.sec_type, contract.currency):
            client.dead[LIVE, query.request_id] = query.series
            client.error(query.request_id, *LIVE_LOST)
            return
        for bar in _news(client, query, sent, since_s, at_s):
            if not gateway.faults.live.is_missing(gateway.market.account, contract, bar.t):
                date, low, high, close = bar_date(client, query, bar.t), bar.low, bar.high, bar.close
                volume = bar_volume(client, contract, bar.volume)
                client.send(90, query.request_id, bar.count, date, bar.open, close, high, low, bar.wap, volume)


def _news(client: Client, query: BarsQuery, sent: dict[int, Bar], since_s: int, at_s: float) -> list[Bar]:
    """What is new at an instant: the forming bar, one that begins or ended since, one that is corrected. Keeps `sent`."""
    gateway = client.gateway
    size = SHORT_NAMES[query.size]
    live = gateway.live_bars(query.contract, query.what, rth=query.rth)
    if sent:
        newest = max(sent)
        back_s = int(gateway.faults.live.corrected_for_s(query.contract))
        found = live.bars(
            size, _period_start(query, newest - back_s - (query.size_s if back_s else 0)), int(at_s) + 1, at_s
        )
    else:
        # The first time: the newest bar alone, which history names.
        known = gateway.market.bars(
            query.contract, size, query.what, rth=query.rth, start_s=since_s, end_s=int(at_s) + 1, now_s=at_s
        )[-1:]
        newest, back_s = 0, 0
        found = live.bars(size, _period_start(query, known[0].t), int(at_s) + 1, at_s)[-1:] if known else []
    news = [bar for bar in found if sent.get(bar.t) != bar and (bar.t in sent or bar.t > newest)]
    sent.update({bar.t: bar for bar in news})
    for old in [t for t in sent if t < max(sent) - back_s - query.size_s]:
        del sent[old]
    return news


def _period_start(query: BarsQuery, label_s: int) -> int:
    """From where the bar of this label is found: bars of a day and more begin up to a month and a weekend earlier."""
    return label_s - 40 * DAY_S if query.by_date else label_s


async def _encode(client: Client, query: BarsQuery, start_s: int, end_s: int, now_s: float) -> tuple[list[bytes], int]:
    """The bars as bytes, slice by slice so that other clients are served between."""
    gateway = client.gateway
    left_out = _left_out(client, query, start_s, end_s) if gateway.faults.take("short") else []
    parts: list[bytes] = []
    count = size = 0
    for low_s, high_s in _slices(start_s, end_s, query.size_s):
        bars = gateway.history_bars(
            query.contract,
            SHORT_NAMES[query.size],
            query.what,
            rth=query.rth,
            start_s=low_s,
            end_s=high_s,
            now_s=now_s,
        )
        if left_out:
            bars = [bar for bar in bars if not any(each.open_s <= bar.t < each.close_s for each in left_out)]
        if bars:
            parts.append(codec.payload([value for bar in bars for value in bar_fields(client, query, bar)]))
            count += len(bars)
            size += len(parts[-1])
            if size > gateway.settings.longest_answer_bytes:
                break
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    return parts, count


def _slices(start_s: int, end_s: int, size_s: int) -> Iterator[tuple[int, int]]:
    step_s = _SLICE_BARS * min(size_s, DAY_S)
    for low_s in range(start_s, end_s, step_s):
        yield low_s, min(low_s + step_s, end_s)


def _left_out(client: Client, query: BarsQuery, start_s: int, end_s: int) -> list[Session]:
    """Every other session, for the fault `short`."""
    return client.gateway.market.sessions(query.contract, start_s, end_s, rth=query.rth)[::2]
