"""The table at the end of a run of chaos: each kind of kill and fault, how often it came, and what became of orders it met."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from tests.support.chaos_checker import Checker
from tests.support.chaos_run import Injected

_OUTCOMES = ("filled", "cancelled", "rejected", "open", "denied", "unknown")
_OPEN = ("held", "working", "sent", "inactive")
_NAMES: Mapping[str, str] = {
    "eat_order": "order read and forgotten",
    "ack_lose": "acknowledgement lost",
    "status_duplicate": "status doubled",
    "status_skip": "status missing",
    "shuffle": "messages shuffled",
    "ack_delay": "messages late",
    "commission_first": "commission first",
    "commission_delay": "commission late",
    "precaution": "waits for a click",
    "locate": "waits for shares",
    "preset": "preset changes the order",
    "reject_order": "order refused by IB",
    "fill_plan": "filled in parts",
    "fill_after_cancel": "fill meets cancel",
}
"""Fault in the simulator's log -> its kind in the journal."""


def table(checker: Checker, journal: Sequence[Injected]) -> str:
    """Lines of text; the last ones count the orders, and the causes of those that are unknown."""
    times: Counter[str] = Counter(one.kind for one in journal if one.counts)
    met: dict[str, set[UUID]] = defaultdict(set)
    for one in journal:
        met[one.kind] |= one.met
    by_order_id = {row.order_id: row.id for row in checker.ours if row.order_id}
    for order_id, faults in checker.book.faults.items():
        for _, fault in faults:
            if fault in _NAMES and order_id in by_order_id:
                met[_NAMES[fault]].add(by_order_id[order_id])
    head = f"{'kind':34}{'times':>7}{'orders':>8}" + "".join(f"{name:>11}" for name in _OUTCOMES)
    lines = [head, "-" * len(head)]
    kinds = sorted({*times, *met}, key=lambda each: ("killed" not in each, each))
    lines += [_line(checker, kind, times[kind], met[kind]) for kind in kinds]
    lines += ["-" * len(head), _line(checker, "all", times.total(), {row.id for row in checker.ours})]
    causes = Counter(checker.causes.values())
    lines += [f"unknown: {count} x {cause}" for cause, count in causes.most_common()]
    return "\n".join(lines)


def _line(checker: Checker, kind: str, times: int, met: set[UUID]) -> str:
    states = Counter(checker.orders[one].state for one in met if one in checker.orders)
    states["open"] = sum(states[state] for state in _OPEN)
    return f"{kind:34}{times:>7}{len(met):>8}" + "".join(f"{states[name]:>11}" for name in _OUTCOMES)
