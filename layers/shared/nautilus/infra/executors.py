"""Named pools of threads: each neighbour has its own, so that one that hangs takes no thread from the others."""

import asyncio
import contextvars
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
caller: ContextVar[str] = ContextVar("caller", default="")
"""On whose behalf something is done, `user:<number>` or `anonymous`; empty: on nobody's in particular."""


def share(total: int) -> int:
    """How many of `total` threads or connections one user of them may take: a quarter is left to the others."""
    return max(1, total - max(1, total // 4))


def shared_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task whose work is everybody's. It inherits nothing from who happens to start it: neither `caller`, whose share may
    be used up, nor the correlation id of log lines."""
    return asyncio.create_task(work, context=contextvars.Context())


class _Turns:
    """Lets `most` calls of each caller pass at once, the others in the order they came. For coroutines of one loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    @asynccontextmanager
    async def taken(self, who: str) -> AsyncIterator[None]:
        if not who:
            yield
            return
        if self._taken[who] < self._most:
            self._taken[who] += 1
        else:
            await self._handed_over(who)
        try:
            yield
        finally:
            self._hand_over(who)

    async def _handed_over(self, who: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[who].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_over(who)
            raise

    def _hand_over(self, who: str) -> None:
        """Give a turn to who waits longest, or back."""
        waiting = self._waiting[who]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(who, None)
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]


class Executor:
    """At most `threads` threads for the calls to one neighbour, made when needed; `name` is what a stack dump shows.

    per_caller: how many of them work for one `caller` at once; further calls of that caller wait without a thread. Default:
    all of them. Calls see the context variables of who makes them, such as the correlation id of log lines.
    """

    def __init__(self, name: str, threads: int, *, per_caller: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._turns = _Turns(per_caller or threads)

    async def run(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The call's result, computed in a thread of this pool while the event loop goes on."""
        context = contextvars.copy_context()
        bound = partial(context.run, partial(call, *args, **more))
        async with self._turns.taken(caller.get()):
            return await asyncio.get_running_loop().run_in_executor(self._pool, bound)

    @asynccontextmanager
    async def within(self, manager: AbstractContextManager[T]) -> AsyncIterator[T]:
        """A block within a context manager that is entered and left in threads of this pool; left, too, when whoever waits
        for it to be entered is cancelled."""
        entering = asyncio.ensure_future(self.run(manager.__enter__))
        try:
            found = await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(partial(self._leave, manager))
            raise
        try:
            yield found
        finally:
            await asyncio.shield(self.run(manager.__exit__, None, None, None))

    def _leave(self, manager: AbstractContextManager[Any], entering: "asyncio.Future[Any]") -> None:
        if not entering.cancelled() and entering.exception() is None:
            self.start(manager.__exit__, None, None, None)

    def start(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> Future[T]:
        """Begin a call; nobody has to wait for it."""
        return self._pool.submit(contextvars.copy_context().run, partial(call, *args, **more))

    def close(self) -> None:
        """End the threads once their calls are over; no new call is taken."""
        self._pool.shutdown(wait=False)
