"""What counts as an incident: one table of codes. docs/operations.md says of each what to do; a test holds both together."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""`critical`: something that people rely on does not work. `warning`: it works, but somebody should look."""
CODES: Mapping[str, Severity] = {
    "bridge-silent": "critical",
    "ib-connection-lost": "critical",
    "ib-login-needed": "critical",
    "ib-degraded": "warning",
    "ib-other-language": "critical",
    "ib-unknown-code": "warning",
    "live-stream-refused": "warning",
    "live-stream-stale": "warning",
    "bus-down": "critical",
    "order-unknown": "critical",
    "order-ghost": "critical",
    "order-twin": "critical",
    "order-overfill": "critical",
    "order-exits": "critical",
    "order-late-fill": "warning",
    "order-modify-late": "warning",
    "order-word-unexpected": "warning",
    "order-word-unmatched": "warning",
    "order-code-unknown": "warning",
    "order-check-missed": "warning",
    "order-precaution": "warning",
    "order-waits-for-click": "critical",
    "order-id-used": "warning",
    "order-message-rate": "warning",
    "orders-not-allowed": "critical",
    "orders-account-refused": "critical",
    "orders-not-ready": "critical",
    "orders-silent": "critical",
    "order-words-delayed": "critical",
    "order-word-lost": "critical",
    "order-inactive": "warning",
    "position-break": "critical",
    "commission-missing": "warning",
    "strategy-flatten-denied": "critical",
    "strategy-rights-lost": "warning",
    "strategy-run-ended": "critical",
}
"""Code of an incident -> how bad it is."""


CLOSED_BY_A_PERSON: frozenset[str] = frozenset(
    {
        *(
            "order-ghost",
            "order-twin",
            "order-overfill",
            "order-exits",
            "order-late-fill",
            "order-modify-late",
            "order-word-unexpected",
        ),
        *(
            "order-word-unmatched",
            "order-code-unknown",
            "order-check-missed",
            "order-precaution",
            "order-waits-for-click",
        ),
        *("order-id-used", "order-message-rate", "orders-not-allowed"),
        *("strategy-rights-lost", "strategy-run-ended"),
    }
)
"""Codes of what happened once, so that nothing can be observed to be over: a person who has looked ends them. Some of them
also end by what IB shows (`nautilus.orders.applying`)."""


class Condition(NamedTuple):
    """Something that is wrong now. code: one of CODES. subject: of what, such as a bridge. detail: values of JSON."""

    code: str
    subject: str
    detail: Mapping[str, Any]
