"""Configurations of strategies: a template with its parameters and series, under a name."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import one, one_or_none


class ConfigRow(NamedTuple):
    """A row of `strategy_configs`. series: list of {con_id, instrument_id, timeframe, price, session}, the first trades."""

    id: UUID
    owner: str
    name: str
    description: str
    template_id: str
    template_hash: str
    parameters: Mapping[str, Any]
    series: Sequence[Mapping[str, Any]]
    risk: Mapping[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


COLUMNS = ", ".join(ConfigRow._fields)


def insert(
    cursor: Cursor,
    *,
    config_id: UUID,
    owner: str,
    name: str,
    description: str,
    template_id: str,
    template_hash: str,
    parameters: Mapping[str, Any],
    series: Sequence[Mapping[str, Any]],
    risk: Mapping[str, Any],
) -> ConfigRow:
    cursor.execute(
        "INSERT INTO strategy_configs (id, owner, name, description, template_id, template_hash, parameters, series, risk)"
        f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING {COLUMNS}",
        (
            *(config_id, owner, clean_text(name), clean_text(description), template_id, template_hash),
            *(as_json(parameters), as_json(series), as_json(risk)),
        ),
    )
    return one(cursor, ConfigRow)


def read(cursor: Cursor, config_id: UUID) -> ConfigRow | None:
    """A configuration, an archived one too."""
    cursor.execute(f"SELECT {COLUMNS} FROM strategy_configs WHERE id = %s", (config_id,))
    return one_or_none(cursor, ConfigRow)
