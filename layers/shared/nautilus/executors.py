"""Named pools of threads: each neighbour has its own, so that one that hangs takes no thread from the others."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Executor:
    """At most `threads` threads for the calls to one neighbour, made when needed; `name` is what a stack dump shows.

    Calls see the caller's context variables, such as the correlation id of log lines.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)

    async def run(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The call's result, computed in a thread of this pool while the event loop goes on."""
        context = contextvars.copy_context()
        bound = partial(context.run, partial(call, *args, **more))
        return await asyncio.get_running_loop().run_in_executor(self._pool, bound)

    def start(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> Future[T]:
        """Begin a call; nobody has to wait for it."""
        return self._pool.submit(contextvars.copy_context().run, partial(call, *args, **more))

    def close(self) -> None:
        """End the threads once their calls are over; no new call is taken."""
        self._pool.shutdown(wait=False)
