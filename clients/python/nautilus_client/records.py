"""Rows of answers with their types: decimals as Decimal, times as datetime, everything else as it came.

A row has the fields of the API's answer as attributes. `as_dict()` is the answer itself, with texts where JSON has texts.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from nautilus_client.times import at, to_ns

R = TypeVar("R", bound="Record")


class Record:
    """One row. A field that this class does not know, as a newer server may have, is there as it came."""

    _decimals: ClassVar[frozenset[str]] = frozenset()
    _times: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = dict(raw)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            value = self._raw[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self._raw)}") from None
        if isinstance(value, str):
            if name in self._decimals:
                return Decimal(value)
            if name in self._times:
                return at(to_ns(value))
        return value

    def __getitem__(self, name: str) -> Any:
        return self._raw[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._raw})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self._raw == other._raw

    def __hash__(self) -> int:
        return hash(repr(self._raw))

    def __repr__(self) -> str:
        shown = [
            (name, value) for name, value in self._raw.items() if isinstance(value, (str, int, float)) and value != ""
        ]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown[:8])})"

    def as_dict(self) -> dict[str, Any]:
        return dict(self._raw)


class Order(Record):
    """An order as it is by now."""

    _decimals = frozenset({"quantity", "filled", "remaining", "avg_fill_price"})
    _times = frozenset({"good_till", "state_since"})
    id: str
    account: str
    instrument: Mapping[str, Any]
    side: str
    type: str
    tif: str
    quantity: Decimal
    filled: Decimal
    remaining: Decimal
    avg_fill_price: Decimal | None
    prices: Mapping[str, Mapping[str, str | None]]
    state: str
    state_since: dt.datetime
    may_exist: bool
    why: str | None
    checks: Any
    requests: Sequence[Mapping[str, Any]]
    tags: Sequence[str]
    version: int

    @property
    def over(self) -> bool:
        return self.state in ("filled", "cancelled", "expired", "rejected", "denied")

    @property
    def executions(self) -> Sequence["Execution"]:
        return [Execution(one) for one in self._raw.get("executions", ())]

    @property
    def legs(self) -> Sequence["Order"]:
        """The exits of a bracket, in the answer to its placing."""
        return [Order(one) for one in self._raw.get("legs", ())]


class Execution(Record):
    """A fill."""

    _decimals = frozenset({"quantity", "price", "value", "commission", "broker_realized", "exchange_rate"})
    _times = frozenset({"time", "as_of"})
    exec_id: str
    order_id: str | None
    account: str
    side: str
    quantity: Decimal
    price: Decimal
    time: dt.datetime
    commission: Decimal | None
    commission_currency: str | None


class Position(Record):
    """A position, by executions; `broker` is what IB says of it."""

    _decimals = frozenset({"quantity", "multiplier", "average_price", "cost", "market_value", "unrealized"})
    _times = frozenset({"opened_at", "verified_at", "as_of"})
    account: str
    quantity: Decimal
    average_price: Decimal | None
    cost: Decimal | None
    market_value: Decimal | None
    unrealized: Decimal | None
    mark: Mapping[str, Any] | None
    broker: Mapping[str, Any]
    break_id: int | None
    stale: bool


class Account(Record):
    """An account, with the values that IB sent."""

    _times = frozenset({"opened_at"})
    account: str
    values: Mapping[str, Any]


class Balance(Record):
    """Cash of one currency."""

    _decimals = frozenset({"cash", "exchange_rate"})
    _times = frozenset({"as_of"})
    account: str
    currency: str
    cash: Decimal


class Instrument(Record):
    """A contract."""

    con_id: int
    instrument_id: str
    symbol: str
    asset_class: str
    min_tick: float | None
    time_zone: str


class Series(Record):
    """A series that is stored, and how far it has come."""

    _times = frozenset({"head", "first_bar", "last_bar", "changed_at"})
    series_id: int
    instrument_id: str
    timeframe: str
    price: str
    session: str
    data_version: int


class Session(Record):
    """One range of trading."""

    _times = frozenset({"open", "close"})
    trade_date: str
    open: dt.datetime
    close: dt.datetime


class Calendar(Record):
    """Trading sessions of an instrument, and for which time they are known (`known`; null: not at all)."""

    instrument_id: str
    time_zone: str
    known: Mapping[str, str] | None

    @property
    def sessions(self) -> Sequence[Session]:
        return [Session(one) for one in self._raw["sessions"]]


class Coverage(Record):
    """What of a window is there, range by range."""

    instrument_id: str
    data_version: int
    window: Mapping[str, str]
    intervals: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]


def records(kind: type[R], rows: Sequence[Mapping[str, Any]]) -> list[R]:
    return [kind(row) for row in rows]
