"""docs/settings.md and the classes of settings tell the same: every setting, its default, what is allowed, what it means."""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from nautilus.settings import api, auth, base, bridge, exports, gateway, orders, strategies, stream

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
CLASSES = {
    name: kind
    for module in (base, api, auth, gateway, bridge, exports, orders, strategies, stream)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.__name__
}
ROW = re.compile(r"^\| `(NAUTILUS_\w+)` \|.*$", re.MULTILINE)


def own_fields(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields a class adds to those it inherits."""
    inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "model_fields", {})}
    return {name: field for name, field in kind.model_fields.items() if name not in inherited}


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value: Any = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"`{value}`" if str(value) else "empty"


def allowed_of(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    limits = {
        word: getattr(rule, word) for rule in field.metadata for word in ("ge", "gt", "le") if hasattr(rule, word)
    }
    pattern = next((rule.pattern for rule in field.metadata if getattr(rule, "pattern", None)), None)
    if pattern:
        return f"`{pattern}`"
    low = f"at least {limits['ge']}" if "ge" in limits else f"more than {limits['gt']}" if "gt" in limits else ""
    if "le" in limits:
        return f"{limits['ge']} to {limits['le']}"
    return low


def row_of(name: str, field: FieldInfo) -> str:
    what = field.description
    return f"| `NAUTILUS_{name.upper()}` | {default_of(field)} | {allowed_of(field)} | {what} |"


def sections() -> dict[str, str]:
    """Class name -> the part of the page whose heading names it: `## Bridge (BridgeSettings)`."""
    found = {}
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading = part.splitlines()[0]
        match = re.search(r"\((\w+)\)$", heading)
        if match:
            found[match[1]] = part
    return found


def test_the_classes_were_found():
    assert {"ApiSettings", "AuthSettings", "BridgeSettings", "MigrateSettings"} <= set(CLASSES)
    assert "database_url" in own_fields(CLASSES["DatabaseSettings"])
    assert "database_url" not in own_fields(CLASSES["BridgeSettings"])


@pytest.mark.parametrize("name", [n for n, kind in CLASSES.items() if own_fields(kind)])
def test_every_setting_is_documented_as_it_is(name):
    expected = [row_of(field, info) for field, info in own_fields(CLASSES[name]).items()]
    part = sections().get(name, "")
    assert [match[0] for match in ROW.finditer(part)] == expected, (
        "the rows of this section should read:\n" + "\n".join(expected)
    )


def test_nothing_else_is_documented():
    known = {f"NAUTILUS_{name.upper()}" for kind in CLASSES.values() for name in kind.model_fields}
    assert set(re.findall(r"NAUTILUS_\w+", PAGE)) - known == set()
    assert set(sections()) == {name for name, kind in CLASSES.items() if own_fields(kind)}


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_says_what_it_is(name):
    for field, info in CLASSES[name].model_fields.items():
        assert info.description, field
        assert "|" not in info.description, "it stands in a table"
