"""Back-tests, and strategies that trade: begun with a request, watched until they are over."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nautilus_client.connection import Connection, new_key
from nautilus_client.errors import DeadlineExceeded
from nautilus_client.records import Record

OVER = frozenset({"stopped", "completed", "failed", "error", "cancelled"})
POLL_S = 1.0


class _Names(NamedTuple):
    """The routes of one kind of runs."""

    start: str
    all: str
    one: str
    rows: str


_BACKTESTS = _Names("backtest", "backtests", "backtest-job", "backtests")
_RUNS = _Names("run", "runs", "run-job", "runs")


def backtests(connection: Connection) -> "Runs":
    return Runs(connection, _BACKTESTS)


def strategy_runs(connection: Connection) -> "Runs":
    return Runs(connection, _RUNS)


class Run(Record):
    """A back-test or a strategy that trades. `refresh` reads it anew."""

    id: str
    state: str

    def __init__(self, connection: Connection, names: _Names, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._connection = connection
        self._names = names

    @property
    def over(self) -> bool:
        return self._raw.get("state") in OVER

    def refresh(self) -> "Run":
        self._raw = self._connection.call(self._names.one, run_id=self._raw["id"])
        return self

    def watch(self, *, timeout: float | None = None) -> Iterator["Run"]:
        """This run, each time that it was read anew, until it is over. DeadlineExceeded after `timeout` seconds."""
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            yield self
            if self.over:
                return
            if ends is not None and time.monotonic() + POLL_S > ends:
                raise DeadlineExceeded(f"{self._raw['id']} is still {self._raw.get('state')} after {timeout:g} s")
            time.sleep(POLL_S)
            self.refresh()

    def wait(self, *, timeout: float | None = None) -> "Run":
        for _ in self.watch(timeout=timeout):
            pass
        return self

    def fills(self) -> Sequence[Mapping[str, Any]]:
        """The fills of a back-test."""
        return self._connection.every("backtest-fills", "fills", run_id=self._raw["id"])

    def equity(self) -> Sequence[Mapping[str, Any]]:
        """What a back-test was worth over time."""
        rows: Sequence[Mapping[str, Any]] = self._connection.call("backtest-equity", run_id=self._raw["id"])["equity"]
        return rows

    def cancel(self) -> None:
        """End a back-test."""
        self._connection.answer("cancel-backtest", run_id=self._raw["id"])

    def stop(self) -> Mapping[str, Any]:
        return self._control("stop-run")

    def pause(self) -> Mapping[str, Any]:
        return self._control("pause-run")

    def resume(self) -> Mapping[str, Any]:
        return self._control("resume-run")

    def flatten(self) -> Mapping[str, Any]:
        """Close what a strategy holds, and stop it."""
        return self._control("flatten-run")

    def _control(self, name: str) -> Mapping[str, Any]:
        return self._connection.call(name, run_id=self._raw["id"])


class Runs:
    """All runs of one kind."""

    def __init__(self, connection: Connection, names: _Names) -> None:
        self._connection = connection
        self._names = names

    def start(self, *, key: str | None = None, **body: Any) -> Run:
        """Begin one; body: as in docs/strategies.md. key: the same key and body is the same run."""
        answer = self._connection.call(self._names.start, body=body, headers={"Idempotency-Key": key or new_key()})
        return Run(self._connection, self._names, answer)

    def list(self) -> Sequence[Run]:
        rows = self._connection.every(self._names.all, self._names.rows)
        return [Run(self._connection, self._names, row) for row in rows]

    def get(self, run_id: str) -> Run:
        return Run(self._connection, self._names, self._connection.call(self._names.one, run_id=run_id))
