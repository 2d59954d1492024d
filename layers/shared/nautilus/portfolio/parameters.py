"""The parameters of the portfolio's lists."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from nautilus.auth.principal import Principal
from nautilus.clock import time_in_address
from nautilus.db.cursor import Cursor
from nautilus.db.orders import executions
from nautilus.db.portfolio.holdings import LAST, FillFilter
from nautilus.errors import InvalidInput
from nautilus.orders.desk import accounts_of, readable

MAX_LISTED = 1_000


class AccountParameters(BaseModel):
    """Of which accounts."""

    account: str | None = Field(
        None, max_length=32, description="of this account; none: of all that the caller may use"
    )

    def accounts(self, cursor: Cursor, caller: Principal) -> list[str]:
        """The accounts that are meant. Forbidden for one of others."""
        if self.account is not None:
            caller.require_account(self.account)
            return [self.account]
        return accounts_of(cursor, caller)


class PositionParameters(AccountParameters):
    """Which positions."""

    con_id: int | None = Field(None, ge=1, le=2**53 - 1, description="of this contract")


class TimeParameters(AccountParameters):
    """Which time."""

    since: str | None = Field(None, description="from this time on, RFC 3339 with offset, or epoch nanoseconds")
    until: str | None = Field(None, description="before this time")

    def span(self) -> tuple[int, int]:
        """[since, until) of market time in ns. InvalidInput names the parameter that makes no sense."""
        since, until = _time("since", self.since, 0), _time("until", self.until, LAST)
        if since >= until:
            raise InvalidInput.field("until", "must be later than since")
        return since, until


class FillParameters(TimeParameters):
    """Which executions, and which page of them."""

    con_id: int | None = Field(None, ge=1, le=2**53 - 1, description="of this contract")
    tag: str | None = Field(None, min_length=1, max_length=64, description="of orders with this tag")
    after: str | None = Field(None, max_length=200, description="exec_id of the last execution of the page before")
    limit: int = Field(100, ge=1, le=MAX_LISTED, description="executions on a page")
    format: Literal["json", "csv"] = Field("json", description="json, or csv for a table")

    def filter(self, caller: Principal) -> FillFilter:
        since, until = self.span()
        con_ids = None if self.con_id is None else [self.con_id]
        return FillFilter(readable(self.account, caller), since, until, con_ids, self.tag)

    def position(self, cursor: Cursor, caller: Principal) -> tuple[int, str, str] | None:
        """Where the page begins. InvalidInput when no execution of the caller has that id."""
        if self.after is None:
            return None
        found = executions.by_exec_id(cursor, self.after)
        if found is None or not caller.may_use(found.account):
            raise InvalidInput.field("after", "is no exec_id of an execution that you may see")
        return found.ts, found.account, found.exec_base


class PnlParameters(TimeParameters):
    """Which time, and whether minute by minute."""

    minutes: bool = Field(False, description="true: what IB sent in each minute, too; at most a day")


class BreakParameters(AccountParameters):
    """Which differences."""

    open: bool = Field(False, description="those that are not over")
    limit: int = Field(100, ge=1, le=MAX_LISTED)


class DayParameters(BaseModel):
    """One account, and which trade dates."""

    account: str = Field(min_length=1, max_length=32, description="of which account")
    first: date | None = Field(None, description="first trade date, yyyy-mm-dd; none: from the beginning")
    last: date | None = Field(None, description="last trade date")
    format: Literal["json", "csv"] = Field("json", description="json, or csv for a table")

    def days(self) -> tuple[date, date]:
        first, last = self.first or date.min, self.last or date.max
        if first > last:
            raise InvalidInput.field("last", "must not be earlier than first")
        return first, last


def _time(name: str, text: str | None, default: int) -> int:
    try:
        found = time_in_address(text)
    except ValueError as wrong:
        raise InvalidInput.field(name, str(wrong)) from None
    return default if found is None else found
