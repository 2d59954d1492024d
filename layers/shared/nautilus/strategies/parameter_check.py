"""Whether parameters fit the JSON schema of a template: a flat object of numbers, texts, flags and lists.

The strategy's own process checks them once more, with the model that the schema was made of. Rules alone, no I/O.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from nautilus.errors import FieldError, InvalidInput
from nautilus.strategies.relations import RELATIONS, broken, wrong

FIELD = "parameters"


def checked(schema: Mapping[str, Any], given: Mapping[str, Any], *, relations: bool = True) -> dict[str, Any]:
    """The parameters, with defaults for those that are left out. InvalidInput names every one that is wrong, and what fits.
    relations: look at those between two parameters, too."""
    fields: Mapping[str, Any] = schema.get("properties", {})
    known = sorted(fields)
    errors = [
        FieldError(f"{FIELD}.{name}", "is not a parameter of this template", known)
        for name in given
        if name not in fields
    ]
    found = {}
    for name, field in fields.items():
        if name in given:
            errors += [FieldError(f"{FIELD}.{name}", *wrong) for wrong in _wrong(_resolved(field, schema), given[name])]
            found[name] = given[name]
        elif "default" in field:
            found[name] = field["default"]
        elif name in schema.get("required", ()):
            errors.append(FieldError(f"{FIELD}.{name}", "is missing"))
    if relations and not errors:
        rules = schema.get(RELATIONS, ())
        rules = () if wrong(rules, fields) else rules  # a row of a template that was described otherwise
        errors = [FieldError(f"{FIELD}.{one.name}", one.words) for one in broken(rules, found)]
    if errors:
        raise InvalidInput("; ".join(f"{one.field}: {one.detail}" for one in errors[:5]), errors=errors[:20])
    return found


def _resolved(field: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a reference names, with what stands beside the reference."""
    if "allOf" in field and len(field["allOf"]) == 1:
        field = {**field["allOf"][0], **{name: value for name, value in field.items() if name != "allOf"}}
    name = str(field.get("$ref", "")).rpartition("/")[2]
    return {**schema.get("$defs", {}).get(name, {}), **field} if name else field


def _wrong(field: Mapping[str, Any], value: Any) -> Iterator[tuple[str, list[str] | None]]:
    """What is wrong with a value, and what would be right."""
    ways = [way for way in field.get("anyOf", ()) if isinstance(way, Mapping)]
    numbers = [way for way in ways if way.get("type") == "number"]
    if numbers and isinstance(value, str):  # a decimal: as text it has the bounds that it has as a number
        yield from _out_of_bounds(numbers[0], value)
        return
    if ways:
        found = [list(_wrong(way, value)) for way in ways]
        if all(found):
            yield found[0][0]
        return
    allowed = field.get("enum") or ([field["const"]] if "const" in field else None)
    if allowed is not None and value not in allowed:
        yield "is not one of them", [str(one) for one in allowed]
        return
    kind = field.get("type")
    if kind is not None and not _FITS.get(kind, _anything)(value):
        yield f"must be {_WORDS.get(kind, kind)}", None
    elif kind in ("integer", "number") or (kind == "string" and "pattern" in field and _number(value) is not None):
        yield from _out_of_bounds(field, value)
    elif kind == "string":
        yield from _wrong_text(field, value)
    elif kind == "array":
        yield from _wrong_list(field, value)


def _out_of_bounds(field: Mapping[str, Any], value: Any) -> Iterator[tuple[str, list[str] | None]]:
    number = _number(value)
    if number is None:
        yield "must be a number", None
        return
    for name, words, fits in _BOUNDS:
        limit = _number(field.get(name))
        if limit is not None and not fits(number, limit):
            yield f"must be {words} {field[name]}", None
    step = _number(field.get("multipleOf"))
    if step and number % step:
        yield f"must be a multiple of {step}", None
    if field.get("type") == "string":
        yield from _wrong_text(field, value)


def _wrong_text(field: Mapping[str, Any], value: str) -> Iterator[tuple[str, list[str] | None]]:
    if len(value) < field.get("minLength", 0):
        yield f"must have at least {field['minLength']} characters", None
    if len(value) > field.get("maxLength", len(value)):
        yield f"must have at most {field['maxLength']} characters", None
    if "pattern" in field and not re.search(field["pattern"], value):
        yield f"must match {field['pattern']}", None


def _wrong_list(field: Mapping[str, Any], value: list[Any]) -> Iterator[tuple[str, list[str] | None]]:
    if len(value) < field.get("minItems", 0):
        yield f"must have at least {field['minItems']} entries", None
    if len(value) > field.get("maxItems", len(value)):
        yield f"must have at most {field['maxItems']} entries", None
    for one in value:
        yield from list(_wrong(field.get("items", {}), one))[:1]


def _number(value: Any) -> Decimal | None:
    """A number, or a text that is one; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _anything(value: Any) -> bool:
    return True


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float))


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "integer": _is_whole,
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_BOUNDS: tuple[tuple[str, str, Callable[[Decimal, Decimal], bool]], ...] = (
    ("minimum", "at least", operator.ge),
    ("maximum", "at most", operator.le),
    ("exclusiveMinimum", "more than", operator.gt),
    ("exclusiveMaximum", "less than", operator.lt),
)
