"""Values of any kind as JSON that PostgreSQL takes: decimals as texts, and no text that jsonb would refuse."""

import json
import math
from collections.abc import Iterable, Mapping

from nautilus.db.connection import Json

_LONGEST = 10_000
"""Characters of one text that are kept: IB's longest frames have a few hundred."""
_DEEPEST = 8


def clean_text(text: str) -> str:
    """The text without what PostgreSQL cannot store: the null character and half of a surrogate pair; not longer than 10,000."""
    return text[:_LONGEST].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def plain(value: object, depth: int = 0) -> object:
    """The same as JSON has it. Decimals and whatever JSON does not know become texts; so do floats that are not finite."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {clean_text(str(key)): plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and depth < _DEEPEST:
        return [plain(inner, depth + 1) for inner in value]
    return clean_text(str(value))


def as_json(value: object) -> Json:
    """A value for a column of type jsonb."""
    return Json(plain(value), dumps=json.dumps)
