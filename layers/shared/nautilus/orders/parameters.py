"""The parameters of a list of orders."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from nautilus.auth.principal import Principal
from nautilus.clock import datetime_of, time_in_address
from nautilus.db.orders.orders import OrderFilter
from nautilus.errors import InvalidInput
from nautilus.orders.desk import readable
from nautilus.orders.states import OrderState

MAX_LISTED = 500
_STATES = tuple(state.value for state in OrderState)


class OrdersParameters(BaseModel):
    """Which orders, and which page of them."""

    account: str | None = Field(None, description="of this account; none: of all that the caller may use")
    state: str | None = Field(None, description="states, comma-separated")
    con_id: int | None = Field(None, ge=1, le=2**53 - 1, description="of this contract")
    origin: str | None = Field(None, description="api, front_end, kill, strategy or external")
    open: bool = Field(False, description="those that are not over")
    since: str | None = Field(None, description="accepted from this time on, RFC 3339 with offset")
    after: UUID | None = Field(None, description="the last order of the page before")
    limit: int = Field(100, ge=1, le=MAX_LISTED, description="orders on a page")

    def filter(self, caller: Principal) -> OrderFilter:
        """Which orders are meant. InvalidInput names the parameter that makes no sense; Forbidden for an account of others."""
        return OrderFilter(
            accounts=readable(self.account, caller),
            states=self._states(),
            con_id=self.con_id,
            origin=self.origin,
            open_only=self.open,
            since=self._since(),
        )

    def _states(self) -> list[str] | None:
        if self.state is None:
            return None
        named = [part.strip() for part in self.state.split(",") if part.strip()]
        wrong = [name for name in named if name not in _STATES]
        if wrong or not named:
            raise InvalidInput.field("state", f"{(wrong or [self.state])[0]!r} is not a state of an order", _STATES)
        return named

    def _since(self) -> datetime | None:
        try:
            ns = time_in_address(self.since)
        except ValueError as wrong:
            raise InvalidInput.field("since", str(wrong)) from None
        return None if ns is None else datetime_of(ns)
