"""What a run in paper or live needs beside its child: its series, wants of live data, first notes, and its loops."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.live.wants import WantKey, WantRow
from nautilus.db.market import instruments
from nautilus.db.strategies import live_bars
from nautilus.db.strategies.runs import RunRow
from nautilus.errors import InvalidInput, Unavailable
from nautilus.infra.loops import Backoff, repeat
from nautilus.live.offered import stored_timeframe
from nautilus.live.subscriptions import Priority
from nautilus.orders import limit_changes
from nautilus.orders.exposure_checks import SHORT_CLASSES
from nautilus.strategies import history
from nautilus.strategies.history import FedSeries
from nautilus.strategies.not_simulated import NO_CHECKS, NO_MARGIN, note
from nautilus.strategies.states import Mode
from strategy_host.bar_bus import BarSeries
from strategy_host.parts import HostParts

_WANT_S, _WANT_LEASE_S = 20.0, 60.0


def bars_of(fed: Sequence[FedSeries]) -> frozenset[BarSeries]:
    """What bars a run follows."""
    return frozenset(BarSeries(one.instrument.instrument_id, one.row.timeframe.name) for one in fed)


def prepared(cursor: Cursor, run: RunRow) -> tuple[list[FedSeries], dict[int, Decimal]]:
    """Want the run's live data, and return its series, and con_id -> what a price of 1 is worth for a quantity of 1.
    InvalidInput: it cannot be traded, or not by bars like these."""
    want(cursor, run)
    fed = [history.fed_series(cursor, given, n, make=True) for n, given in enumerate(run.series)]
    for n, one in enumerate(fed):
        if stored_timeframe(one.row.timeframe.name) != one.row.timeframe:
            raise InvalidInput.field(
                f"series.{n}.timeframe", "a run in paper or live follows bars as they are streamed", ["5s", "1m"]
            )
    history.check_tradable(fed)
    return fed, history.units_of(cursor, fed)


def want(cursor: Cursor, run: RunRow) -> None:
    """Want its bars, and quotes for orders, for a while. InvalidInput: a live run gets delayed data."""
    keys = [WantKey(int(one["con_id"]), "bars", one["timeframe"], one["price"], one["session"]) for one in run.series]
    if run.mode == Mode.LIVE:
        keys += [WantKey(con_id, "quotes") for con_id in run.con_ids]
        feed = live_bars.worst_feed(cursor, list(run.con_ids))
        if feed is not None:
            raise InvalidInput(f"its market data are {feed}: no live run decides on old prices")
    wants.put(cursor, run.principal, [WantRow(*key, Priority.STRATEGY) for key in keys], _WANT_LEASE_S)


async def want_often(parts: HostParts, run: RunRow) -> None:
    """Go on wanting them."""
    await looped(parts.log, "wants", lambda: parts.transactions.run(want, run), _WANT_S, event=asyncio.Event())


def first_notes(cursor: Cursor, run: RunRow) -> list[str]:
    """What whoever reads a run should know before it trades: what paper leaves out, and what its account denies in live."""
    if run.mode != Mode.LIVE:
        return [note(NO_MARGIN), note(NO_CHECKS)]
    classes = {one.asset_class for one in instruments.several(cursor, list(run.con_ids)).values()}
    (short,) = (one.value for one in limit_changes.limits_of(cursor, run.account) if one.name == "short")
    if short or not classes & SHORT_CLASSES:
        return []
    return [f"the limit short of {run.account} is off: sales beyond what it holds are denied (short_not_allowed)"]


async def looped(
    log: Any, name: str, step: Callable[[], Awaitable[object]], every_s: float, *, event: asyncio.Event
) -> None:
    """Repeat a step, and when woken. A database that is away only delays it; all else ends the attempt."""
    ended: list[BaseException] = []

    async def once() -> None:
        event.clear()
        try:
            await step()
        except Unavailable:
            raise
        except Exception as error:
            ended.append(error)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), every_s)

    backoff = Backoff(longest_s=max(1.0, every_s))
    await repeat(f"strategy-{name}", once, log, backoff=backoff, going_on=lambda: not ended)
    raise ended[0]
