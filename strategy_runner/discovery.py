"""Finds strategies: those that come with the runner, those of installed packages, and files of a mounted folder.

A package names its own by an entry point of the group `nautilus.strategies`. A file `name.py` holds one class that extends
`Strategy`, and its template is called `name`. Whatever comes from a user is described in a process of its own.
"""

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple

from strategy_runner.engine_names import SetupError
from strategy_runner.strategy import Strategy

GROUP = "nautilus.strategies"
BUILT_IN = ("bollinger_reversion", "buy_and_hold", "donchian_breakout", "ema_cross")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Candidate(NamedTuple):
    """Where a template may be. source: in words; file: of the folder; entry: of a package; neither: built in."""

    id: str
    source: str
    file: Path | None = None
    entry: EntryPoint | None = None

    @property
    def built_in(self) -> bool:
        return self.file is None and self.entry is None


class Template(NamedTuple):
    """A strategy that was imported. hash: SHA-256 of its code, hexadecimal."""

    cls: type[Strategy]
    hash: str


def candidates(folder: Path | None) -> list[Candidate]:
    """All of them, by id; those of packages before files. Two may have one id: `described` says so."""
    found = [Candidate(name, "built in") for name in BUILT_IN]
    for entry in sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)):
        package = "" if entry.dist is None else f" of {entry.dist.name} {entry.dist.version}"
        found.append(Candidate(entry.name, f"entry point {entry.value}{package}", entry=entry))
    if folder is not None and folder.is_dir():
        files = sorted(one for one in folder.glob("*.py") if not one.name.startswith("_"))
        found += [Candidate(one.stem, f"file {one.name}", file=one) for one in files]
    return found


def candidate(name: str, folder: Path | None) -> Candidate:
    """The one that a run names. SetupError where there is none, or more than one."""
    found = [one for one in candidates(folder) if one.id == name]
    if not found:
        raise SetupError(f"no template is called {name!r}")
    if len(found) > 1:
        raise SetupError(f"{len(found)} templates are called {name!r}: {', '.join(one.source for one in found)}")
    return found[0]


def load(one: Candidate) -> Template:
    """Import a template: code of a user runs here. Raises whatever that raises, and SetupError."""
    if _NAME.fullmatch(one.id) is None:
        raise SetupError(f"{one.id!r} is no name of a template: letters, digits, `_`, `.` and `-`")
    if one.entry is not None:
        cls = one.entry.load()
        if not (inspect.isclass(cls) and issubclass(cls, Strategy)):
            raise SetupError(f"{one.entry.value} is no class that extends Strategy")
        version = "" if one.entry.dist is None else f"{one.entry.dist.name} {one.entry.dist.version}"
        return Template(cls, hash_of(Path(inspect.getfile(cls)), version))
    if one.file is not None:
        return Template(only_strategy(module_of(one.file)), hash_of(one.file))
    module = importlib.import_module(f"strategy_runner.builtin.{one.id}")
    return Template(only_strategy(module), hash_of(Path(str(module.__file__))))


def module_of(file: Path) -> Any:
    """The module of a file, imported under a name that no other module has."""
    name = f"strategy_file_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SetupError(f"{file.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def only_strategy(module: Any) -> type[Strategy]:
    """The one class of a module that extends Strategy and is defined there."""
    classes = [one for _, one in inspect.getmembers(module, inspect.isclass) if issubclass(one, Strategy)]
    mine = [one for one in classes if one.__module__ == module.__name__]
    if len(mine) != 1:
        raise SetupError(f"{len(mine)} classes of this file extend Strategy; it must be one")
    return mine[0]


def hash_of(file: Path, more: str = "") -> str:
    """SHA-256 of a template's file and of the version of its package, hexadecimal. What the file imports is not in it."""
    return hashlib.sha256(file.read_bytes() + more.encode()).hexdigest()
