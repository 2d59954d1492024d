"""From a request for bars to a job of the ledger."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.backfill.schemas import BackfillRequest
from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.ledger import idempotency, jobs
from nautilus.db.ledger.jobs import Item
from nautilus.db.market import instruments, series
from nautilus.errors import InvalidInput
from nautilus.log import correlation
from nautilus.lookup.identity import identify_by_name, trade_day
from nautilus.lookup.resolve import known_identity, known_instrument
from nautilus.market.instrument import price_kind, session_kind
from nautilus.market.symbols import Selector, name_of, select
from nautilus.market.timeframes import timeframe
from nautilus.spans import Spans

MAX_ITEMS = 500


class Submission(NamedTuple):
    """What became of a request: the job that serves it, or, when nothing is missing, none."""

    job_id: UUID | None
    deduplicated: bool = False


def items_of(
    request: BackfillRequest, *, default_symbols: Sequence[str], default_frames: Sequence[str], default_days: int
) -> list[Item]:
    """The series that a request names: symbols × timeframes. InvalidInput names the field that makes no sense."""
    names = _names(request, default_symbols)
    frames = _frames(request, default_frames)
    if len(names) * len(frames) > MAX_ITEMS:
        raise InvalidInput.field("symbols", f"symbols x timeframes may be at most {MAX_ITEMS} series in one job")
    back_s = request.back_s
    if request.start is None and back_s is None:
        back_s = default_days * 86_400
    return [
        Item(
            selector=selector,
            timeframe=frame,
            price=price_kind(selector.asset_class, request.price)
            if request.price and selector.asset_class
            else request.price,
            session=session_kind(selector.asset_class, request.session) if request.session else None,
            start=request.start,
            end=request.end,
            back=back_s * NS_PER_S if back_s is not None else None,
        )
        for selector in names
        for frame in frames
    ]


def _names(request: BackfillRequest, default_symbols: Sequence[str]) -> list[Selector]:
    given = [x for x in (request.symbol, request.symbols, request.instrument_id, request.con_id) if x is not None]
    if len(given) > 1:
        ways = ["symbol", "symbols", "instrument_id", "con_id"]
        raise InvalidInput.field("symbol", f"give only one of {', '.join(ways)}", ways)
    named = partial(
        select,
        asset_class=request.asset_class,
        exchange=request.exchange,
        currency=request.currency,
        expiry=request.expiry,
    )
    if request.con_id is not None:
        return [named(con_id=request.con_id)]
    if request.instrument_id is not None:
        return [named(instrument_id=request.instrument_id)]
    names = request.symbols or ([request.symbol] if request.symbol is not None else list(default_symbols))
    selectors = [named(symbol=name) for name in names]
    return list(dict.fromkeys(selectors))


def by_name(database: Database, request: BackfillRequest, items: Sequence[Item]) -> list[Item]:
    """The items of an instrument_id, for the contract that has this name here, if there is one.

    Conflict when several do; NotFound when the words are known to mean none, or one at another venue. `force` asks IB again
    what the words mean, so that they stay words.
    """
    assert request.instrument_id is not None  # noqa: S101  for the type checker: called for these alone
    name = name_of(request.instrument_id, request.asset_class, request.currency)
    with database.transaction(snapshot=True) as cursor:
        stored, today = instruments.named(cursor, name), trade_day(status.market_now(cursor))
        found = identify_by_name(name, stored, items[0].selector, found=None, today=today)
        if found is None and request.mode != "force":
            known_identity(cursor, items[0].selector)
    if found is None or (request.mode == "force" and found.instrument.asset_class == items[0].selector.asset_class):
        return list(items)
    con_id, kind = found.instrument.con_id, found.instrument.asset_class
    return [i._replace(selector=i.selector._replace(con_id=con_id, asset_class=kind, venue="")) for i in items]


def _frames(request: BackfillRequest, default_frames: Sequence[str]) -> list[str]:
    if request.timeframe is not None and request.timeframes is not None:
        raise InvalidInput.field("timeframe", "give only one of timeframe, timeframes", ["timeframe", "timeframes"])
    names = request.timeframes or ([request.timeframe] if request.timeframe is not None else default_frames)
    return list(dict.fromkeys(timeframe(name).name for name in names))


def ask(
    database: Database,
    caller: Principal,
    items: Sequence[Item],
    *,
    request: dict[str, Any],
    priority: int,
    mode: str,
    origin: str = "api",
    route: str = "",
    key: str = "",
) -> Submission:
    """Write the job, or find the one that already serves this request; the hint is sent by the caller after the commit."""
    print_ = jobs.fingerprint(items, mode)
    with database.transaction() as cursor:
        _refuse_the_future(items, status.market_now(cursor))
        if key:
            known = idempotency.claim_key(cursor, caller.id, route, key=key, fingerprint=print_)
            if known is not None:
                return Submission(known, deduplicated=True)
        else:
            duplicate = jobs.live_duplicate(cursor, caller.id, print_)
            if duplicate is not None:
                return Submission(duplicate, deduplicated=True)
        if mode == "missing" and all(_nothing_missing(cursor, item) for item in items):
            return Submission(None)
        job_id = jobs.create(
            cursor,
            owner=caller.id,
            origin=origin,
            items=items,
            priority=priority,
            mode=mode,
            request=request,
            fingerprint=print_,
            correlation_id=correlation.get(),
        )
        if key:
            idempotency.keep_key(cursor, caller.id, route, key=key, fingerprint=print_, job_id=job_id)
        return Submission(job_id)


def check_range(database: Database, items: Sequence[Item]) -> None:
    """InvalidInput for items that begin in the future: `ask` refuses them too."""
    with database.transaction(snapshot=True) as cursor:
        _refuse_the_future(items, status.market_now(cursor))


def _refuse_the_future(items: Sequence[Item], now: int) -> None:
    for item in items:
        if item.start is not None and item.start >= now:
            raise InvalidInput.field(
                "start",
                f"{rfc3339(item.start)} lies in the future; market time is {rfc3339(now)}",
                [f"before {rfc3339(now)}"],
            )


def _nothing_missing(cursor: Cursor, item: Item) -> bool:
    """True when the range is known to be covered without asking anybody: only for a range with both ends."""
    found = instruments.look_up(cursor, item.selector)
    if found is None or not found.candidates or item.start is None or item.end is None:
        return False
    instrument = known_instrument(cursor, item.selector)
    if instrument is None:
        return False
    kind = price_kind(instrument.asset_class, item.price)
    session = session_kind(instrument.asset_class, item.session)
    frame = timeframe(item.timeframe)
    row = series.find(cursor, instrument.con_id, frame, price=kind, session=session)
    return row is not None and not (Spans.of(frame.floor(item.start), frame.ceil(item.end)) - row.covered)
