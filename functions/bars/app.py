"""Market data: bars, their coverage and history, instruments, sessions."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import Headers

from nautilus.auth.principal import Principal
from nautilus.clock import NS_PER_DAY, rfc3339, time_in_address
from nautilus.coverage.availability import Calendars, Subject, Window
from nautilus.db.bars import read
from nautilus.db.market import calendars, instruments
from nautilus.errors import InvalidInput, NotFound
from nautilus.http.dependencies import CallerDep, ServicesDep, add_header
from nautilus.http.json_values import MAX_NUMBER
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import CallerLimits
from nautilus.lookup import resolve
from nautilus.lookup.identity import Identity
from nautilus.market.calendar import Session
from nautilus.market.instrument import Instrument, price_kind, session_kind
from nautilus.market.symbols import InstrumentName, Selector, name_of, renamed_venue, select
from nautilus.market.timeframes import Timeframe, timeframe
from nautilus.reading import coverage_report
from nautilus.reading import schemas as shapes
from nautilus.reading.formats import FIELDS, Format, choose, fields_of
from nautilus.reading.query import DEFAULT_LIMIT, MAX_LIMIT, MAX_SYMBOLS, MAX_WAIT_S, BarsQuery
from nautilus.reading.service import MarketData

router = APIRouter(tags=["market data"], responses=PROBLEMS, route_class=StrictRoute)
_ROOT = "/api/v1/market-data"
_BARS = f"{_ROOT}/historical/bars"
_TS = "RFC 3339 with offset, or epoch nanoseconds"


class _Data:
    """What the routes share: cache, limits and the reads of this process."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self.cache = Cache(settings.redis_url.get_secret_value())
        self.limits = CallerLimits(self.cache, settings.reads_per_minute)
        self.reads = MarketData(
            services.db,
            services.queue,
            self.cache,
            self.limits,
            replica=services.replica,
            search_wait_s=settings.search_wait_s,
            plan_limit=settings.read_plan_limit,
            read_wait_s=settings.read_wait_s,
        )


def _data(services: Services) -> _Data:
    return services.kept(_Data, lambda: _Data(services))


# ---- who asks, and for what ------------------------------------------------------------------------------------------


# Dependencies are coroutines where they may be: FastAPI gives every other one a thread, and each hop costs 0.2 ms.
async def _admitted(request: Request, services: ServicesDep, caller: CallerDep) -> Principal:
    """The caller, counted."""
    data = _data(services)
    if data.cache.there:
        await data.cache.threads.run(_count, request, data, caller)
    else:
        _count(request, data, caller)
    return caller


def _count(request: Request, data: _Data, caller: Principal) -> None:
    """Count a request: RateLimited when the minute's share is used up. Every answer says what is left."""
    rate = data.limits.take(caller.id)
    if rate is not None:
        for name, value in rate.headers.items():
            add_header(request, name, value)
        data.limits.check(rate)


Caller = Annotated[Principal, Depends(_admitted)]


class Named(NamedTuple):
    """Which series of which instrument."""

    symbol: str | None
    instrument_id: str | None
    asset_class: str | None
    exchange: str | None
    currency: str | None
    timeframe: Timeframe
    price: str | None
    session: str | None
    con_id: int | None = None

    def selector(self, symbol: str | None = None) -> Selector:
        """The lookup of the named instrument, or of another symbol with the same hints."""
        return select(
            symbol=symbol or self.symbol,
            instrument_id=self.instrument_id,
            asset_class=self.asset_class,
            exchange=self.exchange,
            currency=self.currency,
            con_id=self.con_id,
        )

    @property
    def name(self) -> InstrumentName | None:
        """The instrument_id, where that names the instrument."""
        if self.instrument_id is None:
            return None
        return name_of(self.instrument_id, self.asset_class, self.currency)

    async def subject(self, services: Services, caller: Principal) -> tuple[Subject, Identity]:
        """The series meant, its instrument looked up at IB when nobody knows it, and how old that knowledge is."""
        try:
            found = await _data(services).reads.instrument_lookup.identity(self.selector(), caller, self.name)
        except NotFound as unknown:
            raise _with_venue(unknown, self.exchange, self.instrument_id) from None
        one, kind = found.instrument, found.instrument.asset_class
        return Subject(one, self.timeframe, price_kind(kind, self.price), session_kind(kind, self.session)), found


def _with_venue(unknown: NotFound, exchange: str | None, instrument_id: str | None) -> NotFound:
    """The error, with a suggestion more when the venue was given by a name that IB retired.

    Without words of IB the error is about the venue itself, and its suggestions are the contract's own names.
    """
    venue = renamed_venue(exchange, instrument_id)
    if venue is not None and unknown.upstream is not None:
        old, new = venue
        renamed = {"exchange": new, "why": f"{old} is called {new} now"}
        if instrument_id:
            renamed["instrument_id"] = f"{instrument_id.upper().rpartition('.')[0]}.{new}"
        unknown.extra["suggestions"] = [*unknown.extra.get("suggestions", ()), renamed]
    return unknown


_QUERY_MARKS = "%&=+,;:/?@!$'()*-._~"
"""What stands for itself in a query (RFC 3986, 3.4)."""


class SeriesParameters(BaseModel):
    """The parameters that name an instrument and one of its series."""

    symbol: str | None = Field(None, description="such as AAPL, EURUSD or EUR/USD")
    instrument_id: str | None = Field(None, description="such as AAPL.NASDAQ, instead of symbol")
    asset_class: str | None = Field(None, description="STK, CASH, FUT, IND, ...; default from the symbol")
    exchange: str | None = Field(None, description="a hint between candidates")
    currency: str | None = Field(None, description="STK: default USD")
    timeframe: str = Field("1h", description="1m, 5m, 1h, 1d, ...")
    price: str | None = Field(None, description="TRADES, MIDPOINT, BID, ASK, BID_ASK, AGGTRADES")
    session: str | None = Field(None, description="rth or all")
    con_id: int | None = Field(None, ge=1, le=MAX_NUMBER, description="IB's number of the contract, instead of symbol")

    def named(self) -> Named:
        return Named(
            symbol=self.symbol,
            instrument_id=self.instrument_id,
            asset_class=self.asset_class,
            exchange=self.exchange,
            currency=self.currency,
            timeframe=timeframe(self.timeframe),
            price=self.price,
            session=self.session,
            con_id=self.con_id,
        )


class WindowParameters(BaseModel):
    """The parameters that say from when to when, and how many."""

    start: str | None = Field(None, description=f"{_TS}; included")
    end: str | None = Field(None, description=f"{_TS}; excluded")
    limit: int | None = Field(None, ge=1, le=MAX_LIMIT, description=f"default {DEFAULT_LIMIT}")

    def window(self) -> Window:
        window = Window(_time("start", self.start), _time("end", self.end), self.limit)
        if window.start is not None and window.end is not None and window.start >= window.end:
            raise InvalidInput.field("start", "must be before end")
        return window


async def _named(given: Annotated[SeriesParameters, Query()]) -> Named:
    return given.named()


async def _window(given: Annotated[WindowParameters, Query()]) -> Window:
    return given.window()


NamedDep = Annotated[Named, Depends(_named)]
WindowDep = Annotated[Window, Depends(_window)]


def _time(field: str, text: str | None) -> int | None:
    try:
        value = time_in_address(text)
    except ValueError as wrong:
        raise InvalidInput.field(field, str(wrong), ["2024-01-05T14:30:00Z", "1704465000000000000"]) from None
    if value is not None and not 0 <= value < 2**63:
        raise InvalidInput.field(field, "lies before 1970 or after 2262")
    return value


# ---- bars ------------------------------------------------------------------------------------------------------------


class BarsParameters(WindowParameters, SeriesParameters):
    """The parameters of the busiest route."""

    symbols: str | None = Field(
        None, description=f"instead of symbol: up to {MAX_SYMBOLS}, comma-separated; symbol first, then time"
    )
    sort: Literal["asc", "desc"] = Field("asc", description="by time")
    page_token: str | None = Field(None, description="next_page_token of the answer before")
    fields: str | None = Field(None, description=f"comma-separated, of {', '.join(FIELDS)}; or changes: +vwap,-volume")
    format: str | None = Field(None, description="json, csv, ndjson, columns; wins over Accept")
    wait: float | None = Field(None, ge=0, le=MAX_WAIT_S, description="seconds to wait for missing bars")

    def query(self, headers: Headers) -> BarsQuery:
        chosen = choose(self.format, headers.get("accept"))
        named = self.named()
        window = self.window()
        names, selectors = _names(named, self.symbols)
        return BarsQuery(
            selectors,
            names,
            self.symbols is not None,
            named.timeframe,
            named.price,
            named.session,
            window,
            self.sort == "desc",
            chosen,
            fields_of(self.fields, chosen),
            self.page_token or None,
            _takes_gzip(headers.get("accept-encoding", "")),
            headers.get("if-none-match", ""),
            _wait(headers, self.wait),
            named.name,
        )


@router.get(
    _BARS,
    summary="Bars of one or several instruments, with what is missing and why",
    response_class=Response,
    responses={
        200: {
            "description": "bars; with several symbols below `results`",
            "content": {"application/json": {"schema": shapes.BARS}, **{f.media_type: {} for f in list(Format)[1:]}},
        },
        304: {"description": "unchanged since the answer whose ETag is in If-None-Match"},
    },
)
async def bars(
    request: Request, services: ServicesDep, caller: Caller, given: Annotated[BarsParameters, Query()]
) -> Response:
    query = given.query(request.headers)
    try:
        reply = await _data(services).reads.read(query, caller)
    except NotFound as unknown:
        raise _with_venue(unknown, given.exchange, given.instrument_id) from None
    headers = dict(reply.headers)
    token = headers.get("X-Next-Page-Token")
    if token is not None:
        headers["Link"] = f'<{_next_page(request, token)}>; rel="next"'
    return Response(reply.content, reply.status, headers)


def _next_page(request: Request, token: str) -> str:
    """The address of this request with another page token, below the caller's own host: a Host header may say anything."""
    base = request.scope.get("root_path", "").rstrip("/") + _BARS
    query = request.scope["query_string"].decode("latin-1")
    kept = [part for part in query.split("&") if part and not part.startswith("page_token=")]
    return f"{base}?{quote('&'.join([*kept, f'page_token={token}']), safe=_QUERY_MARKS)}"


def _names(named: Named, symbols: str | None) -> tuple[tuple[str | None, ...], tuple[Selector, ...]]:
    ways = ["symbol", "symbols", "instrument_id", "con_id"]
    one_is_named = bool(named.symbol or named.instrument_id or named.con_id)
    if symbols is None and not one_is_named:
        raise InvalidInput.field("symbol", f"give one of {', '.join(ways)}", ways)
    if symbols is None:
        return (named.symbol,), (named.selector(),)
    if one_is_named:
        raise InvalidInput.field("symbols", f"give only one of {', '.join(ways)}", ways)
    names = list(dict.fromkeys(part.strip() for part in symbols.split(",") if part.strip()))
    if not 1 <= len(names) <= MAX_SYMBOLS:
        raise InvalidInput.field("symbols", f"must be 1 to {MAX_SYMBOLS} symbols, comma-separated")
    return tuple(names), tuple(named.selector(name) for name in names)


def _wait(headers: Headers, given: float | None) -> float | None:
    """Seconds to wait: the parameter, else `Prefer: wait=N` (RFC 7240)."""
    if given is not None:
        return given
    found = re.search(r"(?a)\bwait=(\d+(?:\.\d+)?)", headers.get("prefer", ""))
    return min(float(found[1]), MAX_WAIT_S) if found else None


def _takes_gzip(header: str) -> bool:
    """True when Accept-Encoding names gzip and does not refuse it."""
    for part in header.split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


# ---- proofs ----------------------------------------------------------------------------------------------------------


@router.get(
    f"{_ROOT}/historical/coverage", summary="What of a window is there, stretch by stretch, and why not the rest"
)
async def coverage(
    services: ServicesDep, caller: Caller, named: NamedDep, window: WindowDep, response: Response
) -> shapes.Coverage:
    response.headers["Cache-Control"] = "no-store"
    subject, known = await named.subject(services, caller)
    answer = await _read(services, coverage_report.coverage, subject, window)
    return shapes.Coverage.model_validate({**answer, **known.as_dict()})


@router.get(f"{_ROOT}/historical/explain", summary="How one bar came to be, or why there is none")
async def explain(
    services: ServicesDep,
    caller: Caller,
    named: NamedDep,
    response: Response,
    ts: Annotated[str, Query(description=f"a moment in the bar: {_TS}")],
) -> shapes.Explanation:
    response.headers["Cache-Control"] = "no-store"
    moment = _time("ts", ts)
    assert moment is not None  # noqa: S101  for the type checker: ts is required
    subject, known = await named.subject(services, caller)
    answer = await _read(services, coverage_report.explain, subject, moment)
    return shapes.Explanation.model_validate({**answer, **known.as_dict()})


async def _read(services: Services, prove: Any, subject: Subject, what: Window | int) -> Mapping[str, Any]:
    def assess() -> Mapping[str, Any]:
        with services.db.transaction(snapshot=True) as cursor:
            found: Mapping[str, Any] = prove(cursor, read.snapshot_context(cursor), Calendars(), subject, what)
            return found

    return await _data(services).reads.threads.run(assess)


# ---- sessions --------------------------------------------------------------------------------------------------------


@router.get(f"{_ROOT}/calendar", summary="Trading sessions of an instrument, as far as IB told them")
async def calendar(services: ServicesDep, caller: Caller, named: NamedDep, window: WindowDep) -> shapes.CalendarAnswer:
    subject, _ = await named.subject(services, caller)
    return await _data(services).reads.threads.run(_sessions, services, subject, window)


def _sessions(services: Services, subject: Subject, window: Window) -> shapes.CalendarAnswer:
    with services.db.transaction(snapshot=True) as cursor:
        now = read.snapshot_context(cursor).market_ns
        end = window.end if window.end is not None else now + 7 * NS_PER_DAY
        start = window.start if window.start is not None else end - 37 * NS_PER_DAY
        name = subject.instrument.calendar
        known = calendars.known(cursor, name, subject.session)
        found = calendars.load(cursor, name, subject.session, (start, end)) if known and start < end else None
    rows: list[Session] = found.between(start, end) if found else []
    return shapes.CalendarAnswer(
        instrument_id=subject.instrument.instrument_id,
        session=subject.session,
        time_zone=found.time_zone if found else subject.instrument.time_zone,
        known=shapes.Stretch(start=rfc3339(known[0]), end=rfc3339(known[1])) if known else None,
        sessions=[
            shapes.SessionRow.model_validate(coverage_report.session_row(row))
            for row in rows[: window.limit or MAX_LIMIT]
        ],
    )


# ---- instruments -----------------------------------------------------------------------------------------------------


@router.get(f"{_ROOT}/instruments", summary="Instruments that are known here")
def listing(
    services: ServicesDep,
    caller: Caller,
    asset_class: Annotated[str | None, Query(description="STK, CASH, FUT, ...")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="con_id of the last one of the page before")] = 0,
) -> shapes.Instruments:
    with services.db.transaction(snapshot=True) as cursor:
        rows = resolve.listed(cursor, (asset_class or "").upper(), after, limit)
    answer = [shapes.InstrumentRow.model_validate(row) for row in rows]
    return shapes.Instruments(instruments=answer, next_after=answer[-1].con_id if len(answer) == limit else None)


@router.get(f"{_ROOT}/instruments/search", summary="Instruments by symbol or name, asking IB when needed")
async def search(
    services: ServicesDep,
    caller: Caller,
    q: Annotated[str, Query(min_length=1, max_length=40, description="the beginning of a symbol, or part of a name")],
    asset_class: Annotated[str | None, Query(description="STK, CASH, FUT, ...; default: all")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> shapes.Instruments:
    rows = await _data(services).reads.instrument_lookup.search(q, asset_class or "", limit, caller)
    return shapes.Instruments(instruments=[shapes.InstrumentRow.model_validate(row) for row in rows], next_after=None)


@router.get(f"{_ROOT}/instruments/{{instrument_id:path}}", summary="One instrument")
async def instrument(
    services: ServicesDep,
    caller: Caller,
    instrument_id: Annotated[str, Path(description="such as AAPL.NASDAQ or EUR/USD.IDEALPRO")],
) -> shapes.InstrumentRow:
    wanted, name = select(instrument_id=instrument_id), name_of(instrument_id)
    try:
        found = await _data(services).reads.instrument_lookup.identity(wanted, caller, name)
    except NotFound as unknown:
        raise _with_venue(unknown, None, instrument_id) from None
    row = await _data(services).reads.threads.run(_with_details, services, found.instrument)
    return shapes.InstrumentRow.model_validate({**row, **_age(found)})


def _age(found: Identity) -> Mapping[str, Any]:
    """When IB was last asked about the words, and whether they changed hands, beside an instrument's own columns."""
    identity = found.as_dict()
    known = identity.pop("instrument")
    return {**identity, **{name: value for name, value in known.items() if name != "con_id"}}


def _with_details(services: Services, found: Instrument) -> Mapping[str, Any]:
    with services.db.transaction(snapshot=True) as cursor:
        rows = instruments.listed(cursor, "", found.con_id - 1, 1)
    if not rows:
        raise NotFound(f"{found.instrument_id} is not known any more", code="unknown-instrument")
    return resolve.row_of(*rows[0])


@router.get("/api/v1/ib/instruments/search/{query:path}", summary="The same search, in the words of the web front end")
async def front_end_search(
    services: ServicesDep,
    caller: Caller,
    query: Annotated[str, Path(min_length=1, max_length=40)],
    sec_type: Annotated[str | None, Query(description="STK, OPT, FUT, CASH, IND or BOND; default STK")] = None,
    max_results: Annotated[int, Query(ge=1, le=1_000)] = 100,
    exchange: Annotated[str | None, Query(description="only instruments of this venue, when there are any")] = None,
    currency: Annotated[str | None, Query(description="only instruments in this currency")] = None,
) -> shapes.FrontEndSearch:
    found = await _data(services).reads.instrument_lookup.search(query, sec_type or "STK", max_results, caller)
    rows = [row for row in found if not currency or row["currency"] == currency.upper()]
    if exchange:
        venue = exchange.upper()
        rows = [row for row in rows if venue in (row["exchange"], row["primary_exchange"])] or rows
    return shapes.FrontEndSearch.of(query, rows)


@router.get("/api/v1/ib/forex-pairs", summary="Currency pairs")
def forex_pairs(services: ServicesDep, caller: Caller) -> shapes.ForexPairs:
    with services.db.transaction(snapshot=True) as cursor:
        known = [row for row, _ in instruments.listed(cursor, "CASH", 0, 1_000)]
    return shapes.ForexPairs(forex_pairs=resolve.pairs(known))


handler = lambda_handler("bars", router)
