"""A request for bars or a schedule: its checks, and the range of time that it covers."""

import datetime as dt
from dataclasses import dataclass

from ib_gateway_sim.history.families import DAY_S, LONGEST_PAUSE_S, kind_problem
from ib_gateway_sim.market.contracts import Contract
from ib_gateway_sim.reference.lookup import one_contract
from ib_gateway_sim.rules.bar_sizes import BAR_SIZES, Duration, bar_size, duration, steps
from ib_gateway_sim.rules.dates import NO_ZONE, moment, months_before
from ib_gateway_sim.rules.errors import ADJUSTED_END, CONTINUOUS_END, SCHEDULE_SIZE, Violation, invalid
from ib_gateway_sim.rules.kinds import LIVE_KINDS
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire.request import Request


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
        return BAR_SIZES[self.size]

    @property
    def series(self) -> str:
        return f"{self.contract.con_id}|{self.contract.exchange}|{self.size}|{self.what}|{self.rth}"

    @property
    def by_date(self) -> bool:
        return self.size_s >= DAY_S


def read_query(client: Client, request: Request) -> BarsQuery | Violation:
    """Checks a request as the gateway does; warning 2174 is sent on the way."""
    settings = client.gateway.settings
    size = bar_size(request.text("barSize"))
    length = duration(request.text("duration"))
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
    problem = problem or steps(size, length, settings.steps)
    end_text = request.text("endDateTime")
    problem = problem or (_end_problem(contract, what, live) if end_text else None)
    if problem is not None:
        return problem
    end_s = None
    if end_text:
        now_s = client.gateway.clock.now_s()
        end = moment(end_text, field_name="End Date/Time", login_zone=settings.login_zone, now_s=now_s)
        if isinstance(end, Violation):
            return end
        if end.zone_missing:
            client.refuse(request.request_id, NO_ZONE)
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
        return invalid("What to show field is missing or incorrect.")
    if what == "SCHEDULE" and size != "1 day":
        return SCHEDULE_SIZE
    if live and (what not in LIVE_KINDS or BAR_SIZES[size] < 5):
        return invalid("Live historical data updates need TRADES, MIDPOINT, BID or ASK and bars of 5 secs or more.")
    return kind_problem(contract, what)


def _end_problem(contract: Contract, what: str, live: bool) -> Violation | None:
    if contract.sec_type == "CONTFUT":
        return CONTINUOUS_END
    if what == "ADJUSTED_LAST":
        return ADJUSTED_END
    return invalid("End Date/Time must be empty for live historical data updates.") if live else None


def window(client: Client, query: BarsQuery, end_s: int) -> tuple[int, int]:
    """[start, end) of the request in seconds.

    "n D" counts trade dates back from the one that has begun last, so "1 D" in regular hours before today's open is
    empty, as at IB. Seconds, weeks, months and years are taken from the end by the calendar, and the bar in which they
    begin is whole. Bars of a day and more count trade dates throughout.
    """
    if query.by_date or query.what == "SCHEDULE" or query.length.unit == "D":
        return first_open_s(client, query, end_s), end_s
    if query.length.unit in ("S", "W"):
        start_s = end_s - query.length.seconds
    else:
        start_s = int(_calendar_back(dt.datetime.fromtimestamp(end_s, dt.UTC), query.length).timestamp())
    return start_s - start_s % min(query.size_s, 1800), end_s


def _calendar_back(at: dt.datetime, length: Duration) -> dt.datetime:
    months = length.count * (12 if length.unit == "Y" else 1)
    return dt.datetime.combine(months_before(at.date(), months), at.time(), at.tzinfo)


def first_open_s(client: Client, query: BarsQuery, end_s: int) -> int:
    """Open of the first session of the first trade date that the request covers."""
    market = client.gateway.market
    latest = market.sessions(query.contract, end_s - LONGEST_PAUSE_S, end_s, rth=False)
    if not latest:
        return end_s
    last = latest[-1].trade_date
    if query.length.unit in ("D", "S"):
        days = query.length.count if query.length.unit == "D" else -(-query.length.count // DAY_S)
        # At least four trade dates in any seven days but around holidays, which the second pause covers.
        back_s = days * 7 // 4 * DAY_S + 2 * LONGEST_PAUSE_S
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
    around = market.sessions(query.contract, midnight_s - 3 * DAY_S, midnight_s + LONGEST_PAUSE_S, rth=False)
    return next((session.open_s for session in around if session.trade_date >= first), end_s)


def _whole_period(day: dt.date, size: str) -> dt.date:
    if size == "1W":
        return day - dt.timedelta(days=day.weekday())
    return day.replace(day=1) if size == "1M" else day
