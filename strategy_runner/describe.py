"""Describes every template: its parameters as a JSON schema, or why it cannot be imported.

Templates of users are imported in a process of their own each, so that one that exits or never ends harms itself alone.
"""

import subprocess
from pathlib import Path
from time import monotonic
from typing import Any

from nautilus.strategies.pipe import FROM_RUNNER, PipeError, parsed
from strategy_runner.channel import Channel
from strategy_runner.discovery import Candidate, candidate, candidates, load
from strategy_runner.engine_names import ENGINE


def description(one: Candidate) -> dict[str, Any]:
    """A row of the message `templates`; imports the template."""
    row = {"id": one.id, "source": one.source, "hash": None, "description": "", "schema": None, "error": None}
    try:
        template = load(one)
        schema = template.cls.Parameters.model_json_schema()
        return row | {"hash": template.hash, "description": template.cls.description.strip(), "schema": schema}
    except BaseException as error:  # a module may call sys.exit()
        return row | {"error": f"{type(error).__name__}: {error}"[:2_000]}


def describe_one(channel: Channel, name: str, folder: Path | None) -> None:
    """Write the description of a single template."""
    channel.send("templates", engine=ENGINE, templates=[description(candidate(name, folder))])


def describe(channel: Channel, folder: Path | None, command: list[str], within_s: float) -> None:
    """Write the descriptions of all templates. command: this program, which describes one when an id is added.
    within_s: for all templates of users together, which are imported side by side."""
    found = candidates(folder)
    names = [one.id for one in found]
    again = [one for one in found if names.count(one.id) > 1]
    rows = [description(one) for one in found if one.built_in]
    rows += [failed(one, "more than one template has this id") for one in again if not one.built_in]
    rows += in_processes([one for one in found if not one.built_in and one not in again], command, within_s)
    channel.send("templates", engine=ENGINE, templates=rows)


def failed(one: Candidate, error: str) -> dict[str, Any]:
    return {"id": one.id, "source": one.source, "hash": None, "description": "", "schema": None, "error": error}


def in_processes(found: list[Candidate], command: list[str], within_s: float) -> list[dict[str, Any]]:
    """A row for each template, each imported by a process of its own."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    started = [
        (one, subprocess.Popen([*command, one.id], stdin=nothing, stdout=pipe, stderr=nothing, env={})) for one in found
    ]
    deadline = monotonic() + within_s
    return [
        answer(one, process, deadline) or failed(one, f"not imported within {within_s:g} s") for one, process in started
    ]


def answer(one: Candidate, process: "subprocess.Popen[bytes]", deadline: float) -> dict[str, Any] | None:
    """The row that a process has written; None where it has not ended in time."""
    try:
        out, _ = process.communicate(timeout=max(0.1, deadline - monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    try:
        last = out.splitlines()[-1:]  # before it: what the template has printed, or a warning about it
        rows: list[dict[str, Any]] = parsed(FROM_RUNNER, b"".join(last))["templates"]
    except (PipeError, KeyError):
        return failed(one, f"its import ended the process (exit code {process.returncode})")
    return rows[0]
