"""Bodies of the routes of orders that the web front end of before sends. Each becomes a body of our own routes.

Its numbers are JSON numbers. JavaScript writes the shortest text that means the number, and Python reads and writes it alike,
so the decimal is what somebody typed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from nautilus.errors import InvalidInput
from nautilus.http.json_values import Flag
from nautilus.orders.groups import MAX_GROUP
from nautilus.orders.schemas import MAX_ACCOUNT, ChangeRequest, OrderRequest, decimal_of

_FIELDS = {"side": "action", "type": "order_type", "tif": "time_in_force", "account": "account_id"}
"""Field of our own body -> what the page calls it."""
_OWN_TYPES = ("MKT", "LMT", "STP", "STP_LMT")


def _text_of(value: Any) -> str:
    """The number as text, without exponent, if our own bodies take it."""
    text = f"{Decimal(repr(value)):f}" if type(value) is float else value
    return f"{decimal_of(text):f}"


def _trimmed(value: Any) -> Any:
    """A typed name without blanks around it; None where nothing is left."""
    return value.strip() or None if isinstance(value, str) else value


Number = Annotated[str, BeforeValidator(_text_of), WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]})]
"""A price or quantity of the page, kept as text as our own bodies have it."""


class FrontEndOrder(BaseModel):
    """A new order. What the form leaves empty is null, an empty text, or absent."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(min_length=1)
    action: Literal["BUY", "SELL"]
    quantity: Number
    order_type: Literal["MKT", "LMT", "STP", "STP_LMT", "TRAIL", "BRACKET", "OCA"] = Field(
        description="BRACKET and OCA: the prices say which type the order has"
    )
    time_in_force: Literal["DAY", "GTC", "IOC", "FOK"] = "DAY"
    limit_price: Number | None = None
    stop_price: Number | None = None
    trail_amount: Number | None = None
    trail_percent: Number | None = None
    take_profit_price: Number | None = Field(None, description="of BRACKET, and needed there")
    stop_loss_price: Number | None = Field(None, description="of BRACKET, and needed there")
    oca_group: Annotated[str | None, BeforeValidator(_trimmed)] = Field(
        None, max_length=MAX_GROUP, description="of OCA, and needed there"
    )
    account_id: Annotated[str | None, BeforeValidator(_trimmed)] = Field(
        None, max_length=MAX_ACCOUNT, description="none: the only account that the caller may use"
    )
    outside_rth: Flag | None = None
    hidden: Flag | None = Field(None, description="no order is hidden here: true is refused")
    discretionary_amount: Number | None = Field(None, description="no order has one here: anything but 0 is refused")
    asset_class: str = "STK"
    exchange: str | None = None
    currency: str = "USD"

    def order(self) -> OrderRequest:
        """The order that is meant. InvalidInput names the field that makes no sense."""
        self._check()
        order: dict[str, Any] = {
            "symbol": self.symbol,
            "asset_class": self.asset_class,
            "exchange": self.exchange,
            "currency": self.currency,
            "account": self.account_id,
            "side": self.action,
            "type": self._type(),
            "quantity": self.quantity,
            "tif": self.time_in_force,
            "limit_price": self.limit_price,
            "stop_price": self.stop_price,
            "trail_amount": self.trail_amount,
            "trail_percent": self.trail_percent,
            "outside_rth": bool(self.outside_rth),
        }
        if self.order_type == "BRACKET":
            order |= {
                "take_profit": {"limit_price": self.take_profit_price},
                "stop_loss": {"stop_price": self.stop_loss_price},
            }
        if self.order_type == "OCA":
            order["oca"] = {"group": self.oca_group}
        return OrderRequest.model_validate(order)

    def _type(self) -> str:
        """The order's own type. The form of a bracket has a stop price and no limit price, that of a group has neither."""
        if self.order_type not in ("BRACKET", "OCA"):
            return self.order_type
        return _OWN_TYPES[(self.limit_price is not None) + 2 * (self.stop_price is not None)]

    def _check(self) -> None:
        """Nothing that the page sends is left out in silence."""
        needs = {"take_profit_price": "BRACKET", "stop_loss_price": "BRACKET", "oca_group": "OCA"}
        for name, kind in needs.items():
            given = getattr(self, name) is not None
            if given and self.order_type != kind:
                raise InvalidInput.field(name, f"belongs to another order_type than {self.order_type}", [kind])
            if not given and self.order_type == kind:
                raise InvalidInput.field(name, f"is missing: {kind} needs it")
        if self.hidden:
            raise InvalidInput.field("hidden", "orders cannot be hidden here", ["false"])
        if self.discretionary_amount is not None and Decimal(self.discretionary_amount):
            raise InvalidInput.field("discretionary_amount", "orders have none here", ["0"])


class FrontEndChange(BaseModel):
    """Other terms of an order. What is null or absent stays as it is."""

    model_config = ConfigDict(extra="forbid")

    quantity: Number | None = None
    limit_price: Number | None = None
    stop_price: Number | None = None

    def change(self) -> ChangeRequest:
        """The change that is meant. InvalidInput where nothing is to change."""
        given = self.model_dump(exclude_none=True)
        if not given:
            raise InvalidInput.field("quantity", "give at least one field with a value", list(type(self).model_fields))
        return ChangeRequest.model_validate(given)


@contextmanager
def fields_of_the_page() -> Iterator[None]:
    """An error about a field of our own body becomes one about the field that the page sent."""
    try:
        yield
    except InvalidInput as wrong:
        if len(wrong.errors) != 1 or wrong.errors[0].field not in _FIELDS:
            raise
        raise wrong.renamed(_FIELDS) from None
