"""Parameters against the schemas of templates, and the combinations of a sweep."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from nautilus.errors import InvalidInput
from nautilus.strategies.grid import combinations
from nautilus.strategies.parameter_check import checked


class Model(BaseModel):
    """What a template declares; its schema is what a row holds."""

    model_config = {"extra": "forbid"}

    bars: Annotated[int, Field(ge=2, le=500)]
    width: Annotated[Decimal, Field(gt=0, le=10)] = Decimal(2)
    share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    side: Literal["long", "both"] = "both"
    note: Annotated[str, Field(max_length=5)] | None = None
    exits: bool = True
    levels: Annotated[list[int], Field(max_length=2)] = []


SCHEMA = Model.model_json_schema()

CASES: list[Any] = [
    {"bars": 2},
    {"bars": 500, "width": "0.5", "share": 0, "side": "long", "note": None, "exits": False, "levels": [1, 2]},
    {"bars": 3, "width": 10},
    {},
    {"bars": 1},
    {"bars": 501},
    {"bars": "many"},
    {"bars": 2, "width": "0"},
    {"bars": 2, "width": "11"},
    {"bars": 2, "width": "x"},
    {"bars": 2, "share": 1},
    {"bars": 2, "share": "much"},
    {"bars": 2, "side": "short"},
    {"bars": 2, "note": "too long"},
    {"bars": 2, "note": 5},
    {"bars": 2, "exits": []},
    {"bars": 2, "levels": [1, 2, 3]},
    {"bars": 2, "levels": ["x"]},
    {"bars": 2, "other": 1},
]


@pytest.mark.parametrize("given", CASES, ids=str)
def test_a_schema_takes_what_its_model_takes(given: dict[str, Any]) -> None:
    try:
        Model.model_validate(given)
        fits = True
    except ValidationError:
        fits = False
    if fits:
        assert checked(SCHEMA, given).items() >= given.items()
    else:
        with pytest.raises(InvalidInput) as wrong:
            checked(SCHEMA, given)
        assert wrong.value.errors[0].field.startswith("parameters.")


@pytest.mark.parametrize("given", [{"bars": True}, {"bars": 2.5}, {"bars": 2, "exits": 1}, {"bars": 2, "share": True}])
def test_no_number_or_flag_is_taken_from_another_kind(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        checked(SCHEMA, given)


def test_what_is_left_out_has_its_default() -> None:
    assert checked(SCHEMA, {"bars": 7}) == {
        "bars": 7,
        "width": "2",
        "share": 0.5,
        "side": "both",
        "note": None,
        "exits": True,
        "levels": [],
    }


def test_every_error_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as wrong:
        checked(SCHEMA, {"bars": 1, "side": "x", "colour": 1})
    assert {one.field for one in wrong.value.errors} == {"parameters.bars", "parameters.side", "parameters.colour"}
    assert next(one for one in wrong.value.errors if one.field.endswith("side")).allowed == ["long", "both"]


def test_a_grid_has_every_value_with_every_other() -> None:
    assert combinations({"a": [1, 2], "b": ["x", "y"]}, most=4) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    with pytest.raises(InvalidInput, match="makes 4 combinations"):
        combinations({"a": [1, 2], "b": [1, 2]}, most=3)
