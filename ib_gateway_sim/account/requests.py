"""The requests about the account."""

from collections.abc import Callable

from ib_gateway_sim.account.pnl import cancel_pnl, cancel_pnl_single, req_pnl, req_pnl_single
from ib_gateway_sim.account.positions import (
    cancel_positions,
    cancel_positions_multi,
    req_positions,
    req_positions_multi,
)
from ib_gateway_sim.account.updates import (
    cancel_account_summary,
    cancel_account_updates_multi,
    req_account_summary,
    req_account_updates,
    req_account_updates_multi,
)
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.wire.request import Request

HANDLERS: dict[str, Callable[[Client, Request], None]] = {
    "reqAccountUpdates": req_account_updates,
    "reqAccountUpdatesMulti": req_account_updates_multi,
    "cancelAccountUpdatesMulti": cancel_account_updates_multi,
    "reqAccountSummary": req_account_summary,
    "cancelAccountSummary": cancel_account_summary,
    "reqPositions": req_positions,
    "cancelPositions": cancel_positions,
    "reqPositionsMulti": req_positions_multi,
    "cancelPositionsMulti": cancel_positions_multi,
    "reqPnL": req_pnl,
    "cancelPnL": cancel_pnl,
    "reqPnLSingle": req_pnl_single,
    "cancelPnLSingle": cancel_pnl_single,
}
