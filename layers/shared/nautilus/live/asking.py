"""What callers of the API want live: checked, counted, and kept for the time of a lease."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nautilus.auth.principal import Principal
from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.live.wants import WantKey, WantRow
from nautilus.db.live.watch_list import WatchRow
from nautilus.errors import Conflict, InvalidInput
from nautilus.live import offered
from nautilus.live.schemas import MAX_TICKS, MAX_WANTS, WantRequest, WatchedSeries
from nautilus.live.subscriptions import Priority
from nautilus.live.watch_series import kept_timeframe
from nautilus.lookup.identity import trade_day
from nautilus.market.instrument import Instrument, session_kind

Leases = Mapping[WantRow, int]
"""Want -> its lease in seconds."""
_OF_BARS = ("timeframe", "session")


def want_of(request: WantRequest, instrument: Instrument) -> WantRow:
    """The want of a request. InvalidInput names what cannot be had live, and what can."""
    if request.kind == "bars":
        frame = offered.live_timeframe(request.timeframe or "1m").name
        price = offered.live_price(instrument, request.price)
        session = session_kind(instrument.asset_class, request.session)
        return WantRow(instrument.con_id, "bars", frame, price, session, Priority.SOCKET)
    for name in _OF_BARS:
        if getattr(request, name) is not None:
            raise InvalidInput.field(name, f"is one of bars; {request.kind} have none", ("null",))
    if request.kind == "ticks":
        price = offered.tick_price(instrument, request.price)
        return WantRow(instrument.con_id, "ticks", "", price, "", Priority.SOCKET)
    if request.price is not None:
        raise InvalidInput.field("price", "is one of bars and ticks; quotes have none", ("null",))
    return WantRow(instrument.con_id, "quotes", "", "", "", Priority.SOCKET)


def watch_row(request: WatchedSeries, instrument: Instrument) -> WatchRow:
    """The series of the watch list that is meant. InvalidInput names what the list cannot keep current, and what it can."""
    return WatchRow(
        instrument.con_id,
        kept_timeframe(request.timeframe),
        offered.live_price(instrument, request.price),
        session_kind(instrument.asset_class, request.session),
        instrument.instrument_id,
    )


def check_trading(cursor: Cursor, field: str, one: Instrument) -> None:
    """InvalidInput for a contract that has expired. field: what named it."""
    if one.expiry and one.expiry < trade_day(market_now(cursor)):
        raise InvalidInput.field(field, f"{one.instrument_id} expired on {one.expiry}; nothing of it is live")


def put(cursor: Cursor, caller: Principal, leases: Leases) -> int:
    """Let a caller want these from now on; what the caller wants already gets the new lease. Returns how many are new.

    Conflict where the caller would hold too many.
    """
    wants.lock(cursor, caller.id)
    held = {want.key for want in wants.of_owner(cursor, caller.id)} | {want.key for want in leases}
    _check_count("wants", held, MAX_WANTS)
    _check_count("ticks", [key for key in held if key.kind == "ticks"], MAX_TICKS)
    return sum(
        wants.put(cursor, caller.id, [want for want, lease in leases.items() if lease == lease_s], lease_s)
        for lease_s in sorted(set(leases.values()))
    )


def _check_count(what: str, held: Any, most: int) -> None:
    if len(held) > most:
        raise Conflict(
            f"you would hold {len(held)} wants{' of ticks' if what == 'ticks' else ''}; at most {most} are possible:"
            " DELETE some, or wait until their lease is over",
            code=f"too-many-{what}",
            extra={"limit": most},
        )


def keys_of(names: Sequence[str], held: Mapping[str, Collection[WantKey]]) -> tuple[set[WantKey], list[str]]:
    """The wants that channels name, and the channels that name none. held: name of a channel -> wants of the caller."""
    return {key for name in names for key in held.get(name, ())}, [name for name in names if name not in held]
