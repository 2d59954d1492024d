"""Market data: bars, their coverage and history, instruments, sessions."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from nautilus.auth.principal import Principal
from nautilus.coverage.availability import Calendars, Subject, Window
from nautilus.db.bars import read
from nautilus.db.market import instruments
from nautilus.db.replica import Replica
from nautilus.errors import NotFound
from nautilus.http.admission import admitted
from nautilus.http.dependencies import ServicesDep
from nautilus.http.json_values import MAX_NUMBER
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import CallerLimits
from nautilus.lookup.search import listed, pairs, row_of
from nautilus.lookup.identity import Identity
from nautilus.lookup.suggestions import with_renamed_venue
from nautilus.market.instrument import Instrument, price_kind, session_kind
from nautilus.market.symbols import name_of, select
from nautilus.market.timeframes import timeframe as timeframe_of
from nautilus.reading import bar_history, calendar_report, coverage_map, coverage_report, schemas, versions
from nautilus.reading.formats import Format
from nautilus.reading.headers import matches
from nautilus.reading.parameters import (
    TIME,
    BarsParameters,
    MapParameters,
    NamedSeries,
    SeriesParameters,
    WindowParameters,
    time_of,
)
from nautilus.reading.query import DEFAULT_LIMIT
from nautilus.reading.service import MarketData

router = APIRouter(tags=["market data"], responses=PROBLEMS, route_class=StrictRoute)
_ROOT = "/api/v1/market-data"
_BARS = f"{_ROOT}/historical/bars"
_QUERY_MARKS = "%&=+,;:/?@!$'()*-._~"
"""What stands for itself in a query (RFC 3986, 3.4)."""


class ReadServices:
    """What the routes share: cache, limits and the reads of this process. replica: another one than that of `services`."""

    def __init__(self, services: Services, *, replica: Replica | None = None) -> None:
        settings = services.settings
        self.cache = Cache(settings.redis_url.get_secret_value())
        self.limits = CallerLimits(self.cache, settings.reads_per_minute)
        self.reads = MarketData(
            services.db,
            services.queue,
            self.cache,
            self.limits,
            replica=replica or Replica(services.replica),
            search_wait_s=settings.search_wait_s,
            plan_limit=settings.read_plan_limit,
            read_wait_s=settings.read_wait_s,
        )


def _data(services: Services) -> ReadServices:
    return services.kept(ReadServices, lambda: ReadServices(services))


# ---- who asks, and for what ------------------------------------------------------------------------------------------


Caller = Annotated[Principal, admitted(_data)]


# Dependencies are coroutines where they may be: FastAPI gives every other one a thread, and each hop costs 0.2 ms.
async def _named(given: Annotated[SeriesParameters, Query()]) -> NamedSeries:
    return given.named()


async def _window(given: Annotated[WindowParameters, Query()]) -> Window:
    return given.window()


SeriesDep = Annotated[NamedSeries, Depends(_named)]
WindowDep = Annotated[Window, Depends(_window)]


async def _subject(services: Services, named: NamedSeries, caller: Principal) -> tuple[Subject, Identity]:
    """The series meant, its instrument looked up at IB when nobody knows it, and how old that knowledge is."""
    try:
        found = await _data(services).reads.instrument_lookup.identity(named.selector(), caller, named.name)
    except NotFound as unknown:
        raise with_renamed_venue(unknown, named.exchange, named.instrument_id) from None
    one, kind = found.instrument, found.instrument.asset_class
    return Subject(one, named.timeframe, price_kind(kind, named.price), session_kind(kind, named.session)), found


# ---- bars ------------------------------------------------------------------------------------------------------------


@router.get(
    _BARS,
    summary="Bars of one or several instruments, with what is missing and why",
    response_class=Response,
    responses={
        200: {
            "description": "bars; with several symbols below `results`",
            "content": {"application/json": {"schema": schemas.BARS}, **{f.media_type: {} for f in list(Format)[1:]}},
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
        raise with_renamed_venue(unknown, given.exchange, given.instrument_id) from None
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


# ---- coverage, and how a bar came to be ------------------------------------------------------------------------------


@router.get(f"{_ROOT}/historical/coverage", summary="What of a window is there, range by range, and why not the rest")
async def coverage(
    services: ServicesDep, caller: Caller, named: SeriesDep, window: WindowDep, response: Response
) -> schemas.Coverage:
    response.headers["Cache-Control"] = "no-store"
    subject, known = await _subject(services, named, caller)
    answer = await _read(services, coverage_report.coverage, subject=subject, window=window)
    return schemas.Coverage.model_validate({**answer, **known.as_dict()})


@router.get(
    f"{_ROOT}/coverage/map",
    summary="The coverage of up to 200 series, day by day",
    response_model=schemas.CoverageMap,
    responses={304: {"description": "unchanged since the answer whose ETag is in If-None-Match"}},
)
async def series_map(
    request: Request, services: ServicesDep, caller: Caller, given: Annotated[MapParameters, Query()]
) -> Response:
    answer = await _read(services, coverage_map.answer, given=given)
    content, tag = coverage_map.tagged(answer)
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}
    if matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


@router.get(f"{_ROOT}/historical/explain", summary="How one bar came to be, or why there is none")
async def explain(
    services: ServicesDep,
    caller: Caller,
    named: SeriesDep,
    response: Response,
    ts: Annotated[str, Query(description=f"a moment in the bar: {TIME}")],
) -> schemas.Explanation:
    response.headers["Cache-Control"] = "no-store"
    moment = time_of("ts", ts)
    assert moment is not None  # noqa: S101  for the type checker: ts is required
    subject, known = await _subject(services, named, caller)
    answer = await _read(services, bar_history.explain, subject=subject, ts=moment)
    return schemas.Explanation.model_validate({**answer, **known.as_dict()})


async def _read(services: Services, tell: Callable[..., Mapping[str, Any]], **about: Any) -> Mapping[str, Any]:
    def assess() -> Mapping[str, Any]:
        with services.db.transaction(snapshot=True) as cursor:
            return tell(cursor, read.snapshot_context(cursor), Calendars(), **about)

    return await _data(services).reads.threads.run(assess)


# ---- versions --------------------------------------------------------------------------------------------------------


@router.get(f"{_ROOT}/series", summary="Which series there are, and how far each has come")
async def series_list(
    services: ServicesDep,
    caller: Caller,
    instrument_id: Annotated[str | None, Query(description="only those of an instrument, such as AAPL.NASDAQ")] = None,
    timeframe: Annotated[str | None, Query(description="only those of a timeframe, such as 1m")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="series_id of the last one of the page before")] = 0,
) -> schemas.SeriesList:
    frame = timeframe_of(timeframe).name if timeframe is not None else None

    def read_list() -> list[schemas.SeriesRow]:
        with services.db.transaction(snapshot=True) as cursor:
            found = versions.series_rows(cursor, instrument_id=instrument_id, timeframe=frame, limit=limit, after=after)
        return [schemas.SeriesRow.model_validate(row) for row in found]

    rows = await _data(services).reads.threads.run(read_list)
    return schemas.SeriesList(series=rows, next_after=rows[-1].series_id if len(rows) == limit else None)


@router.get(f"{_ROOT}/historical/revisions", summary="What bars were before they changed")
async def revisions(
    services: ServicesDep,
    caller: Caller,
    named: SeriesDep,
    window: WindowDep,
    since_version: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="only changes by later versions")] = 0,
) -> schemas.Revisions:
    subject, _ = await _subject(services, named, caller)
    return await _data(services).reads.threads.run(_revisions, services, subject, window, since_version)


def _revisions(services: Services, subject: Subject, window: Window, since_version: int) -> schemas.Revisions:
    with services.db.transaction(snapshot=True) as cursor:
        page = versions.revision_page(
            cursor, subject, window, since_version=since_version, limit=window.limit or DEFAULT_LIMIT
        )
    return schemas.Revisions.model_validate(page)


# ---- sessions --------------------------------------------------------------------------------------------------------


@router.get(f"{_ROOT}/calendar", summary="Trading sessions of an instrument, as far as IB told them")
async def calendar(
    services: ServicesDep, caller: Caller, named: SeriesDep, window: WindowDep
) -> schemas.CalendarAnswer:
    subject, _ = await _subject(services, named, caller)
    return await _data(services).reads.threads.run(_sessions, services, subject, window)


def _sessions(services: Services, subject: Subject, window: Window) -> schemas.CalendarAnswer:
    with services.db.transaction(snapshot=True) as cursor:
        return calendar_report.sessions(cursor, subject, window)


# ---- instruments -----------------------------------------------------------------------------------------------------


@router.get(f"{_ROOT}/instruments", summary="Instruments that are known here")
def listing(
    services: ServicesDep,
    caller: Caller,
    asset_class: Annotated[str | None, Query(description="STK, CASH, FUT, ...")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="con_id of the last one of the page before")] = 0,
) -> schemas.Instruments:
    with services.db.transaction(snapshot=True) as cursor:
        rows = listed(cursor, (asset_class or "").upper(), after, limit)
    answer = [schemas.InstrumentRow.model_validate(row) for row in rows]
    return schemas.Instruments(instruments=answer, next_after=answer[-1].con_id if len(answer) == limit else None)


@router.get(f"{_ROOT}/instruments/search", summary="Instruments by symbol or name, asking IB when needed")
async def search(
    services: ServicesDep,
    caller: Caller,
    q: Annotated[str, Query(min_length=1, max_length=40, description="the beginning of a symbol, or part of a name")],
    asset_class: Annotated[str | None, Query(description="STK, CASH, FUT, ...; default: all")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> schemas.Instruments:
    rows = await _data(services).reads.instrument_search.search(q, asset_class or "", limit, caller)
    return schemas.Instruments(instruments=[schemas.InstrumentRow.model_validate(row) for row in rows], next_after=None)


@router.get(f"{_ROOT}/instruments/{{instrument_id:path}}", summary="One instrument")
async def instrument(
    services: ServicesDep,
    caller: Caller,
    instrument_id: Annotated[str, Path(description="such as AAPL.NASDAQ or EUR/USD.IDEALPRO")],
) -> schemas.InstrumentRow:
    wanted, name = select(instrument_id=instrument_id), name_of(instrument_id)
    try:
        found = await _data(services).reads.instrument_lookup.identity(wanted, caller, name)
    except NotFound as unknown:
        raise with_renamed_venue(unknown, None, instrument_id) from None
    row = await _data(services).reads.threads.run(_with_details, services, found.instrument)
    return schemas.InstrumentRow.model_validate({**row, **_age(found)})


def _age(found: Identity) -> Mapping[str, Any]:
    """When IB last answered about the words, and whether they changed hands, beside an instrument's own columns."""
    identity = found.as_dict()
    known = identity.pop("instrument")
    return {**identity, **{name: value for name, value in known.items() if name != "con_id"}}


def _with_details(services: Services, found: Instrument) -> Mapping[str, Any]:
    with services.db.transaction(snapshot=True) as cursor:
        rows = instruments.listed(cursor, "", found.con_id - 1, 1)
    if not rows:
        raise NotFound(f"{found.instrument_id} is not known any more", code="unknown-instrument")
    return row_of(*rows[0])


@router.get("/api/v1/ib/instruments/search/{query:path}", summary="The same search, in the words of the web front end")
async def front_end_search(
    services: ServicesDep,
    caller: Caller,
    query: Annotated[str, Path(min_length=1, max_length=40)],
    sec_type: Annotated[str | None, Query(description="STK, OPT, FUT, CASH, IND or BOND; default STK")] = None,
    max_results: Annotated[int, Query(ge=1, le=1_000)] = 100,
    exchange: Annotated[str | None, Query(description="only instruments of this venue, when there are any")] = None,
    currency: Annotated[str | None, Query(description="only instruments in this currency")] = None,
) -> schemas.FrontEndSearch:
    found = await _data(services).reads.instrument_search.search(query, sec_type or "STK", max_results, caller)
    rows = [row for row in found if not currency or row["currency"] == currency.upper()]
    if exchange:
        venue = exchange.upper()
        rows = [row for row in rows if venue in (row["exchange"], row["primary_exchange"])] or rows
    return schemas.FrontEndSearch.of(query, rows)


@router.get("/api/v1/ib/forex-pairs", summary="Currency pairs")
def forex_pairs(services: ServicesDep, caller: Caller) -> schemas.ForexPairs:
    with services.db.transaction(snapshot=True) as cursor:
        known = [row for row, _ in instruments.listed(cursor, "CASH", 0, 1_000)]
    return schemas.ForexPairs(forex_pairs=pairs(known))


handler = lambda_handler("bars", router)
