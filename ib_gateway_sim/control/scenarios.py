"""Commands played from a file, and the end of all faults."""

import sys
from pathlib import Path

from ib_gateway_sim.clock import SECOND_NS
from ib_gateway_sim.control.command import commands, parse
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong, number
from ib_gateway_sim.orders.outage import catch_up


def scenario(control: Context, path: str) -> Answer:
    """plays a file: each line a number of seconds from now and a command"""
    try:
        steps = read_scenario(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise Wrong(f"path {path!r}: {problem}; allowed: a readable text file") from None
    for _, line in steps:
        if parse(line)[0] not in control.known:
            raise Wrong(f"{path}: {line!r}; allowed: {', '.join(sorted(control.known))}")
    begun_ns = control.gateway.clock.now_ns()

    async def play() -> None:
        for after_s, line in steps:
            await control.gateway.clock.sleep_until(begun_ns + int(after_s * SECOND_NS))
            answer = await control.run(line)
            if not answer["ok"]:
                print(f"ib_gateway_sim: scenario: {line}: {answer['error']}", file=sys.stderr)

    control.spawn(play())
    return {"steps": len(steps)}


def read_scenario(text: str) -> list[tuple[float, str]]:
    """Lines `<seconds> <command>`; empty lines and what follows # at a line's start are skipped. Raises Wrong."""
    steps = []
    for at, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        seconds, _, command = line.strip().partition(" ")
        if not command.strip():
            raise Wrong(f"line {at}: {line!r}; allowed: <seconds> <command>")
        steps.append((number(f"line {at}", seconds, 0, 1e9), command.strip()))
    return sorted(steps, key=lambda step: step[0])


async def clear(control: Context) -> None:
    """takes every fault back, without notices, and what was to happen later"""
    control.cancel_plans()
    control.login_missing = ""
    faults, was_upstream = control.gateway.faults.orders, control.gateway.faults.upstream
    control.gateway.faults.clear()
    if not was_upstream:
        catch_up(control.gateway, faults)
    await control.server.accept("yes")
    control.gateway.latency.factor = 1.0


COMMANDS = commands(scenario, clear)
