"""Parameters against the schemas of templates, and the combinations of a sweep."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from nautilus.errors import InvalidInput
from nautilus.strategies.grid import combinations
from nautilus.strategies.parameter_check import checked
from nautilus.strategies.relations import wrong


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


RELATED = {
    "properties": {
        "fast": {"type": "integer", "default": 10},
        "slow": {"anyOf": [{"type": "number"}, {"type": "string"}]},
    },
    "x-relations": [["fast", "<", "slow"]],
}


@pytest.mark.parametrize("given", [{"fast": 50, "slow": 20}, {"fast": 20, "slow": 20}, {"slow": "9.5"}])
def test_a_relation_that_is_broken_is_named_and_a_combination_of_a_sweep_may_break_it(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(RELATED, given)
    assert [(one.field, one.detail) for one in refused.value.errors] == [("parameters.fast", "must be below slow")]
    assert checked(RELATED, given, relations=False)["slow"] == given["slow"]


@pytest.mark.parametrize("given", [{"fast": 5, "slow": 20}, {"slow": "10.5"}, {"fast": 5}])
def test_a_relation_that_holds_or_has_no_value_refuses_nothing(given: dict[str, Any]) -> None:
    assert checked(RELATED, given) == {"fast": 10} | given


def test_a_wrong_value_is_named_before_its_relation() -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(RELATED, {"fast": "many", "slow": 20})
    assert [one.field for one in refused.value.errors] == ["parameters.fast"]


@pytest.mark.parametrize(
    ("relations", "words"),
    [
        ([("fast", "<", "slow"), ("fast", "<=", "slow")], ""),
        ([("fast", ">", "slow")], "is not (parameter, < or <=, parameter)"),
        (["fast<slow"], "is not (parameter, < or <=, parameter)"),
        ([("fast", "<", "quick")], "names no parameter; there are fast, slow"),
        ([("fast", "<", ["slow"])], "is not (parameter, < or <=, parameter)"),
        (None, "None is no list"),
        ("fast < slow", "is no list"),
    ],
)
def test_relations_that_a_template_cannot_have_are_named(relations: Any, words: str) -> None:
    assert wrong(relations, ["slow", "fast"]).endswith(words)
    assert bool(wrong(relations, ["slow", "fast"])) == bool(words)


@pytest.mark.parametrize(
    "relations", [None, 5, "fast < slow", [["fast"]], [["fast", "!=", "slow"]], [[["fast"], "<", "slow"]]]
)
def test_relations_that_a_schema_has_in_another_form_refuse_nothing(relations: Any) -> None:
    assert checked(RELATED | {"x-relations": relations}, {"slow": 3}) == {"fast": 10, "slow": 3}
