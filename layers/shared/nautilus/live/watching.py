"""The watch list: series that are kept current for ever, as somebody has set them, or as NAUTILUS_LIVE_WATCH says."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.live import wants, watch_list
from nautilus.db.live.wants import WantRow
from nautilus.db.live.watch_list import WatchRow
from nautilus.db.market import instruments
from nautilus.errors import InvalidInput
from nautilus.live.subscriptions import Priority
from nautilus.live.watch_series import WatchSeries
from nautilus.lookup.identity import trade_day, unexpired
from nautilus.market.instrument import Instrument, price_kind, session_kind

OWNER = "watch"
"""Whose wants those of the list are."""
UNKNOWN = "unknown_instrument"
"""Nobody has looked the name up yet, or IB does not know it."""


class Unresolved(NamedTuple):
    """A series of the setting that cannot be kept current.

    reason: UNKNOWN, `ambiguous_instrument` (several contracts have the name) or `no_such_price` (the asset class has no such
    bars).
    """

    series: WatchSeries
    reason: str


class WatchList(NamedTuple):
    """The list that holds. from_setting: nobody has set one, so that it is the setting's."""

    rows: Sequence[WatchRow]
    unresolved: Sequence[Unresolved]
    from_setting: bool


def read(cursor: Cursor, setting: Sequence[WatchSeries]) -> WatchList:
    """The list that holds: what somebody has set, also when that is empty; else the setting, its names looked up among the
    instruments that are known."""
    rows = watch_list.read(cursor)
    if rows is not None:
        return WatchList(rows, [], False)
    if not setting:
        return WatchList([], [], True)
    known = instruments.of_names(cursor, {one.instrument_id for one in setting})
    today = trade_day(market_now(cursor))
    found = [_resolved(one, unexpired(known.get(one.instrument_id, ()), today)) for one in setting]
    usable = {row[:4]: row for row in found if isinstance(row, WatchRow)}
    return WatchList([*usable.values()], [row for row in found if isinstance(row, Unresolved)], True)


def _resolved(one: WatchSeries, contracts: Sequence[Instrument]) -> WatchRow | Unresolved:
    if len(contracts) != 1:
        return Unresolved(one, "ambiguous_instrument" if contracts else UNKNOWN)
    (instrument,) = contracts
    with suppress(InvalidInput):
        price = price_kind(instrument.asset_class, one.price)
        session = session_kind(instrument.asset_class, one.session)
        return WatchRow(instrument.con_id, one.timeframe, price, session, one.instrument_id)
    return Unresolved(one, "no_such_price")


def keep(cursor: Cursor, setting: Sequence[WatchSeries]) -> Sequence[Unresolved]:
    """Make the wants of the list those of the list that holds; returns what of the setting cannot be kept current.

    The bridge calls it at each sweep, and looks up at IB what is unknown. Nothing is written where nothing has changed.
    """
    found = read(cursor, setting)
    wanted = {row[:4]: _want(row) for row in found.rows}
    present = {want.key for want in wants.of_owner(cursor, OWNER)}
    missing = [want for want in wanted.values() if want.key not in present]
    wants.put(cursor, OWNER, missing, None)
    gone = present - {want.key for want in wanted.values()}
    if gone:
        wants.drop(cursor, OWNER, gone)
    return found.unresolved


def _want(row: WatchRow) -> WantRow:
    return WantRow(row.con_id, "bars", row.timeframe, row.price, row.session, Priority.WATCH_LIST)
