"""Which strategies there are: a child describes them, and the rows say so."""

import asyncio
from typing import Any, NamedTuple

from nautilus.db.strategies.templates import Template
from nautilus.strategies.pipe import PipeError
from strategy_host.child import Child, ChildGone, Limits
from strategy_host.parts import HostParts

_WITHIN_S = 60.0


class Described(NamedTuple):
    """engine: its name and version; empty with a `problem`: why no strategy can be run, in words."""

    engine: str
    templates: list[Template]
    problem: str = ""


async def describe(parts: HostParts) -> Described:
    """What the strategies' interpreter can run."""
    settings = parts.settings
    if not settings.strategy_python:
        return Described("", [], "no interpreter with the strategies' engine is set (NAUTILUS_STRATEGY_PYTHON)")
    try:
        child = await Child.start(parts.command("describe"), Limits(0, settings.strategy_memory_mb, _WITHIN_S))
    except ChildGone as gone:
        return Described("", [], str(gone))
    try:
        async with asyncio.timeout(_WITHIN_S):
            async for message in child.messages():
                if message["type"] == "templates":
                    return Described(message["engine"], [_template(row) for row in message["templates"]])
    except (ChildGone, PipeError) as wrong:
        return Described("", [], f"strategies cannot be described: {wrong}")
    except TimeoutError:
        return Described("", [], f"strategies were not described within {_WITHIN_S:g} s")
    finally:
        await child.kill()
    return Described("", [], "strategies were not described")


def _template(row: dict[str, Any]) -> Template:
    name = str(row["id"]).replace("_", " ")
    schema = row["schema"] or {}
    return Template(
        id=row["id"],
        name=name[:1].upper() + name[1:],
        description=row["description"],
        code_hash=row["hash"] or "",
        parameter_schema=schema,
        source=row["source"],
        error=row["error"],
    )
