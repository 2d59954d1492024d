"""What a row of `orders` holds, and what is known of an order when its row is written."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.orders.states import ALIVE


class OrderRow(NamedTuple):
    """A row of `orders`; docs/data.md says what each column means. Times ending in `_at` and `_since` are machine time, but
    for market_at; good_till, valid_until and market_at are market time in ns."""

    id: UUID
    principal: str
    idempotency_key: str | None
    fingerprint: str
    account: str
    con_id: int
    symbol: str
    instrument_id: str
    side: str
    type: str
    tif: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_amount: Decimal | None
    trail_percent: Decimal | None
    good_till: int | None
    outside_rth: bool
    group_id: UUID | None
    group_kind: str
    group_role: str
    oca_group: str
    oca_type: int | None
    parent_id: UUID | None
    tags: list[str]
    origin: str
    valid_until: int | None
    state: str
    state_since: datetime
    why: str
    pending: str
    filled: Decimal
    filled_by_status: Decimal | None
    avg_fill_price: Decimal | None
    reserved_quantity: Decimal
    reserved_value: Decimal
    unit_value: Decimal | None
    reducing: bool
    confirmed_quantity: Decimal | None
    confirmed_limit: Decimal | None
    confirmed_stop: Decimal | None
    client_id: int | None
    order_id: int | None
    gateway_session: int | None
    perm_ids: list[int]
    broker_status: str
    why_held: str
    notices: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    version: int
    accepted_at: datetime
    market_at: int
    sent_at: datetime | None
    acknowledged_at: datetime | None
    over_at: datetime | None

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


class NewOrder(NamedTuple):
    """What is known of an order when its row is written; what is left out has its default. state: `accepted`, `denied`, or,
    of an order that IB named first, what IB says."""

    id: UUID
    principal: str
    account: str
    con_id: int
    symbol: str
    side: str
    type: str
    tif: str
    quantity: Decimal
    origin: str
    state: str
    market_at: int
    idempotency_key: str | None = None
    fingerprint: str = ""
    instrument_id: str = ""
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    good_till: int | None = None
    outside_rth: bool = False
    group_id: UUID | None = None
    group_kind: str = ""
    group_role: str = ""
    oca_group: str = ""
    oca_type: int | None = None
    parent_id: UUID | None = None
    tags: Sequence[str] = ()
    valid_until: int | None = None
    why: str = ""
    unit_value: Decimal | None = None
    reducing: bool = False
    client_id: int | None = None
    order_id: int | None = None
    gateway_session: int | None = None
    perm_ids: Sequence[int] = ()
    broker_status: str = ""
    checks: Sequence[Mapping[str, object]] = ()
