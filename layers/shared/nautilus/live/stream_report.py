"""How wants and streams stand, in the words of the API: state, reason, source, and how old the newest word is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_MS, NS_PER_S, rfc3339
from nautilus.db.bridge import status
from nautilus.db.bridge.status import BridgeStatus
from nautilus.db.cursor import Cursor
from nautilus.db.live import streams
from nautilus.db.live.streams import StreamRow
from nautilus.db.live.wants import CurrentWant, WantKey
from nautilus.db.market import instruments
from nautilus.live import offered
from nautilus.live.subscriptions import StreamKey
from nautilus.market.instrument import Instrument

NO_BRIDGE = "no_bridge"
"""No bridge has ever run."""
BRIDGE_SILENT = "bridge_silent"
"""The bridge that had the stream, or the only one there is, has had no heartbeat for a while: what it wrote last may be over."""
NOT_SEEN = "not_seen_yet"
"""The bridge has not looked at the want yet. It does so within a second."""


class LiveSnapshot(NamedTuple):
    """All streams at one time. now: market time; reporting: the bridges with a heartbeat lately; troubles: why history does not
    bring what a stream lacks."""

    now: int
    bridge: BridgeStatus | None
    reporting: frozenset[str]
    streams: Mapping[StreamKey, StreamRow]
    troubles: Mapping[StreamKey, str] = MappingProxyType({})

    def state(self, key: StreamKey) -> tuple[str, str]:
        """State and reason of a stream that somebody wants."""
        row = self.streams.get(key)
        if row is None:
            return "wanted", NO_BRIDGE if self.bridge is None else NOT_SEEN if self.reporting else BRIDGE_SILENT
        return (row.state, row.reason) if row.bridge in self.reporting else ("stale", BRIDGE_SILENT)


def read(cursor: Cursor) -> LiveSnapshot:
    """How everything stands now."""
    bridge = status.latest(cursor)
    now = bridge.market_ns if bridge is not None else status.market_now(cursor)
    reporting = status.reporting(cursor, status.SILENT_AFTER_S)
    rows = {row.key: row for row in streams.listed(cursor)}
    return LiveSnapshot(now, bridge, reporting, rows, streams.troubles(cursor))


def want_rows(
    snapshot: LiveSnapshot, wants: Sequence[CurrentWant], known: Mapping[int, Instrument]
) -> list[dict[str, Any]]:
    """Wants with their streams, by the channel on which each is published."""
    rows = []
    for want in wants:
        one, about = known[want.con_id], (want.kind, want.timeframe)
        key = offered.stream_of(want.con_id, *about, price=want.price, session=want.session)
        row = {
            "channel": offered.channel_of(one, *about, price=want.price, session=want.session).name,
            "instrument_id": one.instrument_id,
            **want._asdict(),
            "since": text_of_machine(want.since),
            "lease_until": text_of_machine(want.lease_until) if want.lease_until is not None else None,
            **stream_fields(snapshot, key),
        }
        del row["owner"]
        rows.append(row)
    return sorted(rows, key=lambda row: str(row["channel"]))


def key_of(row: Mapping[str, Any]) -> WantKey:
    """The want of a row that `want_rows` made."""
    return WantKey(*(row[name] for name in WantKey._fields))


def stream_rows(cursor: Cursor, snapshot: LiveSnapshot) -> list[dict[str, Any]]:
    """All streams, whoever wants them."""
    known = instruments.several(cursor, {key.con_id for key in snapshot.streams})
    return [
        {
            "instrument_id": known[key.con_id].instrument_id,
            **key._asdict(),
            "priority": row.priority,
            "bridge": row.bridge,
            **stream_fields(snapshot, key),
        }
        for key, row in snapshot.streams.items()
    ]


def stream_fields(snapshot: LiveSnapshot, key: StreamKey) -> dict[str, Any]:
    """What there is to say of one stream; what is not known is null. Times are market time."""
    state, reason = snapshot.state(key)
    row = snapshot.streams.get(key)
    fields: dict[str, Any] = {
        "state": state,
        "reason": reason or None,
        "history_reason": snapshot.troubles.get(key),
    }
    if row is None:
        names = ("source", "feed", "state_since", "refused_code", "last_word_at", "age_s", "confirmed_until")
        return fields | dict.fromkeys(names) | {"holes": [], "resubscribed": 0}
    return fields | {
        "source": row.source or None,
        "feed": row.feed or None,
        "state_since": text_of(row.since),
        "refused_code": row.refused_code,
        "last_word_at": text_of(row.last_event_at),
        "age_s": age_s(snapshot.now, row.last_event_at),
        "confirmed_until": text_of(row.confirmed_until),
        "holes": [{"start": text_of(start), "end": text_of(end)} for start, end in row.holes],
        "resubscribed": row.resubscribed,
    }


def age_s(now: int, then: int | None) -> float | None:
    """Seconds of market time since then; never below zero."""
    return round(max(0, now - then) / NS_PER_S, 3) if then is not None else None


def text_of(ns: int | None) -> str | None:
    """A market time as text, to the millisecond."""
    return rfc3339(ns // NS_PER_MS * NS_PER_MS) if ns is not None else None


def text_of_machine(moment: datetime) -> str:
    """A machine time as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
