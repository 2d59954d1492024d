"""Bodies of the routes of the portfolio. Decimals and times as those of orders."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nautilus.clock import nanoseconds
from nautilus.orders.schemas import MAX_ACCOUNT, MAX_REASON, DecimalText

MAX_ID = 100
_COMMISSION = "of missed fills: what they have cost together, positive; none: nobody knows it yet"


class ResolveBreakRequest(BaseModel):
    """Why our position and IB's differ. The whole difference becomes an adjustment."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["transfer", "assignment", "expiry", "corporate_action", "missed_fills", "correction"]
    reason: str = Field(min_length=1, max_length=MAX_REASON, description="how that is known")
    price: DecimalText | None = Field(
        None,
        description="of one unit as IB quotes it; 0 for an option that expired worthless; none: nobody knows it yet",
    )
    commission: DecimalText | None = Field(None, description=_COMMISSION)
    commission_currency: str | None = Field(None, pattern=r"^[A-Z]{3}$", description="none: the contract's")
    at: int | None = Field(None, description="when: RFC 3339 with offset, or epoch nanoseconds; none: now")

    @field_validator("at", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return None if value is None else nanoseconds(value)


class PriceRequest(BaseModel):
    """What was not known of an adjustment: at which price it was made, what it has cost, or both."""

    model_config = ConfigDict(extra="forbid")

    price: DecimalText | None = None
    commission: DecimalText | None = Field(None, description=_COMMISSION)
    commission_currency: str | None = Field(None, pattern=r"^[A-Z]{3}$", description="none: the contract's")


class CashRequest(BaseModel):
    """Cash that came (positive) or went without a trade."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(min_length=1, max_length=MAX_ACCOUNT)
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="such as USD")
    amount: DecimalText
    kind: Literal["interest", "dividend", "fee", "tax", "deposit", "withdrawal", "other"]
    at: int = Field(description="when: RFC 3339 with offset, or epoch nanoseconds")
    text: str = Field("", max_length=MAX_REASON)
    external_id: str | None = Field(None, min_length=1, max_length=MAX_ID, description="IB's id: it is entered once")
    allow_duplicate: bool = Field(
        False, description="enter it although a statement has a movement of this amount within four days"
    )

    @field_validator("at", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        return nanoseconds(value)
