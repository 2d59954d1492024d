"""Relations between two parameters of a template, as its schema has them. Nothing but Python's own library is imported."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

RELATIONS = "x-relations"
"""The key of a schema with its relations: a list of [parameter, sign, parameter]. JSON Schema has none of its own."""
SIGNS: Mapping[str, tuple[str, Callable[[Decimal, Decimal], bool]]] = {
    "<": ("must be below", operator.lt),
    "<=": ("must not be above", operator.le),
}
"""Sign -> what it asks for, and whether two numbers are so."""


class Broken(NamedTuple):
    """A parameter, and what is wrong with it."""

    name: str
    words: str


def broken(relations: Iterable[Sequence[str]], values: Mapping[str, Any]) -> Iterator[Broken]:
    """The relations that do not hold. A value that is no number, or text of one, is another check's."""
    for one, sign, other in relations:
        words, holds = SIGNS[sign]
        low, high = _number(values.get(one)), _number(values.get(other))
        if low is not None and high is not None and not holds(low, high):
            yield Broken(one, f"{words} {other}")


def wrong(relations: Any, names: Iterable[str]) -> str:
    """What is wrong with the relations themselves; empty where nothing is. names: the parameters that there are."""
    known = sorted(names)
    if not isinstance(relations, (tuple, list)):
        return f"relations: {relations!r} is no list"
    for relation in relations:
        if not _is_relation(relation):
            return f"relations: {relation!r} is not (parameter, {' or '.join(SIGNS)}, parameter)"
        if not {relation[0], relation[2]} <= set(known):
            return f"relations: {relation!r} names no parameter; there are {', '.join(known)}"
    return ""


def _is_relation(given: Any) -> bool:
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        return False
    return all(isinstance(part, str) for part in given) and given[1] in SIGNS


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
