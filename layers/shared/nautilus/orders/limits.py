"""The limits of risk: one table of names with their defaults, and how the rows of an administrator change them.

An account's own row counts before a row of all accounts (`*`), and that before the default of the account's kind. A row
without a value takes a limit away. Values are Decimal.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from nautilus.errors import InvalidInput
from nautilus.market.account_kind import AccountKind

ALL_ACCOUNTS = "*"
MAX_LIMIT = Decimal(10) ** 15
"""Above what any account holds, and far below what numeric cannot keep."""
ALLOW = "allow:"
"""A row of this name and an asset class or con_id, such as `allow:STK` or `allow:265598`, with the value 1 puts it on the
list of what may be traded; with 0 it takes it off again."""
_ALLOW_NAME = re.compile(r"(?a)allow:(?:([A-Z]{2,6})|([1-9]\d{0,15}))")


class Limit(NamedTuple):
    """One limit: its default for real money and for paper and simulator, its unit, and what it means.

    None: no limit. Unit `0 or 1` is a switch.
    """

    live: Decimal | None
    paper: Decimal | None
    unit: str
    text: str

    def default(self, kind: AccountKind) -> Decimal | None:
        return self.live if kind == "live" else self.paper


class LimitRow(NamedTuple):
    """A row that an administrator wrote. account: `*` for all."""

    account: str
    name: str
    value: Decimal | None


SWITCH = "0 or 1"
BASE = "base currency"


def _same(value: str | None, unit: str, text: str) -> Limit:
    number = None if value is None else Decimal(value)
    return Limit(number, number, unit, text)


def _by_kind(live: str, paper: str, unit: str, text: str) -> Limit:
    return Limit(Decimal(live), Decimal(paper), unit, text)


LIMITS: Mapping[str, Limit] = {
    "quantity_shares": _same("1000", "shares", "the most shares in one order of a stock or CFD"),
    "quantity_contracts": _same("5", "contracts", "the most contracts in one order of a future or option"),
    "quantity_units": _same("100000", "units", "the most units in one order of a currency pair or commodity"),
    "quantity_coins": _same("10", "coins", "the most coins in one order of a crypto currency"),
    "notional": _by_kind("25000", "250000", BASE, "the largest value of one order"),
    "collar_percent": _same("5", "%", "how far a price may be worse than the reference"),
    "collar_percent_futures": _same("3", "%", "the same of a future"),
    "collar_percent_currencies": _same("1", "%", "the same of a currency pair"),
    "collar_percent_passive": _same("50", "%", "how far a price may be better than the reference"),
    "collar_percent_reducing": _same("15", "%", "how far a price of a reducing order may be worse than the reference"),
    "collar_percent_close": _same("10", "%", "how far a price may be worse than the last close, where no quote is new"),
    "reference_age": _same("60", "s", "how old a quote may be to be the reference"),
    "quote_age": _same("5", "s", "how old a quote may be for a market order"),
    "spread_percent": _same("1", "%", "the widest spread for a market order, of the middle of bid and ask"),
    "position": _by_kind("50000", "500000", BASE, "the largest position in one instrument, open orders counted"),
    "gross_exposure": _by_kind("200000", "2000000", BASE, "the largest sum of all positions and open orders"),
    "gross_exposure_percent": _same("100", "%", "the same in percent of the net liquidation value"),
    "short": _same("0", SWITCH, "1: stocks, CFDs, options and coins may be sold short"),
    "daily_loss_reducing": _same("2", "%", "the loss of the day by IB's count from which only reducing orders pass"),
    "daily_loss_halted": _same("4", "%", "the loss of the day by IB's count from which no order passes"),
    "orders_per_second": _same("5", "orders", "orders and changes of one caller in a second"),
    "orders_per_minute": _same("60", "orders", "orders and changes of one caller in a minute"),
    "orders_per_day": _same("500", "orders", "orders and changes of one caller in 24 hours"),
    "account_orders_per_second": _same("10", "orders", "orders and changes of one account in a second"),
    "order_ratio": _same("18", "to 1", "orders, changes and cancels to each execution; beyond it no change is sent"),
    "duplicate_window": _same("10", "s", "how long an equal order under another key counts as a mistake"),
    "open_orders": _same("15", "orders", "open orders of one instrument and side"),
    "margin_check": _by_kind(
        "1", "0", SWITCH, "1: IB is asked for the margin before a future, an option or a short sale"
    ),
    "cool_down_losses": _same(
        None, "trades", "losing trades in one trade date after which no entry passes for a while"
    ),
    "cool_down": _same("1800", "s", "how long that is"),
    "restart_window": _same("60", "s", "how long before the gateway's restart no order is sent"),
}
"""Name -> limit. docs/orders.md has the same table, and where the figures come from."""

QUANTITY_LIMITS: Mapping[str, str] = {
    **dict.fromkeys(("STK", "CFD"), "quantity_shares"),
    **dict.fromkeys(("FUT", "OPT", "FOP"), "quantity_contracts"),
    **dict.fromkeys(("CASH", "CMDTY"), "quantity_units"),
    "CRYPTO": "quantity_coins",
}
"""Asset class -> the limit of a quantity. What is not here is not traded: IND has no orders, BOND is quoted in percent."""


def merged(rows: Iterable[LimitRow], account: str, kind: AccountKind) -> dict[str, Decimal | None]:
    """Every limit of an account by name. None: no limit. Rows of other accounts and of unknown names count for nothing."""
    values = {name: limit.default(kind) for name, limit in LIMITS.items()}
    given = tuple(rows)
    for wanted in (ALL_ACCOUNTS, account):
        values |= {row.name: row.value for row in given if row.account == wanted and row.name in LIMITS}
    return values


def allowed(rows: Iterable[LimitRow], account: str) -> frozenset[str]:
    """The asset classes and con_ids, as text, that an account may trade by its rows; empty where there is no list."""
    listed: dict[str, bool] = {}
    given = tuple(rows)
    for wanted in (ALL_ACCOUNTS, account):
        listed |= {
            row.name.removeprefix(ALLOW): row.value == 1
            for row in given
            if row.account == wanted and row.name.startswith(ALLOW)
        }
    return frozenset(name for name, on in listed.items() if on)


def checked(name: str, value: Decimal | None) -> Decimal | None:
    """A value that an administrator gives a limit. InvalidInput names the field and what is allowed."""
    found = _ALLOW_NAME.fullmatch(name)
    if name not in LIMITS and not (found and (found[1] in (None, *QUANTITY_LIMITS))):
        raise InvalidInput.field(
            "name", f"{name[:64]!r} is no limit", (*LIMITS, "allow:<asset class>", "allow:<con_id>")
        )
    if value is None:
        return None
    if found or LIMITS[name].unit == SWITCH:
        if value not in (0, 1):
            raise InvalidInput.field("value", f"{name} is a switch", ("0", "1"))
    elif not (value.is_finite() and 0 <= value <= MAX_LIMIT):
        raise InvalidInput.field("value", f"{name} must be from 0 to {MAX_LIMIT:f}, or null for no limit")
    return value
