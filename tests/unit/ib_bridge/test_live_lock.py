"""A bridge that stands by tries again, whatever its tries meet."""

import asyncio
from typing import Any

import psycopg2
import pytest

from ib_bridge.live import live_lock
from nautilus.errors import Unavailable
from nautilus.process.errors import CannotStart


class Names:
    """A lock whose tries meet these errors, one after the other, before one succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def take(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.actions: list[str] = []

    def info(self, action: str, extra: Any = None) -> None:
        self.actions.append(action)


@pytest.mark.parametrize(
    ("errors", "logged"),
    [
        ((), []),
        ((CannotStart("taken"), CannotStart("taken")), ["live-data-elsewhere"]),
        ((Unavailable("away", code="database"), CannotStart("taken")), ["live-lock-not-taken", "live-data-elsewhere"]),
        ((psycopg2.OperationalError("the server ended"),), ["live-lock-not-taken"]),
    ],
)
def test_it_waits_until_the_lock_is_its_own(
    errors: tuple[Exception, ...], logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, log = Names(*errors), Log()
    monkeypatch.setattr(live_lock, "NameLock", lambda *_args: names)
    monkeypatch.setattr(live_lock, "_EACH_S", 0)
    lock = live_lock.LiveLock(object(), log)  # type: ignore[arg-type]
    asyncio.run(lock.wait())
    assert lock.held
    assert names.errors == []
    assert log.actions == logged
