"""What verifying a store can find, and the report of it."""

from dataclasses import dataclass, field

from nautilus.spans import Spans


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit. `kind` is one of KINDS; `spans`: where, on the axis of `series_id`."""

    kind: str
    text: str
    series_id: int | None = None
    spans: Spans = Spans()  # noqa: RUF009  immutable


KINDS = {
    "key_missing": "a table of bars has no valid primary key: duplicates would be possible",
    "bars_of_no_series": "bars or revisions of a series that does not exist",
    "bars_in_wrong_table": "bars in a table that is not read for their timeframe",
    "bars_outside_sessions": "bars where, by the known sessions, the market was closed",
    "bars_off_label": "daily, weekly or monthly bars that do not stand on a date of the calendar",
    "bars_not_covered": "bars in ranges that are neither covered nor noted",
    "covered_without_bars": "open sessions that are covered, without a bar, and without two answers that say so",
    "covered_and_noted": "ranges that are both covered and noted as unconfirmed",
    "notes_overlap": "two notes about the same range",
    "version_behind": "changes or revisions of a version that the series has not reached",
    "chunks_overlap": "two chunks under way for the same range",
    "job_counters": "counters of a job that differ from its chunks",
    "chunk_unwanted": "a chunk under way that no live job wants",
    "chunk_counts": "counts of chunks by state that differ from the chunks",
    "order_reservation": "orders that reserve something else than their quantity, fills and modify say",
    "order_reserved_sum": "sums of reservations that differ from the orders",
    "order_position": "positions that differ from openings, executions and adjustments",
    "order_fills": "orders whose filled quantity differs from their executions",
    "order_twice": "one permId, order id or execution that counts more than once",
    "order_request_open": "open requests of orders that are over",
    "adjustment_explained": "missed fills of which executions explain something else than it says there",
    "portfolio_lots": "open lots that differ from openings, executions and adjustments",
    "portfolio_matches": "closed parts of lots that differ from openings, executions and adjustments",
    "strategy_claims": "contracts that live runs hold and do not trade, or trade and do not hold",
    "strategy_fills": "back-tests that count other fills than they have",
    "strategy_order": "orders of runs that name an order of somebody else, or none",
}
RESERVATIONS = frozenset({"order_reservation", "order_reserved_sum", "order_position"})
"""What is computed anew from the rows of orders and executions."""
LOTS = frozenset({"portfolio_lots", "portfolio_matches"})
"""What is booked anew from the rows of executions and adjustments."""
REPAIRED = (
    RESERVATIONS
    | LOTS
    | {
        "covered_without_bars",
        "covered_and_noted",
        "notes_overlap",
        "bars_of_no_series",
        "chunk_counts",
        "strategy_claims",
    }
)


@dataclass
class Report:
    """What was looked at, and what was found."""

    series: int = 0
    bars: int = 0
    sessions: int = 0
    orders: int = 0
    storage: str = ""
    findings: list[Finding] = field(default_factory=list)
