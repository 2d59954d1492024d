"""Numbers and flags in JSON bodies, taken as what they are: `"5"` and true are no number, `"yes"` and 1 are no flag."""

from typing import Annotated, Any

from pydantic import BeforeValidator

MAX_NUMBER = 2**63 - 1
"""The largest number that the database keeps."""


def _whole(value: Any) -> Any:
    # 5.0 is a whole number in JSON, which has one kind of number.
    if type(value) is int or (type(value) is float and value.is_integer()):
        return value
    raise ValueError("must be a whole number, without quotes")


def _flag(value: Any) -> Any:
    if type(value) is bool:
        return value
    raise ValueError("must be true or false, without quotes")


WHOLE_NUMBER = BeforeValidator(_whole)
"""Of an int, behind its limits: `Annotated[int, Field(ge=0, le=9), WHOLE_NUMBER]`; before them the document loses them."""
Flag = Annotated[bool, BeforeValidator(_flag)]
