"""What a command is: a function with a name, arguments, an effect and a line of documentation."""

import inspect
import json
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ib_gateway_sim.control.values import Answer, Wrong

Effect = Callable[..., Answer | Awaitable[Answer | None] | None]


@dataclass(frozen=True)
class Command:
    """`effect` is called with the context and the arguments; its parameters are the words behind the command."""

    name: str
    effect: Effect
    documentation: str

    @property
    def arguments(self) -> inspect.Signature:
        """Without the context."""
        signature = inspect.signature(self.effect)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @property
    def usage(self) -> str:
        """`farm_flap <farm> [seconds]`: what is needed in <>, what may be left out in []."""
        words = []
        for parameter in self.arguments.parameters.values():
            needed = parameter.default is inspect.Parameter.empty
            words.append(f"<{parameter.name}>" if needed else f"[{parameter.name}]")
        return " ".join([self.name, *words])

    def check(self, words: list[str], named: dict[str, Any]) -> None:
        """Raises Wrong for arguments that are missing or unknown."""
        try:
            self.arguments.bind(*words, **named)
        except TypeError as problem:
            raise Wrong(f"{self.name}: {problem}; allowed: {self.usage}") from None


def commands(*effects: Effect) -> tuple[Command, ...]:
    """Functions as commands: the function's name, and its docstring as documentation."""
    return tuple(Command(effect.__name__, effect, inspect.getdoc(effect) or "") for effect in effects)


def parse(line: str) -> tuple[str, list[str], dict[str, Any]]:
    """Name and arguments of a line: words, or a JSON object. Raises Wrong."""
    text = line.strip()
    if not text.startswith("{"):
        try:
            words = shlex.split(text)
        except ValueError as problem:
            raise Wrong(f"line: {problem}; allowed: words or a JSON object") from None
        if not words:
            raise Wrong("an empty line; allowed: a command, help lists them")
        return words[0], words[1:], {}
    try:
        named = json.loads(text)
    except json.JSONDecodeError as problem:
        raise Wrong(f"line is no JSON: {problem}; allowed: words or a JSON object") from None
    return str(named.pop("cmd", "")), [], named
