"""What the answer to a lookup means: the contract, how old the knowledge is, and whether its words changed hands.

A ticker may pass from one company to another. A positive answer is renewed when it is old; until then, and while
IB is away, it is answered from. Another contract for the same words is reported with both numbers.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from nautilus.clock import day_of, microseconds_text
from nautilus.errors import Conflict, NotFound, Upstream
from nautilus.lookup.suggestions import elsewhere, sentence, suggestions
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import InstrumentName, Selector, ambiguous, at_venue, choose

OLD_AFTER_S = 7 * 86_400
"""A positive answer is renewed after so many seconds of machine time."""
FRONT_OLD_AFTER_S = 3_600
"""The same for a future without expiry: the front contract changes by itself."""
REFUSED_OLD_AFTER_S = 86_400
"""The same for words that IB knew once and no longer knows."""


class Lookup(NamedTuple):
    """The answer to one lookup: candidates, or IB's refusal, or both, when IB no longer knows what it knew once.

    checked_at: machine time when IB answered. former: what the words meant before they changed hands, at changed_at.
    """

    candidates: tuple[Instrument, ...]
    ib_code: int | None = None
    ib_text: str | None = None
    checked_at: datetime | None = None
    former: tuple[Instrument, ...] = ()
    changed_at: datetime | None = None


class Change(NamedTuple):
    """Words that mean another contract than before, seen at a machine time."""

    before: Instrument
    now: Instrument
    seen_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "from_con_id": self.before.con_id,
            "from_instrument_id": self.before.instrument_id,
            "to_con_id": self.now.con_id,
            "to_instrument_id": self.now.instrument_id,
            "seen_at": microseconds_text(self.seen_at) if self.seen_at is not None else None,
        }


class Identity(NamedTuple):
    """The contract that a caller's words mean, and what is known about that."""

    instrument: Instrument
    checked_at: datetime | None = None
    refusal: Upstream | None = None
    change: Change | None = None

    @classmethod
    def of(cls, selector: Selector, found: Lookup | None, chosen: Instrument) -> "Identity":
        """What the lookup of a selector tells about the contract that was chosen."""
        if found is None:
            return cls(chosen)
        refusal = Upstream(found.ib_code, found.ib_text or "") if found.ib_code else None
        return cls(chosen, found.checked_at, refusal, change_of(selector, found))

    def as_dict(self) -> dict[str, Any]:
        """`instrument` and, when the words changed hands, `instrument_changed`, as callers read them."""
        checked_at = microseconds_text(self.checked_at) if self.checked_at is not None else None
        known: dict[str, Any] = {"con_id": self.instrument.con_id, "checked_at": checked_at}
        if self.refusal is not None:
            known["upstream"] = self.refusal.as_dict()
        changed = {"instrument_changed": self.change.as_dict()} if self.change else {}
        return {"instrument": known, **changed}


def trade_day(market_ns: int) -> str:
    """The UTC day of a market time as contracts write their expiry, yyyymmdd."""
    return day_of(market_ns).strftime("%Y%m%d")


def unexpired(contracts: Sequence[Instrument], today: str) -> list[Instrument]:
    """Those that may still trade on a day (yyyymmdd)."""
    return [one for one in contracts if not one.expiry or one.expiry >= today]


def identify(
    selector: Selector, found: Lookup, today: str, alike: Callable[[], Sequence[Instrument]] = tuple
) -> Identity | None:
    """The contract that a selector means, of what its lookup found; None when only IB can tell: a front month is over.

    NotFound with IB's words and suggestions when IB knows none, and with the right names when none is at the venue of an
    instrument_id; Conflict with the candidates when several fit.

    alike: what is stored under such symbols, for the suggestions.
    """
    if not found.candidates:
        others = suggestions(selector, unexpired(alike(), today))
        raise NotFound(
            f"{selector.words} is not known to Interactive Brokers{sentence(others)}",
            code="unknown-instrument",
            upstream=Upstream(found.ib_code or 200, found.ib_text or ""),
            extra={"suggestions": others} if others else None,
        )
    alive = unexpired(found.candidates, today)
    if selector.front and not alive:
        return None
    contracts = alive or found.candidates
    if not at_venue(selector, contracts):
        raise _not_at_venue(selector, contracts)
    chosen = choose(selector, contracts)
    return Identity.of(selector, found, chosen) if chosen else None


def _not_at_venue(selector: Selector, contracts: Sequence[Instrument]) -> NotFound:
    others = elsewhere(selector, contracts)
    names = " or ".join(one["instrument_id"] for one in others[:3])
    return NotFound(
        f"{selector.words} is not listed at {selector.venue}; perhaps {names} is meant",
        code="unknown-instrument",
        extra={"suggestions": others},
    )


def identify_by_name(
    name: InstrumentName, stored: Lookup, selector: Selector, *, found: Lookup | None, today: str
) -> Identity | None:
    """The contract that has this name; None when none is known. Of expired ones the newest.

    stored: all contracts of the name. found: the lookup of the words, if there is one. Conflict with the candidates when
    several unexpired contracts share the name.
    """
    fits = [one for one in stored.candidates if name.asset_class in ("", one.asset_class)]
    fits = [one for one in fits if name.currency in ("", one.currency)]
    alive = unexpired(fits, today)
    if len(alive) > 1:
        raise ambiguous(name.text, alive)
    chosen = alive[0] if alive else max(fits, key=lambda one: one.expiry, default=None)
    return Identity.of(selector, found or stored, chosen) if chosen else None


def change_of(selector: Selector, found: Lookup) -> Change | None:
    """How the contract of these words changed; None when it did not, or when they never meant one alone."""
    if not found.former:
        return None
    try:
        before, now = choose(selector, found.former), choose(selector, found.candidates)
    except Conflict:
        return None
    if before is None or now is None or before.con_id == now.con_id:
        return None
    return Change(before, now, found.changed_at)
