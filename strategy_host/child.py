"""A strategy's process: its pipes, its limits, its end. It gets an empty environment and no descriptor but its pipes."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from nautilus.strategies.pipe import FROM_RUNNER, TO_RUNNER, Lines, line

_PIECE = 65_536
_KEPT_ERRORS = 8_192
_END_S = 5.0
_MIB = 1_048_576
BEGIN_S = 120.0
"""An interpreter begins within a tenth of a second; many at once on a computer that has other work take longer."""


class ChildGone(Exception):
    """The process ended without a result. The sentence says how."""


class Stuck(Exception):
    """The strategy does not get on, or takes too much memory. The sentence says which."""


class Limits(NamedTuple):
    """nice: as of the command. memory_mb: resident memory above which it is ended. stuck_s: how long it may be silent.
    begin_s: how long its first message may take, before which no code of a strategy runs."""

    nice: int
    memory_mb: int
    stuck_s: float
    begin_s: float = BEGIN_S


class Child:
    """One process. It is started by `start`, and ends with `end` or `kill`; both may be called again."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self._process = process
        self._limits = limits
        self._errors: deque[bytes] = deque()
        self._errors_task = asyncio.create_task(self._keep_errors())
        self._sending = asyncio.Lock()
        self._listening_since: float | None = None
        self._began = self._ready = False
        self.rss_kb = 0

    @classmethod
    async def start(cls, command: Sequence[str], limits: Limits) -> "Child":
        """Raises ChildGone when it cannot be started at all."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={}, cwd="/", start_new_session=True
            )
        except OSError as wrong:
            raise ChildGone(f"the strategy's process cannot be started: {wrong}") from wrong
        with contextlib.suppress(OSError):  # it has ended already
            most = 2 * limits.memory_mb * _MIB
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (most, most))
            if limits.nice:
                os.setpriority(os.PRIO_PROCESS, process.pid, limits.nice)
        return cls(process, limits)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def silent_s(self) -> float:
        """For how long somebody has listened to it in vain. What it writes while nobody reads is no silence of its own."""
        return 0.0 if self._listening_since is None else time.monotonic() - self._listening_since

    async def send(self, kind: str, /, **body: object) -> None:
        """Write one message, waiting while the pipe is full. ChildGone: nobody reads it any more."""
        data = line(TO_RUNNER, kind, **body)
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101  opened with a pipe
        async with self._sending:
            try:
                stdin.write(data)
                await stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                raise ChildGone(await self._ending()) from None

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What it writes, until it ends. PipeError: it broke the protocol."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101  opened with a pipe
        lines = Lines(FROM_RUNNER)
        while data := await self._next_piece(stdout):
            for message in lines.feed(data):
                if message["type"] == "heartbeat":
                    self.rss_kb = int(message["rss_kb"])
                self._ready = self._ready or message["type"] == "ready"
                yield message
        raise ChildGone(await self._ending())

    async def _next_piece(self, stdout: asyncio.StreamReader) -> bytes:
        self._listening_since = time.monotonic()
        try:
            data = await stdout.read(_PIECE)
        finally:
            self._listening_since = None
        self._began = self._began or bool(data)
        return data

    async def watch(self) -> None:
        """For as long as it lives: Stuck when it is silent for too long, or too large. A host that was itself held up, and
        had no time to listen, counts no more than two of its looks of that as silence."""
        period = min(1.0, self._limits.stuck_s / 8)
        silent_s = 0.0
        while True:
            await asyncio.sleep(period)
            silent_s = min(self.silent_s, silent_s + 2 * period)
            limit_s, what = self._patience()
            if silent_s > limit_s:
                raise Stuck(f"{what} more than {limit_s:g} s")
            mb = max(self.rss_kb, self._resident_kb()) // 1024
            if mb > self._limits.memory_mb:
                raise Stuck(f"the strategy's process took {mb} MiB of memory; the limit is {self._limits.memory_mb}")

    def _patience(self) -> tuple[float, str]:
        """How long it may be silent now, and what it does meanwhile."""
        if not self._began:
            return max(
                self._limits.begin_s, self._limits.stuck_s
            ), "the strategy's process wrote nothing after its start for"
        if not self._ready:
            return self._limits.stuck_s, "importing and preparing the strategy took"
        return self._limits.stuck_s, "the strategy worked on one bar for"

    def _resident_kb(self) -> int:
        try:
            with open(f"/proc/{self.pid}/statm") as pages:
                return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
        except (OSError, IndexError, ValueError):
            return 0

    async def end(self) -> None:
        """Let it end by itself, as it has nothing more to do; kill it when it does not."""
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _END_S)
        await self.kill()

    async def kill(self) -> None:
        """End it and all processes that it has begun, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()
        self._errors_task.cancel()

    async def _ending(self) -> str:
        """How it ended, in words."""
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._errors_task), 1.0)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        last = b"".join(self._errors).decode("utf-8", "replace").strip()
        return f"the strategy's process {how}" + (f": {last[-2_000:]}" if last else "")

    async def _keep_errors(self) -> None:
        """Read what it writes to its standard error, and keep the last of it."""
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101  opened with a pipe
        held = 0
        while data := await stderr.read(_PIECE):
            self._errors.append(data[-_KEPT_ERRORS:])
            held += len(self._errors[-1])
            while held > _KEPT_ERRORS and len(self._errors) > 1:
                held -= len(self._errors.popleft())
