"""How a range of a series can stand: settled, noted with a reason, or neither.

Covered means settled: IB's answer is stored, or there is provably nothing. Everything else that is known is a note.
"No data", "not asked yet", "IB refuses" and "failed" never look alike.
"""

from enum import StrEnum
from typing import NamedTuple

from nautilus.spans import Span


class CoverageState(StrEnum):
    """How a range of a series stands, as answers show it."""

    FILLED = "filled"
    CLOSED = "closed"
    EMPTY_CONFIRMED = "empty_confirmed"
    NOT_ASKED = "not_asked"
    QUEUED = "queued"
    EMPTY_UNCONFIRMED = "empty_unconfirmed"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    STALE = "stale"
    NOT_CLOSED_YET = "not_closed_yet"
    PROVISIONAL = "provisional"


SETTLED = frozenset({CoverageState.FILLED, CoverageState.CLOSED, CoverageState.EMPTY_CONFIRMED})
NOTED = frozenset(
    {CoverageState.EMPTY_UNCONFIRMED, CoverageState.UNAVAILABLE, CoverageState.FAILED, CoverageState.STALE}
)
"""The states that are stored as notes; the others follow from `covered`, the ledger, or rules alone."""
_REFUSING = NOTED - {CoverageState.EMPTY_UNCONFIRMED}
FORGOTTEN = "retention"
"""The reason of notes where bars were forgotten: unavailable, and requested again only by force."""


class Note(NamedTuple):
    """A range that is not settled, and why. Times in market ns; `expires_at` None: until somebody asks by force."""

    span: Span
    state: CoverageState
    reason: str
    ib_code: int | None = None
    checked_at: int = 0
    expires_at: int | None = None

    def refuses(self, now: int) -> bool:
        """True while history does not bring the range although it was requested."""
        return self.state in _REFUSING and (self.expires_at is None or self.expires_at > now)
