"""Bodies of the routes of orders.

Prices and quantities are decimals: text such as "187.25", or whole numbers. A number with a decimal point would have become
a binary fraction on its way, so it is refused with the way to write it.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from nautilus.clock import nanoseconds
from nautilus.http.json_values import WHOLE_NUMBER, Flag
from nautilus.live.schemas import NamedInstrument
from nautilus.market.instrument import Instrument
from nautilus.orders.groups import MAX_GROUP
from nautilus.orders.ticket import Exit, Oca, OrderType, Origin, Prices, Side, Ticket, Tif

MAX_WHOLE_DIGITS, MAX_DECIMALS = 15, 12
"""Digits before and after the point of a price or quantity: more than any instrument has, and far from what Decimal rounds."""
_DECIMAL = rf"-?[0-9]{{1,{MAX_WHOLE_DIGITS}}}(\.[0-9]{{1,{MAX_DECIMALS}}})?"
MAX_TAGS, MAX_TAG = 10, 64
VALID_FOR_S, LONGEST_VALID_S = 30, 86_400
MAX_ACCOUNT, MAX_REASON = 32, 500
_EXAMPLE = 'text such as "187.25", or a whole number'


def decimal_of(value: Any) -> Decimal:
    """The decimal that a body gives as text or as a whole number; ValueError says how to write it."""
    if type(value) is float:
        raise ValueError(f'must be {_EXAMPLE}: write "{value!r}" in quotes, a number with a point is not exact')
    if type(value) is int and abs(value) < 10**MAX_WHOLE_DIGITS:
        return Decimal(value)
    if not isinstance(value, str) or not re.fullmatch(_DECIMAL, value):
        digits = f"at most {MAX_WHOLE_DIGITS} digits before the point and {MAX_DECIMALS} after it"
        raise ValueError(f"must be {_EXAMPLE}, without exponent, with {digits}")
    return Decimal(value)


def _text(value: Decimal) -> str:
    return f"{value:f}"


DecimalText = Annotated[
    Decimal,
    BeforeValidator(decimal_of),
    PlainSerializer(_text, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^{_DECIMAL}$"}, {"type": "integer"}]}),
]
"""A price, quantity or amount of a body: text or a whole number, kept as it was written."""


class TakeProfit(BaseModel):
    """The order that ends a bracket with a profit."""

    model_config = ConfigDict(extra="forbid")

    limit_price: DecimalText
    tif: Literal["DAY", "GTC"] = "GTC"

    def exit(self) -> Exit:
        return Exit(OrderType.LMT, Prices(limit=self.limit_price), Tif(self.tif))


class StopLoss(BaseModel):
    """The order that ends a bracket with a loss: STP, with a limit STP_LMT; with a trail TRAIL, with both TRAIL_LIMIT."""

    model_config = ConfigDict(extra="forbid")

    stop_price: DecimalText | None = None
    limit_price: DecimalText | None = None
    trail_amount: DecimalText | None = None
    trail_percent: DecimalText | None = None
    tif: Literal["DAY", "GTC"] = "GTC"

    def exit(self) -> Exit:
        trails = self.trail_amount is not None or self.trail_percent is not None
        limited = self.limit_price is not None
        plain = OrderType.STP_LMT if limited else OrderType.STP
        trailing = OrderType.TRAIL_LIMIT if limited else OrderType.TRAIL
        prices = Prices(self.limit_price, self.stop_price, self.trail_amount, self.trail_percent)
        return Exit(trailing if trails else plain, prices, Tif(self.tif))


class OcaGroup(BaseModel):
    """A group of orders of one account of which one cancels the others."""

    model_config = ConfigDict(extra="forbid")

    group: str = Field(min_length=1, max_length=MAX_GROUP, description="the same name for all orders of the group")
    type: Annotated[int, Field(ge=1, le=3), WHOLE_NUMBER] = Field(
        1, description="1: cancel the others; 2: reduce them; 3: reduce them, and two may fill"
    )


class OrderRequest(NamedInstrument):
    """An order: what, which side, how much, at which prices, how long."""

    account: str | None = Field(
        None, min_length=1, max_length=MAX_ACCOUNT, description="none: the only account that the caller may use"
    )
    side: Literal["BUY", "SELL"]
    type: Literal["MKT", "LMT", "STP", "STP_LMT", "TRAIL", "TRAIL_LIMIT", "MIT", "LIT", "MOC", "LOC"]
    quantity: DecimalText = Field(description="shares, contracts, coins, or units of a pair's first currency")
    limit_price: DecimalText | None = Field(None, description="of LMT, STP_LMT, TRAIL_LIMIT, LIT, LOC")
    stop_price: DecimalText | None = Field(None, description="of STP, STP_LMT, MIT, LIT; where a trailing stop begins")
    trail_amount: DecimalText | None = Field(None, description="of TRAIL, TRAIL_LIMIT: distance from the market")
    trail_percent: DecimalText | None = Field(None, description="the same in percent")
    tif: Literal["DAY", "GTC", "GTD", "IOC", "FOK", "OPG"] = "DAY"
    good_till: int | None = Field(None, description="of GTD: RFC 3339 with offset, or epoch nanoseconds")
    outside_rth: Flag = Field(False, description="may trade before and after regular hours")
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None
    oca: OcaGroup | None = None
    valid_for_s: Annotated[int, Field(ge=1, le=LONGEST_VALID_S), WHOLE_NUMBER] = Field(
        VALID_FOR_S, description="for how long it may wait before it is sent"
    )
    tags: list[Annotated[str, Field(min_length=1, max_length=MAX_TAG)]] = Field(
        default_factory=list, max_length=MAX_TAGS
    )
    allow_duplicate: Flag = Field(False, description="the same order shortly before was no mistake")
    round_prices: Flag = Field(False, description="prices off their step become the next ones that are not worse")
    dry_run: Flag = Field(False, description="checks alone, nothing is stored")

    @field_validator("good_till", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return nanoseconds(value)

    @property
    def prices(self) -> Prices:
        return Prices(self.limit_price, self.stop_price, self.trail_amount, self.trail_percent)

    def ticket(self, account: str, instrument: Instrument, origin: Origin = Origin.API) -> Ticket:
        """The ticket of this body, for an account and the instrument that its words mean."""
        return Ticket(
            account=account,
            instrument=instrument,
            side=Side(self.side),
            type=OrderType(self.type),
            quantity=self.quantity,
            tif=Tif(self.tif),
            prices=self.prices,
            good_till=self.good_till,
            outside_rth=self.outside_rth,
            take_profit=self.take_profit.exit() if self.take_profit else None,
            stop_loss=self.stop_loss.exit() if self.stop_loss else None,
            oca=Oca(self.oca.group, self.oca.type) if self.oca else None,
            valid_for_s=self.valid_for_s,
            tags=tuple(self.tags),
            allow_duplicate=self.allow_duplicate,
            round_prices=self.round_prices,
            dry_run=self.dry_run,
            origin=origin,
        )


class ChangeRequest(BaseModel):
    """What of an open order is to change. What is not named stays as it is."""

    model_config = ConfigDict(extra="forbid")

    quantity: DecimalText | None = Field(None, description="the whole quantity, what has filled included")
    limit_price: DecimalText | None = None
    stop_price: DecimalText | None = None
    trail_amount: DecimalText | None = None
    trail_percent: DecimalText | None = None

    @model_validator(mode="after")
    def _something(self) -> "ChangeRequest":
        if not self.changed():
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        return self

    def changed(self) -> dict[str, Decimal]:
        """The fields that were given, by name."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in given.items() if value is not None}


class ResolveRequest(BaseModel):
    """What a person found out about an order that may exist, or about a modify that IB may have taken."""

    model_config = ConfigDict(extra="forbid")

    outcome: Literal["never_arrived", "cancelled", "modify_not_done"]
    note: str = Field(min_length=1, max_length=MAX_REASON, description="how that is known")


class KillRequest(BaseModel):
    """Stop all trading. Cancels go out as `cancel` says; protective stops stay with `entries`."""

    model_config = ConfigDict(extra="forbid")

    accounts: list[Annotated[str, Field(min_length=1, max_length=MAX_ACCOUNT)]] | None = Field(
        None, min_length=1, max_length=50, description="none: all that the caller may use"
    )
    reason: str = Field(min_length=1, max_length=MAX_REASON)
    cancel: Literal["none", "entries", "ours", "everything"] | None = Field(
        None, description="none: `entries`, or `ours` with flatten"
    )
    flatten: Flag = Field(False, description="close the positions once no order is open")


class ResumeRequest(BaseModel):
    """Trade again after a kill or a trigger."""

    model_config = ConfigDict(extra="forbid")

    accounts: list[Annotated[str, Field(min_length=1, max_length=MAX_ACCOUNT)]] | None = Field(
        None, min_length=1, max_length=50, description="none: all"
    )
    reason: str = Field(min_length=1, max_length=MAX_REASON)
    state: Literal["active", "reducing"] = "active"


class LimitRequest(BaseModel):
    """One limit of an account, or of all (`*`). A null value takes the limit away."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field("*", min_length=1, max_length=MAX_ACCOUNT)
    name: str = Field(min_length=1, max_length=64)
    value: DecimalText | None
