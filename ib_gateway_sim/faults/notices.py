"""Codes and words of what the gateway says when something breaks."""

LOST = (1100, "Connectivity between IB and Trader Workstation has been lost.")
RESTORED_EMPTY = (
    1101,
    "Connectivity between IB and Trader Workstation has been restored - data lost. Please re-submit requests.",
)
RESTORED = (1102, "Connectivity between IB and Trader Workstation has been restored - data maintained.")
COMPETING = (10197, "No market data during competing live session")
BUST = (
    10225,
    "Bust event occurred, current subscription is deactivated. Please resubscribe real-time bars immediately.",
)
LIVE_LOST = (10182, "Failed to request live updates (disconnected).")

# The tails of error 162 that a client must tell apart; {symbol}, {sec_type}, {exchange} and {id} are filled in.
HISTORY_ERRORS = {
    "pacing": "Historical data request pacing violation",
    "no_data": "HMDS query returned no data: {symbol}@{exchange} Trades",
    "no_permission": "No market data permissions for {exchange} {sec_type}",
    "cancelled": "API historical data query cancelled: {id}",
    "unknown_contract": "Unknown contract",
    "query_failed": "Query failed",
    "invalid_step": "invalid step: 1 min over 1 D",
    "other_address": "Trading TWS session is connected from a different IP address",
    "no_history": "No historical market data for {symbol}/{sec_type}@{exchange} Last 1m",
    "exited": "TWS exited during processing of HMDS query",
    "timed_out": "Request Timed Out",
    "unavailable": "HMDS connection attempt failed.  Connection will be re-attempted...",
    "not_supported": "BEST queries are not supported for this contract",
    "too_long": "Time length exceed max.",
    "no_head": "No head time stamp",
}
