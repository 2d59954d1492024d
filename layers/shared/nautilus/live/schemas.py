"""Bodies of the routes of live data."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from nautilus.http.json_values import WHOLE_NUMBER
from nautilus.live.watch_series import MAX_WATCHED
from nautilus.market.symbols import InstrumentName, Selector, name_of, select

MAX_WANTS = 200
"""Wants of one caller at a time, whatever their kind."""
MAX_TICKS = 5
"""Of these, wants of ticks: IB gives five such streams for the whole login."""
MAX_CON_ID = 2**53 - 1
"""Beyond it not every program that reads JSON keeps a number as it is. IB's numbers of contracts are far below."""
LEASE_S = 300
SHORTEST_LEASE_S, LONGEST_LEASE_S = 60, 86_400


class NamedInstrument(BaseModel):
    """One way to name an instrument, and hints that choose between candidates."""

    model_config = ConfigDict(extra="forbid")

    symbol: str | None = Field(None, description="such as AAPL or EUR/USD")
    instrument_id: str | None = Field(None, description="such as AAPL.NASDAQ, instead of symbol")
    con_id: Annotated[int, Field(ge=1, le=MAX_CON_ID), WHOLE_NUMBER] | None = Field(
        None, description="IB's number of the contract, instead of symbol"
    )
    asset_class: str | None = None
    exchange: str | None = None
    currency: str | None = None
    expiry: str | None = Field(None, description="contract month of a future; none: the front contract")

    @property
    def selector(self) -> Selector:
        """The lookup of the instrument. InvalidInput names the field that makes no sense."""
        return select(
            symbol=self.symbol,
            instrument_id=self.instrument_id,
            asset_class=self.asset_class,
            exchange=self.exchange,
            currency=self.currency,
            con_id=self.con_id,
            expiry=self.expiry,
        )

    @property
    def given_name(self) -> str:
        """The field that names the instrument."""
        return next((n for n in ("instrument_id", "con_id") if getattr(self, n) is not None), "symbol")

    @property
    def name(self) -> InstrumentName | None:
        """The instrument_id, where that names the instrument."""
        return name_of(self.instrument_id, self.asset_class, self.currency) if self.instrument_id is not None else None


class WantRequest(NamedInstrument):
    """Live data of an instrument that somebody wants for a while."""

    kind: Literal["bars", "quotes", "ticks"] = Field(description="bars, quotes or ticks")
    timeframe: str | None = Field(None, description="of bars: 5s, 1m or longer; default 1m")
    price: str | None = Field(
        None,
        description="of bars: TRADES, AGGTRADES, MIDPOINT, BID or ASK; of ticks: TRADES, BID_ASK or MIDPOINT;"
        " default by asset class",
    )
    session: str | None = Field(None, description="of bars: rth or all; default by asset class")
    lease_s: Annotated[int, Field(ge=SHORTEST_LEASE_S, le=LONGEST_LEASE_S), WHOLE_NUMBER] = Field(
        LEASE_S, description="for how long, in seconds; ask again to go on"
    )


class WantsRequest(BaseModel):
    """What a caller wants from now on. What is wanted already gets the new lease."""

    model_config = ConfigDict(extra="forbid")

    wants: list[WantRequest] = Field(min_length=1, max_length=MAX_WANTS)


class WatchedSeries(NamedInstrument):
    """A series of the watch list."""

    timeframe: str = Field("1m", description="5s, or 1m to 8h")
    price: str | None = Field(None, description="TRADES, AGGTRADES, MIDPOINT, BID or ASK; default by asset class")
    session: str | None = Field(None, description="rth or all; default by asset class")


class WatchListRequest(BaseModel):
    """The new watch list, in its order. null: none, so that the setting holds again; an empty one keeps nothing current."""

    model_config = ConfigDict(extra="forbid")

    series: list[WatchedSeries] | None = Field(max_length=MAX_WATCHED)


class FrontEndSubscription(BaseModel):
    """What the existing web front end sends when somebody subscribes to an instrument."""

    model_config = ConfigDict(extra="forbid")

    symbol: str = Field(min_length=1)
    contract_id: str = Field("", description="IB's number of the contract; empty: the symbol alone")
    data_type: str = Field("TRADES", description="TRADES, MIDPOINT, BID, ASK or BID_ASK: each is a part of a quote")
