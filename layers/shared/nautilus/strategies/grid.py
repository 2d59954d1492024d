"""The combinations of a sweep: every value of each parameter of a grid with every value of the others."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from nautilus.errors import InvalidInput


def combinations(grid: Mapping[str, Sequence[Any]], *, most: int) -> list[dict[str, Any]]:
    """In the order of the grid; the last parameter changes first. InvalidInput: an empty list, or too many."""
    if not grid:
        raise InvalidInput.field("grid", "names no parameter")
    for name, values in grid.items():
        if not values:
            raise InvalidInput.field(f"grid.{name}", "has no value")
    count = prod(len(values) for values in grid.values())
    if count > most:
        raise InvalidInput.field("grid", f"makes {count:,} combinations, and may make {most} at most")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
