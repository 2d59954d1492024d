"""All commands of the control port by name. A new command is a function in the module of its kind, and in its COMMANDS."""

from ib_gateway_sim.control import (
    accounts,
    answers,
    connections,
    executions,
    farms,
    fills,
    live,
    orders,
    record,
    saving,
    scenarios,
    time,
)
from ib_gateway_sim.control.command import Command, commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer

MODULES = (accounts, executions, saving, record, time, answers, connections, farms, live, orders, fills, scenarios)


def help(_: Context) -> Answer:
    """this list"""
    return {"commands": {command.usage: command.documentation for _, command in sorted(COMMANDS.items())}}


COMMANDS: dict[str, Command] = {
    command.name: command
    for several in (commands(help), *(module.COMMANDS for module in MODULES))
    for command in several
}
