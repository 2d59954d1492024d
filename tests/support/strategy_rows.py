"""Rows of strategies for tests."""

from typing import Any
from uuid import uuid4

from nautilus.db.cursor import Cursor
from nautilus.db.strategies import runs
from nautilus.db.strategies.runs import NewRun, RunRow
from nautilus.strategies.states import Mode

DAY_NS = 86_400 * 10**9
START_NS = 1_790_000_000 * 10**9


def series_of(con_id: int, timeframe: str = "1m", price: str = "TRADES", session: str = "rth") -> dict[str, Any]:
    return {
        "con_id": con_id,
        "instrument_id": "AAPL.NASDAQ",
        "timeframe": timeframe,
        "price": price,
        "session": session,
    }


def new_run(mode: Mode = Mode.BACKTEST, con_id: int = 265598, **changed: Any) -> NewRun:
    """A run of `ema_cross` on one series."""
    tested = mode is Mode.BACKTEST
    base = NewRun(
        id=uuid4(),
        owner="user:1",
        mode=mode,
        template_id="ema_cross",
        template_hash="",
        parameters={"fast": 10, "slow": 20},
        series=[series_of(con_id)],
        options={"capital": "100000", "currency": "USD"},
        account="DU1" if mode is Mode.LIVE else "",
        start_ns=START_NS if tested else None,
        end_ns=START_NS + DAY_NS if tested else None,
    )
    return base._replace(**changed)


def insert_run(cursor: Cursor, mode: Mode = Mode.BACKTEST, con_id: int = 265598, **changed: Any) -> RunRow:
    return runs.insert(cursor, new_run(mode, con_id, **changed))
