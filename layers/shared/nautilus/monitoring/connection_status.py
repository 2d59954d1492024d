"""How the connection to IB is, in the words of the web front end: of its route, and of its socket."""

from typing import Any

from nautilus.db.bridge.status import BridgeStatus

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def connection_fields(bridge: BridgeStatus) -> dict[str, Any]:
    """The fields of a bridge that has run at least once."""
    connected = bridge.state in ("connected", "degraded", "reset_window")
    return {
        "connected": connected,
        "gateway_type": "simulator" if bridge.account.startswith("SIM") else "IB Gateway",
        "host": bridge.host,
        "port": bridge.port,
        "client_id": bridge.client_id,
        "account_id": bridge.account or None,
        "connection_time": bridge.since.strftime(_TIME) if connected else None,
        "last_heartbeat": bridge.heartbeat_at.strftime(_TIME),
        "error_message": bridge.reason or None,
    }
