"""What is missing of some bars, slot by slot."""

import pandas as pd

from nautilus_client.bars import Bars
from nautilus_client.records import Calendar
from nautilus_client.timeframes import INTRADAY_S, intraday

NAMES = ("start", "end", "state", "reason", "slots")


def gap_report(bars: Bars, calendar: Calendar | None = None) -> pd.DataFrame:
    """A row for each range without settled bars: start, end, state, reason, and how many slots of trading it has.

    calendar: its sessions count the slots; without it, and where the sessions are not known, `slots` is unknown.
    """
    rows = [(gap.start, gap.end, gap.state, gap.reason or None) for gap in bars.missing]
    frame = pd.DataFrame(rows, columns=list(NAMES[:4]))
    for name in ("start", "end"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
    counts = [
        _slots(start, end, bars.timeframe, calendar) for start, end in zip(frame["start"], frame["end"], strict=True)
    ]
    frame["slots"] = pd.array(counts, dtype="Int64")
    return frame


def _slots(start: pd.Timestamp, end: pd.Timestamp, timeframe: str, calendar: Calendar | None) -> int | None:
    known = calendar.known if calendar is not None else None
    if calendar is None or known is None or not intraday(timeframe):
        return None
    if start < pd.Timestamp(known["start"]) or end > pd.Timestamp(known["end"]):
        return None
    step = pd.Timedelta(seconds=INTRADAY_S[timeframe])
    count = 0
    for session in calendar.sessions:
        low, high = max(start, pd.Timestamp(session.open)), min(end, pd.Timestamp(session.close))
        if low < high:
            count += -(-(high - low) // step)
    return count
