"""What is done about each thing that a file says, by what the ledger has: nothing is written here."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.portfolio.imports import KnownCash, KnownFill
from nautilus.portfolio.report_rows import Problem, problem
from nautilus.portfolio.reported import ReportedCash, ReportedFill

Word = Literal["new", "replaced", "known", "refused", "taken_back", "cash_new", "cash_known"]
SHIFT_NS = 900 * NS_PER_S
"""Zones differ by quarters of an hour: a time that differs by so much was read in another zone than it was written in."""


class Verdict(NamedTuple):
    """What becomes of one thing, and what is wrong with it."""

    word: Word
    problems: Sequence[Problem] = ()


def judged(fill: ReportedFill, before: KnownFill | None) -> Verdict:
    """A fill. before: the latest revision that the ledger has of it."""
    if before is None:
        return Verdict("new")
    if before.con_id != fill.con_id:
        text = f"is another contract than the ledger has of this execution: {before.con_id}"
        return Verdict("refused", [problem_of(fill, "conid", text)])
    if before.side != fill.side:
        text = f"is another side than the ledger has of this execution: {before.side}"
        return Verdict("refused", [problem_of(fill, "buySell", text)])
    if fill.revision != before.revision:
        return Verdict("replaced" if fill.revision > before.revision else "known")
    wrong = [
        problem_of(fill, field, f"the ledger has {stored:f} for the same revision; nothing was changed")
        for field, stored, given in (
            ("quantity", before.quantity, fill.quantity),
            ("tradePrice", before.price, fill.price),
        )
        if stored != given
    ]
    if wrong:
        return Verdict("refused", wrong)
    return Verdict("known", [_other_time(fill, before)] if fill.ts // NS_PER_S != before.ts // NS_PER_S else [])


def judged_back(fill: ReportedFill, before: KnownFill | None) -> Verdict:
    """A fill that the file itself takes back, without an execution id for that."""
    if before is None or not before.quantity:
        return Verdict("taken_back")
    text = (
        f"the file takes this execution back, and the ledger has {before.quantity:f} of it: without an id of the correction"
        " nothing was changed; resolve the position break by an adjustment (correction)"
    )
    return Verdict("refused", [problem_of(fill, "ibExecID", text)])


def judged_cash(moved: ReportedCash, before: KnownCash | None) -> Verdict:
    """A movement of cash. before: what the ledger has under its id."""
    if before is None:
        return Verdict("cash_new")
    if (before.currency, before.amount) == (moved.currency, moved.amount):
        return Verdict("cash_known")
    text = f"the ledger has {before.amount:f} {before.currency} under this transaction id; nothing was changed"
    row = moved.row
    return Verdict("refused", [problem(row.line, row.name_of("amount"), row.get("amount"), text)])


def shifted(fills: Sequence[ReportedFill], known: Mapping[str, KnownFill]) -> Problem | None:
    """Why the times of a file cannot be trusted: most of its fills that the ledger has were at another time, by a quarter of
    an hour or more. The others would be put before or behind the opening by mistake."""
    pairs = [(fill, known[fill.base]) for fill in fills if fill.base in known]
    same = [(fill, before) for fill, before in pairs if fill.revision == before.revision]
    wrong = [(fill, before) for fill, before in same if abs(fill.ts - before.ts) >= SHIFT_NS]
    if len(wrong) * 2 <= len(same):
        return None
    fill, before = wrong[0]
    text = (
        f"{len(wrong)} of the {len(same)} fills that the ledger has are at other times there, this one at {rfc3339(before.ts)}:"
        " the zone of the report is another; nothing of the file was taken"
    )
    return problem_of(fill, "dateTime", text)


def _other_time(fill: ReportedFill, before: KnownFill) -> Problem:
    return problem_of(fill, "dateTime", f"the ledger has {rfc3339(before.ts)}; nothing was changed")


def problem_of(fill: ReportedFill, field: str, text: str) -> Problem:
    return problem(fill.row.line, fill.row.name_of(field), fill.row.get(field), text)


def as_known(fill: ReportedFill) -> KnownFill:
    """A fill as the ledger has it once it is written."""
    return KnownFill(
        exec_base=fill.base,
        revision=fill.revision,
        exec_id=fill.exec_id,
        con_id=fill.con_id,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        ts=fill.ts,
        commission=fill.commission,
        commission_currency=fill.commission_currency or None,
    )
