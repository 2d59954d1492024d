"""Which handler answers which request."""

from collections.abc import Callable

from ib_gateway_sim.account.requests import HANDLERS as ACCOUNT
from ib_gateway_sim.history.requests import HANDLERS as HISTORY
from ib_gateway_sim.orders.requests import HANDLERS as ORDERS
from ib_gateway_sim.reference.requests import HANDLERS as REFERENCE
from ib_gateway_sim.session.gateway import Client
from ib_gateway_sim.streams.requests import HANDLERS as STREAMS
from ib_gateway_sim.wire.request import Request

HANDLERS: dict[str, Callable[[Client, Request], None]] = {**REFERENCE, **HISTORY, **STREAMS, **ORDERS, **ACCOUNT}
