"""Quotients as they are answered: rounded, however large they are."""

from decimal import ROUND_HALF_EVEN, Context, Decimal

_CONTEXT = Context(prec=400)
"""Python's own takes 28 digits, and raises for more."""


def rounded(value: Decimal, decimals: int = 10) -> Decimal:
    """To so many decimals: ten are more than any price has."""
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN, context=_CONTEXT)
