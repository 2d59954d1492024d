"""Work that goes on for as long as its process: no error ends it. Each is logged, and the next step comes later and later
until one succeeds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from nautilus.errors import Unavailable


class Backoff(NamedTuple):
    """Seconds of machine time between a step that failed and the next: doubled with each failure, up to the longest."""

    first_s: float = 1.0
    longest_s: float = 30.0

    def after(self, pause_s: float) -> float:
        """The pause that follows one of `pause_s`; the first one follows 0."""
        return min(self.longest_s, max(self.first_s, 2 * pause_s))


async def repeat(
    name: str,
    step: Callable[[], Awaitable[object]],
    log: Any,
    *,
    delayed: str = "",
    backoff: Backoff = Backoff(),  # noqa: B008  immutable
    going_on: Callable[[], bool] = lambda: True,
) -> None:
    """Take steps until cancelled, or until `going_on` says no. A step itself waits for what it has to wait for.

    name: of the log actions: `<name>-delayed` (or `delayed`) when a neighbour is away (Unavailable), which is expected to
    pass, and `<name>-broke`, with the traceback, for what nobody foresaw. Neither ends the loop.
    """
    pause_s = 0.0
    while going_on():
        try:
            await step()
        except Unavailable as gone:
            log.warning(delayed or f"{name}-delayed", extra={"reason": gone.detail})
        except Exception:
            log.exception(f"{name}-broke")
        else:
            pause_s = 0.0
            continue
        pause_s = backoff.after(pause_s)
        await asyncio.sleep(pause_s)
