"""Backfills: have missing bars fetched, watch that, stop it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nautilus_client import timeframes
from nautilus_client.connection import Connection, new_key
from nautilus_client.errors import DeadlineExceeded
from nautilus_client.records import Record
from nautilus_client.times import Time, is_date, text, to_ns

if TYPE_CHECKING:
    from nautilus_client.market import Market

LIVE = frozenset({"queued", "planning", "running", "stopping"})
POLL_S, LONGEST_POLL_S = 0.2, 2.0
Report = Callable[["Job"], None]


class Job(Record):
    """A backfill job. `refresh` reads it anew. Without an id: nothing was missing, and no job was needed."""

    job_id: str | None
    status: str
    progress: Mapping[str, Any]
    eta_seconds: float | None
    next_request_at: str | None
    blocked_on: str | None
    items: Sequence[Mapping[str, Any]]
    errors: Sequence[Mapping[str, Any]]

    def __init__(self, connection: Connection, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._connection = connection

    @property
    def over(self) -> bool:
        return self._raw.get("status") not in LIVE

    @property
    def ok(self) -> bool:
        """True when all that was requested is settled."""
        return self._raw.get("status") in ("succeeded", "complete")

    def refresh(self) -> "Job":
        if self._raw.get("job_id") is not None:
            self._raw = self._connection.call("job", job_id=self._raw["job_id"])
        return self

    def watch(self, *, timeout: float | None = None) -> Iterator["Job"]:
        """This job, each time that it was read anew, until it is over. DeadlineExceeded after `timeout` seconds."""
        ends = None if timeout is None else time.monotonic() + timeout
        pause = POLL_S
        while True:
            yield self
            if self.over:
                return
            if ends is not None and time.monotonic() + pause > ends:
                raise DeadlineExceeded(f"job {self.job_id} is still {self.status} after {timeout:g} s; it goes on")
            time.sleep(pause)
            pause = min(LONGEST_POLL_S, pause * 1.5)
            self.refresh()

    def wait(self, *, timeout: float | None = None, progress: bool | Report = False) -> "Job":
        """Wait until it is over. progress: True for a line on the terminal, or what is called with each state."""
        report = _on_terminal() if progress is True else progress or None
        for job in self.watch(timeout=timeout):
            if report:
                report(job)
        return self

    def stop(self) -> "Job":
        """Stop it. What it has stored stays."""
        if self._raw.get("job_id") is not None and not self.over:
            self._connection.call("stop-jobs", body={"job_id": self._raw["job_id"]})
            self.refresh()
        return self

    def chunks(self) -> Sequence[Mapping[str, Any]]:
        """The requests of this job, and what became of each."""
        return self._connection.every("chunks", "chunks", job_id=self._raw["job_id"], limit=1_000)


def _on_terminal() -> Report | None:
    import sys

    from nautilus_client.cli.progress import Line, job_text

    line = Line(sys.stderr)
    return lambda job: line.show(job_text(job.as_dict()), ended=job.over)


def start(
    market: "Market",
    connection: Connection,
    symbols: str | Sequence[str] | None,
    timeframe: str | Sequence[str],
    *,
    start: Time | None = None,
    end: Time | None = None,
    last: str | None = None,
    dry_run: bool = False,
    idempotency_key: str | None = None,
    **fields: Any,
) -> Job:
    """Begin a backfill, or join the one that serves the same request. 202 and a job, or nothing is missing.

    symbols: one or up to 200; or instrument_id, con_id. timeframe: one or several. start, end, last: as of `bars`; of several
    symbols a date begins in the zone of the first. dry_run: the answer says what it would cost. fields: as in docs/backfill.md.
    """
    body: dict[str, Any] = {key: value for key, value in fields.items() if value is not None}
    names = [symbols] if isinstance(symbols, str) else list(symbols or ())
    body |= {"symbol": names[0]} if len(names) == 1 else {"symbols": names} if names else {}
    frames = [timeframe] if isinstance(timeframe, str) else list(timeframe)
    body |= {"timeframe": frames[0]} if len(frames) == 1 else {"timeframes": frames}
    for frame in frames:
        timeframes.checked(frame)
    where = {
        key: value
        for key, value in body.items()
        if key in ("symbol", "instrument_id", "con_id", "asset_class", "exchange", "currency")
    }
    if names:
        where["symbol"] = names[0]
    body |= _window(market, {**where, "timeframe": frames[0]}, start=start, end=end, last=last)
    if dry_run:
        return Job(connection, connection.call("backfill", body={**body, "dry_run": True}))
    return _begin(connection, body, idempotency_key)


def _window(
    market: "Market", where: Mapping[str, Any], *, start: Time | None, end: Time | None, last: str | None
) -> dict[str, str]:
    """start and end as a body has them; the zone is looked up only where a date is given."""
    if last is None and not any(value is not None and is_date(value) for value in (start, end)):
        given = {"start": start, "end": end}
        return {name: text(to_ns(value, field=name)) for name, value in given.items() if value is not None}
    found = market.window(where, start=start, end=end, last=last)
    return {name: text(value) for name, value in found.items() if value is not None}


def _begin(connection: Connection, body: Mapping[str, Any], key: str | None = None) -> Job:
    return Job(connection, connection.call("backfill", body=dict(body), headers={"Idempotency-Key": key or new_key()}))


def fill(
    connection: Connection,
    where: Mapping[str, Any],
    window: Mapping[str, int | None],
    report: Report | None = None,
) -> Job | None:
    """Have fetched what is missing of a window, and wait. None where nothing is. where: the parameters that name a series."""
    covered = connection.call("coverage", **where, **window)
    if covered["summary"]["complete"]:
        return None
    given = covered["window"]
    body = {**where, "start": given["start"], "end": given["end"]}
    job = _begin(connection, body)
    return job.wait(progress=report or False)
