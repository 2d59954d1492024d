"""A query for bars: everything that a caller asks of a read, parsed and checked."""

from functools import lru_cache
from typing import NamedTuple

from nautilus.coverage.availability import Window
from nautilus.market.symbols import InstrumentName, Selector
from nautilus.market.timeframes import Timeframe
from nautilus.reading import page_token
from nautilus.reading.as_of import AsOf
from nautilus.reading.formats import Format

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 50_000
MAX_SYMBOLS = 100
MAX_WAIT_S = 20.0

_digest = lru_cache(256)(page_token.digest)


class BarsQuery(NamedTuple):
    """What a caller asks for. `names` are the words each instrument was named by."""

    selectors: tuple[Selector, ...]
    names: tuple[str | None, ...]
    several: bool
    timeframe: Timeframe
    price: str | None
    session: str | None
    window: Window
    descending: bool
    form: Format
    fields: tuple[str, ...]
    page_token: str | None = None
    gzip: bool = False
    if_none_match: str = ""
    wait_s: float | None = None
    """How long to hold the answer for what is under way; None: the setting, when nothing is there at all."""
    instrument_name: InstrumentName | None = None
    """The instrument_id of the one instrument, where it was named by that."""
    as_of: AsOf | None = None
    """The version of the series that is meant; None: the bars as they are now."""
    backfill: bool = True
    """What is missing may be requested from IB."""
    live: bool = False
    """With the provisional bars that history has not confirmed."""

    @property
    def backward(self) -> bool:
        """True when pages go from the newest to the oldest."""
        return self.descending or self.window.start is None

    @property
    def digest(self) -> str:
        """What must be the same from page to page."""
        keys = tuple(selector.key + selector.exchange_hint + selector.venue for selector in self.selectors)
        window = (self.window.start, self.window.end)
        more: tuple[object, ...] = ("live",) if self.live else () if self.as_of is None else (tuple(self.as_of),)
        return _digest(keys, self.timeframe.name, self.price, self.session, window, self.descending, *more)
