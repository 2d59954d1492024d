"""Historical data: bars of every size, schedules, head timestamps. A request gets one answer or one error."""

import asyncio
import datetime as dt
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ib_gateway_sim.faults.weather import HISTORY_ERRORS, LIVE_LOST
from ib_gateway_sim.market.calendars import Session
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.market.generated import Bar, Tick
from ib_gateway_sim.reference.requests import one_contract, text_date
from ib_gateway_sim.rules import limits
from ib_gateway_sim.rules.limits import Duration, Moment, Violation
from ib_gateway_sim.session.client import Client
from ib_gateway_sim.streams.requests import beats, offers, send_ticks
from ib_gateway_sim.wire import codec

FAMILY, LIVE = "history", "live bars"  # pending requests; those answered and kept up to date
HEADS, TICKS, HISTOGRAM = "head", "historical ticks", "histogram"
_LIVE_S = 2.0  # between two updates of a forming bar; IB's come every one to five seconds
_SLICE_BARS = 150  # bars made between two looks at the other clients: some 5 ms of work
_TURNS = 4  # of the event loop for the others: to read a request, to work it, to write the answer
_DAY_S = limits.DAY_S
_LONGEST_PAUSE_S = 12 * _DAY_S  # no exchange is closed longer


# ---- what is asked ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class BarsQuery:
    """A request for bars or a schedule after all checks."""

    request_id: int
    contract: Contract
    size: str  # IB's spelling
    what: str
    rth: bool
    length: Duration
    end_s: int | None  # None: now
    format_date: int
    live: bool  # keepUpToDate

    @property
    def size_s(self) -> int:
        return limits.BAR_SIZES[self.size]

    @property
    def series(self) -> str:
        return f"{self.contract.con_id}|{self.contract.exchange}|{self.size}|{self.what}|{self.rth}"

    @property
    def by_date(self) -> bool:
        return self.size_s >= _DAY_S


def read_query(client: Client, request: codec.Request) -> BarsQuery | Violation:
    """Checks a request as the gateway does; warning 2174 is sent on the way."""
    settings = client.gateway.settings
    size = limits.bar_size(request.text("barSize"))
    length = limits.duration(request.text("duration"))
    if isinstance(size, Violation):
        return size
    if isinstance(length, Violation):
        return length
    contract = one_contract(client, request)
    if isinstance(contract, Violation):
        return contract
    what = request.text("whatToShow").upper()
    live = request.flag("keepUpToDate")
    problem = _what_problem(contract, what, size, live, client.version)
    problem = problem or limits.steps(size, length, settings.steps)
    end_text = request.text("endDateTime")
    problem = problem or (_end_problem(contract, what, live) if end_text else None)
    if problem is not None:
        return problem
    end_s = None
    if end_text:
        now_s = client.gateway.clock.now_s()
        end = limits.moment(end_text, field_name="End Date/Time", login_zone=settings.login_zone, now_s=now_s)
        if isinstance(end, Violation):
            return end
        if end.zone_missing:
            client.refuse(request.request_id, limits.NO_ZONE)
        end_s = end.at_s
    return BarsQuery(
        request.request_id,
        contract,
        size,
        what,
        request.flag("useRTH"),
        length,
        end_s,
        request.integer("formatDate") or 1,
        live,
    )


def _what_problem(contract: Contract, what: str, size: str, live: bool, version: int) -> Violation | None:
    if what == "SCHEDULE" and version < 165:
        return limits.invalid("What to show field is missing or incorrect.")
    if what == "SCHEDULE" and size != "1 day":
        return limits.SCHEDULE_SIZE
    if live and (what not in limits.LIVE_KINDS or limits.BAR_SIZES[size] < 5):
        return limits.invalid(
            "Live historical data updates need TRADES, MIDPOINT, BID or ASK and bars of 5 secs or more."
        )
    return kind_problem(contract, what)


def kind_problem(contract: Contract, what: str) -> Violation | None:
    """By product, as at IB, and by what this market has: a replayed file holds one kind."""
    problem = limits.what_to_show(what, contract.sec_type, contract.local_symbol, contract.exchange)
    if problem is None and what not in (*contract.kinds, "SCHEDULE"):
        return limits.no_data(contract.local_symbol, contract.exchange, what)
    return problem


def _end_problem(contract: Contract, what: str, live: bool) -> Violation | None:
    if contract.sec_type == "CONTFUT":
        return limits.CONTINUOUS_END
    if what == "ADJUSTED_LAST":
        return limits.ADJUSTED_END
    return limits.invalid("End Date/Time must be empty for live historical data updates.") if live else None


# ---- windows ---------------------------------------------------------------------------------------------------------
def window(client: Client, query: BarsQuery, end_s: int) -> tuple[int, int]:
    """[start, end) of the request in seconds.

    "n D" counts trade dates back from the one that has begun last (so "1 D" in regular hours before today's open is
    empty, as at IB); seconds, weeks, months and years are taken from the end by the calendar, and the bar in which
    they begin is whole. Bars of a day and more count trade dates throughout.
    """
    if query.by_date or query.what == "SCHEDULE" or query.length.unit == "D":
        return _dates_start(client, query, end_s), end_s
    if query.length.unit in ("S", "W"):
        start_s = end_s - query.length.seconds
    else:
        start_s = int(_calendar_back(dt.datetime.fromtimestamp(end_s, dt.UTC), query.length).timestamp())
    return start_s - start_s % min(query.size_s, 1800), end_s


def _calendar_back(at: dt.datetime, length: Duration) -> dt.datetime:
    months = length.count * (12 if length.unit == "Y" else 1)
    return dt.datetime.combine(limits.months_before(at.date(), months), at.time(), at.tzinfo)


def _dates_start(client: Client, query: BarsQuery, end_s: int) -> int:
    """Open of the first session of the first trade date that the request covers."""
    market = client.gateway.market
    latest = market.sessions(query.contract, end_s - _LONGEST_PAUSE_S, end_s, rth=False)
    if not latest:
        return end_s
    last = latest[-1].trade_date
    if query.length.unit in ("D", "S"):
        days = query.length.count if query.length.unit == "D" else -(-query.length.count // _DAY_S)
        # At least four trade dates in any seven days but around holidays, which the second pause covers.
        back_s = days * 7 // 4 * _DAY_S + 2 * _LONGEST_PAUSE_S
        sessions = market.sessions(query.contract, end_s - back_s, end_s, rth=False)
        dates = sorted({session.trade_date for session in sessions if session.trade_date <= last})
        first = _whole_period(dates[-days] if days <= len(dates) else dates[0], query.size)
    else:
        if query.length.unit == "W":
            after = last - dt.timedelta(weeks=query.length.count)
        else:
            after = _calendar_back(dt.datetime.combine(last, dt.time()), query.length).date()
        first = _whole_period(after + dt.timedelta(days=1), query.size)
    midnight_s = int(dt.datetime.combine(first, dt.time(), dt.UTC).timestamp())
    around = market.sessions(query.contract, midnight_s - 3 * _DAY_S, midnight_s + _LONGEST_PAUSE_S, rth=False)
    return next((session.open_s for session in around if session.trade_date >= first), end_s)


def _whole_period(day: dt.date, size: str) -> dt.date:
    if size == "1W":
        return day - dt.timedelta(days=day.weekday())
    return day.replace(day=1) if size == "1M" else day


# ---- asking ----------------------------------------------------------------------------------------------------------
def req_historical_data(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    if client.has(FAMILY, request_id) or client.has(LIVE, request_id):
        client.refuse(request_id, limits.DUPLICATE_HISTORY)
        return
    query = read_query(client, request)
    if isinstance(query, Violation):
        client.refuse(request_id, query)
        return
    problem = _refusal(client, request, query)
    if problem is not None:
        client.refuse(request_id, problem)
        return
    if query.live and query.series in client.dead_live.values():
        # A live request that died with its farm has to be cancelled before its successor is let in.
        client.refuse(request_id, limits.cancelled(request_id))
        return
    client.start(FAMILY, request_id, _answer(client, query, _seconds(client, query)))


def _seconds(client: Client, query: BarsQuery) -> float:
    """How long the answer will take."""
    gateway = client.gateway
    seconds = gateway.latency.of_history(query.size_s, query.length.seconds)
    crawls = 0 < gateway.weather.hidden_open <= open_requests(client)
    return seconds * gateway.weather.hidden_factor if crawls else seconds


def _refusal(client: Client, request: codec.Request, query: BarsQuery) -> Violation | None:
    """What the historical service refuses at once."""
    weather = client.gateway.weather
    contract = query.contract
    if weather.history_errors:
        words = HISTORY_ERRORS[weather.history_errors.pop(0)]
        return limits.service_error(
            words.format(
                symbol=contract.local_symbol,
                sec_type=contract.sec_type,
                exchange=contract.exchange,
                id=query.request_id,
            )
        )
    if weather.competing:
        return limits.service_error(HISTORY_ERRORS["other_address"])
    if not contract.permitted:
        return limits.service_error(f"No market data permissions for {contract.exchange} {contract.sec_type}")
    if open_requests(client) >= limits.OPEN_HISTORY_REQUESTS:
        return limits.TOO_MANY_OPEN
    if query.size_s <= limits.SMALL_BAR_S and not book(client, request, contract, query.what):
        return limits.PACING
    return None


def open_requests(client: Client) -> int:
    """Open history requests of all clients, head timestamps that were not cancelled among them."""
    return sum(each.count(FAMILY) + len(each.open_heads) for each in client.gateway.clients.values())


def book(client: Client, request: codec.Request, contract: Contract, what: str) -> bool:
    """Counts a request that IB paces; False for a violation."""
    whole = "|".join(
        str(value) for name, value in request.values.items() if name not in ("reqId", "formatDate", "options")
    )
    series = f"{contract.con_id}|{contract.exchange}|{what}"
    weight = 2 if what == "BID_ASK" else 1
    return client.gateway.pacing.ask(client.gateway.clock.now_s(), series, f"{request.kind}|{whole}", weight)


def cancel_historical_data(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    dead = client.dead_live.pop(request_id, None) is not None
    if client.stop(FAMILY, request_id) or client.stop(LIVE, request_id) or dead:
        client.refuse(request_id, limits.cancelled(request_id))
    else:
        client.error(request_id, 366, limits.UNKNOWN_HISTORY.format(request_id))


# ---- answering -------------------------------------------------------------------------------------------------------
async def _answer(client: Client, query: BarsQuery, seconds: float) -> None:
    gateway = client.gateway
    contract = query.contract
    await gateway.clock.sleep(seconds)
    await gateway.weather.until_farm_ok("hmds", contract.sec_type, contract.currency)
    now_s = gateway.clock.now_s()
    end_s = math.ceil(now_s) if query.end_s is None else min(query.end_s, math.ceil(now_s))
    if query.what == "SCHEDULE":
        _send_schedule(client, query, end_s)
        return
    start_s, end_s = window(client, query, end_s)
    if query.size_s <= limits.SMALL_BAR_S:
        start_s = max(start_s, limits.small_bars_from_s(now_s))
    parts, count = await _encode(client, query, start_s, end_s, now_s)
    if sum(map(len, parts)) > limits.LONGEST_ANSWER_BYTES:
        client.close()  # as the real gateway does when asked for two years of minutes
        return
    if count == 0:
        client.refuse(query.request_id, limits.no_data(contract.local_symbol, contract.exchange, query.what))
        return
    dates = [edge_text(client, contract, at_s) for at_s in (start_s, end_s)]
    head = codec.payload([17, query.request_id, *dates, count])
    body = b"".join([head, *parts])
    data = len(body).to_bytes(4, "big") + body
    if gateway.weather.take("cut"):
        client.cut(data)
        return
    client.send_bytes(data)
    if gateway.weather.take("duplicate"):
        client.send_bytes(data)
    await client.drain()
    if query.live:
        client.start(LIVE, query.request_id, _keep_up_to_date(client, query, start_s))


async def _keep_up_to_date(client: Client, query: BarsQuery, since_s: int) -> None:
    """Message 90 for the forming bar, and for its last state when the next one begins. Dies with its farm (10182)."""
    gateway = client.gateway
    contract = query.contract
    told: Bar | None = None
    async for at_s in beats(client, _LIVE_S):
        if not gateway.weather.farm_ok("hmds", contract.sec_type, contract.currency):
            client.dead_live[query.request_id] = query.series
            client.error(query.request_id, *LIVE_LOST)
            return
        found = gateway.market.bars(
            contract,
            limits.SHORT_NAMES[query.size],
            query.what,
            rth=query.rth,
            start_s=since_s if told is None else _period_start(query, told.t),
            end_s=int(at_s) + 1,
            now_s=at_s,
        )
        for bar in found[-1:] if told is None else found:
            if bar != told:
                date, low, high, close = bar_date(client, query, bar.t), bar.low, bar.high, bar.close
                volume = bar_volume(client, contract, bar.volume)
                client.send(90, query.request_id, bar.count, date, bar.open, close, high, low, bar.wap, volume)
                told = bar


def _period_start(query: BarsQuery, label_s: int) -> int:
    """From where the bar of this label is found: bars of a day and more begin up to a month and a weekend earlier."""
    return label_s - 40 * _DAY_S if query.by_date else label_s


async def _encode(client: Client, query: BarsQuery, start_s: int, end_s: int, now_s: float) -> tuple[list[bytes], int]:
    """The bars as bytes, slice by slice so that other clients are served between."""
    gateway = client.gateway
    left_out = _left_out(client, query, start_s, end_s) if gateway.weather.take("short") else []
    parts: list[bytes] = []
    count = size = 0
    for low_s, high_s in _slices(start_s, end_s, query.size_s):
        bars = gateway.market.bars(
            query.contract,
            limits.SHORT_NAMES[query.size],
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
            if size > limits.LONGEST_ANSWER_BYTES:
                break
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    return parts, count


def _slices(start_s: int, end_s: int, size_s: int) -> Iterator[tuple[int, int]]:
    step_s = _SLICE_BARS * min(size_s, _DAY_S)
    for low_s in range(start_s, end_s, step_s):
        yield low_s, min(low_s + step_s, end_s)


def _left_out(client: Client, query: BarsQuery, start_s: int, end_s: int) -> list[Session]:
    """Every other session, for weather "short"."""
    return client.gateway.market.sessions(query.contract, start_s, end_s, rth=query.rth)[::2]


def bar_fields(client: Client, query: BarsQuery, bar: Bar) -> tuple[codec.Value, ...]:
    """date, open, high, low, close, volume, wap, count."""
    return (
        bar_date(client, query, bar.t),
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar_volume(client, query.contract, bar.volume),
        bar.wap,
        bar.count,
    )


def bar_volume(client: Client, contract: Contract, volume: float) -> float:
    """US stocks in lots of 100 for old clients or by setting; whole numbers for clients that know no fractions."""
    if volume <= 0:
        return volume
    lots = client.version < 175 or client.gateway.settings.volume == "lots"
    if lots and contract.sec_type == "STK" and contract.currency == "USD":
        volume = volume // 100
    return int(volume) if client.version < 163 else volume


def bar_date(client: Client, query: BarsQuery, at_s: int) -> str:
    if query.by_date:
        return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y%m%d")
    if query.format_date == 2:
        return str(at_s)
    if query.format_date == 3:
        name = query.contract.time_zone
        return text_date(at_s, name).strftime("%m%d %H:%M:%S ") + name
    return edge_text(client, query.contract, at_s)


def edge_text(client: Client, contract: Contract, at_s: int) -> str:
    """A time as text: zone-less for old clients, from 174 on with the zone that the settings name."""
    settings = client.gateway.settings
    if client.version < 174:
        return text_date(at_s, settings.login_zone).strftime("%Y%m%d  %H:%M:%S")
    if settings.date_zone == "utc":
        return text_date(at_s, "UTC").strftime("%Y%m%d-%H:%M:%S")
    name = contract.time_zone if settings.date_zone == "instrument" else settings.login_zone
    return text_date(at_s, name).strftime("%Y%m%d %H:%M:%S ") + name


def _send_schedule(client: Client, query: BarsQuery, end_s: int) -> None:
    contract = query.contract
    start_s = _dates_start(client, query, end_s)
    sessions = client.gateway.market.sessions(contract, start_s, end_s, rth=query.rth)
    if not sessions:
        client.refuse(query.request_id, limits.no_data(contract.local_symbol, contract.exchange, query.what))
        return

    def local(at_s: int) -> str:
        return text_date(at_s, contract.time_zone).strftime("%Y%m%d-%H:%M:%S")

    fields: list[codec.Value] = [106, query.request_id, local(sessions[0].open_s), local(sessions[-1].close_s)]
    fields += [contract.time_zone, len(sessions)]
    for session in sessions:
        fields += [local(session.open_s), local(session.close_s), session.trade_date.strftime("%Y%m%d")]
    client.send(*fields)


# ---- head timestamps -------------------------------------------------------------------------------------------------
def req_head_timestamp(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    if request_id in client.open_heads:
        client.refuse(request_id, limits.DUPLICATE_HISTORY)
        return
    contract = one_contract(client, request)
    if isinstance(contract, Violation):
        client.refuse(request_id, contract)
        return
    what = request.text("whatToShow").upper()
    problem = kind_problem(contract, what)
    if problem is None and open_requests(client) >= limits.OPEN_HISTORY_REQUESTS:
        problem = limits.TOO_MANY_OPEN
    if problem is None and not book(client, request, contract, what):
        problem = limits.PACING
    if problem is not None:
        client.refuse(request_id, problem)
        return
    client.open_heads.add(request_id)
    client.start(HEADS, request_id, _head(client, request, contract, what))


async def _head(client: Client, request: codec.Request, contract: Contract, what: str) -> None:
    gateway = client.gateway
    await gateway.wait(request.kind)
    await gateway.weather.until_farm_ok("hmds", contract.sec_type, contract.currency)
    at_s = gateway.market.head_s(contract, what, rth=request.flag("useRTH"))
    if at_s is None:
        client.open_heads.discard(request.request_id)
        client.refuse(request.request_id, limits.no_data(contract.local_symbol, contract.exchange, what))
        return
    text = str(at_s) if request.integer("formatDate") == 2 else text_date(at_s, "UTC").strftime("%Y%m%d-%H:%M:%S")
    client.send(88, request.request_id, text)


def cancel_head_timestamp(client: Client, request: codec.Request) -> None:
    """Frees the slot that the request holds even after its answer."""
    client.stop(HEADS, request.request_id)
    client.open_heads.discard(request.request_id)


# ---- ticks and histograms --------------------------------------------------------------------------------------------
_MOST_TICKS = 1000


def req_historical_ticks(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    asked = _ticks_problem(client, request)
    if isinstance(asked, Violation):
        client.refuse(request_id, asked)
    else:
        client.start(TICKS, request_id, _ticks(client, request, *asked))


def _ticks_problem(client: Client, request: codec.Request) -> tuple[Contract, Moment] | Violation:
    """The contract and the one time that was given, or what is wrong."""
    if client.has(TICKS, request.request_id):
        return limits.DUPLICATE_HISTORY
    contract = one_contract(client, request)
    if isinstance(contract, Violation):
        return contract
    start, end = request.text("startDateTime"), request.text("endDateTime")
    what = request.text("whatToShow").upper()
    if bool(start) == bool(end):
        return limits.invalid("Historical ticks need exactly one of Start Date/Time and End Date/Time.")
    if not 1 <= request.integer("numberOfTicks") <= _MOST_TICKS:
        return limits.invalid(f"Number of ticks must be from 1 to {_MOST_TICKS}.")
    if what not in ("TRADES", "BID_ASK", "MIDPOINT"):
        return limits.invalid("What to show field is missing or incorrect. Legal ones are: BID_ASK, MIDPOINT, TRADES")
    name = "Start Date/Time" if start else "End Date/Time"
    at = limits.moment(
        start or end, field_name=name, login_zone=client.gateway.settings.login_zone, now_s=client.gateway.clock.now_s()
    )
    if isinstance(at, Violation):
        return at
    if at.zone_missing:
        client.refuse(request.request_id, limits.NO_ZONE)
    if not contract.permitted:
        permission = f"No market data permissions for {contract.exchange} {contract.sec_type}"
        return Violation(10187, f"Failed to request historical ticks:{permission}")
    if not offers(contract, what):
        return Violation(10187, f"Failed to request historical ticks:{what} is not offered for {contract.sec_type}")
    return (contract, at) if book(client, request, contract, what) else limits.PACING


async def _ticks(client: Client, request: codec.Request, contract: Contract, at: Moment) -> None:
    """Ticks of one session: from the start on, or up to the end."""
    gateway = client.gateway
    await gateway.wait(request.kind)
    await gateway.weather.until_farm_ok("hmds", contract.sec_type, contract.currency)
    what, rth, now_s = request.text("whatToShow").upper(), request.flag("useRTH"), gateway.clock.now_s()
    from_end = not request.text("startDateTime")
    ends = (at.at_s - _LONGEST_PAUSE_S, at.at_s) if from_end else (at.at_s, at.at_s + _LONGEST_PAUSE_S)
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


def req_histogram(client: Client, request: codec.Request) -> None:
    request_id = request.request_id
    contract = one_contract(client, request)
    match = re.fullmatch(r"([0-9]{1,3}) (day|week|month)s?", request.text("period"))
    if isinstance(contract, Violation):
        client.refuse(request_id, contract)
    elif match is None:
        client.refuse(request_id, limits.invalid("Histogram period is invalid; it is <number> days, weeks or months"))
    elif not offers(contract, "TRADES"):
        client.refuse(request_id, limits.no_data(contract.local_symbol, contract.exchange, "TRADES"))
    else:
        days = int(match[1]) * {"day": 1, "week": 7, "month": 30}[match[2]]
        client.start(HISTOGRAM, request_id, _histogram(client, request, contract, min(days, 366)))


async def _histogram(client: Client, request: codec.Request, contract: Contract, days: int) -> None:
    """Volume by price, from bars of half an hour."""
    gateway = client.gateway
    await gateway.wait(request.kind)
    now_s = gateway.clock.now_s()
    what = "TRADES" if "TRADES" in contract.kinds else "AGGTRADES"
    start_s = int(now_s) - days * _DAY_S
    rth = request.flag("useRTH")
    bars = gateway.market.bars(contract, "30m", what, rth=rth, start_s=start_s, end_s=int(now_s), now_s=now_s)
    sizes: dict[float, float] = {}
    for bar in bars:
        sizes[bar.close] = sizes.get(bar.close, 0) + bar.volume
    pairs = [value for pair in sorted(sizes.items()) for value in pair]
    client.send(89, request.request_id, len(sizes), *pairs)


def cancel_histogram(client: Client, request: codec.Request) -> None:
    client.stop(HISTOGRAM, request.request_id)


HANDLERS: dict[str, Callable[[Client, codec.Request], None]] = {
    "reqHistoricalData": req_historical_data,
    "cancelHistoricalData": cancel_historical_data,
    "reqHeadTimestamp": req_head_timestamp,
    "cancelHeadTimestamp": cancel_head_timestamp,
    "reqHistoricalTicks": req_historical_ticks,
    "reqHistogramData": req_histogram,
    "cancelHistogramData": cancel_histogram,
}
