"""What all runs of a host share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.infra.executors import Executor
from nautilus.process.transactions import TransactionRunner
from nautilus.settings.strategies import StrategySettings
from nautilus.strategies.runner_command import runner_argv

P = ParamSpec("P")
T = TypeVar("T")
_ROOT = Path(__file__).parents[1]


class Snapshots:
    """Reads, each in one snapshot of the database, in threads of their own: a large one holds up no order."""

    def __init__(self, database: Database, threads: int) -> None:
        self._database = database
        self._executor = Executor("read", threads)

    async def read(self, work: Callable[Concatenate[Cursor, P], T], *args: P.args, **more: P.kwargs) -> T:
        """`work(cursor, ...)` in a snapshot. Unavailable: the database is away."""

        def reading() -> T:
            with self._database.transaction(snapshot=True) as cursor:
                return work(cursor, *args, **more)

        return await self._executor.run(reading)

    def close(self) -> None:
        self._executor.close()


class Fences:
    """What the last child found that keeps it within its process."""

    def __init__(self) -> None:
        self.holds: tuple[str, ...] = ()


class HostParts(NamedTuple):
    """Settings, the ways to the database, the log, and what children found."""

    settings: StrategySettings
    transactions: TransactionRunner
    snapshots: Snapshots
    log: Any
    fences: Fences

    def command(self, *arguments: str) -> list[str]:
        """The command line of a child."""
        folder = ["--strategies", self.settings.strategy_folder] if self.settings.strategy_folder else []
        return runner_argv(self.settings.strategy_python, paths(), *arguments, *folder)


def paths() -> Sequence[Path]:
    """The folders that hold the packages of a child."""
    import nautilus

    return [_ROOT, Path(nautilus.__path__[0]).parent]
