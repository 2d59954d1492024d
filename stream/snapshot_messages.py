"""How a snapshot of bars looks as a message, and which messages of the bus it makes needless."""

from typing import Any
from urllib.parse import urlencode

from nautilus.clock import parse_rfc3339, rfc3339
from stream import messages
from stream.frames import BusMessage
from stream.series_snapshot import Provisional, SeriesSnapshot, SnapshotQuery

_BARS = "/api/v1/market-data/historical/bars"
_VALUES = ("open", "high", "low", "close", "volume")


def snapshot_text(name: str, snapshot: SeriesSnapshot, number: int, since: int | None) -> str:
    """The message `snapshot`; its lists of bars are JSON already, shared by all sockets that read them together."""
    fields: dict[str, Any] = {"c": name, "seq": number, "version": snapshot.version, "series": snapshot.series_id}
    fields["confirmed_until"] = rfc3339(snapshot.confirmed_until) if snapshot.confirmed_until is not None else None
    if since is not None:
        fields["since_version"] = since
    if snapshot.removed:
        fields["removed"] = [[rfc3339(start), rfc3339(end)] for start, end in snapshot.removed]
    if snapshot.lost or snapshot.unknown:
        fields["reason"] = "live_bars_lost" if snapshot.lost else "unknown_version"
    head = messages.text("snapshot", fields)[:-1]
    return f'{head},"bars":{snapshot.bars},"provisional":{snapshot.provisional},"forming":{snapshot.forming}}}'


def gap_text(query: SnapshotQuery, snapshot: SeriesSnapshot) -> str:
    """More bars changed than one message holds, or nobody knows which: the range to read by REST."""
    assert snapshot.more is not None  # noqa: S101  for the type checker
    start, end = (rfc3339(ns) for ns in snapshot.more)
    words = {
        "instrument_id": query.instrument.instrument_id,
        "timeframe": query.timeframe,
        "price": query.price,
        "session": query.session,
        "start": start,
        "end": end,
    }
    fields = {
        "c": query.channel,
        "start": start,
        "end": end,
        "reason": "unknown_version" if snapshot.unknown else "too_many_changes",
        "version": snapshot.version,
        "rest": f"{_BARS}?{urlencode(words)}",
    }
    return messages.text("gap", fields)


def is_held_by(snapshot: SeriesSnapshot, message: BusMessage) -> bool:
    """True when a snapshot surely says what a message says, or newer."""
    if message.kind == "filled" and snapshot.holes:
        return False  # the client gets the hole behind the snapshot
    if message.version:
        return message.version <= snapshot.version
    if message.kind != "bar":
        return False
    ts, state = str(message.fields.get("ts")), message.fields.get("state")
    if ts in snapshot.known:
        return True
    known = snapshot.seen.get(ts)
    if known is None or known.state not in (state, "closed"):
        return False
    try:
        seen_at = parse_rfc3339(str(message.fields.get("seen")))
    except ValueError:
        return False
    # At one market time a bar may change several times: a clock may stand still.
    return known.seen_at > seen_at or (known.seen_at == seen_at and _is_same(known, message))


def _is_same(known: Provisional, message: BusMessage) -> bool:
    return all(message.fields.get(name) == getattr(known.bar, name) for name in _VALUES)
