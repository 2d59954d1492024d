"""What strategies there are: templates as the host's children describe them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import every, one_or_none

GONE = "no host has it any more"


class TemplateRow(NamedTuple):
    """A row of `strategy_templates`. parameter_schema: JSON schema. error: why it cannot be used; None: it can."""

    id: str
    name: str
    description: str
    code_hash: str
    parameter_schema: Mapping[str, Any]
    source: str
    error: str | None
    seen_at: datetime


class Template(NamedTuple):
    """A template as a child describes it."""

    id: str
    name: str
    description: str
    code_hash: str
    parameter_schema: Mapping[str, Any]
    source: str
    error: str | None = None


_COLUMNS = ", ".join(TemplateRow._fields)


def every_template(cursor: Cursor) -> list[TemplateRow]:
    """All templates, those that cannot be used too, by id."""
    cursor.execute(f"SELECT {_COLUMNS} FROM strategy_templates ORDER BY id")
    return every(cursor, TemplateRow)


def read(cursor: Cursor, template_id: str) -> TemplateRow | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM strategy_templates WHERE id = %s", (template_id,))
    return one_or_none(cursor, TemplateRow)


def replace(cursor: Cursor, templates: Sequence[Template]) -> None:
    """Write what a host has; what it has no longer stays, with the reason why it cannot be used."""
    for one in templates:
        cursor.execute(
            "INSERT INTO strategy_templates AS t (id, name, description, code_hash, parameter_schema, source, error)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name,"
            " description = excluded.description, code_hash = excluded.code_hash, source = excluded.source,"
            " parameter_schema = excluded.parameter_schema, error = excluded.error, seen_at = clock_timestamp()",
            (
                *(one.id, clean_text(one.name), clean_text(one.description), one.code_hash),
                *(as_json(one.parameter_schema), one.source, one.error and clean_text(one.error)),
            ),
        )
    cursor.execute(
        "UPDATE strategy_templates SET error = %s WHERE error IS NULL AND NOT id = ANY(%s)",
        (GONE, [one.id for one in templates]),
    )
