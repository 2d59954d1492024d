"""Live data: who wants what and how it stands, newest quotes, the watch list, tickets for sockets."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from nautilus.auth.principal import Principal
from nautilus.coverage.availability import Calendars
from nautilus.db.cursor import Cursor
from nautilus.db.live import wants, watch_list
from nautilus.db.live.wants import WantKey
from nautilus.db.live.watch_list import WatchRow
from nautilus.db.market import instruments
from nautilus.errors import InvalidInput, Unauthorized
from nautilus.http.admission import admitted
from nautilus.http.dependencies import CallerDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.infra.cache import Cache
from nautilus.infra.rate_limit import CallerLimits
from nautilus.live import asking, channels, freshness, front_end, newest_quotes, stream_report, tickets
from nautilus.live.naming import Naming, about
from nautilus.live.parameters import QuotesParameters
from nautilus.live.schemas import (
    FrontEndSubscription,
    NamedInstrument,
    WantRequest,
    WantsRequest,
    WatchedSeries,
    WatchListRequest,
)
from nautilus.live.stream_report import LiveSnapshot
from nautilus.lookup.identity import Identity
from nautilus.market.instrument import Instrument

router = APIRouter(tags=["live data"], responses=PROBLEMS, route_class=StrictRoute)
_LIVE = "/api/v1/market-data/live"
_WATCH_LIST = "/api/v1/market-data/watchlist"


class LiveServices:
    """What the routes share."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self.cache = Cache(settings.redis_url.get_secret_value())
        self.limits = CallerLimits(self.cache, settings.reads_per_minute)
        self.tickets = CallerLimits(self.cache, tickets.PER_MINUTE)
        self.naming = Naming(services.db, services.queue, wait_s=settings.search_wait_s)
        self.calendars = Calendars()


def _data(services: Services) -> LiveServices:
    return services.kept(LiveServices, lambda: LiveServices(services))


Caller = Annotated[Principal, admitted(_data)]


def _fresh(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


# ---- wants -----------------------------------------------------------------------------------------------------------


@router.get(
    _LIVE, summary="What the caller wants live, how each stream stands and why; all streams for who may monitor"
)
def listing(services: ServicesDep, caller: Caller, response: Response) -> dict[str, Any]:
    _fresh(response)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        snapshot = stream_report.read(cursor)
        answer = {"market_time": stream_report.text_of(snapshot.now), "wants": _wants(cursor, snapshot, caller)}
        if caller.may("monitoring:read"):
            answer["streams"] = stream_report.stream_rows(cursor, snapshot)
    return answer


def _wants(cursor: Cursor, snapshot: LiveSnapshot, caller: Principal) -> list[dict[str, Any]]:
    """The caller's wants."""
    held = wants.of_owner(cursor, caller.id)
    known = instruments.several(cursor, {want.con_id for want in held})
    return stream_report.want_rows(snapshot, held, known)


@router.post(_LIVE, summary="Want bars, quotes or ticks live for a while; again: for a while longer")
async def want(body: WantsRequest, services: ServicesDep, caller: Caller) -> dict[str, Any]:
    return await _want(services, caller, [(f"wants.{n}", one) for n, one in enumerate(body.wants)])


async def _want(services: Services, caller: Principal, given: Sequence[tuple[str, WantRequest]]) -> dict[str, Any]:
    """given: beside each want where it stands in the request, for errors about it."""
    naming = _data(services).naming
    found = await naming.identities(given, caller)
    return await naming.threads.run(_put, services, caller, given, found)


def _put(
    services: Services, caller: Principal, given: Sequence[tuple[str, WantRequest]], found: Sequence[Identity]
) -> dict[str, Any]:
    leases: dict[wants.WantRow, int] = {}
    for (field, one), identity in zip(given, found, strict=True):
        with about(field):
            row = asking.want_of(one, identity.instrument)
        leases[row] = max(one.lease_s, leases.get(row, 0))
    with services.db.transaction(brief=True) as cursor:
        _check_trading(cursor, given, [one.instrument for one in found])
        new = asking.put(cursor, caller, leases)
        snapshot = stream_report.read(cursor)
        keys = {row.key for row in leases}
        rows = [row for row in _wants(cursor, snapshot, caller) if stream_report.key_of(row) in keys]
    changed = {one.instrument.con_id: {"instrument_changed": one.change.as_dict()} for one in found if one.change}
    answer = [{**row, **changed.get(row["con_id"], {})} for row in rows]
    return {"market_time": stream_report.text_of(snapshot.now), "wants": answer, "new": new}


def _check_trading(cursor: Cursor, given: Sequence[tuple[str, NamedInstrument]], found: Sequence[Instrument]) -> None:
    for (field, one), instrument in zip(given, found, strict=True):
        with about(field):
            asking.check_trading(cursor, one.given_name, instrument)


@router.delete(_LIVE, summary="Want something live no longer: some channels, or all")
def unwant(
    services: ServicesDep,
    caller: Caller,
    given: Annotated[str | None, Query(alias="channels", description="of one's own wants, comma-separated")] = None,
    all: Annotated[bool, Query(description="all of one's own wants")] = False,
) -> dict[str, Any]:
    names = _channel_names(given or "")
    if bool(names) == all:
        ways = ["channels=data.quotes.NASDAQ.AAPL", "all=true"]
        raise InvalidInput.field("channels", "give channels, or all=true", ways)
    with services.db.transaction(brief=True) as cursor:
        rows = _wants(cursor, stream_report.read(cursor), caller)
        keys, unknown = asking.keys_of(names, _held(rows))
        gone = wants.drop(cursor, caller.id, None if all else keys)
    dropped = sorted({row["channel"] for row in rows if stream_report.key_of(row) in gone})
    return {"dropped": dropped, "not_wanted": unknown}


def _channel_names(given: str) -> list[str]:
    """The channels of a comma-separated list, each once."""
    try:
        return list(dict.fromkeys(channels.parse(part.strip()).name for part in given.split(",") if part.strip()))
    except InvalidInput as wrong:
        raise wrong.renamed({"channel": "channels"}) from None


def _held(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Collection[WantKey]]:
    """Name of a channel -> wants that are published there. The usual session may be named or not."""
    found: dict[str, list[WantKey]] = {}
    for row in rows:
        for name in channels.parse(row["channel"]).names(row["session"]):
            found.setdefault(name, []).append(stream_report.key_of(row))
    return found


# ---- newest quotes ---------------------------------------------------------------------------------------------------


@router.get(
    "/api/v1/market-data/quotes", summary="The newest quote of each instrument, its age and feed, or why there is none"
)
def quotes(
    services: ServicesDep, caller: Caller, response: Response, given: Annotated[QuotesParameters, Query()]
) -> dict[str, Any]:
    _fresh(response)
    requested = given.lookups()
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        return newest_quotes.answer(cursor, requested)


# ---- the watch list --------------------------------------------------------------------------------------------------


@router.get(_WATCH_LIST, summary="The series that are kept current, and how current each is")
def watched(services: ServicesDep, caller: Caller, response: Response) -> dict[str, Any]:
    _fresh(response)
    return _watched(services)


def _watched(services: Services) -> dict[str, Any]:
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        snapshot = stream_report.read(cursor)
        report = freshness.watched(cursor, services.settings.watched, snapshot, _data(services).calendars)
        changes = freshness.name_changes(cursor, report.found.rows)
        set_by = watch_list.about(cursor)
    return {
        "market_time": stream_report.text_of(snapshot.now),
        "source": "setting" if report.found.from_setting else "request",
        "set_by": set_by.set_by if set_by else None,
        "set_at": stream_report.text_of_machine(set_by.set_at) if set_by else None,
        "series": freshness.rows_of(report, snapshot, changes),
    }


@router.put(_WATCH_LIST, summary="Set the series that are kept current; null: those of the setting")
async def watch(body: WatchListRequest, services: ServicesDep, caller: Caller) -> dict[str, Any]:
    if body.series is None:
        return await _data(services).naming.threads.run(_unset, services)
    naming = _data(services).naming
    given = [(f"series.{n}", one) for n, one in enumerate(body.series)]
    found = [one.instrument for one in await naming.identities(given, caller)]
    return await naming.threads.run(_set, services, caller, given, found)


def _set(
    services: Services, caller: Principal, given: Sequence[tuple[str, WatchedSeries]], found: Sequence[Instrument]
) -> dict[str, Any]:
    rows: dict[WatchRow, str] = {}
    for (field, one), instrument in zip(given, found, strict=True):
        with about(field):
            row = asking.watch_row(one, instrument)
        if row in rows:
            raise InvalidInput.field(field, f"is the same as {rows[row]}")
        rows[row] = field
    with services.db.transaction(brief=True) as cursor:
        _check_trading(cursor, given, found)
        watch_list.put(cursor, caller.id, rows)
        wants.notify(cursor)
    return _watched(services)


def _unset(services: Services) -> dict[str, Any]:
    with services.db.transaction(brief=True) as cursor:
        watch_list.clear(cursor)
        wants.notify(cursor)
    return _watched(services)


# ---- sockets ---------------------------------------------------------------------------------------------------------


@router.post("/api/v1/stream/tickets", status_code=201, summary="A ticket that signs one socket in, good once for 30 s")
def ticket(services: ServicesDep, caller: CallerDep, response: Response) -> dict[str, Any]:
    _fresh(response)
    if not caller.user_id:
        raise Unauthorized(
            "a ticket stands for somebody: sign in first; who needs no sign-in here needs no ticket either"
        )
    limits = _data(services).tickets
    limits.check(limits.take(f"tickets:{caller.id}"))
    with services.db.transaction(brief=True) as cursor:
        return tickets.issue(cursor, caller)._asdict()


# ---- the existing web front end --------------------------------------------------------------------------------------


@router.get("/api/v1/messagebus/status", summary="Whether live data come, in the words of the web front end")
def bus_status(services: ServicesDep, caller: Caller, response: Response) -> dict[str, Any]:
    _fresh(response)
    with services.db.transaction(snapshot=True, brief=True) as cursor:
        return front_end.bus_status(stream_report.read(cursor))


@router.post("/api/v1/ib/market-data/subscribe", summary="Want quotes, in the words of the web front end")
async def subscribe(body: FrontEndSubscription, services: ServicesDep, caller: Caller) -> dict[str, Any]:
    answer = await _want(services, caller, [("", front_end.want_of(body))])
    return front_end.subscribed(body, answer["wants"])


@router.post("/api/v1/ib/market-data/unsubscribe", summary="Want them no longer, in the words of the web front end")
def unsubscribe(body: FrontEndSubscription, services: ServicesDep, caller: Caller) -> dict[str, Any]:
    given = front_end.want_of(body)
    with services.db.transaction(brief=True) as cursor:
        gone = front_end.drop(cursor, caller, given)
    return front_end.unsubscribed(body, gone)


handler = lambda_handler("live", router)
