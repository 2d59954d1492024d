"""Which series a run on some instruments reads: those on whose bars the engine fills orders."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nautilus.errors import InvalidInput
from nautilus.market.instrument import Instrument, session_kind
from nautilus.market.timeframes import Timeframe
from nautilus.strategies.instruments import TRADABLE


class RunSeries(NamedTuple):
    """A series of a run."""

    instrument: Instrument
    timeframe: Timeframe
    price: str
    session: str

    def as_dict(self) -> dict[str, Any]:
        """As `strategy_runs.series` has it."""
        return {
            "con_id": self.instrument.con_id,
            "instrument_id": self.instrument.instrument_id,
            "timeframe": self.timeframe.name,
            "price": self.price,
            "session": self.session,
        }


def series_of(instruments: Sequence[Instrument], frame: Timeframe, session: str | None) -> list[RunSeries]:
    """The series of a run, in the order of its instruments. session: None: the usual one of the first.

    InvalidInput: an instrument that nobody can trade, several currencies, or the same instrument twice.
    """
    found: list[RunSeries] = []
    for n, one in enumerate(instruments):
        prices = TRADABLE.get(one.asset_class)
        if prices is None:
            raise InvalidInput.field(
                f"instruments.{n}",
                f"{one.instrument_id} ({one.asset_class}) is not traded by strategies",
                sorted(TRADABLE),
            )
        if one.currency != instruments[0].currency:
            raise InvalidInput.field(
                f"instruments.{n}", f"is in {one.currency}, the first one in {instruments[0].currency}: a run has one"
            )
        if one.con_id in {each.con_id for each in instruments[:n]}:
            raise InvalidInput.field(f"instruments.{n}", f"{one.instrument_id} is named twice")
        hours = session_kind(instruments[0].asset_class, session)
        found += [RunSeries(one, frame, price, hours) for price in sorted(prices)]
    return found
