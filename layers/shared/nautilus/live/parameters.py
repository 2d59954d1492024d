"""The parameters of requests for quotes."""

from pydantic import BaseModel, Field

from nautilus.errors import InvalidInput
from nautilus.live.newest_quotes import NamedLookup
from nautilus.market.symbols import name_of, select

MAX_SYMBOLS = 100


class QuotesParameters(BaseModel):
    """Which instruments, named by their symbols or by their instrument_ids, and hints that choose between candidates."""

    symbols: str | None = Field(None, description=f"up to {MAX_SYMBOLS}, comma-separated, such as AAPL,EUR/USD")
    instrument_ids: str | None = Field(None, description="the same by name, such as AAPL.NASDAQ,EUR/USD.IDEALPRO")
    asset_class: str | None = Field(None, description="STK, CASH, FUT, IND, ...; default from the symbol")
    exchange: str | None = Field(None, description="a hint between candidates")
    currency: str | None = Field(None, description="STK: default USD")

    def lookups(self) -> list[NamedLookup]:
        """The instruments, each with its lookup. InvalidInput names the parameter that makes no sense."""
        if (self.symbols is None) == (self.instrument_ids is None):
            raise InvalidInput.field("symbols", "give symbols or instrument_ids", ["symbols", "instrument_ids"])
        text = self.symbols if self.symbols is not None else self.instrument_ids
        field = "symbols" if self.symbols is not None else "instrument_ids"
        names = list(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
        if not 1 <= len(names) <= MAX_SYMBOLS:
            raise InvalidInput.field(field, f"must be 1 to {MAX_SYMBOLS}, comma-separated")
        return [self._one(name) for name in names]

    def _one(self, text: str) -> NamedLookup:
        by_id = self.symbols is None
        try:
            selector = select(
                symbol=None if by_id else text,
                instrument_id=text if by_id else None,
                asset_class=self.asset_class,
                exchange=self.exchange,
                currency=self.currency,
            )
            return text, selector, name_of(text, self.asset_class, self.currency) if by_id else None
        except InvalidInput as wrong:
            raise wrong.renamed({"symbol": "symbols", "instrument_id": "instrument_ids"}) from None
