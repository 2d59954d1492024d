"""What keeps a strategy's failure from being swallowed: the engine logs it, and calls the strategy again."""

import functools
from collections.abc import Callable
from typing import Any


class Denied(Exception):
    """Order after order was denied or rejected."""


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """A callback whose first failure is kept and ends the strategy; later calls do nothing."""

    @functools.wraps(call)
    def guard(self: Any, *arguments: Any, **named: Any) -> Any:
        if self.failed:
            return None
        try:
            return call(self, *arguments, **named)
        except BaseException as error:  # sys.exit() in a strategy is a failure of the strategy
            self.fail(error)

    return guard
