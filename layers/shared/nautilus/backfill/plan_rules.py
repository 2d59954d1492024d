"""The numbers that plans are made by: one source for the bridge, which plans, and for the functions, which foretell plans.

The bridge has them from its settings and publishes them with its session. Functions read what it published; while no
bridge ever came, the built-in numbers hold.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.coverage.splits import OVERLAP_BARS
from nautilus.market.timeframes import REQUEST_SPANS_S

HEAD_DAYS = 30
"""So long, machine time, a head is believed."""
HEAD_MATTERS_NS = 365 * NS_PER_DAY
"""Only requests for bars that reach further back than this ask for the head first: heads count as small-bar requests."""

_FEW = 4


class PlanRules(NamedTuple):
    """What a plan depends on besides the series and its sessions.

    spans_s: timeframe -> longest request in seconds (`NAUTILUS_CHUNK_SPANS`). open_requests: how many may be open at IB
    at once (`NAUTILUS_MAX_OPEN_REQUESTS`).
    """

    spans_s: Mapping[str, int] = REQUEST_SPANS_S
    open_requests: int = 6

    @classmethod
    def of(cls, published: Mapping[str, Any] | None) -> "PlanRules":
        """The rules as a bridge published them; built-in numbers for what it did not publish."""
        numbers = published or {}
        spans_s = {**REQUEST_SPANS_S, **{str(k): int(v) for k, v in numbers.get("chunk_spans_s", {}).items()}}
        return cls(spans_s, int(numbers.get("max_open_requests") or cls().open_requests))

    @property
    def published(self) -> dict[str, Any]:
        """As JSON."""
        return {"chunk_spans_s": dict(self.spans_s), "max_open_requests": self.open_requests}

    @staticmethod
    def overlap(asset_class: str, mode: str) -> int:
        """How many bars a request reaches into covered ranges: stocks may split."""
        return OVERLAP_BARS if asset_class == "STK" and mode != "force" else 0

    def is_small(self, length: int, timeframe: str) -> bool:
        """True for so few requests that a head, which saves those before it, is not waited for. length: in ns."""
        return length <= _FEW * self.spans_s[timeframe] * NS_PER_S

    @staticmethod
    def asks_head(start: int, now: int) -> bool:
        """True when bars from `start` on are requested only after their head."""
        return start <= now - HEAD_MATTERS_NS
