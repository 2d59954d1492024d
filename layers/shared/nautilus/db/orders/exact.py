"""Arithmetic without rounding: sums here must be those that PostgreSQL computes anew from the rows."""

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact

_EXACT = Context(prec=400, traps=[Inexact])
"""Python rounds to 28 digits by default; numeric does not."""


def difference(one: Decimal, other: Decimal) -> Decimal:
    return _EXACT.subtract(one, other)


def total(values: Iterable[Decimal]) -> Decimal:
    found = Decimal(0)
    for value in values:
        found = _EXACT.add(found, value)
    return found
