"""Commands that show how things are."""

import time
from collections.abc import Mapping
from typing import Any

from nautilus_client import cli
from nautilus_client.cli.context import Context
from nautilus_client.cli.output import table, write_line
from nautilus_client.cli.progress import job_text
from nautilus_client.errors import NautilusError


def session(context: Context) -> int:
    found = context.client.session()
    if not context.options.watch:
        context.emit(found, lambda: _session_line(found))
        return cli.OK if found["state"] in ("connected", "degraded") else cli.IB_AWAY
    before = ""
    while True:
        line = _session_line(found)
        if line != before:
            _print(context, found, line)
            before = line
        time.sleep(1.0)
        found = context.client.session()


def _print(context: Context, value: Any, line: str) -> None:
    if context.json:
        write_line(value, context.out)
    else:
        context.out.write(line + "\n")
        context.out.flush()


def _session_line(found: Mapping[str, Any]) -> str:
    reason = f", {found['reason']}" if found.get("reason") else ""
    since = f" since {found['since']}" if found.get("since") else ""
    return f"{found['state']}{reason}{since}  {found.get('account') or ''}  {found.get('source') or ''}".rstrip()


def budget(context: Context) -> int:
    found = context.client.budget()
    context.emit(found, lambda: _budget_line(found))
    return cli.OK


def _budget_line(found: Mapping[str, Any]) -> str:
    small = found["small_bars"]
    free = f", the next leaves at {small['next_leaves_window_at'][11:19]}" if small.get("next_leaves_window_at") else ""
    open_now = f"{found.get('open_requests')} of {found.get('allowed_open_requests')} requests open"
    return f"{small['used']} of {small['limit']} used in ten minutes, {small['remaining']} left{free}; {open_now}"


def incidents(context: Context) -> int:
    found = context.client.incidents(open=not context.options.all)
    names = ["id", "severity", "code", "subject", "since", "until"]
    context.emit(
        found,
        lambda: table([[row.get(name) for name in names] for row in found], names) if found else "nothing is wrong",
    )
    return cli.OK


def watch(context: Context) -> int:
    """Session, budget and jobs, repainted where the output is a terminal."""
    context.resume = ""
    while True:
        found, lines = _picture(context)
        if context.json:
            write_line(found, context.out)
        else:
            if context.out.isatty() and not context.options.once:
                context.out.write("\x1b[H\x1b[J")
            context.out.write("\n".join(lines) + "\n")
            context.out.flush()
        if context.options.once:
            return cli.OK
        time.sleep(max(0.2, context.options.every))


def _picture(context: Context) -> tuple[dict[str, Any], list[str]]:
    """What is shown; an answer that does not come is shown as such, with its reason."""
    found: dict[str, Any] = {}
    lines = []
    for name, read, line in (
        ("session", context.client.session, _session_line),
        ("budget", context.client.budget, _budget_line),
    ):
        try:
            found[name] = read()
            lines.append(f"{name:8} {line(found[name])}")
        except NautilusError as error:
            found[name] = {"error": str(error)}
            lines.append(f"{name:8} not known: {error}")
    try:
        jobs = [job.as_dict() for job in context.client.jobs()[:10]]
        found["jobs"] = jobs
        lines += [f"{str(job['job_id'])[:8]} {job_text(job)}" for job in jobs]
    except NautilusError as error:
        found["jobs"] = {"error": str(error)}
    return found, lines
