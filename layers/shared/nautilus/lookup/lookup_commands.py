"""Questions about instruments, left for the bridge as commands, and the wait for its answers."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from nautilus.auth.principal import Principal
from nautilus.db.bridge import commands
from nautilus.db.bridge.commands import EndedCommand
from nautilus.db.connection import Database
from nautilus.infra.executors import Executor
from nautilus.infra.messages import CommandHint
from nautilus.infra.queue import Queue
from nautilus.log import correlation
from nautilus.lookup.command_watch import CommandWatch

Question = tuple[str, Mapping[str, Any]]
"""Type and arguments of a command."""
_EXPIRES_MORE_S = 30


class LookupCommands:
    """Asks the bridge, and waits at most `wait_s` seconds. writes: the threads that change the database."""

    def __init__(self, database: Database, queue: Queue, *, wait_s: float, writes: Executor) -> None:
        self._db = database
        self._queue = queue
        self._wait_s = wait_s
        self._writes = writes
        self._watch = CommandWatch(database)

    async def ask(self, questions: Sequence[Question], caller: Principal) -> list[EndedCommand | None]:
        """What became of each question, all of them sent at once; None where the bridge has not answered in time.

        RateLimited when too many questions of this caller are open.
        """
        numbers = await self._writes.run(self._leave, questions, caller)
        rows = await self._watch.ended(numbers, self._wait_s)
        return [rows.get(number) for number in numbers]

    def _leave(self, questions: Sequence[Question], caller: Principal) -> list[UUID]:
        """Write the commands in one transaction."""
        with self._db.transaction() as cursor:
            numbers = [
                commands.request(
                    cursor,
                    type_,
                    args,
                    by=caller.id,
                    correlation_id=correlation.get(),
                    expires_s=self._wait_s + _EXPIRES_MORE_S,
                    most_open=commands.OPEN_PER_CALLER,
                )
                for type_, args in questions
            ]
        for number in numbers:
            self._queue.announce(CommandHint(command_id=number, correlation_id=correlation.get()))
        return numbers
