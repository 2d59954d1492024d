"""Spans as PostgreSQL writes ranges and multiranges, both ways."""

import re

from nautilus.spans import Span, Spans


def multirange(spans: Spans) -> str:
    """PostgreSQL's text of an int8multirange."""
    return "{" + ",".join(f"[{start},{end})" for start, end in spans) + "}"


def spans_of(text: str | None) -> Spans:
    """The spans of an int8multirange's text (psycopg2 has no type for it)."""
    numbers = re.findall(r"\[(-?\d+),(-?\d+)\)", text or "")
    return Spans((int(start), int(end)) for start, end in numbers)


def int8range(span: Span) -> str:
    """PostgreSQL's text of an int8range."""
    return f"[{span[0]},{span[1]})"


def span_of(text: str) -> Span:
    """The span of an int8range's text."""
    return next(iter(spans_of(text)))
