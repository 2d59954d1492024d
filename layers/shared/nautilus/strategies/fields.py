"""What a field of a message may hold, and whether it does. Nothing but Python's own library is imported."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any


class Kind:
    """What a field may hold. `check` returns whether a value, as JSON has it, fits."""

    def __init__(self, *, nullable: bool = False) -> None:
        self.nullable = nullable

    def check(self, value: object) -> bool:
        return (value is None and self.nullable) or (value is not None and self.fits(value))

    def fits(self, value: Any) -> bool:
        raise NotImplementedError


class Text(Kind):
    def __init__(self, *words: str, nullable: bool = False) -> None:
        super().__init__(nullable=nullable)
        self.words = words

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and (not self.words or value in self.words)


class Amount(Kind):
    """A finite decimal number, as text."""

    def fits(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return Decimal(value).is_finite()
        except InvalidOperation:
            return False


class Number(Kind):
    """A whole number."""

    def fits(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)


class Figure(Kind):
    """A number with or without a fraction; JSON of ours has neither NaN nor infinity."""

    def fits(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)


class Flag(Kind):
    def fits(self, value: Any) -> bool:
        return isinstance(value, bool)


class Free(Kind):
    """An object that others check: parameters, the body of a signal."""

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict)


class Rows(Kind):
    """A list of objects with the fields of `row`, or of values of one kind."""

    def __init__(self, row: "Mapping[str, Kind] | Kind", *, nullable: bool = False) -> None:
        super().__init__(nullable=nullable)
        self.row = row

    def fits(self, value: Any) -> bool:
        if not isinstance(value, list):
            return False
        if isinstance(self.row, Kind):
            return all(map(self.row.check, value))
        return all(isinstance(one, dict) and wrong_field(one, self.row) is None for one in value)


class Columns(Rows):
    """A list of series of bars: in each, the columns have one length."""

    def fits(self, value: Any) -> bool:
        return super().fits(value) and all(
            len({len(column) for column in one.values() if isinstance(column, list)}) == 1 for one in value
        )


class Object(Kind):
    def __init__(self, fields: Mapping[str, Kind], *, nullable: bool = False) -> None:
        super().__init__(nullable=nullable)
        self.fields = fields

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict) and wrong_field(value, self.fields) is None


def wrong_field(body: Mapping[str, object], fields: Mapping[str, Kind]) -> str | None:
    """The first field that is missing, unknown or holds what it may not; None when all fit."""
    for name, kind in fields.items():
        if not kind.check(body.get(name)):
            return name
    return next((name for name in body if name not in fields), None)
