"""The shapes that the existing web front end knows: subscribing to an instrument, and how the bus is."""

from collections.abc import Sequence
from typing import Any

from nautilus.auth.principal import Principal
from nautilus.db.cursor import Cursor
from nautilus.db.live import wants
from nautilus.db.live.wants import WantKey
from nautilus.errors import InvalidInput, NautilusError
from nautilus.live.schemas import MAX_CON_ID, FrontEndSubscription, WantRequest
from nautilus.live.stream_report import LiveSnapshot, text_of, text_of_machine
from nautilus.lookup.resolve import known_instrument

DATA_TYPES: tuple[str, ...] = ("TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK")
"""What it subscribes to; each is a part of a quote. It offers ADJUSTED_LAST too, which nobody sends live."""
LEASE_S = 3_600
"""It does not renew: who looks for longer subscribes again."""


def want_of(body: FrontEndSubscription) -> WantRequest:
    """The want of quotes that is meant. InvalidInput names the field that makes no sense."""
    if body.data_type.upper() not in DATA_TYPES:
        raise InvalidInput.field("data_type", f"{body.data_type!r} cannot be had live", DATA_TYPES)
    number = body.contract_id.strip()
    if not number:
        return WantRequest(symbol=body.symbol, kind="quotes", lease_s=LEASE_S)
    if not (number.isascii() and number.isdigit() and len(number) < 20 and 1 <= int(number) <= MAX_CON_ID):
        raise InvalidInput.field("contract_id", f"{number[:40]!r} is not the number of a contract", ["265598", ""])
    return WantRequest(con_id=int(number), kind="quotes", lease_s=LEASE_S)


def subscribed(body: FrontEndSubscription, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The answer to a subscription. rows: the want."""
    (row,) = rows
    why = f" ({row['reason']})" if row["reason"] else ""
    return {
        "success": True,
        "message": f"quotes of {row['instrument_id']} are wanted until {row['lease_until']}: {row['state']}{why}",
        "symbol": body.symbol,
        "contract_id": str(row["con_id"]),
        "data_type": body.data_type,
        "channel": row["channel"],
        "state": row["state"],
        "reason": row["reason"],
        "lease_until": row["lease_until"],
    }


def drop(cursor: Cursor, caller: Principal, given: WantRequest) -> int:
    """Want the quotes no longer; returns how many wants are gone. What nobody here knows was not wanted either."""
    try:
        found = known_instrument(cursor, given.selector)
    except InvalidInput:
        raise
    except NautilusError:
        found = None
    return len(wants.drop(cursor, caller.id, [WantKey(found.con_id, "quotes")])) if found is not None else 0


def unsubscribed(body: FrontEndSubscription, gone: int) -> dict[str, Any]:
    """The answer when a subscription ends."""
    message = "is wanted no longer" if gone else "was not wanted"
    return {"success": True, "message": f"{body.symbol} {message}", "symbol": body.symbol, "data_type": body.data_type}


def bus_status(snapshot: LiveSnapshot) -> dict[str, Any]:
    """Whether the bridge that publishes is there. What nobody counts is null: attempts, and messages of a process."""
    bridge = snapshot.bridge
    there = bridge is not None and bridge.state in ("connected", "degraded", "reset_window")
    words = [row.last_event_at for row in snapshot.streams.values() if row.last_event_at is not None]
    why = bridge.reason if bridge is not None else "no bridge was ever heard of; start one"
    return {
        "connection_state": "connected" if there else "disconnected",
        "connected_at": text_of_machine(bridge.since) if bridge is not None and there else None,
        "last_message_at": text_of(max(words, default=None)),
        "reconnect_attempts": None,
        "error_message": why or None,
        "messages_received": None,
    }
